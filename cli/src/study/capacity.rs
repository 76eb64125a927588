//! How wide the networks of a study are: the rule of capacities.
//!
//! With n training rows and K outputs a network has N = nK equations to satisfy, and P parameters. All hidden layers have the
//! same width h, found from P and a bound B on the parameters of the largest layer (whose Hessian is to be computed exactly):
//!
//! | capacity | width |
//! |---|---|
//! | adequate | the largest with P ≤ N / 2; at least log₂ K, so that signs can tell the classes apart |
//! | under | the largest with P ≤ min(N, 2 P(adequate)) / 10; at least 1 |
//! | over | the smallest with P ≥ 3N |
//!
//! Each is at most the largest that B allows (and at least 1). Where that keeps the network of `over` below 3N, it gets fewer
//! training rows, so that P = 3nK, but no fewer than 10 per class and 100 in all; validation and test part stay as they are.

use serde::{Deserialize, Serialize};

/// How large a network is for its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capacity {
    /// Under-parameterised.
    Under,
    /// About as many parameters as equations.
    Adequate,
    /// Over-parameterised.
    Over,
}

/// Equations per parameter below which a network is under-parameterised.
const SCARCE: usize = 10;
/// Equations per parameter of an adequate network.
const ENOUGH: usize = 2;
/// Parameters per equation from which on a network is over-parameterised.
const PLENTY: usize = 3;
/// Training rows that are always left: per class, and in all.
const LEAST_ROWS: (usize, usize) = (10, 100);

impl Capacity {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Under, Self::Adequate, Self::Over];

    /// The name in suites and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Under => "under",
            Self::Adequate => "adequate",
            Self::Over => "over",
        }
    }
}

/// What a network has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Training rows.
    pub rows: usize,
    /// Inputs.
    pub features: usize,
    /// Outputs.
    pub outputs: usize,
    /// Hidden layers.
    pub depth: usize,
}

/// What the rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Units of every hidden layer.
    pub width: usize,
    /// Training rows, where not all are used.
    pub limit: Option<usize>,
}

/// Parameters of each linear layer with bias.
pub fn layers(features: usize, hidden: &[usize], outputs: usize) -> Vec<usize> {
    let inputs = std::iter::once(&features).chain(hidden);
    inputs.zip(hidden.iter().chain([&outputs])).map(|(a, b)| (a + 1) * b).collect()
}

impl Task {
    fn layers(&self, width: usize) -> Vec<usize> {
        layers(self.features, &vec![width; self.depth], self.outputs)
    }

    fn parameters(&self, width: usize) -> usize {
        self.layers(width).iter().sum()
    }

    /// The largest width of which something is true that is true of every smaller one; at least 1.
    fn widest(fits: impl Fn(usize) -> bool) -> usize {
        let mut high = 1;
        while high < 1 << 24 && fits(2 * high) {
            high *= 2;
        }
        // Between high, which fits or is 1, and 2 high, which does not.
        let (mut low, mut above) = (high, 2 * high);
        while above - low > 1 {
            let middle = (low + above) / 2;
            if fits(middle) { low = middle } else { above = middle }
        }
        low
    }

    /// The width and the rows for a capacity, with no layer of more than `bound` parameters where a width of 1 allows that.
    pub fn size(&self, capacity: Capacity, bound: usize) -> Size {
        let bound = Self::widest(|h| self.layers(h).iter().all(|&p| p <= bound));
        let equations = self.rows * self.outputs;
        let codes = usize::BITS - (self.outputs.max(1) - 1).leading_zeros();
        let adequate = Self::widest(|h| ENOUGH * self.parameters(h) <= equations).max(codes as usize).min(bound);
        match capacity {
            Capacity::Adequate => Size { width: adequate, limit: None },
            Capacity::Under => {
                let most = equations.min(ENOUGH * self.parameters(adequate)) / SCARCE;
                Size { width: Self::widest(|h| self.parameters(h) <= most), limit: None }
            }
            Capacity::Over => {
                let enough = PLENTY * equations;
                let below = Self::widest(|h| self.parameters(h) < enough);
                let width = if self.parameters(below) < enough { below + 1 } else { below }.min(bound);
                let least = (LEAST_ROWS.0 * self.outputs).max(LEAST_ROWS.1);
                let rows = (self.parameters(width) / (PLENTY * self.outputs)).max(least);
                Size { width, limit: (rows < self.rows).then_some(rows) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: usize = 2000;

    fn sizes(rows: usize, features: usize, outputs: usize, depth: usize) -> ([Size; 3], Task) {
        let task = Task { rows, features, outputs, depth };
        (Capacity::ALL.map(|c| task.size(c, BOUND)), task)
    }

    #[test]
    fn layers_count_weights_and_biases() {
        assert_eq!(layers(64, &[32, 16], 10), [65 * 32, 33 * 16, 17 * 10]);
        assert_eq!(layers(4, &[], 3), [15]);
    }

    #[test]
    fn where_there_is_room_the_rule_is_kept_to_the_letter() {
        for depth in 1..=3 {
            for (rows, features, outputs) in [(300, 8, 1), (200, 13, 3), (105, 4, 3), (260, 9, 2)] {
                let (sizes, task) = sizes(rows, features, outputs, depth);
                let [under, adequate, over] = sizes.map(|s| s.width);
                let n = rows * outputs;
                let p = |h: usize| task.parameters(h);
                assert!(p(under) <= n / 10 || under == 1, "{under}");
                assert!(p(under + 1) > n / 10 || p(under + 1) > p(adequate) / 5);
                assert!(2 * p(adequate) <= n && 2 * p(adequate + 1) > n || adequate <= 3, "{adequate}");
                assert!(p(over) >= 3 * n && p(over - 1) < 3 * n, "{over}");
                assert!(sizes.iter().all(|s| s.limit.is_none()));
            }
        }
    }

    #[test]
    fn no_layer_exceeds_the_bound_and_over_then_gets_fewer_rows() {
        for depth in 1..=3 {
            for (rows, features, outputs) in [(14_000, 16, 26), (3710, 2, 2), (2230, 180, 3), (6000, 53, 1)] {
                let (sizes, task) = sizes(rows, features, outputs, depth);
                for size in sizes {
                    assert!(task.layers(size.width).iter().all(|&p| p <= BOUND), "{size:?}");
                }
                let [under, adequate, over] = sizes;
                assert!(5 * task.parameters(under.width) <= task.parameters(adequate.width), "{under:?} {adequate:?}");
                let limit = over.limit.unwrap();
                let full = task.parameters(over.width) / (3 * outputs);
                assert_eq!(limit, full.max(100).max(10 * outputs), "{over:?}");
                assert!(task.layers(over.width + 1).iter().any(|&p| p > BOUND));
            }
        }
    }

    #[test]
    fn a_bound_that_nothing_keeps_leaves_one_unit() {
        let (sizes, _) = sizes(130, 5000, 7, 1);
        assert!(sizes.iter().all(|s| s.width == 1), "{sizes:?}");
    }

    #[test]
    fn many_classes_get_as_many_codes() {
        let (sizes, _) = sizes(132, 500, 7, 1);
        assert_eq!(sizes[1].width, 3, "two units have four signs");
    }
}
