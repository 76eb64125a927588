//! The design table: which data set is trained how.
//!
//! Four factors: capacity c, depth, initialiser, optimiser. Data set number i, with u = i mod D and v = ⌊i / D⌋, is trained with
//! every capacity c = 0, 1, …, and of D depths, I initialisers and O optimisers gets those number
//!
//! depth = (u + c) mod D, initialiser = (v + 2c) mod I, optimiser = (u + v + c) mod O.
//!
//! With three levels each these are linear forms over GF(3) of (u, v, c) of which any three are independent: 9 data sets in a
//! row make an orthogonal array OA(27, 4, 3, 3) (Rao 1947; Hedayat, Sloane & Stufken 1999). In it every combination of levels
//! of any three factors occurs once, so that the effect of each factor can be told from those of the others and from the
//! interactions of any two of them; and every data set meets three of each factor's levels. Other numbers of levels are
//! spread as evenly, but not orthogonally.

use eigenlens_nets::data::{Info, Task as DataTask};

use super::capacity::{Capacity, Size, Task, layers};
use super::suite::{STEPS, Suite};
use crate::config::{Config, Data, Model, Optimizer, OptimizerKind, Schedule, ScheduleKind, Snapshots, Spectra, Train};
use crate::error::Result;

/// An optimiser of a study with its learning rate.
#[derive(Clone, Copy, Debug)]
pub struct OptimizerLevel {
    /// The name in suites and tables.
    pub name: &'static str,
    kind: OptimizerKind,
    momentum: Option<f64>,
    weight_decay: Option<f64>,
    /// Learning rate at the start.
    pub lr: f64,
}

/// Every optimiser that a suite may name. Learning rates fall along half a cosine to [`FLOOR`].
pub const OPTIMIZERS: [OptimizerLevel; 3] = [
    OptimizerLevel { name: "sgd", kind: OptimizerKind::Sgd, momentum: Some(0.9), weight_decay: None, lr: 0.02 },
    OptimizerLevel { name: "adam", kind: OptimizerKind::Adam, momentum: None, weight_decay: None, lr: 2e-3 },
    OptimizerLevel { name: "adamw", kind: OptimizerKind::Adamw, momentum: None, weight_decay: Some(0.01), lr: 2e-3 },
];

/// The last learning rate as a share of the first: small, but not so small that no step is ever unstable.
const FLOOR: f64 = 0.05;

/// Epochs of a training whose length is given in steps: at least and at most, as for the reference scores.
const EPOCHS: (usize, usize) = (15, 300);

/// What an experiment takes beside its arithmetic, in floating-point operations of the same time.
const OVERHEAD: f64 = 2e10;

/// Shares of validation and test part.
const HELD_OUT: (f64, f64) = (0.1, 0.2);

/// An optimiser by its name.
pub fn optimizer(name: &str) -> Option<&'static OptimizerLevel> {
    OPTIMIZERS.iter().find(|o| o.name == name)
}

/// One row of the design table.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The name of the experiment and of its directory.
    pub id: String,
    /// What is known of the data.
    pub info: &'static Info,
    /// The capacity, or the widths of a network that was given.
    pub capacity: String,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The optimiser.
    pub optimizer: &'static OptimizerLevel,
    /// The run, without its directory.
    pub config: Config,
    /// Floating-point operations, roughly: to begin with the longest, and to tell the time left.
    pub work: f64,
}

impl Planned {
    /// Whether it is compared with the reference score.
    pub fn adequate(&self) -> bool {
        self.capacity == Capacity::Adequate.name()
    }
}

/// Training rows before any limit: what validation and test part leave.
fn training_rows(info: &Info) -> usize {
    let share = |part: f64| (info.rows as f64 * part).round() as usize;
    info.rows - info.test_rows.unwrap_or(share(HELD_OUT.1)) - share(HELD_OUT.0)
}

fn outputs(info: &Info) -> usize {
    if info.task == DataTask::Classification { info.class_names.len() } else { 1 }
}

/// The design table of a suite, data set by data set.
///
/// # Errors
/// A config that a run would refuse.
pub fn design(suite: &Suite) -> Result<Vec<Planned>> {
    let mut table = Vec::new();
    let depths = suite.depths.clone().unwrap_or_else(|| vec![1]);
    for (i, info) in suite.infos().into_iter().enumerate() {
        let (u, v) = (i % depths.len(), i / depths.len());
        let networks = match &suite.hidden {
            Some(given) => given.len(),
            None => suite.capacities.as_ref().map_or(0, Vec::len),
        };
        for c in 0..networks {
            let (capacity, hidden, limit) = match (&suite.hidden, &suite.capacities) {
                (Some(given), _) => {
                    let widths: Vec<String> = given[c].iter().map(ToString::to_string).collect();
                    (widths.join("-"), given[c].clone(), None)
                }
                (None, capacities) => {
                    let capacity = capacities.iter().flatten().nth(c).copied().unwrap_or(Capacity::Adequate);
                    let depth = depths[(u + c) % depths.len()];
                    let rows = training_rows(info);
                    let task = Task { rows, features: info.features, outputs: outputs(info), depth };
                    let Size { width, limit } = task.size(capacity, suite.largest_layer);
                    (capacity.name().to_owned(), vec![width; depth], limit)
                }
            };
            let init = &suite.inits[(v + 2 * c) % suite.inits.len()];
            let optimizer =
                optimizer(&suite.optimizers[(u + v + c) % suite.optimizers.len()]).unwrap_or(&OPTIMIZERS[0]);
            let config = config(suite, i, info, &hidden, limit, init, optimizer)?;
            let id = format!("{}-{capacity}", info.name);
            let work = work(&config, info, &hidden);
            table.push(Planned { id, info, capacity, hidden, optimizer, config, work });
        }
    }
    Ok(table)
}

