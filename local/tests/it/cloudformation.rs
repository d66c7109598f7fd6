//! CloudFormation, asked by AWS's own SDK.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudformation::operation::RequestId;
use aws_sdk_cloudformation::types::{OperationType, Stack as SentStack, StackEvent};
use local_aws::{
    Answer, Chances, CloudFormationOptions, Deployment, Effect, Ending, Environment, Fault, Faults,
    LocalAws, Moment, Operation, RepeatedToken, Rule, StackStatus, Status, Throttle, Timing, World,
};

use crate::support::{cloudformation, local, request, serve, start};

const SECOND: Duration = Duration::from_secs(1);

fn running(name: &str) -> Environment {
    Environment::stack(name).deployment(Deployment::in_progress())
}

fn status(local: &LocalAws, name: &str) -> StackStatus {
    let stacks = local.stacks();
    let stack = stacks.iter().find(|stack| stack.name == name);
    stack.unwrap().status
}

/// The code and message of the error that a cancel is answered with.
async fn cancel(local: &LocalAws, name: &str, token: Option<&str>) -> Result<(), (String, String)> {
    let cancel = cloudformation(local)
        .cancel_update_stack()
        .stack_name(name)
        .set_client_request_token(token.map(str::to_owned));
    let answer = cancel.send().await;
    answer.map(|_| ()).map_err(|error| said(&error))
}

fn said<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> (String, String) {
    let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
    (part(error.code()), part(error.message()))
}

async fn describe(local: &LocalAws, name: &str) -> SentStack {
    let describe = cloudformation(local).describe_stacks().stack_name(name);
    describe.send().await.unwrap().stacks.unwrap().remove(0)
}

async fn events(local: &LocalAws, name: &str) -> Vec<StackEvent> {
    let pages = cloudformation(local)
        .describe_stack_events()
        .stack_name(name)
        .into_paginator()
        .items()
        .send();
    pages.collect::<Result<_, _>>().await.unwrap()
}

/// The status, reason, operation and token of an event.
type OwnEvent<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

/// Returns the stack's own events, newest first.
fn own(events: &[StackEvent]) -> Vec<OwnEvent<'_>> {
    events
        .iter()
        .filter(|event| event.physical_resource_id() == event.stack_id())
        .map(|event| {
            (
                event.resource_status().unwrap().as_str(),
                event.resource_status_reason(),
                event.operation_id(),
                event.client_request_token(),
            )
        })
        .collect()
}

