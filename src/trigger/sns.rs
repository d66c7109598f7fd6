//! An SNS notification of an alarm, or with a whole EventBridge event.

use aws_lambda_events::sns::SnsEvent;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::alarm::alarm_notification;
use super::event::{event_bridge, utc};
use super::json::typed;
use super::{Trigger, UnsupportedPayload, unsupported};

/// The discriminators of an SNS message: an alarm notification or an EventBridge event.
#[derive(Deserialize)]
struct MessageShape<'a> {
    #[serde(borrow, rename = "AlarmName", default)]
    alarm_name: Option<&'a RawValue>,
    #[serde(borrow, rename = "detail-type", default)]
    detail_type: Option<&'a RawValue>,
}

/// Reads the one record of a payload from SNS.
pub(super) fn notification(payload: &str) -> Result<Trigger, UnsupportedPayload> {
    let event: SnsEvent = typed("the SNS notification", payload)?;
    let Some(message) = event.records.into_iter().next().map(|record| record.sns) else {
        return Err(unsupported("the SNS notification has no record"));
    };
    match typed("the SNS message", &message.message)? {
        MessageShape {
            alarm_name: Some(_),
            detail_type: None,
        } => {
            let time = utc(message.timestamp)?;
            alarm_notification(&message.message, Some(message.message_id), Some(time))
        }
        MessageShape {
            alarm_name: None,
            detail_type: Some(_),
        } => event_bridge(&message.message),
        MessageShape { .. } => Err(unsupported(
            "the SNS message is neither an alarm notification nor an EventBridge event",
        )),
    }
}
