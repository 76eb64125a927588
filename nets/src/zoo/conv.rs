//! Convolutional networks: LeNet-5, like VGG-11, and residual networks for small images.

use super::{Norm, Sizes, Task, ZooError};
use crate::init::Init;
use crate::spec::{LayerKind, LayerSpec, Window};

fn conv(name: &str, channels: usize, window: Window, bias: bool, init: Init) -> LayerSpec {
    LayerSpec { init: Some(init), ..LayerSpec::new(name, LayerKind::Conv2d { channels, window, groups: 1, bias }) }
}

/// A window whose steps are its extent.
fn halving() -> Window {
    Window::square(2).stride(2)
}

/// LeNet-5 (LeCun et al. 1998, §II.B) as it is used today: average pooling without weights, every second convolution's
/// channel reads all of the first, softmax instead of radial basis functions. The first convolution keeps the size of the
/// image, which for 28 × 28 pixels is the paper's border of two. `width` and the other sizes stand in 6 : 16 : 120 : 84.
pub(super) fn lenet(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let [_, h, w] = s.family.image(task)?;
    let size = |of: usize| (of * s.width).div_ceil(6);
    if s.kernel.is_multiple_of(2) {
        return Err(s.family.refuse("kernel", format!("must be odd, to keep the size of the image, is {}", s.kernel)));
    }
    let least = 2 * (s.kernel + 1);
    if h < least || w < least {
        let reason =
            format!("needs images of at least {least} × {least} pixels, these have {h} × {w}; make it smaller");
        return Err(s.family.refuse("kernel", reason));
    }
    let first = Window::square(s.kernel).padding(s.kernel / 2);
    Ok(vec![
        conv("conv1", size(6), first, true, s.init),
        s.activation("conv1.act"),
        LayerSpec::new("pool1", LayerKind::AvgPool2d(halving())),
        conv("conv2", size(16), Window::square(s.kernel), true, s.init),
        s.activation("conv2.act"),
        LayerSpec::new("pool2", LayerKind::AvgPool2d(halving())),
        LayerSpec::new("flat", LayerKind::Flatten),
        LayerSpec::linear("fc1", size(120), true, s.init),
        s.activation("fc1.act"),
        LayerSpec::linear("fc2", size(84), true, s.init),
        s.activation("fc2.act"),
        s.head(task),
    ])
}

/// Like VGG-11 (Simonyan & Zisserman 2015, table 1, column A): its eight 3 × 3 convolutions, and one linear layer instead of
/// three. Max pooling halves the image while it has two rows and columns, so that images of 8 to 32 pixels fit.
pub(super) fn vgg(s: &Sizes, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
    let [_, mut h, mut w] = s.family.image(task)?;
    let mut layers = Vec::new();
    // Channels in widths, and whether a pool follows.
    let plan = [(1, true), (2, true), (4, false), (4, true), (8, false), (8, true), (8, false), (8, true)];
    for (i, (widths, pool)) in plan.into_iter().enumerate() {
        let (name, channels) = (format!("conv{}", i + 1), widths * s.width);
        layers.push(conv(&name, channels, Window::square(3).padding(1), true, s.init));
        layers.extend(s.norm(&format!("{name}.norm"), channels));
        layers.push(s.activation(&format!("{name}.act")));
        if pool && h >= 2 && w >= 2 {
            layers.push(LayerSpec::new(&format!("{name}.pool"), LayerKind::MaxPool2d(halving())));
            (h, w) = (h / 2, w / 2);
        }
    }
    layers.push(LayerSpec::new("flat", LayerKind::Flatten));
    layers.push(s.head(task));
    Ok(layers)
}

/// A residual network for small images (He et al. 2016, §4.2): a 3 × 3 stem, stages of `blocks` basic blocks, of which each
/// stage doubles the channels and all but the first halve the image; the mean over pixels, and the head. Where the shape
/// changes, the skip connection is a 1 × 1 convolution (the paper's option B). Convolutions have a bias if nothing normalises.
/// Without skips the same convolutions stand one after the other, those of the skip connections left out.
pub(super) fn resnet(s: &Sizes, task: &Task, blocks: &[usize]) -> Result<Vec<LayerSpec>, ZooError> {
    let [_, h, w] = s.family.image(task)?;
    let least = 1 << (blocks.len() - 1);
    if h < least || w < least {
        return Err(ZooError::Input {
            family: s.family.to_string(),
            needs: "images whose sides can be halved once per stage",
            has: format!("{h} × {w} pixels"),
            remedy: "take larger images, or a network with fewer stages",
        });
    }
    let bias = s.norm == Norm::None;
    // A convolution and its norm; the name of the last of the two.
    let push = |layers: &mut Vec<LayerSpec>, name: &str, channels, window, init, reads: Option<&str>| -> String {
        let layer = conv(name, channels, window, bias, init);
        layers.push(if let Some(reads) = reads { layer.reading(&[reads]) } else { layer });
        let norm = s.norm(&format!("{name}.norm"), channels);
        layers.extend(norm);
        layers.last().map(|l| l.name.clone()).unwrap_or_default()
    };
    let three = |stride| Window::square(3).stride(stride).padding(1);
    let mut layers = Vec::new();
    push(&mut layers, "stem", s.width, three(1), s.init, None);
    let mut stream = "stem.act".to_string();
    layers.push(s.activation(&stream));
    let mut channels = s.width;
    for (stage, &count) in blocks.iter().enumerate() {
        for block in 0..count {
            let name = format!("s{}b{}", stage + 1, block + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let out = s.width << stage;
            push(&mut layers, &format!("{name}.conv1"), out, three(stride), s.init, Some(&stream));
            layers.push(s.activation(&format!("{name}.act1")));
            let end = push(&mut layers, &format!("{name}.conv2"), out, three(1), s.init, None);
            if s.skips {
                let skip = if stride > 1 || out != channels {
                    let window = Window::square(1).stride(stride);
                    push(&mut layers, &format!("{name}.skip"), out, window, s.plain_init, Some(&stream))
                } else {
                    stream
                };
                layers.push(LayerSpec::new(&format!("{name}.add"), LayerKind::Add).reading(&[&end, &skip]));
            }
            stream = format!("{name}.act2");
            layers.push(s.activation(&stream));
            channels = out;
        }
    }
    layers.push(LayerSpec::new("mean", LayerKind::GlobalAvgPool2d));
    layers.push(s.head(task));
    Ok(layers)
}
