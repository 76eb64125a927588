//! Tests of the eigensolver: the edge operators, multiplicities, clusters, and what the reported evidence is worth.

use super::*;
use crate::lanczos::testing::*;
use crate::probes::Distribution;
use proptest::prelude::*;

use crate::testing::config;

const EPS: f64 = f64::EPSILON;

/// k pairs at an end without the dense way out, so that Krylov runs at any n.
fn krylov(k: usize, end: End) -> Options {
    Options { dense_up_to: 0, ..Options::new(k, end) }
}

/// Ends of a spectrum, as `Eigs::values` orders them.
fn want(mut spectrum: Vec<f64>, k: usize, end: End) -> Vec<f64> {
    spectrum.sort_by(|x, y| y.total_cmp(x));
    let n = spectrum.len();
    match end {
        End::Largest => spectrum[..k.min(n)].to_vec(),
        End::Smallest => spectrum[n - k.min(n)..].to_vec(),
        End::Both if 2 * k >= n => spectrum,
        End::Both => [&spectrum[..k], &spectrum[n - k..]].concat(),
    }
}

/// Checks values against the known spectrum, and the evidence against a product made here.
#[track_caller]
fn verify(a: &dyn LinearOperator, spectrum: &[f64], k: usize, end: End, found: &Eigs, tol: f64) {
    let n = a.dim();
    let scale = spectrum.iter().fold(0.0, |s: f64, x| s.max(x.abs()));
    let want = want(spectrum.to_vec(), k, end);
    assert_eq!(found.stop, Stop::Converged, "{:?} {:?}", found.values, found.residuals);
    assert_eq!(found.values.len(), want.len());
    assert_eq!(found.vectors.len(), want.len() * n);
    for (i, (x, y)) in found.values.iter().zip(&want).enumerate() {
        assert!((x - y).abs() <= tol * scale, "{i}: {x:e} {y:e} of {:?}, wanted {want:?}", found.values);
        let (low, high) = found.interval(i);
        assert!(low <= *y && *y <= high, "{i}: {y:e} outside {low:e} .. {high:e}");
        let gap = spectrum
            .iter()
            .filter(|l| (*l - y).abs() > 1e-12 * scale)
            .map(|l| (l - x).abs())
            .fold(f64::INFINITY, f64::min);
        assert!(found.gap(i).is_none_or(|g| g <= gap * (1.0 + 1e-12)), "{i}: a gap of {:?} for {gap:e}", found.gap(i));
        let mut r = vec![0.0; n];
        a.apply(1, found.vector(i), &mut r);
        r.iter_mut().zip(found.vector(i)).for_each(|(r, v)| *r -= x * v);
        assert!((norm2(&r) - found.residuals[i]).abs() <= 1e-13 * scale);
    }
    assert!(found.orthogonality <= 1e-13, "{:e}", found.orthogonality);
    assert!(found.scale <= scale * (1.0 + 1e-12));
}

/// Runs all three ends and verifies them.
#[track_caller]
fn solve(spectrum: Vec<f64>, k: usize) {
    let a = Prescribed::new(spectrum, 23);
    for end in [End::Largest, End::Smallest, End::Both] {
        let before = a.products();
        let found = eigs(&a, &krylov(k, end));
        assert_eq!(found.products, a.products() - before);
        assert_eq!(found.checks, 1);
        verify(&a, &a.spectrum, k, end, &found, 1e-12);
    }
}

#[test]
fn a_spread_spectrum_at_n_10_and_300() {
    solve((0..10).map(|i| f64::from(i) - 3.0).collect(), 2);
    solve((0..300).map(|i| (f64::from(i) * 0.37).sin() * f64::from(i)).collect(), 5);
}

/// D4, D7: nine outliers and a bulk.
#[test]
fn d4_d7_nine_outliers_are_nine_pairs() {
    let a = outliers_and_bulk(1000);
    let found = eigs(&a, &Options::new(9, End::Largest));
    verify(&a, &a.spectrum, 9, End::Largest, &found, 1e-13);
    assert!(found.residuals.iter().all(|r| *r <= 1e-9));
    assert!(found.products < 150, "{}", found.products);
}

