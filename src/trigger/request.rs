//! Somebody's request for certain environments.

use serde::Deserialize;

use super::json::{given, typed};
use super::{Cause, Trigger, UnsupportedPayload, unsupported};
use crate::deployment::{EnvironmentName, NameRule};

/// The most environments that one request may name.
const MOST_NAMES: usize = 100;

/// A request for certain environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The environments, each once, in the order given.
    pub environments: Vec<EnvironmentName>,
    /// True if it asks for a dry run.
    pub dry_run: bool,
}

/// A request. An unknown key, a misspelt `dryRun` above all, must not be passed over, and `null`
/// is neither a name nor a yes nor a no.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestPayload {
    environments: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "given")]
    dry_run: Option<bool>,
}

/// Reads a request. Its id is that of the Lambda request, which Lambda keeps when it tries an
/// asynchronous invocation again.
pub(super) fn request(
    payload: &str,
    rule: NameRule,
    request_id: &str,
) -> Result<Trigger, UnsupportedPayload> {
    let request: RequestPayload = typed("the request", payload)?;
    let count = request.environments.len();
    if !(1..=MOST_NAMES).contains(&count) {
        return Err(unsupported(format!(
            "the request names {count} environments, where 1 to {MOST_NAMES} are taken"
        )));
    }
    let mut environments: Vec<EnvironmentName> = Vec::with_capacity(count);
    for name in &request.environments {
        let name =
            EnvironmentName::parse(name, rule).map_err(|error| unsupported(error.to_string()))?;
        if !environments.contains(&name) {
            environments.push(name);
        }
    }
    Ok(Trigger {
        cause: Cause::Request(Request {
            environments,
            dry_run: request.dry_run.unwrap_or(false),
        }),
        id: Some(request_id.to_owned()),
        name: None,
        arn: None,
        time: None,
        reason: request.reason,
    })
}
