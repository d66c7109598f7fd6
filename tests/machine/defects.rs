//! Defects that the run had before it was a state machine, or that its simulation has found. A scenario
//! shows each of them.

use std::time::Duration;

use proton_canceller::engine::EngineKind;
use proton_canceller::run::{ListPurpose, Report, Word};

use crate::calls::{Asked, At, START, State};
use crate::course::{Course, What};
use crate::faults::{BadListing, Faults, LastingFault};
use crate::invariants;
use crate::scenario::{Scenario, Why};
use crate::service::{Ends, ModelEnvironment, Paging, Script, Service};

const ENGINES: [EngineKind; 2] = [EngineKind::Proton, EngineKind::CloudFormation];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Returns a scenario with deployments that started two hours ago, and whose cancels take `cancel_takes`.
fn running(engine: EngineKind, count: usize, cancel_takes: Duration) -> Scenario {
    let script = Script {
        after: START - seconds(7200),
        takes: seconds(14_400),
        end: State::Succeeded,
        others_cancel_after: None,
        lag: Duration::ZERO,
        cancel_takes,
        cancel_end: State::Cancelled,
        has_id: true,
        start_is_known: true,
    };
    Scenario {
        seed: 7,
        why: Why::Schedule,
        left: seconds(120),
        concurrency: 10,
        settle_timeout: seconds(60),
        max_cancellations: 1000,
        is_dry: false,
        is_tagged: false,
        is_limited_by_name: false,
        service: Service {
            engine,
            environments: vec![ModelEnvironment::new(vec![script], true, false); count],
            paging: Paging {
                size: 100,
                shifts: true,
                is_endless: false,
            },
            returns_end_times: true,
            ends: Ends::AtOnce,
        },
        faults: Faults::none(50),
    }
}

/// Runs a scenario. Requires that every invariant holds.
fn run(scenario: Scenario) -> Course {
    let course = Course::of(scenario);
    assert_eq!(invariants::check(&course), None, "{course}");
    course
}

/// Returns the calls of a kind: their environments, and when they were made.
fn asked_at(course: &Course, is_meant: impl Fn(Asked) -> bool) -> Vec<(usize, Duration)> {
    let calls = course.calls.iter().filter(|call| is_meant(call.asked));
    calls
        .filter_map(|call| Some((call.asked.environment()?, call.asked_at - START)))
        .collect()
}

fn cancelled_at(course: &Course, environment: usize) -> Option<Duration> {
    let mut cancels = asked_at(course, Asked::is_cancel).into_iter();
    cancels
        .find(|(one, _)| *one == environment)
        .map(|(_, at)| at)
}

/// Returns when the last outcome of an environment was reported, and its name.
fn last_word(course: &Course, environment: usize) -> (Duration, &'static str) {
    let mut entries = course.log.iter();
    let last = entries.find_map(|entry| match &entry.what {
        What::Reported(Report::Outcome(outcome, word))
            if *word != Word::First
                && outcome.environment.name == crate::calls::name(environment) =>
        {
            Some((entry.at - START, outcome.end.name()))
        }
        _ => None,
    });
    last.expect("each environment has a last outcome")
}

fn count(course: &Course, is_meant: impl Fn(Asked) -> bool) -> usize {
    course
        .calls
        .iter()
        .filter(|call| is_meant(call.asked))
        .count()
}

fn is_poll(asked: Asked) -> bool {
    matches!(asked, Asked::Read { .. }) || asked.is_list(ListPurpose::Poll)
}

// Defect 1: a run hangs until its deadline.

#[test]
fn a_lost_cancel_whose_update_ends_by_itself_holds_no_permit() {
    for engine in ENGINES {
        let mut scenario = running(engine, 2, seconds(1));
        scenario.concurrency = 1;
        scenario.faults.lasting = vec![(0, LastingFault::CancelsBreak)];
        scenario.service.environments[0].to_come[0].takes = seconds(7200) + milliseconds(160);
        let course = run(scenario);
        assert_eq!(last_word(&course, 0).1, "SUCCEEDED");
        assert_eq!(last_word(&course, 1).1, "CANCELLED");
        assert!(cancelled_at(&course, 1).unwrap() <= milliseconds(150));
        assert!(course.log.last().unwrap().at < START + seconds(3));
    }
}

