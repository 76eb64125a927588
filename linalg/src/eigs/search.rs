//! The strategy of the eigensolver: when a search has found what it can, what to keep at a restart, when to look again.

use super::space::{RitzPairs, Space};
use super::{Options, Target};
use crate::lanczos::miss_probability;
use crate::stop::Stop;

/// The probability, accepted for each check, that a random start misses an eigenvalue it should have seen.
const MISS: f64 = 1e-4;

/// Widest block; more columns per product gain little, and the basis has to hold several blocks.
const WIDEST: usize = 8;

pub(super) struct Search<'s, 'a> {
    space: &'s mut Space<'a>,
    target: &'s Target,
    options: &'s Options,
    /// Products allowed to the search.
    budget: usize,
    /// Values of the locked rows, in their order.
    pub locked_values: Vec<f64>,
    /// Checks passed.
    pub checks: usize,
}

/// How many of the active Ritz pairs belong to the wanted ones at either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    upper: usize,
    lower: usize,
}

/// What one search came to.
struct Outcome {
    /// Pairs locked.
    found: usize,
    /// Locked and active vectors spanned the whole space: nothing was left to be missed.
    everything: bool,
}

impl<'s, 'a> Search<'s, 'a> {
    pub fn new(space: &'s mut Space<'a>, target: &'s Target, options: &'s Options, budget: usize) -> Self {
        Search { space, target, options, budget, locked_values: Vec::new(), checks: 0 }
    }

    /// Searches until the wanted pairs are locked and the checks have found nothing more. On `Err(MaxSteps)` the best
    /// pairs are locked too.
    pub fn run(&mut self, starts: &[f64]) -> Result<(), Stop> {
        let n = self.space.dim();
        let random;
        let first = if starts.is_empty() {
            random = self.space.random(1);
            &random
        } else {
            starts
        };
        let mut all = self.phase(first, first.len() / n)?.everything;
        let mut width = 1;
        while !all && self.checks < self.options.checks {
            let starts = self.space.random(width.min(n - self.space.locked()));
            let outcome = self.phase(&starts, starts.len() / n)?;
            all = outcome.everything;
            if outcome.found == 0 {
                self.checks += 1;
            } else {
                // Repeated eigenvalues: look for several copies at once.
                self.checks = 0;
                width = (2 * width).min(WIDEST);
            }
        }
        if all {
            self.checks = self.options.checks;
        }
        Ok(())
    }

    /// One search in the complement of the locked vectors; locks what belongs to the wanted pairs.
    fn phase(&mut self, starts: &[f64], width: usize) -> Result<Outcome, Stop> {
        let free = self.space.dim() - self.space.locked();
        let n = self.space.dim();
        let order = self.options.basis.max(self.target.pairs() + 4 * width).min(free);
        self.space.begin(order, starts)?;
        if self.space.width() == 0 {
            self.space.inject();
        }
        let begun = self.space.products;
        // The Ritz problem costs about 20 p³ flops, a step 8 n p: look at each step if that is little in comparison.
        let every = |p: usize| if n > 4 * p * p { 1 } else { 4.max(p / 10) };
        let mut since = 0;
        loop {
            let tired = self.space.products > 0 && self.space.products + self.space.width() > self.budget;
            if tired && self.space.active() == 0 {
                return Err(Stop::MaxSteps);
            }
            if !tired {
                self.space.expand()?;
                since += 1;
            }
            let full = self.space.active() + self.space.width().max(1) > order;
            if !(tired || full || since >= every(self.space.active()) || self.space.invariant()) {
                continue;
            }
            since = 0;
            let ritz = self.space.ritz()?;
            let wanted = self.wanted(&ritz);
            let steps = (self.space.products - begun) / width;
            let done = self.done(&ritz, wanted, steps);
            if done || tired {
                let chosen = chosen(wanted, ritz.values.len());
                let outcome = Outcome { found: chosen.len(), everything: self.space.exhausted() };
                self.locked_values.extend(chosen.iter().map(|&i| ritz.values[i]));
                self.space.lock(&ritz, &chosen);
                return if done { Ok(outcome) } else { Err(Stop::MaxSteps) };
            }
            if full {
                let keep = self.keep(wanted, ritz.values.len(), order);
                self.space.restart(&ritz, &keep);
            }
            if self.space.invariant() {
                self.space.inject();
            }
        }
    }

