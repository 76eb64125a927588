//! First-order optimisers on flat parameter vectors, by PyTorch's formulas.
//!
//! Written per entry, with θ the parameter, g its gradient, t = 1, 2, … the step and λ the weight decay. All scalars are
//! computed in f64 and rounded once. A NaN or infinity in a gradient reaches the parameter it belongs to and no other;
//! nothing is clipped or skipped. [`OptimizerState::first_non_finite`] names the first one in the state.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use eigenlens_linalg::Real;
use eigenlens_linalg::elementwise::update;

use crate::options::{OptionError, in_range};
use rules::{Moments, Momentum, Plain};

mod rules;
mod stability;

/// Stochastic gradient descent with heavy-ball or Nesterov momentum, as `torch.optim.SGD` without dampening:
///
/// g ← g + λ θ,  b ← μ b + g (b₀ = 0),  θ ← θ − lr · (g + μ b with Nesterov, else b).
///
/// # Sources
/// Polyak 1964; Sutskever, Martens, Dahl & Hinton 2013, *On the importance of initialization and momentum in deep
/// learning*, in PyTorch's form, where lr multiplies the velocity instead of entering it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Sgd {
    /// μ, in [0, 1); 0 needs no memory.
    pub momentum: f64,
    /// Look ahead: needs momentum.
    pub nesterov: bool,
    /// λ, coupled: part of the gradient.
    pub weight_decay: f64,
}

/// Adam with L2 regularisation coupled into the gradient, as `torch.optim.Adam`:
///
/// g ← g + λ θ,  m ← m + (1 − β₁)(g − m),  v ← β₂ v + (1 − β₂) g²,
/// θ ← θ − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε).
///
/// In f32 a gradient beyond 1.8e19 overflows v, which stops its parameter for good, here as in PyTorch.
///
/// # Sources
/// Kingma & Ba 2015, *Adam: a method for stochastic optimization*, algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// β₁ in [0, 1): memory of the mean.
    pub beta1: f64,
    /// β₂ in [0, 1): memory of the mean square.
    pub beta2: f64,
    /// ε > 0, added to the root, after the bias correction: keeps a parameter whose gradient is exactly 0 from 0/0.
    pub eps: f64,
    /// λ, coupled: part of the gradient.
    pub weight_decay: f64,
}

/// Adam with decoupled weight decay, as `torch.optim.AdamW`:
///
/// θ ← θ − lr λ θ, then [`Adam`] with λ = 0.
///
/// # Sources
/// Loshchilov & Hutter 2019, *Decoupled weight decay regularization*, algorithm 2, in PyTorch's form, where the decay
/// is multiplied by the learning rate and not only by its schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// β₁ in [0, 1): memory of the mean.
    pub beta1: f64,
    /// β₂ in [0, 1): memory of the mean square.
    pub beta2: f64,
    /// ε > 0, added to the root, after the bias correction: keeps a parameter whose gradient is exactly 0 from 0/0.
    pub eps: f64,
    /// λ, decoupled: shrinks θ by lr λ a step.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-2 }
    }
}

/// An optimiser and its options; `"sgd".parse()` and the like give PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// [`Sgd`].
    Sgd(Sgd),
    /// [`Adam`].
    Adam(Adam),
    /// [`AdamW`].
    AdamW(AdamW),
}

