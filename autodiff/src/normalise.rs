//! Normalisation, the fourth family: y = γ ⊙ x̂ + β, with x̂ of mean 0 and variance 1 in each group of values.
//!
//! A group is a row of features (layer norm), some channels of a sample (group norm) or a channel of the whole batch
//! (batch norm, which has passes of its own as its groups are strewn: [`crate::ops::BatchNorm`]); the rule is the same.
//! With v the biased variance of the M values of a group, r = (v + ε)^(−1/2), x̂ = r (x − mean x), and ⟨a⟩ the mean of a
//! over the group:
//!
//! - P a = a − ⟨a⟩ − x̂ ⟨x̂ a⟩, a symmetric matrix (not quite a projection, as ⟨x̂²⟩ = v / (v + ε) < 1)
//! - v̇ = 2 ⟨(x − mean x) ẋ⟩, so ṙ = −½ r³ v̇ = −r² ⟨x̂ ẋ⟩ and x̂˙ = r P ẋ
//! - ẏ = γ ⊙ x̂˙ + γ̇ ⊙ x̂ + β̇
//! - x̄ = r P g with g = γ ⊙ ȳ; γ̄ = Σ x̂ ⊙ ȳ and β̄ = Σ ȳ over all values that share the entry
//! - x̄̇ = r P ġ − r (⟨x̂ ẋ⟩ x̄ + s x̂˙ + ⟨x̄ ẋ⟩ x̂) with s = ⟨x̂ g⟩ and ġ = γ ⊙ ȳ̇ + γ̇ ⊙ ȳ
//! - γ̄̇ = Σ (x̂ ⊙ ȳ̇ + x̂˙ ⊙ ȳ); β̄̇ = Σ ȳ̇
//!
//! For x̄̇: D[r P]·ẋ g = (ṙ / r) x̄ − r (x̂˙ ⟨x̂ g⟩ + x̂ ⟨x̂˙ g⟩), and ⟨x̂˙ g⟩ = r ⟨(P ẋ) g⟩ = ⟨ẋ x̄⟩ as P is symmetric.
//! Written out in ẋ, ġ, x̂ and x̄ (the last saved by `bend`), it is sums over the group and one pass.
//!
//! RMS norm leaves the mean out: x̂ = r x with v = ⟨x²⟩ and P a = a − x̂ ⟨x̂ a⟩; everything else stands as it is.
//!
//! Sources: Ba, Kiros, Hinton 2016 (layer norm); Ioffe, Szegedy 2015 (batch norm), whose backward pass this is; the
//! second derivatives are derived above.

mod groups;

use std::fmt::Debug;

use eigenlens_linalg::elementwise::update;
use eigenlens_linalg::{Real, Write, reduce, scratch};

use crate::channels::{Combine, dots, scale, spread, sums};
use crate::family::fill_unwritten;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

pub use groups::Groups;
use groups::copy;

/// A rule of grouping: what tells one normalisation from another.
pub trait Norm: Clone + Copy + Debug + Send + Sync {
    /// The op's name.
    const NAME: &'static str;
    /// Whether the mean is taken out; if not, there is no β either.
    const CENTRED: bool = true;
    /// ε.
    fn eps(&self) -> f64;
    /// Length of γ and β.
    fn channels(&self) -> usize;
    /// What is wrong with an input of these extents per sample, if anything.
    fn refuse(&self, dims: &[usize]) -> Option<String>;
    /// The groups of a tensor of `len` values, batch included.
    fn groups(&self, len: usize) -> Groups;
}

/// The op of a [`Norm`]: inputs x and, if wanted, γ and β with one entry per channel.
///
/// It saves the mean of each group, then each group's biased variance (in RMS norm: 0 and the mean square), then each
/// group's r, then x̂.
#[derive(Clone, Copy, Debug)]
pub struct Normalised<N>(pub N);

/// What `eval` saved, or what `bend` did (with only the last two, s for r and x̄ for x̂).
struct Cached<'a, T> {
    r: &'a [T],
    xhat: &'a [T],
}

