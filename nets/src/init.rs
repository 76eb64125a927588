//! How weights start: the initialisers in use, each with its source, drawn reproducibly.
//!
//! A tensor's numbers are a function of (seed, index of the tensor) alone: not of the order in which tensors are
//! filled, nor of the scalar type. They are drawn in f64 and rounded, so f32 and f64 models start from the same point.

use std::fmt;
use std::str::FromStr;

use eigenlens_autodiff::volume;
use eigenlens_linalg::{Par, Real, View, Write, gemm};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::options::{OptionError, in_range, names, quoted};

/// The fan that a variance is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// Inputs per output unit: keeps the variance of activations in the forward sweep.
    In,
    /// Outputs per input unit: keeps the variance of cotangents in the backward sweep.
    Out,
}

/// The distribution that a weight tensor starts from.
///
/// Written `name` or `name(number)`, the number being the gain, standard deviation, bound or value: `xavier-uniform`,
/// `he-normal`, `normal(0.02)`. `Display` and `FromStr` are inverse to each other; [`Init::ALL`] lists the names.
///
/// With fan_in and fan_out as in [`fans`], and U(±b) the uniform distribution on \[-b, b\], whose variance is b²/3:
///
/// | name | distribution | number (default) |
/// |---|---|---|
/// | `xavier-uniform`, `xavier-normal` | variance gain² · 2 / (fan_in + fan_out) | gain (1) |
/// | `he-uniform`, `he-normal` | variance gain² / fan_in | gain (√2) |
/// | `he-uniform-fan-out`, `he-normal-fan-out` | variance gain² / fan_out | gain (√2) |
/// | `lecun-uniform`, `lecun-normal` | variance 1 / fan_in | – |
/// | `pytorch` | U(±1/√fan_in), biases too | – |
/// | `orthogonal` | gain · Haar-distributed orthonormal rows or columns | gain (1) |
/// | `normal` | N(0, sd²) | sd (0.02) |
/// | `truncated-normal` | N(0, sd²) given that \|w\| ≤ 2 sd | sd (0.02) |
/// | `uniform` | U(±bound) | bound (0.05) |
/// | `constant` | every entry the same | value (1) |
/// | `zeros` | 0 | – |
///
/// `glorot-…` and `kaiming-…` are understood as other names of `xavier-…` and `he-…`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// U(±gain √(6 / (fan_in + fan_out))): Glorot & Bengio 2010, *Understanding the difficulty of training deep
    /// feedforward neural networks*, eq. 16 (there with gain 1).
    XavierUniform {
        /// Factor on the standard deviation.
        gain: f64,
    },
    /// N(0, gain² · 2 / (fan_in + fan_out)): Glorot & Bengio 2010, eq. 12.
    XavierNormal {
        /// Factor on the standard deviation.
        gain: f64,
    },
    /// U(±gain √(3 / fan)): He, Zhang, Ren & Sun 2015, *Delving deep into rectifiers*, eq. 10 (fan in), eq. 14 (fan
    /// out); the gain is √2 after ReLU and √(2 / (1 + a²)) after leaky ReLU of slope a (eq. 15).
    HeUniform {
        /// Which fan divides the variance.
        fan: Fan,
        /// Factor on the standard deviation.
        gain: f64,
    },
    /// N(0, gain² / fan): He et al. 2015, as [`Init::HeUniform`].
    HeNormal {
        /// Which fan divides the variance.
        fan: Fan,
        /// Factor on the standard deviation.
        gain: f64,
    },
    /// U(±√(3 / fan_in)): LeCun, Bottou, Orr & Müller 1998, *Efficient BackProp*, §4.6, eq. 16.
    LecunUniform,
    /// N(0, 1 / fan_in): LeCun et al. 1998, §4.6.
    LecunNormal,
    /// What `torch.nn.Linear` and `torch.nn.Conv2d` do: `kaiming_uniform_(a=√5)`, which is U(±1/√fan_in), for the
    /// weight, and U(±1/√fan_in) for the bias, with the fan of the weight.
    Pytorch,
    /// gain · Q with orthonormal rows (out ≤ in) or columns (out ≥ in), uniform over all such matrices: Saxe,
    /// McClelland & Ganguli 2014, *Exact solutions to the nonlinear dynamics of learning in deep linear neural
    /// networks*, §3. Gram–Schmidt of a Gaussian matrix; that its R has a positive diagonal is what makes Q uniform
    /// (Mezzadri 2007, *How to generate random matrices from the classical compact groups*, §5).
    Orthogonal {
        /// Every singular value of the weight.
        gain: f64,
    },
    /// N(0, sd²).
    Normal {
        /// Standard deviation.
        sd: f64,
    },
    /// N(0, sd²) given that |w| ≤ 2 sd, so that its standard deviation is 0.8796 sd.
    TruncatedNormal {
        /// Standard deviation before truncation.
        sd: f64,
    },
    /// U(±bound).
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
    /// Every entry the same: every unit of a layer then computes the same, which gradient descent never undoes.
    Constant {
        /// The entry.
        value: f64,
    },
    /// Every entry 0.
    Zeros,
}

