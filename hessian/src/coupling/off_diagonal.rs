//! What lies between the parts of θ as one operator, and how far that can move eigenvalues.

use eigenlens_linalg::lanczos::ASYMMETRY;
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::reduce::norm2;
use eigenlens_linalg::{LinearOperator, Real, Stop};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};

use crate::estimators::EstimatorError;
use crate::estimators::norm::{NormInterval, NormOptions, spectral_norm};
use crate::noise::NOISE;
use crate::operator::Block;

/// H − blockdiag(H_11, …, H_LL): the matrix with the diagonal blocks of the parts taken out.
///
/// Cost per column: a full product and one product of every block, which together cost about (L + 1)/6 of a full one.
/// Products err by the rounding of H's, however small what is left may be.
pub struct OffDiagonal<'o, 'm, 'p, T: Real> {
    full: Block<'o, 'm, T>,
    blocks: Vec<(&'p Part, Block<'o, 'm, T>)>,
}

impl<'o, 'm, 'p, T: Real> OffDiagonal<'o, 'm, 'p, T> {
    /// Of parts that cover θ.
    ///
    /// # Panics
    /// If a part reaches beyond θ.
    #[track_caller]
    pub fn new(objective: &'o Objective<'m, T>, parts: &'p [Part], kind: Kind) -> Self {
        let block = |part| (part, Block::part(objective, part, kind));
        OffDiagonal { full: Block::full(objective, kind), blocks: parts.iter().map(block).collect() }
    }
}

impl<T: Real> LinearOperator for OffDiagonal<'_, '_, '_, T> {
    fn dim(&self) -> usize {
        self.full.dim()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        self.full.apply(k, x, y);
        let n = self.dim();
        let (mut own, mut out) = (Vec::new(), Vec::new());
        for (part, block) in &self.blocks {
            own.clear();
            for x in x.chunks_exact(n) {
                part.ranges.iter().for_each(|r| own.extend_from_slice(&x[r.clone()]));
            }
            out.resize(own.len(), 0.0);
            block.apply(k, &own, &mut out);
            let mut out = out.iter();
            for y in y.chunks_exact_mut(n) {
                for r in &part.ranges {
                    y[r.clone()].iter_mut().zip(&mut out).for_each(|(y, b)| *y -= b);
                }
            }
        }
    }

    fn lanes(&self) -> usize {
        self.full.lanes()
    }
}

/// Values of memory that the Lanczos vectors of [`blockwise_error`] may take: 256 MB.
const VALUES: usize = 1 << 25;

/// Steps at least, whatever they take.
const FEWEST: usize = 12;

/// How many steps [`blockwise_error`] makes in a network of so many parameters: `steps`, or as many as 256 MB hold vectors,
/// but 12 at least.
pub fn steps_for(parameters: usize, steps: usize) -> usize {
    steps.min((VALUES / parameters.max(1)).max(FEWEST))
}

