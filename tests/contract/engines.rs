//! Both engines: one table of accounts and outcomes, then CloudFormation alone (section 7).

use std::collections::BTreeMap;
use std::time::Duration;

use local_aws::{
    CloudFormationOptions, Deployment, Effect, Ending, Environment, Fault, Faults, Operation,
    RepeatedToken, Rule, StackStatus, Throttle, Timing, World,
};
use proton_canceller::engine::EngineKind;
use serde_json::json;
use test_support::payloads::{alarm, request};

use crate::harness::{
    CANCEL, ENGINES, Run, Stage, TAG, each, ending, millis, quick, running, seconds,
};

/// A row of the table.
struct Row {
    name: &'static str,
    stage: fn() -> Stage,
    /// The outcome of each environment, with Proton's error codes.
    expected: &'static [(&'static str, &'static str)],
}

/// The outcome with CloudFormation's error code in place of Proton's.
fn with_cloudformations_code(outcome: &str) -> String {
    outcome
        .replace("AccessDeniedException", "AccessDenied")
        .replace("ResourceNotFoundException", "ValidationError")
        .replace("ConflictException", "ValidationError")
}

fn fault(fault: Fault) -> Rule {
    Rule::new(fault).operation(CANCEL).environment("net")
}

fn with_rule(rule: Rule) -> Stage {
    Stage::running(["net", "other"]).faults(Faults::none().rule(rule))
}

const TABLE: &[Row] = &[
    Row {
        name: "each end",
        stage: || {
            Stage::with([
                ending("cancelled", millis(300), Ending::cancelled()),
                ending("failed", millis(200), Ending::failed("it is in use")),
                ending("succeeded", millis(200), Ending::succeeded()),
            ])
        },
        expected: &[
            ("cancelled", "CANCELLED"),
            ("failed", "FAILED"),
            ("succeeded", "SUCCEEDED"),
        ],
    },
    Row {
        name: "a conflict that hides a finished update",
        stage: || {
            Stage::with([running("net").then(
                Timing::BeforeCall(CANCEL, 1),
                Effect::End(Ending::succeeded()),
            )])
        },
        expected: &[("net", "SUCCEEDED")],
    },
    Row {
        name: "a conflict that somebody else's cancel makes",
        stage: || Stage::with([running("net").then(Timing::BeforeCall(CANCEL, 1), Effect::Cancel)]),
        expected: &[("net", "CANCELLED")],
    },
    Row {
        name: "a conflict of a deployment that stays in progress",
        stage: || with_rule(fault(Fault::error("ConflictException", "not now"))),
        expected: &[("net", "ERROR ConflictException"), ("other", "CANCELLED")],
    },
    Row {
        name: "a denial",
        stage: || with_rule(fault(Fault::error("AccessDeniedException", "no"))),
        expected: &[
            ("net", "ERROR AccessDeniedException"),
            ("other", "CANCELLED"),
        ],
    },
    Row {
        name: "transient throttling",
        stage: || with_rule(fault(Fault::error("ThrottlingException", "slow down")).times(3)),
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        name: "transient server errors",
        stage: || with_rule(fault(Fault::error("InternalServerException", "oops")).times(3)),
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        name: "a response lost after the cancel took effect",
        stage: || with_rule(fault(Fault::Drop).times(1).after_effect()),
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        name: "another deployment that starts while the first is followed",
        stage: || {
            let next = Effect::Deploy(Deployment::in_progress());
            Stage::with([
                ending("net", millis(400), Ending::cancelled())
                    .then(Timing::AfterEnd(Duration::ZERO), next),
                ending("other", millis(900), Ending::cancelled()),
            ])
        },
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        name: "no deployment IDs",
        stage: || {
            let nameless = |name| Environment::new(name).deployment(quick().id_not_sent());
            Stage::with([nameless("a"), nameless("b")])
        },
        expected: &[("a", "CANCELLED"), ("b", "CANCELLED")],
    },
    Row {
        name: "an end after the timeout",
        stage: || {
            Stage::with([ending("net", seconds(3600), Ending::cancelled())])
                .set("SETTLE_TIMEOUT_SECONDS", 1)
        },
        expected: &[("net", "CANCELLING")],
    },
];

