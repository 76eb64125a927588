//! Multilayer perceptrons: plain, residual, with a bottleneck, and split in two branches.

use super::{Merge, Sizes, Task, ZooError};
use crate::spec::{LayerKind, LayerSpec};

/// A linear layer of so many units, its norm and its activation: `name`, `name.norm`, `name.act`.
fn unit(s: &Sizes, name: &str, units: usize) -> Vec<LayerSpec> {
    let mut layers = vec![LayerSpec::linear(name, units, true, s.init)];
    layers.extend(s.norm(&format!("{name}.norm"), units));
    layers.push(s.activation(&format!("{name}.act")));
    layers
}

/// `depth` hidden layers of `width` units, and the head.
pub(super) fn plain(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let mut layers = s.family.vector(task)?;
    layers.extend((1..=s.depth).flat_map(|i| unit(s, &format!("fc{i}"), s.width)));
    layers.push(s.head(task));
    Ok(layers)
}

/// h ← W x + b once, then `depth` times h ← h + σ(W norm(h) + b), and the head. Without skips, h ← σ(W norm(h) + b): the
/// same parameters, so that the two can be compared.
pub(super) fn residual(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let mut layers = s.family.vector(task)?;
    layers.push(LayerSpec::linear("embed", s.width, true, s.plain_init));
    let mut stream = "embed".to_string();
    for i in 1..=s.depth {
        let name = format!("fc{i}");
        layers.extend(s.norm(&format!("{name}.norm"), s.width));
        layers.push(LayerSpec::linear(&name, s.width, true, s.init));
        layers.push(s.activation(&format!("{name}.act")));
        if s.skips {
            let sum = format!("h{i}");
            layers.push(LayerSpec::new(&sum, LayerKind::Add).reading(&[&format!("{name}.act"), &stream]));
            stream = sum;
        }
    }
    layers.push(s.head(task));
    Ok(layers)
}

/// `depth` hidden layers, of which the middle one has `bottleneck` units and the others `width`.
pub(super) fn bottleneck(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let mut layers = s.family.vector(task)?;
    let middle = s.depth.div_ceil(2);
    for i in 1..=s.depth {
        layers.extend(unit(s, &format!("fc{i}"), if i == middle { s.bottleneck } else { s.width }));
    }
    layers.push(s.head(task));
    Ok(layers)
}

/// One hidden layer, from it two branches of `depth` layers, their merger, and the head.
pub(super) fn diamond(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let mut layers = s.family.vector(task)?;
    layers.extend(unit(s, "stem", s.width));
    let mut ends = Vec::new();
    for side in ["left", "right"] {
        for i in 1..=s.depth {
            let mut part = unit(s, &format!("{side}{i}"), s.width);
            if i == 1 {
                part[0] = part[0].clone().reading(&["stem.act"]);
            }
            layers.extend(part);
        }
        ends.push(format!("{side}{}.act", s.depth));
    }
    let kind = match s.merge {
        Merge::Add => LayerKind::Add,
        Merge::Mul => LayerKind::Mul,
        Merge::Concat => LayerKind::Concat { axis: 0 },
        Merge::Bilinear => LayerKind::Bilinear { units: s.width, bias: true },
    };
    let merged = LayerSpec::new("merge", kind).reading(&[&ends[0], &ends[1]]);
    layers.push(LayerSpec { init: (s.merge == Merge::Bilinear).then_some(s.plain_init), ..merged });
    layers.push(s.head(task));
    Ok(layers)
}
