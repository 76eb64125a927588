//! Scores r_n = ∂ℓ_n/∂o_n: of the given labels, or of labels drawn from the network's own distribution.

use eigenlens_linalg::Real;
use eigenlens_linalg::probes::{gaussian, uniform};
use eigenlens_nets::{Loss, Objective};

/// Of the given labels, (N, C): what was pulled back to the outputs without the samples' weights. A sample of weight 0 has
/// none that counts.
pub fn given<T: Real>(objective: &Objective<'_, T>) -> Vec<f64> {
    let (head, c) = (objective.model().logits(), objective.model().outputs());
    let mut scores = Vec::with_capacity(objective.samples() * c);
    for s in 0..objective.shards() {
        let (lin, weights) = objective.shard(s);
        for (row, w) in lin.cotangent(head).chunks_exact(c).zip(weights) {
            let w = w.to_f64();
            scores.extend(row.iter().map(|x| if w > 0.0 { x.to_f64() / w } else { 0.0 }));
        }
    }
    scores
}

/// Of `draws` labels for each sample, (N, D, C), each √c times the score of the likelihood whose c-th power the loss is.
///
/// The random numbers of sample n are those of stream n of the seed, draw after draw.
pub fn drawn<T: Real>(objective: &Objective<'_, T>, seed: u64, draws: usize) -> Vec<f64> {
    let model = objective.model();
    let (c, classes, loss) = (model.outputs(), model.classes(), model.spec().loss);
    // Random numbers of a draw: one for each position with a label, or for each output.
    let each = if loss == Loss::CrossEntropy { c / classes } else { c };
    let mut numbers = vec![0.0; draws * each];
    let mut scores = Vec::with_capacity(objective.samples() * draws * c);
    let mut sample = 0;
    for s in 0..objective.shards() {
        for outputs in objective.shard(s).0.value(model.logits()).chunks_exact(c) {
            let outputs: Vec<f64> = outputs.iter().map(|o| o.to_f64()).collect();
            match loss {
                Loss::Mse => gaussian(seed, sample, &mut numbers),
                Loss::CrossEntropy | Loss::Bce => uniform(seed, sample, &mut numbers),
            }
            for numbers in numbers.chunks_exact(each) {
                match loss {
                    Loss::CrossEntropy => {
                        let scale = (each as f64).sqrt().recip();
                        for (o, &u) in outputs.chunks_exact(classes).zip(numbers) {
                            categorical(o, u, scale, &mut scores);
                        }
                    }
                    Loss::Bce => {
                        let scale = (c as f64).sqrt().recip();
                        let score = |(o, u): (&f64, &f64)| {
                            // The smaller tail keeps its digits.
                            let tail = (-o.abs()).exp() / (1.0 + (-o.abs()).exp());
                            let (yes, no) = if *o > 0.0 { (1.0 - tail, tail) } else { (tail, 1.0 - tail) };
                            scale * if *u < yes { -no } else { yes }
                        };
                        scores.extend(outputs.iter().zip(numbers).map(score));
                    }
                    Loss::Mse => scores.extend(numbers.iter().map(|z| (2.0 / c as f64).sqrt() * z)),
                }
            }
            sample += 1;
        }
    }
    scores
}

/// scale · (softmax(o) − e_t), t the class that the number u in [0, 1) falls on.
fn categorical(o: &[f64], u: f64, scale: f64, scores: &mut Vec<f64>) {
    let top = o.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = o.iter().map(|o| (o - top).exp()).collect();
    let sum: f64 = e.iter().sum();
    let mut below = 0.0;
    let reached = e.iter().position(|e| {
        below += e / sum;
        u < below
    });
    // Rounding may leave the sum of all a hair below 1.
    let class = reached.unwrap_or_else(|| e.iter().rposition(|&e| e > 0.0).unwrap_or(0));
    for (i, e_i) in e.iter().enumerate() {
        // 1 − p as the sum of the others: a difference would lose the digits of a confident output.
        let others = || e.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, e)| e).sum::<f64>();
        scores.push(scale * if i == class { -others() / sum } else { e_i / sum });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_drawn_where_the_number_falls_and_scores_keep_their_digits() {
        let draw = |o: &[f64], u: f64| {
            let mut scores = Vec::new();
            categorical(o, u, 2.0, &mut scores);
            scores
        };
        let o = [0.0, 3f64.ln(), 0.0];
        for (u, want) in [(0.19, [-1.6, 1.2, 0.4]), (0.21, [0.4, -0.8, 0.4]), (0.81, [0.4, 1.2, -1.6])] {
            assert!(draw(&o, u).iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-15), "{u}: {:?}", draw(&o, u));
        }
        // A sum that ends below 1, and a class that has underflowed.
        assert_eq!(draw(&[0.0, -1e4], 1.0), [0.0, 0.0]);
        let confident = draw(&[50.0, 0.0], 0.5);
        assert!((confident[0] / (-2.0 * (-50f64).exp()) - 1.0).abs() < 1e-15, "{confident:?}");
    }
}
