//! Correlations of many images at once, which stand side by side in the lanes of vectors.
//!
//! Nothing is multiplied in vain, whatever the stride and the size of the images; there must be enough of them to fill the
//! lanes. What is read is interleaved once for all products that need it, and the terms of a result are added up before
//! they are separated.

use eigenlens_linalg::interleaved::{self, Axis, Grid, Term, interleave, separate};
use eigenlens_linalg::{Real, Write, scratch, shifted};

use super::correlation::{Correlation, Sizes};
use crate::op::{Lanes, Slot};

/// Images of one vector may fill this many bytes; larger ones would go through memory, and shifts of one image don't.
const MOST_BYTES: usize = 1 << 22;

/// What the products need to know.
pub(crate) struct Abreast {
    s: Sizes,
    forward: Grid,
    adjoint: Grid,
    lanes: usize,
}

/// A correlation at a point: x, W and ȳ (which may be empty if there is no tangent).
#[derive(Clone, Copy)]
pub(crate) struct Point<'a, T> {
    pub x: &'a [T],
    pub w: &'a [T],
    pub gy: &'a [T],
}

/// The tangents ẋ and Ẇ.
#[derive(Clone, Copy)]
pub(crate) struct Tangents<'a, T> {
    pub x: Option<Lanes<'a, T>>,
    pub w: Option<Lanes<'a, T>>,
}

/// Cuts `len` values off the front.
fn take<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (front, back) = std::mem::take(rest).split_at_mut(len);
    *rest = back;
    front
}

impl Correlation {
    /// The grids, if this way is the best for `images` images.
    pub fn abreast<T: Real>(&self, images: usize) -> Option<Abreast> {
        let lanes = interleaved::lanes::<T>();
        // Empty lanes are computed as well.
        if lanes == 1 || 4 * images < 3 * images.next_multiple_of(lanes) {
            return None;
        }
        let s = self.sizes();
        let bytes = s.image.max(self.outputs * s.pixels) * lanes * size_of::<T>();
        if self.window.is_pointwise() || s.pixels == 1 || bytes > MOST_BYTES {
            return None;
        }
        let grid = |adjoint: bool| {
            let w = &self.window;
            let axis = |a: usize| {
                let (from, to) = if adjoint { (s.to[a], s.from[a]) } else { (s.from[a], s.to[a]) };
                let (kernel, stride) = (w.kernel[a], w.stride[a]);
                Axis { from, to, kernel, stride, padding: w.padding[a], dilation: w.dilation[a], adjoint }
            };
            Grid::new(axis(0), axis(1))
        };
        Some(Abreast { forward: grid(false)?, adjoint: grid(true)?, lanes, s })
    }

