//! Which maps there are: quantities by layer and snapshot, what lies between blocks, how their spectra differ.

use super::charts::layer_label;
use super::heat::{Levels, Map};
use super::lines::{Chart, Point, Series, Vertical};
use super::page::{self, figure, figures};
use crate::error::Result;
use crate::numbers::{significant, typeset};
use crate::quantities::{Form, SHOWN, settled};
use crate::results::maps::{Curve, Decay, Interlayer, Maps, Matrix, Partial};
use crate::results::{RunResult, Snapshot};

/// Heading, introduction and figures.
type Section = (&'static str, String, String);

/// Above the maps of layers and snapshots.
const OVER_TIME: &str = "Every quantity of every block at every snapshot, as a colour. Numbers are shown on hover and in the table \
    below each map.";
/// Above the maps of parameters.
const PARAMETERS: &str = "Blocks of the Hessian between two parts of the parameters. R is the Frobenius norm of a block, C that norm \
    over the geometric mean of the two diagonal ones, the share its part of the squared curvature: off the diagonal the shares \
    add up to Φ.";
/// Above the maps of activations.
const ACTIVATIONS: &str = "The results of two functional blocks are shifted by the same amount for every sample. R is the Frobenius \
    norm of the second derivatives of the loss to two such shifts, C = R over the geometric mean of the two blocks\u{2019} own, \
    D = (R / spectral norm)², GN-Gap the part of R that is not Gauss\u{2013}Newton over the part that is (arXiv 2604.11639).";
/// Above the maps of spectra.
const SPECTRA: &str = "Each spectrum is divided by its largest |λ|, so that shapes are compared and not sizes, and every eigenvalue counts \
    the same. Jensen\u{2013}Shannon: divergence of the densities, natural logarithm (at most ln 2 = 0.693), no root taken, smoothed \
    by 0.1 decades on a signed logarithmic axis of six decades. Wasserstein-1: by how much an eigenvalue has to be moved on \
    average.";

/// Above so many blocks the maps of layers and snapshots are open: lines would cross too often.
const MANY: usize = 8;

/// All sections for which there is something to show.
///
/// # Errors
/// Only if plotters can't draw.
pub fn sections(result: &RunResult) -> Result<Vec<Section>> {
    let mut found: Vec<Section> = Vec::new();
    let time = over_time(result);
    if !time.is_empty() {
        let open = if result.snapshots[0].layers.len() > MANY { " open" } else { "" };
        let body = format!(
            "<details{open}>\n<summary>{} quantities by layer and snapshot</summary>\n{}</details>\n",
            time.len(),
            page::maps(&time)
        );
        found.push(("Layer by snapshot", OVER_TIME.to_owned(), body));
    }
    let moments = Moments::of(result, |s| Some(s.maps.parameters.as_ref()?.blocks.clone()));
    let shown = moments.figures(&[
        Kind {
            title: "R",
            note: "‖H_ℓm‖_F, in parameter space",
            share: false,
            get: |m| full(&m.parameters.as_ref()?.resonance),
            error: |m| full(m.parameters.as_ref()?.resonance_error.as_ref()?),
        },
        Kind {
            title: "C",
            note: "1 on the diagonal; not clamped",
            share: true,
            get: |m| Some(m.parameters.as_ref()?.coupling.clone()),
            error: |_| None,
        },
        Kind {
            title: "Share",
            note: "of the squared curvature",
            share: false,
            get: |m| Some(m.parameters.as_ref()?.share.clone()),
            error: |_| None,
        },
    ]);
    if !shown.is_empty() {
        found.push(("Curvature between blocks of parameters", PARAMETERS.to_owned(), page::maps(&shown)));
    }
    found.extend(activations(result)?);
    let moments = Moments::of(result, |s| Some(s.maps.spectra.as_ref()?.blocks.clone()));
    let shown = moments.figures(&[
        Kind {
            title: "Jensen–Shannon",
            note: "divergence in nats",
            share: false,
            get: |m| Some(m.spectra.as_ref()?.jensen_shannon.clone()),
            error: |m| m.spectra.as_ref()?.jensen_shannon_error.clone(),
        },
        Kind {
            title: "Wasserstein-1",
            note: "in units of the largest |λ|",
            share: false,
            get: |m| Some(m.spectra.as_ref()?.wasserstein.clone()),
            error: |m| m.spectra.as_ref()?.wasserstein_error.clone(),
        },
    ]);
    if !shown.is_empty() {
        found.push(("How the spectra of blocks differ", SPECTRA.to_owned(), page::maps(&shown)));
    }
    Ok(found)
}

fn full(matrix: &Matrix) -> Option<Partial> {
    Some(matrix.iter().map(|row| row.iter().copied().map(Some).collect()).collect())
}

/// A kind of map.
struct Kind {
    title: &'static str,
    note: &'static str,
    /// Whether colours run from 0 to 1.
    share: bool,
    get: fn(&Maps) -> Option<Partial>,
    error: fn(&Maps) -> Option<Partial>,
}

/// The first and the last snapshot with maps between the same blocks.
struct Moments<'a> {
    names: Vec<String>,
    snapshots: Vec<&'a Snapshot>,
}