impl Optimizer {
    /// Every name, for listings and suggestions.
    pub const ALL: &'static [&'static str] = &["sgd", "adam", "adamw"];

    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd(_) => "sgd",
            Optimizer::Adam(_) => "adam",
            Optimizer::AdamW(_) => "adamw",
        }
    }

    /// λ.
    pub fn weight_decay(&self) -> f64 {
        match *self {
            Optimizer::Sgd(Sgd { weight_decay, .. })
            | Optimizer::Adam(Adam { weight_decay, .. })
            | Optimizer::AdamW(AdamW { weight_decay, .. }) => weight_decay,
        }
    }

    /// # Errors
    /// If an option is outside the range its documentation states, or Nesterov is asked for without momentum.
    pub fn check(&self) -> Result<(), OptionError> {
        let of = self.name();
        let fraction = |option, x: f64| in_range((0.0..1.0).contains(&x), of, option, x, "in [0, 1)");
        let size = |option, x: f64| in_range(x.is_finite() && x >= 0.0, of, option, x, "finite and not negative");
        size("weight_decay", self.weight_decay())?;
        match *self {
            Optimizer::Sgd(Sgd { momentum, nesterov, .. }) => {
                fraction("momentum", momentum)?;
                if nesterov && momentum == 0.0 {
                    let reason = "nesterov needs a momentum: set momentum = 0.9 or nesterov = false".to_owned();
                    return Err(OptionError::Invalid { of, reason });
                }
                Ok(())
            }
            Optimizer::Adam(Adam { beta1, beta2, eps, .. }) | Optimizer::AdamW(AdamW { beta1, beta2, eps, .. }) => {
                fraction("beta1", beta1)?;
                fraction("beta2", beta2)?;
                in_range(eps.is_finite() && eps > 0.0, of, "eps", eps, "finite and positive")
            }
        }
    }

    /// Names of the vectors it remembers, as PyTorch calls them.
    fn memory(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd(sgd) if sgd.momentum == 0.0 => &[],
            Optimizer::Sgd(_) => &["momentum_buffer"],
            Optimizer::Adam(_) | Optimizer::AdamW(_) => &["exp_avg", "exp_avg_sq"],
        }
    }
}

impl fmt::Display for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Optimizer {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        match name {
            "sgd" => Ok(Optimizer::Sgd(Sgd::default())),
            "adam" => Ok(Optimizer::Adam(Adam::default())),
            "adamw" => Ok(Optimizer::AdamW(AdamW::default())),
            _ => Err(OptionError::unknown("optimiser", name, Optimizer::ALL)),
        }
    }
}

/// Why saved vectors don't fit an optimiser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A vector that the optimiser needs is not there.
    #[error("the saved optimiser state has no '{name}': it was saved by another optimiser")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A vector that the optimiser does not know.
    #[error("the saved optimiser state has a '{name}' that this optimiser does not use")]
    Foreign {
        /// Its name.
        name: String,
    },
    /// A vector of another length than the parameters.
    #[error("'{name}' in the saved optimiser state has {found} values for {expected} parameters")]
    Length {
        /// Its name.
        name: &'static str,
        /// Number of parameters.
        expected: usize,
        /// Its length.
        found: usize,
    },
}

/// An optimiser at work on n parameters: what it remembers between steps.
///
/// Memory: n values for SGD with momentum, 2 n for Adam and AdamW, none for plain SGD.
#[derive(Clone, Debug)]
pub struct OptimizerState<T> {
    optimizer: Optimizer,
    n: usize,
    steps: u64,
    memory: Vec<Vec<T>>,
    /// Consecutive pieces of 0..n, each with its weight decay.
    pieces: Vec<(Range<usize>, f64)>,
}

impl<T: Real> OptimizerState<T> {
    /// At rest before the first step; weight decay acts on all n parameters.
    ///
    /// # Errors
    /// As [`Optimizer::check`], or if ε is 0 when rounded to `T`.
    pub fn new(optimizer: Optimizer, n: usize) -> Result<Self, OptionError> {
        optimizer.check()?;
        if let Optimizer::Adam(Adam { eps, .. }) | Optimizer::AdamW(AdamW { eps, .. }) = optimizer {
            in_range(T::from_f64(eps) > T::ZERO, optimizer.name(), "eps", eps, "more than 0 in this precision")?;
        }
        let memory = optimizer.memory().iter().map(|_| vec![T::ZERO; n]).collect();
        Ok(OptimizerState { optimizer, n, steps: 0, memory, pieces: vec![(0..n, optimizer.weight_decay())] })
    }