    /// Each lane's weights in the order in which `forward` reads them.
    fn arrange<T: Real>(&self, at: &Abreast, w: &[T], out: &mut [T]) {
        let size = at.s.outs * at.s.rows;
        for (w, out) in w.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
            shifted::arrange(w, at.s.outs, out);
        }
    }

    /// Each lane's weights in the order in which `adjoint` reads them: channels change places.
    fn arrange_turned<T: Real>(&self, at: &Abreast, w: &[T], out: &mut [T]) {
        let (ins, outs, taps) = (at.s.ins, at.s.outs, self.window.taps());
        let size = outs * at.s.rows;
        scratch::with(size, |turned: &mut [T]| {
            for (w, out) in w.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
                for (i, w) in w.chunks_exact(taps).enumerate() {
                    let (o, c) = (i / ins, i % ins);
                    turned[(c * outs + o) * taps..][..taps].copy_from_slice(w);
                }
                shifted::arrange(turned, ins, out);
            }
        });
    }

    /// y ← Σ W ⋆ x group by group, for one vector of images and up to two terms.
    fn multiply<T: Real>(&self, grid: &Grid, terms: [Option<Term<'_, T>>; 2], y: &mut [T]) {
        let size = y.len() / self.groups;
        for (g, y) in y.chunks_exact_mut(size).enumerate() {
            let part = |v: &'_ [T]| g * (v.len() / self.groups)..(g + 1) * (v.len() / self.groups);
            let (mut list, mut count) = ([(&[][..], &[][..]); 2], 0);
            for (w, x) in terms.into_iter().flatten() {
                list[count] = (&w[part(w)], &x[part(x)]);
                count += 1;
            }
            interleaved::product(y, &list[..count], grid);
        }
    }

    /// W̄ ← W̄ + ȳ xᵀ group by group, for one vector of images.
    fn contract<T: Real>(&self, grid: &Grid, y: &[T], x: &[T], gw: &mut [T]) {
        let groups = self.groups;
        let (w_size, x_size, y_size) = (gw.len() / groups, x.len() / groups, y.len() / groups);
        for (g, gw) in gw.chunks_exact_mut(w_size).enumerate() {
            interleaved::product_transposed(gw, &y[g * y_size..][..y_size], &x[g * x_size..][..x_size], grid);
        }
    }

    /// ẏ ← W ⋆ ẋ + Ẇ ⋆ x in each lane, with what there is of the tangents.
    pub fn push_abreast<T: Real>(&self, at: &Abreast, p: Point<'_, T>, d: Tangents<'_, T>, dy: &mut [T], write: Write) {
        let (s, lanes) = (&at.s, at.lanes);
        let (image, result, weight) = (s.image, self.outputs * s.pixels, p.w.len());
        let images = p.x.len() / image;
        let dw_len = d.w.map_or(0, |dw| dw.data.len());
        scratch::with(2 * (image + result) * lanes + weight + dw_len, |mut rest: &mut [T]| {
            let (x_i, dx_i) = (take(&mut rest, image * lanes), take(&mut rest, image * lanes));
            let y_i = take(&mut rest, result * lanes);
            let (w, dw) = (take(&mut rest, weight), take(&mut rest, dw_len));
            if d.x.is_some() {
                self.arrange(at, p.w, w);
            }
            if let Some(d_w) = d.w {
                self.arrange(at, d_w.data, dw);
            }
            for first in (0..images).step_by(lanes) {
                let count = lanes.min(images - first);
                if d.w.is_some() {
                    interleave(&p.x[first * image..], image, count, x_i);
                }
                for (k, dy) in dy.chunks_exact_mut(images * result).enumerate() {
                    if let Some(dx) = d.x {
                        interleave(&dx.lane(k)[first * image..], image, count, dx_i);
                    }
                    let terms = [d.x.map(|_| (&*w, &*dx_i)), d.w.map(|_| (&dw[k * weight..][..weight], &*x_i))];
                    self.multiply(&at.forward, terms, y_i);
                    separate(y_i, &mut dy[first * result..], result, count, write);
                }
            }
        });
    }

    /// x̄̇ ← Wᵀ ȳ̇ + Ẇᵀ ȳ and W̄̇ ← ȳ̇ xᵀ + ȳ ẋᵀ in each lane, with what there is of ȳ̇ and the tangents.
    pub fn pull_abreast<T: Real>(
        &self,
        at: &Abreast,
        p: Point<'_, T>,
        d: Tangents<'_, T>,
        dgy: Option<Lanes<'_, T>>,
        slots: [Option<&mut Slot<'_, T>>; 2],
    ) {
        let (s, lanes) = (&at.s, at.lanes);
        let (image, result, weight) = (s.image, self.outputs * s.pixels, p.w.len());
        let images = p.x.len() / image;
        let [mut on_x, mut on_w] = slots;
        let Some(count) = dgy.or(d.x).or(d.w).map(|l| l.lanes) else { return };
        for slot in on_w.iter_mut().filter(|s| s.write == Write::Set) {
            slot.data.fill(T::ZERO);
        }
        let dx = d.x.filter(|_| on_w.is_some());
        let dw = d.w.filter(|_| on_x.is_some());
        if let Some(slot) = on_x.take_if(|_| dgy.is_none() && dw.is_none())
            && slot.write == Write::Set
        {
            slot.data.fill(T::ZERO);
        }
        let dw_len = dw.map_or(0, |dw| dw.data.len());
        scratch::with((3 * image + 2 * result) * lanes + weight + dw_len, |mut rest: &mut [T]| {
            let (x_i, dx_i) = (take(&mut rest, image * lanes), take(&mut rest, image * lanes));
            let gx_i = take(&mut rest, image * lanes);
            let (gy_i, dgy_i) = (take(&mut rest, result * lanes), take(&mut rest, result * lanes));
            let (w, dw_t) = (take(&mut rest, weight), take(&mut rest, dw_len));
            if on_x.is_some() && dgy.is_some() {
                self.arrange_turned(at, p.w, w);
            }
            if let Some(dw) = dw {
                self.arrange_turned(at, dw.data, dw_t);
            }
            for first in (0..images).step_by(lanes) {
                let filled = lanes.min(images - first);
                if on_w.is_some() && dgy.is_some() {
                    interleave(&p.x[first * image..], image, filled, x_i);
                }
                if dx.is_some() || dw.is_some() {
                    interleave(&p.gy[first * result..], result, filled, gy_i);
                }
                for k in 0..count {
                    if let Some(dgy) = dgy {
                        interleave(&dgy.lane(k)[first * result..], result, filled, dgy_i);
                    }
                    if let Some(slot) = &mut on_x {
                        let own = dgy.map(|_| (&*w, &*dgy_i));
                        let bent = dw.map(|_| (&dw_t[k * weight..][..weight], &*gy_i));
                        self.multiply(&at.adjoint, [own, bent], gx_i);
                        let write = slot.write;
                        separate(gx_i, &mut slot.lane(k)[first * image..], image, filled, write);
                    }
                    if let Some(slot) = &mut on_w {
                        if dgy.is_some() {
                            self.contract(&at.forward, dgy_i, x_i, slot.lane(k));
                        }
                        if let Some(dx) = dx {
                            interleave(&dx.lane(k)[first * image..], image, filled, dx_i);
                            self.contract(&at.forward, gy_i, dx_i, slot.lane(k));
                        }
                    }
                }
            }
        });
    }
}