// Defect 2: one environment holds up the others.

#[test]
fn a_read_that_hangs_keeps_no_other_environment_from_being_cancelled() {
    for engine in ENGINES {
        let mut scenario = running(engine, 3, seconds(1));
        scenario.why = Why::Request(vec![0, 1, 2]);
        scenario.faults.lasting = vec![(0, LastingFault::EverythingHangs)];
        let course = run(scenario);
        for other in [1, 2] {
            assert!(cancelled_at(&course, other).unwrap() <= milliseconds(50));
        }
    }
}

#[test]
fn a_tag_that_hangs_keeps_no_other_environment_from_being_cancelled() {
    for engine in ENGINES {
        let mut scenario = running(engine, 3, seconds(1));
        scenario.why = Why::Alarm(START);
        scenario.is_tagged = true;
        scenario.faults.lasting = vec![(0, LastingFault::EverythingHangs)];
        let course = run(scenario);
        for other in [1, 2] {
            assert!(cancelled_at(&course, other).unwrap() <= milliseconds(100));
        }
    }
}

#[test]
fn a_cancel_that_backs_off_takes_no_permit_from_the_others() {
    for engine in ENGINES {
        let mut scenario = running(engine, 5, seconds(1));
        scenario.concurrency = 1;
        scenario.faults.lasting = vec![(0, LastingFault::CancelsBreak)];
        let course = run(scenario);
        // The listing, the cancels and the repeats for the first one, each 50 milliseconds.
        for other in 1..5 {
            assert!(cancelled_at(&course, other).unwrap() <= milliseconds(500));
        }
    }
}

#[test]
fn a_page_that_cannot_be_refreshed_holds_up_cancels_for_a_second_at_most() {
    for engine in ENGINES {
        for how in [BadListing::Hangs, BadListing::Breaks, BadListing::Slow] {
            let mut scenario = running(engine, 60, seconds(1));
            scenario.faults.latency = 600..601;
            scenario.faults.bad_listing = Some((START + seconds(1)..At::MAX, how));
            let course = run(scenario);
            let cancels = asked_at(&course, Asked::is_cancel);
            assert_eq!(cancels.len(), 60);
            let pauses = cancels.windows(2).map(|pair| pair[1].1 - pair[0].1);
            let longest = pauses.max().unwrap();
            // The timeout of the refresh, a read and a cancel.
            assert!(longest <= milliseconds(1000 + 2 * 600), "{longest:?}");
        }
    }
}

// Defect 3: ends are reported late.

#[test]
fn a_read_that_hangs_delays_no_other_end() {
    for engine in ENGINES {
        let mut scenario = running(engine, 3, seconds(2));
        scenario.service.paging.size = 1;
        scenario.faults.lasting = vec![(0, LastingFault::ReadsHang)];
        let course = run(scenario);
        for other in [1, 2] {
            let (at, outcome) = last_word(&course, other);
            assert_eq!(outcome, "CANCELLED");
            assert!(at <= milliseconds(3200), "{at:?}");
        }
    }
}

#[test]
fn a_read_that_fails_is_repeated_with_backoff_and_not_at_the_next_poll() {
    for engine in ENGINES {
        let mut scenario = running(engine, 1, seconds(35));
        scenario.faults.lasting = vec![(0, LastingFault::ReadsBreak)];
        scenario.faults.lasting_during = START + seconds(30)..START + seconds(36);
        let course = run(scenario);
        let (at, outcome) = last_word(&course, 0);
        assert_eq!(outcome, "CANCELLED");
        assert!(at <= seconds(39), "{at:?}");
    }
}