/// D1: the scale changes nothing but the scale; powers of two to the last bit.
#[test]
fn d1_a_scaled_operator_has_scaled_eigenvalues() {
    let a = outliers_and_bulk(400);
    let options = krylov(5, End::Largest);
    let base = eigs(&a, &options);
    for exponent in [-24, 24, -300, 300] {
        let c = 2f64.powi(exponent);
        let found = eigs(&Scaled(c, &a), &options);
        assert_eq!(found.values, base.values.iter().map(|x| c * x).collect::<Vec<_>>());
        assert_eq!((found.vectors, found.products), (base.vectors.clone(), base.products));
    }
    for c in [1e-7, 1e-3, 1e5, 1e7] {
        let found = eigs(&Scaled(c, &a), &options);
        assert_eq!(found.stop, Stop::Converged);
        for (x, y) in found.values.iter().zip(&base.values) {
            assert!((x / c - y).abs() <= 1e-13 * 10.0, "c = {c}: {x} {y}");
        }
    }
}

/// D3, D11: faer's solver never returns on these.
#[test]
fn d3_d11_zero_and_identity_terminate_with_as_many_pairs_as_asked() {
    for c in [0.0, 1.0, -2.5, 1e-200] {
        let a = multiple_of_identity(60, c);
        for end in [End::Largest, End::Smallest, End::Both] {
            let found = eigs(&a, &krylov(4, end));
            verify(&a, &vec![c; 60], 4, end, &found, 20.0 * EPS);
            assert!(found.products <= 20, "{}", found.products);
        }
    }
}

/// D10, D11: rank one, two, five; the zeros belong to the answer.
#[test]
fn d10_d11_low_rank_operators_terminate() {
    for r in [1, 2, 5] {
        solve((0..200).map(|i| if i < r { (i + 1) as f64 } else { 0.0 }).collect(), 4);
    }
    // Indefinite, so that zeros are in the middle.
    solve((0..200).map(|i| if i < 3 { i as f64 - 1.5 } else { 0.0 }).collect(), 2);
}

/// A Krylov space from one vector sees one copy; all ten are wanted.
#[test]
fn tenfold_eigenvalues_are_found_ten_times() {
    let spectrum: Vec<f64> = (0..300).map(|i| if i < 10 { 5.0 } else { i as f64 / 100.0 }).collect();
    solve(spectrum.clone(), 10);
    solve(spectrum, 12);
    solve((0..60).map(|i| f64::from(i / 10)).collect(), 15);
}

/// Without the check only one copy of a double eigenvalue is found, as long as rounding has not had the time to bring in
/// the other one: this is what the check is for.
#[test]
fn without_checks_multiplicities_are_missed() {
    let spectrum: Vec<f64> = (0..500).map(|i| [9.0, 9.0, 5.0].get(i).copied().unwrap_or(i as f64 / 500.0)).collect();
    let a = Prescribed::new(spectrum, 3);
    let quick = eigs(&a, &Options { checks: 0, tol: 1e-4, ..krylov(2, End::Largest) });
    assert!((quick.values[1] - 5.0).abs() < 1e-6, "{:?}", quick.values);
    assert_eq!((quick.checks, quick.stop), (0, Stop::Converged));
    let careful = eigs(&a, &Options { tol: 1e-4, ..krylov(2, End::Largest) });
    verify(&a, &a.spectrum, 2, End::Largest, &careful, 1e-7);
}

#[test]
fn clusters_at_1e_minus_10_keep_their_number_and_values() {
    let spectrum: Vec<f64> =
        (0..200).map(|i| if i < 5 { 3.0 * (1.0 + 1e-10 * i as f64) } else { i as f64 / 100.0 }).collect();
    let a = Prescribed::new(spectrum, 4);
    let found = eigs(&a, &Options { tol: 1e-13, ..krylov(6, End::Largest) });
    verify(&a, &a.spectrum, 6, End::Largest, &found, 2e-13);
}

