//! Faults that last, and races, each injected on purpose.

use std::time::{Duration, SystemTime};

use local_aws::{
    Call, Deployment, Effect, Ending, Environment, Event, Fault, Faults, Operation, Rule, Throttle,
    Timing, World,
};
use serde_json::{Value, json};

use crate::deliveries::{Log, in_new_world};
use crate::function::Simulated;

const CANCEL: Operation = Operation::CancelEnvironmentDeployment;
const LIST: Operation = Operation::ListEnvironments;

/// An environment in progress for two hours, whose cancel leads to `CANCELLED` after a time.
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
    // The first value of a name counts.
    let all = more.iter().chain(&usual);
    all.map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// A run's summary, calls, log, and the deployments after it.
struct Swept {
    summary: Value,
    calls: Vec<Call>,
    deployments: Vec<local_aws::DeploymentSnapshot>,
    /// The published events, each with the time of its arrival.
    published: Vec<(Value, SystemTime)>,
    log: String,
    /// The duration of the invocation.
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
                published: published(simulated),
                log: log.text(),
            }
        })
    })
}

fn published(simulated: &Simulated) -> Vec<(Value, SystemTime)> {
    let events = simulated.local.events();
    let detail = |event: &Event| serde_json::from_str(&event.detail).unwrap();
    events
        .iter()
        .map(|event| (detail(event), event.time))
        .collect()
}

impl Swept {
    fn count(&self, operation: Operation) -> usize {
        let of_it = |call: &&Call| call.operation == operation.to_string();
        self.calls.iter().filter(of_it).count()
    }

    /// The time from the first call to the last cancel.
    fn last_cancel(&self) -> Duration {
        let is_cancel = |call: &&Call| call.operation == CANCEL.to_string();
        let last = self.calls.iter().rfind(is_cancel).unwrap();
        last.time.duration_since(self.calls[0].time).unwrap()
    }

    /// The time from the first call to the first call of an operation.
    fn first(&self, operation: Operation) -> Duration {
        let start = self.calls[0].time;
        self.first_at(operation).duration_since(start).unwrap()
    }

    /// The time of the first call of an operation.
    fn first_at(&self, operation: Operation) -> SystemTime {
        let mut of_it = self
            .calls
            .iter()
            .filter(|call| call.operation == operation.to_string());
        of_it.next().unwrap().time
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
            // The second cancel is allowed after five seconds.
            per_second: 0.2,
            burst: 1,
        }));
    let swept = sweep(world, &[], Duration::from_mins(1));
    assert_eq!(swept.summary["counts"]["CANCELLED"], 2, "{}", swept.summary);
}

#[test]
fn a_listing_that_hangs_does_not_delay_cancels() {
    let world = ["api", "net", "web"]
        .into_iter()
        .map(|name| running(name, Duration::ZERO))
        .fold(World::new(), World::with)
        .faults(
            Faults::none()
                // The readings are stale by the second cancel.
                .rule(Rule::new(Fault::Latency(Duration::from_secs(3))).operation(CANCEL))
                .rule(Rule::new(Fault::Never).operation(LIST).calls(2..=u64::MAX)),
        );
    let swept = sweep(world, &[("CONCURRENCY", "1")], Duration::from_mins(1));
    assert_eq!(swept.summary["counts"]["CANCELLED"], 3, "{}", swept.summary);
    assert_eq!(swept.count(CANCEL), 3);
    // Two cancels of three seconds each, and three attempts of one second each to read the page.
    let last = swept.last_cancel();
    assert!(last < Duration::from_secs(10), "{last:?}");
}

