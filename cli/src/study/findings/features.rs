//! What is taken of a run's spectra: a number per quantity, layer and moment, comparable between networks of any size.
//!
//! Counts are divided by the dimension of the block, sizes of any magnitude go by their logarithm, so that a feature does not
//! merely repeat how many parameters a layer has. Only eigenvalues enter: no gradient, no weight, no loss.

use std::collections::BTreeMap;
use std::fmt;

use crate::results::RunResult;
use crate::study::tables::Row;

/// A layer at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its quantities by their keys in `metrics.csv`.
    pub quantities: BTreeMap<String, f64>,
}

/// A network at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// Epochs completed.
    pub epoch: usize,
    /// Quantities of the network as a whole.
    pub network: BTreeMap<String, f64>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
}

/// What is known of a run, snapshot by snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The snapshots in order.
    pub moments: Vec<Moment>,
}

impl Profile {
    /// That of a run.
    pub fn of_run(result: &RunResult) -> Self {
        let rows = crate::results::rows(result);
        Self::of(rows.iter().map(|r| (r.snapshot, r.epoch, r.layer.as_str(), r.quantity.as_str(), r.value)))
    }

    /// That of an experiment, from its rows in a study's table.
    pub fn of_rows<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        Self::of(rows.into_iter().map(|r| (r.snapshot, r.epoch, r.layer.as_str(), r.quantity.as_str(), r.value)))
    }

    /// From (snapshot, epoch, layer, quantity, value); layers in the order in which they first occur, `*` the network.
    fn of<'a>(rows: impl Iterator<Item = (usize, usize, &'a str, &'a str, f64)>) -> Self {
        let mut moments: BTreeMap<usize, Moment> = BTreeMap::new();
        for (snapshot, epoch, layer, quantity, value) in rows {
            let moment = moments.entry(snapshot).or_default();
            moment.epoch = epoch;
            let target = if layer == "*" {
                &mut moment.network
            } else {
                let at = moment.layers.iter().position(|l| l.name == layer).unwrap_or_else(|| {
                    moment.layers.push(Layer { name: layer.to_owned(), ..Layer::default() });
                    moment.layers.len() - 1
                });
                &mut moment.layers[at].quantities
            };
            target.insert(quantity.to_owned(), value);
        }
        Self { moments: moments.into_values().collect() }
    }

    /// The value of a feature; none if something it is made of is not known.
    pub fn feature(&self, feature: Feature) -> Option<f64> {
        let moment = match feature.moment {
            When::Start => self.moments.first()?,
            When::End => self.moments.last()?,
        };
        moment.feature(feature.quantity, feature.layer)
    }
}

impl Moment {
    /// The value of a quantity at a place.
    pub fn feature(&self, quantity: &Quantity, place: Place) -> Option<f64> {
        let of = |l: &Layer| (quantity.of)(l).filter(|x| x.is_finite());
        match place {
            Place::First => of(self.layers.first()?),
            Place::Last => of(self.layers.last()?),
            Place::Mean => {
                let all: Option<Vec<f64>> = self.layers.iter().map(of).collect();
                all.filter(|a| !a.is_empty()).map(|a| a.iter().sum::<f64>() / a.len() as f64)
            }
        }
    }
}

impl Layer {
    /// A quantity by its key.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.quantities.get(key).copied()
    }

    /// Dimension of the block: its trace over its mean curvature.
    pub fn dimension(&self) -> Option<f64> {
        let (trace, mean) = (self.get("trace")?, self.get("mean_curvature")?);
        (mean != 0.0).then(|| (trace / mean).round())
    }

    fn share(&self, key: &str) -> Option<f64> {
        Some(self.get(key)? / self.dimension()?)
    }

    /// A share that is zero where only rounding made it differ from zero: ranks would take its digits for information.
    fn above_rounding(&self, key: &str) -> Option<f64> {
        self.get(key).map(|x| if x.abs() < ROUNDING { 0.0 } else { x })
    }

    /// ± log₁₀(1 + |x|/unit): the logarithm of a number that may have either sign.
    fn signed_log(&self, key: &str, unit: f64) -> Option<f64> {
        self.get(key).map(|x| x.signum() * (x.abs() / unit).ln_1p() / std::f64::consts::LN_10)
    }

    fn log(&self, key: &str) -> Option<f64> {
        self.get(key).filter(|x| *x > 0.0).map(f64::log10)
    }
}

