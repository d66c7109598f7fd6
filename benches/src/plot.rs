//! The plots of `BENCHMARKS.md`.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::SegmentedCoord;
use plotters::coord::types::{RangedCoordf64, RangedCoordi32};
use plotters::prelude::*;

use crate::row::{Dimension, GrowthPoint, Row};
use crate::statistics::Samples;
use crate::units::milliseconds;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GOOD: RGBColor = RGBColor(0x2f, 0x6f, 0xae);
const BAD: RGBColor = RGBColor(0xb3, 0x36, 0x2d);
const FLOOR: RGBColor = RGBColor(0x99, 0x99, 0x99);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Bars = Cartesian2d<RangedCoordf64, SegmentedCoord<RangedCoordi32>>;
type BarChart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Bars>;
type PlotError = Box<dyn std::error::Error>;

/// A row with a target: its name, its ratio, and the target.
type Target<'a> = (&'a str, &'a Samples, f64);

/// Draws each ratio as a bar, as a share of its target, with the least and the greatest of all runs.
pub(crate) fn targets(rows: &[Row], file: &Path) -> Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row.name.as_str(), &row.ratio, row.target?)))
        .collect();
    let height = 90 + 34 * u32::try_from(rows.len())?;
    let area = SVGBackend::new(file, (900, height)).into_drawing_area();
    draw_targets(&rows, &area).map_err(|error| anyhow!("{error}"))
}

fn draw_targets(rows: &[Target<'_>], area: &Area<'_>) -> Result<(), PlotError> {
    area.fill(&WHITE)?;
    let most = rows
        .iter()
        .map(|(_, ratio, target)| ratio.greatest() / target)
        .fold(1.2, f64::max);
    let count = i32::try_from(rows.len())?;
    let mut chart = ChartBuilder::on(area)
        .caption(
            "Ratio to the yardstick, as a share of the target",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(210)
        .build_cartesian_2d(0.0..most.min(2.0) * 1.02, (0..count).into_segmented())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(rows.len())
        .y_label_formatter(&|at| match at {
            SegmentValue::CenterOf(index) => usize::try_from(count - 1 - index)
                .ok()
                .and_then(|index| rows.get(index))
                .map(|(name, _, _)| (*name).to_owned())
                .unwrap_or_default(),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        })
        .x_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .label_style(("sans-serif", 13))
        .draw()?;
    draw_bars(rows, &mut chart)?;
    chart.draw_series([PathElement::new(
        vec![(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Last)],
        INK.stroke_width(2),
    )])?;
    area.present()?;
    Ok(())
}

/// Draws the bars and the spread of each.
fn draw_bars(rows: &[Target<'_>], chart: &mut BarChart<'_, '_>) -> Result<(), PlotError> {
    for (index, (_, ratio, target)) in rows.iter().enumerate() {
        let place = i32::try_from(rows.len() - 1 - index)?;
        let share = ratio.median() / target;
        let colour = if share <= 1.0 { GOOD } else { BAD };
        let mut bar = Rectangle::new(
            [
                (0.0, SegmentValue::Exact(place)),
                (share, SegmentValue::Exact(place + 1)),
            ],
            colour.filled(),
        );
        bar.set_margin(7, 7, 0, 0);
        chart.draw_series([bar])?;
        let middle = SegmentValue::CenterOf(place);
        chart.draw_series([PathElement::new(
            vec![
                (ratio.least() / target, middle.clone()),
                (ratio.greatest() / target, middle),
            ],
            INK.stroke_width(2),
        )])?;
    }
    Ok(())
}

/// Draws the growth of time, CPU time and memory.
pub(crate) fn growth(points: &[GrowthPoint], file: &Path) -> Result<()> {
    let area = SVGBackend::new(file, (900, 640)).into_drawing_area();
    draw_growth(points, &area).map_err(|error| anyhow!("{error}"))
}

fn draw_growth(points: &[GrowthPoint], area: &Area<'_>) -> Result<(), PlotError> {
    area.fill(&WHITE)?;
    let panels = area.split_evenly((2, 2));
    let sides = [
        (
            Dimension::Environments,
            "environments (10 cancelled)",
            10.0..10_000.0,
        ),
        (
            Dimension::Cancels,
            "cancels (of 1,000 environments)",
            1.0..1_000.0,
        ),
    ];
    for ((dimension, label, range), panels) in sides.into_iter().zip(panels.chunks(2)) {
        let [time, cost] = panels else { continue };
        let line = |value: fn(&GrowthPoint) -> f64| line(points, dimension, value);
        let times = [
            ("time, ms", GOOD, line(|point| point.time.median())),
            ("floor, ms", FLOOR, line(|point| milliseconds(point.floor))),
        ];
        panel(time, label, range.clone(), 10.0..10_000.0, &times)?;
        let costs = [
            ("CPU time, ms", BAD, line(|point| point.cpu.median())),
            ("peak memory, MiB", INK, line(|point| point.memory.median())),
        ];
        panel(cost, label, range, 1.0..1_000.0, &costs)?;
    }
    area.present()?;
    Ok(())
}

/// Returns the line of a value along a dimension.
fn line(
    points: &[GrowthPoint],
    dimension: Dimension,
    value: fn(&GrowthPoint) -> f64,
) -> Vec<(f64, f64)> {
    points
        .iter()
        .filter(|point| point.dimension == dimension)
        .filter_map(|point| Some((f64::from(u32::try_from(point.size).ok()?), value(point))))
        .collect()
}

type Line<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);

fn panel(
    area: &Area<'_>,
    label: &str,
    across: Range<f64>,
    up: Range<f64>,
    lines: &[Line<'_>],
) -> Result<(), PlotError> {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(across.log_scale(), up.log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(label)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(("sans-serif", 12))
        .draw()?;
    for (name, colour, points) in lines {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.clone(), style).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 12))
        .background_style(WHITE)
        .draw()?;
    Ok(())
}