#[test]
fn a_page_that_fails_hides_no_end() {
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
fn a_deployment_that_moves_to_another_page_costs_no_call() {
    // Of six pages of ten, the first two are emptied after the cancels, so that all others shift.
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
    let reads = swept.count(Operation::GetDeployment);
    assert!(reads <= 40, "{reads} reads of single deployments");
}

#[test]
fn a_slow_response_is_as_old_as_its_request() {
    // The listing's response is stale when it arrives. The deployment that it shows has ended, and
    // the fix has started.
    let fix = Deployment::in_progress();
    let net = running("net", Duration::ZERO)
        .then(
            Timing::At(Duration::from_millis(400)),
            Effect::End(Ending::failed("it broke")),
        )
        .then(Timing::At(Duration::from_millis(600)), Effect::Deploy(fix));
    let slow = Rule::new(Fault::Latency(Duration::from_millis(2_200))).operation(LIST);
    let world = World::new().with(net).faults(Faults::none().rule(slow));
    let swept = sweep(world, &[], Duration::from_mins(1));
    assert_eq!(swept.count(CANCEL), 0);
    assert_eq!(swept.summary["counts"]["FAILED"], 1, "{}", swept.summary);
}

#[test]
fn a_lost_cancel_that_may_have_hit_a_newer_deployment_is_logged() {
    // While the listing's response is under way, the deployment ends and a newer one starts. The
    // cancel hits the newer one, and the cancel's response is lost.
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
    let intended = swept.deployments.iter().rev().nth(1).unwrap();
    assert_eq!(
        swept.summary["environments"][0]["deploymentId"],
        intended.id
    );
    assert_eq!(swept.summary["counts"]["SUCCEEDED"], 1, "{}", swept.summary);
    let warning = "check whether a newer deployment was cancelled";
    assert!(swept.log.contains(warning), "{}", swept.log);
}

#[test]
fn a_lost_cancel_that_hit_its_deployment_is_not_ascribed_to_another() {
    for (ending, outcome) in [
        (Ending::cancelled(), "CANCELLED"),
        (Ending::failed("it is in use"), "FAILED"),
    ] {
        the_intended_deployment_was_hit(ending, outcome);
    }
}

/// The cancel takes effect and its response is lost; then somebody cancels the newer deployment,
/// too.
fn the_intended_deployment_was_hit(ending: Ending, outcome: &str) {
    let cancellation = ending.rollback(Duration::ZERO);
    let first = Deployment::in_progress().started_ago(Duration::from_hours(2));
    let second = Deployment::in_progress();
    let read = Timing::BeforeCall(Operation::GetDeployment, 1);
    let net = Environment::new("net")
        .deployment(first.when_cancelled(cancellation))
        .then(Timing::AfterEnd(Duration::ZERO), Effect::Deploy(second))
        .then(read, Effect::Cancel);
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
fn a_page_that_a_poll_reads_refreshes_waiting_cancels() {
    // The cancel of `web` is throttled for less than two seconds. Meanwhile its deployment ends and
    // a fix starts. The page that a poll reads for the others shows the fix.
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
    let fix = swept.deployments.last().unwrap();
    assert_eq!((&*fix.environment, fix.cancelled_at), ("web", None));
    let attempts = swept.count(CANCEL);
    assert!((4..=6).contains(&attempts), "{attempts} attempts");
    assert!(swept.last_cancel() < Duration::from_secs(2));
}

#[test]
fn a_cancel_without_a_response_is_followed_by_a_read_before_the_deadline() {
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
fn a_retry_waits_between_attempts() {
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
fn a_known_token_after_a_lost_response_is_an_accepted_cancel() {
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
    // Nothing was cancelled in this world; the function relies on the response, and follows.
    assert_eq!(
        swept.summary["counts"]["CANCELLING"], 1,
        "{}",
        swept.summary
    );
}

#[test]
fn stacks_whose_rollback_moved_their_start_are_followed_by_the_listing() {
    // Without IDs only the start identifies an update, and the rollback moves the start.
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
    // One read each for the request, for the rollback's beginning and for the end.
    let reads = swept.count(Operation::DescribeStacks);
    assert!(reads <= 3 * 5, "{reads} reads of single stacks");
}

#[test]
fn an_end_waits_less_than_a_second_for_events_that_tell_when_and_why() {
    let ending = Ending::rolled_back()
        .rollback(Duration::ZERO)
        .cleanup(Duration::ZERO);
    let stack = Environment::stack("AWSProton-net")
        .deployment(Deployment::in_progress().when_cancelled(ending));
    for (fault, times, has_words) in [
        (Fault::Never, u64::MAX, false),
        (Fault::error("Throttling", "slow down"), u64::MAX, false),
        (Fault::error("InternalFailure", "broken"), 2, true),
    ] {
        let events = Rule::new(fault).operation(Operation::DescribeStackEvents);
        let world = World::new()
            .with(stack.clone())
            .faults(Faults::none().rule(events.times(times)));
        let request = json!({"environments": ["AWSProton-net"]});
        let more = [("ENGINE", "cloudformation"), ("CONCURRENCY", "1")];
        let swept = invoked(world, &more, &request, Duration::from_mins(2));
        assert_eq!(swept.summary["counts"]["CANCELLED"], 1, "{}", swept.summary);
        let (end, at) = swept.published.last().unwrap();
        let shown = swept.first_at(Operation::DescribeStackEvents);
        let waited = at.duration_since(shown).unwrap();
        assert!(waited < Duration::from_secs(1), "{waited:?}");
        assert_eq!(end["message"].is_string(), has_words, "{end}");
    }
}

#[test]
fn an_event_bridge_outage_of_20_seconds_loses_no_outcome() {
    // With waits of up to three seconds, 28 attempts take more than twenty seconds.
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
fn a_read_that_hangs_delays_no_other_cancel() {
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
fn a_wait_ends_on_time_whatever_hangs() {
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