impl<'a, T> Cached<'a, T> {
    fn saved(saved: &'a [T], groups: usize) -> Self {
        let (stats, xhat) = saved.split_at(3 * groups);
        Cached { r: &stats[2 * groups..], xhat }
    }

    fn bent(bent: &'a [T], groups: usize) -> Self {
        let (r, xhat) = bent.split_at(groups);
        Cached { r, xhat }
    }

    fn group(&self, at: &Groups, g: usize) -> (T, &'a [T])
    where
        T: Copy,
    {
        (self.r[g], &self.xhat[g * at.len..(g + 1) * at.len])
    }
}

impl<N: Norm> Normalised<N> {
    /// ⟨a⟩, or 0 where no mean is taken out.
    fn centre<T: Real>(&self, at: &Groups, a: &[T]) -> T {
        if N::CENTRED { at.mean(reduce::sum(a)) } else { T::ZERO }
    }

    /// out ← r P a, or +=. Returns ⟨x̂ a⟩.
    fn project<T: Real>(&self, at: &Groups, (r, xhat): (T, &[T]), a: &[T], out: &mut [T], write: Write) -> T {
        let along = at.mean(reduce::dot(xhat, a));
        update(&Combine([r, -r * along], -r * self.centre(at, a), write), [a, xhat], [out]);
        along
    }

    /// h ← γ ⊙ ȳ̇ + γ̇ ⊙ ȳ for one group, with what there is of them; whether there is anything.
    fn pulled<T: Real>(at: &Groups, g: usize, gain: Option<&[T]>, terms: Terms<'_, T>, h: &mut [T]) -> bool {
        let mut write = Write::Set;
        if let Some(dgy) = terms.dgy {
            match gain {
                Some(gain) => scale(at.entries(g, gain), dgy, h, write),
                None => h.copy_from_slice(dgy),
            }
            write = Write::Add;
        }
        if let Some((dw, gy)) = terms.bent {
            scale(at.entries(g, dw), gy, h, write);
            write = Write::Add;
        }
        write == Write::Add
    }
}

/// The terms of ġ: ȳ̇, and γ̇ with ȳ.
#[derive(Clone, Copy)]
struct Terms<'a, T> {
    dgy: Option<&'a [T]>,
    bent: Option<(&'a [T], &'a [T])>,
}

/// What the curvature of x̂ in x takes of one group: ẋ, s and x̄.
#[derive(Clone, Copy)]
struct Bent<'a, T> {
    dx: &'a [T],
    s: T,
    pulled: &'a [T],
}

/// A slot's lane and how to write it.
fn lane<'s, T>(slot: Option<&'s mut Option<Slot<'_, T>>>, k: usize) -> Option<(&'s mut [T], Write)> {
    let slot = slot?.as_mut()?;
    let write = slot.write;
    Some((slot.lane(k), write))
}

/// The output shape of a normalisation of up to `most` inputs, or what is wrong with them.
pub(crate) fn output_shape(
    inputs: &[Shape],
    most: usize,
    eps: f64,
    channels: usize,
    refuse: impl Fn(&[usize]) -> Option<String>,
) -> Result<Shape, String> {
    let [x, rest @ ..] = inputs else { return Err("takes an input".to_string()) };
    if inputs.len() > most {
        return Err(format!("takes at most {most} inputs, got {}", inputs.len()));
    }
    if eps.is_nan() || eps <= 0.0 || eps.is_infinite() {
        return Err(format!("ε must be positive, is {eps}"));
    }
    if !x.batched || x.size() == 0 {
        return Err(format!("the input must be batched and not empty, is {x}"));
    }
    if let Some(reason) = refuse(&x.dims) {
        return Err(reason);
    }
    let want = Shape::fixed(&[channels]);
    match rest.iter().find(|s| **s != want) {
        Some(bad) => Err(format!("weight and bias must have shape {want}, got {bad}")),
        None => Ok(x.clone()),
    }
}

