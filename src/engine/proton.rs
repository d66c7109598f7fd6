//! AWS Proton: the only place that names its SDK.
//!
//! The operations follow the [API reference](https://docs.aws.amazon.com/proton/latest/APIReference/Welcome.html).
//! AWS ended the service on 2026-10-07, and the SDK marks its operations as deprecated.
#![expect(
    deprecated,
    reason = "the SDK marks the operations of a service that has ended"
)]

use aws_sdk_proton::Client;
use aws_sdk_proton::config::Builder;
use aws_sdk_proton::config::SharedInterceptor;
use aws_sdk_proton::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_proton::operation::list_environments::ListEnvironmentsOutput;
use aws_sdk_proton::types::{
    Deployment as ProtonDeployment, DeploymentStatus, Environment as ProtonEnvironment,
    EnvironmentSummary,
};
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::aws::call_error::CallError;
use crate::aws::endpoint;
use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule, Status};
use crate::engine::whole_answer::WholeAnswer;
use crate::engine::{AlarmsTag, Continuation, Page, ReadStep, Reading, TagPage, TagStep};
use crate::timestamp::{self, Timestamp};

/// The most environments that `ListEnvironments` puts on a page.
const PAGE_SIZE: i32 = 100;

/// The tag with the globs of the alarms that concern an environment.
const ALARMS_TAG: &str = "proton-canceller:alarms";

/// The most pages of tags that are read: a resource has 50 tags at most.
const MOST_TAG_PAGES: usize = 50;

/// A client of AWS Proton.
#[derive(Clone, Debug)]
pub struct Proton(Client);

/// The members of responses. Each operation requires one of them.
#[derive(Deserialize)]
struct Members {
    environments: Option<IgnoredAny>,
    environment: Option<IgnoredAny>,
    deployment: Option<IgnoredAny>,
    tags: Option<IgnoredAny>,
}

/// Checks that a response has its required member. A page with environments is not parsed again, because
/// pages are large.
fn check(
    operation: &str,
    context: &AfterDeserializationInterceptorContextRef<'_>,
) -> Result<(), String> {
    let Ok(output) = context.output_or_error() else {
        return Ok(());
    };
    let page = output.downcast_ref::<ListEnvironmentsOutput>();
    if page.is_some_and(|page| !page.environments.is_empty()) {
        return Ok(());
    }
    whole(
        operation,
        context.response().body().bytes().unwrap_or_default(),
    )
}

/// Checks that the body of an operation's response has the required member.
fn whole(operation: &str, body: &[u8]) -> Result<(), String> {
    let members: Members = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (name, member) = match operation {
        "ListEnvironments" => ("environments", members.environments),
        "GetEnvironment" | "CancelEnvironmentDeployment" => ("environment", members.environment),
        "GetDeployment" => ("deployment", members.deployment),
        "ListTagsForResource" => ("tags", members.tags),
        _ => return Ok(()),
    };
    match member {
        Some(_) => Ok(()),
        None => Err(format!("it has no `{name}`")),
    }
}

