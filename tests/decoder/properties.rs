//! The decoder's properties for any payload. The property tests and the fuzz target in `fuzz/`
//! check them.

use proton_canceller::aws::call_error::{CallError, Fault};
use proton_canceller::deployment::{Deployment, Environment, EnvironmentName, NameRule, Status};
use proton_canceller::engine::EngineKind;
use proton_canceller::plan::Mode;
use proton_canceller::report::detail::{Context, Entry, MOST_BYTES, Origin};
use proton_canceller::report::outcome::{End, Outcome};
use proton_canceller::report::summary::{self, Tally};
use proton_canceller::timestamp::{self, Timestamp};
use proton_canceller::trigger::{Alarm, Cause, Follow, Payload, Request, Trigger};
use serde_json::Value;

/// The longest response that Lambda accepts, in bytes.
const LONGEST_RESPONSE: usize = 6 * 1024 * 1024;

/// The decoder's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The payload is refused.
    Refused,
    /// The payload is an alarm that is ignored.
    Ignored,
    /// The payload leads to a run.
    Acts,
    /// The payload leads to a follow.
    Follows,
}

/// Decodes a payload with each engine's rule for names, and checks the properties.
pub(crate) fn hold(payload: &[u8]) -> Taken {
    hold_by(EngineKind::CloudFormation, payload);
    hold_by(EngineKind::Proton, payload)
}

fn hold_by(engine: EngineKind, payload: &[u8]) -> Taken {
    let parse = || Payload::parse(payload, engine, "8a1c");
    let trigger = match parse() {
        Ok(Payload::Run(trigger)) => trigger,
        Ok(Payload::Follow(follow)) => {
            follow_holds(&follow);
            return Taken::Follows;
        }
        Err(refusal) => {
            let words = refusal.to_string();
            assert!(words.len() < 2_000, "{} bytes", words.len());
            assert!(words.contains("expected a CloudWatch alarm"), "{words}");
            return Taken::Refused;
        }
    };
    assert_eq!(
        Some(&Payload::Run(trigger.clone())),
        parse().ok().as_ref(),
        "the same bytes, another result"
    );
    if let Some(time) = trigger.time {
        can_be_written(time);
    }
    can_be_reported(&trigger);
    let ignored = match &trigger.cause {
        Cause::Alarm(alarm) => alarm_holds(&trigger, alarm, payload),
        Cause::Request(request) => {
            request_holds(request, engine.name_rule(), payload);
            None
        }
        Cause::Schedule => None,
    };
    match ignored {
        Some(why) => {
            assert!(why.len() < 2_000, "{} bytes", why.len());
            let response = summary::ignored(&trigger, Mode::Live, &why);
            assert!(
                response.len() < LONGEST_RESPONSE,
                "{} bytes",
                response.len()
            );
            is_json(&response);
            Taken::Ignored
        }
        None => Taken::Acts,
    }
}

fn follow_holds(follow: &Follow) {
    assert!(!follow.message_id.is_empty(), "{follow:?}");
    assert!(
        follow.id.len() == 32 && follow.id.ends_with('0'),
        "{follow:?}"
    );
    let times = [
        follow.deployment.started_at,
        follow.cancel_requested_at,
        follow.trigger.time,
    ];
    times.into_iter().flatten().for_each(can_be_written);
}

fn alarm_holds(trigger: &Trigger, alarm: &Alarm, payload: &[u8]) -> Option<String> {
    assert!(!alarm.name.is_empty(), "an alarm has a name");
    assert_eq!(trigger.name.as_ref(), Some(&alarm.name));
    can_be_written(alarm.fired_at);
    if let Some(time) = trigger.time {
        assert!(alarm.fired_at >= time, "it fired before its time");
    }
    let ignored = alarm.ignored();
    if ignored.is_none() {
        // A general JSON parser, which reads less deep nesting and smaller numbers than the decoder
        // skips.
        if let Ok(value) = serde_json::from_slice::<Value>(payload) {
            fires(&value);
        }
    }
    ignored
}