impl<T: Real, N: Norm> Op<T> for Normalised<N> {
    fn name(&self) -> &'static str {
        N::NAME
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let most = if N::CENTRED { 3 } else { 2 };
        output_shape(inputs, most, self.0.eps(), self.0.channels(), |dims| self.0.refuse(dims))
    }

    fn saved_len(&self, x: &[usize], _y: usize) -> usize {
        3 * self.0.groups(x[0]).count + x[0]
    }

    fn bent_len(&self, x: &[usize], _y: usize) -> usize {
        self.0.groups(x[0]).count + x[0]
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        matches!((i, j), (0, 0) | (0, 1) | (1, 0))
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        let at = self.0.groups(y.len());
        let (gain, bias) = (x.get(1), x.get(2));
        if y.is_empty() {
            return;
        }
        let (stats, xhat) = saved.split_at_mut(3 * at.count);
        for g in 0..at.count {
            let (x, xhat, out) = (at.of(g, x[0]), at.of_mut(g, xhat), at.of_mut(g, y));
            // Two passes, so that a large mean does not drown the variance.
            let mean = self.centre(&at, x);
            update(&Combine([T::ONE], -mean, Write::Set), [x], [xhat]);
            let variance = at.mean(reduce::dot(xhat, xhat));
            let r = T::from_f64(1.0 / (variance.to_f64() + self.0.eps()).sqrt());
            reduce::scal(r, xhat);
            (stats[g], stats[at.count + g], stats[2 * at.count + g]) = (mean, variance, r);
            let mut write = Write::Set;
            if let Some(bias) = bias {
                spread(at.entries(g, bias), out, write);
                write = Write::Add;
            }
            match gain {
                Some(gain) => scale(at.entries(g, gain), xhat, out, write),
                None => copy(xhat, out, write),
            }
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let at = self.0.groups(p.y.len());
        let cached = Cached::saved(p.saved, at.count);
        let get = |i: usize| dx.get(i).copied().flatten();
        let gain = p.x.get(1);
        scratch::with(at.len, |moved: &mut [T]| {
            for (k, dy) in dy.chunks_exact_mut(p.y.len().max(1)).enumerate() {
                for g in 0..at.count {
                    let (r, xhat) = cached.group(&at, g);
                    let out = at.of_mut(g, dy);
                    let mut write = Write::Set;
                    if let Some(db) = get(2) {
                        spread(at.entries(g, db.lane(k)), out, write);
                        write = Write::Add;
                    }
                    if let Some(dw) = get(1) {
                        scale(at.entries(g, dw.lane(k)), xhat, out, write);
                        write = Write::Add;
                    }
                    if let Some(dx) = get(0) {
                        self.project(&at, (r, xhat), at.of(g, dx.lane(k)), moved, Write::Set);
                        match gain {
                            Some(gain) => scale(at.entries(g, gain), moved, out, write),
                            None => copy(moved, out, write),
                        }
                    }
                }
            }
        });
    }

    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let none = Cotangent { gy: &[], bent: &[] };
        self.vjp_jvp(cx, p, none, &[None, None, None], Some(gy), gx);
    }

    fn bend(&self, _cx: &Cx, p: Primal<'_, T>, gy: &[T], bent: &mut [T]) {
        let at = self.0.groups(p.y.len());
        let cached = Cached::saved(p.saved, at.count);
        let (along, pulled) = bent.split_at_mut(at.count);
        if gy.is_empty() {
            return;
        }
        scratch::with(at.len, |h: &mut [T]| {
            for g in 0..at.count {
                let terms = Terms { dgy: Some(at.of(g, gy)), bent: None };
                Self::pulled(&at, g, p.x.get(1).copied(), terms, h);
                let out = &mut pulled[g * at.len..(g + 1) * at.len];
                along[g] = self.project(&at, cached.group(&at, g), h, out, Write::Set);
            }
        });
    }

    fn vjp_jvp(
        &self,
        _cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        let at = self.0.groups(p.y.len());
        let cached = Cached::saved(p.saved, at.count);
        let get = |i: usize| dx.get(i).copied().flatten();
        let gain = p.x.get(1).copied();
        let lanes = dgy.or(get(0)).or(get(1)).map_or(0, |l| l.lanes);
        if p.y.is_empty() {
            return fill_unwritten(dgx);
        }
        let table = at.count * at.channels;
        scratch::with(2 * at.len + 2 * table, |buffer: &mut [T]| {
            let (buffer, tables) = buffer.split_at_mut(2 * at.len);
            let (gains, biases) = tables.split_at_mut(table);
            let (h, moved) = buffer.split_at_mut(at.len);
            for k in 0..lanes {
                for g in 0..at.count {
                    let (r, xhat) = cached.group(&at, g);
                    let tangent = get(0).map(|dx| at.of(g, dx.lane(k)));
                    let own = dgy.map(|dgy| at.of(g, dgy.lane(k)));
                    let bends = tangent.is_some() || get(1).is_some();
                    let gy: &[T] = if bends { at.of(g, cotangent.gy) } else { &[] };
                    if let Some((dgx, write)) = lane(dgx.get_mut(0), k) {
                        let terms = Terms { dgy: own, bent: get(1).map(|dw| (dw.lane(k), gy)) };
                        let any = Self::pulled(&at, g, gain, terms, h);
                        let bent = tangent.map(|dx| {
                            let (s, pulled) = Cached::bent(cotangent.bent, at.count).group(&at, g);
                            Bent { dx, s, pulled }
                        });
                        self.curve(&at, (r, xhat), any.then_some(&*h), bent, at.of_mut(g, dgx), write);
                    }
                    if let Some(Some(_)) = dgx.get(1) {
                        let partial = at.partial(g, gains);
                        let mut write = Write::Set;
                        if let Some(dgy) = own {
                            dots(dgy, xhat, partial, write);
                            write = Write::Add;
                        }
                        if let Some(dx) = tangent {
                            self.project(&at, (r, xhat), dx, moved, Write::Set);
                            dots(gy, moved, partial, write);
                            write = Write::Add;
                        }
                        if write == Write::Set {
                            partial.fill(T::ZERO);
                        }
                    }
                    if let Some(Some(_)) = dgx.get(2) {
                        match own {
                            Some(dgy) => sums(dgy, at.partial(g, biases), Write::Set),
                            None => at.partial(g, biases).fill(T::ZERO),
                        }
                    }
                }
                for (i, table) in [(1, &*gains), (2, &*biases)] {
                    if let Some((out, write)) = lane(dgx.get_mut(i), k) {
                        at.finish(table, out, write);
                    }
                }
            }
        });
    }
}

