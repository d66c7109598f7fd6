//! The API calls of the polls that follow what was cancelled.

use std::time::Duration;

use anyhow::{Result, bail};
use local_aws::{Call, Operation, Service};

use crate::job::Job;
use crate::row::{Figure, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::text::{counted, grouped};
use crate::units::count;

/// A longer pause separates two polls.
const PAUSE: Duration = Duration::from_millis(100);

/// Counts the API calls per poll for several numbers of deployments.
pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for followed in [1, 2, 5, 10, 20, 100, 300] {
        let job = Job {
            follow: Duration::from_mins(1),
            settling: Duration::from_secs(3),
            latency: Duration::from_millis(5),
            ..Job::of(followed, 1000)
        };
        let measured = job.run(&setup.function, &setup.folder).await?;
        let polls = polls(&measured.run.calls);
        if polls.is_empty() {
            bail!("the run is not comparable: it made no poll");
        }
        rows.push(row(&job, polls)?);
    }
    Ok(rows)
}

fn row(job: &Job, polls: Vec<u32>) -> Result<Row> {
    let followed = job.in_progress;
    let title = format!(
        "API calls per poll, following {} of {} ({})",
        grouped(followed),
        counted(job.environments, "environment"),
        counted(polls.len(), "poll"),
    );
    let allowed = count(followed.min(job.pages()))?;
    let calls: Samples = polls.into_iter().map(f64::from).collect();
    Ok(Row {
        name: format!("Poll of {}", counted(followed, "deployment")),
        title,
        yardstick: "the smaller of deployments and pages; no poll may exceed it".to_owned(),
        // The worst poll counts.
        ratio: Samples::one(calls.greatest() / allowed),
        function: Figure::new(calls, ""),
        reference: Figure::new(Samples::one(allowed), ""),
        target: Some(1.0),
        result: None,
    })
}

/// Returns the number of Proton's calls in each poll after the last cancel.
///
/// A poll begins with the first page of the listing, with a call that the poll before made already,
/// or after a pause.
fn polls(calls: &[Call]) -> Vec<u32> {
    let cancel = Operation::CancelEnvironmentDeployment.to_string();
    let Some(last) = calls.iter().rposition(|call| call.operation == cancel) else {
        return Vec::new();
    };
    let mut polls: Vec<Vec<&Call>> = Vec::new();
    for call in calls.iter().skip(last + 1) {
        if call.service != Service::Proton {
            continue;
        }
        match polls.last_mut() {
            Some(poll) if !begins_poll(call, poll) => poll.push(call),
            Some(_) | None => polls.push(vec![call]),
        }
    }
    polls
        .iter()
        .map(|poll| u32::try_from(poll.len()).unwrap_or(u32::MAX))
        .collect()
}

/// True if a call does not belong to the poll before.
fn begins_poll(call: &Call, poll: &[&Call]) -> bool {
    let is_repeated = poll
        .iter()
        .any(|other| other.operation == call.operation && other.body == call.body);
    let is_first_page = call.operation == Operation::ListEnvironments.to_string()
        && !String::from_utf8_lossy(&call.body).contains("nextToken");
    let is_late = poll.last().is_some_and(|other| {
        let pause = call.time.duration_since(other.time);
        pause.is_ok_and(|pause| pause > PAUSE)
    });
    is_repeated || is_first_page || is_late
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use local_aws::Answer;

    use super::*;

    fn call(operation: Operation, milliseconds: u64, body: &'static str) -> Call {
        Call {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds),
            service: operation.service(),
            operation: operation.to_string(),
            caller: None,
            environment: None,
            cancelled: None,
            answer: Answer::Ok,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn a_call_made_again_begins_a_poll_and_so_does_a_pause() {
        let calls = [
            call(Operation::ListEnvironments, 0, "{}"),
            call(Operation::CancelEnvironmentDeployment, 10, "a"),
            call(Operation::GetDeployment, 20, "a"),
            call(Operation::PutEvents, 25, ""),
            call(Operation::GetDeployment, 110, "b"),
            call(Operation::GetDeployment, 120, "a"),
            call(Operation::GetDeployment, 320, "b"),
        ];
        assert_eq!(polls(&calls), [2, 1, 1]);
    }

    #[test]
    fn the_first_page_begins_a_poll_and_reads_after_the_listing_belong_to_it() {
        let calls = [
            call(Operation::CancelEnvironmentDeployment, 10, "a"),
            call(Operation::ListEnvironments, 20, "{}"),
            call(Operation::ListEnvironments, 30, r#"{"nextToken":"1"}"#),
            call(Operation::GetDeployment, 40, "a"),
            call(Operation::ListEnvironments, 50, "{}"),
        ];
        assert_eq!(polls(&calls), [3, 1]);
    }

    #[test]
    fn a_run_without_cancel_has_no_poll() {
        assert!(polls(&[call(Operation::ListEnvironments, 0, "{}")]).is_empty());
    }
}