#[test]
fn dimension_one_and_k_above_n() {
    for options in [Options::new(1, End::Largest), krylov(1, End::Smallest), krylov(5, End::Both)] {
        let found = eigs(&multiple_of_identity(1, -2.0), &options);
        assert_eq!((found.values, found.stop), (vec![-2.0], Stop::Converged));
    }
    solve(vec![3.0, -1.0, 2.0], 7);
}

#[test]
fn k_equal_to_n_gives_everything() {
    let a = Prescribed::new((0..40).map(|i| (f64::from(i) * 1.7).cos()).collect(), 6);
    for options in [krylov(40, End::Largest), krylov(20, End::Both), Options::new(40, End::Smallest)] {
        let found = eigs(&a, &options);
        verify(&a, &a.spectrum, 40, End::Largest, &found, 1e-13);
        assert_eq!(found.checks, 1);
    }
}

#[test]
fn dimension_zero_is_empty() {
    let found = eigs(&crate::operator::DenseOperator::new(0, vec![]), &Options::new(1, End::Largest));
    assert_eq!((found.values.len(), found.stop), (0, Stop::Converged));
}

/// The start sees nothing but one eigenspace, not the wanted one.
#[test]
fn a_start_inside_an_eigenspace_does_not_confine_the_search() {
    let a = Prescribed::new((0..80).map(|i| if i < 40 { 1.0 } else { f64::from(i) }).collect(), 9);
    for start in [a.eigenvector(3), a.eigenvector(79), vec![0.0; 80], [a.eigenvector(1), a.eigenvector(1)].concat()] {
        let found = eigs_from(&a, &start, &krylov(3, End::Both));
        verify(&a, &a.spectrum, 3, End::Both, &found, 1e-12);
    }
}

/// Different numbers at the two ends, found in one run; fewer products than in two.
#[test]
fn both_ends_come_from_one_run() {
    let n = 1000;
    let spectrum: Vec<f64> = (0..n)
        .map(|i| match i {
            0..9 => 10.0 - f64::from(i),
            9..12 => -5.0 - f64::from(i),
            _ => (f64::from(i) * 0.7).sin(),
        })
        .collect();
    let a = Prescribed::new(spectrum, 5);
    let options = |upper, lower| Options { dense_up_to: 0, ..Options::ends(upper, lower) };
    let both = eigs(&a, &options(9, 3));
    let sorted = want(a.spectrum.clone(), n as usize, End::Largest);
    let ends = [&sorted[..9], &sorted[sorted.len() - 3..]].concat();
    assert_eq!((both.stop, both.upper, both.values.len()), (Stop::Converged, 9, 12));
    assert!(both.values.iter().zip(&ends).all(|(x, y)| (x - y).abs() < 1e-12));
    let apart = eigs(&a, &options(9, 0)).products + eigs(&a, &options(0, 3)).products;
    assert!(4 * both.products < 3 * apart, "{} for {apart}", both.products);
    // More than there are is all of it.
    let all = eigs(&Prescribed::new(vec![1.0, -2.0, 3.0], 1), &options(2, 2));
    assert_eq!((all.values.len(), all.upper), (3, 3));
}

/// With a loose tolerance ‖r‖²/gap is far below ‖r‖, and it holds; where a neighbour is as near as the residual, or was not
/// asked for, there is no gap.
#[test]
fn the_square_of_a_residual_over_the_gap_bounds_the_error_where_it_is_given() {
    let spectrum: Vec<f64> = (0..400)
        .map(|i| match i {
            0..5 => 20.0 - 2.0 * f64::from(i),
            5..8 => -20.0 + 2.0 * f64::from(i),
            _ => (f64::from(i) * 0.7).sin(),
        })
        .collect();
    let mut sharp = 0;
    for seed in 0..20 {
        let a = Prescribed::new(spectrum.clone(), seed);
        for end in [End::Largest, End::Smallest, End::Both] {
            let found = eigs(&a, &Options { tol: 1e-3, seed, ..krylov(3, end) });
            verify(&a, &a.spectrum, 3, end, &found, 1e-3);
            for i in 0..found.values.len() {
                let (low, high) = found.interval(i);
                let innermost = if i < found.upper { i + 1 == found.upper } else { i == found.upper };
                assert_eq!(found.gap(i).is_none(), innermost, "{end:?} {i}: {:?}", found.values);
                sharp += usize::from(high - low < 0.1 * found.residuals[i]);
            }
        }
    }
    assert!(sharp > 50, "{sharp}");
    let crowd = Prescribed::new((0..300).map(|i| if i < 4 { 3.0 } else { f64::from(i) / 300.0 }).collect(), 4);
    let found = eigs(&crowd, &krylov(6, End::Largest));
    assert!((0..4).all(|i| found.gap(i).is_none()) && found.gap(4).is_some());
    // Everything is known: the innermost pair has a neighbour, too.
    let all = eigs(&Prescribed::new(vec![3.0, 1.0, 2.0], 0), &krylov(3, End::Smallest));
    assert!((0..3).all(|i| (all.gap(i).unwrap() - 1.0).abs() < 1e-12), "{:?}", all.values);
}

