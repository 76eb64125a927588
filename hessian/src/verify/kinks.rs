//! Which samples are looked at, and at which point: where no sample lies on a kink, for there are no derivatives there.

use eigenlens_autodiff::Order;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::objective::{Cut, Reduction, SampleError};
use eigenlens_nets::{Model, Objective, Samples};

use super::wiring::{Switch, Wiring};

/// Switches in all samples together, above which fewer samples are taken (but 8).
const KINKS: usize = 8192;

/// At most `rows` samples, evenly spread; fewer of a wide network with kinks, where the Taylor remainder of third order
/// would drown in rounding before it is free of them.
pub(super) fn spread(model: &Model<f64>, samples: &Samples, rows: usize) -> Samples {
    let kinks: usize = Wiring::new(model).switches().iter().map(|s| s.count(model)).sum();
    let n = rows.min((KINKS / kinks.max(1)).max(8)).clamp(1, samples.n);
    let (features, targets) = (model.features(), model.target_size());
    let pick = |from: &[f64], width: usize| -> Vec<f64> {
        (0..n).flat_map(|i| from[i * samples.n / n * width..][..width].iter().copied()).collect()
    };
    Samples {
        n,
        x: pick(&samples.x, features),
        y: pick(&samples.y, targets),
        w: if samples.w.is_empty() { Vec::new() } else { pick(&samples.w, 1) },
    }
}

/// Where the network is checked.
pub(super) struct Point {
    pub theta: Vec<f64>,
    /// Whether that is not the point asked for, because of kinks.
    pub moved: bool,
}

/// How often a point away from kinks is looked for. One in five random points is refused, so that all are is unheard of.
const TRIALS: u64 = 12;

/// θ itself, or a point nearby if some sample lies on a kink or unusually close to one: the Taylor remainders, which are
/// followed over four orders of magnitude, would then jump at every step.
///
/// What is exactly on a kink at a random point is so all around it, and no kink: the windows of a max pool on constant
/// borders or behind dead units, for instance. At θ itself only that is passed over which is so at a random point too.
pub(super) fn off_kinks(model: &Model<f64>, theta: &[f64], samples: &Samples, seed: u64) -> Result<Point, SampleError> {
    let mut objective = Objective::new(model, samples, Reduction::Mean, Order::Value, Cut::default())?;
    let switches = Wiring::new(model).switches();
    // A hundredth of the typical entry in every direction: far from the kinks, near in every other respect. Parameters
    // that are all but zero have no size of their own: then as large as they start, for the steps of the Taylor tests.
    let typical = super::norm(theta) / (theta.len() as f64).sqrt();
    let far = if typical < 1e-4 { 0.1 } else { 1e-2 * typical.max(1e-2) };
    let beside = |trial: u64| -> Vec<f64> {
        let noise = Distribution::Gaussian.probe(seed, u64::MAX - 1 - trial, theta.len());
        theta.iter().zip(&noise).map(|(t, z)| t + far * z).collect()
    };
    let mut margins = |point: &[f64]| -> Vec<f64> {
        objective.linearize(point);
        switches.iter().flat_map(|s| s.margins(&objective)).collect()
    };
    let generic = margins(&beside(1));
    if !near_kink(&margins(theta), &generic) {
        return Ok(Point { theta: theta.to_vec(), moved: false });
    }
    for trial in 1..TRIALS {
        let point = beside(trial);
        let found = margins(&point);
        if !near_kink(&found, &found) {
            return Ok(Point { theta: point, moved: true });
        }
    }
    Ok(Point { theta: theta.to_vec(), moved: false })
}

/// Whether a margin that is not 0 at a random point is closer to 0 than 0.25 of what the nearest of as many normal numbers
/// typically is, √(π/2) / count.
fn near_kink(margins: &[f64], generic: &[f64]) -> bool {
    let counted = margins.iter().zip(generic).filter(|(m, g)| **m > 0.0 || **g > 0.0);
    let nearest = counted.fold(f64::INFINITY, |nearest, (m, _)| nearest.min(*m));
    nearest < 0.25 * (std::f64::consts::PI / 2.0).sqrt() / margins.len().max(1) as f64
}

impl Switch {
    /// How many there are for one sample.
    fn count(&self, model: &Model<f64>) -> usize {
        match self {
            Switch::Argument(node) => model.graph().shape(*node).size(),
            Switch::Pool(_, [channels, rows, columns], window) => {
                let [height, width] = window.output([*rows, *columns]).expect("the network was built");
                channels * height * width
            }
        }
    }

    /// How far each is from switching, over the root mean square of the values: an argument from 0, the largest value of
    /// a window from the second.
    fn margins(&self, objective: &Objective<'_, f64>) -> Vec<f64> {
        let (Switch::Argument(node) | Switch::Pool(node, ..)) = self;
        let values: Vec<f64> =
            (0..objective.shards()).flat_map(|s| objective.shard(s).0.value(*node).iter().copied()).collect();
        let size = super::norm(&values) / (values.len() as f64).sqrt();
        let scaled = |a: f64| if size > 0.0 { a / size } else { 0.0 };
        match self {
            Switch::Argument(_) => values.iter().map(|a| scaled(a.abs())).collect(),
            Switch::Pool(_, [_, rows, columns], window) => {
                let [height, width] = window.output([*rows, *columns]).expect("the network was built");
                let inside = |axis: usize, o: usize, tap: usize, extent: usize| {
                    (o * window.stride[axis] + tap * window.dilation[axis])
                        .checked_sub(window.padding[axis])
                        .filter(|&at| at < extent)
                };
                let gap = |plane: &[f64], y: usize, x: usize| {
                    let (mut first, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
                    for i in (0..window.kernel[0]).filter_map(|t| inside(0, y, t, *rows)) {
                        for j in (0..window.kernel[1]).filter_map(|t| inside(1, x, t, *columns)) {
                            let value = plane[i * columns + j];
                            second = second.max(value.min(first));
                            first = first.max(value);
                        }
                    }
                    // The same patch summed in another order: equal but for rounding.
                    if first - second <= 1e-13 * first.abs() { 0.0 } else { first - second }
                };
                let planes = values.chunks_exact(rows * columns);
                planes
                    .flat_map(|p| (0..height).flat_map(move |y| (0..width).map(move |x| (p, y, x))))
                    .map(|(p, y, x)| scaled(gap(p, y, x)))
                    .collect()
            }
        }
    }
}
