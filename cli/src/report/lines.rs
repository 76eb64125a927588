//! A chart of lines over epochs or other whole numbers: curves of training, quantities of layers, means by distance.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, Scale};
use super::canvas::{Drawn, Ink, Root, SCALE, fill, picture, stroke, text, text_width};
use crate::error::Result;

/// Width and height of a chart, pixels.
pub const WIDTH: i32 = 360;
const HEIGHT: i32 = 230;
const LEFT: i32 = 46;
const BOTTOM: i32 = 36;
const TOP: i32 = 10;
/// Height of a label with its space.
const LABEL: i32 = 14;

/// A point with an error, if one is known.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Epoch.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Half the length of the error bar.
    pub error: Option<f64>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What stands at its end.
    pub label: String,
    /// Number of the colour.
    pub colour: usize,
    /// Whether each point has a mark.
    pub marks: bool,
    /// Whether the line is dashed, as of a fit.
    pub dashed: bool,
    /// The points, by epoch.
    pub points: Vec<Point>,
}

/// What the vertical axis is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vertical {
    /// Logarithmic if all values are positive and span more than a factor of ten, else linear.
    Auto,
    /// Linear from 0.
    FromZero,
    /// Linear between the values, at most to the bound, such as an accuracy's 1.
    UpTo(f64),
    /// Linear between the values, for what are logarithms already.
    Linear,
}

/// A chart.
pub struct Chart<'a> {
    /// What it shows, in words.
    pub label: String,
    /// The lines.
    pub series: Vec<Series>,
    /// What the horizontal axis is: `epoch`, or another whole number.
    pub across: &'a str,
    /// Epochs of the snapshots: vertical lines and ticks.
    pub snapshots: &'a [usize],
    /// Last epoch.
    pub last: usize,
    /// The vertical axis.
    pub vertical: Vertical,
}

/// The scale of an axis of epochs: logarithmic if the snapshots crowd at the beginning.
pub fn epoch_scale(snapshots: &[usize], last: usize) -> Scale {
    let middle = snapshots.get(snapshots.len() / 2).copied().unwrap_or(last);
    if middle * 3 < last { Scale::LogPlusOne } else { Scale::Linear }
}