    /// Weight decay acts on these ranges only, such as the weights and not the biases.
    ///
    /// # Panics
    /// If the ranges are not ascending, overlap, or reach beyond the parameters.
    #[track_caller]
    pub fn decay_only(mut self, ranges: &[Range<usize>]) -> Self {
        self.pieces.clear();
        let mut end = 0;
        for range in ranges {
            let fits = end <= range.start && range.start <= range.end && range.end <= self.n;
            assert!(fits, "range {range:?} after {end} among {} parameters", self.n);
            self.pieces.push((end..range.start, 0.0));
            self.pieces.push((range.clone(), self.optimizer.weight_decay()));
            end = range.end;
        }
        self.pieces.push((end..self.n, 0.0));
        self.pieces.retain(|(range, _)| !range.is_empty());
        self
    }

    /// One step: θ changes in place. One pass over the vectors; nothing is allocated.
    ///
    /// # Panics
    /// If `theta` or `grad` is not n long.
    #[track_caller]
    pub fn step(&mut self, lr: f64, theta: &mut [T], grad: &[T]) {
        assert_eq!(theta.len(), self.n, "a state of {} parameters", self.n);
        assert_eq!(grad.len(), self.n, "a gradient for {} parameters", self.n);
        self.steps += 1;
        for (range, decay) in &self.pieces {
            let (theta, grad) = (&mut theta[range.clone()], &grad[range.clone()]);
            match (self.optimizer, &mut self.memory[..]) {
                (Optimizer::Sgd(_), []) => update(&Plain::new(lr, *decay), [grad], [theta]),
                (Optimizer::Sgd(sgd), [b]) => {
                    update(&Momentum::new(lr, *decay, sgd), [grad], [theta, &mut b[range.clone()]]);
                }
                (Optimizer::Adam(Adam { beta1, beta2, eps, .. }), [m, v]) => {
                    let rule = Moments::new(lr, self.steps, beta1, beta2, eps, *decay, 0.0);
                    update(&rule, [grad], [theta, &mut m[range.clone()], &mut v[range.clone()]]);
                }
                (Optimizer::AdamW(AdamW { beta1, beta2, eps, .. }), [m, v]) => {
                    let rule = Moments::new(lr, self.steps, beta1, beta2, eps, 0.0, lr * *decay);
                    update(&rule, [grad], [theta, &mut m[range.clone()], &mut v[range.clone()]]);
                }
                _ => unreachable!("the memory has the vectors that Optimizer::memory names"),
            }
        }
    }

    /// The optimiser.
    pub fn optimizer(&self) -> Optimizer {
        self.optimizer
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What it remembers, by PyTorch's names: with [`OptimizerState::steps`] all that a resumed run needs.
    pub fn vectors(&self) -> impl Iterator<Item = (&'static str, &[T])> {
        self.optimizer.memory().iter().copied().zip(self.memory.iter().map(Vec::as_slice))
    }

    /// Takes up the work after `steps` steps with the vectors that [`OptimizerState::vectors`] gave.
    ///
    /// # Errors
    /// If a vector is missing, not known, or has another length; the state is then unchanged.
    pub fn restore(&mut self, steps: u64, vectors: &[(&str, &[T])]) -> Result<(), StateError> {
        let names = self.optimizer.memory();
        if let Some((name, _)) = vectors.iter().find(|(name, _)| !names.contains(name)) {
            return Err(StateError::Foreign { name: (*name).to_owned() });
        }
        let mut memory = Vec::with_capacity(names.len());
        for &name in names {
            let found = vectors.iter().find(|(n, _)| *n == name);
            let (_, vector) = found.ok_or(StateError::Missing { name })?;
            if vector.len() != self.n {
                return Err(StateError::Length { name, expected: self.n, found: vector.len() });
            }
            memory.push(vector.to_vec());
        }
        (self.steps, self.memory) = (steps, memory);
        Ok(())
    }

    /// Name of the vector and index of the first NaN or infinity in what it remembers.
    pub fn first_non_finite(&self) -> Option<(&'static str, usize)> {
        self.vectors().find_map(|(name, v)| v.iter().position(|x| !x.finite()).map(|i| (name, i)))
    }
}

#[cfg(test)]
mod tests;