fn config(
    suite: &Suite,
    number: usize,
    info: &Info,
    hidden: &[usize],
    limit: Option<usize>,
    init: &str,
    optimizer: &OptimizerLevel,
) -> Result<Config> {
    let rows = limit.unwrap_or_else(|| training_rows(info));
    let by_steps = || {
        let steps = suite.steps.unwrap_or(STEPS);
        // A suite that asks for fewer steps than that wants fewer epochs as well.
        (steps * suite.batch_size).div_ceil(rows).clamp(EPOCHS.0.min(steps), EPOCHS.1)
    };
    let config = Config {
        seed: suite.seed + number as u64,
        data: Data {
            name: Some(info.name.clone()),
            validation: HELD_OUT.0,
            test: HELD_OUT.1,
            limit,
            ..Data::default()
        },
        model: Model {
            hidden: Some(hidden.to_vec()),
            activation: Some(suite.activation.clone()),
            init: Some(init.to_owned()),
            ..Model::default()
        },
        train: Train {
            epochs: suite.epochs.unwrap_or_else(by_steps),
            batch_size: suite.batch_size,
            lr: optimizer.lr,
            optimizer: Optimizer {
                kind: optimizer.kind,
                momentum: optimizer.momentum,
                nesterov: optimizer.momentum.map(|_| true),
                weight_decay: optimizer.weight_decay,
                ..Optimizer::default()
            },
            schedule: Schedule { kind: ScheduleKind::Cosine, floor: Some(FLOOR), ..Schedule::default() },
            ..Train::default()
        },
        snapshots: Snapshots { count: Some(suite.snapshots), epochs: None },
        spectra: Spectra {
            exact_max: suite.largest_layer,
            rows: Some(suite.rows),
            coupling_probes: suite.coupling_probes,
            ..Spectra::default()
        },
        ..Config::default()
    };
    // As read, so that every option is there and was checked.
    Config::parse(Some(("design", &config.to_toml())), &[], &[info.name.as_str()])
}

/// Roughly, in floating-point operations: eigenvectors, Kronecker sums, Hessian products, training.
fn work(config: &Config, info: &Info, hidden: &[usize]) -> f64 {
    let of = layers(info.features, hidden, outputs(info));
    let all = of.iter().sum::<usize>() as f64;
    let train = config.data.limit.unwrap_or_else(|| training_rows(info)) as f64;
    let looked_at = train.min(config.spectra.rows.map_or(f64::INFINITY, |r| r as f64));
    let eigen: f64 = of.iter().map(|&p| 10.0 * (p as f64).powi(3)).sum();
    let sums: f64 = of.iter().map(|&p| looked_at * (p as f64).powi(2)).sum();
    // Lanczos between blocks and on the whole, probes by block.
    let products = (200 + config.spectra.coupling_probes * of.len()) as f64 * 12.0 * looked_at * all;
    let snapshots = config.snapshots.at(config.train.epochs).len() as f64;
    // Small matrices run at a tenth of the speed of large ones, and the smallest run takes its time for files.
    snapshots * (eigen + sums + 3.0 * products) + 60.0 * train * all * config.train.epochs as f64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn paper() -> Vec<Planned> {
        design(&Suite::load("paper").unwrap()).unwrap()
    }

    /// The four levels of a row.
    fn levels(p: &Planned) -> [String; 4] {
        let init = p.config.model.init.clone().unwrap();
        [p.capacity.clone(), p.hidden.len().to_string(), init, p.optimizer.name.to_owned()]
    }

    #[test]
    fn nine_data_sets_are_an_orthogonal_array_of_strength_three() {
        let table = paper();
        assert_eq!(table.len(), 111);
        for block in table[..108].chunks(27) {
            for left_out in 0..4 {
                let mut seen = BTreeMap::new();
                for p in block {
                    let mut combination = levels(p).to_vec();
                    combination.remove(left_out);
                    *seen.entry(combination).or_insert(0) += 1;
                }
                assert!(seen.len() == 27 && seen.values().all(|&n| n == 1), "{left_out}: {seen:?}");
            }
        }
    }

    #[test]
    fn every_data_set_meets_three_levels_of_every_factor_on_one_split() {
        for set in paper().chunks(3) {
            for factor in 0..4 {
                let mut of: Vec<String> = set.iter().map(|p| levels(p)[factor].clone()).collect();
                of.sort();
                of.dedup();
                assert_eq!(of.len(), 3, "{}, factor {factor}", set[0].id);
            }
            assert!(set.iter().all(|p| p.config.seed == set[0].config.seed && p.info.name == set[0].info.name));
        }
    }

    #[test]
    fn every_layer_of_the_paper_has_an_exact_spectrum() {
        for p in paper() {
            let of = layers(p.info.features, &p.hidden, outputs(p.info));
            assert!(of.iter().all(|&n| n <= 2000), "{}: {of:?}", p.id);
            assert!(p.config.data.limit.is_none() || p.capacity == "over", "{}", p.id);
        }
    }

    #[test]
    fn networks_that_are_given_take_the_place_of_capacities() {
        let suite = Suite::parse("s.toml", "datasets = ['iris', 'xor']\nhidden = [[5], [4, 3]]\nepochs = 7").unwrap();
        let table = design(&suite).unwrap();
        let ids: Vec<&str> = table.iter().map(|p| p.id.as_str()).collect();
        assert_eq!(ids, ["iris-5", "iris-4-3", "xor-5", "xor-4-3"]);
        assert!(table.iter().all(|p| p.config.train.epochs == 7 && !p.adequate()));
        assert_eq!(table[1].config.model.hidden, Some(vec![4, 3]));
    }
}