#[test]
fn a_wait_ends_to_the_millisecond_whatever_hangs() {
    for engine in ENGINES {
        let mut scenario = running(engine, 4, seconds(600));
        scenario.settle_timeout = seconds(3);
        scenario.faults.lasting = vec![(0, LastingFault::ReadsHang), (1, LastingFault::ReadsBreak)];
        let course = run(scenario);
        for one in 0..4 {
            assert_eq!(last_word(&course, one), (milliseconds(3100), "CANCELLING"));
        }
        assert_eq!(course.log.last().unwrap().at, START + milliseconds(3100));
    }
}

#[test]
fn a_quick_end_is_seen_at_once_when_nothing_else_is_left() {
    for engine in ENGINES {
        let course = run(running(engine, 1, milliseconds(30)));
        assert_eq!(last_word(&course, 0), (milliseconds(150), "CANCELLED"));
    }
}

// Defect 4: calls are wasted.

/// The polls of one deployment that is followed for a minute by itself.
const POLLS_IN_A_MINUTE: usize = 20;

#[test]
fn following_many_costs_no_more_calls_a_tick_than_there_are_pages() {
    for engine in ENGINES {
        for (concurrency, latency) in [(1, 50), (3, 50), (10, 50), (100, 200)] {
            for page in [100, 30] {
                let mut scenario = running(engine, 80, seconds(600));
                scenario.service.paging.size = page;
                scenario.concurrency = concurrency;
                scenario.faults.latency = latency..2 * latency;
                let course = run(scenario);
                let polls = count(&course, is_poll);
                assert!(
                    polls <= POLLS_IN_A_MINUTE * 80_usize.div_ceil(page),
                    "{polls}"
                );
            }
        }
    }
}

#[test]
fn many_that_wait_are_refreshed_by_their_page() {
    for engine in ENGINES {
        // A reading is fresh for 2 seconds: for 17 cancels, or for 3.
        for (latency, most) in [(100, 4), (550, 25)] {
            let mut scenario = running(engine, 60, seconds(600));
            scenario.concurrency = 1;
            scenario.settle_timeout = Duration::ZERO;
            scenario.faults = Faults::none(latency);
            let course = run(scenario);
            let refreshes = count(&course, |asked| asked.is_list(ListPurpose::Refresh));
            let reads = count(&course, |asked| matches!(asked, Asked::Read { .. }));
            assert!(
                refreshes <= most && reads <= 2,
                "{refreshes} pages, {reads} reads"
            );
        }
    }
}

#[test]
fn waits_that_end_one_after_the_other_cost_no_calls() {
    for engine in ENGINES {
        let mut scenario = running(engine, 60, seconds(600));
        scenario.concurrency = 2;
        scenario.settle_timeout = seconds(2);
        let course = run(scenario);
        let polls = count(&course, is_poll);
        assert!(polls <= 10, "{polls} polls");
    }
}

#[test]
fn a_listing_that_failed_is_used_again_once_it_works() {
    for engine in ENGINES {
        for how in [BadListing::Hangs, BadListing::Breaks] {
            let mut scenario = running(engine, 40, seconds(600));
            scenario.faults.bad_listing = Some((START + seconds(3)..START + seconds(20), how));
            let course = run(scenario);
            let late = asked_at(&course, |asked| matches!(asked, Asked::Read { .. }));
            let late = late.iter().filter(|(_, at)| *at > seconds(35)).count();
            assert_eq!(late, 0, "{course}");
        }
    }
}

#[test]
fn a_deployment_that_has_left_the_listing_is_read_once() {
    let mut scenario = running(EngineKind::CloudFormation, 40, seconds(10));
    scenario.service.paging.size = 20;
    let course = run(scenario);
    let reads = count(&course, |asked| matches!(asked, Asked::Read { .. }));
    assert!(reads <= 40, "{reads} reads");
}

