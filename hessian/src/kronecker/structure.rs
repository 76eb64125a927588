//! Which layers are affine maps, of a whole sample or of each of its positions, and what ẑ is there.

use eigenlens_linalg::Real;
use eigenlens_nets::Model;
use eigenlens_nets::model::Layer;
use eigenlens_nets::spec::{LayerKind, Statistics, Window};

use super::tile::Tile;

/// The structure of a layer's block, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structure {
    /// One affine map of the whole sample: Σ_n w_n M_n ⊗ ẑ_n ẑ_nᵀ.
    Dense,
    /// The same affine map at several positions: a sum over pairs of positions as well.
    Positions(Positions),
}

/// Where an affine map is applied, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    /// S, their number.
    pub count: usize,
    /// Groups of outputs that see inputs of their own.
    pub groups: usize,
    image: Option<Image>,
}

/// The image that a convolution slides over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Image {
    /// Rows and columns.
    extent: [usize; 2],
    /// Columns of the result.
    columns: usize,
    window: Window,
}

/// The structure of layer `index`; `None` if it is no affine map in its parameters with the same ẑ for every output, if it
/// is used twice, or if a batch norm with statistics of the batch, which lets samples see each other, stands after it.
/// (Where one does that does not read it, the structure is denied for nothing, and the block is found by products.)
///
/// # Panics
/// If there is no such layer.
#[track_caller]
pub fn structure<T: Real>(model: &Model<T>, index: usize) -> Option<Structure> {
    let layer = &model.layers()[index];
    let owner = model.owner_of(layer);
    let mixes = |kind: &LayerKind| matches!(kind, LayerKind::BatchNorm { statistics: Statistics::Batch, .. });
    if model.is_shared(layer) || model.spec().layers[owner..].iter().any(|l| mixes(&l.kind)) {
        return None;
    }
    if layer.dense {
        return Some(Structure::Dense);
    }
    let (from, to) = (&model.graph().shape(layer.input).dims, &model.graph().shape(layer.output).dims);
    match model.kind_of(layer) {
        LayerKind::Linear { .. } | LayerKind::Attention { .. } => {
            let count = to[..to.len() - 1].iter().product();
            Some(Structure::Positions(Positions { count, groups: 1, image: None }))
        }
        LayerKind::Conv2d { window, groups, .. } => {
            let (&[_, height, width], &[_, rows, columns]) = (&from[..], &to[..]) else { return None };
            let image = Some(Image { extent: [height, width], columns, window: *window });
            Some(Structure::Positions(Positions { count: rows * columns, groups: *groups, image }))
        }
        _ => None,
    }
}

impl Positions {
    /// The group of an output.
    pub fn group(&self, layer: &Layer, output: usize) -> usize {
        output / (layer.outputs / self.groups)
    }

    /// Place of an output at a position in the layer's result for a sample.
    pub fn place(&self, layer: &Layer, output: usize, position: usize) -> usize {
        match self.image {
            Some(_) => output * self.count + position,
            None => position * layer.outputs + output,
        }
    }

    /// ẑ at every position for the outputs of a group, shape (S, d), from the layer's input for one sample.
    pub fn gather<T: Real>(&self, layer: &Layer, tile: &Tile, group: usize, x: &[T], z: &mut [f64]) {
        let d = tile.z_len(layer);
        for (s, z) in z.chunks_exact_mut(d).enumerate() {
            let z = if tile.bias {
                let (last, rest) = z.split_last_mut().expect("a bias has its 1");
                *last = 1.0;
                rest
            } else {
                z
            };
            if !tile.weight {
                continue;
            }
            match &self.image {
                None => z.iter_mut().zip(&x[s * layer.inputs..]).for_each(|(z, x)| *z = x.to_f64()),
                Some(image) => image.patch(s, group * layer.inputs, x, z),
            }
        }
    }
}

impl Image {
    /// The values under the window at position s, channel by channel from that of the `first`-th weight on; 0 in the border.
    fn patch<T: Real>(&self, s: usize, first: usize, x: &[T], z: &mut [f64]) {
        let Window { kernel, stride, padding, dilation } = self.window;
        let [height, width] = self.extent;
        let channel = first / (kernel[0] * kernel[1]);
        let at = [s / self.columns, s % self.columns];
        let taps = z.chunks_exact_mut(kernel[1]).enumerate();
        for (line, z) in taps {
            let (c, u) = (channel + line / kernel[0], line % kernel[0]);
            let row = (at[0] * stride[0] + u * dilation[0]).wrapping_sub(padding[0]);
            for (v, z) in z.iter_mut().enumerate() {
                let column = (at[1] * stride[1] + v * dilation[1]).wrapping_sub(padding[1]);
                // Before the image a place wraps around to a huge one.
                let inside = row < height && column < width;
                *z = if inside { x[(c * height + row) * width + column].to_f64() } else { 0.0 };
            }
        }
    }
}
