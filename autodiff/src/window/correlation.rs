//! W ⋆ x and its two contractions, on raw slices: what the convolutional layer is made of.
//!
//! Three ways, by shape: a linear layer where the window covers the image, shifts of a padded image (`direct.rs`), or
//! patches of one or a few images that are packed into scratch which stays in cache. Formulas are in `ops/conv2d.rs`.

use eigenlens_linalg::{Par, Real, View, Write, gemm, gemm_strided, scratch};

use super::Window;
use super::direct::Layout;
use crate::op::{Lanes, Slot};
use crate::ops::{Affine, copy_or_add};

/// Patches are packed until they fill this many bytes: about half of a second-level cache.
const PACK_BYTES: usize = 1 << 20;
/// Columns from which a matrix product runs at full speed; more images are not packed together.
const WIDE: usize = 256;

/// A cross-correlation of images (channels, height, width) with weights (outputs, channels / groups, kernel).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Correlation {
    pub input: [usize; 3],
    pub outputs: usize,
    pub window: Window,
    pub groups: usize,
}

/// The numbers that all maps need.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// Height and width of the input and of the output.
    pub from: [usize; 2],
    pub to: [usize; 2],
    /// Values of an image, of a plane of the output.
    pub image: usize,
    pub pixels: usize,
    /// Channels of a group, input and output; rows of its patch matrix.
    pub ins: usize,
    pub outs: usize,
    pub rows: usize,
}

impl Correlation {
    pub fn sizes(&self) -> Sizes {
        let [channels, height, width] = self.input;
        let to = self.window.output([height, width]).expect("the shape was checked when the graph was built");
        Sizes {
            from: [height, width],
            to,
            image: channels * height * width,
            pixels: to[0] * to[1],
            ins: channels / self.groups,
            outs: self.outputs / self.groups,
            rows: channels / self.groups * self.window.taps(),
        }
    }

    /// The layout for products without patches, unless too few of its columns count or an image is its own patches.
    fn direct(&self, s: &Sizes) -> Option<Layout> {
        if self.window.is_pointwise() {
            return None;
        }
        self.layout(s).filter(|l| l.padded <= 2 * s.pixels)
    }

    /// The linear layer that this is if the window covers the whole image.
    fn affine(&self, s: &Sizes) -> Option<Affine> {
        let whole = self.window.kernel == s.from && s.pixels == 1 && self.window.padding == [0; 2];
        (whole && self.groups == 1).then(|| Affine::new(s.rows, self.outputs))
    }

    /// The convolution from outputs to inputs that is the adjoint, if it is one.
    fn adjoint(&self) -> Option<Correlation> {
        let (w, span) = (self.window, self.window.span());
        let s = self.sizes();
        // Where the image is much larger than the output, most of the adjoint would multiply zeros.
        let fits =
            w.stride == [1; 2] && (0..2).all(|a| w.padding[a] < span[a]) && s.from[0] * s.from[1] <= 2 * s.pixels;
        fits.then(|| {
            let padding = [0, 1].map(|a| span[a] - 1 - w.padding[a]);
            let input = [self.outputs, s.to[0], s.to[1]];
            Correlation { input, outputs: self.input[0], window: Window { padding, ..w }, groups: self.groups }
        })
    }