    /// tol ‖A‖ / √2k for k pairs, not below rounding. The residuals of the final pairs, rotations of these, may add up all
    /// k of them, and each has a part along the pairs locked before, which is as large as theirs.
    fn threshold(&self) -> f64 {
        let pairs = self.target.pairs() as f64;
        (self.options.tol / (2.0 * pairs).sqrt()).max(f64::EPSILON) * self.space.scale
    }

    /// How many Ritz values belong to the wanted ones: i is in if fewer than k come before it, where a locked value that
    /// is equal to within the tolerance comes first (so that a search ends when it finds only equals).
    fn wanted(&self, ritz: &RitzPairs) -> Wanted {
        let (margin, p) = (self.threshold(), ritz.values.len());
        let above = |x: f64| self.locked_values.iter().filter(|&&l| l >= x - margin).count();
        let below = |x: f64| self.locked_values.iter().filter(|&&l| l <= x + margin).count();
        let upper = (0..p).take_while(|&i| above(ritz.values[i]) + i < self.target.upper).count();
        let lower = (0..p).take_while(|&i| below(ritz.values[p - 1 - i]) + i < self.target.lower).count();
        Wanted { upper, lower }
    }

    /// Whether this search can end.
    fn done(&self, ritz: &RitzPairs, wanted: Wanted, steps: usize) -> bool {
        if self.space.exhausted() {
            return true;
        }
        let (p, threshold) = (ritz.values.len(), self.threshold());
        if self.locked_values.len() + p < self.target.pairs() || wanted.upper + wanted.lower > p {
            return false;
        }
        let converged = |i: usize| ritz.residuals[i] <= threshold;
        let found = wanted.upper + wanted.lower > 0;
        if found {
            return chosen(wanted, p).into_iter().all(converged);
        }
        // Nothing here belongs to the wanted pairs. Has the search gone on long enough to be sure?
        if self.space.invariant() {
            return true;
        }
        let mut locked = self.locked_values.clone();
        locked.sort_by(f64::total_cmp);
        let reach = (ritz.values[0] + ritz.residuals[0], ritz.values[p - 1] - ritz.residuals[p - 1]);
        let upper = self.target.upper == 0 || converged(0) || {
            let bound = locked[locked.len() - self.target.upper];
            self.surely_seen((bound - ritz.values[0]) / (bound - reach.1), steps)
        };
        let lower = self.target.lower == 0 || converged(p - 1) || {
            let bound = locked[self.target.lower - 1];
            self.surely_seen((ritz.values[p - 1] - bound) / (reach.0 - bound), steps)
        };
        upper && lower
    }

    /// Whether a random start would have shown an eigenvalue beyond the gap by now, but for a probability of [`MISS`]. After
    /// a restart, which drops most of the space, that is a rule of thumb and no theorem.
    fn surely_seen(&self, gap: f64, steps: usize) -> bool {
        let n = self.space.dim() - self.space.locked();
        gap > 0.0 && steps > 0 && miss_probability(n, steps, gap) <= MISS
    }

    /// Ritz pairs to keep at a restart: the wanted ones and half of the others, shared between the ends.
    fn keep(&self, wanted: Wanted, p: usize, order: usize) -> Vec<usize> {
        let (upper, lower) = (self.target.upper > 0, self.target.lower > 0);
        let mut keep =
            Wanted { upper: wanted.upper.max(usize::from(upper)), lower: wanted.lower.max(usize::from(lower)) };
        let room = order.saturating_sub(2 * self.space.width().max(1)).min(p);
        let extra = (p.saturating_sub(keep.upper + keep.lower) / 2).min(room.saturating_sub(keep.upper + keep.lower));
        match (upper, lower) {
            (true, true) => {
                keep.upper += extra.div_ceil(2);
                keep.lower += extra / 2;
            }
            (true, false) => keep.upper += extra,
            _ => keep.lower += extra,
        }
        chosen(keep, p)
    }
}

/// The first and the last indices below p, without repetition.
fn chosen(wanted: Wanted, p: usize) -> Vec<usize> {
    let upper = wanted.upper.min(p);
    let lower = wanted.lower.min(p - upper);
    (0..upper).chain(p - lower..p).collect()
}
