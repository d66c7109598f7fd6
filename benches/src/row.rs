//! The rows of the tables in `BENCHMARKS.md`.

use std::fmt;
use std::time::Duration;

use crate::statistics::{Samples, count, number};
use crate::text::{counted, grouped};
use crate::units::milliseconds;

/// A measured value and its unit.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) samples: Samples,
    /// The unit, or nothing for a count.
    unit: &'static str,
}

impl Figure {
    pub(crate) fn new(samples: Samples, unit: &'static str) -> Self {
        Self { samples, unit }
    }

    /// Returns the median alone.
    fn median(&self) -> String {
        self.with_unit((self.number())(self.samples.median()))
    }

    /// How a value is written.
    fn number(&self) -> fn(f64) -> String {
        if self.unit.is_empty() { count } else { number }
    }

    fn with_unit(&self, value: String) -> String {
        if self.unit.is_empty() {
            value
        } else {
            format!("{value} {}", self.unit)
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with_unit(self.samples.shown(self.number())))
    }
}

/// A comparison of the function with a yardstick.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The short name, for the plot and the results at the top.
    pub(crate) name: String,
    /// The measured quantity.
    pub(crate) title: String,
    /// The quantity that the function is compared with.
    pub(crate) yardstick: String,
    pub(crate) function: Figure,
    pub(crate) reference: Figure,
    /// The function's figure over the yardstick's, run by run.
    pub(crate) ratio: Samples,
    /// The greatest median of the ratio that meets the target.
    pub(crate) target: Option<f64>,
    /// The line among the results at the top. `None` for a row that has none.
    pub(crate) result: Option<ResultLine>,
}

/// The words of a line among the results at the top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResultLine {
    /// The measured quantity, as in "25 ms {quantity}".
    pub(crate) quantity: &'static str,
    /// The yardstick, as in "1.02 times {yardstick}".
    pub(crate) yardstick: &'static str,
}

impl Row {
    /// The head of the table.
    pub(crate) const HEAD: &str = "\
        | measurement | yardstick | function | yardstick's figure | ratio | target | result | runs |\n\
        |---|---|---|---|---|---|---|---|";

    /// Returns the row of the table.
    pub(crate) fn cells(&self) -> String {
        let (target, result) = match self.target {
            Some(target) => (format!("≤ {}", number(target)), self.verdict(target)),
            None => (String::new(), ""),
        };
        format!(
            "| {} | {} | {} | {} | {} | {target} | {result} | {} |",
            self.title,
            self.yardstick,
            self.function,
            self.reference,
            self.ratio,
            self.ratio.runs(),
        )
    }

    /// Returns the line among the results at the top. `None` if the row is not one of them.
    pub(crate) fn result_line(&self) -> Option<String> {
        let (result, target) = (self.result?, self.target?);
        Some(format!(
            "- **{}**: {} {}, {} times {} (target ≤ {}: {}).",
            self.name,
            self.function.median(),
            result.quantity,
            number(self.ratio.median()),
            result.yardstick,
            number(target),
            self.verdict(target),
        ))
    }

    fn verdict(&self, target: f64) -> &'static str {
        if self.ratio.median() <= target {
            "met"
        } else {
            "**missed**"
        }
    }
}

/// The dimension along which the cost of a run grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// Environments of the account, 10 of them to cancel.
    Environments,
    /// Cancels, of 1,000 environments.
    Cancels,
}

/// The cost of a run of a certain size.
#[derive(Clone, Debug)]
pub(crate) struct GrowthPoint {
    pub(crate) dimension: Dimension,
    pub(crate) size: usize,
    pub(crate) calls: Samples,
    /// The least time that the latencies of the calls allow.
    pub(crate) floor: Duration,
    /// Milliseconds from the event to the response.
    pub(crate) time: Samples,
    /// Milliseconds.
    pub(crate) cpu: Samples,
    /// MiB.
    pub(crate) memory: Samples,
}

impl GrowthPoint {
    /// The head of the table.
    pub(crate) const HEAD: &str = "\
        | run | API calls | floor, ms | time, ms | time over floor | CPU time, ms | peak memory, MiB | runs |\n\
        |---|---|---|---|---|---|---|---|";

    /// Returns the row of the table.
    pub(crate) fn cells(&self) -> String {
        let run = match self.dimension {
            Dimension::Environments => {
                let least = self.size.min(10);
                format!("{least} of {}", counted(self.size, "environment"))
            }
            Dimension::Cancels => format!("{} of 1,000 environments", grouped(self.size)),
        };
        let floor = milliseconds(self.floor);
        format!(
            "| {run} | {} | {} | {} | {} | {} | {} | {} |",
            self.calls.shown(count),
            number(floor),
            self.time,
            self.time.scaled(1.0 / floor),
            self.cpu,
            self.memory,
            self.time.runs(),
        )
    }
}

#[cfg(test)]
impl GrowthPoint {
    /// A sample for tests.
    pub(crate) fn sample() -> Self {
        Self {
            dimension: Dimension::Cancels,
            size: 1,
            calls: Samples::one(12.0),
            floor: Duration::from_millis(300),
            time: Samples::one(330.0),
            cpu: Samples::one(11.0),
            memory: Samples::one(6.5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ratio: f64, target: Option<f64>) -> Row {
        Row {
            name: "100 of 1,000 environments".to_owned(),
            title: "100 of 1,000 environments, from event to response".to_owned(),
            yardstick: "16 calls in sequence".to_owned(),
            function: Figure::new([440.0, 450.0, 448.0].into_iter().collect(), "ms"),
            reference: Figure::new(Samples::one(400.0), "ms"),
            ratio: Samples::one(ratio),
            target,
            result: Some(ResultLine {
                quantity: "from event to response",
                yardstick: "its 16 calls in sequence",
            }),
        }
    }

    #[test]
    fn a_row_says_if_its_target_is_met() {
        assert_eq!(
            row(1.12, Some(1.15)).cells(),
            "| 100 of 1,000 environments, from event to response | 16 calls in sequence \
             | 448 (440 to 450) ms | 400 ms | 1.12 | ≤ 1.15 | met | 1 |"
        );
        assert!(row(1.16, Some(1.15)).cells().contains("| **missed** |"));
    }

    #[test]
    fn a_row_without_target_has_no_verdict() {
        assert!(row(1.12, None).cells().ends_with("| 1.12 |  |  | 1 |"));
        assert_eq!(row(1.12, None).result_line(), None);
    }

    #[test]
    fn a_result_names_the_figure_the_ratio_and_the_target() {
        assert_eq!(
            row(1.12, Some(1.15)).result_line().as_deref(),
            Some(
                "- **100 of 1,000 environments**: 448 ms from event to response, 1.12 times its \
                 16 calls in sequence (target ≤ 1.15: met)."
            )
        );
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_head() {
        let cells = |line: &str| line.matches('|').count();
        let point = GrowthPoint::sample();
        for (head, row) in [
            (Row::HEAD, row(1.0, Some(1.0)).cells()),
            (GrowthPoint::HEAD, point.cells()),
        ] {
            for line in head.lines() {
                assert_eq!(cells(line), cells(&row), "{row}");
            }
        }
        assert!(
            point
                .cells()
                .starts_with("| 1 of 1,000 environments | 12 | 300 |")
        );
    }
}
