//! The payloads that the function is invoked with.

use std::time::SystemTime;

use anyhow::Result;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use local_aws::Event;
use test_support::payloads;

/// Returns the event of an alarm that fires now.
pub(crate) fn alarm(now: SystemTime) -> Bytes {
    let now = DateTime::<Utc>::from(now);
    payloads::alarm_at(now, now).to_string().into()
}

/// Returns the delivery of a published event to the follower by its queue.
pub(crate) fn delivery(event: &Event) -> Result<Bytes> {
    let delivery = payloads::delivery(&event.detail, &event.resources);
    Ok(serde_json::to_vec(&delivery)?.into())
}