impl<'a> Moments<'a> {
    fn of(result: &'a RunResult, names: impl Fn(&Snapshot) -> Option<Vec<String>>) -> Self {
        let first = result.snapshots.iter().find(|s| names(s).is_some());
        let last = result.snapshots.iter().rfind(|s| names(s).is_some());
        let names = first.and_then(&names).unwrap_or_default();
        let mut snapshots: Vec<&Snapshot> = first.into_iter().chain(last).collect();
        snapshots.dedup_by_key(|s| s.index);
        Self { names: names.iter().map(|n| layer_label(n)).collect(), snapshots }
    }

    /// A map of each kind at each moment, with one scale for both.
    fn figures(&self, kinds: &[Kind]) -> Vec<String> {
        let mut found = Vec::new();
        for kind in kinds {
            let maps: Vec<(&Snapshot, Partial)> =
                self.snapshots.iter().filter_map(|s| Some((*s, (kind.get)(&s.maps)?))).collect();
            let numbers = || maps.iter().flat_map(|m| m.1.iter().flatten().flatten().copied());
            let levels = if kind.share { Levels::share(numbers()) } else { Levels::of(numbers()) };
            let Some(levels) = levels else { continue };
            for (snapshot, values) in &maps {
                let errors = (kind.error)(&snapshot.maps);
                let (rows, errors) = (&self.names, errors.as_deref());
                let map = Map { rows, columns: rows, across: "", values, errors, levels };
                found.push(map.figure(&format!("{}, {}", kind.title, moment(snapshot)), kind.note));
            }
        }
        found
    }
}

fn moment(s: &Snapshot) -> String {
    if s.epoch == 0 { "epoch 0".to_owned() } else { format!("after epoch {}", s.epoch) }
}

/// A map of every quantity that some layer has at two snapshots or more.
fn over_time(result: &RunResult) -> Vec<String> {
    let Some(first) = result.snapshots.first().filter(|_| result.snapshots.len() > 1) else { return Vec::new() };
    let rows: Vec<String> = first.layers.iter().map(|l| layer_label(&l.name)).collect();
    let columns: Vec<String> = result.snapshots.iter().map(|s| s.epoch.to_string()).collect();
    let mut found = Vec::new();
    for shown in SHOWN {
        let at = |name: &str, s: &Snapshot| settled(shown.key, s.layers.iter().find(|l| l.name == name)?);
        let all: Vec<Vec<_>> =
            first.layers.iter().map(|l| result.snapshots.iter().map(|s| at(&l.name, s)).collect()).collect();
        let part = |number: &dyn Fn(&crate::results::Measured) -> Option<f64>| -> Partial {
            all.iter().map(|row| row.iter().map(|m| m.as_ref().and_then(number)).collect()).collect()
        };
        let (values, errors) = (part(&|m| Some(m.value)), part(&|m| m.error()));
        let numbers = || values.iter().flatten().flatten().copied();
        let levels = if shown.form == Form::Share { Levels::share(numbers()) } else { Levels::of(numbers()) };
        if let Some(levels) = levels {
            let (rows, columns) = (&rows, &columns);
            let map = Map { rows, columns, across: "epoch", values: &values, errors: Some(&errors), levels };
            found.push(map.figure(shown.symbol, shown.meaning));
        }
    }
    found
}

