//! Ops that move, gather and add up values, in all shapes and against plain indexing.

use proptest::prelude::*;

use super::*;
use crate::family::{Linear, Product};
use crate::ops::{Add, AddParam, Concat, Embedding, MeanOver, Outer, Permute, Reshape, ScaleBy, Select};

fn batched(dims: &[usize]) -> Inputs {
    vec![(Shape::batched(dims), Sample::Normal)]
}

fn with(dims: &[usize], param: &[usize]) -> Inputs {
    vec![(Shape::batched(dims), Sample::Normal), (Shape::fixed(param), Sample::Normal)]
}

/// The place of a value of a row-major tensor.
fn at(dims: &[usize], index: &[usize]) -> usize {
    dims.iter().zip(index).fold(0, |place, (d, i)| place * d + i)
}

/// The index of a place.
fn index(dims: &[usize], mut place: usize) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (i, d) in index.iter_mut().zip(dims).rev() {
        (*i, place) = (place % d, place / d);
    }
    index
}

fn dims() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1usize..5, 1..4)
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn permutations((dims, order) in dims().prop_flat_map(|d| {
        let axes: Vec<usize> = (0..d.len()).collect();
        (Just(d), Just(axes).prop_shuffle())
    }), batch in 1usize..4, seed in 0u64..99) {
        let op = Linear(Permute::new(&dims, &order));
        sound(&op, &op, &batched(&dims), batch, seed);
        let x = random(&batched(&dims), batch, seed);
        let (y, _) = eval::<f64>(&op, batch, &x, x[0].len());
        let out = shape(&op, &batched(&dims)).unwrap().dims;
        let size: usize = dims.iter().product();
        for (place, y) in y.iter().enumerate() {
            let to = index(&out, place % size);
            let mut from = vec![0; dims.len()];
            order.iter().zip(&to).for_each(|(&o, &i)| from[o] = i);
            prop_assert_eq!(*y, x[0][place / size * size + at(&dims, &from)]);
        }
    }

    #[test]
    fn parts_and_means_of_an_axis(dims in dims(), axis in 0usize..3, start in 0usize..4, len in 1usize..4, batch in 1usize..4,
        seed in 0u64..99) {
        let axis = axis % dims.len();
        let start = start % dims[axis];
        let range = start..(start + len).min(dims[axis]);
        let inputs = batched(&dims);
        let x = random(&inputs, batch, seed);
        let size: usize = dims.iter().product();
        let entry = |n: usize, i: &[usize]| x[0][n * size + at(&dims, i)];

        let part = Linear(Select::range(&dims, axis, range.clone()));
        let one = Linear(Select::index(&dims, axis, start));
        let mean = Linear(MeanOver::new(&dims, axis..axis + 1));
        for op in [&part as &dyn Op<f64>, &one, &mean] {
            let out = shape(op, &inputs).unwrap();
            let (y, _) = eval(op, batch, &x, out.len(batch));
            for (place, y) in y.iter().enumerate() {
                let (n, mut i) = (place / out.size(), index(&out.dims, place % out.size()));
                let want = match op.name() {
                    "select" if out.dims.len() == dims.len() => {
                        i[axis] += start;
                        entry(n, &i)
                    }
                    "select" => {
                        i.insert(axis, start);
                        entry(n, &i)
                    }
                    _ => {
                        i.insert(axis, 0);
                        let all = (0..dims[axis]).map(|j| { i[axis] = j; entry(n, &i) });
                        all.sum::<f64>() / dims[axis] as f64
                    }
                };
                prop_assert!((y - want).abs() < 1e-13);
            }
        }
        sound(&part, &part, &inputs, batch, seed);
        sound(&one, &one, &inputs, batch, seed);
        sound(&mean, &mean, &inputs, batch, seed);
    }

    #[test]
    fn concatenations(dims in dims(), axis in 0usize..3, extents in proptest::collection::vec((1usize..4, any::<bool>()), 1..5),
        batch in 1usize..4, seed in 0u64..99) {
        let axis = axis % dims.len();
        let shapes: Vec<Shape> = extents.iter().enumerate().map(|(i, &(extent, batched))| {
            let mut dims = dims.clone();
            dims[axis] = extent;
            Shape { dims, batched: batched || i == 0 }
        }).collect();
        let inputs: Inputs = shapes.iter().map(|s| (s.clone(), Sample::Normal)).collect();
        let op = Concat::new(axis, &shapes);
        sound(&op, &op, &inputs, batch, seed);
        let x = random(&inputs, batch, seed);
        let out = shape(&op, &inputs).unwrap();
        let (y, _) = eval::<f64>(&op, batch, &x, out.len(batch));
        for (place, y) in y.iter().enumerate() {
            let (n, mut i) = (place / out.size(), index(&out.dims, place % out.size()));
            let mut of = 0;
            while i[axis] >= shapes[of].dims[axis] {
                i[axis] -= shapes[of].dims[axis];
                of += 1;
            }
            let n = if shapes[of].batched { n } else { 0 };
            prop_assert_eq!(*y, x[of][n * shapes[of].size() + at(&shapes[of].dims, &i)]);
        }
    }

    #[test]
    fn parameters_for_all_samples(dims in dims(), skip in 0usize..4, batch in 1usize..4, seed in 0u64..99) {
        let param = &dims[skip.min(dims.len())..];
        let op = Linear(AddParam);
        sound(&op, &op, &with(&dims, param), batch, seed);
        let x = random(&with(&dims, param), batch, seed);
        let want: Vec<f64> = x[0].iter().enumerate().map(|(i, v)| v + x[1][i % x[1].len()]).collect();
        prop_assert_eq!(eval::<f64>(&op, batch, &x, want.len()).0, want);

        // A table with more rows than a sample reads.
        let table: Vec<usize> = dims.iter().enumerate().map(|(i, d)| d + if i == 0 { skip } else { 0 }).collect();
        sound(&op, &op, &with(&dims, &table), batch, seed);
        let x = random(&with(&dims, &table), batch, seed);
        let size = dims.iter().product::<usize>();
        let want: Vec<f64> = x[0].iter().enumerate().map(|(i, v)| v + x[1][i % size]).collect();
        prop_assert_eq!(eval::<f64>(&op, batch, &x, want.len()).0, want);

        let scalar: &[usize] = if skip == 0 { &[] } else { &[1] };
        let op = Product(ScaleBy);
        sound(&op, &op, &with(&dims, scalar), batch, seed);
        let x = random(&with(&dims, scalar), batch, seed);
        let want: Vec<f64> = x[0].iter().map(|v| v * x[1][0]).collect();
        prop_assert_eq!(eval::<f64>(&op, batch, &x, want.len()).0, want);
    }

    #[test]
    fn embeddings(tokens in 1usize..6, vocabulary in 1usize..6, features in 1usize..5, batch in 1usize..4, seed in 0u64..99) {
        let op = Embedding { vocabulary, features };
        let indices = (Shape::batched(&[tokens]), Sample::Label(vocabulary));
        let inputs = vec![indices, (Shape::fixed(&[vocabulary, features]), Sample::Normal)];
        sound(&op, &op, &inputs, batch, seed);
        let x = random(&inputs, batch, seed);
        let want: Vec<f64> = x[0].iter().flat_map(|&t| x[1][t as usize * features..].iter().take(features).copied()).collect();
        prop_assert_eq!(eval::<f64>(&op, batch, &x, want.len()).0, want);
    }
}

