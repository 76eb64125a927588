//! The spectrum of one layer at every snapshot: one row each, on a common signed logarithmic axis.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Drawn, Ink, Root, SCALE, fill, picture, stroke, text};
use super::density::{Density, Frame};
use super::lines::WIDTH;
use crate::error::Result;
use crate::results::Spectrum;

const LEFT: i32 = 34;
const RIGHT: i32 = 12;
const TOP: i32 = 20;
const BOTTOM: i32 = 36;
/// Height of a row: the density, a gap and the rug.
const ROW: i32 = 46;
const RUG: i32 = 7;

/// One row.
pub struct Ridge<'a> {
    /// Epoch of the snapshot.
    pub epoch: usize,
    /// What is known of the spectrum.
    pub spectrum: &'a Spectrum,
}

/// The picture, as SVG; `None` if every eigenvalue is zero or none is known. `series` is the number of the layer's colour.
///
/// # Errors
/// Only if plotters can't draw.
pub fn svg(rows: &[Ridge<'_>], series: usize, tau: f64, label: &str) -> Result<Option<String>> {
    let Some(frame) = Frame::of(rows.iter().map(|r| r.spectrum), tau) else { return Ok(None) };
    let height = TOP + ROW * rows.len() as i32 + BOTTOM;
    picture(WIDTH, height, label, |root| draw(root, rows, series, frame)).map(Some)
}

fn draw(root: &Root<'_>, rows: &[Ridge<'_>], series: usize, frame: Frame) -> Drawn {
    let axis = Axis::signed(frame.c, frame.lo, frame.hi, f64::from(WIDTH - LEFT - RIGHT));
    let densities: Vec<Density> = rows.iter().map(|r| Density::of(r.spectrum, frame)).collect();
    // Logarithmic heights, or nothing would be seen beside the bin of the zeros.
    let peak = densities.iter().map(Density::peak).fold(1.0, f64::max);
    let share = |count: f64| (1.0 + count.max(0.0)).ln() / (1.0 + peak).ln();

    let bottom = TOP + ROW * rows.len() as i32;
    let x = |place: f64| axis.map(&place, (LEFT * SCALE, (WIDTH - RIGHT) * SCALE));
    for (place, _) in axis.ticks() {
        let zero = *place == 0.0;
        let line = [(x(*place), TOP * SCALE), (x(*place), bottom * SCALE)];
        root.draw(&PathElement::new(line, stroke(if zero { Ink::Axis } else { Ink::Grid }, 1.0)))?;
    }
    root.draw(&Text::new("epoch", (2 * SCALE, 8 * SCALE), text(Ink::Muted, HPos::Left, VPos::Center)))?;
    for (i, (row, density)) in rows.iter().zip(&densities).enumerate() {
        let base = (TOP + ROW * (i as i32 + 1) - RUG - 3) * SCALE;
        let tall = f64::from((ROW - RUG - 7) * SCALE);
        let y = |count: f64| base - (share(count) * tall).round() as i32;
        let where_to = ((LEFT - 6) * SCALE, base - 7 * SCALE);
        root.draw(&Text::new(row.epoch.to_string(), where_to, text(Ink::Text, HPos::Right, VPos::Center)))?;
        hill(root, density, series, &x, &y, base)?;
        root.draw(&PathElement::new([(x(axis.bounds().0), base), (x(axis.bounds().1), base)], stroke(Ink::Axis, 1.0)))?;
        rug(root, row.spectrum, frame, &x, base)?;
    }
    let line = [(LEFT * SCALE, bottom * SCALE), ((WIDTH - RIGHT) * SCALE, bottom * SCALE)];
    root.draw(&PathElement::new(line, stroke(Ink::Axis, 1.0)))?;
    for (place, label) in axis.ticks() {
        let tick = [(x(*place), bottom * SCALE), (x(*place), (bottom + 4) * SCALE)];
        root.draw(&PathElement::new(tick, stroke(Ink::Axis, 1.0)))?;
        let at = (x(*place), (bottom + 6) * SCALE);
        root.draw(&Text::new(label.clone(), at, text(Ink::Muted, HPos::Center, VPos::Top)))?;
    }
    let middle = (LEFT + (WIDTH - LEFT - RIGHT) / 2) * SCALE;
    let at = (middle, (bottom + BOTTOM - 3) * SCALE);
    root.draw(&Text::new("eigenvalue λ", at, text(Ink::Muted, HPos::Center, VPos::Bottom)))
}