#[tokio::test]
async fn both_engines_report_the_same_outcomes() {
    let runs = TABLE.iter().flat_map(|row| {
        ENGINES.map(|engine| async move {
            let run = (row.stage)().on(engine).run(alarm()).await;
            let expected: BTreeMap<_, _> = row
                .expected
                .iter()
                .map(|(name, outcome)| match engine {
                    EngineKind::Proton => (*name, (*outcome).to_owned()),
                    EngineKind::CloudFormation => (*name, with_cloudformations_code(outcome)),
                })
                .collect();
            let calls = run.call_names();
            assert_eq!(
                run.outcomes(),
                expected,
                "{} on {engine:?}: {calls:#?}",
                row.name
            );
        })
    });
    // Six at a time, because each is a process.
    let mut runs: Vec<_> = runs.collect();
    while !runs.is_empty() {
        let some = runs.split_off(runs.len().saturating_sub(6));
        futures_util::future::join_all(some).await;
    }
}

#[tokio::test]
async fn both_engines_read_all_pages_within_the_services_rate() {
    for engine in ENGINES {
        let throttle = Throttle {
            operation: None,
            per_second: 60.0,
            burst: 20,
        };
        let run = Stage::numbered(130)
            .faults(Faults::none().throttle(throttle))
            .set("MAX_CANCELLATIONS", 200)
            .on(engine)
            .run(alarm())
            .await;
        assert_eq!(run.summary()["counts"]["CANCELLED"], 130, "{engine:?}");
    }
}

#[tokio::test]
async fn both_engines_are_incomplete_after_a_transient_error() {
    for engine in ENGINES {
        let run = with_rule(fault(Fault::error("ThrottlingException", "slow down")))
            .on(engine)
            .run(alarm())
            .await;
        assert_eq!(run.failure().kind, "Incomplete", "{engine:?}");
        assert_eq!(run.event("other").outcome(), "CANCELLED", "{engine:?}");
        assert_eq!(run.event("net").outcome(), "ERROR", "{engine:?}");
    }
}

/// A world of these stacks, all in scope.
fn stacks(stacks: impl IntoIterator<Item = Environment>) -> Stage {
    all_in_scope(stacks.into_iter().fold(World::new(), World::with))
}

fn all_in_scope(world: World) -> Stage {
    Stage::of(world)
        .set("ENGINE", "cloudformation")
        .set("ENVIRONMENTS", "*")
}

fn updating(name: &str) -> Environment {
    Environment::stack(name).deployment(quick_update())
}

fn quick_update() -> Deployment {
    Deployment::in_progress().when_cancelled(
        Ending::rolled_back()
            .rollback(millis(100))
            .cleanup(millis(100)),
    )
}

#[tokio::test]
async fn only_the_stacks_of_proton_are_cancelled_by_default() {
    let run = stacks([updating("AWSProton-net"), updating("payroll")])
        .set("ENVIRONMENTS", "")
        .run(alarm())
        .await;
    assert_eq!(
        run.outcomes(),
        each([
            ("AWSProton-net", "CANCELLED"),
            ("payroll", "SKIPPED NOT_INCLUDED")
        ])
    );
}

#[tokio::test]
async fn nested_stacks_are_neither_counted_nor_cancelled() {
    let stage = || stacks([updating("net"), updating("net-part").nested_in("net")]);
    let run = stage().run(alarm()).await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
    assert_eq!(run.summary()["listed"], 1);
    let run = stage().run(request(["net-part"])).await;
    assert_eq!(run.outcomes(), each([("net-part", "SKIPPED NOT_INCLUDED")]));
    assert_eq!(run.cancels(), Vec::<&str>::new());
}

#[tokio::test]
async fn only_updates_are_candidates() {
    let run = stacks([
        updating("net"),
        Environment::stack("new").deployment(Deployment::of_status(StackStatus::CreateInProgress)),
        Environment::stack("import")
            .deployment(Deployment::of_status(StackStatus::ImportInProgress)),
        Environment::stack("review")
            .deployment(Deployment::of_status(StackStatus::ReviewInProgress)),
        Environment::stack("gone").deployment(Deployment::of_status(StackStatus::DeleteInProgress)),
        Environment::stack("rolling").deployment(Deployment::cancelling()),
    ])
    .run(alarm())
    .await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
    assert_eq!(run.summary()["alreadyCancelling"], 1);
}

#[tokio::test]
async fn the_message_says_why_the_stack_rolled_back() {
    let failing = updating("failed").then(
        Timing::BeforeCall(Operation::CancelUpdateStack, 1),
        Effect::End(
            Ending::rolled_back()
                .failure("The following resource(s) failed to update: [Table].")
                .rollback(millis(300))
                .cleanup(millis(200)),
        ),
    );
    let run = stacks([updating("cancelled"), failing]).run(alarm()).await;
    assert_eq!(
        run.outcomes(),
        each([("cancelled", "CANCELLED"), ("failed", "CANCELLED")])
    );
    assert_eq!(
        run.event("cancelled").text("/message"),
        Some("User Initiated")
    );
    assert_eq!(
        run.event("failed").text("/message"),
        Some("The following resource(s) failed to update: [Table].")
    );
}