/// Gain after ReLU: He et al. 2015, eq. 10.
const RELU_GAIN: f64 = std::f64::consts::SQRT_2;

/// Name and default of every initialiser: the one list behind `Display`, `FromStr` and [`Init::ALL`].
const NAMED: [(&str, Init); 15] = [
    ("xavier-uniform", Init::XavierUniform { gain: 1.0 }),
    ("xavier-normal", Init::XavierNormal { gain: 1.0 }),
    ("he-uniform", Init::HeUniform { fan: Fan::In, gain: RELU_GAIN }),
    ("he-normal", Init::HeNormal { fan: Fan::In, gain: RELU_GAIN }),
    ("he-uniform-fan-out", Init::HeUniform { fan: Fan::Out, gain: RELU_GAIN }),
    ("he-normal-fan-out", Init::HeNormal { fan: Fan::Out, gain: RELU_GAIN }),
    ("lecun-uniform", Init::LecunUniform),
    ("lecun-normal", Init::LecunNormal),
    ("pytorch", Init::Pytorch),
    ("orthogonal", Init::Orthogonal { gain: 1.0 }),
    ("normal", Init::Normal { sd: 0.02 }),
    ("truncated-normal", Init::TruncatedNormal { sd: 0.02 }),
    ("uniform", Init::Uniform { bound: 0.05 }),
    ("constant", Init::Constant { value: 1.0 }),
    ("zeros", Init::Zeros),
];

const NAMES: [&str; NAMED.len()] = names(&NAMED);

/// Which numbers a tensor gets: the run's seed and the tensor's index in the flat parameter vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The run's seed.
    pub seed: u64,
    /// Index of the tensor among the model's parameters.
    pub tensor: u64,
}

impl Stream {
    fn rng(self) -> ChaCha8Rng {
        // The key says what the numbers are for: a random probe of the same seed and index must not be the weights.
        let mut key = *b"________eigenlens initial weight";
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(self.tensor);
        rng
    }
}

/// (fan_in, fan_out) of a weight of PyTorch's shape (out, in, kernel…): the axes after the second multiply both.
///
/// # Panics
/// If the shape has fewer than two axes: a bias or a norm weight has no fans.
#[track_caller]
pub fn fans(shape: &[usize]) -> (usize, usize) {
    assert!(shape.len() >= 2, "a tensor of shape {shape:?} has no fans: they need the axes (out, in, …)");
    let receptive = volume(&shape[2..]);
    (shape[1].saturating_mul(receptive), shape[0].saturating_mul(receptive))
}

