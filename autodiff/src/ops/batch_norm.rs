//! y = γ ⊙ x̂ + β, x̂ = (x − mean x) / √(var x + ε) over the batch and all places of each channel: train mode.
//!
//! The statistics are those of the batch, so every sample's output depends on all samples and the batch can't be cut
//! into shards. Samples count alike whatever their weight in the loss. The derivation, through the statistics, is that of
//! every normalisation ([`crate::normalise`], whose r, ⟨a⟩ and P are used here). As γ is one number for each group, each
//! map is sums over the channels and then one combination of tensors with a number per channel, sample by sample:
//!
//! - ẏ = γ r P ẋ + γ̇ x̂ + β̇
//! - x̄ = γ r P ȳ; γ̄ = M ⟨x̂ ȳ⟩; β̄ = M ⟨ȳ⟩
//! - x̄̇ = γ r P ȳ̇ + r (γ̇ − γ r ⟨x̂ ẋ⟩) P ȳ − γ r² ⟨x̂ ȳ⟩ P ẋ − γ r² q x̂ with q = ⟨ȳ P ẋ⟩
//! - γ̄̇ = M (⟨x̂ ȳ̇⟩ + r q); β̄̇ = M ⟨ȳ̇⟩

use eigenlens_linalg::parallel::pieces;
use eigenlens_linalg::{Real, Write, reduce, scratch};

use crate::channels::{combine, dots, put, scale, sums};
use crate::family::fill_unwritten;
use crate::normalise::output_shape;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// Batch norm in train mode of x (batch, C) or (batch, C, …); γ and β, if given, have length C.
///
/// What it saves begins with the C means and then the C biased variances, for a trainer's running statistics (which
/// PyTorch keeps of the unbiased variance, M / (M − 1) times this one); r (C) and x̂ follow. One value per channel has no
/// variance: [`crate::Graph::least_batch`] tells the caller beforehand; `eval` would give y = β.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// C.
    pub channels: usize,
    /// ε, inside of the root.
    pub eps: f64,
}

/// Samples whose sums are added up one after the other, before they are added to those of other samples.
const ROWS: usize = 4;

/// How a tensor lies: its samples and the values of each.
#[derive(Clone, Copy)]
struct Layout {
    cx: Cx,
    size: usize,
    channels: usize,
}

impl Layout {
    fn sample<'a, T>(&self, n: usize, a: &'a [T]) -> &'a [T] {
        &a[n * self.size..(n + 1) * self.size]
    }

    /// out ← what `f` makes of each sample, by its number.
    fn each<T: Real>(&self, out: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
        pieces(self.cx.par, out.len(), out, self.size, &f);
    }

    /// Means over the channels, of which `f` adds the sums of one sample to a row of as many as there are. The order of
    /// additions depends on the number of samples alone.
    fn means<T: Real>(&self, out: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
        let (batch, rows) = (self.cx.batch, self.cx.batch.div_ceil(ROWS));
        scratch::with(rows * out.len(), |table: &mut [T]| {
            pieces(self.cx.par, batch * self.size, table, out.len(), &|i, row: &mut [T]| {
                row.fill(T::ZERO);
                for n in i * ROWS..((i + 1) * ROWS).min(batch) {
                    f(n, row);
                }
            });
            reduce::sum_rows(out, Write::Set, table, rows);
        });
        reduce::scal(T::from_f64(1.0 / self.count()), out);
    }

    /// M.
    fn count(&self) -> f64 {
        (self.cx.batch * self.size / self.channels) as f64
    }
}

/// The C-vectors of a buffer of N C values.
fn split<const N: usize, T>(v: &mut [T]) -> [&mut [T]; N] {
    let mut parts = v.chunks_exact_mut(v.len() / N);
    std::array::from_fn(|_| parts.next().expect("N parts"))
}

impl BatchNorm {
    fn layout(&self, cx: &Cx, len: usize) -> Layout {
        Layout { cx: *cx, size: len / cx.batch.max(1), channels: self.channels }
    }

    /// r and x̂.
    fn saved<'a, T>(&self, saved: &'a [T]) -> (&'a [T], &'a [T]) {
        let (stats, xhat) = saved.split_at(3 * self.channels);
        (&stats[2 * self.channels..], xhat)
    }
}