#[tokio::test]
async fn a_failure_names_the_operation_that_repairs_the_stack() {
    let broken = Environment::stack("broken").deployment(
        Deployment::in_progress()
            .when_cancelled(Ending::failed("the subnet is in use").rollback(millis(100))),
    );
    let stopped = updating("stopped").then(
        Timing::BeforeCall(Operation::CancelUpdateStack, 1),
        Effect::End(Ending::not_rolled_back("the table is gone")),
    );
    let run = stacks([broken, stopped]).run(alarm()).await;
    assert_eq!(
        run.outcomes(),
        each([("broken", "FAILED"), ("stopped", "FAILED")])
    );
    let message = |name: &str| run.event(name).text("/message").unwrap().to_owned();
    assert!(
        message("broken").contains("`ContinueUpdateRollback`"),
        "{}",
        message("broken")
    );
    assert!(
        message("stopped").contains("`RollbackStack`"),
        "{}",
        message("stopped")
    );
}

#[tokio::test]
async fn a_rollback_is_never_taken_for_a_newer_deployment() {
    // Only `LastUpdatedTime` identifies these updates, and the rollback moves it.
    let nameless = |name| updating(name).operations_not_sent();
    let run = stacks([
        nameless("a"),
        nameless("b"),
        nameless("c").last_updated_stands_still(),
    ])
    .run(alarm())
    .await;
    assert_eq!(
        run.outcomes(),
        each([("a", "CANCELLED"), ("b", "CANCELLED"), ("c", "CANCELLED")])
    );
}

#[tokio::test]
async fn a_rollback_that_moves_the_start_has_its_events_read_twice_at_most() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let run = stacks(names.map(|name| {
        let ending = Ending::rolled_back().rollback(seconds(2));
        let update = Deployment::in_progress().when_cancelled(ending);
        Environment::stack(name)
            .deployment(update)
            .operations_not_sent()
    }))
    .run(alarm())
    .await;
    assert_eq!(run.outcomes(), each(names.map(|name| (name, "CANCELLED"))));
    // Once to identify the update, and once for its end.
    let events = run.calls_of(Operation::DescribeStackEvents).len();
    assert!(events <= 2 * names.len(), "{events} calls");
}

#[tokio::test]
async fn the_end_of_a_replaced_update_is_read_from_the_events() {
    for are_operations_sent in [true, false] {
        let mut stack = updating("net").then(
            Timing::AfterEnd(Duration::ZERO),
            Effect::Deploy(Deployment::in_progress()),
        );
        if !are_operations_sent {
            stack = stack.operations_not_sent();
        }
        let run = stacks([stack, updating("other")]).run(alarm()).await;
        assert_eq!(run.outcome("net"), "CANCELLED");
        assert_eq!(run.event("net").text("/message"), Some("User Initiated"));
    }
}

#[tokio::test]
async fn one_update_has_one_token() {
    for repeated in [RepeatedToken::Accepted, RepeatedToken::Refused] {
        let world = World::new()
            .with(updating("net"))
            .cloudformation(CloudFormationOptions {
                repeated_token: repeated,
                ..CloudFormationOptions::default()
            })
            .faults(
                Faults::none().rule(
                    Rule::new(Fault::error("InternalFailure", "oops"))
                        .operation(Operation::CancelUpdateStack)
                        .times(2),
                ),
            );
        let run = all_in_scope(world).run(alarm()).await;
        assert_eq!(run.outcome("net"), "CANCELLED");
        let tokens: Vec<_> = run
            .calls_of(Operation::CancelUpdateStack)
            .into_iter()
            .map(|call| {
                let body = String::from_utf8(call.body.to_vec()).unwrap();
                let token = body
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("ClientRequestToken="));
                token.unwrap().to_owned()
            })
            .collect();
        assert_eq!(tokens.len(), 3);
        assert!(tokens.iter().all(|token| token == &tokens[0]), "{tokens:?}");
    }
}

#[tokio::test]
async fn names_in_a_request_follow_the_engines_rule() {
    let refused: Run = stacks([updating("net")])
        .run(json!({"environments": ["with_underscore"]}))
        .await;
    assert_eq!(refused.failure().kind, "UnsupportedPayload");
    let long = "a".repeat(128);
    let run = stacks([updating(&long)])
        .run(request([long.as_str()]))
        .await;
    assert_eq!(run.outcome(&long), "CANCELLED");
}