impl Init {
    /// Every name, for listings and suggestions.
    pub const ALL: &'static [&'static str] = &NAMES;

    /// The stable name, without the number.
    pub fn name(&self) -> &'static str {
        let alike = |(_, init): &&(&str, Init)| init.with(0.0) == self.with(0.0);
        NAMED.iter().find(alike).expect("every initialiser has a row in NAMED").0
    }

    /// The number in brackets, if it has one.
    fn number(&self) -> Option<(&'static str, f64)> {
        match *self {
            Init::XavierUniform { gain }
            | Init::XavierNormal { gain }
            | Init::HeUniform { gain, .. }
            | Init::HeNormal { gain, .. }
            | Init::Orthogonal { gain } => Some(("gain", gain)),
            Init::Normal { sd } | Init::TruncatedNormal { sd } => Some(("sd", sd)),
            Init::Uniform { bound } => Some(("bound", bound)),
            Init::Constant { value } => Some(("value", value)),
            Init::LecunUniform | Init::LecunNormal | Init::Pytorch | Init::Zeros => None,
        }
    }

    /// The same with another number; itself if it has none.
    fn with(mut self, x: f64) -> Init {
        match &mut self {
            Init::XavierUniform { gain }
            | Init::XavierNormal { gain }
            | Init::HeUniform { gain, .. }
            | Init::HeNormal { gain, .. }
            | Init::Orthogonal { gain } => *gain = x,
            Init::Normal { sd } | Init::TruncatedNormal { sd } => *sd = x,
            Init::Uniform { bound } => *bound = x,
            Init::Constant { value } => *value = x,
            Init::LecunUniform | Init::LecunNormal | Init::Pytorch | Init::Zeros => {}
        }
        self
    }

    /// # Errors
    /// If a gain, standard deviation or bound is not finite and positive, or a constant not finite.
    pub fn check(&self) -> Result<(), OptionError> {
        match (*self, self.number()) {
            (Init::Constant { value }, _) => {
                in_range(value.is_finite(), "initialiser constant", "value", value, "finite")
            }
            (_, Some((option, x))) => in_range(x.is_finite() && x > 0.0, self.name(), option, x, "finite and positive"),
            (_, None) => Ok(()),
        }
    }

    /// Fills a weight tensor of PyTorch's shape (out, in, kernel…), row-major.
    ///
    /// Cost: one draw per entry; `Orthogonal` with m = min(out, in·kernel) and n the larger: 4 m² n flops, m n doubles.
    ///
    /// # Panics
    /// If `out` has another length than the shape, or the initialiser needs fans and the shape has fewer than two axes.
    #[track_caller]
    pub fn fill<T: Real>(&self, shape: &[usize], stream: Stream, out: &mut [T]) {
        let len: usize = shape.iter().product();
        assert_eq!(out.len(), len, "a tensor of shape {shape:?} has {len} entries");
        let rng = &mut stream.rng();
        let fan = |which| {
            let (fan_in, fan_out) = fans(shape);
            if which == Fan::In { fan_in as f64 } else { fan_out as f64 }
        };
        let mean_fan = || (fan(Fan::In) + fan(Fan::Out)) / 2.0;
        match *self {
            Init::XavierUniform { gain } => uniform(gain * (3.0 / mean_fan()).sqrt(), rng, out),
            Init::XavierNormal { gain } => normal(gain * (1.0 / mean_fan()).sqrt(), rng, out),
            Init::HeUniform { fan: which, gain } => uniform(gain * (3.0 / fan(which)).sqrt(), rng, out),
            Init::HeNormal { fan: which, gain } => normal(gain * (1.0 / fan(which)).sqrt(), rng, out),
            Init::LecunUniform => uniform((3.0 / fan(Fan::In)).sqrt(), rng, out),
            Init::LecunNormal => normal((1.0 / fan(Fan::In)).sqrt(), rng, out),
            Init::Pytorch => uniform((1.0 / fan(Fan::In)).sqrt(), rng, out),
            Init::Orthogonal { gain } => {
                let (cols, _) = fans(shape);
                orthogonal(shape[0], cols, gain, rng, out);
            }
            Init::Normal { sd } => normal(sd, rng, out),
            Init::TruncatedNormal { sd } => draw(rng, out, |rng| sd * truncated_standard_normal(rng)),
            Init::Uniform { bound } => uniform(bound, rng, out),
            Init::Constant { value } => out.fill(T::from_f64(value)),
            Init::Zeros => out.fill(T::ZERO),
        }
    }

    /// Fills the bias that goes with a weight of `fan_in` inputs: U(±1/√fan_in) with [`Init::Pytorch`], else zeros.
    pub fn fill_bias<T: Real>(&self, fan_in: usize, stream: Stream, out: &mut [T]) {
        match self {
            Init::Pytorch => uniform((1.0 / fan_in as f64).sqrt(), &mut stream.rng(), out),
            _ => out.fill(T::ZERO),
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let is_default = NAMED.iter().any(|(_, init)| init == self);
        match self.number() {
            Some((_, x)) if !is_default => write!(f, "{name}({x})"),
            _ => f.write_str(name),
        }
    }
}