/// The filled outline of a density: steps where it is a count, with its error band where it is an estimate.
fn hill(
    root: &Root<'_>,
    density: &Density,
    series: usize,
    x: &dyn Fn(f64) -> i32,
    y: &dyn Fn(f64) -> i32,
    base: i32,
) -> Drawn {
    let ink = Ink::Series(series);
    let steps = |height: &dyn Fn(usize) -> f64| {
        let corners = (0..density.counts.len()).flat_map(|i| {
            let ((left, right), top) = (density.edges(i), y(height(i)));
            [(x(left), top), (x(right), top)]
        });
        corners.collect::<Vec<_>>()
    };
    let smooth = |height: &dyn Fn(usize) -> f64| {
        let middle = |i: usize| f64::midpoint(density.edges(i).0, density.edges(i).1);
        (0..density.counts.len()).map(|i| (x(middle(i)), y(height(i)))).collect::<Vec<_>>()
    };
    let closed = |mut outline: Vec<(i32, i32)>| {
        if let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) {
            outline.insert(0, (first.0, base));
            outline.push((last.0, base));
        }
        outline
    };
    let counts = |i: usize| density.counts[i];
    let Some(errors) = &density.errors else {
        root.draw(&Polygon::new(closed(steps(&counts)), fill(ink, 0.35)))?;
        return visible(root, &steps(&counts), base, ink);
    };
    root.draw(&Polygon::new(closed(smooth(&counts)), fill(ink, 0.2)))?;
    let mut band = smooth(&|i| density.counts[i] + errors[i]);
    band.extend(smooth(&|i| density.counts[i] - errors[i]).into_iter().rev());
    root.draw(&Polygon::new(band, fill(ink, 0.4)))?;
    visible(root, &smooth(&counts), base, ink)
}

/// The parts of an outline that rise above the base line.
fn visible(root: &Root<'_>, outline: &[(i32, i32)], base: i32, ink: Ink) -> Drawn {
    let mut part: Vec<(i32, i32)> = Vec::new();
    for (i, &point) in outline.iter().enumerate() {
        let raised = point.1 < base;
        let beside = |j: Option<usize>| j.and_then(|j| outline.get(j)).is_some_and(|p| p.1 < base);
        if raised || beside(i.checked_sub(1)) || beside(Some(i + 1)) {
            part.push(point);
        } else if part.len() > 1 {
            root.draw(&PathElement::new(std::mem::take(&mut part), stroke(ink, 1.25)))?;
        } else {
            part.clear();
        }
    }
    if part.len() > 1 {
        root.draw(&PathElement::new(part, stroke(ink, 1.25)))?;
    }
    Ok(())
}

/// A tick below the base line for every eigenvalue that is known: all of an exact spectrum, else the extreme pairs. Ticks
/// that would fall on the same half pixel are drawn once.
fn rug(root: &Root<'_>, spectrum: &Spectrum, frame: Frame, x: &dyn Fn(f64) -> i32, base: i32) -> Drawn {
    let mut places: Vec<i32> =
        spectrum.known().iter().filter(|v| v.is_finite()).map(|v| x(frame.scale().place(*v)) / 2 * 2).collect();
    places.sort_unstable();
    places.dedup();
    let (top, bottom) = (base + SCALE, base + RUG * SCALE);
    for place in places {
        root.draw(&PathElement::new([(place, top), (place, bottom)], stroke(Ink::Text, 0.5)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Probe;

    #[test]
    fn rows_of_both_kinds_are_drawn() {
        let exact = Spectrum::exact(vec![-1.0, 0.0, 0.0, 3.0]);
        let probe = |a, b| Probe { nodes: vec![a, b], weights: vec![0.5, 0.5] };
        let probes = vec![probe(0.1, 2.0), probe(0.2, 2.5)];
        let slq = Spectrum::Quadrature { dim: 4, probes, top: vec![], bottom: vec![], cdf: None };
        let rows = [Ridge { epoch: 0, spectrum: &exact }, Ridge { epoch: 5, spectrum: &slq }];
        let svg = svg(&rows, 1, 1e-6, "layer 1").unwrap().unwrap();
        assert!(svg.contains("aria-label=\"layer 1\"") && svg.contains("eigenvalue λ"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn spectra_that_are_all_zero_have_no_picture() {
        let zero = Spectrum::exact(vec![0.0; 3]);
        assert!(svg(&[Ridge { epoch: 0, spectrum: &zero }], 0, 1e-6, "x").unwrap().is_none());
    }

    #[test]
    fn a_layer_of_one_parameter_is_drawn() {
        let one = Spectrum::exact(vec![-2.5]);
        assert!(svg(&[Ridge { epoch: 0, spectrum: &one }], 0, 1e-6, "x").unwrap().is_some());
    }
}
