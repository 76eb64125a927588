//! Cumulative sums: an alarm when a series has left what healthy runs do.
//!
//! x_t = (g(v_t) − μ_t) / σ_t with g = asinh (traces have signs and orders of magnitude), and S_t = max(0, S_{t−1} + x_t − k),
//! the same for −x_t; an alarm when one of the two reaches h.
//!
//! # Sources
//! Page 1954, "Continuous inspection schemes", §4. Wilson 1927 for intervals of rates.

/// What healthy runs do: the mean and spread of g(v) at each step, and the threshold that so few of them reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    mean: Vec<f64>,
    sd: Vec<f64>,
    slack: f64,
    threshold: f64,
}

/// Which way the series went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Above what healthy runs do.
    Above,
    /// Below.
    Below,
}

/// An alarm: when, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Index of the value that raised it.
    pub step: usize,
    /// Which sum.
    pub side: Side,
}

fn transform(v: f64) -> f64 {
    v.asinh()
}

impl Baseline {
    /// From healthy runs of equal length; `slack` is k (half of the shift that matters, in standard deviations: 0.5 for one).
    ///
    /// The threshold is the ⌈(1 − rate)(n + 1)⌉-th smallest of the largest sums of the n runs, each of them measured against the
    /// mean and spread of the *others*: a run that is like them raises an alarm with probability `rate` at most. Without a
    /// threshold (infinite) where n is too small to promise that.
    ///
    /// # Errors
    /// Fewer than three runs; runs of different or no length; values that are not finite; a step at which all runs agree.
    pub fn healthy(runs: &[Vec<f64>], slack: f64, rate: f64) -> Result<Self, String> {
        let (n, steps) = (runs.len(), runs.first().map_or(0, Vec::len));
        if n < 3 {
            return Err(format!("{n} healthy runs: a baseline takes three at least"));
        }
        if let Some(i) = runs.iter().position(|r| r.len() != steps || steps == 0) {
            return Err(format!(
                "run {i} has {} values, run 0 has {steps}: all must have the same number",
                runs[i].len()
            ));
        }
        for (i, run) in runs.iter().enumerate() {
            if let Some(t) = run.iter().position(|v| !v.is_finite()) {
                return Err(format!("run {i} is not finite at step {t}: not a healthy run"));
            }
        }
        let (mean, sd) = moments(runs, None)?;
        let mut largest = Vec::with_capacity(n);
        for i in 0..n {
            let (mean, sd) = moments(runs, Some(i))?;
            let others = Baseline { mean, sd, slack, threshold: f64::INFINITY };
            let mut watch = Cusum::new(&others);
            largest.push(runs[i].iter().fold(0.0, |top: f64, &v| {
                watch.push(v);
                top.max(watch.largest())
            }));
        }
        largest.sort_by(f64::total_cmp);
        let place = ((1.0 - rate) * (n + 1) as f64).ceil() as usize;
        // The sum must pass what healthy runs reach, not meet it.
        let threshold = largest.get(place.max(1) - 1).map_or(f64::INFINITY, |h| h.next_up());
        Ok(Baseline { mean, sd, slack, threshold })
    }

    /// h.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }
}

/// Mean and standard deviation of g(v) at each step over all runs but one.
fn moments(runs: &[Vec<f64>], without: Option<usize>) -> Result<(Vec<f64>, Vec<f64>), String> {
    let steps = runs[0].len();
    let (mut mean, mut sd) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    for t in 0..steps {
        let kept = runs.iter().enumerate().filter(|(i, _)| Some(*i) != without);
        let values: Vec<f64> = kept.map(|(_, run)| transform(run[t])).collect();
        let n = values.len() as f64;
        let m = values.iter().sum::<f64>() / n;
        let s = (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        if s == 0.0 {
            return Err(format!("healthy runs all have the same value at step {t}: nothing to measure a change by"));
        }
        mean.push(m);
        sd.push(s);
    }
    Ok((mean, sd))
}

/// The two sums of a series that is being watched.
#[derive(Clone, Debug)]
pub struct Cusum<'b> {
    baseline: &'b Baseline,
    step: usize,
    above: f64,
    below: f64,
}

impl<'b> Cusum<'b> {
    /// At the beginning of a run.
    pub fn new(baseline: &'b Baseline) -> Self {
        Cusum { baseline, step: 0, above: 0.0, below: 0.0 }
    }

    /// The larger of the two sums.
    pub fn largest(&self) -> f64 {
        self.above.max(self.below)
    }

    /// The next value; says whether there is an alarm. A value that is not finite is one at once. Beyond the end of the baseline,
    /// its last step counts.
    pub fn push(&mut self, v: f64) -> Option<Alarm> {
        let b = self.baseline;
        let at = self.step.min(b.mean.len() - 1);
        let step = self.step;
        self.step += 1;
        if !v.is_finite() {
            return Some(Alarm { step, side: if v < 0.0 { Side::Below } else { Side::Above } });
        }
        let x = (transform(v) - b.mean[at]) / b.sd[at];
        self.above = (self.above + x - b.slack).max(0.0);
        self.below = (self.below - x - b.slack).max(0.0);
        if self.above >= b.threshold {
            Some(Alarm { step, side: Side::Above })
        } else if self.below >= b.threshold {
            Some(Alarm { step, side: Side::Below })
        } else {
            None
        }
    }

    /// The first alarm of a whole run.
    pub fn first_alarm(baseline: &'b Baseline, run: &[f64]) -> Option<Alarm> {
        let mut watch = Cusum::new(baseline);
        run.iter().find_map(|&v| watch.push(v))
    }
}

/// How well faults are seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Runs with an alarm from the fault on (or at any step of runs without fault).
    pub alarms: usize,
    /// Runs.
    pub runs: usize,
    /// Steps from the fault to the alarm, of the runs with one.
    pub delays: Vec<usize>,
}

impl Detection {
    /// Runs whose fault begins at step `onset`; 0 for healthy runs, whose alarms are false. An alarm before the fault is none of
    /// the fault's: such a run counts as missed.
    pub fn of(baseline: &Baseline, runs: &[Vec<f64>], onset: usize) -> Self {
        let found = runs.iter().filter_map(|run| Cusum::first_alarm(baseline, run));
        let delays: Vec<usize> = found.filter_map(|alarm| alarm.step.checked_sub(onset)).collect();
        Detection { alarms: delays.len(), runs: runs.len(), delays }
    }

    /// The share of runs with an alarm, and its 95 % interval.
    pub fn rate(&self) -> (f64, [f64; 2]) {
        (self.alarms as f64 / self.runs as f64, wilson(self.alarms, self.runs, Z95))
    }
}

/// The 97.5 % point of the normal distribution: half the width of a 95 % interval in standard errors.
pub const Z95: f64 = 1.959_963_984_540_054;

/// The score interval of a rate of `hits` in `trials`, `z` standard errors wide on either side ([`Z95`] for 95 %). [0, 1] without
/// trials.
///
/// # Sources
/// Wilson 1927, "Probable inference, the law of succession, and statistical inference", eq. (5).
pub fn wilson(hits: usize, trials: usize, z: f64) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (trials as f64, hits as f64 / trials as f64);
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    [((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0)]
}