impl FromStr for Init {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let invalid = |reason| OptionError::Invalid { of: "initialiser", reason };
        let (name, number) = match text.trim().split_once('(') {
            None => (text.trim(), None),
            Some((name, rest)) => {
                let number = rest.strip_suffix(')').and_then(|x| x.trim().parse().ok());
                let number = number
                    .ok_or_else(|| invalid(format!("{} is not of the form name or name(number)", quoted(text))))?;
                (name.trim(), Some(number))
            }
        };
        let canonical = name.replacen("glorot-", "xavier-", 1).replacen("kaiming-", "he-", 1);
        let default = NAMED.iter().find(|(known, _)| *known == canonical);
        let (_, default) = default.ok_or_else(|| OptionError::unknown("initialiser", name, Init::ALL))?;
        let init = match (number, default.number()) {
            (None, _) => *default,
            (Some(x), Some(_)) => default.with(x),
            (Some(_), None) => return Err(invalid(format!("'{canonical}' takes no number: write '{canonical}'"))),
        };
        init.check().map(|()| init)
    }
}

fn draw<T: Real>(rng: &mut ChaCha8Rng, out: &mut [T], mut one: impl FnMut(&mut ChaCha8Rng) -> f64) {
    for x in out {
        *x = T::from_f64(one(rng));
    }
}

fn uniform<T: Real>(bound: f64, rng: &mut ChaCha8Rng, out: &mut [T]) {
    draw(rng, out, |rng| bound * (2.0 * rng.random::<f64>() - 1.0));
}

fn normal<T: Real>(sd: f64, rng: &mut ChaCha8Rng, out: &mut [T]) {
    draw(rng, out, |rng| sd * standard_normal(rng));
}

fn standard_normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// N(0, 1) given that |z| ≤ 2, by rejection. Of 100 draws 4.55 are refused, so 64 refusals in a row (1e-86) never come.
fn truncated_standard_normal(rng: &mut impl Rng) -> f64 {
    (0..64).map(|_| standard_normal(rng)).find(|z| z.abs() <= 2.0).unwrap_or(0.0)
}

fn orthogonal<T: Real>(rows: usize, cols: usize, gain: f64, rng: &mut ChaCha8Rng, out: &mut [T]) {
    /// Rows per block: large enough for the products with finished rows to be efficient GEMMs.
    const BLOCK: usize = 32;
    let (m, n) = (rows.min(cols), rows.max(cols));
    let mut q: Vec<f64> = (0..m * n).map(|_| standard_normal(rng)).collect();
    orthonormal_rows(&mut q, n, BLOCK);
    for (i, x) in out.iter_mut().enumerate() {
        // Entry (r, c) of the weight; with more rows than columns it is the transpose that has orthonormal rows.
        let (r, c) = (i / cols, i % cols);
        *x = T::from_f64(gain * if rows <= cols { q[r * n + c] } else { q[c * n + r] });
    }
}

/// Makes the rows (each n long, at most n of them) orthonormal, each in the span of itself and those before it, with a
/// positive component along its old self. Block Gram–Schmidt, done twice, which leaves QQᵀ − I of a few ε (Giraud,
/// Langou & Rozložník 2005, *The loss of orthogonality in the Gram–Schmidt orthogonalization process*).
fn orthonormal_rows(q: &mut [f64], n: usize, block: usize) {
    if n == 0 {
        return;
    }
    let mut coefficients = Vec::new();
    for start in (0..q.len()).step_by(block * n) {
        let (done, rest) = q.split_at_mut(start);
        let (j, b) = (done.len() / n, (rest.len() / n).min(block));
        let rows = &mut rest[..b * n];
        coefficients.resize(b * j, 0.0);
        for _ in 0..2 {
            if j > 0 {
                let done = View::new(done, j, n);
                gemm(&mut coefficients, Write::Set, 1.0, View::new(rows, b, n), done.t(), Par::Seq);
                gemm(rows, Write::Add, -1.0, View::new(&coefficients, b, j), done, Par::Seq);
            }
            for i in 0..b {
                let (before, row) = rows[..(i + 1) * n].split_at_mut(i * n);
                for u in before.chunks_exact(n) {
                    let c: f64 = u.iter().zip(&*row).map(|(u, x)| u * x).sum();
                    row.iter_mut().zip(u).for_each(|(x, u)| *x -= c * u);
                }
                let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter_mut().for_each(|x| *x /= norm);
            }
        }
    }
}

#[cfg(test)]
mod tests;
