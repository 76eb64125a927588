//! Convolutions and pools against plain loops, and their maps through the tester, for windows of every sort.

use eigenlens_linalg::Par;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Window;
use crate::check::{check_op, draw};
use crate::family::Linear;
use crate::op::{Cx, Lanes, Op, Primal, Shape, Slot};
use crate::ops::{AvgPool2d, Conv2d, MaxPool2d, Sample};
use crate::tests::config;
use eigenlens_linalg::{Real, Write};

/// Position read by a tap, if it is inside.
fn read(w: &Window, axis: usize, at: usize, tap: usize, extent: usize) -> Option<usize> {
    (at * w.stride[axis] + tap * w.dilation[axis]).checked_sub(w.padding[axis]).filter(|&p| p < extent)
}

/// Calls `f` with (output pixel, tap, input pixel) for all that meet.
fn each(w: &Window, input: [usize; 2], output: [usize; 2], mut f: impl FnMut(usize, usize, usize)) {
    for (oy, ox) in (0..output[0]).flat_map(|y| (0..output[1]).map(move |x| (y, x))) {
        for (i, j) in (0..w.kernel[0]).flat_map(|i| (0..w.kernel[1]).map(move |j| (i, j))) {
            if let (Some(y), Some(x)) = (read(w, 0, oy, i, input[0]), read(w, 1, ox, j, input[1])) {
                f(oy * output[1] + ox, i * w.kernel[1] + j, y * input[1] + x);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Layer {
    input: [usize; 3],
    outputs: usize,
    window: Window,
    groups: usize,
    bias: bool,
}

impl Layer {
    fn op(&self) -> Conv2d {
        Conv2d::new(self.input, self.outputs, self.window).groups(self.groups)
    }

    fn inputs(&self) -> Vec<(Shape, Sample)> {
        let mut list = vec![(Shape::batched(&self.input), Sample::Normal)];
        list.push((Shape::fixed(&self.op().weight_dims()), Sample::Normal));
        if self.bias {
            list.push((Shape::fixed(&[self.outputs]), Sample::Normal));
        }
        list
    }

    fn naive(&self, x: &[Vec<f64>], batch: usize) -> Vec<f64> {
        let [channels, height, width] = self.input;
        let [outputs, oh, ow] = self.op().output_dims().unwrap();
        let (plane, pixels, taps) = (height * width, oh * ow, self.window.taps());
        let (ins, outs) = (channels / self.groups, outputs / self.groups);
        let mut y = vec![0.0; batch * outputs * pixels];
        for (n, o) in (0..batch).flat_map(|n| (0..outputs).map(move |o| (n, o))) {
            let y = &mut y[(n * outputs + o) * pixels..][..pixels];
            y.fill(if self.bias { x[2][o] } else { 0.0 });
            for c in 0..ins {
                let x_at = (n * channels + o / outs * ins + c) * plane;
                each(&self.window, [height, width], [oh, ow], |to, tap, from| {
                    y[to] += x[1][(o * ins + c) * taps + tap] * x[0][x_at + from];
                });
            }
        }
        y
    }
}

fn windows() -> impl Strategy<Value = Window> {
    let pair = |low: usize, high: usize| [low..=high, low..=high];
    (pair(1, 3), pair(1, 3), pair(0, 2), pair(1, 2)).prop_map(|(kernel, stride, padding, dilation)| Window {
        kernel,
        stride,
        padding,
        dilation,
    })
}

fn layers() -> impl Strategy<Value = Layer> {
    let channels = (1..=3usize, 1..=3usize, 1..=3usize);
    (windows(), channels, 3..=7usize, 3..=7usize, any::<bool>())
        .prop_map(|(window, (ins, outs, groups), height, width, bias)| {
            let input = [ins * groups, height, width];
            Layer { input, outputs: outs * groups, window, groups, bias }
        })
        .prop_filter("the window fits", |l| l.op().output_dims().is_ok())
}

fn pools() -> impl Strategy<Value = (Window, usize, usize)> {
    (windows(), 3..=7usize, 3..=7usize).prop_filter("no window misses the image", |&(window, height, width)| {
        let op = MaxPool2d::new([2, height, width], window);
        Op::<f64>::output_shape(&op, &[Shape::batched(&[2, height, width])]).is_ok()
    })
}

/// What the tester finds, but for NaN in a first pixel or tap where no window brings the two into an image.
fn failures(op: &dyn Op<f64>, inputs: &[(Shape, Sample)], window: &Window, batch: usize, seed: u64) -> Vec<String> {
    let dims = &inputs[0].0.dims;
    let (input, mut pixel, mut weight) = ([dims[1], dims[2]], false, false);
    each(window, input, window.output(input).unwrap(), |_, tap, from| {
        pixel |= from == 0;
        weight |= tap == 0;
    });
    let report = check_op("drawn", op, inputs, batch, seed);
    let unseen = |detail: &str| !pixel && detail.contains("input 0") || !weight && detail.contains("input 1");
    report
        .failures()
        .filter(|r| r.check != "NaN is not swallowed" || !unseen(&r.detail))
        .map(ToString::to_string)
        .collect()
}

fn eval<T: Real>(op: &dyn Op<T>, x: &[Vec<f64>], batch: usize, len: usize) -> Vec<f64> {
    let x: Vec<Vec<T>> = x.iter().map(|x| x.iter().map(|&x| T::from_f64(x)).collect()).collect();
    let slices: Vec<&[T]> = x.iter().map(Vec::as_slice).collect();
    let lens: Vec<usize> = x.iter().map(Vec::len).collect();
    let (mut y, mut saved) = (vec![T::from_f64(f64::NAN); len], vec![T::ZERO; op.saved_len(&lens, len)]);
    op.eval(&Cx { batch, par: Par::Seq }, &slices, &mut y, &mut saved);
    y.into_iter().map(|y| y.to_f64()).collect()
}

/// All cotangents of an op with one for its output, in this precision.
fn vjp<T: Real>(op: &dyn Op<T>, x: &[Vec<f64>], gy: &[f64], batch: usize) -> Vec<f64> {
    let cast = |v: &[f64]| -> Vec<T> { v.iter().map(|&x| T::from_f64(x)).collect() };
    let (x, gy): (Vec<Vec<T>>, Vec<T>) = (x.iter().map(|x| cast(x)).collect(), cast(gy));
    let slices: Vec<&[T]> = x.iter().map(Vec::as_slice).collect();
    let mut gx: Vec<Vec<T>> = x.iter().map(|x| vec![T::ZERO; x.len()]).collect();
    let mut slots: Vec<_> = gx.iter_mut().map(|g| Some(Slot { data: g, lanes: 1, write: Write::Set })).collect();
    let primal = Primal { x: &slices, y: &[], saved: &[] };
    op.vjp(&Cx { batch, par: Par::Seq }, primal, Lanes::new(&gy, 1), &mut slots);
    gx.concat().into_iter().map(|g| g.to_f64()).collect()
}

fn points(inputs: &[(Shape, Sample)], batch: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    inputs.iter().map(|(s, how)| draw(&mut rng, *how, s.len(batch))).collect()
}

fn close(a: &[f64], b: &[f64], bound: f64) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m, d| if d <= m { m } else { d });
    assert!(worst <= bound, "{worst:e} > {bound:e}");
}

/// Batches that fill no vector, those that fill one or several, and those that leave some lanes empty.
fn batches(few: usize) -> impl Strategy<Value = usize> {
    prop_oneof![1..=few, prop::sample::select(vec![7usize, 8, 14, 16, 23])]
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn convolutions_are_their_plain_loops_in_both_precisions(l in layers(), batch in batches(4), seed in 0..1000u64) {
        let x = points(&l.inputs(), batch, seed);
        let want = l.naive(&x, batch);
        let terms = (l.input[0] * l.window.taps()) as f64;
        close(&eval::<f64>(&l.op(), &x, batch, want.len()), &want, 1e-15 * 4.0 * terms);
        close(&eval::<f32>(&l.op(), &x, batch, want.len()), &want, 4e-7 * 4.0 * terms);
        let (double, single) = (vjp::<f64>(&l.op(), &x, &want, batch), vjp::<f32>(&l.op(), &x, &want, batch));
        let size = double.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        close(&single, &double, 4e-7 * 50.0 * size);
    }

    #[test]
    fn convolutions_pass_the_tester(l in layers(), batch in batches(3), seed in 0..1000u64) {
        let bad = failures(&l.op(), &l.inputs(), &l.window, batch, seed);
        prop_assert!(bad.is_empty(), "{l:?}\n{}", bad.join("\n"));
    }

    #[test]
    fn pools_are_their_plain_loops_and_pass_the_tester(
        (window, height, width) in pools(), batch in 1..=2usize, seed in 0..1000u64,
    ) {
        let (dims, input) = ([2, height, width], [height, width]);
        let (max, avg) = (MaxPool2d::new(dims, window), Linear(AvgPool2d::new(dims, window)));
        let inputs = [(Shape::batched(&dims), Sample::Distinct)];
        let output = window.output(input).unwrap();
        let (plane, pixels) = (height * width, output[0] * output[1]);
        let x = points(&inputs, batch, seed);
        let (mut means, mut maxima) = (vec![0.0; 2 * batch * pixels], vec![f64::NEG_INFINITY; 2 * batch * pixels]);
        for c in 0..2 * batch {
            each(&window, input, output, |to, _, from| {
                let (to, x) = (c * pixels + to, x[0][c * plane + from]);
                means[to] += x / window.taps() as f64;
                maxima[to] = f64::max(maxima[to], x);
            });
        }
        close(&eval::<f64>(&avg, &x, batch, means.len()), &means, 1e-13);
        close(&eval::<f32>(&avg, &x, batch, means.len()), &means, 1e-5);
        prop_assert_eq!(eval::<f64>(&max, &x, batch, maxima.len()), maxima);
        for op in [&max as &dyn Op<f64>, &avg] {
            let bad = failures(op, &inputs, &window, batch, seed);
            prop_assert!(bad.is_empty(), "{:?}\n{}", window, bad.join("\n"));
        }
    }
}

#[test]
fn wide_layers_and_large_batches_cross_packs_and_lanes() {
    // Several packs with a rest, pixels that are few, groups that are wide.
    for (input, outputs, window, groups, batch) in [
        ([3, 5, 5], 4, Window::square(5), 1, 300),
        ([2, 9, 9], 3, Window::square(3).padding(1), 1, 11),
        ([4, 6, 6], 4, Window::square(3).stride(2).padding(1), 2, 31),
    ] {
        let l = Layer { input, outputs, window, groups, bias: true };
        let x = points(&l.inputs(), batch, 3);
        let want = l.naive(&x, batch);
        close(&eval::<f64>(&l.op(), &x, batch, want.len()), &want, 1e-12);
        let bad = failures(&l.op(), &l.inputs(), &window, batch.min(40), 5);
        assert!(bad.is_empty(), "{}", bad.join("\n"));
    }
}

#[test]
fn average_pools_of_neighbouring_windows_pass_the_tester() {
    for (size, kernel, stride) in [([6, 4], 2, 2), ([7, 5], 2, 2), ([9, 7], 3, 3), ([8, 9], 4, 4), ([6, 6], 2, 3)] {
        let window = Window::square(kernel).stride(stride);
        let dims = [2, size[0], size[1]];
        let op = Linear(AvgPool2d::new(dims, window));
        let inputs = [(Shape::batched(&dims), Sample::Normal)];
        let (x, output) = (points(&inputs, 3, 1), window.output(size).unwrap());
        let (plane, pixels) = (size[0] * size[1], output[0] * output[1]);
        let mut means = vec![0.0; 6 * pixels];
        for c in 0..6 {
            each(&window, size, output, |to, _, from| {
                means[c * pixels + to] += x[0][c * plane + from] / window.taps() as f64;
            });
        }
        close(&eval::<f64>(&op, &x, 3, means.len()), &means, 1e-14);
        close(&eval::<f32>(&op, &x, 3, means.len()), &means, 1e-6);
        let bad = failures(&op, &inputs, &window, 3, 2);
        assert!(bad.is_empty(), "{size:?} {kernel} {stride}\n{}", bad.join("\n"));
    }
}

#[test]
fn max_pool_takes_the_first_of_equals_and_lets_nan_through() {
    let op = MaxPool2d::new([1, 2, 4], Window::square(2).stride(2));
    let x = [1.0, 2.0, f64::NAN, 9.0, 2.0, 0.0, 3.0, 4.0];
    let (mut y, mut at) = ([0.0; 2], [0.0; 2]);
    op.eval(&Cx { batch: 1, par: Par::Seq }, &[&x], &mut y, &mut at);
    assert_eq!((y[0], at), (2.0, [1.0, 2.0]));
    assert!(y[1].is_nan());
    // All −∞: still one of them.
    op.eval(&Cx { batch: 1, par: Par::Seq }, &[&[f64::NEG_INFINITY; 8]], &mut y, &mut at);
    assert_eq!((y, at), ([f64::NEG_INFINITY; 2], [0.0, 2.0]));
}

#[test]
fn windows_that_miss_the_image_are_those_of_the_plain_search() {
    let mut missing = 0;
    for at in 0..6 * 3 * 6 * 9 * 6 {
        let [kernel, stride, padding, dilation, extent] =
            [at % 6 + 1, at / 6 % 3 + 1, at / 18 % 6, at / 108 % 9 + 1, at / 972 + 1];
        let window =
            Window { kernel: [kernel, 1], stride: [stride, 1], padding: [padding, 0], dilation: [dilation, 1] };
        let Ok(output) = window.output([extent, 2]) else { continue };
        let sees = |o: usize| (0..kernel).any(|t| read(&window, 0, o, t, extent).is_some());
        let plain = !(0..output[0]).all(sees);
        assert_eq!(window.misses([extent, 2], output), plain, "{window:?} on {extent}");
        missing += usize::from(plain);
        let useful = window.useful(0, extent, output[0]);
        let reads = |t: usize| (0..output[0]).any(|o| read(&window, 0, o, t, extent).is_some());
        assert!((0..kernel).all(|t| !reads(t) || useful.contains(&t)), "{window:?} on {extent}: {useful:?}");
    }
    assert!(missing > 100, "only {missing} windows miss");
}

#[test]
fn windows_far_larger_than_the_image_cost_what_they_see() {
    // 10¹² taps, of which 4 × 4 read something; every output sees the whole image.
    let (kernel, extent) = (1 << 20, 2);
    let window = Window::square(kernel).padding(kernel / 2);
    let dims = [1, extent, extent];
    let inputs = [(Shape::batched(&dims), Sample::Normal)];
    let x = points(&inputs, 2, 3);
    let op = Linear(AvgPool2d::new(dims, window));
    let out = Op::<f64>::output_shape(&op, &[inputs[0].0.clone()]).unwrap();
    let sums: Vec<f64> = x[0].chunks_exact(4).map(|x| x.iter().sum::<f64>() / (kernel * kernel) as f64).collect();
    let y = eval::<f64>(&op, &x, 2, out.len(2));
    assert!(
        y.chunks_exact(out.size())
            .zip(&sums)
            .all(|(y, s)| y.iter().all(|y| (y - s).abs() <= 4.0 * f64::EPSILON * s.abs() + 1e-25))
    );
    // A convolution with a wide border and few outputs does not write the border out.
    let wide = Window { stride: [1 << 20; 2], ..Window::square(3).padding(1 << 20) };
    let l = Layer { input: [1, 3, 3], outputs: 2, window: wide, groups: 1, bias: true };
    let x = points(&l.inputs(), 2, 5);
    let want = l.naive(&x, 2);
    close(&eval::<f64>(&l.op(), &x, 2, want.len()), &want, 1e-13);
}

#[test]
fn shapes_that_do_not_meet_say_both() {
    let refuse = |op: &dyn Op<f64>, shapes: &[Shape]| op.output_shape(shapes).unwrap_err();
    let x = Shape::batched(&[4, 5, 5]);
    let w = Shape::fixed(&[6, 4, 3, 3]);
    let large = Conv2d::new([4, 5, 5], 6, Window::square(7).padding(0));
    let text = refuse(&large, &[x.clone(), w.clone()]);
    assert!(text.contains("kernel 7×7") && text.contains("image 5×5"), "{text}");
    let text = refuse(&Conv2d::new([4, 5, 5], 6, Window::square(3)).groups(4), &[x.clone(), w.clone()]);
    assert!(text.contains("4 groups must divide 4 input channels and 6 output channels"), "{text}");
    let conv = Conv2d::new([4, 5, 5], 6, Window::square(3));
    let text = refuse(&conv, &[x.clone(), Shape::fixed(&[6, 3, 3, 3])]);
    assert!(
        text.contains("(6, 4, 3, 3)") && text.contains("(6, 3, 3, 3)") && text.contains("(batch, 4, 5, 5)"),
        "{text}"
    );
    let text = refuse(&conv, &[Shape::batched(&[100]), w.clone()]);
    assert!(text.contains("(batch, 4, 5, 5)") && text.contains("(batch, 100)"), "{text}");
    let text = refuse(&conv, &[x.clone(), w, Shape::fixed(&[5])]);
    assert!(text.contains("(6)") && text.contains("(5)"), "{text}");
    let text = refuse(&conv, std::slice::from_ref(&x));
    assert!(text.contains("got 1 inputs"), "{text}");
    for window in [Window::square(3).stride(0), Window::square(0), Window::square(3).dilation(0)] {
        assert!(refuse(&MaxPool2d::new([4, 5, 5], window), std::slice::from_ref(&x)).contains("must not be zero"));
    }
    let text = refuse(&MaxPool2d::new([4, 5, 5], Window::square(1).padding(1)), std::slice::from_ref(&x));
    assert!(text.contains("padding 1×1 must be at most half of what the window spans, 1×1"), "{text}");
    // Two taps so far apart that one stands before the image and the other behind it.
    let apart = Window { kernel: [2, 1], padding: [2, 0], dilation: [7, 1], stride: [1, 1] };
    let text = refuse(&MaxPool2d::new([4, 5, 5], apart), std::slice::from_ref(&x));
    assert!(text.contains("nothing but padding"), "{text}");
    for odd in [
        Window::square(3).padding(usize::MAX / 2),
        Window::square(3).stride(usize::MAX),
        Window::square(3).dilation(usize::MAX / 2 + 1),
        Window::square(usize::MAX),
    ] {
        for op in [&Conv2d::new([4, 5, 5], 6, odd) as &dyn Op<f64>, &MaxPool2d::new([4, 5, 5], odd)] {
            let text = refuse(op, &[x.clone(), Shape::fixed(&[6, 4, 3, 3])][..1 + usize::from(op.name() == "conv2d")]);
            assert!(text.contains("at most 1048576 is possible"), "{text}");
        }
    }
    assert!(refuse(&Conv2d::new([0, 5, 5], 6, Window::square(3)), &[]).contains("got 0 inputs"));
}
