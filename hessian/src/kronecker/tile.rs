//! Which parameters of an affine layer a part of θ takes: the rows of some outputs, weights, biases, or both.

use std::ops::Range;

use eigenlens_linalg::Real;
use eigenlens_nets::model::Layer;
use eigenlens_nets::{Model, Part};

/// Whole rows of the weight of a layer, entries of its bias, or both for the same outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Index of the layer.
    pub layer: usize,
    /// Its outputs.
    pub units: Range<usize>,
    /// Whether the weights that lead to them belong to it.
    pub weight: bool,
    /// Whether their biases do.
    pub bias: bool,
}

impl Tile {
    /// All of a layer.
    ///
    /// # Panics
    /// If there is no such layer.
    #[track_caller]
    pub fn layer<T: Real>(model: &Model<T>, index: usize) -> Self {
        let layer = &model.layers()[index];
        Tile { layer: index, units: 0..layer.outputs, weight: true, bias: layer.bias }
    }

    /// What a part of θ is, if it is such rows of one layer with a weight of one row for each output.
    pub fn of<T: Real>(model: &Model<T>, part: &Part) -> Option<Self> {
        let start = part.ranges.first()?.start;
        let index = model.layers().partition_point(|l| l.range.end <= start);
        let whole = Tile::layer(model, index);
        let layer = &model.layers()[index];
        let (rows, width) = (layer.outputs, layer.inputs);
        if layer.len() != whole.len(layer) || width == 0 {
            return None;
        }
        let middle = layer.range.start + rows * width;
        // The outputs by the weights, and by the biases.
        let (mut weight, mut bias) = (None, None);
        for r in &part.ranges {
            let own = r.start.min(middle)..r.end.min(middle);
            if !own.is_empty() {
                let (from, to) = (own.start - layer.range.start, own.end - layer.range.start);
                let aligned = from % width == 0 && to % width == 0 && weight.is_none();
                weight = Some(aligned.then_some(from / width..to / width)?);
            }
            let own = r.start.max(middle)..r.end.max(middle);
            if !own.is_empty() {
                let aligned = own.end <= layer.range.end && bias.is_none();
                bias = Some(aligned.then_some(own.start - middle..own.end - middle)?);
            }
        }
        match (weight, bias) {
            (Some(units), None) => Some(Tile { layer: index, units, weight: true, bias: false }),
            (None, Some(units)) => Some(Tile { layer: index, units, weight: false, bias: true }),
            (Some(units), Some(b)) if units == b => Some(Tile { layer: index, units, weight: true, bias: true }),
            _ => None,
        }
    }

    /// Values of ẑ: those of z if it has weights, and 1 if it has biases.
    pub fn z_len(&self, layer: &Layer) -> usize {
        self.width(layer) + usize::from(self.bias)
    }

    /// Weights of one output.
    fn width(&self, layer: &Layer) -> usize {
        if self.weight { layer.inputs } else { 0 }
    }

    /// Its number of parameters.
    pub fn len(&self, layer: &Layer) -> usize {
        self.units.len() * self.z_len(layer)
    }

    /// Where it lies in θ: weights, then biases.
    pub fn ranges(&self, layer: &Layer) -> Vec<Range<usize>> {
        let (start, width) = (layer.range.start, layer.inputs);
        let middle = start + layer.outputs * width;
        let weight = self.weight.then(|| start + self.units.start * width..start + self.units.end * width);
        let bias = self.bias.then(|| middle + self.units.start..middle + self.units.end);
        weight.into_iter().chain(bias).collect()
    }

    /// Place in the block, in the order of θ, of the a-th entry of ẑ for the i-th of its outputs.
    pub fn place(&self, layer: &Layer, i: usize, a: usize) -> usize {
        let width = self.width(layer);
        if a < width { i * width + a } else { self.units.len() * width + i }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use eigenlens_nets::Grouping;

    #[test]
    fn a_tile_lies_where_its_part_does() {
        for case in cases() {
            let model = &case.model;
            for grouping in [Grouping::Layer, Grouping::Tensor, Grouping::Neuron] {
                for part in model.blocks(&grouping).unwrap() {
                    let tile = Tile::of(model, &part).expect("rows of a layer");
                    let layer = &model.layers()[tile.layer];
                    assert_eq!(Part::new("", "", tile.ranges(layer)).ranges, part.ranges);
                    assert_eq!(tile.len(layer), part.len());
                }
            }
            assert_eq!(Tile::of(model, &model.layer_blocks()[1]), Some(Tile::layer(model, 1)));
        }
    }

    #[test]
    fn other_parts_are_no_tiles() {
        let model = &cases().swap_remove(0).model;
        let part = |ranges: &[(usize, usize)]| Part::new("", "", ranges.iter().map(|&(a, b)| a..b).collect());
        let none = |ranges: &[(usize, usize)]| Tile::of(model, &part(ranges)).is_none();
        // Layer 0 has 5 rows of 4 weights and 5 biases, layer 1 has 6 rows of 5.
        assert!(none(&[(0, model.len())]));
        assert!(none(&[(0, 3)]) && none(&[(2, 6)]) && none(&[(0, 4), (8, 12)]) && none(&[(0, 4), (21, 22)]));
        assert!(none(&[(20, 30)]) && none(&[(0, 4), (25, 30)]) && none(&[(20, 21), (22, 23)]));
        assert!(!none(&[(4, 12), (21, 23)]) && !none(&[(20, 25)]) && !none(&[(25, 30)]));
    }
}
