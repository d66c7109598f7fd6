//! The coverage of the seeds: the situations that they meet. An invariant whose situation is never met
//! would hold without a test.

use std::collections::BTreeMap;
use std::fmt;

use proton_canceller::engine::EngineKind;
use proton_canceller::run::{ListPurpose, Note, Report};

use crate::calls::{Asked, Read, Reply};
use crate::course::{Course, What};

/// The number of times that each situation was met.
#[derive(Debug, Default)]
pub(crate) struct Coverage(BTreeMap<String, usize>);

/// The situations that seeds must meet with either engine.
const WITH_EITHER: [&str; 49] = [
    "outcome CANCELLED",
    "outcome FAILED",
    "outcome SUCCEEDED",
    "outcome CANCELLING",
    "outcome DRY_RUN",
    "outcome ERROR",
    "skipped PROTECTED",
    "skipped NOT_INCLUDED",
    "skipped NOT_IN_PROGRESS",
    "skipped STARTED_AFTER_ALARM",
    "skipped NOT_TAGGED",
    "skipped NOT_STUCK",
    "skipped START_UNKNOWN",
    "skipped OVER_LIMIT",
    "error DeadlineExceeded",
    "error AccessDeniedException",
    "error ConflictException",
    "error UnexpectedStatus",
    "error InternalServerException",
    "error RequestTimeout",
    "error ConnectionFailed",
    "error ConnectionLost",
    "error ThrottlingException",
    "failed RequestTimeout",
    "failed EndlessListing",
    "failed ConnectionFailed",
    "word First",
    "word Last",
    "word Unchanged",
    "call Find",
    "call Refresh",
    "call Poll",
    "call ReadEnvironment",
    "call ReadTag",
    "call Read",
    "call Cancel",
    "reply Throttled",
    "reply Broken",
    "reply Lost",
    "reply TimedOut",
    "reply Unreachable",
    "reply Conflict",
    "reply Refused",
    "a read that goes on",
    "a read that goes on and shows the end",
    "note HitNewer",
    "note NotPolled",
    "note NotRead",
    "note NotRefreshed",
];

/// The situations that seeds must meet with CloudFormation only.
const WITH_STACKS: [&str; 4] = [
    "reply Repeat",
    "a read that shows what was hit",
    "note Superseded",
    "error Superseded",
];

impl Coverage {
    fn met(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(what.to_owned(), 1)),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// Counts the situations of a run.
    pub(crate) fn note(&mut self, course: &Course) {
        if let Some(code) = &course.failure {
            self.met(&format!("failed {code}"));
        }
        for call in &course.calls {
            self.note_call(call.asked);
            match &call.reply {
                Some(Reply::Failed(trouble)) => self.met(&format!("reply {trouble:?}")),
                Some(Reply::More(None)) => self.met("a read that goes on"),
                Some(Reply::More(Some(_))) => self.met("a read that goes on and shows the end"),
                Some(Reply::Reading(Read::HitNewer { .. })) => {
                    self.met("a read that shows what was hit");
                }
                _ => {}
            }
        }
        for entry in &course.log {
            match &entry.what {
                What::Reported(Report::Note(note)) => self.note_note(note),
                What::Reported(Report::Outcome(outcome, word)) => {
                    self.met(&format!("word {word:?}"));
                    let end = &outcome.end;
                    match (end.skip_reason(), end.error()) {
                        (Some(reason), _) => self.met(&format!("skipped {}", reason.as_str())),
                        (_, Some(error)) => self.met(&format!("error {}", error.code)),
                        _ => {}
                    }
                    if !matches!(word, proton_canceller::run::Word::First) {
                        self.met(&format!("outcome {}", end.name()));
                    }
                }
                What::Asked(_) | What::Responded(_) | What::Waits(_) | What::Done => {}
            }
        }
    }

    fn note_call(&mut self, asked: Asked) {
        self.met(match asked {
            Asked::List { purpose, .. } => match purpose {
                ListPurpose::Find => "call Find",
                ListPurpose::Refresh => "call Refresh",
                ListPurpose::Poll => "call Poll",
            },
            Asked::ReadEnvironment(_) => "call ReadEnvironment",
            Asked::ReadTag(_) => "call ReadTag",
            Asked::Read { .. } => "call Read",
            Asked::Cancel { .. } => "call Cancel",
        });
    }

    fn note_note(&mut self, note: &Note) {
        self.met(match note {
            Note::Listed(_) => "note Listed",
            Note::OverLimit { .. } => "note OverLimit",
            Note::BadTag(..) => "note BadTag",
            Note::HitNewer { .. } => "note HitNewer",
            Note::NotRefreshed(_) => "note NotRefreshed",
            Note::NotPolled(_) => "note NotPolled",
            Note::NotRead(..) => "note NotRead",
            Note::Superseded(_) => "note Superseded",
            Note::MayHaveHitNewer(_) => "note MayHaveHitNewer",
        });
    }

    /// Requires that every situation was met.
    pub(crate) fn assert_varied(&self, engine: EngineKind) {
        let of_engine: &[&str] = match engine {
            EngineKind::Proton => &[],
            EngineKind::CloudFormation => &WITH_STACKS,
        };
        for what in WITH_EITHER.iter().chain(of_engine) {
            assert!(self.0.contains_key(*what), "never met: {what}\n{self}");
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(formatter, "{count:10} {what}")?;
        }
        Ok(())
    }
}
