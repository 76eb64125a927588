//! What do all eigenvalues of a dense symmetric matrix cost, beside faer's and beside matrix products of 4/3 n³ operations?

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use eigenlens_benches::compare;
use eigenlens_linalg::dense::eigenvalues;
use eigenlens_linalg::{Par, View, Write, gemm};
use faer::{MatRef, Side};

/// A symmetric matrix with entries in (−1, 1) that look random.
fn matrix(n: usize) -> Vec<f64> {
    let mut state = 1u64;
    let mut a = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let x = (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
            (a[i * n + j], a[j * n + i]) = (x, x);
        }
    }
    a
}

fn spectra(c: &mut Criterion) {
    let threads = rayon::current_num_threads();
    let par = if threads > 1 { Par::rayon(threads) } else { Par::Seq };
    for n in [500, 1000, 2000, 4000] {
        let a = matrix(n);
        let columns = 2 * n / 3;
        let mut product = vec![0.0; n * columns];
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let times = compare(
            &format!("all eigenvalues, n = {n}, f64, {threads} threads"),
            if n < 4000 { 5 } else { 2 },
            vec![
                (
                    "matrix products of 4/3 n³ flops",
                    Box::new(|| {
                        let b = View::new(&a[..n * columns], n, columns);
                        gemm(&mut product, Write::Set, 1.0, View::new(&a, n, n), b, par);
                    }),
                ),
                ("ours", Box::new(|| ours = eigenvalues(n, &a).expect("the matrix is finite"))),
                (
                    "faer",
                    Box::new(|| {
                        let a = MatRef::from_row_major_slice(&a, n, n);
                        theirs = a.self_adjoint_eigenvalues(Side::Lower).expect("the matrix is finite");
                    }),
                ),
            ],
        );
        println!("  faer / ours                        {:>6.2}", times[2] / times[1]);
        let norm = ours[0].abs().max(ours[n - 1].abs());
        let apart = ours.iter().zip(&theirs).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        println!("  largest difference / norm          {:>9.1e}", apart / norm);
    }
    let a = matrix(500);
    let mut group = c.benchmark_group("eigvals");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("ours/500", |b| b.iter(|| eigenvalues(500, &a).expect("the matrix is finite")));
    group.finish();
}

criterion_group!(benches, spectra);
criterion_main!(benches);
