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

/// Calls with a longer pause between them belong to different polls.
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
fn polls(calls: &[Call]) -> Vec<u32> {
    let cancel = Operation::CancelEnvironmentDeployment.to_string();
    let Some(last) = calls.iter().rposition(|call| call.operation == cancel) else {
        return Vec::new();
    };
    let mut polls: Vec<u32> = Vec::new();
    for pair in calls
        .iter()
        .enumerate()
        .filter(|(index, call)| *index == last || call.service == Service::Proton && *index > last)
        .map(|(_, call)| call.time)
        .collect::<Vec<_>>()
        .windows(2)
    {
        let &[previous, time] = pair else { continue };
        let pause = time.duration_since(previous).unwrap_or_default();
        match polls.last_mut() {
            Some(calls) if pause <= PAUSE => *calls += 1,
            Some(_) | None => polls.push(1),
        }
    }
    polls
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use local_aws::Answer;

    use super::*;

    fn call(operation: Operation, milliseconds: u64) -> Call {
        Call {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds),
            service: operation.service(),
            operation: operation.to_string(),
            caller: None,
            environment: None,
            cancelled: None,
            answer: Answer::Ok,
            body: Bytes::new(),
        }
    }

    #[test]
    fn calls_that_come_together_are_one_poll() {
        let calls = [
            call(Operation::ListEnvironments, 0),
            call(Operation::CancelEnvironmentDeployment, 10),
            call(Operation::GetDeployment, 20),
            call(Operation::PutEvents, 25),
            call(Operation::GetDeployment, 110),
            call(Operation::GetDeployment, 320),
        ];
        assert_eq!(polls(&calls), [2, 1]);
    }

    #[test]
    fn a_run_without_cancel_has_no_poll() {
        assert!(polls(&[call(Operation::ListEnvironments, 0)]).is_empty());
    }
}