#[test]
fn one_deployment_is_not_searched_for_on_many_pages() {
    for engine in ENGINES {
        let mut scenario = running(engine, 65, seconds(10));
        scenario.service.paging.size = 1;
        for model in &mut scenario.service.environments[1..] {
            model.to_come[0].after = START - seconds(60);
        }
        let course = run(scenario);
        assert_eq!(last_word(&course, 0).1, "CANCELLED");
        assert_eq!(count(&course, |asked| asked.is_list(ListPurpose::Poll)), 0);
    }
}

// Defect 6, and what the simulation has found.

#[test]
fn an_environment_admitted_at_the_end_of_the_time_to_act_is_not_cancelled() {
    for engine in ENGINES {
        let mut scenario = running(engine, 4, seconds(1));
        scenario.why = Why::Alarm(START);
        scenario.is_tagged = true;
        scenario.left = seconds(20);
        scenario.concurrency = 1;
        scenario.max_cancellations = 1;
        scenario.faults.lasting = (1..4)
            .map(|one| (one, LastingFault::EverythingHangs))
            .collect();
        let course = run(scenario);
        assert_eq!(count(&course, Asked::is_cancel), 0);
        assert_eq!(last_word(&course, 0).1, "ERROR");
    }
}

#[test]
fn a_listing_whose_tokens_alternate_fails_at_once() {
    for engine in ENGINES {
        let mut scenario = running(engine, 10, seconds(1));
        scenario.service.paging = Paging {
            size: 2,
            shifts: false,
            is_endless: true,
        };
        let course = run(scenario);
        assert_eq!(course.failure.as_deref(), Some("EndlessListing"));
        assert_eq!(course.calls.len(), 3);
    }
}

#[test]
fn the_end_that_the_response_to_a_cancel_shows_has_the_services_time() {
    let course = run(running(EngineKind::Proton, 1, Duration::ZERO));
    assert_eq!(last_word(&course, 0), (milliseconds(100), "CANCELLED"));
}

#[test]
fn the_read_of_a_given_up_cancel_backs_off_after_the_time_to_act() {
    for engine in ENGINES {
        let mut scenario = running(engine, 1, seconds(1));
        scenario.left = seconds(10);
        scenario.faults.latency = 5..6;
        scenario.faults.lasting = vec![(0, LastingFault::EverythingBreaks)];
        let course = run(scenario);
        let reads = asked_at(&course, |asked| matches!(asked, Asked::Read { .. }));
        assert!(reads.len() <= 14, "{} reads", reads.len());
    }
}

#[test]
fn ten_thousand_are_cancelled_as_fast_as_the_latency_allows() {
    for engine in ENGINES {
        for concurrency in [10, 100] {
            let mut scenario = running(engine, 10_000, seconds(600));
            scenario.left = seconds(900);
            scenario.service.paging.shifts = false;
            scenario.concurrency = concurrency;
            scenario.max_cancellations = 10_000;
            scenario.settle_timeout = Duration::ZERO;
            let latency = Duration::from_millis(scenario.faults.latency.start);
            let course = Course::of(scenario);
            let found = count(&course, |asked| asked.is_list(ListPurpose::Find));
            let refreshed = count(&course, |asked| asked.is_list(ListPurpose::Refresh));
            let reads = count(&course, |asked| matches!(asked, Asked::Read { .. }));
            let cancels = asked_at(&course, Asked::is_cancel);
            assert_eq!((found, cancels.len()), (100, 10_000));
            let rounds = found + (cancels.len() + refreshed).div_ceil(concurrency);
            let floor = latency * u32::try_from(rounds).unwrap();
            let last = cancels.iter().map(|(_, at)| *at + latency).max().unwrap();
            let ratio = last.as_secs_f64() / floor.as_secs_f64();
            assert!(
                ratio < 1.15 && reads == 0,
                "{ratio}, {reads} reads, {refreshed} pages"
            );
        }
    }
}
