//! The settings: environment variables, read once at start, every bad value reported.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::aws::endpoint;
use crate::engine::EngineKind;
use crate::plan::patterns::Patterns;
use crate::plan::{AlarmScope, Mode, Policy};

const ENGINE: &str = "ENGINE";
const DRY_RUN: &str = "DRY_RUN";
const ENVIRONMENTS: &str = "ENVIRONMENTS";
const PROTECTED_ENVIRONMENTS: &str = "PROTECTED_ENVIRONMENTS";
const ALARM_SCOPE: &str = "ALARM_SCOPE";
const IGNORED_ALARMS: &str = "IGNORED_ALARMS";
const STUCK_AFTER_MINUTES: &str = "STUCK_AFTER_MINUTES";
const MAX_CANCELLATIONS: &str = "MAX_CANCELLATIONS";
const SETTLE_TIMEOUT_SECONDS: &str = "SETTLE_TIMEOUT_SECONDS";
const EVENT_BUS_NAME: &str = "EVENT_BUS_NAME";
const CONCURRENCY: &str = "CONCURRENCY";
const AWS_CA_BUNDLE: &str = "AWS_CA_BUNDLE";
const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
const AWS_ENDPOINT_URL_PROTON: &str = "AWS_ENDPOINT_URL_PROTON";
const AWS_ENDPOINT_URL_CLOUDFORMATION: &str = "AWS_ENDPOINT_URL_CLOUDFORMATION";
const AWS_ENDPOINT_URL_EVENTBRIDGE: &str = "AWS_ENDPOINT_URL_EVENTBRIDGE";
const AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// The function's own environment variables.
pub const VARIABLES: [&str; 11] = [
    ENGINE,
    DRY_RUN,
    ENVIRONMENTS,
    PROTECTED_ENVIRONMENTS,
    ALARM_SCOPE,
    IGNORED_ALARMS,
    STUCK_AFTER_MINUTES,
    MAX_CANCELLATIONS,
    SETTLE_TIMEOUT_SECONDS,
    EVENT_BUS_NAME,
    CONCURRENCY,
];

/// The settings of the function.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The engine: `ENGINE`, default `proton`.
    pub engine: EngineKind,
    /// The policy, with these variables and defaults: `DRY_RUN` (`false`), `ENVIRONMENTS` (`*`; with
    /// CloudFormation `AWSProton-*`), `PROTECTED_ENVIRONMENTS` (none), `ALARM_SCOPE` (`all`),
    /// `STUCK_AFTER_MINUTES` (60) and `MAX_CANCELLATIONS` (10).
    pub(crate) policy: Policy,
    /// The alarms that never start a run: `IGNORED_ALARMS`, default none.
    pub(crate) ignored_alarms: Patterns,
    /// The time for which a run follows its deployments: `SETTLE_TIMEOUT_SECONDS`, default 600.
    pub(crate) settle_timeout: Duration,
    /// The event bus for outcomes, by name or ARN: `EVENT_BUS_NAME`, default `default`.
    pub event_bus: String,
    /// Calls to the engine in flight at once, 1 to 100: `CONCURRENCY`, default 10.
    pub(crate) concurrency: usize,
    /// The certificate authorities to trust instead of the default ones: `AWS_CA_BUNDLE`.
    pub(crate) certificate_authorities: Option<RootCertStore>,
}

/// All invalid values.
#[derive(Debug, PartialEq, Eq)]
pub struct BadSettings(Vec<BadSetting>);

/// An invalid value.
#[derive(Debug, PartialEq, Eq)]
struct BadSetting {
    variable: &'static str,
    value: String,
    accepts: String,
}

