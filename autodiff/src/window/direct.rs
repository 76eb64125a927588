//! Correlations without patches: an image with zeros around it, in which every tap is a shift.
//!
//! The rows of a padded plane follow each other at a pitch, so that output (y, x) is column y · pitch + x and each tap reads
//! a piece of the plane that begins somewhere else; columns between the rows of the output are computed and dropped. With
//! stride s the plane is first split into s × s planes of pixels that lie s apart, and taps read from one of those.
//! Zeros at the left of a row also stand at the right of the row before.

use eigenlens_linalg::shifted::{self, Shifted, padded};
use eigenlens_linalg::{Real, Write, scratch};

use super::correlation::{Correlation, Sizes};
use crate::op::{Lanes, Slot};

/// Taps of a window that is served; larger ones go through patches.
const TAPS: usize = 128;
/// Values of a padded plane that are not worth a thought; a larger one must not be zeros for the most part.
const MOST_ZEROS: usize = 1 << 16;
/// Images and cotangents are taken together until they fill this many bytes: most of a second-level cache.
const PACK_BYTES: usize = 3 << 18;

/// Where things lie in a padded image.
pub(super) struct Layout {
    taps: [usize; TAPS],
    count: usize,
    /// Distance between rows, between planes of a phase, between channels, between images.
    pitch: usize,
    phase: usize,
    plane: usize,
    image: usize,
    /// Columns of the output, and those with padding.
    cols: usize,
    pub padded: usize,
}

impl Layout {
    fn shifted<'a, T>(&'a self, data: &'a [T], planes: usize) -> Shifted<'a, T> {
        Shifted { data, planes, plane: self.plane, taps: &self.taps[..self.count] }
    }
}

impl Correlation {
    /// The layout for one group, if the window is served.
    pub(super) fn layout(&self, s: &Sizes) -> Option<Layout> {
        let w = &self.window;
        if w.taps() > TAPS {
            return None;
        }
        let [sy, sx] = w.stride;
        let pitch = (s.from[1] + w.padding[1]).max(s.to[1] * sx).div_ceil(sx);
        // A row of zeros at the end of each phase, as the first of the next one need not be zero.
        let rows = (s.from[0] + 2 * w.padding[0]).div_ceil(sy) + usize::from(sy * sx > 1);
        let (phase, plane) = (rows * pitch, rows * pitch * sy * sx);
        if plane > MOST_ZEROS.max(8 * s.from[0] * s.from[1]) {
            return None;
        }
        let mut taps = [0; TAPS];
        for (t, tap) in taps[..w.taps()].iter_mut().enumerate() {
            let (y, x) = (t / w.kernel[1] * w.dilation[0], t % w.kernel[1] * w.dilation[1]);
            *tap = (y % sy * sx + x % sx) * phase + y / sy * pitch + x / sx;
        }
        let cols = (s.to[0] - 1) * pitch + s.to[1];
        let last = taps[..w.taps()].iter().max().expect("a window has taps") + padded(cols);
        let image = (s.ins - 1) * plane + last.max(plane);
        Some(Layout { taps, count: w.taps(), pitch, phase, plane, image, cols, padded: padded(cols) })
    }

    /// Writes the channels of one group of an image, with zeros around.
    fn spread<T: Real>(&self, s: &Sizes, l: &Layout, x: &[T], out: &mut [T]) {
        let [sy, sx] = self.window.stride;
        let [top, left] = self.window.padding;
        let [height, width] = s.from;
        out.fill(T::ZERO);
        for (c, x) in x.chunks_exact(height * width).enumerate() {
            for (y, row) in x.chunks_exact(width).enumerate() {
                let at = c * l.plane + (y + top) % sy * sx * l.phase + (y + top) / sy * l.pitch;
                for (i, x) in (0..sx.min(width)).map(|i| (i + left, &row[i..])) {
                    let out = &mut out[at + i % sx * l.phase + i / sx..];
                    match sx {
                        1 => out[..width].copy_from_slice(x),
                        _ => out.iter_mut().zip(x.iter().step_by(sx)).for_each(|(out, &x)| *out = x),
                    }
                }
            }
        }
    }

    /// Rows of a weight that stand together in every lane or (with groups) in one: (how many stacks of them, rows).
    fn stacks(&self, s: &Sizes, lanes: usize) -> (usize, usize) {
        if self.groups == 1 { (1, lanes * s.outs) } else { (lanes, s.outs) }
    }

