//! The measurements, by the names that `--only` takes.

mod cpu;
mod fan_out;
mod first_cancel;
mod follower;
mod following;
mod growth;
mod memory;
mod size;
mod start;
mod throttled;

use std::str::FromStr;

use anyhow::{Context as _, Result};

use crate::row::{GrowthPoint, Row};
use crate::setup::Setup;

/// A measurement of one or more rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measurement {
    Start,
    FirstCancel,
    FanOut,
    TenThousand,
    Throttled,
    Following,
    Follower,
    Memory,
    Size,
    Cpu,
    Growth,
}

/// The figures of all measurements.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
    pub(crate) growth: Vec<GrowthPoint>,
}

impl Measurement {
    /// Every measurement, in the order of the rows.
    pub(crate) const ALL: [Self; 11] = [
        Self::Start,
        Self::FirstCancel,
        Self::FanOut,
        Self::TenThousand,
        Self::Throttled,
        Self::Following,
        Self::Follower,
        Self::Memory,
        Self::Size,
        Self::Cpu,
        Self::Growth,
    ];

    /// Returns the name that `--only` takes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::FirstCancel => "first-cancel",
            Self::FanOut => "fan-out",
            Self::TenThousand => "ten-thousand",
            Self::Throttled => "throttled",
            Self::Following => "following",
            Self::Follower => "follower",
            Self::Memory => "memory",
            Self::Size => "size",
            Self::Cpu => "cpu",
            Self::Growth => "growth",
        }
    }

    /// True if the bare function is the yardstick.
    pub(crate) fn needs_bare(self) -> bool {
        matches!(self, Self::Start | Self::FirstCancel | Self::Memory)
    }

    /// True if the plain build is the yardstick.
    pub(crate) fn needs_plain(self) -> bool {
        matches!(self, Self::Start | Self::Size)
    }

    /// True if the function in Python is the yardstick.
    pub(crate) fn needs_python(self) -> bool {
        self == Self::Cpu
    }

    /// Measures, and adds the figures.
    pub(crate) async fn measure(self, setup: &Setup, figures: &mut Figures) -> Result<()> {
        let rows = match self {
            Self::Start => start::rows(setup).await?,
            Self::FirstCancel => first_cancel::rows(setup).await?,
            Self::FanOut => fan_out::hundred(setup).await?,
            Self::TenThousand => fan_out::ten_thousand(setup).await?,
            Self::Throttled => throttled::rows(setup).await?,
            Self::Following => following::rows(setup).await?,
            Self::Follower => follower::rows(setup).await?,
            Self::Memory => memory::rows(setup).await?,
            Self::Size => size::rows(setup)?,
            Self::Cpu => cpu::rows(setup).await?,
            Self::Growth => {
                figures.growth = growth::points(setup).await?;
                Vec::new()
            }
        };
        figures.rows.extend(rows);
        Ok(())
    }
}

impl FromStr for Measurement {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|one| one.name() == text);
        known.with_context(|| {
            let names = Self::ALL.map(Self::name).join("`, `");
            format!("unknown measurement `{text}`: use one or more of `{names}`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_is_known_by_its_name() {
        for one in Measurement::ALL {
            assert_eq!(one.name().parse::<Measurement>().unwrap(), one);
        }
        let error = "fast".parse::<Measurement>().unwrap_err().to_string();
        assert!(error.starts_with("unknown measurement `fast`: use one or more of `start`, `"));
    }
}
