//! What many runs say together.

use std::fmt;

/// Values of repeated runs, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// The ratio of each run to its pair: they ran one right after the other, so that the machine's
    /// moods are in both.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// The sum of each run with its pair.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a + b).collect())
    }

    /// Each value times a factor.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        self.0.iter().map(|value| value * factor).collect()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The median, and the least and the most behind it.
impl fmt::Display for Samples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least, most] = [self.median(), self.least(), self.most()].map(short);
        if least == most {
            formatter.write_str(&median)
        } else {
            write!(formatter, "{median} ({least} to {most})")
        }
    }
}

/// A number with the digits that mean something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let samples: Samples = [5.0, 1.0, 3.0].into_iter().collect();
        assert_eq!(samples.to_string(), "3.00 (1.00 to 5.00)");
        let samples: Samples = [4.0, 1.0].into_iter().collect();
        assert_eq!(short(samples.median()), "2.50");
    }

    #[test]
    fn ratios_are_those_of_pairs() {
        let a: Samples = [10.0, 40.0, 30.0].into_iter().collect();
        let b: Samples = [10.0, 20.0, 10.0].into_iter().collect();
        assert_eq!(a.over(&b).to_string(), "2.00 (1.00 to 3.00)");
    }
}