impl Chart<'_> {
    /// The chart as SVG; `None` if there is nothing to show.
    ///
    /// # Errors
    /// Only if plotters can't draw.
    pub fn svg(mut self) -> Result<Option<String>> {
        for series in &mut self.series {
            series.points.retain(|p| p.y.is_finite());
        }
        self.series.retain(|s| !s.points.is_empty());
        if self.series.is_empty() {
            return Ok(None);
        }
        picture(WIDTH, HEIGHT, &self.label, |root| self.draw(root)).map(Some)
    }

    fn draw(&self, root: &Root<'_>) -> Drawn {
        let widest = self.series.iter().map(|s| text_width(&s.label)).fold(0.0, f64::max);
        let right = (widest as i32 + 12).min(WIDTH / 3);
        let (width, height) = (f64::from(WIDTH - LEFT - right), f64::from(HEIGHT - TOP - BOTTOM));
        let horizontal = epoch_scale(self.snapshots, self.last);
        let x = Axis::epochs(horizontal, self.snapshots, self.last, width);
        let (vertical, y) = self.vertical(height);
        let (bottom, top) = y.bounds();
        let mut chart = ChartBuilder::on(root)
            .margin_top(TOP * SCALE)
            .margin_right(right * SCALE)
            .x_label_area_size(BOTTOM * SCALE)
            .y_label_area_size(LEFT * SCALE)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(stroke(Ink::Grid, 1.0))
            .light_line_style(TRANSPARENT)
            .axis_style(stroke(Ink::Axis, 1.0))
            .label_style(text(Ink::Muted, HPos::Center, VPos::Center))
            .x_desc(match horizontal {
                Scale::LogPlusOne => format!("{0} (on a log(1 + {0}) axis)", self.across),
                _ => self.across.to_owned(),
            })
            .axis_desc_style(text(Ink::Muted, HPos::Center, VPos::Center))
            .set_all_tick_mark_size(4 * SCALE)
            .draw()?;
        for &epoch in self.snapshots {
            let place = horizontal.place(epoch as f64);
            chart.draw_series([PathElement::new([(place, bottom), (place, top)], stroke(Ink::Grid, 1.0))])?;
        }
        let mut ends = Vec::new();
        for (k, s) in self.series.iter().enumerate() {
            let at = |p: &Point| (horizontal.place(p.x), vertical.place(p.y).clamp(bottom, top));
            let ink = if s.dashed { Ink::Dashed(s.colour) } else { Ink::Series(s.colour) };
            chart.draw_series([PathElement::new(s.points.iter().map(at).collect::<Vec<_>>(), stroke(ink, 2.0))])?;
            for p in &s.points {
                let (px, py) = chart.backend_coord(&at(p));
                if let Some(error) = p.error {
                    let end = |y: f64| {
                        let lowest = if vertical == Scale::Log { p.y * 1e-3 } else { f64::MIN };
                        chart.backend_coord(&(0.0, vertical.place(y.max(lowest)).clamp(bottom, top))).1
                    };
                    let (low, high) = (end(p.y - error), end(p.y + error));
                    root.draw(&PathElement::new([(px, low), (px, high)], stroke(ink, 1.25)))?;
                    for y in [low, high] {
                        let cap = [(px - 3 * SCALE, y), (px + 3 * SCALE, y)];
                        root.draw(&PathElement::new(cap, stroke(ink, 1.25)))?;
                    }
                }
                if s.marks {
                    mark(root, s.colour, px, py)?;
                }
            }
            let end = s.points.last().expect("series without points are dropped");
            if !s.label.is_empty() {
                ends.push((k, chart.backend_coord(&at(end))));
            }
        }
        self.labels(root, &ends)
    }

    /// Labels at the ends of the lines, pushed apart where they would overlap; of more than fit, an even choice.
    fn labels(&self, root: &Root<'_>, ends: &[(usize, (i32, i32))]) -> Drawn {
        let room = ((HEIGHT - BOTTOM - 8) / LABEL) as usize + 1;
        let chosen = |i: &usize| ends.len() <= room || i.is_multiple_of(ends.len().div_ceil(room));
        let kept = ends.iter().enumerate().filter(|(i, _)| chosen(i));
        let mut order: Vec<(usize, i32)> = kept.map(|(_, (k, (_, y)))| (*k, *y)).collect();
        order.sort_by_key(|(_, y)| *y);
        let wished: Vec<i32> = order.iter().map(|o| o.1).collect();
        let places = spread(&wished, LABEL * SCALE, 8 * SCALE, (HEIGHT - BOTTOM) * SCALE);
        for ((k, _), place) in order.iter().zip(places) {
            let series = &self.series[*k];
            let x = ends.iter().find(|e| e.0 == *k).map_or(0, |e| e.1.0) + 8 * SCALE;
            root.draw(&Text::new(
                series.label.clone(),
                (x, place),
                text(Ink::Series(series.colour), HPos::Left, VPos::Center),
            ))?;
        }
        Ok(())
    }

    fn vertical(&self, pixels: f64) -> (Scale, Axis) {
        let values = || {
            self.series.iter().flat_map(|s| &s.points).flat_map(|p| {
                let error = p.error.unwrap_or(0.0);
                [p.y, p.y - error, p.y + error].into_iter().filter(|y| y.is_finite())
            })
        };
        let (lo, hi) = values().fold((f64::MAX, f64::MIN), |(lo, hi), y| (lo.min(y), hi.max(y)));
        let points = || self.series.iter().flat_map(|s| &s.points).map(|p| p.y);
        let lowest = points().fold(f64::MAX, f64::min);
        match self.vertical {
            Vertical::Auto if lowest > 0.0 && hi > 10.0 * lowest => {
                // An error bar that reaches 0 must not stretch the axis without end.
                let lo = lo.max(lowest / 10.0);
                (Scale::Log, Axis::log(lo / 1.15, hi * 1.15, pixels, false))
            }
            Vertical::FromZero => {
                (Scale::Linear, Axis::linear(0.0, if hi > 0.0 { hi * 1.06 } else { 1.0 }, pixels, 34.0, false))
            }
            Vertical::UpTo(bound) => {
                let bound = bound.max(points().fold(f64::MIN, f64::max));
                let lo = lo - 0.04 * (bound - lo);
                (Scale::Linear, Axis::linear(lo, bound, pixels, 34.0, false).widened(0.0, 0.03))
            }
            Vertical::Auto | Vertical::Linear => {
                let room = if hi > lo { 0.06 * (hi - lo) } else { 0.1 * hi.abs().max(1e-12) };
                (Scale::Linear, Axis::linear(lo - room, hi + room, pixels, 34.0, false))
            }
        }
    }
}