#[test]
fn an_index_outside_of_the_table_gives_nan_and_no_panic() {
    let op = Embedding { vocabulary: 3, features: 2 };
    let x = vec![vec![2.0, -1.0, 3.0, 0.5, f64::NAN, f64::INFINITY, 1e300, 0.0], vec![1.0; 6]];
    let (y, saved) = eval::<f64>(&op, 1, &x, 16);
    for (n, row) in y.chunks_exact(2).enumerate() {
        assert!(row.iter().all(|v| v.is_nan() != (n == 0 || n == 7)), "row {n}: {row:?}");
    }
    let slices: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
    let mut table = [f64::NAN; 6];
    let slot = Slot { data: &mut table, lanes: 1, write: Write::Set };
    let p = Primal { x: &slices, y: &y, saved: &saved };
    op.vjp(&Cx { batch: 1, par: Par::Seq }, p, Lanes::new(&[1.0; 16], 1), &mut [None, Some(slot)]);
    assert_eq!(table, [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn the_mean_over_an_image_takes_two_axes() {
    let op = Linear(MeanOver::new(&[2, 2, 3], 1..3));
    let x: Vec<f64> = (0..12).map(f64::from).collect();
    assert_eq!(shape(&op, &batched(&[2, 2, 3])).unwrap(), Shape::batched(&[2]));
    assert_eq!(eval::<f64>(&op, 1, &[x], 2).0, [2.5, 8.5]);
}

#[test]
fn shapes_that_do_not_meet_are_refused() {
    let x = batched(&[2, 3]);
    let refused = |op: &dyn Op<f64>, inputs: &Inputs, why: &str| {
        let reason = shape(op, inputs).unwrap_err();
        assert!(reason.contains(why), "{reason}");
    };
    refused(&Linear(Permute::new(&[2, 3], &[0, 0])), &x, "no order");
    refused(&Linear(Permute::new(&[2, 3], &[0, 7])), &x, "no order");
    refused(&Linear(Permute::new(&[3, 2], &[1, 0])), &x, "(batch, 3, 2)");
    refused(&Linear(Select::index(&[2, 3], 1, 3)), &x, "axis 1");
    refused(&Linear(Select::index(&[2, 3], 0, usize::MAX)), &x, "axis 0");
    refused(&Linear(Select::range(&[2, 3], 2, 0..1)), &x, "no axis 2");
    refused(&Linear(Select::range(&[2, 3], 0, 1..1)), &x, "axis 0");
    refused(&Linear(MeanOver::new(&[2, 3], 1..3)), &x, "no axes");
    let pair = [Shape::batched(&[2, 3]), Shape::batched(&[3, 3])];
    let both: Inputs = pair.iter().map(|s| (s.clone(), Sample::Normal)).collect();
    refused(&Concat::new(1, &pair), &both, "differ in more than axis 1");
    refused(&Concat::new(2, &pair), &both, "no axis 2");
    refused(&Concat::new(0, &pair[..1]), &both, "made for");
    refused(&Linear(AddParam), &with(&[2, 3], &[2]), "last ones");
    refused(&Linear(AddParam), &with(&[2, 3], &[1, 3]), "last ones");
    refused(&Linear(AddParam), &with(&[2, 3], &[2, 4]), "last ones");
    refused(&Product(ScaleBy), &with(&[2, 3], &[2]), "one value");
    refused(&Embedding { vocabulary: 4, features: 3 }, &with(&[2], &[3, 3]), "(4, 3)");
}

#[test]
fn sizes_that_no_memory_holds_are_refused_before_they_wrap() {
    let large = |graph: Result<_, crate::GraphError>, node: &str, what: &str| {
        let error = graph.unwrap_err();
        assert!(matches!(&error, crate::GraphError::TooLarge { node: n, .. } if n == node), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    let fresh = || {
        let mut graph = crate::Graph::<f64>::new();
        let x = graph.input("x", &[64]);
        (graph, x)
    };
    // 2⁶⁴ values wrap to 0, 2⁶⁴ + 64 to 64.
    let (mut graph, x) = fresh();
    let wide = graph.param("w", &[1 << 32, 1 << 32]);
    large(graph.op("y", Linear(Add), &[wide, wide]), "w", "(4294967296, 4294967296)");
    let odd = [3, usize::MAX / 3 * 2 + 22];
    assert_eq!(odd[0].wrapping_mul(odd[1]), 64);
    assert!(graph.op("r", Linear(Reshape(vec![1 << 32, 1 << 32, 64])), &[x]).is_err());
    assert!(graph.op("r", Linear(Reshape(odd.to_vec())), &[x]).is_err());
    assert_eq!(crate::volume(&[1 << 40, 1 << 40, 0]), 0);
    // Each parameter is possible, all of them are not.
    let (mut graph, _) = fresh();
    let half: Vec<_> = (0..3).map(|i| graph.param(&format!("p{i}"), &[1 << 39])).collect();
    assert!(graph.op("ok", Linear(Add), &half[..2]).is_ok());
    large(graph.op("y", Linear(Add), &half), "p2", "parameters up to");
    // The result, or only what the derivatives need: a table of 2²² × 2²² for each of 4 heads.
    let (mut graph, x) = fresh();
    let column = graph.op("c", Linear(Reshape(vec![64, 1])), &[x]).unwrap();
    let long: Vec<_> = (0..8).map(|_| column).collect();
    let shapes: Vec<_> = long.iter().map(|&i| graph.shape(i).clone()).collect();
    assert!(graph.op("j", Concat::new(1, &shapes), &long).is_ok());
    let q = graph.input("q", &[1 << 22, 4]);
    let op = crate::ops::Attention { tokens: 1 << 22, features: 4, heads: 4, causal: false };
    large(graph.op("a", op, &[q, q, q]), "a", "what its derivatives need");
    let (u, v) = (graph.input("u", &[1 << 21]), graph.input("v", &[1 << 21]));
    large(graph.op("o", Product(Outer { a: 1 << 21, b: 1 << 21 }), &[u, v]), "o", "its result");
}

/// An embedding whose pull-back keeps only the last of several equal indices.
#[derive(Debug)]
struct Forgetful(Embedding);

impl Op<f64> for Forgetful {
    fn name(&self) -> &'static str {
        "mutant"
    }
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Op::<f64>::output_shape(&self.0, inputs)
    }
    fn differentiable(&self, i: usize) -> bool {
        i == 1
    }
    fn couples(&self, _i: usize, _j: usize) -> bool {
        false
    }
    fn eval(&self, cx: &Cx, x: &[&[f64]], y: &mut [f64], saved: &mut [f64]) {
        self.0.eval(cx, x, y, saved);
    }
    fn jvp(&self, cx: &Cx, p: Primal<'_, f64>, dx: &[Option<Lanes<'_, f64>>], dy: &mut [f64]) {
        self.0.jvp(cx, p, dx, dy);
    }
    fn vjp(&self, _cx: &Cx, p: Primal<'_, f64>, gy: Lanes<'_, f64>, gx: &mut [Option<Slot<'_, f64>>]) {
        let (Some(slot), d) = (&mut gx[1], self.0.features) else { return };
        if slot.write == Write::Set {
            slot.data.fill(0.0);
        }
        for k in 0..gy.lanes {
            for (&index, gy) in p.x[0].iter().zip(gy.lane(k).chunks_exact(d)) {
                slot.lane(k)[index as usize * d..][..d].copy_from_slice(gy);
            }
        }
    }
    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, f64>,
        _cotangent: Cotangent<'_, f64>,
        _dx: &[Option<Lanes<'_, f64>>],
        dgy: Option<Lanes<'_, f64>>,
        dgx: &mut [Option<Slot<'_, f64>>],
    ) {
        match dgy {
            Some(dgy) => self.vjp(cx, p, dgy, dgx),
            None => crate::family::fill_unwritten(dgx),
        }
    }
}

#[test]
fn an_embedding_that_forgets_equal_indices_is_rejected() {
    let inputs = vec![(Shape::batched(&[5]), Sample::Label(2)), (Shape::fixed(&[2, 3]), Sample::Normal)];
    let op = Forgetful(Embedding { vocabulary: 2, features: 3 });
    let report = check_op("mutant", &op, &inputs, 2, 7);
    let bad: Vec<_> = report.failures().map(|r| r.check).collect();
    assert!(bad.contains(&"<w, Jv> = <J'w, v>"), "{bad:?}");
}
