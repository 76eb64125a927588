//! o = P v with P = softmax(c q kᵀ), c = 1 / √(d / heads), in each head of each sample: scaled dot-product attention.
//!
//! Heads are neighbouring features, as in PyTorch. A causal P is 0 where the key is later than the query, and the rest of
//! its row is the softmax of what is left. With A = c q kᵀ and, row by row, Π z = P ⊙ (z − Σ P z):
//!
//! - Ȧ = c (q̇ kᵀ + q k̇ᵀ), Ṗ = Π Ȧ, ȯ = Ṗ v + P v̇
//! - Ā = Π (ō vᵀ), q̄ = c Ā k, k̄ = c Āᵀ q, v̄ = Pᵀ ō
//! - Ā̇ = Π z, z = ō̇ vᵀ + ō v̇ᵀ + e ⊙ w, e = Ȧ − Σ P Ȧ, w = ō vᵀ − Σ P ō vᵀ (saved by `bend`; see `probabilities.rs`)
//! - q̄̇ = c (Ā̇ k + Ā k̇), k̄̇ = c (Ā̇ᵀ q + Āᵀ q̇), v̄̇ = Pᵀ ō̇ + Ṗᵀ ō with Ā = P ⊙ w and Ṗ = P ⊙ e
//!
//! Where P is masked to 0 every one of these is 0 as well, so that no map but `eval` looks at the mask.
//!
//! Source: Vaswani et al. 2017; the derivatives are derived above.

use eigenlens_linalg::elementwise::{Kernel, update};
use eigenlens_linalg::gemm::{View, gemm_strided};
use eigenlens_linalg::{Number, Par, Real, Write, scratch};
use pulp::Simd;

use crate::family::Times;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use crate::probabilities::{centre, project, softmax};

/// Attention on q, k and v, each (batch, T, d); projections are ops of their own. It saves P as (batch, head, T, T).
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// T.
    pub tokens: usize,
    /// d.
    pub features: usize,
    /// A divisor of d.
    pub heads: usize,
    /// Whether a token sees only itself and earlier ones.
    pub causal: bool,
}

/// One head of one sample.
#[derive(Clone, Copy)]
struct Head<'o> {
    op: &'o Attention,
    /// Where it begins in q, k, v and o.
    start: usize,
    /// Its place among all heads of all samples.
    index: usize,
}

impl Attention {
    fn head_features(&self) -> usize {
        self.features / self.heads.max(1)
    }

    fn factor<T: Real>(&self) -> T {
        T::from_f64(1.0 / (self.head_features() as f64).sqrt())
    }

    /// All heads of all samples.
    fn all(&self, samples: usize) -> impl Iterator<Item = Head<'_>> {
        (0..samples * self.heads).map(|index| {
            let (sample, head) = (index / self.heads, index % self.heads);
            let start = sample * self.tokens * self.features + head * self.head_features();
            Head { op: self, start, index }
        })
    }

    fn rows<'a, T>(&self, p: &'a [T]) -> std::slice::ChunksExact<'a, T> {
        p.chunks_exact(self.tokens)
    }
}

impl Head<'_> {
    /// The rows of this head in q, k, v or o.
    fn view<'a, T: Real>(&self, x: &'a [T]) -> View<'a, T> {
        View::strided(&x[self.start..], self.op.tokens, self.op.head_features(), self.op.features)
    }

    /// This head's T × T matrix.
    fn table<'a, T>(&self, p: &'a [T]) -> &'a [T] {
        let len = self.op.tokens * self.op.tokens;
        &p[self.index * len..(self.index + 1) * len]
    }

    fn square<'a, T: Real>(&self, p: &'a [T]) -> View<'a, T> {
        View::new(p, self.op.tokens, self.op.tokens)
    }

    /// out's rows of this head ← α a b, or +=.
    fn put<T: Real>(&self, out: &mut [T], write: &mut Write, alpha: T, a: View<'_, T>, b: View<'_, T>) {
        gemm_strided(&mut out[self.start..], self.op.features, *write, alpha, a, b, Par::Seq);
        *write = Write::Add;
    }

    /// table ← α a bᵀ, or +=.
    fn outer<T: Real>(&self, table: &mut [T], write: &mut Write, alpha: T, a: &[T], b: &[T]) {
        gemm_strided(table, self.op.tokens, *write, alpha, self.view(a), self.view(b).t(), Par::Seq);
        *write = Write::Add;
    }

    /// e ← Ȧ − Σ P Ȧ, if there is a tangent of q or k. Whether there is.
    fn moved<T: Real>(&self, x: &[&[T]], prob: &[T], dq: Option<&[T]>, dk: Option<&[T]>, e: &mut [T]) -> bool {
        let mut write = Write::Set;
        if let Some(dq) = dq {
            self.outer(e, &mut write, self.op.factor(), dq, x[1]);
        }
        if let Some(dk) = dk {
            self.outer(e, &mut write, self.op.factor(), x[0], dk);
        }
        if write == Write::Add {
            for (prob, e) in self.op.rows(prob).zip(e.chunks_exact_mut(self.op.tokens)) {
                centre(prob, e);
            }
        }
        write == Write::Add
    }
}