impl<N: Norm> Normalised<N> {
    /// out ← r P ġ − r (⟨x̂ ẋ⟩ x̄ + s x̂˙ + ⟨x̄ ẋ⟩ x̂), or +=, for one group, with what is there of ġ and the rest.
    fn curve<T: Real>(
        &self,
        at: &Groups,
        (r, xhat): (T, &[T]),
        h: Option<&[T]>,
        bent: Option<Bent<'_, T>>,
        out: &mut [T],
        write: Write,
    ) {
        let Some(Bent { dx, s, pulled }) = bent else {
            match h {
                Some(h) => {
                    self.project(at, (r, xhat), h, out, write);
                }
                None if write == Write::Set => out.fill(T::ZERO),
                None => {}
            }
            return;
        };
        let along = at.mean(reduce::dot(xhat, dx));
        let across = at.mean(reduce::dot(pulled, dx));
        // x̂˙ = r (ẋ − ⟨ẋ⟩ − x̂ ⟨x̂ ẋ⟩), put in.
        let on_dx = -r * r * s;
        let mut on_xhat = r * r * s * along - r * across;
        let mut rest = r * r * s * self.centre(at, dx);
        if let Some(h) = h {
            on_xhat -= r * at.mean(reduce::dot(xhat, h));
            rest -= r * self.centre(at, h);
            let c = [r, on_dx, -r * along, on_xhat];
            update(&Combine(c, rest, write), [h, dx, pulled, xhat], [out]);
        } else {
            update(&Combine([on_dx, -r * along, on_xhat], rest, write), [dx, pulled, xhat], [out]);
        }
    }
}
