//! y = W ⋆ x + b: the convolutional layer, a cross-correlation with zero padding.
//!
//! x is (batch, C, H, W), the weight (O, C/groups, kh, kw), the bias (O), PyTorch's layouts. With X_n the patches of image
//! n as columns, one row for each tap (C/groups · kh · kw of them), one column for each output pixel, for each group:
//!
//! - y_n = W X_n + b, and so ẏ_n = W Ẋ_n + Ẇ X_n + ḃ
//! - X̄_n = Wᵀ ȳ_n, which is added up where it was read; W̄ = Σ_n ȳ_n X_nᵀ, b̄ = Σ_{n,pixels} ȳ_n
//! - x̄̇ from Wᵀ ȳ̇_n + Ẇᵀ ȳ_n, W̄̇ = Σ_n ȳ̇_n X_nᵀ + ȳ_n Ẋ_nᵀ, b̄̇ = Σ ȳ̇_n
//!
//! X_n is seldom written out. Where there are images enough to fill the lanes of a vector, they stand side by side in it and
//! every pixel multiplies the taps that lie inside. Else, in an image with zeros around it each row of X_n is a shifted
//! piece, and the products run on those; with stride 1 the adjoint is itself a correlation, of ȳ with W turned round. Where
//! neither serves (pointwise layers, strided adjoints of a few images), patches of a few images at a time are packed into
//! cache (Chellapilla 2006, "im2col"; for a whole batch they would go through memory). Lanes on W or ȳ share x.

use eigenlens_linalg::reduce::sum;
use eigenlens_linalg::{Real, Write};

use crate::family::{fill_unwritten, pull_both};
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use crate::window::Window;
use crate::window::correlation::Correlation;
use crate::window::interleaved::{Point, Tangents};

/// The convolutional layer; inputs x (batch, C, H, W), W (O, C/groups, kh, kw) and, if there is a bias, b (O).
#[derive(Clone, Copy, Debug)]
pub struct Conv2d(Correlation);

impl Conv2d {
    /// For images of (channels, height, width) and `outputs` channels. Shapes are checked when a graph takes the op.
    pub fn new(input: [usize; 3], outputs: usize, window: Window) -> Self {
        Conv2d(Correlation { input, outputs, window, groups: 1 })
    }

    /// The same with channels in `groups` that don't see each other; as many groups as channels is a depthwise layer.
    pub fn groups(self, groups: usize) -> Self {
        Conv2d(Correlation { groups, ..self.0 })
    }

    /// The shape that the weight must have.
    pub fn weight_dims(&self) -> [usize; 4] {
        let [height, width] = self.0.window.kernel;
        [self.0.outputs, self.0.input[0] / self.0.groups.max(1), height, width]
    }

    /// (channels, height, width) of the output.
    ///
    /// # Errors
    /// If the window does not fit into the image or the groups don't divide the channels.
    pub fn output_dims(&self) -> Result<[usize; 3], String> {
        let [channels, height, width] = self.0.input;
        let (outputs, groups) = (self.0.outputs, self.0.groups);
        if channels == 0 || outputs == 0 || groups == 0 {
            return Err(format!("{channels} channels to {outputs} in {groups} groups: none may be zero"));
        }
        if !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(format!("{groups} groups must divide {channels} input channels and {outputs} output channels"));
        }
        self.0.window.check()?;
        let [height, width] = self.0.window.output([height, width])?;
        Ok([outputs, height, width])
    }
}

/// y ← b on every pixel.
fn fill_planes<T: Real>(bias: &[T], y: &mut [T], pixels: usize) {
    for image in y.chunks_exact_mut(bias.len() * pixels) {
        for (plane, &b) in image.chunks_exact_mut(pixels).zip(bias) {
            plane.fill(b);
        }
    }
}

fn pull_bias<T: Real>(gy: Lanes<'_, T>, slot: &mut Slot<'_, T>, pixels: usize) {
    if slot.write == Write::Set {
        slot.data.fill(T::ZERO);
    }
    for k in 0..gy.lanes {
        let gb = slot.lane(k);
        for image in gy.lane(k).chunks_exact(gb.len() * pixels) {
            gb.iter_mut().zip(image.chunks_exact(pixels)).for_each(|(b, plane)| *b += sum(plane));
        }
    }
}

/// The slots of x and W.
fn on_factors<'s, 'a, T>(slots: &'s mut [Option<Slot<'a, T>>]) -> [Option<&'s mut Slot<'a, T>>; 2] {
    let (x, rest) = slots.split_at_mut(1);
    [x[0].as_mut(), rest[0].as_mut()]
}

