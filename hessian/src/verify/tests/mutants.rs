//! Seeded defects, most of them found in published tools: each must be rejected by the row that is there for it.

use std::sync::Arc;

use eigenlens_linalg::quadrature::Quadrature;
use eigenlens_linalg::tridiagonal::Tridiagonal;
use eigenlens_linalg::{LinearOperator, Stop};
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::{Objective, Samples};

use super::super::subject::{Part, Products, Run, uneven};
use super::*;
use crate::operator::Block;

type Defect = for<'s> fn(Subject<'s>) -> Subject<'s>;

/// y ← wrong(x) for one column, given the sound products.
type Wrong = fn(&Products<'_>, &Model<f64>, Part, Kind, &[f64]) -> Vec<f64>;

/// Replaces all products, also those of the Taylor tests (which ask for them at the subject's θ only).
fn products<'s>(mut s: Subject<'s>, wrong: Wrong) -> Subject<'s> {
    let (sound, model): (Arc<Products<'s>>, _) = (Arc::from(s.product), s.model);
    let all = move |part, kind, k: usize, x: &[f64]| -> Vec<f64> {
        x.chunks_exact(x.len() / k).flat_map(|x| wrong(&*sound, model, part, kind, x)).collect()
    };
    let all: Arc<Products<'s>> = Arc::new(all);
    let again = all.clone();
    s.hvp = Box::new(move |_, v| again(Part::Whole, Kind::Hessian, 1, v));
    s.product = Box::new(move |part, kind, k, x| all(part, kind, k, x));
    s
}

/// Replaces what is computed from batches: each batch has a mean loss of its own, and they are put together with these
/// weights (index and number of batches, share of the samples).
fn batches<'s>(mut s: Subject<'s>, weight: fn(usize, usize, f64) -> f64) -> Subject<'s> {
    let (model, all) = (s.model, s.samples);
    let rows = uneven(all.n);
    let (features, targets) = (model.features(), all.y.len() / all.n);
    let cut: Vec<Samples> = (0..all.n)
        .step_by(rows)
        .map(|at| {
            let n = rows.min(all.n - at);
            Samples {
                n,
                x: all.x[at * features..(at + n) * features].to_vec(),
                y: all.y[at * targets..(at + n) * targets].to_vec(),
                w: Vec::new(),
            }
        })
        .collect();
    let (count, total) = (cut.len(), all.n);
    let sum = Arc::new(move |theta: &[f64], part: &dyn Fn(&Objective<'_, f64>) -> Vec<f64>| -> Vec<f64> {
        let mut out = Vec::new();
        for (i, batch) in cut.iter().enumerate() {
            let order = eigenlens_autodiff::Order::Second;
            let mut o = Objective::new(model, batch, Reduction::Mean, order, Cut::default()).unwrap();
            o.linearize_with_gradient(theta);
            let own = part(&o);
            out.resize(own.len(), 0.0);
            let w = weight(i, count, batch.n as f64 / total as f64);
            out.iter_mut().zip(&own).for_each(|(y, x)| *y += w * x);
        }
        out
    });
    let whole = |kind: Kind, v: Vec<f64>| {
        move |o: &Objective<'_, f64>| {
            let mut y = vec![0.0; v.len()];
            Block::full(o, kind).multiply(1, &v, &mut y);
            y
        }
    };
    let (a, b, c, d) = (sum.clone(), sum.clone(), sum.clone(), sum);
    let (theta, sound) = (s.theta, s.product);
    s.loss = Box::new(move |theta| a(theta, &|o| vec![o.loss()])[0]);
    s.gradient = Box::new(move |theta| b(theta, &|o| o.gradient().to_vec()));
    s.hvp = Box::new(move |theta, v| c(theta, &whole(Kind::Hessian, v.to_vec())));
    s.product = Box::new(move |part, kind, k, x| match part {
        Part::Layer(_) => sound(part, kind, k, x),
        Part::Whole => x.chunks_exact(x.len() / k).flat_map(|x| d(theta, &whole(kind, x.to_vec()))).collect(),
    });
    s
}

/// How a Lanczos iteration can go wrong.
#[derive(Clone, Copy)]
struct Bad {
    /// Added to every norm that is divided by (PyHessian, LLA).
    shift: f64,
    /// Lower bound of the norms that are divided by (zyushun), instead of stopping.
    floor: f64,
    /// Whether the basis is kept orthogonal.
    orthogonal: bool,
}

