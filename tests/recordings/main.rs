//! Updates of real stacks, replayed through the built binary over HTTP.
//!
//! The recordings are responses of real accounts and stay out of the project. The suite reads them
//! from `../shared/recordings` beside the checkout, or from the folder that
//! `PROTON_CANCELLER_RECORDINGS` names. Without a folder, each test prints that it is skipped.
//!
//! A run cancels each update, and its `CANCELLING` event goes to the follower. The follower must
//! report what the recording holds, whatever the stack shows.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod function;
mod recording;
mod replay;

use serde_json::Value;

use crate::function::Function;
use crate::recording::{Recording, Update};
use crate::replay::{Cancel, Difference, Moment, Shown};

/// The states of the stack when the follower reads it.
fn situations(recording: &Recording, update: &Update<'_>) -> Vec<(String, Shown)> {
    let mut situations = Vec::new();
    for (when, shown) in [
        ("just ended", Shown::new(recording, update, Moment::Ended)),
        ("all ended", Shown::latest(recording)),
    ] {
        for difference in Difference::ALL {
            let name = format!("{when}, {difference:?}");
            situations.push((name, shown.clone().but(difference)));
        }
    }
    situations
}

/// The differences of all cases, so that one failure shows all.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    /// Compares a published end with the recording.
    fn compare(&mut self, case: &str, end: &Value, begun: Option<&Value>, update: &Update<'_>) {
        let mut expect = |what: &str, actual: &Value, expected: &Value| {
            if actual != expected {
                let line = format!("{case}: {what} is {actual}, the recording says {expected}");
                self.0.push(line);
            }
        };
        let deployment = &end["deployment"];
        expect("outcome", &end["outcome"], &update.outcome().into());
        expect(
            "settledAt",
            &deployment["settledAt"],
            &update.settled_at().into(),
        );
        expect(
            "startedAt",
            &deployment["startedAt"],
            &update.started_at().into(),
        );
        if let Some(operation) = update.operation() {
            expect("id", &deployment["id"], &operation.into());
        }
        if let Some(begun) = begun {
            expect("id", &deployment["id"], &begun["deployment"]["id"]);
        }
        if let Some(message) = update.message() {
            expect("message", &end["message"], &message.into());
        }
    }

    #[track_caller]
    fn none(self, cases: usize) {
        let Self(lines) = self;
        assert!(
            lines.is_empty(),
            "{} differences in {cases} cases:\n{}",
            lines.len(),
            lines.join("\n")
        );
    }
}

#[test]
fn the_recordings_hold_what_the_other_tests_need() {
    let Some(recordings) = recording::all() else {
        return;
    };
    let updates: Vec<_> = recordings.iter().flat_map(Recording::updates).collect();
    let rolled_back = updates.iter().filter(|update| update.is_rolled_back());
    let counts = (recordings.len(), updates.len(), rolled_back.count());
    assert!(
        counts.0 >= 8 && counts.1 >= 71 && counts.2 >= 16,
        "stacks, updates, rollbacks: {counts:?}"
    );
    let is_automatic = |update: &&Update<'_>| update.rollback_bears_its_token() == Some(true);
    let with_tokens = updates
        .iter()
        .filter(|update| update.rollback_bears_its_token().is_some());
    let automatic = updates.iter().filter(is_automatic).count();
    assert_eq!(with_tokens.count(), automatic, "who asked for the rollback");
    assert!(
        automatic >= 9,
        "{automatic} automatic rollbacks with tokens"
    );
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_reports_how_the_update_ended() {
    let Some(recordings) = recording::all() else {
        return;
    };
    let mut function = Function::start().await;
    let mut differences = Differences::default();
    let mut cases = 0;
    for recording in &recordings {
        for update in recording.updates() {
            let case = format!("{} {}", recording.stack_name, update.started_at());
            let running = Shown::new(recording, &update, Moment::Running);
            function
                .replay
                .show(running.when_cancelled(Cancel::TooLate));
            let (_, events) = function.run().await;
            match events.as_slice() {
                [end] => differences.compare(&case, end, None, &update),
                other => panic!("{case}: {other:#?}\n{}", function.log()),
            }
            cases += 1;
        }
    }
    differences.none(cases);
}

#[tokio::test]
async fn the_follower_reports_each_update_whatever_the_stack_shows() {
    let Some(recordings) = recording::all() else {
        return;
    };
    let mut function = Function::start().await;
    let mut differences = Differences::default();
    let mut cases = 0;
    for recording in &recordings {
        for update in recording.updates() {
            let name = format!("{} {}", recording.stack_name, update.started_at());
            let running = Shown::new(recording, &update, Moment::Running);
            function
                .replay
                .show(running.when_cancelled(Cancel::Accepted));
            let (_, events) = function.run().await;
            let [begun] = events.as_slice() else {
                panic!("{name}: {events:#?}\n{}", function.log());
            };
            assert_eq!(begun["outcome"], "CANCELLING", "{name}");
            for (situation, shown) in situations(recording, &update) {
                let case = format!("{name}, {situation}");
                function.replay.show(shown);
                let (answer, ends) = function.follow(recording, begun).await;
                match ends.as_slice() {
                    [end] => differences.compare(&case, end, Some(begun), &update),
                    other => panic!("{case}: {answer} {other:#?}\n{}", function.log()),
                }
                let (requests, most) = function.replay.requests();
                assert!(requests <= most, "{case}: {requests} requests, not {most}");
                cases += 1;
            }
        }
    }
    differences.none(cases);
}

#[tokio::test]
async fn a_rollback_under_way_is_no_end() {
    let Some(recordings) = recording::all() else {
        return;
    };
    let mut function = Function::start().await;
    for recording in &recordings {
        for update in recording.updates().filter(Update::is_rolled_back) {
            let running = Shown::new(recording, &update, Moment::Running);
            function
                .replay
                .show(running.when_cancelled(Cancel::Accepted));
            let (_, events) = function.run().await;
            for moment in [Moment::RollingBack, Moment::CleaningUp] {
                for difference in Difference::OF_A_STACK_THAT_IS {
                    let shown = Shown::new(recording, &update, moment);
                    function.replay.show(shown.but(difference));
                    let (answer, ends) = function.follow(recording, &events[0]).await;
                    let again = &answer["batchItemFailures"][0]["itemIdentifier"];
                    let case = format!("{} {moment:?}, {difference:?}", update.started_at());
                    assert_eq!(again, "m-1", "{case}\n{}", function.log());
                    assert!(ends.is_empty(), "{case}: {ends:#?}");
                    let (requests, most) = function.replay.requests();
                    assert!(requests <= most, "{case}: {requests} requests, not {most}");
                }
            }
        }
    }
}