/// A cluster narrower than the tolerance at both ends: as many values as there are, none of them twice.
#[test]
fn clusters_below_the_tolerance_are_counted_right_at_both_ends() {
    let spectrum: Vec<f64> = (0..250)
        .map(|i| match i {
            0..10 => 4.0 * (1.0 + 1e-11 * f64::from(i)),
            10..16 => -3.0 * (1.0 + 1e-11 * f64::from(i)),
            16 => 2.0,
            17 => -2.0,
            _ => (f64::from(i) * 0.7).cos(),
        })
        .collect();
    let a = Prescribed::new(spectrum, 4);
    let found = eigs(&a, &Options { dense_up_to: 0, ..Options::ends(11, 7) });
    let near = |x: f64| found.values.iter().filter(|v| (*v - x).abs() < 1e-8).count();
    assert_eq!((found.stop, near(4.0), near(-3.0), found.values.len()), (Stop::Converged, 10, 6, 18));
    assert!(found.orthogonality < 1e-13);
}

/// Diagonal operators (whose eigenvectors are unit vectors), and starts in wider blocks than the space has dimensions.
#[test]
fn diagonals_and_blocks_wider_than_the_space_are_nothing_special() {
    let d: Vec<f64> = (0..60).map(|i| f64::from(i % 7) - 3.0).collect();
    let a = crate::operator::DenseOperator::diagonal(&d);
    for end in [End::Largest, End::Smallest, End::Both] {
        verify(&a, &d, 12, end, &eigs(&a, &krylov(12, end)), 1e-12);
    }
    let small = Prescribed::new(vec![2.0, -1.0, 2.0, 0.0], 1);
    let starts = Distribution::Gaussian.probes(1, 0, 9, 4);
    for end in [End::Largest, End::Smallest, End::Both] {
        verify(&small, &small.spectrum, 3, end, &eigs_from(&small, &starts, &krylov(3, end)), 1e-13);
    }
}

/// Starting from the answer takes fewer products than from nothing.
#[test]
fn a_good_start_saves_products() {
    let a = outliers_and_bulk(600);
    let options = Options { checks: 0, ..krylov(4, End::Largest) };
    let cold = eigs(&a, &options);
    let mut start = vec![0.0; 600];
    for x in cold.vectors.chunks_exact(600) {
        start.iter_mut().zip(x).for_each(|(s, x)| *s += x);
    }
    let warm = eigs_from(&a, &start, &options);
    verify(&a, &a.spectrum, 4, End::Largest, &warm, 1e-12);
    assert!(3 * warm.products <= 2 * cold.products, "{} {}", warm.products, cold.products);
}

#[test]
fn nan_operators_and_starts_are_reported() {
    let a = multiple_of_identity(50, f64::NAN);
    for options in [krylov(2, End::Largest), Options::new(2, End::Largest)] {
        let found = eigs(&a, &options);
        assert_eq!((found.stop, found.values.len()), (Stop::NonFinite, 0));
    }
    let found = eigs_from(&multiple_of_identity(50, 1.0), &[f64::NAN; 50], &krylov(1, End::Largest));
    assert_eq!((found.stop, found.products), (Stop::NonFinite, 0));
}