fn bad_lanczos(a: &dyn LinearOperator, start: &[f64], steps: usize, bad: Bad) -> Run {
    let divide = |v: &[f64]| -> Vec<f64> {
        let length = norm(v).max(bad.floor) + bad.shift;
        v.iter().map(|x| x / length).collect()
    };
    let mut basis = vec![divide(start)];
    let (mut alpha, mut beta) = (Vec::new(), Vec::new());
    let mut stop = Stop::MaxSteps;
    for k in 0..steps.min(a.dim()) {
        let mut w = vec![0.0; a.dim()];
        a.apply(1, &basis[k], &mut w);
        alpha.push(dot(&w, &basis[k]));
        let from = if bad.orthogonal { 0 } else { k.saturating_sub(1) };
        for _ in 0..2 {
            for v in &basis[from..=k] {
                let c = dot(&w, v);
                w.iter_mut().zip(v).for_each(|(w, v)| *w -= c * v);
            }
        }
        if bad.floor == 0.0 && norm(&w) <= 1e-13 * alpha[0].abs() {
            stop = Stop::Invariant;
            break;
        }
        beta.push(norm(&w));
        basis.push(divide(&w));
    }
    let steps = alpha.len();
    beta.truncate(steps.saturating_sub(1));
    let rule = Quadrature::gauss(&Tridiagonal::new(alpha, beta)).unwrap_or_default();
    Run { stop, steps, nodes: rule.nodes, weights: rule.weights }
}

