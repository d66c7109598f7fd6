//! The units of the figures.

use std::time::Duration;

use anyhow::Result;

/// Returns a time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns a size in MiB.
pub(crate) fn mebibytes(kibibytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(kibibytes)?) / 1024.0)
}

/// Returns a count as a sample. Fails from 2³² on.
pub(crate) fn count(count: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?))
}
