//! A product allocates nothing after the first, measured by an allocator that counts for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use eigenlens_hessian::fisher::{Fisher, Moment};
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::LinearOperator;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::objective::{Cut, Kind};
use eigenlens_nets::{Activation, Grouping, Loss};

use crate::nets::{KINDS, Net, linearized, mlp};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // At the end of a thread its variables are gone, and nothing is measured any more.
    let _ = COUNT.try_with(|c| c.set(c.get() + 1));
}

// SAFETY: every call goes to the system's allocator with unchanged arguments, so its guarantees are those of `System`;
// counting neither allocates (the variable is initialised by a constant and has no destructor) nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises on `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `ptr` was given out by `System` through this allocator, with this layout.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` was given out by `System` through this allocator, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of f in this thread.
fn allocations(f: impl FnOnce()) -> usize {
    let before = COUNT.get();
    f();
    COUNT.get() - before
}

/// f in a pool of one thread, so that nothing is handed to another.
fn alone(f: impl FnOnce() + Send) {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(f);
}

fn net(activation: Activation, loss: Loss) -> Net {
    Net { cut: Cut { rows: Some(50), groups: Some(2) }, ..mlp(&[20, 30, 25, 4], activation, loss, 170) }
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn products_allocate_nothing_after_the_first() {
    alone(|| {
        for (activation, loss) in
            [(Activation::Tanh, Loss::CrossEntropy), (Activation::Relu, Loss::Mse), (Activation::Gelu, Loss::Bce)]
        {
            let net = net(activation, loss);
            let (model, samples) = (net.model::<f64>(), net.samples());
            let objective = linearized(&model, &samples, &net.theta(), net.cut);
            let params = model.graph().params();
            for kind in KINDS {
                let plan = objective.plan(params, params, kind).unwrap();
                for lanes in [1, 8] {
                    let x = Distribution::Gaussian.probes(1, 0, lanes, model.len());
                    let mut y = vec![0.0; x.len()];
                    objective.product(&plan, lanes, &x, &mut y);
                    let count = allocations(|| {
                        for _ in 0..3 {
                            objective.product(&plan, lanes, &x, &mut y);
                        }
                    });
                    assert_eq!(count, 0, "{activation} {loss} {kind:?}, {lanes} lanes");
                }
            }
        }
    });
}

#[test]
fn products_of_blocks_in_turn_allocate_nothing_after_the_first_round() {
    alone(|| {
        let net = net(Activation::Silu, Loss::CrossEntropy);
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let blocks: Vec<_> = model
            .layers()
            .iter()
            .map(|l| {
                (
                    objective.plan(&l.params, &l.params, Kind::Hessian).unwrap(),
                    vec![1.0; 4 * l.len()],
                    vec![0.0; 4 * l.len()],
                )
            })
            .collect();
        let mut blocks = blocks;
        let mut round = || blocks.iter_mut().for_each(|(plan, x, y)| objective.product(plan, 4, x, y));
        round();
        assert_eq!(allocations(&mut round), 0);
    });
}

#[test]
fn products_of_parts_of_tensors_allocate_nothing_after_the_first() {
    alone(|| {
        let net = net(Activation::Tanh, Loss::CrossEntropy);
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        for part in model.blocks(&Grouping::Neuron).unwrap().iter().step_by(20) {
            let block = Block::part(&objective, part, Kind::Hessian);
            for lanes in [1, 8] {
                let (x, mut y) = (vec![1.0; lanes * part.len()], vec![0.0; lanes * part.len()]);
                block.multiply(lanes, &x, &mut y);
                assert_eq!(allocations(|| block.multiply(lanes, &x, &mut y)), 0, "{}, {lanes} lanes", part.name);
            }
        }
    });
}

#[test]
fn products_with_moments_of_gradients_allocate_nothing_after_the_first() {
    alone(|| {
        let net = net(Activation::Tanh, Loss::CrossEntropy);
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let (layer, neuron) = (&model.layer_blocks()[1], &model.blocks(&Grouping::Neuron).unwrap()[3]);
        for (part, moment) in [(layer, Moment::Centred), (neuron, Moment::Drawn { seed: 1, draws: 2 })] {
            let fisher = Fisher::new(&objective, part, moment).unwrap();
            for lanes in [1, 8] {
                let (x, mut y) = (vec![1.0; lanes * part.len()], vec![0.0; lanes * part.len()]);
                fisher.apply(lanes, &x, &mut y);
                assert_eq!(allocations(|| fisher.apply(lanes, &x, &mut y)), 0, "{}, {lanes} lanes", part.name);
            }
        }
    });
}

#[test]
fn single_precision_products_allocate_nothing_after_the_first() {
    alone(|| {
        let net = net(Activation::Tanh, Loss::CrossEntropy);
        let (model, samples) = (net.model::<f32>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let params = model.graph().params();
        let plan = objective.plan(params, params, Kind::Hessian).unwrap();
        let (x, mut y) = (vec![1.0; model.len()], vec![0.0; model.len()]);
        objective.product(&plan, 1, &x, &mut y);
        assert_eq!(allocations(|| objective.product(&plan, 1, &x, &mut y)), 0);
    });
}