/// A mark whose shape tells series apart where colours don't.
fn mark(root: &Root<'_>, series: usize, x: i32, y: i32) -> Drawn {
    let r = 3 * SCALE + SCALE / 2;
    let outline: Vec<(i32, i32)> = match series % 4 {
        0 => {
            root.draw(&Circle::new((x, y), r + SCALE, fill(Ink::Card, 1.0)))?;
            return root.draw(&Circle::new((x, y), r, fill(Ink::Series(series), 1.0)));
        }
        1 => vec![(-r, -r), (r, -r), (r, r), (-r, r)],
        2 => vec![(0, -r - SCALE), (r + SCALE, r), (-r - SCALE, r)],
        _ => vec![(0, -r - SCALE), (r + SCALE, 0), (0, r + SCALE), (-r - SCALE, 0)],
    };
    let at = |factor: f64| {
        let grown = |v: i32| (f64::from(v) * factor) as i32;
        outline.iter().map(|(dx, dy)| (x + grown(*dx), y + grown(*dy))).collect::<Vec<_>>()
    };
    root.draw(&Polygon::new(at(1.35), fill(Ink::Card, 1.0)))?;
    root.draw(&Polygon::new(at(0.95), fill(Ink::Series(series), 1.0)))
}

/// Places at least `gap` apart, in the given ascending order, as near as can be to the wished ones and between `first`
/// and `last` (beyond `last` if there are too many).
///
/// Groups that touch are centred on the mean of their wishes: the least-squares solution (pool adjacent violators).
fn spread(wished: &[i32], gap: i32, first: i32, last: i32) -> Vec<i32> {
    // With y_i = place_i − i·gap the condition is that y ascends.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    for (i, &w) in wished.iter().enumerate() {
        let mut group = (f64::from(w - i as i32 * gap), 1);
        while let Some(&(mean, n)) = groups.last()
            && mean > group.0
        {
            group = ((mean * n as f64 + group.0 * group.1 as f64) / (n + group.1) as f64, n + group.1);
            groups.pop();
        }
        groups.push(group);
    }
    let limit = f64::from(last - (wished.len().saturating_sub(1) as i32) * gap);
    let flat = groups.iter().flat_map(|(mean, n)| std::iter::repeat_n(mean.min(limit).max(f64::from(first)), *n));
    flat.enumerate().map(|(i, y)| y as i32 + i as i32 * gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_fit_stay_and_others_share_the_shift() {
        assert_eq!(spread(&[10, 50, 90], 14, 8, 200), [10, 50, 90]);
        assert_eq!(spread(&[50, 50, 50], 14, 8, 200), [36, 50, 64]);
        assert_eq!(spread(&[190, 195], 14, 8, 200), [185, 199]);
        assert_eq!(spread(&[250, 260], 14, 8, 200), [186, 200]);
        assert_eq!(spread(&[9, 9], 14, 8, 200), [8, 22]);
        assert!(spread(&[], 14, 8, 200).is_empty());
    }

    #[test]
    fn crowded_snapshots_make_the_epochs_logarithmic() {
        assert_eq!(epoch_scale(&[0, 1, 2, 4, 8, 15, 27, 50], 50), Scale::LogPlusOne);
        assert_eq!(epoch_scale(&[0, 10, 20, 30, 40, 50], 50), Scale::Linear);
        assert_eq!(epoch_scale(&[0], 0), Scale::Linear);
    }

    fn chart(points: Vec<Point>, vertical: Vertical) -> Option<String> {
        let series = vec![Series { label: "1".into(), colour: 0, marks: true, dashed: false, points }];
        Chart { label: "a chart".into(), series, across: "epoch", snapshots: &[0, 1, 10], last: 10, vertical }
            .svg()
            .unwrap()
    }

    #[test]
    fn nothing_finite_means_no_chart() {
        assert!(chart(vec![], Vertical::Auto).is_none());
        assert!(chart(vec![Point { x: 0.0, y: f64::NAN, error: None }], Vertical::Auto).is_none());
    }

    #[test]
    fn odd_values_are_drawn_without_trouble() {
        for y in [0.0, -1.0, 1e-300, 1e300, 5.0] {
            for vertical in [Vertical::Auto, Vertical::FromZero, Vertical::UpTo(1.0), Vertical::Linear] {
                for error in [None, Some(0.0), Some(1e3), Some(f64::INFINITY)] {
                    let points = vec![Point { x: 0.0, y, error }, Point { x: 10.0, y: 2.0 * y, error }];
                    let svg = chart(points, vertical).unwrap();
                    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{y} {vertical:?} {error:?}");
                }
            }
        }
    }
}
