//! A CloudWatch alarm's state change, by whatever way it comes.
//!
//! The types are our own, because those of `aws_lambda_events` refuse real alarms: states not known
//! yet, absent reasons, periods of a day, metric math, composites without a suppressor.

use std::time::Duration;

use serde::Deserialize;

use super::json::{Object, time_of, told, typed};
use super::{Cause, Trigger, UnsupportedPayload, unsupported};
use crate::timestamp::Timestamp;

/// An alarm's state change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The alarm's name.
    pub name: String,
    /// The state it is in now, as CloudWatch wrote it.
    pub state: String,
    /// The alarm or rule that suppresses the alarm's actions, if there is one.
    pub suppressed_by: Option<String>,
    /// The mute rule that silences it, if one does.
    pub muted_by: Option<String>,
    /// When the alarm fired: a deployment that started later is more likely the fix than the fault.
    pub fired_at: Timestamp,
}

impl Alarm {
    /// Why this state change asks for nothing, if so.
    ///
    /// The previous state plays no part: a composite alarm goes from `ALARM` to `ALARM` when a
    /// suppression ends, a new alarm comes from `INSUFFICIENT_DATA`.
    #[must_use]
    pub fn ignored(&self) -> Option<String> {
        let name = crate::text::cut(&self.name, 255);
        if self.state != "ALARM" {
            let state = crate::text::cut(&self.state, 100);
            return Some(format!(
                "the alarm `{name}` is in state `{state}`, not `ALARM`"
            ));
        }
        if let Some(by) = &self.suppressed_by {
            let by = crate::text::cut(by, 255);
            return Some(format!(
                "the actions of the alarm `{name}` are suppressed by `{by}`"
            ));
        }
        self.muted_by.as_ref().map(|by| {
            let by = crate::text::cut(by, 255);
            format!("the alarm `{name}` is muted by `{by}`")
        })
    }
}

/// The members of an alarm's `detail` or `alarmData`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlarmFacts {
    alarm_name: String,
    state: Object<AlarmState>,
    #[serde(default)]
    mute_detail: Option<Object<MuteDetail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlarmState {
    value: String,
    #[serde(default, deserialize_with = "told")]
    reason: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    actions_suppressed_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MuteDetail {
    #[serde(default, deserialize_with = "told")]
    muted_by_arn: Option<String>,
}

impl AlarmFacts {
    /// The trigger that the alarm is, with its event's id and time and its own ARN.
    pub(super) fn into_trigger(
        self,
        id: Option<String>,
        arn: Option<String>,
        time: Option<EventTime>,
    ) -> Result<Trigger, UnsupportedPayload> {
        let Object(state) = self.state;
        let state_time = time_of("the alarm's `state.timestamp`", state.timestamp)?;
        let fired_at = fired_at(time, state_time)?;
        if self.alarm_name.is_empty() {
            return Err(unsupported("the alarm's name is empty"));
        }
        Ok(Trigger {
            cause: Cause::Alarm(Alarm {
                name: self.alarm_name.clone(),
                state: state.value,
                suppressed_by: state.actions_suppressed_by,
                muted_by: self.mute_detail.map(|Object(mute)| {
                    mute.muted_by_arn
                        .unwrap_or_else(|| "a mute rule".to_owned())
                }),
                fired_at,
            }),
            id,
            name: Some(self.alarm_name),
            arn,
            time: time.map(EventTime::start).or(state_time),
            reason: state.reason,
        })
    }
}

/// An event's own time, and how exactly it is known.
#[derive(Clone, Copy)]
pub(super) enum EventTime {
    /// EventBridge writes whole seconds: the event happened somewhere within that one.
    ToTheSecond(Timestamp),
    /// To the millisecond, as CloudWatch and SNS write it.
    Exact(Timestamp),
}

impl EventTime {
    fn start(self) -> Timestamp {
        match self {
            Self::ToTheSecond(time) | Self::Exact(time) => time,
        }
    }
}

/// When the alarm fired: the later of the event's own time and the state's.
///
/// An event's time that is known to the second only stands for all of that second, so that a
/// deployment from earlier in it is not taken for one that started after the alarm. Where the
/// state's time lies within the same second it is the exact reading of that moment; but not where it
/// lies right at its beginning: there it is known to the second only, too.
fn fired_at(
    event: Option<EventTime>,
    state: Option<Timestamp>,
) -> Result<Timestamp, UnsupportedPayload> {
    match (event, state) {
        (Some(EventTime::ToTheSecond(second)), state) => {
            let begin = second.truncate_to_second();
            let end = begin + Duration::from_nanos(999_999_999);
            Ok(match state {
                Some(state) if state > begin => state,
                _ => end,
            })
        }
        (Some(EventTime::Exact(event)), Some(state)) => Ok(event.max(state)),
        (Some(EventTime::Exact(time)), None) | (None, Some(time)) => Ok(time),
        (None, None) => Err(unsupported(
            "the alarm says neither when its event happened nor when its state changed",
        )),
    }
}

/// The payload with which CloudWatch invokes a function that is an alarm's own action.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LambdaAction {
    #[serde(default, deserialize_with = "told")]
    alarm_arn: Option<String>,
    #[serde(default)]
    time: Option<String>,
    alarm_data: Object<AlarmFacts>,
}

/// Reads an alarm's direct Lambda action.
pub(super) fn lambda_action(payload: &str) -> Result<Trigger, UnsupportedPayload> {
    let action: LambdaAction = typed("the alarm's action", payload)?;
    let time = time_of("the alarm action's `time`", action.time)?.map(EventTime::Exact);
    action
        .alarm_data
        .0
        .into_trigger(None, action.alarm_arn, time)
}

/// The text that CloudWatch writes into the message of an alarm's SNS notification.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AlarmNotification {
    alarm_name: String,
    #[serde(default, deserialize_with = "told")]
    alarm_arn: Option<String>,
    new_state_value: String,
    #[serde(default, deserialize_with = "told")]
    new_state_reason: Option<String>,
    #[serde(default)]
    state_change_time: Option<String>,
}

/// Reads an alarm from an SNS message, with the SNS message's id and time.
pub(super) fn alarm_notification(
    message: &str,
    id: Option<String>,
    time: Option<Timestamp>,
) -> Result<Trigger, UnsupportedPayload> {
    let alarm: AlarmNotification = typed("the SNS message's alarm", message)?;
    let facts = AlarmFacts {
        alarm_name: alarm.alarm_name,
        state: Object(AlarmState {
            value: alarm.new_state_value,
            reason: alarm.new_state_reason,
            timestamp: alarm.state_change_time,
            actions_suppressed_by: None,
        }),
        mute_detail: None,
    };
    facts.into_trigger(id, alarm.alarm_arn, time.map(EventTime::Exact))
}