async fn listed(local: &LocalAws, statuses: &[&str]) -> Vec<String> {
    let list = cloudformation(local).list_stacks();
    let list = statuses.iter().fold(list, |list, status| {
        list.stack_status_filter((*status).into())
    });
    let pages = list.into_paginator().items().send();
    let stacks: Vec<_> = pages.collect::<Result<_, _>>().await.unwrap();
    stacks
        .into_iter()
        .map(|stack| stack.stack_name.unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_stack_is_described_as_aws_describes_it() {
    let stack = running("net").description("the network").tag("owner", "me");
    let nested = Environment::stack("net-Subnets").nested_in("net");
    let inner = Environment::stack("net-Subnets-A").nested_in("net-Subnets");
    let world = World::new().with(stack).with(nested).with(inner);
    let local = local(world);
    let net = describe(&local, "net").await;
    let time = |time: Option<&aws_sdk_cloudformation::primitives::DateTime>| {
        SystemTime::try_from(*time.unwrap()).unwrap()
    };
    assert_eq!(net.stack_id(), Some(local.stacks()[0].arn.as_str()),);
    assert!(
        net.stack_id()
            .unwrap()
            .starts_with("arn:aws:cloudformation:us-east-1:123456789012:stack/net/")
    );
    assert_eq!(net.stack_status().unwrap().as_str(), "UPDATE_IN_PROGRESS");
    assert_eq!(net.stack_status_reason(), Some("User Initiated"));
    assert_eq!(net.description(), Some("the network"));
    assert_eq!(time(net.last_updated_time()), start() - 600 * SECOND);
    assert!(time(net.creation_time()) < time(net.last_updated_time()));
    let tags: Vec<_> = net
        .tags()
        .iter()
        .map(|tag| (tag.key(), tag.value()))
        .collect();
    assert_eq!(tags, [(Some("owner"), Some("me"))]);
    let operations = net.last_operations();
    assert_eq!(
        operations[0].operation_type(),
        Some(&OperationType::UpdateStack)
    );
    assert_eq!(
        operations[0].operation_id(),
        Some(local.stacks()[0].deployment_id.as_str())
    );
    assert_eq!(
        operations[2].operation_type(),
        Some(&OperationType::CreateStack)
    );
    assert_eq!((net.parent_id(), net.root_id()), (None, None));

    let nested = describe(&local, "net-Subnets").await;
    assert_eq!(nested.parent_id(), net.stack_id());
    let inner = describe(&local, &local.stacks()[2].arn).await;
    assert_eq!(inner.parent_id(), nested.stack_id());
    assert_eq!(inner.root_id(), net.stack_id());
    assert_eq!(inner.stack_status().unwrap().as_str(), "UPDATE_IN_PROGRESS");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_update_is_rolled_back() {
    let update = Deployment::in_progress().token("mine").when_cancelled(
        Ending::rolled_back()
            .rollback(3 * SECOND)
            .cleanup(2 * SECOND),
    );
    let nested = Environment::stack("net-Subnets").nested_in("net");
    let world = World::new()
        .with(Environment::stack("net").deployment(update))
        .with(nested);
    let local = local(world);
    let before = describe(&local, "net").await;
    let id = before.stack_id().unwrap();
    assert_eq!(cancel(&local, id, Some("token-1")).await, Ok(()));
    let now = describe(&local, "net").await;
    assert_eq!(
        now.stack_status().unwrap().as_str(),
        "UPDATE_ROLLBACK_IN_PROGRESS"
    );
    assert_eq!(now.stack_status_reason(), Some("User Initiated"));
    assert_ne!(now.last_updated_time(), before.last_updated_time());
    let operations: Vec<_> = now
        .last_operations()
        .iter()
        .map(|operation| operation.operation_type().unwrap().as_str())
        .collect();
    assert_eq!(operations[..2], ["ROLLBACK", "UPDATE_STACK"]);
    let rollback = now.last_operations()[0].operation_id();
    let operation = now.last_operations()[1].operation_id();
    assert_eq!(operation, before.last_operations()[0].operation_id());
    assert_eq!(
        status(&local, "net-Subnets"),
        StackStatus::UpdateRollbackInProgress
    );

    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(
        status(&local, "net"),
        StackStatus::UpdateRollbackCompleteCleanupInProgress
    );
    tokio::time::sleep(2 * SECOND).await;
    let end = describe(&local, "net").await;
    assert_eq!(
        end.stack_status().unwrap().as_str(),
        "UPDATE_ROLLBACK_COMPLETE"
    );
    assert_eq!(end.stack_status_reason(), None);
    assert_eq!(
        status(&local, "net-Subnets"),
        StackStatus::UpdateRollbackComplete
    );

    let events = events(&local, "net").await;
    let cancelled = Some("token-1");
    assert_eq!(
        own(&events)[..4],
        [
            ("UPDATE_ROLLBACK_COMPLETE", None, rollback, cancelled),
            (
                "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
                None,
                rollback,
                cancelled
            ),
            (
                "UPDATE_ROLLBACK_IN_PROGRESS",
                Some("User Initiated"),
                rollback,
                cancelled
            ),
            (
                "UPDATE_IN_PROGRESS",
                Some("User Initiated"),
                operation,
                Some("mine")
            ),
        ]
    );
    assert!(events.is_sorted_by(|new, old| {
        new.timestamp().unwrap().as_nanos() >= old.timestamp().unwrap().as_nanos()
    }));
    let resource = events
        .iter()
        .find(|event| event.resource_status_reason() == Some("Resource update cancelled"));
    // The nested stack is a stack, too, and not this one.
    assert_eq!(
        resource.unwrap().resource_type(),
        Some("AWS::CloudFormation::Stack")
    );

    let updates = local.updates();
    let update = updates
        .iter()
        .find(|one| Some(one.id.as_str()) == operation)
        .unwrap();
    assert_eq!(update.status, StackStatus::UpdateRollbackComplete);
    assert_eq!(update.status.deployment_status(), Some(Status::Cancelled));
    assert_eq!(update.cancelled_at, Some(start()));
    assert_eq!(update.completed_at, Some(start() + 5 * SECOND));
    let calls = local.calls();
    let call = calls.iter().find(|call| call.cancelled.is_some()).unwrap();
    assert_eq!(call.operation, "CancelUpdateStack");
    assert_eq!(call.environment.as_deref(), Some("net"));
    assert_eq!(call.cancelled.as_deref(), operation);
}

#[tokio::test(start_paused = true)]
async fn an_update_ends_by_itself() {
    let stack = |name: &str, ending: Ending| {
        Environment::stack(name).deployment(Deployment::in_progress().left_alone(SECOND, ending))
    };
    let world = World::new()
        .with(stack("a", Ending::succeeded().cleanup(SECOND)))
        .with(stack("b", Ending::rolled_back().failure("[B].")))
        .with(stack("c", Ending::failed("stuck")))
        .with(stack("d", Ending::not_rolled_back("no rollback")).last_updated_stands_still());
    let local = local(world);
    let before = describe(&local, "b").await;
    tokio::time::sleep(SECOND).await;
    let statuses: Vec<_> = local.stacks().iter().map(|stack| stack.status).collect();
    assert_eq!(
        statuses,
        [
            StackStatus::UpdateCompleteCleanupInProgress,
            StackStatus::UpdateRollbackInProgress,
            StackStatus::UpdateRollbackInProgress,
            StackStatus::UpdateFailed,
        ]
    );
    let now = describe(&local, "b").await;
    assert_eq!(now.stack_status_reason(), Some("[B]."));
    assert_ne!(now.last_updated_time(), before.last_updated_time());
    let (code, message) = cancel(&local, "b", None).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    assert_eq!(
        message,
        "CancelUpdateStack cannot be called from current stack status"
    );
    tokio::time::sleep(10 * SECOND).await;
    let ended: Vec<_> = local
        .stacks()
        .into_iter()
        .map(|stack| (stack.status, stack.message))
        .collect();
    let reason = |reason: &str| Some(reason.to_owned());
    assert_eq!(
        ended,
        [
            (StackStatus::UpdateComplete, None),
            (StackStatus::UpdateRollbackComplete, None),
            (StackStatus::UpdateRollbackFailed, reason("stuck")),
            (StackStatus::UpdateFailed, reason("no rollback")),
        ]
    );
    // Nobody cancelled it: its rollback has the token of the update.
    let events = events(&local, "b").await;
    let own = own(&events);
    assert_eq!(own[2].0, "UPDATE_ROLLBACK_IN_PROGRESS");
    assert_eq!(own[2].3, own[3].3);
    assert_ne!(own[2].2, own[3].2);
    let updates = local.updates();
    assert!(updates.iter().all(|update| update.cancelled_at.is_none()));
}

#[tokio::test(start_paused = true)]
async fn last_updated_can_stand_still() {
    let local = local(World::new().with(running("net").last_updated_stands_still()));
    let before = describe(&local, "net").await;
    cancel(&local, "net", None).await.unwrap();
    let after = describe(&local, "net").await;
    assert_eq!(after.last_updated_time(), before.last_updated_time());
}

#[tokio::test(start_paused = true)]
async fn an_update_can_finish_just_before_its_cancel() {
    let update = Deployment::in_progress().when_cancelled(Ending::succeeded());
    let local = local(World::new().with(Environment::stack("net").deployment(update)));
    let (code, _) = cancel(&local, "net", Some("t")).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    assert_eq!(
        status(&local, "net"),
        StackStatus::UpdateCompleteCleanupInProgress
    );
    assert_eq!(local.calls()[0].cancelled, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cancelled_an_update_is_known_again() {
    let expected = [
        (RepeatedToken::Accepted, None),
        (RepeatedToken::Refused, Some("TokenAlreadyExistsException")),
        (RepeatedToken::Ignored, Some("ValidationError")),
    ];
    for (repeated_token, code) in expected {
        let options = CloudFormationOptions {
            repeated_token,
            ..CloudFormationOptions::default()
        };
        let world = World::new()
            .with(running("one"))
            .with(running("two"))
            .cloudformation(options);
        let local = local(world);
        cancel(&local, "one", Some("t")).await.unwrap();
        let again = cancel(&local, "one", Some("t")).await;
        let refused = again.err().map(|(code, _)| code);
        assert_eq!(refused.as_deref(), code);
        // A second effect it never has.
        let cancelled = local
            .calls()
            .iter()
            .filter(|call| call.cancelled.is_some())
            .count();
        assert_eq!(cancelled, 1);
        let (code, _) = cancel(&local, "two", Some("t")).await.unwrap_err();
        assert_eq!(code, "TokenAlreadyExistsException");
        assert_eq!(status(&local, "two"), StackStatus::UpdateInProgress);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_earlier_update_does_not_cancel_the_next() {
    let quick = Ending::rolled_back()
        .rollback(SECOND)
        .cleanup(Duration::ZERO);
    let stack = Environment::stack("net")
        .deployment(Deployment::in_progress().when_cancelled(quick))
        .then(
            Timing::AfterEnd(SECOND),
            Effect::Deploy(Deployment::in_progress()),
        );
    let local = local(World::new().with(stack));
    cancel(&local, "net", Some("t")).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(status(&local, "net"), StackStatus::UpdateInProgress);
    let (code, _) = cancel(&local, "net", Some("t")).await.unwrap_err();
    assert_eq!(code, "TokenAlreadyExistsException");
    // The first one's end is in the events.
    let events = events(&local, "net").await;
    let statuses: Vec<_> = own(&events).iter().map(|event| event.0).collect();
    assert_eq!(
        statuses[..5],
        [
            "UPDATE_IN_PROGRESS",
            "UPDATE_ROLLBACK_COMPLETE",
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
            "UPDATE_ROLLBACK_IN_PROGRESS",
            "UPDATE_IN_PROGRESS",
        ]
    );
    let operations = describe(&local, "net").await;
    let types: Vec<_> = operations
        .last_operations()
        .iter()
        .map(|operation| operation.operation_type().unwrap().as_str())
        .collect();
    assert_eq!(types[..3], ["UPDATE_STACK", "ROLLBACK", "UPDATE_STACK"]);
}

#[tokio::test(start_paused = true)]
async fn the_list_obeys_its_filter_and_goes_by_its_tokens() {
    let options = CloudFormationOptions {
        stacks_a_page: 2,
        ..CloudFormationOptions::default()
    };
    let mut world = World::new().cloudformation(options);
    for index in 0..9 {
        let name = format!("net-{index}");
        world = world.with(if index % 4 == 0 {
            running(&name)
        } else {
            Environment::stack(&name)
        });
    }
    let deleted = Deployment::of_status(StackStatus::DeleteComplete);
    let long_ago = deleted.clone().started_ago(Duration::from_hours(91 * 24));
    let world = world
        .with(Environment::stack("old").deployment(deleted))
        .with(Environment::stack("older").deployment(long_ago));
    let local = local(world);
    let running = listed(&local, &["UPDATE_IN_PROGRESS"]).await;
    assert_eq!(running, ["net-0", "net-4", "net-8"]);
    let calls = local.calls();
    assert_eq!(calls.len(), 6);
    let all = listed(&local, &[]).await;
    assert_eq!(all.len(), 10);
    assert!(!all.contains(&"older".to_owned()));
    assert_eq!(
        listed(&local, &["DELETE_COMPLETE", "IMPORT_COMPLETE"]).await,
        ["old"]
    );

    // Pages of nothing have a token, too; a token belongs to its question.
    let client = cloudformation(&local);
    let list = client
        .list_stacks()
        .stack_status_filter("UPDATE_IN_PROGRESS".into());
    let first = list.clone().send().await.unwrap();
    let second = list.clone().set_next_token(first.next_token.clone());
    let second = second.send().await.unwrap();
    assert!(second.stack_summaries().is_empty() && second.next_token.is_some());
    let other = client.list_stacks().set_next_token(first.next_token);
    let error = other.send().await.unwrap_err();
    assert_eq!(said(&error).0, "ValidationError");
    let unknown = client.list_stacks().stack_status_filter("DONE".into());
    let (code, message) = said(&unknown.send().await.unwrap_err());
    assert_eq!(code, "ValidationError");
    assert!(message.contains("at 'stackStatusFilter'"), "{message}");

    let described: Vec<_> = client
        .describe_stacks()
        .into_paginator()
        .items()
        .send()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    assert_eq!(described.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn events_come_in_pages_that_new_ones_do_not_move() {
    let options = CloudFormationOptions {
        events_a_page: 3,
        ..CloudFormationOptions::default()
    };
    let local = local(World::new().with(running("net")).cloudformation(options));
    let client = cloudformation(&local);
    let read = client.describe_stack_events().stack_name("net");
    let first = read.clone().send().await.unwrap();
    cancel(&local, "net", None).await.unwrap();
    let rest = read.set_next_token(first.next_token.clone());
    let second = rest.send().await.unwrap();
    let ids = |events: &[StackEvent]| -> Vec<String> {
        events
            .iter()
            .map(|event| event.event_id().unwrap().to_owned())
            .collect()
    };
    let mut seen = ids(first.stack_events());
    seen.extend(ids(second.stack_events()));
    let all = ids(&events(&local, "net").await);
    assert_eq!(all[2..8], seen[..]);
    assert_eq!(first.stack_events().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_does_not_exist() {
    let stack = running("net").then(Timing::At(SECOND), Effect::Delete);
    let local = local(World::new().with(stack));
    let id = local.stacks()[0].arn.clone();
    let client = cloudformation(&local);
    let unknown = client.describe_stacks().stack_name("nobody");
    let error = unknown.send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    assert!(error.request_id().is_some());
    let expected = ("ValidationError", "Stack with id nobody does not exist");
    let (code, message) = said(&error);
    assert_eq!((code.as_str(), message.as_str()), expected);
    let (code, message) = cancel(&local, "nobody", None).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    assert_eq!(message, "Stack [nobody] does not exist");

    tokio::time::sleep(SECOND).await;
    assert!(local.stacks().is_empty());
    let gone = client.describe_stacks().stack_name("net");
    assert_eq!(said(&gone.send().await.unwrap_err()).0, "ValidationError");
    let deleted = describe(&local, &id).await;
    assert_eq!(deleted.stack_status().unwrap().as_str(), "DELETE_COMPLETE");
    assert!(deleted.deletion_time().is_some());
    let events = events(&local, &id).await;
    assert_eq!(
        events[0].resource_status().unwrap().as_str(),
        "DELETE_COMPLETE"
    );
    let (code, message) = cancel(&local, &id, None).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    assert!(message.contains("current stack status"));
}

#[tokio::test(start_paused = true)]
async fn another_stack_can_stand_in_the_place_of_one() {
    let stack = running("net").then(
        Timing::BeforeCall(Operation::CancelUpdateStack, 1),
        Effect::Replace(Deployment::in_progress()),
    );
    let local = local(World::new().with(stack));
    let before = local.stacks().remove(0);
    let (code, _) = cancel(&local, &before.arn, None).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    let after = local.stacks().remove(0);
    assert_eq!(
        (after.name.as_str(), after.status),
        ("net", StackStatus::UpdateInProgress)
    );
    assert_ne!(after.arn, before.arn);
    assert_eq!(
        describe(&local, "net").await.stack_id(),
        Some(after.arn.as_str())
    );
    assert_eq!(listed(&local, &[]).await, ["net", "net"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_is_absent() {
    let quiet = running("quiet")
        .operations_not_sent()
        .last_updated_not_sent();
    let created = Deployment::of_status(StackStatus::CreateInProgress);
    let world = World::new()
        .with(quiet)
        .with(Environment::stack("young").deployment(created));
    let local = local(world);
    let quiet = describe(&local, "quiet").await;
    assert_eq!(quiet.last_updated_time(), None);
    assert!(quiet.last_operations.is_none());
    let events = events(&local, "quiet").await;
    assert!(events.iter().all(|event| event.operation_id().is_none()));
    assert_eq!(describe(&local, "young").await.last_updated_time(), None);
}

#[tokio::test(start_paused = true)]
async fn every_status_can_be_there_at_the_start() {
    let mut world = World::new();
    for status in StackStatus::ALL {
        let name = status.as_str().replace('_', "-");
        world = world.with(Environment::stack(name).deployment(Deployment::of_status(status)));
    }
    let local = local(world);
    for status in StackStatus::ALL {
        let names = listed(&local, &[status.as_str()]).await;
        assert_eq!(names, [status.as_str().replace('_', "-")]);
    }
    let cancelled = cancel(&local, "UPDATE-IN-PROGRESS", None).await;
    assert_eq!(cancelled, Ok(()));
    for stack in local.stacks() {
        if stack.name != "UPDATE-IN-PROGRESS" {
            let (code, _) = cancel(&local, &stack.name, None).await.unwrap_err();
            assert_eq!(code, "ValidationError");
        }
    }
    tokio::time::sleep(10 * SECOND).await;
    let unsettled: Vec<_> = local
        .stacks()
        .into_iter()
        .filter(|stack| !stack.status.is_settled())
        .map(|stack| stack.name)
        .collect();
    // What goes by its script alone.
    assert_eq!(
        unsettled,
        [
            "CREATE-IN-PROGRESS",
            "DELETE-IN-PROGRESS",
            "IMPORT-IN-PROGRESS",
            "IMPORT-ROLLBACK-IN-PROGRESS",
            "REVIEW-IN-PROGRESS",
            "ROLLBACK-IN-PROGRESS",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn faults_have_cloudformations_codes() {
    let throttle = Throttle {
        operation: None,
        per_second: 1.0,
        burst: 1,
    };
    let denied =
        Rule::new(Fault::error("AccessDenied", "no")).operation(Operation::CancelUpdateStack);
    let faults = Faults::none()
        .throttle(throttle)
        .rule(denied.environment("net"));
    let local = local(World::new().with(running("net")).faults(faults));
    let id = local.stacks()[0].arn.clone();
    // A rule that names a stack meets its id, too.
    let denied = cloudformation(&local).cancel_update_stack().stack_name(id);
    let error = denied.send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 403);
    assert_eq!(said(&error), ("AccessDenied".to_owned(), "no".to_owned()));
    describe(&local, "net").await;
    let list = cloudformation(&local).list_stacks().send().await;
    let error = list.unwrap_err();
    assert_eq!(said(&error).0, "Throttling");
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    assert_eq!(
        local.calls()[2].answer,
        Answer::Error("Throttling".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn chance_has_cloudformations_code_and_drops_have_their_effect() {
    let chances = Chances {
        error: 1.0,
        ..Chances::default()
    };
    let drop = Rule::new(Fault::Drop)
        .operation(Operation::CancelUpdateStack)
        .after_effect();
    let faults = Faults::none().chances(chances).rule(drop);
    let local = local(World::new().with(running("net")).faults(faults));
    let error = cloudformation(&local)
        .list_stacks()
        .send()
        .await
        .unwrap_err();
    assert_eq!(said(&error).0, "InternalFailure");
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 500);
    assert!(cancel(&local, "net", None).await.is_err());
    let call = local.calls().remove(1);
    assert_eq!(call.answer, Answer::DroppedAfter);
    assert_eq!(
        call.cancelled,
        Some(local.stacks()[0].deployment_id.clone())
    );
    assert_eq!(status(&local, "net"), StackStatus::UpdateRollbackInProgress);
}

#[tokio::test(start_paused = true)]
async fn environments_can_be_stacks() {
    let environment = Environment::new("net")
        .deployment(Deployment::in_progress().left_alone(SECOND, Ending::succeeded()))
        .then(
            Timing::AfterEnd(SECOND),
            Effect::Deploy(Deployment::in_progress().started(Moment::Ago(SECOND))),
        );
    let local = local(World::new().with(environment).as_stacks());
    assert!(local.environments().is_empty());
    assert_eq!(status(&local, "net"), StackStatus::UpdateInProgress);
    tokio::time::sleep(SECOND).await;
    assert_eq!(status(&local, "net"), StackStatus::UpdateComplete);
    tokio::time::sleep(SECOND).await;
    assert_eq!(status(&local, "net"), StackStatus::UpdateInProgress);
    assert_eq!(local.stacks()[0].started_at, start() + 2 * SECOND);
    cancel(&local, "net", None).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(status(&local, "net"), StackStatus::UpdateRollbackComplete);
}

/// A form, the status and the code of the error that refuses it.
const BAD_FORMS: &[(&str, u16, &str)] = &[
    (
        "Action=CreateStack&Version=2010-05-15",
        400,
        "InvalidAction",
    ),
    (
        "Action=ListEnvironments&Version=2010-05-15",
        400,
        "InvalidAction",
    ),
    (
        "Action=CancelUpdateStack&Version=2010-05-15",
        400,
        "ValidationError",
    ),
    (
        "Action=CancelUpdateStack&Version=2010-05-15&StackName=",
        400,
        "ValidationError",
    ),
    (
        "Action=CancelUpdateStack&Version=2010-05-15&StackName=a_b",
        400,
        "ValidationError",
    ),
    (
        "Action=CancelUpdateStack&Version=2010-05-15&StackName=net&ClientRequestToken=a%3Ab",
        400,
        "ValidationError",
    ),
    (
        "Action=CancelUpdateStack&Version=2010-05-15&StackName.member.1=net",
        400,
        "MalformedInput",
    ),
    (
        "Action=DescribeStackEvents&Version=2010-05-15",
        400,
        "ValidationError",
    ),
    (
        "Action=DescribeStacks&Version=2010-05-15&NextToken=never",
        400,
        "ValidationError",
    ),
    (
        "Action=ListStacks&Version=2010-05-15&StackStatusFilter=UPDATE_COMPLETE",
        400,
        "MalformedInput",
    ),
];

#[tokio::test]
async fn bad_forms_are_refused_as_aws_refuses_them() {
    let (_, server) = serve(World::new().with(running("net"))).await;
    let form = (
        "Content-Type",
        "application/x-www-form-urlencoded; charset=utf-8",
    );
    let signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=local");
    for (body, status, code) in BAD_FORMS {
        let answer = request(&server, "POST", "/", &[form, signed], body.as_bytes())
            .await
            .unwrap();
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert_eq!(answer.status, *status, "{body}: {text}");
        assert!(
            text.contains(&format!("<Code>{code}</Code>")),
            "{body}: {text}"
        );
        assert!(text.contains("<Type>Sender</Type>"), "{text}");
        assert_eq!(answer.header("content-type"), Some("text/xml"));
        assert!(answer.header("x-amzn-requestid").is_some());
    }
    let list = b"Action=ListStacks&Version=2010-05-15";
    let answer = request(&server, "POST", "/", &[form], list).await.unwrap();
    assert_eq!(answer.status, 403);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("<Code>MissingAuthenticationToken</Code>"));
}

#[tokio::test]
async fn what_there_is_can_be_looked_at() {
    let (_, server) = serve(World::new().with(running("net"))).await;
    let read = async |place: &str| {
        let path = format!("/_local/{place}");
        let answer = request(&server, "GET", &path, &[], b"").await.unwrap();
        answer.json()
    };
    let stacks = read("stacks").await;
    assert_eq!(stacks[0]["name"], "net");
    assert_eq!(stacks[0]["status"], "UPDATE_IN_PROGRESS");
    let updates = read("updates").await;
    assert_eq!(updates[0]["status"], "UPDATE_COMPLETE");
    assert_eq!(updates[1]["id"], stacks[0]["operationId"]);
    assert_eq!(updates[1]["stackId"], stacks[0]["id"]);
}

#[tokio::test(start_paused = true)]
async fn a_nested_stack_is_not_cancelled() {
    let nested = Environment::stack("net-Subnets").nested_in("net");
    let local = local(World::new().with(running("net")).with(nested));
    let (code, _) = cancel(&local, "net-Subnets", None).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    assert_eq!(status(&local, "net-Subnets"), StackStatus::UpdateInProgress);
}

#[tokio::test(start_paused = true)]
async fn the_default_world_shows_every_outcome_within_thirty_seconds() {
    let local = local(World::cloudformation_demonstration());
    let name = |name: &str| format!("AWSProton-{name}");
    let mut answers = Vec::new();
    let names = [
        "prod-net",
        "prod-data",
        "dev-data",
        "stage-net",
        "stage-edge",
        "shared-dns",
    ];
    for one in names {
        let answer = cancel(&local, &name(one), None).await;
        answers.push(answer.err().map(|(code, _)| code));
    }
    let answers: Vec<_> = answers.iter().map(Option::as_deref).collect();
    let conflict = Some("ValidationError");
    assert_eq!(
        answers,
        [
            None,
            None,
            conflict,
            conflict,
            conflict,
            Some("AccessDenied")
        ]
    );
    tokio::time::sleep(30 * SECOND).await;
    let ends = names.map(|one| status(&local, &name(one)));
    assert_eq!(
        ends,
        [
            StackStatus::UpdateRollbackComplete,
            StackStatus::UpdateRollbackFailed,
            StackStatus::UpdateComplete,
            StackStatus::UpdateRollbackComplete,
            StackStatus::UpdateFailed,
            StackStatus::UpdateInProgress,
        ]
    );
}
