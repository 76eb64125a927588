//! The formulas. u, v are uniform on [0, 1), N standard normal; numbers are drawn row by row, a row's features left to right.
//!
//! | name | rows |
//! |---|---|
//! | `two_moons` | t = π i/(m−1): class 0 (cos t, sin t), class 1 (1 − cos t, ½ − sin t); + σN |
//! | `circles` | t = 2π i/m: class 0 (cos t, sin t), class 1 `factor` times that; + σN |
//! | `two_spirals` | 97 points per arm, radius 6.5 (104−i)/104, angle iπ/16 (Lang & Witbrock 1988); + σN |
//! | `spirals` | arm j of k: radius t = (i+1)/m, angle 2π (`turns` t + j/k) + σN |
//! | `blobs` | k centres uniform in [−box, box]ᵈ; + σN |
//! | `xor` | x uniform in [−1, 1]ᵈ, class \[x₁x₂ < 0\], flipped with probability `flip` |
//! | `parity` | x in {−1, 1}ᵈ, class: parity of the number of −1 among the first k |
//! | `checkerboard` | (p, q) uniform in [0, m)², class (⌊p⌋ + ⌊q⌋) mod 2 |
//! | `hypercube` | clusters z A + vertex, redundant columns x B, noise columns (Madelon, Guyon 2003) |
//! | `twonorm`, `threenorm`, `ringnorm` | Gaussians about ±a, about ±a and between, about 0 and a (Breiman 1996), a = 2/√d |
//! | `waveform` | u h₁ + (1 − u) h₂ + N of two of three triangles (Breiman et al. 1984) |
//! | `gauss_random_labels` | N(0, I) with labels that have nothing to do with it (Zhang et al. 2017) |
//! | `teacher_classification`, `teacher_regression` | N(0, I) through W₂ tanh(2(W₁x + b₁)) + b₂ |
//! | `friedman1`, `friedman2`, `friedman3` | Friedman 1991; + σN |
//! | `swiss_roll`, `s_curve` | points of a rolled sheet, target: the place along it; + σN |
//! | `linear_gauss` | wᵀx + σN |
//! | `chirp` | sin(4πx²) + σN |

use std::f64::consts::PI;

use super::Arguments;
use super::random::Random;
use crate::data::error::DataError;

/// Inputs row by row, and the target of each: a class as a number, or a value.
pub struct Rows {
    pub x: Vec<Vec<f64>>,
    pub y: Vec<f64>,
}