    /// As [`Correlation::product`].
    pub(super) fn product_directly<T: Real>(
        &self,
        s: &Sizes,
        l: &Layout,
        x: Lanes<'_, T>,
        w: Lanes<'_, T>,
        y: &mut [T],
        write: Write,
    ) {
        let (stacks, rows) = self.stacks(s, w.lanes);
        let (images, size) = (x.data.len() / s.image, rows * s.rows);
        let group_size = s.image / self.groups;
        scratch::with(w.data.len(), |arranged: &mut [T]| {
            for (w, out) in w.data.chunks_exact(size).zip(arranged.chunks_exact_mut(size)) {
                shifted::arrange(w, rows, out);
            }
            scratch::with(l.image, |image| {
                scratch::with(rows * l.padded, |wide| {
                    for (at, x) in x.data.chunks_exact(group_size).enumerate() {
                        let (n, group) = (at / self.groups, at % self.groups);
                        self.spread(s, l, x, image);
                        for stack in 0..stacks {
                            let w = &arranged[(stack * self.groups + group) * size..][..size];
                            shifted::product(wide, l.padded, w, l.shifted(image, s.ins), l.cols);
                            for (row, wide) in wide.chunks_exact(l.padded).enumerate() {
                                let (lane, o) = (stack + row / s.outs, group * s.outs + row % s.outs);
                                let at = ((lane * images + n) * self.outputs + o) * s.pixels;
                                narrow(wide, l.pitch, &mut y[at..at + s.pixels], s.to[1], write);
                            }
                        }
                    }
                });
            });
        });
    }

    /// As [`Correlation::pull_w`] for one lane of x, adding.
    pub(super) fn pull_w_directly<T: Real>(
        &self,
        s: &Sizes,
        l: &Layout,
        gy: Lanes<'_, T>,
        x: Lanes<'_, T>,
        gw: &mut Slot<'_, T>,
    ) {
        let (stacks, rows) = self.stacks(s, gy.lanes);
        let (images, size) = (x.data.len() / s.image, rows * s.rows);
        let group_size = s.image / self.groups;
        let fit = PACK_BYTES / size_of::<T>() / (l.image + rows * l.padded);
        let pack = fit.min(images).max(1);
        scratch::with(pack * l.image, |image: &mut [T]| {
            scratch::with(pack * rows * l.padded, |wide: &mut [T]| {
                for first in (0..images).step_by(pack) {
                    let count = pack.min(images - first);
                    for group in 0..self.groups {
                        for (i, image) in image.chunks_exact_mut(l.image).take(count).enumerate() {
                            let at = ((first + i) * self.groups + group) * group_size;
                            self.spread(s, l, &x.data[at..at + group_size], image);
                        }
                        for stack in 0..stacks {
                            for (at, wide) in wide.chunks_exact_mut(l.padded).take(count * rows).enumerate() {
                                let (n, row) = (first + at / rows, at % rows);
                                let (lane, o) = (stack + row / s.outs, group * s.outs + row % s.outs);
                                let at = ((lane * images + n) * self.outputs + o) * s.pixels;
                                widen(&gy.data[at..at + s.pixels], s.to[1], wide, l.pitch);
                            }
                            let gw = &mut gw.data[(stack * self.groups + group) * size..][..size];
                            let x = l.shifted(image, s.ins);
                            shifted::product_transposed(gw, wide, l.padded, x, l.image, count, l.cols);
                        }
                    }
                }
            });
        });
    }
}

/// The rows of an output without what stands between them.
fn narrow<T: Real>(wide: &[T], pitch: usize, out: &mut [T], width: usize, write: Write) {
    for (wide, out) in wide.chunks(pitch).zip(out.chunks_exact_mut(width)) {
        match write {
            Write::Set => out.copy_from_slice(&wide[..width]),
            Write::Add => out.iter_mut().zip(wide).for_each(|(out, &y)| *out += y),
        }
    }
}

/// The rows of an output with zeros between them.
fn widen<T: Real>(rows: &[T], width: usize, wide: &mut [T], pitch: usize) {
    wide.fill(T::ZERO);
    for (row, wide) in rows.chunks_exact(width).zip(wide.chunks_mut(pitch)) {
        wide[..width].copy_from_slice(row);
    }
}
