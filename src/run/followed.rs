//! One deployment that is followed.

use std::time::Duration;

use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::report::outcome::{End, Outcome, Subject};
use crate::timestamp::{self, Timestamp};

/// The wait before the first poll of a deployment.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait between two polls of a deployment.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A deployment that is being cancelled.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// The deployment as it was last read.
    pub(super) deployment: Deployment,
    /// When this run asked for the cancel, if it did.
    requested_at: Option<Timestamp>,
    /// The deployment that was reported first.
    subject: Subject,
    since: Timestamp,
    /// True if the listing does not show it: it is read by itself.
    pub(super) is_unlisted: bool,
}

impl Followed {
    pub(super) fn new(
        deployment: Deployment,
        requested_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        Self {
            subject: Subject::of(&deployment),
            deployment,
            requested_at,
            since: now,
            is_unlisted: false,
        }
    }

    pub(super) fn name(&self) -> EnvironmentName {
        self.deployment.environment.name.clone()
    }

    /// True if a page of the listing shows news of the deployment. A status that means nothing for a
    /// deployment may be its environment's. A read that is under way is left to its responses unless the
    /// page shows the end.
    pub(super) fn is_shown_by(&self, shown: &Deployment, is_being_read: bool) -> bool {
        let is_over = !matches!(shown.status, Status::InProgress | Status::Cancelling);
        shown.is_same_as(&self.deployment)
            && !matches!(shown.status, Status::Other(_))
            && (is_over || !is_being_read)
    }

    /// Returns the outcome if the deployment is followed no further.
    pub(super) fn outcome(self, end: End) -> Outcome {
        Outcome {
            cancel_requested_at: self.requested_at,
            subject: self.subject,
            ..Outcome::without_cancel(self.deployment, end)
        }
    }

    /// Returns when to poll next. The waits grow with the time that a deployment takes.
    pub(super) fn next_poll(&self, now: Timestamp) -> Timestamp {
        let wait = (now - self.since).unsigned_abs() / 2;
        timestamp::later(now, wait.clamp(FIRST_WAIT, LONGEST_WAIT)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, deployment, shown};
    use super::*;

    #[test]
    fn the_waits_between_polls_grow_by_half_up_to_ten_seconds() {
        let followed = Followed::new(deployment("net"), None, NOW);
        for (since, wait) in [
            (0, 250),
            (500, 250),
            (502, 251),
            (600, 300),
            (20_000, 10_000),
            (90_000, 10_000),
        ] {
            assert_eq!(followed.next_poll(after(since)), after(since + wait));
        }
    }

    #[test]
    fn a_page_shows_news_of_the_followed_deployment_only() {
        let followed = Followed::new(deployment("net"), None, NOW);
        let is_shown =
            |id: &str, status, is_in_flight| followed.is_shown_by(&shown(id, status), is_in_flight);
        assert!(is_shown("d-net", Status::Cancelling, false));
        assert!(is_shown("d-net", Status::Failed, true));
        assert!(!is_shown("d-net", Status::Cancelling, true));
        assert!(!is_shown("d-2", Status::Failed, false));
        let other = Status::Other("DELETE_IN_PROGRESS".to_owned());
        assert!(!is_shown("d-net", other, false));
    }
}
