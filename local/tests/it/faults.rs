//! Injected faults.

use std::time::Duration;

use local_aws::{
    Answer, Chances, Deployment, Fault, Faults, LocalAws, Operation, Rule, Status, Throttle, World,
};
use tokio::time::Instant;

use crate::support::{call, environment, local, proton, request, serve};

fn world(faults: Faults) -> World {
    World::new()
        .with(environment("one", Deployment::in_progress()))
        .with(environment("two", Deployment::in_progress()))
        .faults(faults)
}

async fn list(local: &LocalAws) -> Result<(), aws_sdk_proton::Error> {
    proton(local).list_environments().send().await?;
    Ok(())
}

async fn cancel(local: &LocalAws, name: &str) -> Result<(), aws_sdk_proton::Error> {
    let cancel = proton(local)
        .cancel_environment_deployment()
        .environment_name(name);
    cancel.send().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_throttle_is_a_token_bucket() {
    let throttle = Throttle {
        operation: None,
        per_second: 2.0,
        burst: 3,
    };
    let local = local(world(Faults::none().throttle(throttle)));
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.push(list(&local).await.is_ok());
    }
    assert_eq!(taken, [true, true, true, false, false]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(list(&local).await.is_ok());
    let error = list(&local).await.unwrap_err();
    assert!(matches!(
        error,
        aws_sdk_proton::Error::ThrottlingException(_)
    ));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(list(&local).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_rule_meets_the_calls_that_it_names() {
    let rule = Rule::new(Fault::error("AccessDeniedException", "no"))
        .operation(Operation::CancelEnvironmentDeployment)
        .environment("two")
        .times(1);
    let local = local(world(Faults::none().rule(rule)));
    assert!(cancel(&local, "one").await.is_ok());
    let error = cancel(&local, "two").await.unwrap_err();
    assert!(matches!(
        error,
        aws_sdk_proton::Error::AccessDeniedException(_)
    ));
    assert!(cancel(&local, "two").await.is_ok());
    let answers: Vec<_> = local.calls().into_iter().map(|call| call.answer).collect();
    let denied = Answer::Error("AccessDeniedException".to_owned());
    assert_eq!(answers, [Answer::Ok, denied, Answer::Ok]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_had_its_effect_or_had_none() {
    let drop = |name: &str| Rule::new(Fault::Drop).environment(name);
    let faults = Faults::none()
        .rule(drop("one"))
        .rule(drop("two").after_effect());
    let local = local(world(faults));
    assert!(cancel(&local, "one").await.is_err());
    assert!(cancel(&local, "two").await.is_err());
    let statuses: Vec<_> = local.environments().iter().map(|one| one.status).collect();
    assert_eq!(statuses, [Status::InProgress, Status::Cancelling]);
    let calls = local.calls();
    assert_eq!(calls[0].answer, Answer::DroppedBefore);
    assert_eq!(calls[0].cancelled, None);
    assert_eq!(calls[1].answer, Answer::DroppedAfter);
    assert_eq!(
        calls[1].cancelled.as_ref(),
        Some(&local.environments()[1].deployment_id)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_late_or_never_come() {
    let late = Rule::new(Fault::Latency(Duration::from_secs(7))).calls(1..=1);
    let never = Rule::new(Fault::Never).calls(2..=2);
    let local = local(world(Faults::none().rule(late).rule(never)));
    let begun = Instant::now();
    assert!(list(&local).await.is_ok());
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
    let answer = tokio::time::timeout(Duration::from_hours(1), list(&local)).await;
    assert!(answer.is_err());
    assert_eq!(local.calls()[1].answer, Answer::Never);
}

#[tokio::test(start_paused = true)]
async fn chance_replays_from_the_seed() {
    let chances = Chances {
        error: 0.3,
        drop_before: 0.2,
        ..Chances::default()
    };
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let local = local(world(Faults::none().chances(chances)).seed(seed));
        for _ in 0..50 {
            let _ = list(&local).await;
        }
        let answers: Vec<_> = local.calls().into_iter().map(|call| call.answer).collect();
        assert!(answers.contains(&Answer::DroppedBefore) && answers.contains(&Answer::Ok));
        runs.push(answers);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn faults_are_the_same_on_the_socket() {
    let error = Rule::new(Fault::error("InternalServerException", "oh")).calls(1..=1);
    let junk = Rule::new(Fault::Junk {
        status: 503,
        body: "<html>".to_owned(),
    });
    let drop = Rule::new(Fault::Drop).calls(3..=3);
    let faults = Faults::none()
        .rule(error)
        .rule(junk.calls(2..=2))
        .rule(drop);
    let (_, server) = serve(world(faults)).await;
    let target = "AwsProton20200720.ListEnvironments";
    assert_eq!(call(&server, target, b"{}").await.status, 500);
    assert_eq!(call(&server, target, b"{}").await.body, b"<html>");
    let headers = [
        ("X-Amz-Target", target),
        ("Authorization", "AWS4-HMAC-SHA256 x"),
    ];
    assert!(
        request(&server, "POST", "/", &headers, b"{}")
            .await
            .is_none()
    );
    assert_eq!(call(&server, target, b"{}").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_short_has_its_effect() {
    let cut = |before: &str| {
        let before = before.to_owned();
        Rule::new(Fault::Cut { before }).times(1)
    };
    let local = local(world(
        Faults::none()
            .rule(cut("}").operation(Operation::CancelEnvironmentDeployment))
            .rule(cut("no such text").operation(Operation::ListEnvironments)),
    ));
    assert!(list(&local).await.is_ok());
    assert!(cancel(&local, "one").await.is_err());
    let answers: Vec<_> = local.calls().into_iter().map(|call| call.answer).collect();
    assert_eq!(answers, [Answer::Cut, Answer::Cut]);
    let deployments = local.deployments();
    let mut cancelled = deployments.iter().filter(|it| it.cancelled_at.is_some());
    assert!(cancelled.any(|it| it.environment == "one"));
}
