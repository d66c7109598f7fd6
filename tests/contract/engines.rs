//! One table for both engines: the same account, the same payload, the same outcomes. What only
//! CloudFormation knows stands at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use local_aws::{
    CloudFormationOptions, Deployment, Effect, Ending, Environment, Fault, Faults, Operation,
    RepeatedToken, Rule, StackStatus, Throttle, Timing, World,
};
use serde_json::{Value, json};

use crate::harness::{Engine, Run, Stage, each, millis, quick, running, seconds};
use crate::payloads::{alarm, request, schedule};

const CANCEL: Operation = Operation::CancelEnvironmentDeployment;

/// A row of the table.
struct Row {
    what: &'static str,
    stage: fn() -> Stage,
    payload: fn() -> Value,
    /// What becomes of each environment; the error codes are Proton's.
    expected: &'static [(&'static str, &'static str)],
}

/// What CloudFormation's code is for an error of Proton's.
fn in_cloudformations_words(outcome: &str) -> String {
    outcome
        .replace("AccessDeniedException", "AccessDenied")
        .replace("ResourceNotFoundException", "ValidationError")
        .replace("ConflictException", "ValidationError")
}

fn ending(name: &str, after: Duration, ending: Ending) -> Environment {
    let cancellation = ending.rollback(after);
    Environment::new(name).deployment(Deployment::in_progress().when_cancelled(cancellation))
}

fn fault(fault: Fault) -> Rule {
    Rule::new(fault).operation(CANCEL).environment("net")
}

fn with_rule(rule: Rule) -> Stage {
    Stage::running(["net", "other"]).faults(Faults::none().rule(rule))
}

const TAG: &str = "proton-canceller:alarms";

