//! A request that names environments.

use serde::Deserialize;

use super::json::{given, typed};
use super::{Cause, Trigger, UnsupportedPayload, unsupported};
use crate::deployment::{EnvironmentName, NameRule};

/// The most environments that one request may name.
const MOST_NAMES: usize = 100;

/// A request for these environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The environments, each once, in the order given.
    pub environments: Vec<EnvironmentName>,
    /// True if the request asks for a dry run.
    pub dry_run: bool,
}

/// The payload of a request. Unknown keys are rejected, because one may be a misspelt `dryRun`. `null`
/// values are rejected, too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestPayload {
    environments: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "given")]
    dry_run: Option<bool>,
}

/// Reads a request. The trigger's ID is that of the Lambda request, which Lambda keeps when it retries an
/// asynchronous invocation.
pub(super) fn request(
    payload: &str,
    rule: NameRule,
    request_id: &str,
) -> Result<Trigger, UnsupportedPayload> {
    let request: RequestPayload = typed("the request", payload)?;
    let count = request.environments.len();
    if !(1..=MOST_NAMES).contains(&count) {
        return Err(unsupported(format!(
            "the request names {count} environments: must be 1 to {MOST_NAMES}"
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