/// b̄̇ ← Σ ȳ̇, which may be missing.
fn pull_tangent_bias<T: Real>(dgy: Option<Lanes<'_, T>>, dgx: &mut [Option<Slot<'_, T>>], pixels: usize) {
    if let Some(Some(slot)) = dgx.get_mut(2) {
        match dgy {
            Some(dgy) => pull_bias(dgy, slot, pixels),
            None => fill_unwritten(&mut dgx[2..]),
        }
    }
}

impl<T: Real> Op<T> for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [x, w, bias @ ..] = inputs else {
            return Err(format!("takes x, W and maybe a bias, got {} inputs", inputs.len()));
        };
        let y = self.output_dims()?;
        let want = Shape::batched(&self.0.input);
        if *x != want {
            return Err(format!("the input must have shape {want}, got {x}"));
        }
        let want = Shape::fixed(&self.weight_dims());
        if *w != want {
            return Err(format!("the weight must have shape {want} for an input of {x}, got {w}"));
        }
        match bias {
            [] => {}
            [b] if *b == Shape::fixed(&[self.0.outputs]) => {}
            [b] => return Err(format!("the bias must have shape ({}) for a weight of {w}, got {b}", self.0.outputs)),
            _ => return Err(format!("takes x, W and maybe a bias, got {} inputs", inputs.len())),
        }
        Ok(Shape::batched(&y))
    }

    fn by_sample(&self) -> bool {
        true
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        (i, j) == (0, 1) || (i, j) == (1, 0)
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        let mut write = Write::Set;
        if let Some(bias) = x.get(2) {
            fill_planes(bias, y, self.0.sizes().pixels);
            write = Write::Add;
        }
        let (image, w) = (Lanes::new(x[0], 1), Lanes::new(x[1], 1));
        if let Some(at) = self.0.abreast::<T>(cx.batch) {
            let p = Point { x: x[0], w: x[1], gy: &[] };
            return self.0.push_abreast(&at, p, Tangents { x: Some(image), w: None }, y, write);
        }
        self.0.product(cx.par, image, w, y, write);
    }

    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let mut write = Write::Set;
        if let Some(Some(db)) = dx.get(2) {
            let (lane, pixels) = (dy.len() / db.lanes, self.0.sizes().pixels);
            for (k, dy) in dy.chunks_exact_mut(lane.max(1)).enumerate() {
                fill_planes(db.lane(k), dy, pixels);
            }
            write = Write::Add;
        }
        if let Some(at) = self.0.abreast::<T>(cx.batch).filter(|_| dx[0].is_some() || dx[1].is_some()) {
            let point = Point { x: p.x[0], w: p.x[1], gy: &[] };
            return self.0.push_abreast(&at, point, Tangents { x: dx[0], w: dx[1] }, dy, write);
        }
        if let Some(dx) = dx[0] {
            self.0.product(cx.par, dx, Lanes::new(p.x[1], 1), dy, write);
            write = Write::Add;
        }
        if let Some(dw) = dx[1] {
            self.0.product(cx.par, Lanes::new(p.x[0], 1), dw, dy, write);
        }
    }

    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        if let Some(at) = self.0.abreast::<T>(cx.batch) {
            let point = Point { x: p.x[0], w: p.x[1], gy: &[] };
            self.0.pull_abreast(&at, point, Tangents { x: None, w: None }, Some(gy), on_factors(gx));
            return pull_tangent_bias(Some(gy), gx, self.0.sizes().pixels);
        }
        if let Some(slot) = &mut gx[0] {
            self.0.pull_x(cx.par, gy, Lanes::new(p.x[1], 1), slot);
        }
        if let Some(slot) = &mut gx[1] {
            self.0.pull_w(cx.par, gy, Lanes::new(p.x[0], 1), slot);
        }
        pull_tangent_bias(Some(gy), gx, self.0.sizes().pixels);
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        let gy = Lanes::new(cotangent.gy, 1);
        if let Some(at) = self.0.abreast::<T>(cx.batch) {
            let point = Point { x: p.x[0], w: p.x[1], gy: cotangent.gy };
            self.0.pull_abreast(&at, point, Tangents { x: dx[0], w: dx[1] }, dgy, on_factors(dgx));
            return pull_tangent_bias(dgy, dgx, self.0.sizes().pixels);
        }
        if let Some(slot) = &mut dgx[0] {
            let slope = dgy.map(|dgy| (dgy, Lanes::new(p.x[1], 1)));
            pull_both(slot, slope, dx[1].map(|dw| (gy, dw)), |gy, w, slot| self.0.pull_x(cx.par, gy, w, slot));
        }
        if let Some(slot) = &mut dgx[1] {
            let slope = dgy.map(|dgy| (dgy, Lanes::new(p.x[0], 1)));
            pull_both(slot, slope, dx[0].map(|dx| (gy, dx)), |gy, x, slot| self.0.pull_w(cx.par, gy, x, slot));
        }
        pull_tangent_bias(dgy, dgx, self.0.sizes().pixels);
    }
}