    /// The weights of the adjoint: input and output channels change places, taps are in reverse order.
    fn turn<T: Real>(&self, w: Lanes<'_, T>, out: &mut [T]) {
        let (s, taps) = (self.sizes(), self.window.taps());
        let size = self.outputs * s.rows;
        for (w, out) in w.data.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
            for (o, w) in w.chunks_exact(s.rows).enumerate() {
                for (c, w) in w.chunks_exact(taps).enumerate() {
                    let at = ((o / s.outs * s.ins + c) * s.outs + o % s.outs) * taps;
                    out[at..at + taps].iter_mut().zip(w.iter().rev()).for_each(|(out, &w)| *out = w);
                }
            }
        }
    }

    /// Images to a pack, for patch matrices of this op.
    fn pack_size<T>(&self, s: &Sizes, images: usize) -> usize {
        let fit = PACK_BYTES / size_of::<T>() / (s.rows * s.pixels);
        WIDE.div_ceil(s.pixels).min(fit).min(images).max(1)
    }

    /// The patches of one group of some images, side by side; those of a single pixel are the image itself.
    fn patches<'a, T: Real>(&self, s: &Sizes, images: &'a [T], group: usize, room: &'a mut [T]) -> View<'a, T> {
        let count = images.len() / s.image;
        let size = s.ins * s.from[0] * s.from[1];
        if count == 1 && self.window.is_pointwise() {
            return View::new(&images[group * size..(group + 1) * size], s.rows, s.pixels);
        }
        let room = &mut room[..s.rows * count * s.pixels];
        for (i, image) in images.chunks_exact(s.image).enumerate() {
            let image = &image[group * size..(group + 1) * size];
            self.window.pack(image, s.from, s.to, &mut room[i * s.pixels..], count * s.pixels);
        }
        View::new(room, s.rows, count * s.pixels)
    }

    /// y ← W ⋆ x; lanes on x, on W, or on neither.
    pub fn product<T: Real>(&self, par: Par, x: Lanes<'_, T>, w: Lanes<'_, T>, y: &mut [T], write: Write) {
        let s = self.sizes();
        if let Some(affine) = self.affine(&s) {
            return affine.product(par, x, w, y, write);
        }
        if let Some(layout) = self.direct(&s) {
            return self.product_directly(&s, &layout, x, w, y, write);
        }
        let images = x.data.len() / s.image;
        let pack = self.pack_size::<T>(&s, images);
        // Rows of the weight that stand together, in every lane or (with groups) in one.
        let (stacks, rows) = if self.groups == 1 { (1, w.lanes * s.outs) } else { (w.lanes, s.outs) };
        let direct = pack == 1 && w.lanes == 1;
        let weight = self.outputs * s.rows;
        let wide = if direct { 0 } else { rows * pack * s.pixels };
        scratch::with(s.rows * pack * s.pixels, |room| {
            scratch::with(wide, |wide| {
                for first in (0..images).step_by(pack) {
                    let count = pack.min(images - first);
                    let cols = count * s.pixels;
                    let x = &x.data[first * s.image..(first + count) * s.image];
                    for group in 0..self.groups {
                        let patches = self.patches(&s, x, group, room);
                        for stack in 0..stacks {
                            let at = stack * weight + group * s.outs * s.rows;
                            let w = View::new(&w.data[at..at + rows * s.rows], rows, s.rows);
                            if direct {
                                let at = (first * self.outputs + group * s.outs) * s.pixels;
                                let y = &mut y[at..at + rows * cols];
                                gemm(y, write, T::ONE, w, patches, par);
                                continue;
                            }
                            let wide = &mut wide[..rows * cols];
                            gemm(wide, Write::Set, T::ONE, w, patches, par);
                            for (row, wide) in wide.chunks_exact(cols).enumerate() {
                                let (lane, o) = (stack + row / s.outs, group * s.outs + row % s.outs);
                                for (i, wide) in wide.chunks_exact(s.pixels).enumerate() {
                                    let at = ((lane * images + first + i) * self.outputs + o) * s.pixels;
                                    copy_or_add(T::ONE, wide, &mut y[at..at + s.pixels], write);
                                }
                            }
                        }
                    }
                }
            });
        });
    }

    /// Rows (lane, channel of the group) of ȳ for some images, side by side.
    fn gather<T: Real>(&self, s: &Sizes, gy: Lanes<'_, T>, first: usize, count: usize, group: usize, room: &mut [T]) {
        let images = gy.data.len() / gy.lanes / (self.outputs * s.pixels);
        for (row, room) in room.chunks_exact_mut(count * s.pixels).enumerate() {
            let (lane, o) = (row / s.outs, group * s.outs + row % s.outs);
            for (i, room) in room.chunks_exact_mut(s.pixels).enumerate() {
                let at = ((lane * images + first + i) * self.outputs + o) * s.pixels;
                room.copy_from_slice(&gy.data[at..at + s.pixels]);
            }
        }
    }

    /// x̄ ← the adjoint of W ⋆ · on ȳ; lanes on ȳ, on W, or on neither.
    pub fn pull_x<T: Real>(&self, par: Par, gy: Lanes<'_, T>, w: Lanes<'_, T>, gx: &mut Slot<'_, T>) {
        let s = self.sizes();
        if let Some(affine) = self.affine(&s) {
            return affine.pull_x(par, gy, w, gx);
        }
        if let Some(adjoint) = self.adjoint() {
            return scratch::with(w.data.len(), |turned| {
                self.turn(w, turned);
                adjoint.product(par, gy, Lanes::new(turned, w.lanes), gx.data, gx.write);
            });
        }
        if gx.write == Write::Set {
            gx.data.fill(T::ZERO);
        }
        let images = gy.data.len() / (self.outputs * s.pixels);
        let pack = self.pack_size::<T>(&s, images);
        let size = s.ins * s.from[0] * s.from[1];
        scratch::with(s.rows * pack * s.pixels, |room| {
            scratch::with(s.outs * pack * s.pixels, |wide| {
                for first in (0..images).step_by(pack) {
                    let count = pack.min(images - first);
                    let cols = count * s.pixels;
                    for group in 0..self.groups {
                        let wide = &mut wide[..s.outs * cols];
                        self.gather(&s, Lanes::new(gy.data, 1), first, count, group, wide);
                        for lane in 0..w.lanes {
                            let w = &w.lane(lane)[group * s.outs * s.rows..][..s.outs * s.rows];
                            let room = &mut room[..s.rows * cols];
                            let (w, gy) = (View::new(w, s.outs, s.rows).t(), View::new(wide, s.outs, cols));
                            gemm(room, Write::Set, T::ONE, w, gy, par);
                            for i in 0..count {
                                let at = (lane * images + first + i) * s.image + group * size;
                                let image = &mut gx.data[at..at + size];
                                self.window.scatter(&room[i * s.pixels..], cols, s.from, s.to, image);
                            }
                        }
                    }
                }
            });
        });
    }

    /// W̄ ← Σ_n ȳ_n X_nᵀ, lane by lane; the operand without lanes is shared.
    pub fn pull_w<T: Real>(&self, par: Par, gy: Lanes<'_, T>, x: Lanes<'_, T>, gw: &mut Slot<'_, T>) {
        if x.lanes > 1 {
            for lane in 0..x.lanes {
                let own_gy = if gy.lanes == 1 { gy.data } else { gy.lane(lane) };
                let write = gw.write;
                let mut own = Slot { data: gw.lane(lane), lanes: 1, write };
                self.pull_w(par, Lanes::new(own_gy, 1), Lanes::new(x.lane(lane), 1), &mut own);
            }
            return;
        }
        let s = self.sizes();
        if let Some(affine) = self.affine(&s) {
            return affine.pull_w(par, gy, x, gw);
        }
        if gw.write == Write::Set {
            gw.data.fill(T::ZERO);
        }
        if let Some(layout) = self.direct(&s) {
            return self.pull_w_directly(&s, &layout, gy, x, gw);
        }
        let images = x.data.len() / s.image;
        let pack = self.pack_size::<T>(&s, images);
        let (stacks, rows) = if self.groups == 1 { (1, gy.lanes * s.outs) } else { (gy.lanes, s.outs) };
        let weight = self.outputs * s.rows;
        let wide = gy.lanes * s.outs * pack * s.pixels;
        scratch::with(s.rows * pack * s.pixels, |room| {
            scratch::with(wide, |wide| {
                for first in (0..images).step_by(pack) {
                    let count = pack.min(images - first);
                    let cols = count * s.pixels;
                    let x = &x.data[first * s.image..(first + count) * s.image];
                    for group in 0..self.groups {
                        let patches = self.patches(&s, x, group, room);
                        let wide = &mut wide[..gy.lanes * s.outs * cols];
                        let gy = if count == 1 && gy.lanes == 1 {
                            &gy.data[(first * self.outputs + group * s.outs) * s.pixels..][..s.outs * cols]
                        } else {
                            self.gather(&s, gy, first, count, group, wide);
                            &*wide
                        };
                        for (stack, gy) in (0..stacks).zip(gy.chunks_exact(rows * cols)) {
                            let at = stack * weight + group * s.outs * s.rows;
                            let gw = &mut gw.data[at..at + rows * s.rows];
                            let gy = View::new(gy, rows, cols);
                            gemm_strided(gw, s.rows, Write::Add, T::ONE, gy, patches.t(), par);
                        }
                    }
                }
            });
        });
    }
}