type Generator = fn(&Arguments<'_>) -> Result<Rows, DataError>;

/// Every generator by its full name in the manifest.
pub const GENERATORS: &[(&str, Generator)] = &[
    ("two_moons", two_moons),
    ("circles", circles),
    ("two_spirals", two_spirals),
    ("spirals", spirals),
    ("blobs", blobs),
    ("xor", xor),
    ("parity", parity),
    ("checkerboard", checkerboard),
    ("hypercube", hypercube),
    ("twonorm", twonorm),
    ("threenorm", threenorm),
    ("ringnorm", ringnorm),
    ("waveform", waveform),
    ("gauss_random_labels", random_labels),
    ("teacher_classification", teacher_classification),
    ("teacher_regression", teacher_regression),
    ("friedman1", friedman1),
    ("friedman2", friedman2),
    ("friedman3", friedman3),
    ("swiss_roll", swiss_roll),
    ("s_curve", s_curve),
    ("linear_gauss", linear_gauss),
    ("chirp", chirp),
];

fn random(a: &Arguments<'_>) -> Random {
    Random::new(a.count("seed") as u64)
}

/// `n` rows and their targets, one after the other.
fn each(n: usize, row: impl FnMut(usize) -> (Vec<f64>, f64)) -> Result<Rows, DataError> {
    let (x, y) = (0..n).map(row).unzip();
    Ok(Rows { x, y })
}

/// `n` rows of which the targets are drawn after all inputs.
fn inputs_first(
    random: &mut Random,
    n: usize,
    row: impl Fn(&mut Random) -> Vec<f64>,
    target: impl Fn(&mut Random, &[f64]) -> f64,
) -> Result<Rows, DataError> {
    let x: Vec<Vec<f64>> = (0..n).map(|_| row(random)).collect();
    let y = x.iter().map(|r| target(random, r)).collect();
    Ok(Rows { x, y })
}

/// σN on every input, drawn after all rows; nothing is drawn for σ = 0.
fn noise(random: &mut Random, sigma: f64, mut rows: Rows) -> Result<Rows, DataError> {
    if sigma > 0.0 {
        rows.x.iter_mut().flatten().for_each(|v| *v += sigma * random.normal());
    }
    Ok(rows)
}

/// The same curve for two classes: `place(i, of how many, class)`.
fn two_curves(a: &Arguments<'_>, place: impl Fn(f64, f64, usize) -> Vec<f64>) -> Result<Rows, DataError> {
    let n = a.count("n");
    let half = n / 2;
    let rows = each(n, |i| {
        let (i, of, class) = if i < half { (i, half, 0) } else { (i - half, n - half, 1) };
        (place(i as f64, of as f64, class), class as f64)
    })?;
    noise(&mut random(a), a.number("sigma"), rows)
}

fn two_moons(a: &Arguments<'_>) -> Result<Rows, DataError> {
    two_curves(a, |i, of, class| {
        let t = PI * i / (of - 1.0);
        if class == 0 { vec![t.cos(), t.sin()] } else { vec![1.0 - t.cos(), 0.5 - t.sin()] }
    })
}

fn circles(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let radii = [1.0, a.number("factor")];
    two_curves(a, |i, of, class| {
        let t = 2.0 * PI * i / of;
        vec![radii[class] * t.cos(), radii[class] * t.sin()]
    })
}

/// Points on each arm of the two spirals.
const ARM: usize = 97;

fn two_spirals(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let rows = each(2 * ARM, |i| {
        let (class, i) = ((i % 2) as f64, (i / 2) as f64);
        let (r, t) = ((1.0 - 2.0 * class) * 6.5 * (104.0 - i) / 104.0, i * PI / 16.0);
        (vec![r * t.sin(), r * t.cos()], class)
    })?;
    noise(&mut random(a), a.number("sigma"), rows)
}

fn spirals(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (k, turns, sigma) = (a.count("k"), a.number("turns"), a.number("sigma"));
    let per_arm = a.count("n") / k;
    a.require(k >= 2 && per_arm >= 2, "k of at least 2 and 2 points on every arm")?;
    let mut random = random(a);
    each(k * per_arm, |row| {
        let (j, t) = (row / per_arm, (row % per_arm + 1) as f64 / per_arm as f64);
        let angle = 2.0 * PI * (turns * t + j as f64 / k as f64) + sigma * random.normal();
        (vec![t * angle.cos(), t * angle.sin()], j as f64)
    })
}

fn blobs(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (n, k, d, sigma, size) = (a.count("n"), a.count("k"), a.count("d"), a.number("sigma"), a.number("box"));
    a.require(k >= 2 && n >= k, "k of at least 2 and n of at least k")?;
    let mut random = random(a);
    let centres: Vec<Vec<f64>> = (0..k).map(|_| (0..d).map(|_| random.between(-size, size)).collect()).collect();
    each(n, |i| (centres[i % k].iter().map(|c| c + sigma * random.normal()).collect(), (i % k) as f64))
}

fn xor(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (d, flip, mut random) = (a.count("d"), a.number("flip"), random(a));
    a.require(d >= 2, "d of at least 2")?;
    each(a.count("n"), |_| {
        let x: Vec<f64> = (0..d).map(|_| random.between(-1.0, 1.0)).collect();
        let class = x[0] * x[1] < 0.0;
        let flipped = flip > 0.0 && random.unit() < flip;
        (x, f64::from(class != flipped))
    })
}

fn parity(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (d, k, mut random) = (a.count("d"), a.count("k"), random(a));
    a.require(k <= d, "k of at most d")?;
    each(a.count("n"), |_| {
        let x: Vec<f64> = (0..d).map(|_| random.sign()).collect();
        let odd = x[..k].iter().filter(|v| **v < 0.0).count() % 2;
        (x, odd as f64)
    })
}

fn checkerboard(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (m, mut random) = (a.count("m") as f64, random(a));
    a.require(m >= 2.0, "m of at least 2")?;
    each(a.count("n"), |_| {
        let (p, q) = (random.between(0.0, m), random.between(0.0, m));
        (vec![2.0 * p / m - 1.0, 2.0 * q / m - 1.0], (p.floor() + q.floor()) % 2.0)
    })
}

/// A matrix of so many rows and columns, uniform in [−1, 1).
fn uniform(random: &mut Random, rows: usize, columns: usize) -> Vec<Vec<f64>> {
    (0..rows).map(|_| (0..columns).map(|_| random.between(-1.0, 1.0)).collect()).collect()
}

/// vᵀ M, with columns of M that start at `start`.
fn times(v: &[f64], m: &[Vec<f64>], columns: usize, start: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..columns).map(|q| v.iter().zip(m).map(|(x, row)| x * row[q]).sum::<f64>() + start(q)).collect()
}

