//! The statistics of repeated runs.

use std::fmt;

/// The values of repeated runs, in the order of the runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A value that is certain, such as a count.
    pub(crate) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The number of runs.
    pub(crate) fn runs(&self) -> usize {
        self.0.len()
    }

    /// Returns the median. NaN without runs.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        }
    }

    /// Returns the least value. NaN without runs.
    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// Returns the greatest value. NaN without runs.
    pub(crate) fn greatest(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Returns the median, with the least and the greatest value in brackets if they differ.
    pub(crate) fn shown(&self, number: fn(f64) -> String) -> String {
        let [median, least, greatest] = [self.median(), self.least(), self.greatest()].map(number);
        if least == greatest {
            median
        } else {
            format!("{median} ({least} to {greatest})")
        }
    }

    /// Returns the ratio of each run to its pair. The two runs of a pair follow each other, because
    /// the load of the machine is then the same for both.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// Returns the sum of each run and its pair.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a + b).collect())
    }

    /// Returns each value times a factor.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        self.0.iter().map(|value| value * factor).collect()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The median, with the least and the greatest value in brackets.
impl fmt::Display for Samples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown(number))
    }
}

/// Returns a number with two or three significant digits, or as many as its whole part has.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        tiny if tiny < 0.1 => {
            let mut decimals = 2;
            let mut shown = tiny;
            while shown < 0.1 && decimals < 12 {
                shown *= 10.0;
                decimals += 1;
            }
            format!("{value:.decimals$}")
        }
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Returns a count without decimals, and a mean of counts with them.
pub(crate) fn count(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        number(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_the_middle_two() {
        let samples: Samples = [5.0, 1.0, 3.0].into_iter().collect();
        assert_eq!(samples.to_string(), "3.00 (1.00 to 5.00)");
        let samples: Samples = [4.0, 1.0].into_iter().collect();
        assert_eq!(number(samples.median()), "2.50");
        assert!(Samples::new().median().is_nan());
    }

    #[test]
    fn ratios_and_sums_are_those_of_pairs() {
        let a: Samples = [10.0, 40.0, 30.0].into_iter().collect();
        let b: Samples = [10.0, 20.0, 10.0].into_iter().collect();
        assert_eq!(a.over(&b).to_string(), "2.00 (1.00 to 3.00)");
        assert_eq!(a.plus(&b).to_string(), "40.0 (20.0 to 60.0)");
        assert_eq!(a.scaled(0.1).to_string(), "3.00 (1.00 to 4.00)");
    }

    #[test]
    fn a_single_value_has_no_spread() {
        assert_eq!(Samples::one(10.0).to_string(), "10.0");
        assert_eq!(Samples::one(10.0).runs(), 1);
    }

    #[test]
    fn a_count_has_no_decimals() {
        let samples: Samples = [12.0, 14.0].into_iter().collect();
        assert_eq!(samples.shown(count), "13 (12 to 14)");
        assert_eq!(count(12.5), "12.5");
    }

    #[test]
    fn a_number_keeps_two_or_three_significant_digits() {
        for (value, shown) in [
            (0.0, "0"),
            (0.000_014_12, "0.000014"),
            (0.0487, "0.049"),
            (0.29, "0.29"),
            (1.123, "1.12"),
            (25.07, "25.1"),
            (447.9, "448"),
            (4902.4, "4902"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