/// A defect, what it does, and a row that must fail.
const DEFECTS: &[(&str, &str, Defect)] = &[
    ("the curvature of activations has the wrong sign", "order of F(θ+hv) - F - h g'v - ½h² v'Hv", |s| {
        products(s, |sound, _, part, kind, x| {
            let (h, g) = (sound(part, Kind::Hessian, 1, x), sound(part, Kind::GaussNewton, 1, x));
            if kind == Kind::GaussNewton { g } else { h.iter().zip(&g).map(|(h, g)| 2.0 * g - h).collect() }
        })
    }),
    ("the Gauss-Newton matrix passes for the Hessian", "Hv = differences of g", |s| {
        products(s, |sound, _, part, _, x| sound(part, Kind::GaussNewton, 1, x))
    }),
    ("the Hessian passes for the Gauss-Newton matrix", "v'Gv = Σ (Jv)' ℓ'' (Jv)", |s| {
        products(s, |sound, _, part, _, x| sound(part, Kind::Hessian, 1, x))
    }),
    ("the Hessian of the clone passes for its Gauss-Newton matrix", "G is positive semidefinite", |s| {
        products(s, |sound, _, part, _, x| sound(part, Kind::Hessian, 1, x))
    }),
    ("terms between layers are dropped", "Hv = differences of g", |s| {
        products(s, |sound, model, part, kind, x| match part {
            Part::Layer(_) => sound(part, kind, 1, x),
            Part::Whole => {
                let blocks = model.layers().iter().enumerate();
                blocks.flat_map(|(i, l)| sound(Part::Layer(i), kind, 1, &x[l.range.clone()])).collect()
            }
        })
    }),
    ("one entry is not symmetric", "u'Hv = v'Hu", |s| {
        products(s, |sound, _, part, kind, x| {
            let mut y = sound(part, kind, 1, x);
            y[0] += 1e-6 * x[1];
            y
        })
    }),
    ("one entry of the clone is not symmetric", "dense H is symmetric", |s| {
        products(s, |sound, _, part, kind, x| {
            let mut y = sound(part, kind, 1, x);
            y[0] += 1e-6 * x[1];
            y
        })
    }),
    ("the Hessian is a millionth too large", "Hv = differences of g", |s| {
        products(s, |sound, _, part, kind, x| sound(part, kind, 1, x).iter().map(|y| y * (1.0 + 1e-6)).collect())
    }),
    ("the Hessian is doubled", "order of g(θ+hv) - g - h Hv", |s| {
        products(s, |sound, _, part, kind, x| sound(part, kind, 1, x).iter().map(|y| 2.0 * y).collect())
    }),
    ("the Hessian is taken at the vector (HessFormer)", "H(2v - 3u) = 2Hv - 3Hu", |mut s| {
        let sound = s.hvp;
        s.hvp = Box::new(move |_, v| sound(v, v));
        s
    }),
    ("products are rounded to single precision", "Hv over batches = merged", |s| {
        products(s, |sound, _, part, kind, x| sound(part, kind, 1, x).iter().map(|&y| f64::from(y as f32)).collect())
    }),
    ("the gradient is a difference (hessian-eigenthings)", "gradient over batches = merged", |mut s| {
        let sound = s.gradient;
        s.gradient = Box::new(move |theta| sound(theta).iter().map(|g| g * (1.0 + 1e-10)).collect());
        s
    }),
    ("one product in three is NaN", "lanes = single products", |mut s| {
        let sound = s.product;
        s.product = Box::new(move |part, kind, k, x| {
            let mut y = sound(part, kind, k, x);
            if k == 3 {
                y[0] = f64::NAN;
            }
            y
        });
        s
    }),
    ("lanes share the first direction", "lanes = single products", |mut s| {
        let sound = s.product;
        s.product = Box::new(move |part, kind, k, x| {
            let p = x.len() / k;
            (0..k).flat_map(|_| sound(part, kind, 1, &x[..p])).collect()
        });
        s
    }),
    ("batches have equal weights (hessian-eigenthings)", "Hv over batches = merged", |s| {
        batches(s, |_, count, _| 1.0 / count as f64)
    }),
    ("batches have equal weights, in the loss", "loss over batches = merged", |s| {
        batches(s, |_, count, _| 1.0 / count as f64)
    }),
    ("batches are added up (zyushun)", "gradient over batches = merged", |s| batches(s, |_, _, _| 1.0)),
    ("twice the last batch (ASDL)", "Hv over batches = merged", |s| {
        batches(s, |i, count, _| if i + 1 == count { 2.0 } else { 0.0 })
    }),
    ("weight and bias of a block are exchanged", "block product = block of the whole", |s| {
        products(s, |sound, model, part, kind, x| match part {
            Part::Whole => sound(part, kind, 1, x),
            Part::Layer(index) => {
                let bias = model.layers()[index].outputs;
                let (mut x, len) = (x.to_vec(), x.len());
                x.rotate_left(bias % len);
                let mut y = sound(part, kind, 1, &x);
                y.rotate_right(bias % len);
                y
            }
        })
    }),
    ("a block leaves a diagonal entry out", "Σ tr H_ll = tr H", |s| {
        products(s, |sound, _, part, kind, x| {
            let mut y = sound(part, kind, 1, x);
            if part == Part::Layer(0) {
                y[2] -= 0.01 * x[2];
            }
            y
        })
    }),
    (
        "the factors of a Kronecker block are in the wrong order (curvlinops)",
        "Kronecker block = block of the whole",
        |s| {
            assembled(s, |model, index, block| {
                let l = &model.layers()[index];
                let (p, out, width) = (l.len(), l.outputs, l.inputs);
                let place = |i: usize| if i < out * width { i % width * out + i / width } else { i };
                (0..p * p).map(|at| block[place(at / p) * p + place(at % p)]).collect()
            })
        },
    ),
    ("a Kronecker block is doubled (curvlinops)", "Kronecker block = block of the whole", |s| {
        assembled(s, |_, _, block| block.iter().map(|x| 2.0 * x).collect())
    }),
    ("outputs are taken for independent", "block product = Σ M ⊗ zz'", |mut s| {
        let (sound, model) = (s.curvature, s.model);
        s.curvature = Box::new(move |index, kind| {
            let (mut m, out) = (sound(index, kind), model.layers()[index].outputs);
            for sample in m.chunks_exact_mut(out * (out + 1) / 2) {
                let mut entries = sample.iter_mut();
                for i in 0..out {
                    for (j, x) in (i..out).zip(&mut entries) {
                        *x *= f64::from(u8::from(i == j));
                    }
                }
            }
            m
        });
        s
    }),
    ("the curvature of the loss is that of another", "∂²ℓ/∂o² = its closed form", |mut s| {
        let sound = s.curvature;
        s.curvature = Box::new(move |index, kind| sound(index, kind).iter().map(|m| 0.5 * m).collect());
        s
    }),
    ("norms have 1e-6 added (PyHessian)", "H(cL) = c H", |mut s| {
        let bad = Bad { shift: 1e-6, floor: 0.0, orthogonal: true };
        s.lanczos = Box::new(move |a, start, steps| bad_lanczos(a, start, steps, bad));
        s
    }),
    ("norms are at least 1e-8 (zyushun)", "Lanczos ends on the identity", |mut s| {
        let bad = Bad { shift: 0.0, floor: 1e-8, orthogonal: true };
        s.lanczos = Box::new(move |a, start, steps| bad_lanczos(a, start, steps, bad));
        s
    }),
    ("the Lanczos basis is not kept orthogonal (curvlinops)", "no ghost eigenvalues", |mut s| {
        let bad = Bad { shift: 0.0, floor: 0.0, orthogonal: false };
        s.lanczos = Box::new(move |a, start, steps| bad_lanczos(a, start, steps, bad));
        s
    }),
];