impl<T: Real> Op<T> for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        output_shape(inputs, 3, self.eps, self.channels, |dims| {
            (dims.first() != Some(&self.channels)).then(|| format!("the input must have {} channels", self.channels))
        })
    }

    fn saved_len(&self, x: &[usize], _y: usize) -> usize {
        3 * self.channels + x[0]
    }

    fn bent_len(&self, _x: &[usize], _y: usize) -> usize {
        2 * self.channels
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        matches!((i, j), (0, 0) | (0, 1) | (1, 0))
    }

    fn mixes_samples(&self) -> bool {
        true
    }

    fn least_batch(&self, inputs: &[Shape]) -> usize {
        // One value alone has no variance.
        if inputs[0].size() / self.channels.max(1) < 2 { 2 } else { 1 }
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        if y.is_empty() {
            return;
        }
        let (c, at) = (self.channels, self.layout(cx, y.len()));
        let (stats, xhat) = saved.split_at_mut(3 * c);
        let [mean, variance, r] = split(stats);
        let (x, gain, bias) = (x[0], x.get(1).copied(), x.get(2).copied());
        at.means(mean, |n, row| sums(at.sample(n, x), row, Write::Add));
        scratch::with(3 * c, |buffer: &mut [T]| {
            let [one, zero, minus] = split(buffer);
            one.fill(T::ONE);
            zero.fill(T::ZERO);
            minus.iter_mut().zip(&*mean).for_each(|(m, &mean)| *m = -mean);
            let (one, zero) = (&*one, &*zero);
            // Two passes, so that a large mean does not drown the variance; y holds x − mean x until it gets its own.
            at.each(y, |n, y| combine([one], [at.sample(n, x)], minus, y, Write::Set));
            at.means(variance, |n, row| dots(at.sample(n, y), at.sample(n, y), row, Write::Add));
            for (r, v) in r.iter_mut().zip(&*variance) {
                *r = T::from_f64(1.0 / (v.to_f64() + self.eps).sqrt());
            }
            at.each(xhat, |n, xhat| scale(r, at.sample(n, y), xhat, Write::Set));
            let (gain, bias) = (gain.unwrap_or(one), bias.unwrap_or(zero));
            at.each(y, |n, y| combine([gain], [at.sample(n, xhat)], bias, y, Write::Set));
        });
    }

    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        if p.y.is_empty() {
            return;
        }
        let (channels, at) = (self.channels, self.layout(cx, p.y.len()));
        let (r, xhat) = self.saved(p.saved);
        let gain = p.x.get(1);
        scratch::with(5 * channels, |buffer: &mut [T]| {
            let (means, rest) = buffer.split_at_mut(2 * channels);
            let [on_dx, on_xhat, rest] = split(rest);
            for (k, dy) in dy.chunks_exact_mut(p.y.len()).enumerate() {
                let [dx, dw, db] = [0, 1, 2].map(|i| dx.get(i).copied().flatten().map(|d| d.lane(k)));
                means.fill(T::ZERO);
                if let Some(dx) = dx {
                    at.means(means, |n, row| {
                        let [sum, along] = split(row);
                        sums(at.sample(n, dx), sum, Write::Add);
                        dots(at.sample(n, dx), at.sample(n, xhat), along, Write::Add);
                    });
                }
                for c in 0..channels {
                    let slope = gain.map_or(T::ONE, |gain| gain[c]) * r[c];
                    on_dx[c] = slope;
                    on_xhat[c] = dw.map_or(T::ZERO, |dw| dw[c]) - slope * means[channels + c];
                    rest[c] = db.map_or(T::ZERO, |db| db[c]) - slope * means[c];
                }
                let (on_dx, on_xhat) = (&*on_dx, &*on_xhat);
                at.each(dy, |n, dy| match dx {
                    Some(dx) => {
                        combine([on_dx, on_xhat], [at.sample(n, dx), at.sample(n, xhat)], rest, dy, Write::Set);
                    }
                    None => combine([on_xhat], [at.sample(n, xhat)], rest, dy, Write::Set),
                });
            }
        });
    }

    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        self.vjp_jvp(cx, p, Cotangent { gy: &[], bent: &[] }, &[None; 3], Some(gy), gx);
    }

    fn bend(&self, cx: &Cx, p: Primal<'_, T>, gy: &[T], bent: &mut [T]) {
        if gy.is_empty() {
            return;
        }
        let (at, (_, xhat)) = (self.layout(cx, gy.len()), self.saved(p.saved));
        at.means(bent, |n, row| {
            let [sum, along] = split(row);
            sums(at.sample(n, gy), sum, Write::Add);
            dots(at.sample(n, gy), at.sample(n, xhat), along, Write::Add);
        });
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        if p.y.is_empty() {
            return fill_unwritten(dgx);
        }
        let (channels, at) = (self.channels, self.layout(cx, p.y.len()));
        let (r, xhat) = self.saved(p.saved);
        let gain = p.x.get(1);
        let [dx, dw] = [0, 1].map(|i| dx.get(i).copied().flatten());
        let lanes = dgy.or(dx).or(dw).map_or(0, |l| l.lanes);
        scratch::with(12 * channels, |buffer: &mut [T]| {
            let (means, rest) = buffer.split_at_mut(5 * channels);
            let [on_dgy, on_gy, on_dx, on_xhat, rest, gains, biases] = split(rest);
            for k in 0..lanes {
                let [dx, dw, own] = [dx, dw, dgy].map(|d| d.map(|d| d.lane(k)));
                at.means(means, |n, row| {
                    let [own_sum, own_along, sum, along, across] = split(row);
                    let xhat = at.sample(n, xhat);
                    if let Some(dgy) = own.map(|dgy| at.sample(n, dgy)) {
                        sums(dgy, own_sum, Write::Add);
                        dots(dgy, xhat, own_along, Write::Add);
                    }
                    if let Some(dx) = dx.map(|dx| at.sample(n, dx)) {
                        sums(dx, sum, Write::Add);
                        dots(dx, xhat, along, Write::Add);
                        dots(dx, at.sample(n, cotangent.gy), across, Write::Add);
                    }
                });
                let [own_mean, own_along, mean, along, across] = split(means);
                for c in 0..channels {
                    let slope = gain.map_or(T::ONE, |gain| gain[c]) * r[c];
                    let bends = dx.is_some() || dw.is_some();
                    let bent = |i: usize| if bends { cotangent.bent[i * channels + c] } else { T::ZERO };
                    let (gy_mean, gy_along) = (bent(0), bent(1));
                    let q = across[c] - mean[c] * gy_mean - along[c] * gy_along;
                    on_dgy[c] = slope;
                    on_gy[c] = r[c] * (dw.map_or(T::ZERO, |dw| dw[c]) - slope * along[c]);
                    on_dx[c] = -slope * r[c] * gy_along;
                    on_xhat[c] = -slope * (own_along[c] + r[c] * q) - on_gy[c] * gy_along - on_dx[c] * along[c];
                    rest[c] = -slope * own_mean[c] - on_gy[c] * gy_mean - on_dx[c] * mean[c];
                    gains[c] = T::from_f64(at.count()) * (own_along[c] + r[c] * q);
                    biases[c] = T::from_f64(at.count()) * own_mean[c];
                }
                let [on_dgy, on_gy, on_dx, on_xhat] = [&*on_dgy, &*on_gy, &*on_dx, &*on_xhat];
                if let Some(slot) = &mut dgx[0] {
                    let write = slot.write;
                    at.each(slot.lane(k), |n, out| {
                        let [xhat, gy] = [xhat, cotangent.gy].map(|a| a.get(n * at.size..(n + 1) * at.size));
                        let xhat = xhat.expect("as long as x");
                        let [own, dx] = [own, dx].map(|a| a.map(|a| at.sample(n, a)));
                        match (own, dx, gy) {
                            (Some(own), None, None) => combine([on_dgy, on_xhat], [own, xhat], rest, out, write),
                            (Some(own), None, Some(gy)) => {
                                combine([on_dgy, on_gy, on_xhat], [own, gy, xhat], rest, out, write);
                            }
                            (None, None, Some(gy)) => combine([on_gy, on_xhat], [gy, xhat], rest, out, write),
                            (None, Some(dx), Some(gy)) => {
                                combine([on_gy, on_dx, on_xhat], [gy, dx, xhat], rest, out, write);
                            }
                            (Some(own), Some(dx), Some(gy)) => {
                                let v = [on_dgy, on_gy, on_dx, on_xhat];
                                combine(v, [own, gy, dx, xhat], rest, out, write);
                            }
                            _ => unreachable!("a tangent comes with the cotangent that it bends"),
                        }
                    });
                }
                for (i, sums) in [(1, &*gains), (2, &*biases)] {
                    if let Some(Some(slot)) = dgx.get_mut(i) {
                        let write = slot.write;
                        slot.lane(k).iter_mut().zip(sums).for_each(|(out, &x)| put(out, x, write));
                    }
                }
            }
        });
    }
}
