//! The names that a config may use for what the libraries define.

/// Activation functions. Some take a number in parentheses, such as `leaky-relu(0.2)`.
pub const ACTIVATIONS: &[&str] =
    &["relu", "leaky-relu", "elu", "tanh", "sigmoid", "softplus", "silu", "gelu", "gelu-tanh", "sin", "identity"];

/// Initialisers. Some take a number in parentheses, such as `normal(0.02)`.
pub const INITIALISERS: &[&str] = &[
    "xavier-uniform",
    "xavier-normal",
    "he-uniform",
    "he-normal",
    "he-uniform-fan-out",
    "he-normal-fan-out",
    "lecun-uniform",
    "lecun-normal",
    "pytorch",
    "orthogonal",
    "normal",
    "truncated-normal",
    "uniform",
    "constant",
    "zeros",
];

/// Data sets that come with the program.
pub const DATASETS: &[&str] = &[
    "digits",
    "iris",
    "wine",
    "breast_cancer",
    "penguins",
    "mnist",
    "diabetes",
    "concrete",
    "auto_mpg",
    "wine_quality",
    "abalone",
];

/// A name with an optional number, `leaky-relu(0.2)`, as its two parts. `None` if the parentheses don't close or hold no
/// number.
pub fn split_number(text: &str) -> Option<(&str, Option<f64>)> {
    match text.split_once('(') {
        None => Some((text.trim(), None)),
        Some((name, rest)) => {
            let number = rest.strip_suffix(')')?.trim().parse().ok()?;
            Some((name.trim(), Some(number)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_parentheses_is_split_off() {
        assert_eq!(split_number("tanh"), Some(("tanh", None)));
        assert_eq!(split_number("normal(0.02)"), Some(("normal", Some(0.02))));
        assert_eq!(split_number("normal(0.02"), None);
        assert_eq!(split_number("normal(x)"), None);
    }
}