fn hypercube(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (d, informative, redundant) = (a.count("d"), a.count("informative"), a.count("redundant"));
    let (classes, sep, flip) = (a.count("classes"), a.number("sep"), a.number("flip"));
    let clusters = classes * a.count("clusters");
    a.require(informative + redundant <= d, "informative + redundant of at most d")?;
    a.require(clusters <= 1 << informative, "a hypercube with as many vertices as there are clusters in all")?;
    a.require(a.count("n") >= clusters, "a row for every cluster")?;
    let mut random = random(a);
    // Bit q of a vertex's number is the sign of its coordinate q.
    let mut vertices: Vec<usize> = (0..1 << informative).collect();
    for i in (1..vertices.len()).rev() {
        vertices.swap(i, random.below(i + 1));
    }
    let maps: Vec<_> = (0..clusters).map(|_| uniform(&mut random, informative, informative)).collect();
    let mix = uniform(&mut random, informative, redundant);
    each(a.count("n"), |i| {
        let c = i % clusters;
        let z = random.normals(informative);
        let centre = |q: usize| if vertices[c] >> q & 1 == 1 { sep } else { -sep };
        let mut x = times(&z, &maps[c], informative, centre);
        x.extend(times(&x, &mix, redundant, |_| 0.0));
        x.extend(random.normals(d - informative - redundant));
        let class = if random.unit() < flip { random.below(classes) } else { c % classes };
        (x, class as f64)
    })
}

/// Two classes in turn, each row its class's centre and spread from `shape(class, random, column)`.
fn gaussians(a: &Arguments<'_>, shape: impl Fn(&mut Random, usize) -> (Vec<f64>, f64)) -> Result<Rows, DataError> {
    let mut random = random(a);
    each(a.count("n"), |i| {
        let (centre, spread) = shape(&mut random, i % 2);
        (centre.iter().map(|c| c + spread * random.normal()).collect(), (i % 2) as f64)
    })
}

/// The distance of Breiman's centres from 0 in each of d coordinates.
fn breiman(d: usize) -> f64 {
    2.0 / (d as f64).sqrt()
}

fn twonorm(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let d = a.count("d");
    gaussians(a, |_, class| (vec![if class == 0 { breiman(d) } else { -breiman(d) }; d], 1.0))
}

fn threenorm(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let d = a.count("d");
    gaussians(a, |random, class| {
        let sign = random.sign();
        let one = |q: usize| if class == 0 { sign } else { 1.0 - 2.0 * (q % 2) as f64 };
        ((0..d).map(|q| one(q) * breiman(d)).collect(), 1.0)
    })
}

fn ringnorm(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let d = a.count("d");
    gaussians(a, |_, class| if class == 0 { (vec![0.0; d], 2.0) } else { (vec![breiman(d); d], 1.0) })
}

fn waveform(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let mut random = random(a);
    let triangle = |peak: f64, j: f64| (6.0 - (j - peak).abs()).max(0.0);
    let peaks = [(11.0, 15.0), (11.0, 7.0), (15.0, 7.0)];
    each(a.count("n"), |i| {
        let ((p, q), t) = (peaks[i % 3], random.unit());
        let at = |j: f64| t * triangle(p, j) + (1.0 - t) * triangle(q, j);
        ((1..=21).map(|j| at(f64::from(j)) + random.normal()).collect(), (i % 3) as f64)
    })
}

fn random_labels(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (d, k) = (a.count("d"), a.count("k"));
    a.require(k >= 2, "k of at least 2")?;
    inputs_first(&mut random(a), a.count("n"), |r| r.normals(d), |r, _| r.below(k) as f64)
}

/// W₂ tanh(2(W₁x + b₁)) + b₂, entries of W from N(0, 1/fan-in), of b from N(0, ¼).
struct Teacher([(Vec<Vec<f64>>, Vec<f64>); 2]);

impl Teacher {
    fn new(random: &mut Random, inputs: usize, hidden: usize, outputs: usize) -> Self {
        let mut layer = |inputs: usize, outputs: usize| {
            let scale = (inputs as f64).sqrt();
            let w = (0..outputs).map(|_| random.normals(inputs).iter().map(|v| v / scale).collect()).collect();
            (w, random.normals(outputs).iter().map(|v| 0.5 * v).collect())
        };
        Self([layer(inputs, hidden), layer(hidden, outputs)])
    }

    fn outputs(&self, x: &[f64]) -> Vec<f64> {
        let affine = |(w, b): &(Vec<Vec<f64>>, Vec<f64>), x: &[f64]| -> Vec<f64> {
            w.iter().zip(b).map(|(row, c)| row.iter().zip(x).map(|(p, q)| p * q).sum::<f64>() + c).collect()
        };
        let hidden: Vec<f64> = affine(&self.0[0], x).iter().map(|t| (2.0 * t).tanh()).collect();
        affine(&self.0[1], &hidden)
    }
}