impl Proton {
    /// Makes a client that shares the configuration's HTTP client.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let mut builder = Builder::from(config);
        builder.push_interceptor(SharedInterceptor::new(WholeAnswer(check)));
        Self(Client::from_conf(builder.build()))
    }

    /// Returns the endpoint, if it is known before the first call.
    pub(crate) async fn endpoint(config: &SdkConfig) -> Option<String> {
        endpoint::of!(config, "Proton", aws_sdk_proton)
    }

    pub(super) async fn list(&self, token: Option<&str>) -> Result<Page, CallError> {
        let output = self
            .0
            .list_environments()
            .max_results(PAGE_SIZE)
            .set_next_token(token.map(str::to_owned))
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let count = output.environments.len() as u64;
        Ok(Page {
            next: output.next_token.filter(|token| !token.is_empty()),
            deployments: output
                .environments
                .into_iter()
                .filter_map(from_summary)
                .collect(),
            count,
        })
    }

    pub(super) async fn read(&self, name: &EnvironmentName) -> Result<Deployment, CallError> {
        let output = self
            .0
            .get_environment()
            .name(name.as_str())
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        current(name, output.environment)
    }

    /// Reads the state of a deployment. `GetDeployment` returns its end and the time, even after a newer
    /// deployment has started. If there is no ID, or the service refuses the call, the environment's
    /// latest deployment is read. Its state counts if it is the same deployment.
    pub(super) async fn read_deployment(
        &self,
        deployment: &Deployment,
        refused: Option<&Refused>,
    ) -> Result<ReadStep, CallError> {
        if let (Some(id), None) = (&deployment.id, refused) {
            return match self.read_by_id(deployment, id).await {
                Ok(seen) => Ok(ReadStep::Done(Reading::Of(Box::new(seen)))),
                Err(error) if !error.is_transient() => Ok(ReadStep::More {
                    continuation: Continuation::refused(error),
                    known: None,
                }),
                Err(error) => Err(error),
            };
        }
        let latest = self.read(&deployment.environment.name).await?;
        match refused {
            _ if latest.is_same_as(deployment) => Ok(ReadStep::Done(Reading::Of(Box::new(latest)))),
            Some(Refused(refusal)) => Err(refusal.clone()),
            None => Ok(ReadStep::Done(Reading::Superseded)),
        }
    }

    async fn read_by_id(&self, deployment: &Deployment, id: &str) -> Result<Deployment, CallError> {
        let output = self
            .0
            .get_deployment()
            .environment_name(deployment.environment.name.as_str())
            .id(id)
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let seen: ProtonDeployment = output
            .deployment
            .filter(|seen| seen.id == id && is_known(&seen.deployment_status))
            .ok_or_else(|| incomplete("deployment of that id with a status"))?;
        Ok(Deployment {
            status: status(&seen.deployment_status),
            message: seen.deployment_status_message,
            ended_at: seen.completed_at.and_then(known_time),
            ..deployment.clone()
        })
    }

    pub(super) async fn cancel(&self, deployment: &Deployment) -> Result<Deployment, CallError> {
        let name = &deployment.environment.name;
        let output = self
            .0
            .cancel_environment_deployment()
            .environment_name(name.as_str())
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        current(name, output.environment)
    }

    pub(super) async fn alarms_tag(
        &self,
        environment: &Environment,
        page: Option<&TagPage>,
    ) -> Result<TagStep, CallError> {
        let output = self
            .0
            .list_tags_for_resource()
            .resource_arn(environment.arn.as_deref().unwrap_or_default())
            .set_next_token(page.map(|page| page.token.clone()))
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let tag = output.tags.into_iter().find(|tag| tag.key == ALARMS_TAG);
        let next = output.next_token.filter(|token| !token.is_empty());
        let number = page.map_or(1, |page| page.number + 1);
        match next {
            Some(token) if tag.is_none() && number < MOST_TAG_PAGES => {
                Ok(TagStep::More(TagPage { token, number }))
            }
            Some(_) if tag.is_none() => Err(incomplete("end of the tags' pages")),
            Some(_) | None => Ok(TagStep::Done(Box::new(AlarmsTag {
                value: tag.map(|tag| tag.value),
                deployment: None,
            }))),
        }
    }
}

/// A read that continues with the environment's latest deployment, because the service refused to read the
/// deployment by its ID.
#[derive(Clone, Debug)]
pub struct Refused(pub(super) CallError);

/// Returns the deployment of the environment in a response. Fails if the environment has another name.
fn current(
    name: &EnvironmentName,
    environment: Option<ProtonEnvironment>,
) -> Result<Deployment, CallError> {
    let environment = environment
        .filter(|environment| {
            environment.name == name.as_str() && is_known(&environment.deployment_status)
        })
        .ok_or_else(|| incomplete("environment of that name with a status"))?;
    Ok(Deployment {
        environment: Environment {
            name: name.clone(),
            arn: known(environment.arn),
            account_id: environment.environment_account_id,
            template_name: known(environment.template_name),
            template_version: version(
                &environment.template_major_version,
                &environment.template_minor_version,
            ),
        },
        id: environment.last_attempted_deployment_id,
        started_at: known_time(environment.last_deployment_attempted_at),
        ended_at: None,
        moved_start: None,
        status: status(&environment.deployment_status),
        message: environment.deployment_status_message,
    })
}

/// Returns a summary's deployment. `None` if the name is invalid.
fn from_summary(summary: EnvironmentSummary) -> Option<Deployment> {
    let name = EnvironmentName::parse(&summary.name, NameRule::Proton)
        .inspect_err(|error| {
            tracing::error!(
                error = error.to_string(),
                "Proton listed an environment that is left alone"
            );
        })
        .ok()?;
    Some(Deployment {
        environment: Environment {
            name,
            arn: known(summary.arn),
            account_id: summary.environment_account_id,
            template_name: known(summary.template_name),
            template_version: version(
                &summary.template_major_version,
                &summary.template_minor_version,
            ),
        },
        id: summary.last_attempted_deployment_id,
        started_at: known_time(summary.last_deployment_attempted_at),
        ended_at: None,
        moved_start: None,
        status: status(&summary.deployment_status),
        message: summary.deployment_status_message,
    })
}