#[tokio::test]
async fn an_unreachable_cloudformation_does_not_mention_proton() {
    let run = stacks([updating("net")])
        .set("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:9")
        .run(alarm())
        .await;
    let failure = run.failure();
    assert_eq!(failure.kind, "ListFailed");
    assert!(!failure.message.contains("Proton"), "{}", failure.message);
    assert!(failure.message.contains("CloudFormation cannot be reached"));
}

#[tokio::test]
async fn a_truncated_response_is_requested_again() {
    let cut = |operation, before: &str| {
        let before = before.to_owned();
        let rule = Rule::new(Fault::Cut { before });
        rule.operation(operation).times(1)
    };
    let nested = || {
        [
            updating("net"),
            updating("net-part").nested_in("net"),
            updating("other"),
        ]
    };
    for before in ["<ParentId>", "</StackSummaries>", "</ListStacksResponse>"] {
        let run = stacks(nested())
            .faults(Faults::none().rule(cut(Operation::ListStacks, before)))
            .run(alarm())
            .await;
        assert_eq!(
            run.outcomes(),
            each([("net", "CANCELLED"), ("other", "CANCELLED")]),
            "{before}"
        );
    }
    let run = stacks(nested())
        .faults(Faults::none().rule(cut(Operation::DescribeStacks, "<ParentId>")))
        .run(request(["net-part"]))
        .await;
    assert_eq!(run.outcomes(), each([("net-part", "SKIPPED NOT_INCLUDED")]));
}

#[tokio::test]
async fn the_response_of_a_proxy_accepts_no_cancel() {
    for body in ["<html>proxy</html>", "", "{}"] {
        let junk = Fault::Junk {
            status: 200,
            body: body.to_owned(),
        };
        let rule = Rule::new(junk).operation(Operation::CancelUpdateStack);
        let run = stacks([updating("net")])
            .faults(Faults::none().rule(rule.times(1)))
            .run(alarm())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{body}");
        assert_eq!(run.calls_of(Operation::CancelUpdateStack).len(), 2);
    }
}

/// A stack whose rollback ends before the first poll.
fn at_once(name: &str) -> Environment {
    let ending = Ending::rolled_back()
        .rollback(Duration::ZERO)
        .cleanup(Duration::ZERO);
    Environment::stack(name).deployment(
        Deployment::in_progress()
            .started_ago(seconds(1))
            .when_cancelled(ending),
    )
}

/// The stack, with operation IDs and without.
fn with_and_without_ids(stack: &Environment) -> [Environment; 2] {
    [stack.clone(), stack.clone().operations_not_sent()]
}

fn ends(after: Duration, ending: Ending) -> Effect {
    Effect::Deploy(Deployment::in_progress().left_alone(after, ending))
}

#[tokio::test]
async fn an_update_that_starts_right_after_is_not_the_cancelled_one() {
    let second = ends(Duration::ZERO, Ending::succeeded());
    let stack = at_once("net").then(Timing::AfterEnd(Duration::ZERO), second);
    for stack in with_and_without_ids(&stack) {
        let run = stacks([stack]).run(request(["net"])).await;
        assert_eq!(run.outcome("net"), "CANCELLED");
        assert_eq!(run.event("net").text("/message"), Some("User Initiated"));
    }
}

#[tokio::test]
async fn an_end_is_reported_although_the_stack_was_deleted() {
    let stack = at_once("net").then(Timing::AfterEnd(Duration::ZERO), Effect::Delete);
    for stack in with_and_without_ids(&stack) {
        let run = stacks([stack]).run(request(["net"])).await;
        assert_eq!(run.outcome("net"), "CANCELLED");
    }
    let before_the_cancel = Timing::BeforeCall(Operation::CancelUpdateStack, 1);
    let run = stacks([updating("net").then(before_the_cancel, Effect::Delete)])
        .run(alarm())
        .await;
    assert_eq!(run.outcomes(), each([("net", "ERROR ValidationError")]));
}

#[tokio::test]
async fn an_end_that_the_stack_shows_needs_no_events() {
    for fault in [
        Fault::error("AccessDenied", "no"),
        Fault::error("Throttling", "slow down"),
    ] {
        let rule = Rule::new(fault).operation(Operation::DescribeStackEvents);
        let run = stacks([at_once("net")])
            .faults(Faults::none().rule(rule))
            .run(request(["net"]))
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED");
    }
}