fn teacher_classification(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (n, d, k, mut random) = (a.count("n"), a.count("d"), a.count("k"), random(a));
    a.require(k >= 2, "k of at least 2")?;
    let teacher = Teacher::new(&mut random, d, a.count("hidden"), k);
    let x: Vec<Vec<f64>> = (0..n).map(|_| random.normals(d)).collect();
    let outputs: Vec<Vec<f64>> = x.iter().map(|r| teacher.outputs(r)).collect();
    // Less their means, so that no class is empty.
    let mean: Vec<f64> = (0..k).map(|j| outputs.iter().map(|o| o[j]).sum::<f64>() / n as f64).collect();
    let above = |o: &[f64], j: usize| o[j] - mean[j];
    let best = |o: &Vec<f64>| (1..k).fold(0, |best, j| if above(o, j) > above(o, best) { j } else { best }) as f64;
    let y = outputs.iter().map(best).collect();
    Ok(Rows { x, y })
}

fn teacher_regression(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (d, sigma, mut random) = (a.count("d"), a.number("sigma"), random(a));
    let teacher = Teacher::new(&mut random, d, a.count("hidden"), 1);
    let noise = |r: &mut Random| if sigma > 0.0 { sigma * r.normal() } else { 0.0 };
    inputs_first(&mut random, a.count("n"), |r| r.normals(d), |r, x| teacher.outputs(x)[0] + noise(r))
}

fn friedman1(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (d, sigma) = (a.count("d"), a.number("sigma"));
    a.require(d >= 5, "d of at least 5")?;
    let value = |x: &[f64]| 10.0 * (PI * x[0] * x[1]).sin() + 20.0 * (x[2] - 0.5).powi(2) + 10.0 * x[3] + 5.0 * x[4];
    let row = |r: &mut Random| (0..d).map(|_| r.unit()).collect();
    inputs_first(&mut random(a), a.count("n"), row, |r, x| value(x) + sigma * r.normal())
}

/// The circuit of Friedman's second and third function: resistance, frequency, inductance, capacitance.
fn circuit(a: &Arguments<'_>, value: impl Fn(f64, f64) -> f64) -> Result<Rows, DataError> {
    let sigma = a.number("sigma");
    let row = |r: &mut Random| {
        vec![r.between(0.0, 100.0), r.between(40.0 * PI, 560.0 * PI), r.between(0.0, 1.0), r.between(1.0, 11.0)]
    };
    inputs_first(&mut random(a), a.count("n"), row, |r, x| {
        let reactance = x[1] * x[2] - 1.0 / (x[1] * x[3]);
        value(x[0], reactance) + sigma * r.normal()
    })
}

fn friedman2(a: &Arguments<'_>) -> Result<Rows, DataError> {
    circuit(a, |resistance, reactance| (resistance * resistance + reactance * reactance).sqrt())
}

fn friedman3(a: &Arguments<'_>) -> Result<Rows, DataError> {
    circuit(a, |resistance, reactance| (reactance / resistance).atan())
}

fn swiss_roll(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let mut random = random(a);
    let rows = each(a.count("n"), |_| {
        let (t, height) = (1.5 * PI * (1.0 + 2.0 * random.unit()), 21.0 * random.unit());
        (vec![t * t.cos(), height, t * t.sin()], t)
    })?;
    noise(&mut random, a.number("sigma"), rows)
}

fn s_curve(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let mut random = random(a);
    let rows = each(a.count("n"), |_| {
        let (t, height) = (3.0 * PI * (random.unit() - 0.5), 2.0 * random.unit());
        (vec![t.sin(), height, 1f64.copysign(t) * (t.cos() - 1.0)], t)
    })?;
    noise(&mut random, a.number("sigma"), rows)
}

fn linear_gauss(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let (d, sigma, mut random) = (a.count("d"), a.number("sigma"), random(a));
    let w = random.normals(d);
    let value = |x: &[f64]| x.iter().zip(&w).map(|(p, q)| p * q).sum::<f64>();
    inputs_first(&mut random, a.count("n"), |r| r.normals(d), |r, x| value(x) + sigma * r.normal())
}

fn chirp(a: &Arguments<'_>) -> Result<Rows, DataError> {
    let sigma = a.number("sigma");
    let value = |x: &[f64]| (4.0 * PI * x[0] * x[0]).sin();
    inputs_first(&mut random(a), a.count("n"), |r| vec![r.unit()], |r, x| value(x) + sigma * r.normal())
}
