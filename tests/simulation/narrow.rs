//! Narrow places, each made on purpose: faults that last, and what a run makes of them.

use std::time::Duration;

use local_aws::{
    Call, Deployment, Effect, Ending, Environment, Fault, Faults, Operation, Rule, Throttle,
    Timing, World,
};
use serde_json::{Value, json};

use crate::course::{Log, in_new_world};
use crate::function::Simulated;

const CANCEL: Operation = Operation::CancelEnvironmentDeployment;
const LIST: Operation = Operation::ListEnvironments;

/// In progress for two hours; a cancel leads to `CANCELLED` after a while.
fn running(name: &str, after: Duration) -> Environment {
    let cancellation = Ending::cancelled().rollback(after);
    let deployment = Deployment::in_progress().started_ago(Duration::from_hours(2));
    Environment::new(name).deployment(deployment.when_cancelled(cancellation))
}

fn settings(more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let usual = [
        ("MAX_CANCELLATIONS", "1000"),
        ("SETTLE_TIMEOUT_SECONDS", "60"),
    ];
    // The first of a name counts.
    let all = more.iter().chain(&usual);
    all.map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// What a run makes of a world: its summary, the calls, and how the deployments stand.
struct Swept {
    summary: Value,
    calls: Vec<Call>,
    deployments: Vec<local_aws::DeploymentSnapshot>,
    log: String,
    /// How long the invocation took.
    took: Duration,
}

fn sweep(world: World, more: &[(&'static str, &str)], time: Duration) -> Swept {
    let payload = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
    invoked(world, more, &payload, time)
}

fn invoked(world: World, more: &[(&'static str, &str)], payload: &Value, time: Duration) -> Swept {
    let log = Log::default();
    log.of(|| {
        in_new_world(7, world, &settings(more), async |simulated: &Simulated| {
            let start = tokio::time::Instant::now();
            let answer = simulated.invoke("r-1", payload, time).await;
            Swept {
                took: start.elapsed(),
                summary: answer.unwrap_or_else(|error| json!(error.to_string())),
                calls: simulated.local.calls(),
                deployments: simulated.local.deployments(),
                log: log.text(),
            }
        })
    })
}

impl Swept {
    fn count(&self, operation: Operation) -> usize {
        let of_it = |call: &&Call| call.operation == operation.to_string();
        self.calls.iter().filter(of_it).count()
    }

    /// How long after the first call the last cancel came.
    fn last_cancel(&self) -> Duration {
        let is_cancel = |call: &&Call| call.operation == CANCEL.to_string();
        let last = self.calls.iter().rfind(is_cancel).unwrap();
        last.time.duration_since(self.calls[0].time).unwrap()
    }

    /// How long after the first call the first of an operation came.
    fn first(&self, operation: Operation) -> Duration {
        let start = self.calls[0].time;
        let mut of_it = self
            .calls
            .iter()
            .filter(|call| call.operation == operation.to_string());
        of_it.next().unwrap().time.duration_since(start).unwrap()
    }
}

#[test]
fn a_cancel_that_is_throttled_for_seconds_is_made() {
    let world = ["net", "web"]
        .into_iter()
        .map(|name| running(name, Duration::ZERO))
        .fold(World::new(), World::with)
        .faults(Faults::none().throttle(Throttle {
            operation: Some(CANCEL),
            // The second one's turn comes after five seconds.
            per_second: 0.2,
            burst: 1,
        }));
    let swept = sweep(world, &[], Duration::from_mins(1));
    assert_eq!(swept.summary["counts"]["CANCELLED"], 2, "{}", swept.summary);
}

#[test]
fn a_listing_that_hangs_does_not_keep_cancels_waiting() {
    let world = ["api", "net", "web"]
        .into_iter()
        .map(|name| running(name, Duration::ZERO))
        .fold(World::new(), World::with)
        .faults(
            Faults::none()
                // Readings are old when it comes to the second cancel.
                .rule(Rule::new(Fault::Latency(Duration::from_secs(3))).operation(CANCEL))
                .rule(Rule::new(Fault::Never).operation(LIST).calls(2..=u64::MAX)),
        );
    let swept = sweep(world, &[("CONCURRENCY", "1")], Duration::from_mins(1));
    assert_eq!(swept.summary["counts"]["CANCELLED"], 3, "{}", swept.summary);
    assert_eq!(swept.count(CANCEL), 3);
    // Two cancels of three seconds, and three attempts of a second at the page.
    let last = swept.last_cancel();
    assert!(last < Duration::from_secs(10), "{last:?}");
}

#[test]
fn a_page_that_cannot_be_read_any_more_hides_no_end() {
    for fault in [
        Fault::error("InternalServerException", "broken"),
        Fault::error("ThrottlingException", "slow down"),
        Fault::Never,
    ] {
        let world = ["net", "web"]
            .into_iter()
            .map(|name| running(name, Duration::from_millis(100)))
            .fold(World::new(), World::with)
            .faults(Faults::none().rule(Rule::new(fault).operation(LIST).calls(2..=u64::MAX)));
        let swept = sweep(world, &[], Duration::from_mins(2));
        assert_eq!(swept.summary["counts"]["CANCELLED"], 2, "{}", swept.summary);
    }
}

#[test]
fn what_shifted_to_another_page_costs_no_call_of_its_own() {
    // Of six pages of ten, the first two are emptied once the cancels are made, so that all others
    // move up.
    let gone = |name: &str| {
        Environment::new(name).then(Timing::At(Duration::from_secs(1)), Effect::Delete)
    };
    let world = (0..20)
        .map(|number| gone(&format!("a-{number:02}")))
        .chain((0..40).map(|number| running(&format!("b-{number:02}"), Duration::from_secs(20))))
        .fold(
            World::new().environments_a_page(10).pages_shift(),
            World::with,
        );
    let swept = sweep(world, &[("CONCURRENCY", "50")], Duration::from_mins(2));
    assert_eq!(
        swept.summary["counts"]["CANCELLED"], 40,
        "{}",
        swept.summary
    );
    let looks = swept.count(Operation::GetDeployment);
    assert!(looks <= 40, "{looks} looks at single deployments");
}

#[test]
fn a_slow_answer_is_as_old_as_its_question() {
    // The listing's answer takes longer than a reading may be old. The deployment it shows ends
    // meanwhile, and the next one, the cure, has begun.
    let cure = Deployment::in_progress();
    let net = running("net", Duration::ZERO)
        .then(
            Timing::At(Duration::from_millis(400)),
            Effect::End(Ending::failed("it broke")),
        )
        .then(Timing::At(Duration::from_millis(600)), Effect::Deploy(cure));
    let slow = Rule::new(Fault::Latency(Duration::from_millis(2_200))).operation(LIST);
    let world = World::new().with(net).faults(Faults::none().rule(slow));
    let swept = sweep(world, &[], Duration::from_mins(1));
    assert_eq!(swept.count(CANCEL), 0);
    assert_eq!(swept.summary["counts"]["FAILED"], 1, "{}", swept.summary);
}

#[test]
fn what_a_lost_cancel_may_have_hit_instead_is_logged_and_the_end_of_what_was_meant_is_the_outcome()
{
    // While the listing's answer is on its way, the deployment ends and the next one starts. The cancel
    // hits that one, and its response is lost: nothing tells what it hit.
    let second = Deployment::in_progress()
        .when_cancelled(Ending::cancelled().rollback(Duration::from_millis(500)));
    let net = running("net", Duration::ZERO)
        .then(
            Timing::At(Duration::from_millis(400)),
            Effect::End(Ending::succeeded()),
        )
        .then(
            Timing::At(Duration::from_millis(600)),
            Effect::Deploy(second),
        );
    let slow = Rule::new(Fault::Latency(Duration::from_secs(1))).operation(LIST);
    let lost = Rule::new(Fault::Drop).operation(CANCEL);
    let faults = Faults::none().rule(slow).rule(lost.times(1).after_effect());
    let swept = sweep(
        World::new().with(net).faults(faults),
        &[],
        Duration::from_mins(1),
    );
    let meant = swept.deployments.iter().rev().nth(1).unwrap();
    assert_eq!(swept.summary["environments"][0]["deploymentId"], meant.id);
    assert_eq!(swept.summary["counts"]["SUCCEEDED"], 1, "{}", swept.summary);
    let warning = "check whether a newer deployment was cancelled";
    assert!(swept.log.contains(warning), "{}", swept.log);
}

#[test]
fn what_a_lost_cancel_has_cancelled_is_not_sought_elsewhere() {
    for (ending, outcome) in [
        (Ending::cancelled(), "CANCELLED"),
        (Ending::failed("it is in use"), "FAILED"),
    ] {
        what_was_meant_was_hit(ending, outcome);
    }
}

/// The cancel is carried out and its answer lost; then somebody cancels the next deployment, too.
fn what_was_meant_was_hit(ending: Ending, outcome: &str) {
    let cancellation = ending.rollback(Duration::ZERO);
    let first = Deployment::in_progress().started_ago(Duration::from_hours(2));
    let second = Deployment::in_progress();
    let looked_at = Timing::BeforeCall(Operation::GetDeployment, 1);
    let net = Environment::new("net")
        .deployment(first.when_cancelled(cancellation))
        .then(Timing::AfterEnd(Duration::ZERO), Effect::Deploy(second))
        .then(looked_at, Effect::Cancel);
    let lost = Rule::new(Fault::Drop).operation(CANCEL);
    let faults = Faults::none().rule(lost.times(1).after_effect());
    let world = World::new().with(net).faults(faults);
    let swept = sweep(world, &[], Duration::from_mins(1));
    let (second, earlier) = swept.deployments.split_last().unwrap();
    let first = earlier.last().unwrap();
    assert!(second.cancelled_at.is_some());
    assert_eq!(swept.summary["environments"][0]["deploymentId"], first.id);
    assert_eq!(swept.summary["counts"][outcome], 1, "{}", swept.summary);
}

#[test]
fn a_page_that_is_read_to_follow_others_is_heeded_by_cancels_that_wait() {
    // The cancel of `web` is throttled for less time than a reading may be old. Meanwhile it ends, and
    // the cure begins; the page shows that which is read to follow the others.
    let web = running("web", Duration::ZERO)
        .then(
            Timing::At(Duration::from_millis(300)),
            Effect::End(Ending::succeeded()),
        )
        .then(
            Timing::AfterEnd(Duration::ZERO),
            Effect::Deploy(Deployment::in_progress()),
        );
    let throttled = Fault::error("ThrottlingException", "slow down");
    let throttled = Rule::new(throttled).operation(CANCEL).environment("web");
    let world = ["api", "net"]
        .into_iter()
        .map(|name| running(name, Duration::from_secs(5)))
        .fold(World::new().with(web), World::with)
        .faults(Faults::none().rule(throttled.times(4)));
    let swept = sweep(world, &[], Duration::from_mins(1));
    assert_eq!(swept.summary["counts"]["SUCCEEDED"], 1, "{}", swept.summary);
    let cure = swept.deployments.last().unwrap();
    assert_eq!((&*cure.environment, cure.cancelled_at), ("web", None));
    let attempts = swept.count(CANCEL);
    assert!((4..=6).contains(&attempts), "{attempts} attempts");
    assert!(swept.last_cancel() < Duration::from_secs(2));
}

#[test]
fn a_cancel_that_is_not_answered_before_the_deadline_is_looked_at() {
    let world = World::new()
        .with(running("net", Duration::from_millis(10)))
        .faults(Faults::none().rule(Rule::new(Fault::Never).operation(CANCEL).after_effect()));
    for seconds in [3, 4, 6] {
        let swept = sweep(world.clone(), &[], Duration::from_secs(seconds));
        assert_eq!(
            swept.summary["counts"]["CANCELLED"], 1,
            "{seconds} s: {}",
            swept.summary
        );
    }
}

#[test]
fn a_retry_waits_before_the_service_is_asked_again() {
    let refused = Rule::new(Fault::error("ThrottlingException", "slow down")).operation(CANCEL);
    let world = World::new()
        .with(running("net", Duration::ZERO))
        .faults(Faults::none().rule(refused));
    let swept = sweep(world, &[], Duration::from_mins(2));
    assert!(swept.count(CANCEL) >= 5, "{} attempts", swept.count(CANCEL));
    let took = swept.last_cancel();
    assert!(took > Duration::from_secs(5), "{took:?}");
    assert!(swept.first(CANCEL) < Duration::from_millis(100));
}

#[test]
fn a_token_that_is_known_after_a_lost_answer_is_an_accepted_cancel() {
    let cancel = Operation::CancelUpdateStack;
    let update = Deployment::in_progress().started_ago(Duration::from_hours(2));
    let known = Fault::error("TokenAlreadyExistsException", "the token was used before");
    let world = World::new()
        .with(Environment::stack("AWSProton-net").deployment(update))
        .faults(
            Faults::none()
                .rule(Rule::new(Fault::Drop).operation(cancel).times(1))
                .rule(Rule::new(known).operation(cancel)),
        );
    let swept = sweep(
        world,
        &[
            ("ENGINE", "cloudformation"),
            ("SETTLE_TIMEOUT_SECONDS", "5"),
        ],
        Duration::from_mins(1),
    );
    // Nothing was cancelled in this world; what was told was taken for true, and followed.
    assert_eq!(
        swept.summary["counts"]["CANCELLING"], 1,
        "{}",
        swept.summary
    );
}

#[test]
fn stacks_whose_rollback_moved_their_time_are_followed_by_the_list() {
    // Without ids only the time tells an update from the next; the rollback moves it.
    let names: Vec<_> = (0..5).map(|number| format!("AWSProton-{number}")).collect();
    let ending = Ending::rolled_back().rollback(Duration::from_secs(40));
    let update = Deployment::in_progress().started_ago(Duration::from_hours(2));
    let update = update.when_cancelled(ending);
    let world = names
        .iter()
        .map(|name| {
            Environment::stack(name)
                .deployment(update.clone())
                .operations_not_sent()
        })
        .fold(World::new(), World::with);
    let request = json!({"environments": names});
    let engine = [("ENGINE", "cloudformation")];
    let swept = invoked(world, &engine, &request, Duration::from_mins(2));
    assert_eq!(swept.summary["counts"]["CANCELLED"], 5, "{}", swept.summary);
    // To find it, to see that its rollback began, and to see how it ended.
    let looks = swept.count(Operation::DescribeStacks);
    assert!(looks <= 3 * 5, "{looks} looks at single stacks");
}

#[test]
fn an_outage_of_event_bridge_of_twenty_seconds_costs_a_run_of_two_minutes_no_outcome() {
    // With waits of up to three seconds, so many attempts take more than twenty seconds.
    let outage =
        Rule::new(Fault::error("InternalFailure", "broken")).operation(Operation::PutEvents);
    let world = World::new()
        .with(running("net", Duration::from_secs(1)))
        .faults(Faults::none().rule(outage.calls(1..=28)));
    let swept = sweep(world, &[], Duration::from_mins(2));
    assert_eq!(swept.summary["counts"]["CANCELLED"], 1, "{}", swept.summary);
    let puts = swept
        .calls
        .iter()
        .filter(|call| call.operation == "PutEvents");
    let (first, last) = (puts.clone().next().unwrap(), puts.last().unwrap());
    let outage = last.time.duration_since(first.time).unwrap();
    assert!(outage > Duration::from_secs(20), "{outage:?}");
}

#[test]
fn a_lost_cancel_whose_update_ends_by_itself_does_not_hold_the_only_permit() {
    let ended = Effect::End(Ending::succeeded());
    let world = World::new()
        .with(running("a", Duration::ZERO).then(Timing::At(Duration::from_millis(30)), ended))
        .with(running("b", Duration::ZERO))
        .faults(
            Faults::none().rule(
                Rule::new(Fault::error("InternalServerException", "broken"))
                    .operation(CANCEL)
                    .environment("a")
                    .times(1),
            ),
        );
    let swept = sweep(world, &[("CONCURRENCY", "1")], Duration::from_mins(1));
    assert_eq!(swept.summary["counts"]["SUCCEEDED"], 1, "{}", swept.summary);
    assert_eq!(swept.summary["counts"]["CANCELLED"], 1, "{}", swept.summary);
    let last = swept.last_cancel();
    assert!(last < Duration::from_secs(2), "{last:?}");
}

#[test]
fn a_read_that_hangs_keeps_no_other_environment_from_being_cancelled() {
    let world = ["net", "slow"]
        .into_iter()
        .map(|name| running(name, Duration::ZERO))
        .fold(World::new(), World::with)
        .faults(
            Faults::none().rule(
                Rule::new(Fault::Never)
                    .operation(Operation::GetEnvironment)
                    .environment("slow"),
            ),
        );
    let request = json!({"environments": ["net", "slow"]});
    let swept = invoked(world, &[], &request, Duration::from_mins(2));
    assert!(swept.first(CANCEL) < Duration::from_secs(1));
}

#[test]
fn a_wait_ends_when_its_time_is_over_whatever_hangs() {
    let hangs = Rule::new(Fault::Never).operation(Operation::GetDeployment);
    let world = World::new()
        .with(running("net", Duration::from_hours(1)))
        .faults(Faults::none().rule(hangs));
    let settle = [("SETTLE_TIMEOUT_SECONDS", "3")];
    let swept = sweep(world, &settle, Duration::from_mins(2));
    assert_eq!(
        swept.summary["counts"]["CANCELLING"], 1,
        "{}",
        swept.summary
    );
    let took = swept.took;
    assert!(took < Duration::from_millis(3500), "{took:?}");
}
