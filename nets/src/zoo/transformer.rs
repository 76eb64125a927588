//! Transformers: over patches of images, and over sequences of indices.

use super::{Sizes, Task, ZooError};
use crate::init::Init;
use crate::spec::{LayerKind, LayerSpec, Window};

/// The width of the MLP of a block, in widths of a token (Vaswani et al. 2017, §3.3).
const MLP_RATIO: usize = 4;

/// `depth` blocks that read `stream`, with the norm before each part (Xiong et al. 2020): h ← h + attention(norm(h)), then
/// h ← h + W₂ σ(W₁ norm(h)). At the end a norm, which is the last layer.
fn blocks(s: &Sizes, mut stream: String, causal: bool) -> Vec<LayerSpec> {
    let mut layers = Vec::new();
    let norm = |name: String, reads: &str| s.norm(&name, s.width).map(|n| n.reading(&[reads]));
    for i in 1..=s.depth {
        let part = |what: &str| format!("block{i}.{what}");
        layers.extend(norm(part("norm1"), &stream));
        let attention = LayerSpec::new(&part("attn"), LayerKind::Attention { heads: s.heads, causal });
        layers.push(LayerSpec { init: Some(s.plain_init), ..attention });
        layers.push(LayerSpec::new(&part("mid"), LayerKind::Add).reading(&[&part("attn"), &stream]));
        layers.extend(norm(part("norm2"), &part("mid")));
        layers.push(LayerSpec::linear(&part("up"), MLP_RATIO * s.width, true, s.init));
        layers.push(s.activation(&part("act")));
        layers.push(LayerSpec::linear(&part("down"), s.width, true, s.plain_init));
        stream = part("out");
        layers.push(LayerSpec::new(&stream, LayerKind::Add).reading(&[&part("down"), &part("mid")]));
    }
    layers.extend(norm("norm".to_string(), &stream));
    layers
}

/// A vision transformer (Dosovitskiy et al. 2021) that takes the mean over tokens instead of a class token: patches of
/// `patch` × `patch` pixels become tokens of `width` features, a learned vector is added for each place.
pub(super) fn vit(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let [_, h, w] = s.family.image(task)?;
    if h % s.patch != 0 || w % s.patch != 0 {
        return Err(s.family.refuse("patch", format!("must divide the image's {h} × {w} pixels, is {}", s.patch)));
    }
    let tokens = (h / s.patch) * (w / s.patch);
    let window = Window::square(s.patch).stride(s.patch);
    let kind = LayerKind::Conv2d { channels: s.width, window, groups: 1, bias: true };
    let mut layers = vec![
        LayerSpec { init: Some(s.plain_init), ..LayerSpec::new("patches", kind) },
        LayerSpec::new("rows", LayerKind::Reshape(vec![s.width, tokens])),
        LayerSpec::new("tokens", LayerKind::Permute(vec![1, 0])),
        LayerSpec::new("places", LayerKind::Positional { length: tokens }),
    ];
    layers.extend(blocks(s, "places".to_string(), false));
    layers.push(LayerSpec::new("mean", LayerKind::MeanTokens));
    layers.push(s.head(task));
    Ok(layers)
}

/// A decoder-only transformer (Radford et al. 2018, with the norms before the parts): every token sees itself and the earlier
/// ones, and predicts the next.
pub(super) fn decoder(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let (&[length], Some(vocabulary)) = (&task.input[..], task.vocabulary) else {
        return Err(ZooError::Input {
            family: s.family.to_string(),
            needs: "sequences of indices",
            has: super::described(task),
            remedy: "give data.text, or take `vit` for images",
        });
    };
    let embedding = LayerSpec::new("embed", LayerKind::Embedding { vocabulary, width: s.width });
    let mut layers = vec![
        // As the positions: a larger spread would drown them (Radford et al. 2018, §4.1).
        LayerSpec { init: Some(Init::Normal { sd: 0.02 }), ..embedding },
        LayerSpec::new("places", LayerKind::Positional { length }),
    ];
    layers.extend(blocks(s, "places".to_string(), true));
    layers.push(s.head(task));
    Ok(layers)
}
