//! One tap of a window on one plane: y += w · (what the tap reads), and its transpose.

use std::ops::Range;

use eigenlens_linalg::Real;
use eigenlens_linalg::reduce::axpy;

use super::Window;

/// Calls `f` with the parts of `input` and `output` that meet in each row of outputs, as ranges, for one tap.
#[inline]
fn rows(
    window: &Window,
    input: [usize; 2],
    output: [usize; 2],
    tap: [usize; 2],
    mut f: impl FnMut(Range<usize>, Range<usize>),
) {
    let cols = window.inside(1, tap[1], input[1], output[1]);
    if cols.is_empty() {
        return;
    }
    let length = (cols.len() - 1) * window.stride[1] + 1;
    for y in window.inside(0, tap[0], input[0], output[0]) {
        let from = window.position(0, tap[0], y) * input[1] + window.position(1, tap[1], cols.start);
        f(from..from + length, y * output[1] + cols.start..y * output[1] + cols.end);
    }
}

/// y ← y + w · x at the tap.
pub(crate) fn add<T: Real>(
    window: &Window,
    w: T,
    x: &[T],
    input: [usize; 2],
    output: [usize; 2],
    tap: [usize; 2],
    y: &mut [T],
) {
    let stride = window.stride[1];
    rows(window, input, output, tap, |from, to| match stride {
        1 => axpy(w, &x[from], &mut y[to]),
        _ => y[to].iter_mut().zip(x[from].iter().step_by(stride)).for_each(|(y, &x)| *y += w * x),
    });
}

/// x̄ ← x̄ + w · ȳ at the tap: the transpose of [`add`].
pub(crate) fn add_transposed<T: Real>(
    window: &Window,
    w: T,
    gy: &[T],
    input: [usize; 2],
    output: [usize; 2],
    tap: [usize; 2],
    gx: &mut [T],
) {
    let stride = window.stride[1];
    rows(window, input, output, tap, |from, to| match stride {
        1 => axpy(w, &gy[to], &mut gx[from]),
        _ => gx[from].iter_mut().step_by(stride).zip(&gy[to]).for_each(|(x, &y)| *x += w * y),
    });
}
