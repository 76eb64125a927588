//! Means over pairs of blocks at the same distance, and how fast they fall.

use super::Geometry;

/// The mean over all pairs at one distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// Blocks between the two.
    pub distance: usize,
    /// The mean.
    pub mean: f64,
    /// Ordered pairs in it.
    pub pairs: usize,
}

/// The line log y = a − b d of least squares through a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    /// log y at distance 0.
    pub a: f64,
    /// The rate of decay per block.
    pub b: f64,
    /// The share of the variance of log y that the line explains; 1 for two points, NaN where log y does not vary.
    pub r_squared: f64,
}

impl Geometry {
    /// The mean of a number over the pairs v ≠ w at each distance (for distance 0: over the blocks themselves); pairs where it
    /// is not defined don't count.
    pub fn curve(&self, number: impl Fn(usize, usize) -> Option<f64>) -> Vec<CurvePoint> {
        let count = self.blocks.len();
        let farthest = self.distance.iter().flatten().flatten().copied().max().unwrap_or(0);
        let point = |distance: usize| {
            let all = (0..count).flat_map(|v| (0..count).map(move |w| (v, w)));
            let values: Vec<f64> =
                all.filter(|&(v, w)| self.distance[v][w] == Some(distance)).filter_map(|(v, w)| number(v, w)).collect();
            let pairs = values.len();
            (pairs > 0).then(|| CurvePoint { distance, mean: values.iter().sum::<f64>() / pairs as f64, pairs })
        };
        (0..=farthest).filter_map(point).collect()
    }

    /// How R falls with the distance, from distance 1 on; `None` with fewer than two positive means.
    pub fn decay(&self) -> Option<Decay> {
        Decay::fit(&self.curve(|v, w| Some(self.hessian[v][w].mean))[..])
    }
}

impl Decay {
    /// The line through log y of the points from distance 1 on; `None` with fewer than two positive means.
    pub fn fit(curve: &[CurvePoint]) -> Option<Self> {
        let points: Vec<(f64, f64)> =
            curve.iter().filter(|p| p.distance > 0 && p.mean > 0.0).map(|p| (p.distance as f64, p.mean.ln())).collect();
        let n = points.len() as f64;
        if points.len() < 2 {
            return None;
        }
        let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
        let sxx: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
        let sxy: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
        let syy: f64 = points.iter().map(|p| (p.1 - my).powi(2)).sum();
        let slope = sxy / sxx;
        Some(Decay { a: my - slope * mx, b: -slope, r_squared: sxy * sxy / (sxx * syy) })
    }
}