/// A number of one block's spectrum.
#[derive(Debug)]
pub struct Quantity {
    /// Its name in files.
    pub key: &'static str,
    /// Its name in tables and charts.
    pub symbol: &'static str,
    of: fn(&Layer) -> Option<f64>,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// Curvature below which a sign hardly matters, for the logarithm of numbers of either sign.
const SMALL: f64 = 1e-8;

/// Shares below this are what rounding leaves of zero in blocks of some thousand parameters.
const ROUNDING: f64 = 1e-10;

const fn quantity(key: &'static str, symbol: &'static str, of: fn(&Layer) -> Option<f64>) -> Quantity {
    Quantity { key, symbol, of }
}

/// The quantities.
pub static QUANTITIES: [Quantity; 17] = [
    quantity("lambda_max", "log λ_max", |l| l.log("lambda_max")),
    quantity("mean_curvature", "log mean λ", |l| l.signed_log("mean_curvature", SMALL)),
    quantity("trace_over_lambda_max", "log trace/λ_max", |l| l.signed_log("trace_over_lambda_max", 1.0)),
    quantity("ratio_1", "log λ₁/λ₂", |l| l.log("ratio_1")),
    quantity("condition", "log condition", |l| l.log("condition")),
    quantity("rank_stable", "log stable rank", |l| l.log("rank_stable")),
    quantity("rank_effective", "effective rank/p", |l| l.share("rank_effective")),
    quantity("rank_numerical", "numerical rank/p", |l| l.share("rank_numerical")),
    quantity("rank_energy", "energy rank/p", |l| l.share("rank_energy")),
    quantity("participation_ratio", "participation/p", |l| l.share("participation_ratio")),
    quantity("entropy", "entropy/ln p", |l| {
        let p = l.dimension()?;
        (p > 1.0).then(|| l.get("entropy").map(|e| e / p.ln())).flatten()
    }),
    quantity("gini", "Gini", |l| l.get("gini")),
    quantity("power_law_slope", "power-law slope", |l| l.get("power_law_slope")),
    quantity("outliers", "outliers", |l| l.get("outliers")),
    quantity("negative_fraction", "negative share", |l| l.get("negative_fraction")),
    quantity("negative_mass", "negative mass", |l| l.above_rounding("negative_mass")),
    quantity("r_e", "|λ_min/λ_max|", |l| l.above_rounding("r_e")),
];

/// Which layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The one that reads the data.
    First,
    /// The one that gives the output.
    Last,
    /// The mean over all.
    Mean,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::First, Self::Last, Self::Mean];

    /// Its name.
    pub fn name(self) -> &'static str {
        ["first", "last", "mean"][self as usize]
    }
}

/// At which moment of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// Before it.
    Start,
    /// After it.
    End,
}

impl When {
    /// Its name.
    pub fn name(self) -> &'static str {
        ["start", "end"][self as usize]
    }
}

/// A feature of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feature {
    /// What.
    pub quantity: &'static Quantity,
    /// Of which layer.
    pub layer: Place,
    /// When.
    pub moment: When,
}

impl Feature {
    /// All features of a moment, by layer, then quantity.
    pub fn all(moment: When) -> Vec<Self> {
        let of = |layer| QUANTITIES.iter().map(move |quantity| Self { quantity, layer, moment });
        Place::ALL.into_iter().flat_map(of).collect()
    }

    /// The feature of that name, as [`Feature`] prints it: `rank_effective:first:end`.
    pub fn of_name(name: &str) -> Option<Self> {
        [When::Start, When::End].into_iter().flat_map(Self::all).find(|f| f.to_string() == name)
    }

    /// In words: `effective rank/p, first layer`.
    pub fn title(&self) -> String {
        let layer = match self.layer {
            Place::First => "first layer",
            Place::Last => "last layer",
            Place::Mean => "mean of layers",
        };
        let moment = if self.moment == When::Start { ", at the start" } else { "" };
        format!("{}, {layer}{moment}", self.quantity.symbol)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.quantity.key, self.layer.name(), self.moment.name())
    }
}