impl<T: Real> Op<T> for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let (heads, features) = (self.heads, self.features);
        if heads == 0 || features == 0 || !features.is_multiple_of(heads) {
            return Err(format!("{features} features can't be cut into {heads} heads"));
        }
        let want = Shape::batched(&[self.tokens, features]);
        if inputs.len() != 3 || self.tokens == 0 || inputs.iter().any(|s| *s != want) {
            return Err(format!("takes q, k and v of shape {want}"));
        }
        Ok(want)
    }

    fn saved_len(&self, x: &[usize], _y: usize) -> usize {
        (x[0] / self.features).saturating_mul(self.heads).saturating_mul(self.tokens)
    }

    fn bent_len(&self, x: &[usize], y: usize) -> usize {
        Op::<T>::saved_len(self, x, y)
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        // v̄ = Pᵀ ō does not contain v.
        (i, j) != (2, 2)
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        let t = self.tokens;
        scratch::with(t * t, |scores: &mut [T]| {
            for head in self.all(cx.batch) {
                head.outer(scores, &mut { Write::Set }, self.factor(), x[0], x[1]);
                let prob = &mut saved[head.index * t * t..(head.index + 1) * t * t];
                for (i, (scores, prob)) in self.rows(scores).zip(prob.chunks_exact_mut(t)).enumerate() {
                    let seen = if self.causal { i + 1 } else { t };
                    softmax(&scores[..seen], &mut prob[..seen]);
                    prob[seen..].fill(T::ZERO);
                }
                head.put(y, &mut { Write::Set }, T::ONE, head.square(prob), head.view(x[2]));
            }
        });
    }

    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let t = self.tokens;
        scratch::with(t * t, |e: &mut [T]| {
            for (k, dy) in dy.chunks_exact_mut(p.y.len().max(1)).enumerate() {
                let [dq, dk, dv] = [0, 1, 2].map(|i| dx[i].map(|d| d.lane(k)));
                for head in self.all(cx.batch) {
                    let prob = head.table(p.saved);
                    let mut write = Write::Set;
                    if head.moved(p.x, prob, dq, dk, e) {
                        times(prob, e);
                        head.put(dy, &mut write, T::ONE, head.square(e), head.view(p.x[2]));
                    }
                    if let Some(dv) = dv {
                        head.put(dy, &mut write, T::ONE, head.square(prob), head.view(dv));
                    }
                }
            }
        });
    }

    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        self.vjp_jvp(cx, p, Cotangent { gy: &[], bent: &[] }, &[None; 3], Some(gy), gx);
    }

    fn bend(&self, cx: &Cx, p: Primal<'_, T>, gy: &[T], bent: &mut [T]) {
        let t = self.tokens;
        for (head, w) in self.all(cx.batch).zip(bent.chunks_exact_mut(t * t)) {
            head.outer(w, &mut { Write::Set }, T::ONE, gy, p.x[2]);
            for (prob, w) in self.rows(head.table(p.saved)).zip(w.chunks_exact_mut(t)) {
                centre(prob, w);
            }
        }
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
        let (t, c) = (self.tokens, self.factor());
        let lanes = dgy.or(dx[0]).or(dx[1]).or(dx[2]).map_or(0, |l| l.lanes);
        let [on_q, on_k, on_v] = dgx else { unreachable!("output_shape asked for three inputs") };
        if let Some(slot) = on_v
            && dgy.is_none()
            && dx[0].is_none()
            && dx[1].is_none()
            && slot.write == Write::Set
        {
            slot.data.fill(T::ZERO);
        }
        scratch::with(3 * t * t, |buffer: &mut [T]| {
            let (e, rest) = buffer.split_at_mut(t * t);
            let (z, pulled) = rest.split_at_mut(t * t);
            for k in 0..lanes {
                let [dq, dk, dv] = [0, 1, 2].map(|i| dx[i].map(|d| d.lane(k)));
                let own = dgy.map(|d| d.lane(k));
                for head in self.all(cx.batch) {
                    let prob = head.table(p.saved);
                    let moves = head.moved(p.x, prob, dq, dk, e);
                    if on_q.is_some() || on_k.is_some() {
                        let mut write = Write::Set;
                        if let Some(dgy) = own {
                            head.outer(z, &mut write, T::ONE, dgy, p.x[2]);
                        }
                        if let Some(dv) = dv {
                            head.outer(z, &mut write, T::ONE, cotangent.gy, dv);
                        }
                        if moves {
                            update(&Times(write), [&*e, head.table(cotangent.bent)], [&mut *z]);
                        }
                        for ((prob, z), out) in self.rows(prob).zip(self.rows(z)).zip(pulled.chunks_exact_mut(t)) {
                            project(prob, z, out, Write::Set);
                        }
                        // z is free again: Ā, which goes with the tangents of q and k.
                        if moves {
                            update(&Times(Write::Set), [prob, head.table(cotangent.bent)], [&mut *z]);
                        }
                    }
                    if let Some(slot) = on_q {
                        let mut write = slot.write;
                        let out = slot.lane(k);
                        head.put(out, &mut write, c, head.square(pulled), head.view(p.x[1]));
                        if let Some(dk) = dk {
                            head.put(out, &mut write, c, head.square(z), head.view(dk));
                        }
                    }
                    if let Some(slot) = on_k {
                        let mut write = slot.write;
                        let out = slot.lane(k);
                        head.put(out, &mut write, c, head.square(pulled).t(), head.view(p.x[0]));
                        if let Some(dq) = dq {
                            head.put(out, &mut write, c, head.square(z).t(), head.view(dq));
                        }
                    }
                    if let Some(slot) = on_v {
                        let mut write = slot.write;
                        let out = slot.lane(k);
                        if let Some(dgy) = own {
                            head.put(out, &mut write, T::ONE, head.square(prob).t(), head.view(dgy));
                        }
                        if moves {
                            times(prob, e);
                            head.put(out, &mut write, T::ONE, head.square(e).t(), head.view(cotangent.gy));
                        }
                    }
                }
            }
        });
    }
}

/// b ← a ⊙ b.
struct InPlace;
impl<T: Number> Kernel<T, 1, 1> for InPlace {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [a]: [T::V<S>; 1], [b]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul(s, a, b)]
    }
}

fn times<T: Real>(a: &[T], b: &mut [T]) {
    update(&InPlace, [a], [b]);
}
