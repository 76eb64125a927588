//! The arithmetic of one step: one fused pass over the parameters, gradient and memory.

use eigenlens_linalg::Real;
use eigenlens_linalg::elementwise::Kernel;
use eigenlens_linalg::simd::Vectors;
use pulp::Simd;

use super::Sgd;

/// θ ← θ − lr (g + λ θ).
pub(super) struct Plain<T> {
    lr: T,
    decay: T,
}

impl<T: Real> Plain<T> {
    pub(super) fn new(lr: f64, decay: f64) -> Self {
        Plain { lr: T::from_f64(lr), decay: T::from_f64(decay) }
    }
}

impl<T: Vectors> Kernel<T, 1, 1> for Plain<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [g]: [T::V<S>; 1], [theta]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let g = T::fma(s, T::splat(s, self.decay), theta, g);
        [T::fnma(s, T::splat(s, self.lr), g, theta)]
    }
}

/// g ← g + λ θ, b ← μ b + g, θ ← θ − lr_g g − lr_b b: (lr_g, lr_b) is (0, lr), or with Nesterov (lr, lr μ).
pub(super) struct Momentum<T> {
    decay: T,
    mu: T,
    lr_g: T,
    lr_b: T,
}

impl<T: Real> Momentum<T> {
    pub(super) fn new(lr: f64, decay: f64, Sgd { momentum, nesterov, .. }: Sgd) -> Self {
        let (lr_g, lr_b) = if nesterov { (lr, lr * momentum) } else { (0.0, lr) };
        let [decay, mu, lr_g, lr_b] = [decay, momentum, lr_g, lr_b].map(T::from_f64);
        Momentum { decay, mu, lr_g, lr_b }
    }
}

impl<T: Vectors> Kernel<T, 1, 2> for Momentum<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [g]: [T::V<S>; 1], [theta, b]: [T::V<S>; 2]) -> [T::V<S>; 2] {
        let g = T::fma(s, T::splat(s, self.decay), theta, g);
        let b = T::fma(s, T::splat(s, self.mu), b, g);
        let ahead = T::fnma(s, T::splat(s, self.lr_g), g, theta);
        [T::fnma(s, T::splat(s, self.lr_b), b, ahead), b]
    }
}

/// Adam's and AdamW's step; all that depends on t is in the constants.
pub(super) struct Moments<T> {
    /// Coupled weight decay λ.
    decay: T,
    /// 1 − lr λ of decoupled weight decay.
    keep: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    /// lr / (1 − β₁ᵗ).
    rate: T,
    /// 1 / √(1 − β₂ᵗ).
    root_scale: T,
    eps: T,
}

impl<T: Real> Moments<T> {
    pub(super) fn new(lr: f64, t: u64, beta1: f64, beta2: f64, eps: f64, decay: f64, shrink: f64) -> Self {
        Moments {
            decay: T::from_f64(decay),
            keep: T::from_f64(1.0 - shrink),
            one_minus_beta1: T::from_f64(1.0 - beta1),
            beta2: T::from_f64(beta2),
            one_minus_beta2: T::from_f64(1.0 - beta2),
            rate: T::from_f64(lr / (1.0 - beta1.powf(t as f64))),
            root_scale: T::from_f64((1.0 - beta2.powf(t as f64)).sqrt().recip()),
            eps: T::from_f64(eps),
        }
    }
}

impl<T: Vectors> Kernel<T, 1, 3> for Moments<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [g]: [T::V<S>; 1], [theta, m, v]: [T::V<S>; 3]) -> [T::V<S>; 3] {
        let g = T::fma(s, T::splat(s, self.decay), theta, g);
        let m = T::fma(s, T::splat(s, self.one_minus_beta1), T::sub(s, g, m), m);
        let square = T::mul(s, T::splat(s, self.one_minus_beta2), T::mul(s, g, g));
        let v = T::fma(s, T::splat(s, self.beta2), v, square);
        let root = T::fma(s, T::sqrt(s, v), T::splat(s, self.root_scale), T::splat(s, self.eps));
        let kept = T::mul(s, T::splat(s, self.keep), theta);
        [T::fnma(s, T::splat(s, self.rate), T::div(s, m, root), kept), m, v]
    }
}