fn status(status: &DeploymentStatus) -> Status {
    match status.as_str() {
        "IN_PROGRESS" => Status::InProgress,
        "CANCELLING" => Status::Cancelling,
        "CANCELLED" => Status::Cancelled,
        "FAILED" => Status::Failed,
        "SUCCEEDED" => Status::Succeeded,
        other => Status::Other(other.to_owned()),
    }
}

/// True if the service sent the status. The SDK fills a missing status with a text of its own.
fn is_known(status: &DeploymentStatus) -> bool {
    !matches!(status.as_str(), "" | "no value was set")
}

/// Returns a text if the service sent it. The SDK fills a missing text with the empty one.
fn known(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn version(major: &str, minor: &str) -> Option<String> {
    (!major.is_empty() && !minor.is_empty()).then(|| format!("{major}.{minor}"))
}

/// Returns a time if the service sent it, rounded to the millisecond. The SDK fills a missing time with
/// the epoch.
///
/// The service writes times as binary fractions of a second, which are exact to the millisecond.
fn known_time(time: DateTime) -> Option<Timestamp> {
    let rounded = time.as_nanos() + 500_000;
    let milliseconds = i64::try_from(rounded.div_euclid(1_000_000)).ok()?;
    timestamp::from_milliseconds(milliseconds).filter(|time| *time > Timestamp::UNIX_EPOCH)
}

fn incomplete(what: &str) -> CallError {
    CallError::incomplete("Proton", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::call_error::Fault;

    #[test]
    fn times_are_rounded_to_the_millisecond() {
        let time =
            |seconds| known_time(DateTime::from_secs_f64(seconds)).map(crate::timestamp::format);
        assert_eq!(
            time(1_795_415_150.321).as_deref(),
            Some("2026-11-23T06:25:50.321Z")
        );
        assert_eq!(
            time(1_795_415_150.999_999_9).as_deref(),
            Some("2026-11-23T06:25:51Z")
        );
    }

    #[test]
    fn a_response_must_have_its_required_member() {
        for (operation, member) in [
            ("ListEnvironments", "environments"),
            ("GetEnvironment", "environment"),
            ("CancelEnvironmentDeployment", "environment"),
            ("GetDeployment", "deployment"),
            ("ListTagsForResource", "tags"),
        ] {
            let body = format!(r#"{{"new": ["\ud800"], "{member}": [], "nextToken": null}}"#);
            assert_eq!(whole(operation, body.as_bytes()), Ok(()), "{operation}");
            let null = format!(r#"{{"{member}": null, "other": "{member}"}}"#);
            for body in ["{}", r#"{"nextToken": "1"}"#, &null] {
                let error = whole(operation, body.as_bytes()).unwrap_err();
                assert_eq!(error, format!("it has no `{member}`"));
            }
            for body in ["", "null", "[]", "<html>"] {
                assert!(whole(operation, body.as_bytes()).is_err(), "{body}");
            }
        }
    }

    #[test]
    fn an_environment_is_the_one_that_was_named_and_has_a_status() {
        let net = EnvironmentName::parse("net", NameRule::Proton).unwrap();
        let read = |name: &str, status: &str| {
            let environment = ProtonEnvironment::builder()
                .name(name)
                .deployment_status(status.into())
                .created_at(DateTime::from_secs(0))
                .last_deployment_attempted_at(DateTime::from_secs(0))
                .last_deployment_succeeded_at(DateTime::from_secs(0))
                .arn("")
                .template_name("")
                .template_major_version("")
                .template_minor_version("")
                .build()
                .unwrap();
            current(&net, Some(environment)).map(|deployment| deployment.status)
        };
        assert_eq!(read("net", "CANCELLING"), Ok(Status::Cancelling));
        for (name, status) in [
            ("", "no value was set"),
            ("net", "no value was set"),
            ("net", ""),
            ("db", "CANCELLING"),
        ] {
            assert_eq!(read(name, status).unwrap_err().fault, Fault::Lost);
        }
    }

    #[test]
    fn the_epoch_is_no_time() {
        assert_eq!(known_time(DateTime::from_secs(0)), None);
        assert_eq!(known_time(DateTime::from_secs(-5)), None);
        assert_eq!(known_time(DateTime::from_secs(i64::MAX)), None);
        // A year of five digits.
        assert_eq!(known_time(DateTime::from_secs(253_402_300_800)), None);
    }
}
