//! Both products against plain loops in small integers, where every order of summation gives the same.

use super::*;
use crate::gemm::Write;
use crate::shifted::arrange;

fn ramp<T: Real>(len: usize, seed: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f64(((i * 7 + seed) % 11) as f64 - 5.0)).collect()
}

/// (from, to) of the correlation, kernel, stride, padding, dilation.
type Shape = (usize, usize, usize, usize, usize, usize);

fn axis((from, to, kernel, stride, padding, dilation): Shape, adjoint: bool) -> Axis {
    let (from, to) = if adjoint { (to, from) } else { (from, to) };
    Axis { from, to, kernel, stride, padding, dilation, adjoint }
}

/// Every (output, tap, input) of an axis.
fn triples((from, to, kernel, stride, padding, dilation): Shape) -> Vec<[usize; 3]> {
    let all = (0..to).flat_map(|o| (0..kernel).map(move |t| (o, t)));
    all.filter_map(|(o, t)| {
        let at = (o * stride + t * dilation).checked_sub(padding)?;
        (at < from).then_some([o, t, at])
    })
    .collect()
}

fn check<T: Real>(rows: Shape, cols: Shape, ins: usize, outs: usize) {
    let lanes = lanes::<T>();
    let (from, to, taps) = (rows.0 * cols.0, rows.1 * cols.1, rows.2 * cols.2);
    let (x, y, w) =
        (ramp::<T>(ins * from * lanes, 1), ramp::<T>(outs * to * lanes, 2), ramp::<T>(outs * ins * taps, 3));
    let mut want_y = vec![T::ZERO; y.len()];
    let mut want_x = vec![T::ZERO; x.len()];
    let mut want_w = vec![T::ONE; w.len()];
    for (o, c) in (0..outs).flat_map(|o| (0..ins).map(move |c| (o, c))) {
        for [oy, ty, iy] in triples(rows) {
            for [ox, tx, ix] in triples(cols) {
                let tap = (o * ins + c) * taps + ty * cols.2 + tx;
                for l in 0..lanes {
                    let (p, q) = ((c * from + iy * cols.0 + ix) * lanes + l, (o * to + oy * cols.1 + ox) * lanes + l);
                    want_y[q] += w[tap] * x[p];
                    want_x[p] += w[tap] * y[q];
                    want_w[tap] += y[q] * x[p];
                }
            }
        }
    }
    let name = format!("{rows:?} {cols:?} {ins} {outs}");
    let forward = Grid::new(axis(rows, false), axis(cols, false)).expect("few runs");
    let mut arranged = vec![T::ZERO; w.len()];
    arrange(&w, outs, &mut arranged);
    let mut got = vec![T::from_f64(f64::NAN); y.len()];
    product(&mut got, &[(&arranged, &x)], &forward);
    assert_eq!(got, want_y, "{name}");
    product(&mut got, &[(&arranged, &x), (&arranged, &x)], &forward);
    assert_eq!(got, want_y.iter().map(|&y| y + y).collect::<Vec<_>>(), "{name}, twice");

    let mut turned = vec![T::ZERO; w.len()];
    for (o, c, t) in (0..outs).flat_map(|o| (0..ins).flat_map(move |c| (0..taps).map(move |t| (o, c, t)))) {
        turned[(c * outs + o) * taps + t] = w[(o * ins + c) * taps + t];
    }
    arrange(&turned, ins, &mut arranged);
    let adjoint = Grid::new(axis(rows, true), axis(cols, true)).expect("few runs");
    let mut got = vec![T::from_f64(f64::NAN); x.len()];
    product(&mut got, &[(&arranged, &y)], &adjoint);
    assert_eq!(got, want_x, "{name}, adjoint");

    let mut got = vec![T::ONE; w.len()];
    product_transposed(&mut got, &y, &x, &forward);
    assert_eq!(got, want_w, "{name}, transposed");
}

#[test]
fn products_are_their_plain_loops_for_every_kind_of_window() {
    let shapes = [
        (8, 8, 3, 1, 1, 1),
        (9, 5, 3, 2, 1, 1),
        (8, 4, 1, 2, 0, 1),
        (5, 1, 5, 1, 0, 1),
        (7, 3, 2, 3, 1, 1),
        (6, 4, 3, 2, 2, 1),
        (7, 5, 3, 1, 1, 2),
        (9, 3, 3, 2, 1, 2),
        (10, 3, 2, 4, 1, 3),
        (3, 9, 3, 1, 4, 1),
    ];
    for (i, &rows) in shapes.iter().enumerate() {
        for (j, &cols) in shapes.iter().enumerate() {
            check::<f64>(rows, cols, 1 + (i + j) % 8, 1 + (i * 3 + j) % 11);
            check::<f32>(rows, cols, 1 + (i * 2 + j) % 3, 1 + (i + j * 5) % 10);
        }
    }
}

fn round_trip<T: Real>() {
    let lanes = lanes::<T>();
    for (len, stride, count) in [(1, 1, 1), (37, 40, lanes), (64, 64, lanes), (21, 30, lanes.div_ceil(2))] {
        let x = ramp::<T>(stride * lanes, 1);
        let mut there = vec![T::from_f64(f64::NAN); len * lanes];
        interleave(&x, stride, count, &mut there);
        for (i, r) in (0..len).flat_map(|i| (0..lanes).map(move |r| (i, r))) {
            let want = if r < count { x[r * stride + i] } else { T::ZERO };
            assert_eq!(there[i * lanes + r], want, "{} value {i} of row {r}", T::NAME);
        }
        let mut back = vec![T::ONE; stride * lanes];
        separate(&there, &mut back, stride, count, Write::Set);
        separate(&there, &mut back, stride, count, Write::Add);
        for (at, &b) in back.iter().enumerate() {
            let inside = at / stride < count && at % stride < len;
            let want = if inside { x[at] + x[at] } else { T::ONE };
            assert_eq!(b, want, "{} at {at} of {count} rows of {len}", T::NAME);
        }
    }
}

#[test]
fn rows_go_to_lanes_and_back() {
    round_trip::<f32>();
    round_trip::<f64>();
}

#[test]
#[should_panic(expected = "not of its adjoint")]
fn the_transposed_product_refuses_an_adjoint_grid() {
    let axis = axis((4, 4, 1, 1, 0, 1), true);
    product_transposed(&mut [1.0], &[], &[], &Grid::new(axis, axis).expect("few runs"));
}