const TABLE: &[Row] = &[
    Row {
        what: "each end",
        stage: || {
            Stage::with([
                ending("cancelled", millis(300), Ending::cancelled()),
                ending("failed", millis(200), Ending::failed("it is in use")),
                ending("succeeded", millis(200), Ending::succeeded()),
            ])
        },
        payload: alarm,
        expected: &[
            ("cancelled", "CANCELLED"),
            ("failed", "FAILED"),
            ("succeeded", "SUCCEEDED"),
        ],
    },
    Row {
        what: "the fences",
        stage: || {
            Stage::running(["in", "out", "in-core"])
                .set("ENVIRONMENTS", "in*")
                .set("PROTECTED_ENVIRONMENTS", "*-core")
        },
        payload: alarm,
        expected: &[
            ("in", "CANCELLED"),
            ("out", "SKIPPED NOT_INCLUDED"),
            ("in-core", "SKIPPED PROTECTED"),
        ],
    },
    Row {
        what: "the cure goes through",
        stage: || {
            let fix = quick().started(local_aws::Moment::In(seconds(30)));
            Stage::with([running("net"), Environment::new("fixed").deployment(fix)])
        },
        payload: alarm,
        expected: &[
            ("net", "CANCELLED"),
            ("fixed", "SKIPPED STARTED_AFTER_ALARM"),
        ],
    },
    Row {
        what: "an unknown start",
        stage: || Stage::with([Environment::new("net").deployment(quick().start_not_sent())]),
        payload: alarm,
        expected: &[("net", "SKIPPED START_UNKNOWN")],
    },
    Row {
        what: "tags",
        stage: || {
            Stage::with([
                running("named").tag(TAG, "other checkout-*"),
                running("other").tag(TAG, "other"),
                running("bare"),
            ])
            .set("ALARM_SCOPE", "tagged")
        },
        payload: alarm,
        expected: &[
            ("named", "CANCELLED"),
            ("other", "SKIPPED NOT_TAGGED"),
            ("bare", "SKIPPED NOT_TAGGED"),
        ],
    },
    Row {
        what: "a sweep",
        stage: || {
            let started = |ago| quick().started_ago(ago);
            Stage::with([
                Environment::new("stuck").deployment(started(Duration::from_mins(61))),
                Environment::new("young").deployment(started(Duration::from_mins(59))),
            ])
        },
        payload: schedule,
        expected: &[("stuck", "CANCELLED"), ("young", "SKIPPED NOT_STUCK")],
    },
    Row {
        what: "the limit",
        stage: || Stage::running(["a", "b"]).set("MAX_CANCELLATIONS", 1),
        payload: alarm,
        expected: &[("a", "SKIPPED OVER_LIMIT"), ("b", "SKIPPED OVER_LIMIT")],
    },
    Row {
        what: "a dry run",
        stage: || Stage::running(["a", "b"]).set("DRY_RUN", true),
        payload: alarm,
        expected: &[("a", "DRY_RUN"), ("b", "DRY_RUN")],
    },
    Row {
        what: "a request",
        stage: || {
            Stage::with([
                running("net"),
                running("core"),
                Environment::new("still"),
                running("not-named"),
            ])
            .set("PROTECTED_ENVIRONMENTS", "core")
        },
        payload: || request(["net", "core", "still", "nowhere", "net"]),
        expected: &[
            ("net", "CANCELLED"),
            ("core", "SKIPPED PROTECTED"),
            ("still", "SKIPPED NOT_IN_PROGRESS"),
            ("nowhere", "ERROR ResourceNotFoundException"),
        ],
    },
    Row {
        what: "a conflict that hides a finished update",
        stage: || {
            Stage::with([running("net").then(
                Timing::BeforeCall(CANCEL, 1),
                Effect::End(Ending::succeeded()),
            )])
        },
        payload: alarm,
        expected: &[("net", "SUCCEEDED")],
    },
    Row {
        what: "a conflict that somebody else's cancel makes",
        stage: || Stage::with([running("net").then(Timing::BeforeCall(CANCEL, 1), Effect::Cancel)]),
        payload: alarm,
        expected: &[("net", "CANCELLED")],
    },
    Row {
        what: "a conflict of what goes on",
        stage: || with_rule(fault(Fault::error("ConflictException", "not now"))),
        payload: alarm,
        expected: &[("net", "ERROR ConflictException"), ("other", "CANCELLED")],
    },
    Row {
        what: "a denial",
        stage: || with_rule(fault(Fault::error("AccessDeniedException", "no"))),
        payload: alarm,
        expected: &[
            ("net", "ERROR AccessDeniedException"),
            ("other", "CANCELLED"),
        ],
    },
    Row {
        what: "throttling that passes",
        stage: || with_rule(fault(Fault::error("ThrottlingException", "slow down")).times(3)),
        payload: alarm,
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        what: "a service that breaks for a while",
        stage: || with_rule(fault(Fault::error("InternalServerException", "oops")).times(3)),
        payload: alarm,
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        what: "an answer that is lost after the cancel took effect",
        stage: || with_rule(fault(Fault::Drop).times(1).after_effect()),
        payload: alarm,
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        what: "another deployment that starts while the first is followed",
        stage: || {
            let next = Effect::Deploy(Deployment::in_progress());
            Stage::with([
                ending("net", millis(400), Ending::cancelled())
                    .then(Timing::AfterEnd(Duration::ZERO), next),
                ending("other", millis(900), Ending::cancelled()),
            ])
        },
        payload: alarm,
        expected: &[("net", "CANCELLED"), ("other", "CANCELLED")],
    },
    Row {
        what: "no ids",
        stage: || {
            let nameless = |name| Environment::new(name).deployment(quick().id_not_sent());
            Stage::with([nameless("a"), nameless("b")])
        },
        payload: alarm,
        expected: &[("a", "CANCELLED"), ("b", "CANCELLED")],
    },
    Row {
        what: "an end that is not seen",
        stage: || {
            Stage::with([ending("net", seconds(3600), Ending::cancelled())])
                .set("SETTLE_TIMEOUT_SECONDS", 1)
        },
        payload: alarm,
        expected: &[("net", "CANCELLING")],
    },
];

#[tokio::test]
async fn both_engines_keep_the_same_promises() {
    let runs = TABLE.iter().flat_map(|row| {
        Engine::ALL.map(|engine| async move {
            let run = (row.stage)()
                .on(engine)
                .run((row.payload)().to_string())
                .await;
            let expected: BTreeMap<_, _> = row
                .expected
                .iter()
                .map(|(name, outcome)| match engine {
                    Engine::Proton => (*name, (*outcome).to_owned()),
                    Engine::CloudFormation => (*name, in_cloudformations_words(outcome)),
                })
                .collect();
            let calls = run.call_names();
            assert_eq!(
                run.outcomes(),
                expected,
                "{} on {engine:?}: {calls:#?}",
                row.what
            );
        })
    });
    // A few at a time: each is a process.
    let mut runs: Vec<_> = runs.collect();
    while !runs.is_empty() {
        let some = runs.split_off(runs.len().saturating_sub(6));
        futures_util::future::join_all(some).await;
    }
}