/// ‖H − blockdiag H‖₂ in an interval, by Lanczos: its upper end bounds how far the picture block by block misplaces any
/// eigenvalue, |λ_i(H) − λ_i(blockdiag H)| ≤ ‖H − blockdiag H‖₂ for every i, the eigenvalues of all blocks taken together and
/// sorted (Weyl).
///
/// The lower end is certain, residual included; the upper end holds with 99 %. See [`spectral_norm`], which stops once they
/// are within 2 %. For one part it is 0 without a product. Where nothing is left but the rounding of H the interval is from 0
/// to 1000 ε ‖H‖_F, ε that of T.
///
/// Cost: at most `steps` products of [`OffDiagonal`], P (steps + 1) values of memory, within [`steps_for`].
///
/// # Errors
/// A product that is not finite, or that is not symmetric beyond what the rounding of H explains.
/// # Panics
/// If there are no steps, or a part reaches beyond θ.
///
/// # Sources
/// Weyl 1912; Parlett, *The Symmetric Eigenvalue Problem*, ch. 10.
#[track_caller]
pub fn blockwise_error<T: Real>(
    objective: &Objective<'_, T>,
    parts: &[Part],
    kind: Kind,
    steps: usize,
    seed: u64,
) -> Result<NormInterval, EstimatorError> {
    let n = objective.model().len();
    let nothing = NormInterval { lower: 0.0, upper: 0.0, products: 0, stop: Stop::Invariant };
    if parts.len() == 1 {
        return Ok(nothing);
    }
    let between = OffDiagonal::new(objective, parts, kind);
    // How much of H is left, seen by random signs: E ‖Hz‖² = ‖H‖_F².
    let z = Distribution::Rademacher.probe(seed, 0, n);
    let length = |a: &dyn LinearOperator| {
        let mut y = vec![0.0; n];
        a.apply(1, &z, &mut y);
        norm2(&y)
    };
    let (whole, left) = (length(&between.full), length(&between));
    let rounding = T::EPSILON.to_f64() * whole;
    if left <= NOISE * rounding {
        return Ok(NormInterval { upper: NOISE * rounding, products: 1, ..nothing });
    }
    let options = NormOptions {
        steps: steps_for(n, steps),
        rel_err: Some(0.02),
        asymmetry: ASYMMETRY.max(NOISE * rounding / left),
        seed,
        ..NormOptions::default()
    };
    let found = spectral_norm(&between, &options)?;
    Ok(NormInterval { products: found.products + 1, ..found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, cases, linearized, mixed};
    use eigenlens_linalg::dense;
    use eigenlens_linalg::operator::to_dense;
    use eigenlens_nets::init::Init;
    use eigenlens_nets::{Activation, Grouping, Loss, Model, ModelSpec};

    /// Eigenvalues of H and of its diagonal blocks, both ascending, and ‖H − blockdiag H‖₂.
    fn exactly(objective: &Objective<'_, f64>, parts: &[Part]) -> (Vec<f64>, Vec<f64>, f64) {
        let n = objective.model().len();
        let values = |m: &[f64]| dense::eigenvalues(n, m).unwrap();
        let whole = to_dense(&Block::full(objective, Kind::Hessian));
        let mut rest = whole.clone();
        let mut blocks = vec![0.0; n * n];
        for part in parts {
            let places: Vec<usize> = part.ranges.iter().cloned().flatten().collect();
            for &i in &places {
                for &j in &places {
                    blocks[i * n + j] = whole[i * n + j];
                    rest[i * n + j] = 0.0;
                }
            }
        }
        let ends = values(&rest);
        (values(&whole), values(&blocks), ends[n - 1].max(-ends[0]))
    }

    #[test]
    fn no_eigenvalue_is_misplaced_by_more_than_the_upper_end_and_the_norm_is_between_the_ends() {
        let (model, data) = mixed();
        let all = cases().into_iter().chain([Case { name: "mixed".to_owned(), model, samples: data }]);
        for Case { name, model, samples } in all {
            let objective = linearized(&model, &samples);
            let parts = model.layer_blocks();
            let (whole, blocks, norm) = exactly(&objective, &parts);
            let found = blockwise_error(&objective, &parts, Kind::Hessian, 60, 3).unwrap();
            let worst = whole.iter().zip(&blocks).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
            let rounding = 1e-12 * whole[whole.len() - 1];
            assert!(found.lower <= norm + rounding && norm <= found.upper + rounding, "{name}: {found:?} for {norm}");
            assert!(worst <= found.upper && worst > 0.0, "{name}: {worst} beyond {found:?}");
            assert!(found.upper <= 1.1 * norm && found.products <= 61, "{name}: {found:?} for {norm}");
        }
    }

    /// One part leaves nothing; nor do the neurons of one layer under a squared error, which don't see each other.
    #[test]
    fn nothing_between_the_parts_is_nothing_but_rounding() {
        let Case { model, samples, .. } = cases().swap_remove(0);
        let objective = linearized(&model, &samples);
        let network = [Part::network(&model)];
        assert_eq!(blockwise_error(&objective, &network, Kind::Hessian, 9, 0).unwrap().upper, 0.0);
        let spec = ModelSpec::mlp(&[4, 3], Activation::Tanh, Init::XavierNormal { gain: 1.0 }, Loss::Mse);
        let model = Model::new(&spec).unwrap();
        let objective = linearized(&model, &crate::testing::samples(23, 4, 3, Loss::Mse));
        let neurons = model.blocks(&Grouping::Neuron).unwrap();
        let found = blockwise_error(&objective, &neurons, Kind::Hessian, 9, 0).unwrap();
        assert!(neurons.len() == 3 && found.lower == 0.0 && found.upper < 1e-11, "{found:?}");
    }

    #[test]
    fn large_networks_get_fewer_steps() {
        assert_eq!([1000, 1 << 20, 1 << 22, 1 << 30].map(|n| steps_for(n, 60)), [60, 32, 12, 12]);
        assert_eq!(steps_for(1 << 30, 5), 5);
    }
}