#[test]
fn an_unsymmetric_operator_is_refused() {
    let n = 60;
    let shift = Columnwise {
        n,
        f: move |x: &[f64], y: &mut [f64]| (0..n).for_each(|i| y[i] = i as f64 * x[i] + x[(i + 1) % n]),
    };
    for options in [krylov(2, End::Largest), Options::new(2, End::Largest)] {
        assert_eq!(eigs(&shift, &options).stop, Stop::NotSymmetric);
    }
}

/// Too few products: the best so far, honest residuals, never more products than allowed.
#[test]
fn exhausted_products_are_said_and_respected() {
    let a = Prescribed::new((0..3000).map(|i| f64::from(i) / 3000.0).collect(), 8);
    for max_products in [1, 7, 30, 80] {
        let before = a.products();
        let found = eigs(&a, &Options { max_products, ..krylov(5, End::Largest) });
        assert_eq!(found.stop, Stop::MaxSteps);
        assert_eq!(a.products() - before, found.products);
        assert!(found.products <= max_products.max(6), "{} {max_products}", found.products);
        assert!(found.residuals.iter().all(|r| *r > 1e-9) && found.checks == 0);
        assert_eq!(found.values.len(), max_products.saturating_sub(5).clamp(1, 5));
        assert!(found.values.iter().all(|x| *x >= -1e-12 && *x <= 1.0));
    }
}

/// Small bases: many restarts, and blocks that need the basis to be raised.
#[test]
fn restarts_do_not_lose_anything() {
    let a = Prescribed::new((0..150).map(|i| f64::from(i) - 60.5).collect(), 8);
    for end in [End::Largest, End::Smallest, End::Both] {
        let options = Options { basis: 1, max_products: 100_000, tol: 1e-9, ..krylov(3, end) };
        let found = eigs(&a, &options);
        verify(&a, &a.spectrum, 3, end, &found, 1e-11);
    }
}

/// A dense spectrum edge is the slow case: relative gap 1/1000 at k = 8, still well within the default budget.
#[test]
fn a_bulk_edge_converges_within_the_budget() {
    let a = Prescribed::new((0..1000).map(|i| f64::from(i) / 1000.0).collect(), 8);
    let found = eigs(&a, &krylov(8, End::Largest));
    verify(&a, &a.spectrum, 8, End::Largest, &found, 1e-12);
}

/// The small end of a bulk is out of reach of a search (gaps of 1e-6 ‖A‖), but not of 2 n products.
#[test]
fn small_hard_problems_are_rescued_densely() {
    let a = outliers_and_bulk(400);
    let found = eigs(&a, &Options::new(3, End::Smallest));
    verify(&a, &a.spectrum, 3, End::Smallest, &found, 1e-13);
    assert!(found.products > 400 && found.products <= 803, "{}", found.products);
}

/// The products of an f32 operator err by 1e-7: with the default tolerance this is said, with one that fits it converges.
#[test]
fn noisy_products_are_not_called_converged() {
    let exact = outliers_and_bulk(300);
    let noisy = Columnwise {
        n: 300,
        f: |x: &[f64], y: &mut [f64]| {
            exact.apply(1, x, y);
            y.iter_mut().for_each(|y| *y = f64::from(*y as f32));
        },
    };
    let found = eigs(&noisy, &krylov(3, End::Largest));
    assert_eq!(found.stop, Stop::MaxSteps);
    for (i, x) in found.values.iter().enumerate() {
        assert!((x - (10.0 - i as f64)).abs() < 1e-5);
    }
    assert_eq!(eigs(&noisy, &Options { tol: 1e-6, ..krylov(3, End::Largest) }).stop, Stop::Converged);
}

/// A block start of several vectors, dependent ones among them.
#[test]
fn block_starts_agree_with_single_ones() {
    let a = outliers_and_bulk(300);
    let mut starts = Distribution::Gaussian.probes(4, 0, 4, 300);
    starts.copy_within(0..300, 600);
    let found = eigs_from(&a, &starts, &krylov(5, End::Largest));
    verify(&a, &a.spectrum, 5, End::Largest, &found, 1e-12);
}

