//! A CloudWatch alarm's state change: from EventBridge, from the alarm's Lambda action, or through SNS.
//!
//! The types are our own, because those of `aws_lambda_events` reject real alarms: unknown states, absent
//! reasons, periods of a day, metric math, composites without a suppressor.

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
    /// The present state, as CloudWatch writes it.
    pub state: String,
    /// The alarm or rule that suppresses the alarm's actions. `None` if they are not suppressed.
    pub suppressed_by: Option<String>,
    /// The mute rule that mutes the alarm. `None` if the alarm is not muted.
    pub muted_by: Option<String>,
    /// When the alarm fired. A deployment that started later is more likely the fix than the fault.
    pub fired_at: Timestamp,
}

impl Alarm {
    /// Returns why this state change is ignored. `None` if it starts a run.
    ///
    /// The previous state does not matter. A composite alarm goes from `ALARM` to `ALARM` when a
    /// suppression ends, and a new alarm comes from `INSUFFICIENT_DATA`.
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
    /// Returns the alarm as a trigger, with the ID and the time of its event and with its ARN.
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

/// The time of an event, with its precision.
#[derive(Clone, Copy)]
pub(super) enum EventTime {
    /// A time in whole seconds, from EventBridge. The event happened within that second.
    ToTheSecond(Timestamp),
    /// A time in milliseconds, from CloudWatch or SNS.
    Exact(Timestamp),
}

impl EventTime {
    fn start(self) -> Timestamp {
        match self {
            Self::ToTheSecond(time) | Self::Exact(time) => time,
        }
    }
}

/// Returns when the alarm fired: the later of the event's own time and the state's.
///
/// An event's time in whole seconds counts to the end of that second. So a deployment from earlier in that
/// second is not taken as started after the alarm. If the state's time is within the same second, it is
/// the exact time and counts. If it is at the very beginning of the second, it may be rounded and does not
/// count.
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

/// The payload of an alarm's direct Lambda action.
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

/// The message of an alarm's SNS notification, written by CloudWatch.
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

/// Reads an alarm from an SNS message. `id` and `time` are those of the SNS message.
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