/// Replaces Kronecker assembly.
fn assembled<'s>(mut s: Subject<'s>, wrong: fn(&Model<f64>, usize, &[f64]) -> Vec<f64>) -> Subject<'s> {
    let (sound, model) = (s.assemble, s.model);
    s.assemble = Box::new(move |index, kind| wrong(model, index, &sound(index, kind)));
    s
}

fn failures(model: &Model<f64>, data: &Samples, defect: Defect) -> Vec<&'static str> {
    let report = verify_with(model, &model.init(3), data, &VerifyOptions::default(), &defect).unwrap();
    report.failures().map(|r| r.check).collect()
}

#[test]
fn every_defect_is_rejected_by_its_row() {
    let model = network(&[7, 8, 6, 4], Activation::Tanh, Loss::CrossEntropy);
    let data = samples(60, 7, 4, Loss::CrossEntropy);
    assert!(failures(&model, &data, |sound| sound).is_empty());
    for (what, row, defect) in DEFECTS {
        let failed = failures(&model, &data, *defect);
        assert!(failed.contains(row), "{what}: failed are {failed:?}");
    }
}

#[test]
fn on_a_network_with_convolutions_and_pools_they_are_rejected_as_well() {
    let model = networks::cnn(Loss::CrossEntropy);
    let data = samples(40, 36, 3, Loss::CrossEntropy);
    for (what, row, defect) in DEFECTS {
        let failed = failures(&model, &data, *defect);
        assert!(failed.contains(row), "{what}: failed are {failed:?}");
    }
}

#[test]
fn curvature_in_a_relu_block_is_rejected() {
    // Zero for a ReLU network: a product that adds a bit of it passes no check of ours but this (and the Taylor tests).
    let model = network(&[7, 8, 6, 4], Activation::Relu, Loss::CrossEntropy);
    let data = samples(60, 7, 4, Loss::CrossEntropy);
    let failed = failures(&model, &data, |s| {
        products(s, |sound, _, part, kind, x| {
            let mut y = sound(part, kind, 1, x);
            if kind == Kind::Hessian {
                y.iter_mut().zip(x).for_each(|(y, x)| *y -= 1e-6 * x);
            }
            y
        })
    });
    assert!(failed.contains(&"H block = G block"), "{failed:?}");
}

/// λ = 0.2 where there are weights.
fn masked(model: &Model<f64>, part: Part) -> Vec<f64> {
    let mut mask = vec![0.0; model.len()];
    model.weight_ranges().into_iter().for_each(|r| mask[r].fill(0.2));
    match part {
        Part::Whole => mask,
        Part::Layer(i) => mask[model.layers()[i].range.clone()].to_vec(),
    }
}

#[test]
fn a_penalty_that_is_forgotten_or_misplaced_is_rejected() {
    let mut spec = spec(&[7, 8, 6, 4], Activation::Tanh, Loss::Mse);
    spec.penalty = Some(Penalty { lambda: 0.2, scope: Scope::Weights });
    let model = Model::new(&spec).unwrap();
    let data = samples(60, 7, 4, Loss::Mse);
    let forgotten = failures(&model, &data, |s| {
        products(s, |sound, model, part, kind, x| {
            let y = sound(part, kind, 1, x);
            y.iter().zip(masked(model, part)).zip(x).map(|((y, m), x)| y - m * x).collect()
        })
    });
    assert!(forgotten.contains(&"Hv = differences of g"), "{forgotten:?}");
    let on_biases = failures(&model, &data, |s| {
        products(s, |sound, model, part, kind, x| {
            let y = sound(part, kind, 1, x);
            y.iter()
                .zip(masked(model, part))
                .zip(x)
                .map(|((y, m), x)| if m == 0.0 { y + 0.2 * x } else { *y })
                .collect()
        })
    });
    assert!(on_biases.contains(&"Hv over batches = merged"), "{on_biases:?}");
    let in_the_loss = failures(&model, &data, |mut s| {
        let sound = s.loss;
        s.loss = Box::new(move |theta| sound(theta) - 0.1 * dot(theta, theta));
        s
    });
    assert!(in_the_loss.contains(&"loss over batches = merged"), "{in_the_loss:?}");
}