/// Maps and curves between the results of functional blocks.
fn activations(result: &RunResult) -> Result<Option<Section>> {
    let moments =
        Moments::of(result, |s| Some(s.maps.activations.as_ref()?.blocks.iter().map(|b| b.name.clone()).collect()));
    fn of(m: &Maps) -> Option<&Interlayer> {
        m.activations.as_ref()
    }
    let shown = moments.figures(&[
        Kind {
            title: "R",
            note: "‖∂²L/∂f_v∂f_w‖_F, in activation space",
            share: false,
            get: |m| full(&of(m)?.resonance),
            error: |m| full(of(m)?.resonance_error.as_ref()?),
        },
        Kind {
            title: "C",
            note: "1 on the diagonal; not clamped",
            share: true,
            get: |m| Some(of(m)?.coupling.clone()),
            error: |_| None,
        },
        Kind {
            title: "D",
            note: "stable rank of a block",
            share: false,
            get: |m| of(m)?.stable_rank.clone(),
            error: |_| None,
        },
        Kind {
            title: "GN-Gap",
            note: "not Gauss–Newton over Gauss–Newton",
            share: false,
            get: |m| Some(of(m)?.gap.clone()),
            error: |_| None,
        },
    ]);
    if shown.is_empty() {
        return Ok(None);
    }
    let drawn = [
        curve(result, "R by distance", |c| Some(c.resonance), |i| i.decay)?,
        curve(result, "C by distance", |c| c.coupling, |i| i.coupling_decay)?,
        curve(result, "D by distance", |c| c.stable_rank, |_| None)?,
        curve(result, "GN-Gap by distance", |c| c.gap, |_| None)?,
    ];
    let curves: Vec<String> = drawn.into_iter().flatten().collect();
    let last = moments.snapshots.last().and_then(|s| of(&s.maps));
    let how = last.map_or(String::new(), how);
    Ok(Some(("Curvature between results", format!("{ACTIVATIONS}{how}"), page::maps(&shown) + &figures(&curves))))
}

/// How the norms were found, and how far estimates were off.
fn how(found: &Interlayer) -> String {
    let way = if found.exact { "exact, by unit vectors" } else { "estimated by probes; D is then an upper estimate" };
    let off = found.discrepancy.map_or(String::new(), |d| {
        format!(
            " At the last snapshot {} probes per block instead would have given R within {} % ({} standard errors, root mean \
             square of {} pairs).",
            d.probes,
            significant(100.0 * d.relative, 2),
            significant(d.deviation, 2),
            d.pairs
        )
    });
    format!(" The norms are {way}.{off}")
}

/// Means over the pairs at each distance, a line for each of at most eight snapshots, and the fits of the first and the last.
fn curve(
    result: &RunResult,
    title: &str,
    number: impl Fn(&Curve) -> Option<f64>,
    decay: impl Fn(&Interlayer) -> Option<Decay>,
) -> Result<Option<String>> {
    let all: Vec<(&Snapshot, &Interlayer)> =
        result.snapshots.iter().filter_map(|s| Some((s, s.maps.activations.as_ref()?))).collect();
    let every = all.len().div_ceil(super::canvas::COLOURS).max(1);
    let last = all.len().saturating_sub(1);
    let (mut series, mut fits) = (Vec::new(), Vec::new());
    let chosen = all.iter().enumerate().filter(|(i, _)| i.is_multiple_of(every) || *i == last);
    for (colour, (i, (snapshot, found))) in chosen.enumerate() {
        let point = |c: &Curve| Some(Point { x: c.distance as f64, y: number(c)?, error: None });
        let points: Vec<Point> = found.curve.iter().filter_map(point).collect();
        let fit = decay(found).filter(|_| i == 0 || i == last);
        if let Some(fit) = fit {
            let on = |p: &&Point| p.x >= 1.0;
            let line = |p: &Point| Point { y: (fit.a - fit.b * p.x).exp(), ..*p };
            let points = points.iter().filter(on).map(line).collect();
            series.push(Series { label: String::new(), colour, marks: false, dashed: true, points });
            fits.push(format!("{}: b = {}", moment(snapshot), typeset(&significant(fit.b, 3))));
        }
        series.push(Series { label: format!("epoch {}", snapshot.epoch), colour, marks: true, dashed: false, points });
    }
    let farthest = all.iter().flat_map(|(_, f)| f.curve.iter().map(|c| c.distance)).max().unwrap_or(0);
    let (distances, label) = ((0..=farthest).collect::<Vec<_>>(), format!("{title} between blocks"));
    if farthest == 0 {
        return Ok(None);
    }
    let across = "blocks between the two";
    let chart = Chart { label, series, across, snapshots: &distances, last: farthest, vertical: Vertical::Auto };
    let note = match fits.is_empty() {
        true => "mean over all pairs".to_owned(),
        false => format!("mean over all pairs; dashed: log = a − b d, {}", fits.join(", ")),
    };
    Ok(chart.svg()?.map(|svg| figure(&svg, title, &note)))
}