#[test]
fn the_dense_way_gives_the_same_pairs() {
    let a = Prescribed::new((0..100).map(|i| (f64::from(i) * 0.9).sin()).collect(), 8);
    for end in [End::Largest, End::Smallest, End::Both] {
        let found = eigs(&a, &Options::new(4, end));
        verify(&a, &a.spectrum, 4, end, &found, 1e-13);
        assert_eq!(found.products, 100 + found.values.len());
    }
}

#[test]
fn seeds_give_the_same_values_and_runs_repeat_to_the_bit() {
    let a = outliers_and_bulk(300);
    let one = eigs(&a, &krylov(3, End::Both));
    assert_eq!(one, eigs(&a, &krylov(3, End::Both)));
    let other = eigs(&a, &Options { seed: 99, ..krylov(3, End::Both) });
    for (x, y) in one.values.iter().zip(&other.values) {
        assert!((x - y).abs() < 1e-12);
    }
}

#[test]
fn threads_do_not_change_the_bits() {
    let a = outliers_and_bulk(10_000);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| eigs(&a, &Options { checks: 0, tol: 1e-6, ..krylov(9, End::Largest) }))
    };
    assert_eq!(run(1), run(3));
}

#[test]
#[should_panic(expected = "0 eigenpairs asked for")]
fn asking_for_nothing_is_refused() {
    Options::new(0, End::Largest);
}

proptest! {
    #![proptest_config(config(64))]
    /// Any spectrum, with repetitions (values are drawn from a few dozen), any k, end and basis.
    #[test]
    fn random_spectra(
        spectrum in prop::collection::vec(-12i32..12, 1..90), k in 1usize..8, seed in 0u64..1000, basis in 1usize..40
    ) {
        let a = Prescribed::new(spectrum.iter().map(|x| f64::from(*x) / 3.0).collect(), seed);
        for end in [End::Largest, End::Smallest, End::Both] {
            let found = eigs(&a, &Options { seed, basis, max_products: 100_000, ..krylov(k, end) });
            verify(&a, &a.spectrum, k, end, &found, 1e-11);
        }
    }
}

#[test]
fn copies_that_share_their_residuals_are_within_the_tolerance() {
    // Four copies of −4, locked one after the other: rotated against each other, one had 1.04 times the residual allowed.
    let spectrum = [
        2, 3, 10, -5, 11, -4, 1, -10, 7, -1, 1, 2, 4, -5, 8, -12, -5, -11, -6, 6, -12, 5, -12, 7, -5, 9, 3, -12, -4,
        -8, -10, -9, -5, 1, 7, 9, 11, 5, 9, -8, 11, 0, -1, 11, -1, 1, 5, -8, 6, 2, 7, -10, -8, 0, -3, 6, -11, 8, -8,
        -3, -4, 3, 2, -7, -1, -9, 5, 8, 10, -5, 0, -1, 3, 1, 5, -7,
    ];
    let a = Prescribed::new(spectrum.iter().map(|x| f64::from(*x) / 3.0).collect(), 813);
    let found = eigs(&a, &Options { seed: 813, basis: 11, max_products: 100_000, ..krylov(5, End::Smallest) });
    verify(&a, &a.spectrum, 5, End::Smallest, &found, 1e-11);
}

#[test]
fn a_crowd_that_outlasts_the_budget_is_not_called_converged() {
    // Eigenpairs to 1e-10, but not the three smallest: 20 zeros among powers of 0.8, which 1,000 products don't sort out.
    let spectrum: Vec<f64> = (0..80).map(|i| if i < 60 { 0.8f64.powi(i) } else { 0.0 }).collect();
    for seed in 0..4 {
        let a = Prescribed::new(spectrum.clone(), seed);
        let found = eigs(&a, &Options { seed, ..krylov(3, End::Smallest) });
        let right = found.values.iter().all(|x| x.abs() <= 1e-9);
        assert!(right || found.stop == Stop::MaxSteps, "{:?} after {} checks", found.values, found.checks);
        assert_eq!(found.stop == Stop::Converged, found.checks > 0 && found.residuals.iter().all(|r| *r <= 1.1e-10));
    }
}