#[tokio::test]
async fn events_are_read_back_to_the_start_of_the_update() {
    let second = Effect::Deploy(Deployment::in_progress());
    let world = World::new()
        .with(at_once("net").then(Timing::AfterEnd(Duration::ZERO), second))
        .cloudformation(CloudFormationOptions {
            events_a_page: 1,
            ..CloudFormationOptions::default()
        })
        .faults(Faults::none().rule(
            Rule::new(Fault::Latency(millis(900))).operation(Operation::DescribeStackEvents),
        ));
    let run = all_in_scope(world).run(request(["net"])).await;
    assert_eq!(run.outcome("net"), "CANCELLED");
    let pages = run.calls_of(Operation::DescribeStackEvents).len();
    assert!((6..10).contains(&pages), "{pages} pages");
}

#[tokio::test]
async fn a_newer_rollback_is_not_taken_for_that_of_the_cancelled_update() {
    let rollback = Ending::rolled_back()
        .failure("the table is gone")
        .rollback(seconds(60));
    let first = at_once("net").then(
        Timing::AfterEnd(Duration::ZERO),
        ends(Duration::ZERO, rollback),
    );
    let other = Environment::stack("other").deployment(
        Deployment::in_progress().when_cancelled(Ending::rolled_back().rollback(seconds(1))),
    );
    for first in with_and_without_ids(&first) {
        let run = stacks([first, other.clone()])
            .set("SETTLE_TIMEOUT_SECONDS", 10)
            .run(request(["net", "other"]))
            .await;
        assert_eq!(
            run.outcomes(),
            each([("net", "CANCELLED"), ("other", "CANCELLED")])
        );
        assert_eq!(run.event("net").text("/message"), Some("User Initiated"));
    }
}

/// A stack whose update succeeds after the listing, and in which the next update starts.
fn replaced(name: &str, next: Deployment) -> Environment {
    let listed = || Timing::AfterCall(Operation::ListStacks, 1);
    let succeeded = Ending::succeeded().cleanup(Duration::ZERO);
    updating(name)
        .then(listed(), Effect::End(succeeded))
        .then(listed(), Effect::Deploy(next))
}

#[tokio::test]
async fn the_update_that_an_accepted_cancel_hit_is_reported() {
    // The response does not name the update that was hit; or the response is lost.
    let lost = Rule::new(Fault::Drop).operation(Operation::CancelUpdateStack);
    for faults in [
        Faults::none(),
        Faults::none().rule(lost.times(1).after_effect()),
    ] {
        let run = stacks([replaced("net", quick_update().id("the-next"))])
            .faults(faults)
            .run(alarm())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED");
        assert_eq!(run.event("net").text("/deployment/id"), Some("the-next"));
        assert_eq!(run.event("net").text("/message"), Some("User Initiated"));
        let mut warnings = run.lines.iter().filter(|line| {
            line.text
                .contains("cancelled a newer deployment than intended")
        });
        assert!(warnings.any(|line| line.text.contains("the-next")));
        assert_eq!(run.calls_of(Operation::CancelUpdateStack).len(), 1);
    }
}

#[tokio::test]
async fn an_update_that_no_token_proves_to_be_hit_is_not_reported() {
    // The next update fails by itself, and the cancel of the first never arrived.
    let fails = Ending::rolled_back()
        .failure("the table is gone")
        .rollback(Duration::ZERO)
        .cleanup(Duration::ZERO);
    let next = Deployment::in_progress().left_alone(Duration::ZERO, fails);
    let lost = Rule::new(Fault::Drop).operation(Operation::CancelUpdateStack);
    let run = stacks([replaced("net", next)])
        .faults(Faults::none().rule(lost))
        .run(alarm())
        .await;
    assert_eq!(run.outcome("net"), "SUCCEEDED");
}

#[tokio::test]
async fn a_read_for_the_tag_shows_a_newer_update() {
    let run = stacks([replaced("net", quick_update()).tag(TAG, "*")])
        .set("ALARM_SCOPE", "tagged")
        .run(alarm())
        .await;
    assert_eq!(run.outcome("net"), "SUCCEEDED");
    assert_eq!(run.calls_of(Operation::CancelUpdateStack).len(), 0);
}

#[tokio::test]
async fn a_stack_that_was_read_for_its_tag_is_not_read_again() {
    // The listing is stale by the time the tag is read.
    let slow = Rule::new(Fault::Latency(millis(2_100))).operation(Operation::ListStacks);
    let run = stacks([updating("net").tag(TAG, "*")])
        .faults(Faults::none().rule(slow))
        .set("ALARM_SCOPE", "tagged")
        .run(alarm())
        .await;
    assert_eq!(run.outcome("net"), "CANCELLED");
    let calls = run.call_names();
    assert_eq!(
        calls
            .get(2)
            .map(|name| name.starts_with("CancelUpdateStack")),
        Some(true),
        "{calls:?}"
    );
}