#[tokio::test]
async fn both_engines_page_and_keep_a_services_pace() {
    for engine in Engine::ALL {
        let mut world = World::new().faults(Faults::none().throttle(Throttle {
            operation: None,
            per_second: 60.0,
            burst: 20,
        }));
        for number in 0..130 {
            world = world.with(running(&format!("net-{number:03}")));
        }
        let run = Stage::of(world)
            .set("MAX_CANCELLATIONS", 200)
            .on(engine)
            .run(alarm().to_string())
            .await;
        assert_eq!(run.summary()["counts"]["CANCELLED"], 130, "{engine:?}");
    }
}

#[tokio::test]
async fn both_engines_fail_the_invocation_for_what_may_pass() {
    for engine in Engine::ALL {
        let run = with_rule(fault(Fault::error("ThrottlingException", "slow down")))
            .on(engine)
            .run(alarm().to_string())
            .await;
        assert_eq!(run.failure().kind, "Incomplete", "{engine:?}");
        assert_eq!(run.event("other").outcome(), "CANCELLED", "{engine:?}");
        assert_eq!(run.event("net").outcome(), "ERROR", "{engine:?}");
    }
}

/// Stacks that may all be touched.
fn stacks(stacks: impl IntoIterator<Item = Environment>) -> Stage {
    Stage::of(stacks.into_iter().fold(World::new(), World::with))
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
async fn never_every_stack_by_default() {
    let run = stacks([updating("AWSProton-net"), updating("payroll")])
        .set("ENVIRONMENTS", "")
        .run(alarm().to_string())
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
async fn nested_stacks_are_never_counted_or_touched() {
    let stage = || stacks([updating("net"), updating("net-part").nested_in("net")]);
    let run = stage().run(alarm().to_string()).await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
    assert_eq!(run.summary()["listed"], 1);
    let run = stage().run(request(["net-part"]).to_string()).await;
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
    .run(alarm().to_string())
    .await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
    assert_eq!(run.summary()["alreadyCancelling"], 1);
}

#[tokio::test]
async fn the_message_says_who_rolled_back() {
    let failing = updating("failed").then(
        Timing::BeforeCall(Operation::CancelUpdateStack, 1),
        Effect::End(
            Ending::rolled_back()
                .failure("The following resource(s) failed to update: [Table].")
                .rollback(millis(300))
                .cleanup(millis(200)),
        ),
    );
    let run = stacks([updating("cancelled"), failing])
        .run(alarm().to_string())
        .await;
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
async fn a_failure_names_what_to_call() {
    let broken = Environment::stack("broken").deployment(
        Deployment::in_progress()
            .when_cancelled(Ending::failed("the subnet is in use").rollback(millis(100))),
    );
    let stopped = updating("stopped").then(
        Timing::BeforeCall(Operation::CancelUpdateStack, 1),
        Effect::End(Ending::not_rolled_back("the table is gone")),
    );
    let run = stacks([broken, stopped]).run(alarm().to_string()).await;
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
async fn a_rollback_is_never_another_deployment() {
    // Nothing but the time of the last update identifies these, and the rollback moves it.
    let nameless = |name| updating(name).operations_not_sent();
    let run = stacks([
        nameless("a"),
        nameless("b"),
        nameless("c").last_updated_stands_still(),
    ])
    .run(alarm().to_string())
    .await;
    assert_eq!(
        run.outcomes(),
        each([("a", "CANCELLED"), ("b", "CANCELLED"), ("c", "CANCELLED")])
    );
}

#[tokio::test]
async fn a_rollback_that_moves_the_time_costs_its_events_once() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let run = stacks(names.map(|name| {
        let ending = Ending::rolled_back().rollback(seconds(2));
        let update = Deployment::in_progress().when_cancelled(ending);
        Environment::stack(name)
            .deployment(update)
            .operations_not_sent()
    }))
    .run(alarm().to_string())
    .await;
    assert_eq!(run.outcomes(), each(names.map(|name| (name, "CANCELLED"))));
    // To know that it is the same one, and at its end perhaps.
    let events = run.calls_of(Operation::DescribeStackEvents).len();
    assert!(events <= 2 * names.len(), "{events} calls");
}

#[tokio::test]
async fn the_first_updates_end_is_in_the_events() {
    for are_operations_sent in [true, false] {
        let mut stack = updating("net").then(
            Timing::AfterEnd(Duration::ZERO),
            Effect::Deploy(Deployment::in_progress()),
        );
        if !are_operations_sent {
            stack = stack.operations_not_sent();
        }
        let run = stacks([stack, updating("other")])
            .run(alarm().to_string())
            .await;
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
        let run = Stage::of(world)
            .set("ENGINE", "cloudformation")
            .set("ENVIRONMENTS", "*")
            .run(alarm().to_string())
            .await;
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
        .run(json!({"environments": ["with_underscore"]}).to_string())
        .await;
    assert_eq!(refused.failure().kind, "UnsupportedPayload");
    let long = "a".repeat(128);
    let run = stacks([updating(&long)])
        .run(request([long.as_str()]).to_string())
        .await;
    assert_eq!(run.outcome(&long), "CANCELLED");
}

#[tokio::test]
async fn an_endpoint_out_of_reach_says_no_word_on_proton() {
    let run = stacks([updating("net")])
        .set("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:9")
        .run(alarm().to_string())
        .await;
    let failure = run.failure();
    assert_eq!(failure.kind, "ListFailed");
    assert!(!failure.message.contains("Proton"), "{}", failure.message);
    assert!(failure.message.contains("CloudFormation cannot be reached"));
}

#[tokio::test]
async fn an_answer_that_was_cut_short_is_asked_for_again() {
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
            .run(alarm().to_string())
            .await;
        assert_eq!(
            run.outcomes(),
            each([("net", "CANCELLED"), ("other", "CANCELLED")]),
            "{before}"
        );
    }
    let run = stacks(nested())
        .faults(Faults::none().rule(cut(Operation::DescribeStacks, "<ParentId>")))
        .run(request(["net-part"]).to_string())
        .await;
    assert_eq!(run.outcomes(), each([("net-part", "SKIPPED NOT_INCLUDED")]));
}

#[tokio::test]
async fn what_is_no_answer_of_the_services_accepts_no_cancel() {
    for body in ["<html>proxy</html>", "", "{}"] {
        let junk = Fault::Junk {
            status: 200,
            body: body.to_owned(),
        };
        let rule = Rule::new(junk).operation(Operation::CancelUpdateStack);
        let run = stacks([updating("net")])
            .faults(Faults::none().rule(rule.times(1)))
            .run(alarm().to_string())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{body}");
        assert_eq!(run.calls_of(Operation::CancelUpdateStack).len(), 2);
    }
}

/// A stack whose rollback is over before anybody looks.
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

/// The same stack, with operations' ids and without.
fn known_and_nameless(stack: &Environment) -> [Environment; 2] {
    [stack.clone(), stack.clone().operations_not_sent()]
}

fn ends(after: Duration, ending: Ending) -> Effect {
    Effect::Deploy(Deployment::in_progress().left_alone(after, ending))
}

#[tokio::test]
async fn an_update_that_starts_a_moment_later_is_not_the_first() {
    let second = ends(Duration::ZERO, Ending::succeeded());
    let stack = at_once("net").then(Timing::AfterEnd(Duration::ZERO), second);
    for stack in known_and_nameless(&stack) {
        let run = stacks([stack]).run(request(["net"]).to_string()).await;
        assert_eq!(run.outcome("net"), "CANCELLED");
        assert_eq!(run.event("net").text("/message"), Some("User Initiated"));
    }
}

#[tokio::test]
async fn an_end_stands_whatever_becomes_of_the_stack() {
    let stack = at_once("net").then(Timing::AfterEnd(Duration::ZERO), Effect::Delete);
    for stack in known_and_nameless(&stack) {
        let run = stacks([stack]).run(request(["net"]).to_string()).await;
        assert_eq!(run.outcome("net"), "CANCELLED");
    }
    let before_the_cancel = Timing::BeforeCall(Operation::CancelUpdateStack, 1);
    let run = stacks([updating("net").then(before_the_cancel, Effect::Delete)])
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcomes(), each([("net", "ERROR ValidationError")]));
}

#[tokio::test]
async fn the_end_that_the_stack_tells_needs_no_events() {
    for fault in [
        Fault::error("AccessDenied", "no"),
        Fault::error("Throttling", "slow down"),
    ] {
        let rule = Rule::new(fault).operation(Operation::DescribeStackEvents);
        let run = stacks([at_once("net")])
            .faults(Faults::none().rule(rule))
            .run(request(["net"]).to_string())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED");
    }
}

#[tokio::test]
async fn a_long_history_is_read_to_where_the_update_started() {
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
    let run = Stage::of(world)
        .set("ENGINE", "cloudformation")
        .set("ENVIRONMENTS", "*")
        .run(request(["net"]).to_string())
        .await;
    assert_eq!(run.outcome("net"), "CANCELLED");
    let pages = run.calls_of(Operation::DescribeStackEvents).len();
    assert!((6..10).contains(&pages), "{pages} pages");
}

#[tokio::test]
async fn another_updates_rollback_is_not_taken_for_the_firsts() {
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
    for first in known_and_nameless(&first) {
        let run = stacks([first, other.clone()])
            .set("SETTLE_TIMEOUT_SECONDS", 10)
            .run(request(["net", "other"]).to_string())
            .await;
        assert_eq!(
            run.outcomes(),
            each([("net", "CANCELLED"), ("other", "CANCELLED")])
        );
        assert_eq!(run.event("net").text("/message"), Some("User Initiated"));
    }
}

/// Once it was listed its update goes through, and the next one begins.
fn replaced(name: &str, next: Deployment) -> Environment {
    let listed = || Timing::AfterCall(Operation::ListStacks, 1);
    let succeeded = Ending::succeeded().cleanup(Duration::ZERO);
    updating(name)
        .then(listed(), Effect::End(succeeded))
        .then(listed(), Effect::Deploy(next))
}

#[tokio::test]
async fn the_update_that_an_accepted_cancel_hit_is_the_one_that_is_told() {
    // The answer comes, and says nothing of what was hit; or it is lost.
    let lost = Rule::new(Fault::Drop).operation(Operation::CancelUpdateStack);
    for faults in [
        Faults::none(),
        Faults::none().rule(lost.times(1).after_effect()),
    ] {
        let run = stacks([replaced("net", quick_update().id("the-next"))])
            .faults(faults)
            .run(alarm().to_string())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED");
        assert_eq!(run.event("net").text("/deployment/id"), Some("the-next"));
        assert_eq!(run.event("net").text("/message"), Some("User Initiated"));
        let told = run.lines.iter();
        let mut told = told.filter(|line| {
            line.text
                .contains("cancelled a newer deployment than intended")
        });
        assert!(told.any(|line| line.text.contains("the-next")));
        assert_eq!(run.calls_of(Operation::CancelUpdateStack).len(), 1);
    }
}

#[tokio::test]
async fn what_nothing_proves_to_be_hit_is_not_told_of() {
    // The next update fails by itself; the cancel of the first never arrived.
    let fails = Ending::rolled_back()
        .failure("the table is gone")
        .rollback(Duration::ZERO)
        .cleanup(Duration::ZERO);
    let next = Deployment::in_progress().left_alone(Duration::ZERO, fails);
    let lost = Rule::new(Fault::Drop).operation(Operation::CancelUpdateStack);
    let run = stacks([replaced("net", next)])
        .faults(Faults::none().rule(lost))
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcome("net"), "SUCCEEDED");
}

#[tokio::test]
async fn what_is_read_for_the_tag_shows_that_another_update_has_begun() {
    let run = stacks([replaced("net", quick_update()).tag(TAG, "*")])
        .set("ALARM_SCOPE", "tagged")
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcome("net"), "SUCCEEDED");
    assert_eq!(run.calls_of(Operation::CancelUpdateStack).len(), 0);
}

#[tokio::test]
async fn what_is_read_for_the_tag_need_not_be_looked_at_again() {
    // The listing is old when the tag is known.
    let slow = Rule::new(Fault::Latency(millis(2_100))).operation(Operation::ListStacks);
    let run = stacks([updating("net").tag(TAG, "*")])
        .faults(Faults::none().rule(slow))
        .set("ALARM_SCOPE", "tagged")
        .run(alarm().to_string())
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