/// Checks that a payload that leads to a run has an alarm in state `ALARM`.
fn fires(payload: &Value) {
    let facts = [
        payload.pointer("/detail"),
        payload.pointer("/alarmData"),
        payload.pointer("/Records/0/Sns/Message"),
    ];
    let ([Some(facts), None, None] | [None, Some(facts), None] | [None, None, Some(facts)]) =
        facts.map(|facts| facts.filter(|facts| !facts.is_null()))
    else {
        // The decoder reads one of several.
        return;
    };
    if let Value::String(message) = facts {
        let Ok(message) = serde_json::from_str::<Value>(message) else {
            return;
        };
        if message
            .get("detail-type")
            .is_some_and(|kind| !kind.is_null())
        {
            return fires(&message);
        }
        assert_eq!(message.get("NewStateValue"), Some(&Value::from("ALARM")));
        return;
    }
    assert_eq!(facts.pointer("/state/value"), Some(&Value::from("ALARM")));
    for pointer in ["/state/actionsSuppressedBy", "/muteDetail"] {
        let silenced = facts.pointer(pointer).is_some_and(|by| !by.is_null());
        assert!(!silenced, "{pointer}: {facts}");
    }
}

fn request_holds(request: &Request, rule: NameRule, payload: &[u8]) {
    let names = &request.environments;
    assert!((1..=100).contains(&names.len()), "{} names", names.len());
    for (index, name) in names.iter().enumerate() {
        let again = EnvironmentName::parse(name.as_str(), rule);
        assert_eq!(again.as_ref(), Ok(name));
        let is_first = !names.iter().take(index).any(|before| before == name);
        assert!(is_first, "`{name}` is there twice");
    }
    if let Ok(value) = serde_json::from_slice::<Value>(payload) {
        assert_eq!(
            value.get("dryRun").unwrap_or(&false.into()),
            request.dry_run
        );
        for asked in value["environments"].as_array().into_iter().flatten() {
            let is_kept = names
                .iter()
                .any(|known| Some(known.as_str()) == asked.as_str());
            assert!(is_kept, "{asked} is lost");
        }
    }
}

/// Checks the events and the summary of a trigger.
fn can_be_reported(trigger: &Trigger) {
    let Ok(name) = EnvironmentName::parse("net", NameRule::Proton) else {
        return;
    };
    let context = Context {
        origin: Origin::Trigger(trigger),
        mode: Mode::Live,
        request_id: "8a1c",
    };
    let error = CallError {
        fault: Fault::Refused,
        code: "AccessDeniedException".to_owned(),
        message: "no".to_owned(),
    };
    let outcomes = [
        Outcome::unread(Environment::named(name.clone()), End::Error(error)),
        Outcome::without_cancel(
            Deployment {
                environment: Environment::named(name),
                id: None,
                started_at: None,
                status: Status::InProgress,
                message: trigger.reason.clone(),
                ended_at: None,
                moved_start: None,
            },
            End::DryRun,
        ),
    ];
    for outcome in &outcomes {
        let entry = Entry::of(outcome, context);
        assert!(entry.size() <= MOST_BYTES, "{} bytes", entry.size());
        let detail = is_json(&entry.detail);
        assert_eq!(detail["trigger"]["kind"], trigger.cause.kind());
        let longest = entry.resources.iter().map(String::len).max();
        assert!(longest.is_none_or(|longest| longest <= 2048), "{longest:?}");
    }
    let response = summary::answer(
        trigger,
        Mode::Live,
        Tally::default(),
        &outcomes.map(std::sync::Arc::new),
    );
    assert!(
        response.len() < LONGEST_RESPONSE,
        "{} bytes",
        response.len()
    );
    is_json(&response);
}

/// Checks that a time can be written as RFC 3339 and read again.
fn can_be_written(time: Timestamp) {
    let written = timestamp::format(time);
    assert_eq!(timestamp::parse(&written), Some(time), "{written}");
    assert_eq!(written.find('-'), Some(4), "{written} has another year");
}

fn is_json(text: &str) -> Value {
    assert!(!text.contains('\n'), "more than a line");
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("{error}: {text}"),
    }
}