impl fmt::Display for BadSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bad) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let value = crate::text::cut(&bad.value, 500);
            write!(
                formatter,
                "{separator}{} is `{value}`: {}",
                bad.variable, bad.accepts
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for BadSettings {}

impl Settings {
    /// Reads the settings from the process's environment.
    pub(crate) fn from_environment() -> Result<Self, BadSettings> {
        Self::read(|variable| {
            std::env::var_os(variable).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// Reads the settings from the values that `variable` returns. Unset and empty mean the default.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSettings> {
        let mut reader = Reader {
            variable,
            bad: Vec::new(),
        };
        let engine = reader.one_of(
            ENGINE,
            EngineKind::Proton,
            &[
                ("proton", EngineKind::Proton),
                ("cloudformation", EngineKind::CloudFormation),
            ],
        );
        let policy = reader.policy(engine);
        let settings = Self {
            engine,
            policy,
            ignored_alarms: reader.patterns(IGNORED_ALARMS, ""),
            settle_timeout: Duration::from_secs(reader.whole_number(
                SETTLE_TIMEOUT_SECONDS,
                600,
                0,
                u64::MAX,
            )),
            event_bus: reader.event_bus(),
            concurrency: usize::try_from(reader.whole_number(CONCURRENCY, 10, 1, 100)).unwrap_or(1),
            certificate_authorities: reader.certificate_authorities(),
        };
        reader.endpoints(engine);
        if reader.bad.is_empty() {
            Ok(settings)
        } else {
            Err(BadSettings(reader.bad))
        }
    }
}

/// A reader of environment variables that collects the invalid values. The value that it returns for an
/// invalid one is never used.
struct Reader<F> {
    variable: F,
    bad: Vec<BadSetting>,
}

impl<F: Fn(&'static str) -> Option<String>> Reader<F> {
    fn value(&self, variable: &'static str) -> Option<String> {
        (self.variable)(variable).filter(|value| !value.is_empty())
    }

    fn reject(&mut self, variable: &'static str, value: String, accepts: impl Into<String>) {
        self.bad.push(BadSetting {
            variable,
            value,
            accepts: accepts.into(),
        });
    }

    /// Reads the policy.
    fn policy(&mut self, engine: EngineKind) -> Policy {
        Policy {
            environments: self.patterns(ENVIRONMENTS, engine.usual_environments()),
            protected: self.patterns(PROTECTED_ENVIRONMENTS, ""),
            alarm_scope: self.one_of(
                ALARM_SCOPE,
                AlarmScope::All,
                &[("all", AlarmScope::All), ("tagged", AlarmScope::Tagged)],
            ),
            stuck_after: Duration::from_secs(
                self.whole_number(STUCK_AFTER_MINUTES, 60, 0, u64::MAX)
                    .saturating_mul(60),
            ),
            max_cancellations: self.whole_number(MAX_CANCELLATIONS, 10, 0, u64::MAX),
            mode: self.one_of(
                DRY_RUN,
                Mode::Live,
                &[("true", Mode::DryRun), ("false", Mode::Live)],
            ),
        }
    }

    fn one_of<T: Copy>(
        &mut self,
        variable: &'static str,
        default: T,
        accepted: &[(&'static str, T)],
    ) -> T {
        let Some(value) = self.value(variable) else {
            return default;
        };
        if let Some((_, meaning)) = accepted.iter().find(|(word, _)| *word == value) {
            return *meaning;
        }
        let words: Vec<_> = accepted
            .iter()
            .map(|(word, _)| format!("`{word}`"))
            .collect();
        self.reject(variable, value, format!("must be {}", words.join(" or ")));
        default
    }

    /// Checks the SDK's own variables for the endpoints of the services that the function calls.
    fn endpoints(&mut self, engine: EngineKind) {
        let is_ignored = self
            .value(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_ignored {
            return;
        }
        let of_the_engine = match engine {
            EngineKind::Proton => AWS_ENDPOINT_URL_PROTON,
            EngineKind::CloudFormation => AWS_ENDPOINT_URL_CLOUDFORMATION,
        };
        for variable in [
            AWS_ENDPOINT_URL,
            of_the_engine,
            AWS_ENDPOINT_URL_EVENTBRIDGE,
        ] {
            if let Some(value) = self.value(variable)
                && endpoint::parse(&value).is_none()
            {
                self.reject(
                    variable,
                    value,
                    "must be an `http` or `https` URL, such as `https://proton.example.com`",
                );
            }
        }
    }

    fn whole_number(&mut self, variable: &'static str, default: u64, least: u64, most: u64) -> u64 {
        let Some(value) = self.value(variable) else {
            return default;
        };
        let digits_only = value.bytes().all(|byte| byte.is_ascii_digit());
        match u64::from_str(&value) {
            Ok(number) if digits_only && (least..=most).contains(&number) => number,
            _ => {
                let accepts = if most == u64::MAX {
                    format!("must be a whole number, {least} or more")
                } else {
                    format!("must be a whole number from {least} to {most}")
                };
                self.reject(variable, value, accepts);
                default
            }
        }
    }

    fn patterns(&mut self, variable: &'static str, default: &'static str) -> Patterns {
        let given = self.value(variable);
        let read = Patterns::comma_separated(given.as_deref().unwrap_or(default));
        let problem = match (read, given) {
            (Ok(patterns), Some(value)) if patterns.is_empty() => (
                value,
                "holds no glob; give globs separated by commas, such as `prod-*`, or leave it empty"
                    .to_owned(),
            ),
            (Ok(patterns), _) => return patterns,
            (Err(bad), given) => (
                given.unwrap_or_default(),
                format!("{bad}; give globs of `*`, `?`, `[..]` and `{{a,b}}`, separated by commas"),
            ),
        };
        self.reject(variable, problem.0, problem.1);
        Patterns::none()
    }

    /// Reads the event bus. The name rule and the ARN format are those of `EventBusName` in [PutEvents].
    ///
    /// [PutEvents]: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
    fn event_bus(&mut self) -> String {
        let Some(value) = self.value(EVENT_BUS_NAME) else {
            return "default".to_owned();
        };
        let name = if value.starts_with("arn:") {
            bus_name_of_arn(&value).unwrap_or_default()
        } else {
            &value
        };
        let valid = (1..=256).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !valid {
            self.reject(
                EVENT_BUS_NAME,
                value.clone(),
                "must be the name of an event bus (letters, digits, `.`, `_`, `-`) or its ARN, `arn:aws:events:<region>:<account>:event-bus/<name>`",
            );
        }
        value
    }

    fn certificate_authorities(&mut self) -> Option<RootCertStore> {
        let value = self.value(AWS_CA_BUNDLE)?;
        match read_certificate_authorities(Path::new(&value)) {
            Ok(roots) => Some(roots),
            Err(why) => {
                self.reject(
                    AWS_CA_BUNDLE,
                    value,
                    format!("{why}; must be a PEM file with the certificates of the CAs to trust"),
                );
                None
            }
        }
    }
}

fn bus_name_of_arn(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let arn = parts.next()?;
    let partition = parts.next()?;
    let service = parts.next()?;
    let region = parts.next()?;
    let account = parts.next()?;
    let name = parts.next()?.strip_prefix("event-bus/")?;
    let is_bus = arn == "arn"
        && partition.starts_with("aws")
        && service == "events"
        && !region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit());
    is_bus.then_some(name)
}

fn read_certificate_authorities(path: &Path) -> Result<RootCertStore, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
            .map_err(|error| format!("its certificate number {} is broken: {error}", index + 1))?;
    }
    if roots.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, BadSettings> {
        Settings::read(|variable| {
            variables
                .iter()
                .find(|(name, _)| *name == variable)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn complaint(variable: &str, value: &str) -> String {
        settings(&[(variable, value)])
            .expect_err(&format!("{variable}={value} was taken"))
            .to_string()
    }

    #[test]
    fn unset_and_empty_mean_the_default() {
        let empty: Vec<_> = VARIABLES
            .iter()
            .chain([
                &AWS_CA_BUNDLE,
                &AWS_ENDPOINT_URL,
                &AWS_ENDPOINT_URL_PROTON,
                &AWS_ENDPOINT_URL_EVENTBRIDGE,
            ])
            .map(|name| (*name, ""))
            .collect();
        for settings in [settings(&[]).unwrap(), settings(&empty).unwrap()] {
            assert_eq!(settings.policy.mode, Mode::Live);
            assert!(settings.policy.environments.matches("anything"));
            assert!(settings.policy.protected.is_empty());
            assert_eq!(settings.policy.alarm_scope, AlarmScope::All);
            assert_eq!(settings.policy.stuck_after, Duration::from_hours(1));
            assert_eq!(settings.policy.max_cancellations, 10);
            assert_eq!(settings.settle_timeout, Duration::from_mins(10));
            assert_eq!(settings.event_bus, "default");
            assert_eq!(settings.concurrency, 10);
            assert!(settings.certificate_authorities.is_none());
            assert!(settings.ignored_alarms.is_empty());
        }
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_a_bad_value_where_it_would_be_called() {
        for variable in [
            AWS_ENDPOINT_URL,
            AWS_ENDPOINT_URL_PROTON,
            AWS_ENDPOINT_URL_EVENTBRIDGE,
        ] {
            assert_eq!(
                complaint(variable, "nowhere"),
                format!(
                    "{variable} is `nowhere`: must be an `http` or `https` URL, such as `https://proton.example.com`"
                )
            );
            assert!(settings(&[(variable, "http://127.0.0.1:4566")]).is_ok());
            let ignored = [
                (variable, "nowhere"),
                (AWS_IGNORE_CONFIGURED_ENDPOINT_URLS, "TRUE"),
            ];
            assert!(settings(&ignored).is_ok(), "{variable}");
        }
        assert!(settings(&[(AWS_ENDPOINT_URL_CLOUDFORMATION, "nowhere")]).is_ok());
        let stacks = [
            (ENGINE, "cloudformation"),
            (AWS_ENDPOINT_URL_CLOUDFORMATION, "nowhere"),
        ];
        assert!(settings(&stacks).is_err());
    }

    #[test]
    fn every_setting_is_read() {
        let settings = settings(&[
            (DRY_RUN, "true"),
            (ENVIRONMENTS, "prod-*, {a,b}"),
            (PROTECTED_ENVIRONMENTS, "prod-core"),
            (ALARM_SCOPE, "tagged"),
            (IGNORED_ALARMS, "proton-canceller-*, {a,b}"),
            (STUCK_AFTER_MINUTES, "5"),
            (MAX_CANCELLATIONS, "0"),
            (SETTLE_TIMEOUT_SECONDS, "0"),
            (
                EVENT_BUS_NAME,
                "arn:aws:events:eu-west-1:123456789012:event-bus/ops",
            ),
            (CONCURRENCY, "100"),
        ])
        .unwrap();
        assert_eq!(settings.policy.mode, Mode::DryRun);
        assert!(settings.policy.environments.matches("b"));
        assert!(!settings.policy.environments.matches("c"));
        assert!(settings.policy.protected.matches("prod-core"));
        assert_eq!(settings.policy.alarm_scope, AlarmScope::Tagged);
        assert_eq!(settings.policy.stuck_after, Duration::from_mins(5));
        assert_eq!(settings.policy.max_cancellations, 0);
        assert_eq!(settings.settle_timeout, Duration::ZERO);
        assert!(settings.ignored_alarms.matches("proton-canceller-undone"));
        assert!(!settings.ignored_alarms.matches("checkout-5xx"));
        assert_eq!(settings.concurrency, 100);
    }

    #[test]
    fn cloudformation_never_means_every_stack_by_default() {
        let stacks = settings(&[(ENGINE, "cloudformation")]).unwrap();
        assert_eq!(stacks.engine, EngineKind::CloudFormation);
        assert!(stacks.policy.environments.matches("AWSProton-net-1"));
        assert!(!stacks.policy.environments.matches("payroll"));
        let chosen = settings(&[(ENGINE, "cloudformation"), (ENVIRONMENTS, "pay*")]).unwrap();
        assert!(chosen.policy.environments.matches("payroll"));
        assert_eq!(
            complaint(ENGINE, "Proton"),
            "ENGINE is `Proton`: must be `proton` or `cloudformation`"
        );
    }

    #[test]
    fn numbers_are_whole_and_not_negative() {
        for value in [
            "-1",
            "+1",
            "1.5",
            "1e3",
            " 1",
            "ten",
            "0x1",
            "99999999999999999999",
        ] {
            assert_eq!(
                complaint(MAX_CANCELLATIONS, value),
                format!("MAX_CANCELLATIONS is `{value}`: must be a whole number, 0 or more")
            );
        }
        for value in ["0", "101", "-1"] {
            assert_eq!(
                complaint(CONCURRENCY, value),
                format!("CONCURRENCY is `{value}`: must be a whole number from 1 to 100")
            );
        }
    }

    #[test]
    fn the_dry_run_switch_never_falls_back() {
        for value in ["True", "TRUE", "1", "yes", "on", " true", "flase"] {
            assert_eq!(
                complaint(DRY_RUN, value),
                format!("DRY_RUN is `{value}`: must be `true` or `false`")
            );
        }
    }

    #[test]
    fn globs_must_be_readable_and_at_least_one() {
        assert!(complaint(ENVIRONMENTS, "prod-[").contains("the glob `prod-[` cannot be read"));
        assert!(complaint(PROTECTED_ENVIRONMENTS, "a,{b").contains("the glob `{b` cannot be read"));
        assert!(complaint(ENVIRONMENTS, " , ").contains("holds no glob"));
        assert!(complaint(PROTECTED_ENVIRONMENTS, ",").contains("holds no glob"));
    }

    #[test]
    fn a_bus_is_a_name_or_an_arn() {
        for value in [
            "a b",
            "arn:aws:events:eu-west-1:123456789012:rule/x",
            "arn:aws:events:eu-west-1:event-bus/ops",
            "arn:aws:events:eu-west-1:123456789012:event-bus/",
            "team/ops",
            "bus!",
            "arn:",
        ] {
            assert!(complaint(EVENT_BUS_NAME, value).contains("must be the name of an event bus"));
        }
    }

    #[test]
    fn all_bad_values_come_in_one_error() {
        let error = settings(&[
            (DRY_RUN, "maybe"),
            (ALARM_SCOPE, "some"),
            (CONCURRENCY, "0"),
            (AWS_CA_BUNDLE, "/nowhere/ca.pem"),
        ])
        .unwrap_err()
        .to_string();
        for expected in [
            "DRY_RUN is `maybe`: must be `true` or `false`",
            "ALARM_SCOPE is `some`: must be `all` or `tagged`",
            "CONCURRENCY is `0`: must be a whole number from 1 to 100",
            "AWS_CA_BUNDLE is `/nowhere/ca.pem`: cannot be read",
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_bundle_without_a_good_certificate_is_a_bad_value() {
        let folder = std::env::temp_dir().join(format!("bundle-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, content, expected) in [
            ("empty.pem", "", "holds no certificate"),
            ("text.pem", "not a certificate", "holds no certificate"),
            (
                "broken.pem",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "its certificate number 1 is broken",
            ),
            (
                "cut.pem",
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                "its certificate number 1 is broken",
            ),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, content).unwrap();
            let error = complaint(AWS_CA_BUNDLE, path.to_str().unwrap());
            assert!(error.contains(expected), "{name}: {error}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
