//! What is lost when shared parameters are taken for separate ones: the bias of unrolling.

use eigenlens_linalg::Real;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};

use crate::operator::Block;

/// Traces of parameters that stand for the same ones at T places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unrolling {
    /// tr Σ_{s,t} H̃_st: the trace of the block of the shared parameters.
    pub assembled: f64,
    /// Σ_t tr H̃_tt: what the copies have by themselves.
    pub unrolled: f64,
    /// Σ_{s≠t} tr H̃_st, their difference.
    pub bias: f64,
}

/// Traces of the blocks H̃_st between parts of an unrolled network that stand for the same parameters, of equal values and in
/// the same order.
///
/// Cost: T² p products between two parts each, exact.
///
/// # Panics
/// If the parts differ in length.
/// # Sources
/// Bolshim & Kugaevskikh, arXiv 2605.25674 (weight sharing: assemble before the second differentiation).
#[track_caller]
pub fn unrolling<T: Real>(objective: &Objective<'_, T>, copies: &[Part], kind: Kind) -> Unrolling {
    let p = copies.first().map_or(0, Part::len);
    assert!(copies.iter().all(|c| c.len() == p), "copies of the same parameters are of the same length");
    let (mut unrolled, mut bias) = (0.0, 0.0);
    let (mut x, mut y) = (vec![0.0; p], vec![0.0; p]);
    for (t, from) in copies.iter().enumerate() {
        for (s, to) in copies.iter().enumerate() {
            let block = Block::between_parts(objective, from, to, kind);
            for i in 0..p {
                x.fill(0.0);
                x[i] = 1.0;
                block.multiply(1, &x, &mut y);
                *if s == t { &mut unrolled } else { &mut bias } += y[i];
            }
        }
    }
    Unrolling { assembled: unrolled + bias, unrolled, bias }
}
