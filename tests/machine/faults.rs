//! The injected faults, by seed: the fate of each call.

use std::ops::Range;
use std::time::Duration;

use proton_canceller::run::ListPurpose;

use crate::calls::{Asked, At, Trouble};

/// A fault that hits all calls, or all reads or cancels, of one environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastingFault {
    CancelsHang,
    CancelsBreak,
    CancelsAreRefused,
    ReadsHang,
    ReadsBreak,
    ReadsAreRefused,
    EverythingHangs,
    EverythingBreaks,
}

/// The faults of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) latency: Range<u64>,
    /// The number of slow calls in a thousand. They take up to 8 seconds longer.
    pub(crate) slow: u64,
    /// The number of calls in a thousand that fail, before or after they take effect. So with `lost` and
    /// `hanging`.
    pub(crate) broken: u64,
    pub(crate) lost: u64,
    pub(crate) hanging: u64,
    pub(crate) bucket: Option<Bucket>,
    /// The time in which the service cannot be reached.
    pub(crate) outage: Option<Range<At>>,
    /// The time in which the listing fails, and how.
    pub(crate) bad_listing: Option<(Range<At>, BadListing)>,
    /// The environments with a lasting fault, during `lasting_during`.
    pub(crate) lasting: Vec<(usize, LastingFault)>,
    pub(crate) lasting_during: Range<At>,
}

/// The way in which a listing fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadListing {
    Hangs,
    Breaks,
    Slow,
}

/// The service's rate limit, a token bucket.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) rate: f64,
    pub(crate) burst: f64,
    pub(crate) tokens: f64,
    pub(crate) filled_at: At,
}

impl Bucket {
    /// Takes a token. Returns true if the call is accepted.
    pub(crate) fn take(&mut self, now: At) -> bool {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.filled_at = now;
        let is_accepted = self.tokens >= 1.0;
        if is_accepted {
            self.tokens -= 1.0;
        }
        is_accepted
    }
}

/// The fate of a call: its times, and its fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// When the service handles the call. `None` if the call does not arrive.
    pub(crate) handled_at: Option<At>,
    /// When the response arrives. `None` if it does not.
    pub(crate) responds_at: Option<At>,
    /// The fault that replaces the service's response.
    pub(crate) trouble: Option<Trouble>,
}

/// The course of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Well,
    Slow,
    BrokenBefore,
    BrokenAfter,
    LostBefore,
    LostAfter,
    HangsBefore,
    HangsAfter,
    Refused,
    Unreachable,
}

impl Faults {
    /// Returns no faults. Each call takes `latency` milliseconds.
    pub(crate) fn none(latency: u64) -> Self {
        Self {
            latency: latency..latency + 1,
            slow: 0,
            broken: 0,
            lost: 0,
            hanging: 0,
            bucket: None,
            outage: None,
            bad_listing: None,
            lasting: Vec::new(),
            lasting_during: At::ZERO..At::MAX,
        }
    }

    /// Draws the fate of a call.
    pub(crate) fn fate(&self, asked: Asked, now: At, random: &mut fastrand::Rng) -> Fate {
        let way = self.way(asked, now, random);
        let milliseconds = |range: Range<u64>, random: &mut fastrand::Rng| {
            Duration::from_millis(random.u64(range))
        };
        let mut latency = milliseconds(self.latency.clone(), random);
        if way == Way::Slow {
            latency += milliseconds(200..8000, random);
        }
        let handled_at = now + latency.mul_f64(random.f64());
        let responds_at = now + latency;
        let (handled_at, responds_at, trouble) = match way {
            Way::Well | Way::Slow => (Some(handled_at), Some(responds_at), None),
            Way::BrokenBefore => (None, Some(responds_at), Some(Trouble::Broken)),
            Way::BrokenAfter => (Some(handled_at), Some(responds_at), Some(Trouble::Broken)),
            Way::LostBefore => (None, Some(responds_at), Some(Trouble::Lost)),
            Way::LostAfter => (Some(handled_at), Some(responds_at), Some(Trouble::Lost)),
            Way::HangsBefore => (None, None, None),
            Way::HangsAfter => (Some(handled_at), None, None),
            Way::Refused => (None, Some(responds_at), Some(Trouble::Refused)),
            Way::Unreachable => (None, Some(responds_at), Some(Trouble::Unreachable)),
        };
        Fate {
            handled_at,
            responds_at,
            trouble,
        }
    }

    fn way(&self, asked: Asked, now: At, random: &mut fastrand::Rng) -> Way {
        if self.outage.as_ref().is_some_and(|one| one.contains(&now)) {
            return Way::Unreachable;
        }
        if let Some(way) = self.lasting_way(asked, now) {
            return way;
        }
        let (before, after, drawn) = (random.bool(), random.u64(0..1000), self.slow);
        let mut below = drawn;
        if after < below {
            return Way::Slow;
        }
        for (share, ways) in [
            (self.broken, [Way::BrokenBefore, Way::BrokenAfter]),
            (self.lost, [Way::LostBefore, Way::LostAfter]),
            (self.hanging, [Way::HangsBefore, Way::HangsAfter]),
        ] {
            below += share;
            if after < below {
                return ways[usize::from(before)];
            }
        }
        Way::Well
    }

    /// Returns the course that a lasting fault gives a call.
    fn lasting_way(&self, asked: Asked, now: At) -> Option<Way> {
        if let Asked::List { purpose, .. } = asked {
            let (when, how) = self.bad_listing.as_ref()?;
            return match how {
                _ if !when.contains(&now) || purpose == ListPurpose::Find => None,
                BadListing::Hangs => Some(Way::HangsBefore),
                BadListing::Breaks => Some(Way::BrokenBefore),
                BadListing::Slow => Some(Way::Slow),
            };
        }
        let environment = asked.environment()?;
        let mut lasting = self
            .lasting
            .iter()
            .filter(|_| self.lasting_during.contains(&now));
        let (_, fault) = *lasting.find(|(one, _)| *one == environment)?;
        let is_cancel = asked.is_cancel();
        match fault {
            LastingFault::EverythingHangs => Some(Way::HangsBefore),
            LastingFault::EverythingBreaks => Some(Way::BrokenBefore),
            LastingFault::CancelsHang if is_cancel => Some(Way::HangsBefore),
            LastingFault::CancelsBreak if is_cancel => Some(Way::BrokenBefore),
            LastingFault::CancelsAreRefused if is_cancel => Some(Way::Refused),
            LastingFault::ReadsHang if !is_cancel => Some(Way::HangsBefore),
            LastingFault::ReadsBreak if !is_cancel => Some(Way::BrokenBefore),
            LastingFault::ReadsAreRefused if !is_cancel => Some(Way::Refused),
            LastingFault::CancelsHang
            | LastingFault::CancelsBreak
            | LastingFault::CancelsAreRefused
            | LastingFault::ReadsHang
            | LastingFault::ReadsBreak
            | LastingFault::ReadsAreRefused => None,
        }
    }

    /// True if no call fails or is slow.
    pub(crate) fn is_none(&self) -> bool {
        self.slow + self.broken + self.lost + self.hanging == 0
            && self.bucket.is_none()
            && self.outage.is_none()
            && self.bad_listing.is_none()
            && self.lasting.is_empty()
    }
}
