//! Activation functions by name.

use std::fmt;
use std::str::FromStr;

use eigenlens_autodiff::family::Elementwise;
use eigenlens_autodiff::op::{Cx, Op, Primal};
use eigenlens_autodiff::ops;
use eigenlens_linalg::{Par, Real};

use crate::init::{Fan, Init};
use crate::options::{OptionError, in_range, names, quoted};

/// An activation function; formulas and sources stand in the op's file in `autodiff`.
///
/// Written `name` or `name(number)`: `tanh`, `leaky-relu(0.2)`. `Display` and `FromStr` are inverse to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// x or α x.
    LeakyRelu {
        /// α (default 0.01).
        slope: f64,
    },
    /// x or α (e^x − 1).
    Elu {
        /// α (default 1).
        alpha: f64,
    },
    /// tanh x.
    Tanh,
    /// 1 / (1 + e^−x).
    Sigmoid,
    /// log(1 + e^x).
    Softplus,
    /// x sigmoid(x).
    Silu,
    /// x Φ(x), exact.
    Gelu,
    /// x Φ(x), tanh form.
    GeluTanh,
    /// sin x.
    Sin,
    /// e^x.
    Exp,
    /// x.
    Identity,
}

const NAMED: [(&str, Activation); 12] = [
    ("relu", Activation::Relu),
    ("leaky-relu", Activation::LeakyRelu { slope: 0.01 }),
    ("elu", Activation::Elu { alpha: 1.0 }),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("softplus", Activation::Softplus),
    ("silu", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu-tanh", Activation::GeluTanh),
    ("sin", Activation::Sin),
    ("exp", Activation::Exp),
    ("identity", Activation::Identity),
];

const NAMES: [&str; NAMED.len()] = names(&NAMED);

impl Activation {
    /// Every name, for listings and suggestions.
    pub const ALL: &'static [&'static str] = &NAMES;

    /// Every activation with its default number.
    pub fn all() -> impl Iterator<Item = Activation> {
        NAMED.iter().map(|(_, a)| *a)
    }

    /// The stable name, without the number.
    pub fn name(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu { .. } => "leaky-relu",
            Activation::Elu { .. } => "elu",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Softplus => "softplus",
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu-tanh",
            Activation::Sin => "sin",
            Activation::Exp => "exp",
            Activation::Identity => "identity",
        }
    }

    /// Whether f″ = 0 wherever it exists: then a layer's loss block equals its Gauss–Newton block.
    pub fn is_piecewise_linear(&self) -> bool {
        matches!(self, Activation::Relu | Activation::LeakyRelu { .. } | Activation::Identity)
    }

    /// Whether the first or the second derivative jumps at zero.
    pub fn has_kink(&self) -> bool {
        matches!(self, Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. })
    }

    /// How the weights before it start if nothing else is said: He et al. 2015 before functions that are zero on the left,
    /// Glorot & Bengio 2010 before the others.
    pub fn default_init(&self) -> Init {
        match self {
            Activation::Relu
            | Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Softplus
            | Activation::Silu
            | Activation::Gelu
            | Activation::GeluTanh => Init::HeNormal { fan: Fan::In, gain: std::f64::consts::SQRT_2 },
            _ => Init::XavierUniform { gain: 1.0 },
        }
    }

    /// The op; `None` for the identity, which needs no node.
    pub fn op<T: Real>(&self) -> Option<Box<dyn Op<T>>> {
        Some(match *self {
            Activation::Relu => Box::new(Elementwise(ops::Relu)),
            Activation::LeakyRelu { slope } => Box::new(Elementwise(ops::LeakyRelu { slope })),
            Activation::Elu { alpha } => Box::new(Elementwise(ops::Elu { alpha })),
            Activation::Tanh => Box::new(Elementwise(ops::Tanh)),
            Activation::Sigmoid => Box::new(Elementwise(ops::Sigmoid)),
            Activation::Softplus => Box::new(Elementwise(ops::Softplus)),
            Activation::Silu => Box::new(Elementwise(ops::Silu)),
            Activation::Gelu => Box::new(Elementwise(ops::Gelu)),
            Activation::GeluTanh => Box::new(Elementwise(ops::GeluTanh)),
            Activation::Sin => Box::new(Elementwise(ops::Sin)),
            Activation::Exp => Box::new(Elementwise(ops::Exp)),
            Activation::Identity => return None,
        })
    }

    /// f(x), f′(x) and f″(x) of every entry, by the op.
    pub fn derivatives<T: Real>(&self, x: &[T]) -> [Vec<T>; 3] {
        let n = x.len();
        let Some(op) = self.op::<T>() else { return [x.to_vec(), vec![T::ONE; n], vec![T::ZERO; n]] };
        let cx = Cx { batch: n, par: Par::Seq };
        let [mut y, mut slope] = [vec![T::ZERO; n], vec![T::ZERO; op.saved_len(&[n], n)]];
        op.eval(&cx, &[x], &mut y, &mut slope);
        let mut curvature = vec![T::ZERO; op.bent_len(&[n], n)];
        op.bend(&cx, Primal { x: &[x], y: &y, saved: &slope }, &vec![T::ONE; n], &mut curvature);
        // Where f″ is zero throughout, nothing is kept.
        curvature.resize(n, T::ZERO);
        [y, slope, curvature]
    }

    fn number(&self) -> Option<f64> {
        match *self {
            Activation::LeakyRelu { slope } => Some(slope),
            Activation::Elu { alpha } => Some(alpha),
            _ => None,
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_default = NAMED.iter().any(|(_, a)| a == self);
        match self.number() {
            Some(x) if !is_default => write!(f, "{}({x})", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

impl FromStr for Activation {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let invalid = |reason| OptionError::Invalid { of: "activation", reason };
        let (name, number) = match text.trim().split_once('(') {
            None => (text.trim(), None),
            Some((name, rest)) => {
                let number: Option<f64> = rest.strip_suffix(')').and_then(|x| x.trim().parse().ok());
                let number = number
                    .ok_or_else(|| invalid(format!("{} is not of the form name or name(number)", quoted(text))))?;
                (name.trim(), Some(number))
            }
        };
        let known = NAMED.iter().find(|(n, _)| *n == name);
        let (name, mut activation) = *known.ok_or_else(|| OptionError::unknown("activation", name, Self::ALL))?;
        if let Some(x) = number {
            let (option, place) = match &mut activation {
                Activation::LeakyRelu { slope } => ("slope", slope),
                Activation::Elu { alpha } => ("alpha", alpha),
                _ => return Err(invalid(format!("{name} takes no number"))),
            };
            in_range(x.is_finite(), name, option, x, "finite")?;
            *place = x;
        }
        Ok(activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_inverse() {
        for a in Activation::all().chain([Activation::LeakyRelu { slope: 0.2 }, Activation::Elu { alpha: 0.5 }]) {
            assert_eq!(a.to_string().parse::<Activation>().unwrap(), a);
        }
    }

    #[test]
    fn slips_get_the_nearest_name() {
        let error = "tahn".parse::<Activation>().unwrap_err().to_string();
        assert!(error.contains("did you mean 'tanh'"), "{error}");
    }

    #[test]
    fn a_number_where_none_belongs_is_refused() {
        assert!("tanh(2)".parse::<Activation>().unwrap_err().to_string().contains("takes no number"));
        assert!("elu(x)".parse::<Activation>().is_err());
        assert!("elu(NaN)".parse::<Activation>().is_err());
    }

    #[test]
    fn every_activation_but_the_identity_has_its_op() {
        for a in Activation::all() {
            match a.op::<f64>() {
                Some(op) => assert_eq!(op.name(), a.name()),
                None => assert_eq!(a, Activation::Identity),
            }
        }
    }
}
