//! A suite: what a study consists of, by name or as TOML.

use std::path::Path;

use serde::{Deserialize, Serialize};

use eigenlens_nets::Activation;
use eigenlens_nets::data::{self, Info, Task};
use eigenlens_nets::init::Init;

use super::capacity::Capacity;
use super::design::{OPTIMIZERS, optimizer};
use crate::config::{MAX_SEED, Source};
use crate::error::{Failure, Result};
use crate::files::read_text;

/// The suites that have a name.
pub const NAMES: [&str; 2] = ["paper", "small"];

/// The data sets of the small suite: as many as two blocks of the design have, and quick.
const SMALL: [&str; 18] = [
    "iris",
    "wine",
    "penguins",
    "glass",
    "sonar",
    "heart_cleveland",
    "ionosphere",
    "breast_cancer",
    "titanic",
    "vehicle",
    "vowel",
    "german_credit",
    "auto_mpg",
    "cpu_performance",
    "ozone_la",
    "diabetes",
    "body_weight",
    "concrete",
];

/// What a study consists of. Every data set is trained with every capacity (or every network of `hidden`); depth, initialiser
/// and optimiser change from one experiment to the next by the design table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Suite {
    /// Seed of the first data set; each of the others has the next one.
    pub seed: u64,
    /// Built-in data sets, by name.
    pub datasets: Vec<String>,
    /// The sizes of the networks, by the rule of capacities. Default: all three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacities: Option<Vec<Capacity>>,
    /// Numbers of hidden layers. Default: 1, 2, 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depths: Option<Vec<usize>>,
    /// In place of capacities and depths: widths of the hidden layers of each network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<Vec<usize>>>,
    /// Initialisers.
    pub inits: Vec<String>,
    /// Optimisers.
    pub optimizers: Vec<String>,
    /// Activation of all hidden layers.
    pub activation: String,
    /// Optimiser steps of each training, of 15 to 300 epochs in all. Default: 8000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// In place of steps: epochs of each training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Samples per step.
    pub batch_size: usize,
    /// Moments at which the network is looked at: before training, at geometrically spaced epochs, at the end.
    pub snapshots: usize,
    /// Training samples that the Hessian is the mean over, at most.
    pub rows: usize,
    /// Parameters of the largest layer that the rule of capacities allows, and whose spectrum is computed exactly.
    pub largest_layer: usize,
    /// Probes of the curvature between layers.
    pub coupling_probes: usize,
}

impl Default for Suite {
    fn default() -> Self {
        Self {
            seed: 1,
            datasets: Vec::new(),
            capacities: None,
            depths: None,
            hidden: None,
            inits: ["lecun-normal", "he-normal", "orthogonal"].map(str::to_owned).to_vec(),
            optimizers: OPTIMIZERS.iter().map(|o| o.name.to_owned()).collect(),
            activation: "tanh".to_owned(),
            steps: None,
            epochs: None,
            batch_size: 32,
            snapshots: 6,
            rows: 2000,
            largest_layer: 2000,
            coupling_probes: 10,
        }
    }
}

/// Steps of a training if nothing is said: those of the reference scores.
pub const STEPS: usize = 8000;

impl Suite {
    /// A suite by name, or from a TOML file.
    ///
    /// # Errors
    /// A name that no suite has, a file that can't be read or says something that can't be.
    pub fn load(name: &str) -> Result<Self> {
        match name {
            "paper" => Ok(Self::paper()),
            "small" => {
                let suite = Self { datasets: SMALL.map(str::to_owned).to_vec(), ..Self::default() };
                Ok(suite.filled())
            }
            path if path.ends_with(".toml") || Path::new(path).is_file() => {
                Self::parse(path, &read_text(Path::new(path))?)
            }
            other => Err(Failure::new(format!("unknown suite `{other}`")).at("--suite").did_you_mean(other, NAMES)),
        }
    }

    /// The study of 111 experiments: every core data set, classifications first.
    fn paper() -> Self {
        let of = |task: Task| data::list().iter().filter(move |i| i.core && i.task == task);
        let all = of(Task::Classification).chain(of(Task::Regression));
        Self { datasets: all.map(|i| i.name.clone()).collect(), ..Self::default() }.filled()
    }

    /// From the text of a file called `name`.
    ///
    /// # Errors
    /// Unknown keys and names, keys that contradict each other, values out of range; each with line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let source = Source::new(Some((name, text)), &[])?;
        let suite: Self = source.read()?;
        suite.check(&source)?;
        Ok(suite.filled())
    }

    /// With what follows from other options made explicit, and data sets by their first names.
    fn filled(mut self) -> Self {
        if self.hidden.is_none() {
            self.capacities.get_or_insert_with(|| Capacity::ALL.to_vec());
            self.depths.get_or_insert_with(|| vec![1, 2, 3]);
        }
        if self.epochs.is_none() {
            self.steps.get_or_insert(STEPS);
        }
        for name in &mut self.datasets {
            if let Ok(info) = data::info(name) {
                name.clone_from(&info.name);
            }
        }
        self
    }

    /// What is known of its data sets, in order.
    pub fn infos(&self) -> Vec<&'static Info> {
        self.datasets.iter().filter_map(|name| data::info(name).ok()).collect()
    }

    /// The suite as TOML, complete.
    ///
    /// # Panics
    /// Never: every value of it has a TOML form.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("a suite has a TOML form");
        format!("# Every option of this study. `eigenlens study --suite study.toml` repeats it.\n{body}")
    }

    fn check(&self, source: &Source<'_>) -> Result<()> {
        let fail = |key: &str, what: String| match source.place(key) {
            Some(place) => Failure::new(what).at(place),
            None => Failure::new(what),
        };
        let both = |first: &str, second: &str| {
            fail(second, format!("`{first}` and `{second}` contradict each other")).hint("keep one of them")
        };
        let range = |fits: bool, key: &str, must: &str| {
            if fits { Ok(()) } else { Err(fail(key, format!("`{key}` must be {must}"))) }
        };
        if self.hidden.is_some() && self.capacities.is_some() {
            return Err(both("capacities", "hidden"));
        }
        if self.hidden.is_some() && self.depths.is_some() {
            return Err(both("depths", "hidden"));
        }
        if self.steps.is_some() && self.epochs.is_some() {
            return Err(both("steps", "epochs"));
        }
        if self.datasets.is_empty() {
            return Err(fail("datasets", "there is no data set".to_owned()).hint("for example datasets = [\"iris\"]"));
        }
        for (i, name) in self.datasets.iter().enumerate() {
            let at = format!("datasets.{i}");
            let known = data::list().iter().flat_map(|i| std::iter::once(i.name.as_str()).chain(i.alias.as_deref()));
            let Ok(info) = data::info(name) else {
                return Err(fail(&at, format!("unknown data set `{name}`")).did_you_mean(name, known));
            };
            if info.text {
                let what = format!("`{name}` is a text, which needs another kind of network");
                return Err(fail(&at, what).hint("take tables and images: eigenlens data list"));
            }
            let first = |other: &String| data::info(other).is_ok_and(|o| o.name == info.name);
            if self.datasets.iter().position(first) != Some(i) {
                return Err(fail(&at, format!("the data set `{name}` is there twice")).hint("remove one of them"));
            }
        }
        self.check_levels(&fail)?;
        range(self.seed <= MAX_SEED - self.datasets.len() as u64, "seed", "a whole number below 2⁶³")?;
        range(self.batch_size >= 1, "batch_size", "at least 1")?;
        range(self.snapshots >= 2, "snapshots", "at least 2")?;
        range(self.rows >= 1, "rows", "at least 1")?;
        range(self.largest_layer >= 1, "largest_layer", "at least 1")?;
        range(self.steps != Some(0), "steps", "at least 1")
    }

    /// The lists that the design takes its levels from.
    fn check_levels(&self, fail: &dyn Fn(&str, String) -> Failure) -> Result<()> {
        let lists: [(&str, Vec<String>); 5] = [
            ("capacities", self.capacities.iter().flatten().map(|c| c.name().to_owned()).collect()),
            ("depths", self.depths.iter().flatten().map(ToString::to_string).collect()),
            ("hidden", self.hidden.iter().flatten().map(|h| format!("{h:?}")).collect()),
            ("inits", self.inits.clone()),
            ("optimizers", self.optimizers.clone()),
        ];
        for (key, list) in lists {
            let given = match key {
                "capacities" => self.capacities.is_some(),
                "depths" => self.depths.is_some(),
                "hidden" => self.hidden.is_some(),
                _ => true,
            };
            if given && list.is_empty() {
                return Err(fail(key, format!("`{key}` is empty")).hint("name one at least, or leave the key out"));
            }
            if let Some(i) = (1..list.len()).find(|&i| list[..i].contains(&list[i])) {
                return Err(
                    fail(&format!("{key}.{i}"), format!("{} is there twice", list[i])).hint("remove one of them")
                );
            }
        }
        for (i, name) in self.inits.iter().enumerate() {
            name.parse::<Init>().map_err(|e| fail(&format!("inits.{i}"), e.to_string()))?;
        }
        for (i, name) in self.optimizers.iter().enumerate() {
            if optimizer(name).is_none() {
                let known = OPTIMIZERS.iter().map(|o| o.name);
                return Err(
                    fail(&format!("optimizers.{i}"), format!("unknown optimizer `{name}`")).did_you_mean(name, known)
                );
            }
        }
        self.activation.parse::<Activation>().map_err(|e| fail("activation", e.to_string()))?;
        let depths = self.depths.iter().flatten().copied().map(|d| ("depths", d));
        let hidden = self.hidden.iter().flatten().map(|h| ("hidden", h.len()));
        if let Some((key, _)) = depths.chain(hidden).find(|(_, depth)| !(1..=50).contains(depth)) {
            return Err(fail(key, "a network of a study has from 1 to 50 hidden layers".to_owned()));
        }
        let narrow = |h: &Vec<usize>| h.contains(&0);
        if let Some(i) = self.hidden.iter().flatten().position(narrow) {
            return Err(fail(&format!("hidden.{i}"), "a hidden layer has at least one unit".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Suite::parse("mine.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn the_paper_has_37_data_sets_and_three_capacities() {
        let paper = Suite::load("paper").unwrap();
        assert_eq!(paper.datasets.len(), 37);
        assert_eq!(paper.capacities.as_deref(), Some(&Capacity::ALL[..]));
        assert!(paper.infos().windows(2).all(|w| (w[0].task == Task::Regression) <= (w[1].task == Task::Regression)));
    }

    #[test]
    fn a_suite_reads_back_as_it_was_written() {
        for name in NAMES {
            let suite = Suite::load(name).unwrap();
            assert_eq!(Suite::parse("study.toml", &suite.to_toml()).unwrap(), suite);
        }
        let own =
            Suite::parse("mine.toml", "datasets = ['two_moons', 'iris']\nhidden = [[4], [8, 8]]\nepochs = 3").unwrap();
        assert_eq!((own.datasets[0].as_str(), own.steps, own.depths.clone()), ("two-moons", None, None));
        assert_eq!(Suite::parse("study.toml", &own.to_toml()).unwrap(), own);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        for (text, place, what) in [
            ("seed = 1\ndatasets = ['iris', 'irsi']", ":2:21", "did you mean `iris`?"),
            ("datasets = ['iris', 'iris']", ":1:21", "twice"),
            ("datasets = ['digits', 'digits8x8']", ":1:23", "twice"),
            ("datasets = ['austen']", ":1:13", "a text"),
            ("datasets = []", ":1:12", "there is no data set"),
            ("datasets = ['iris']\nsteps = 100\nepochs = 3", ":3:10", "`steps` and `epochs` contradict each other"),
            ("datasets = ['iris']\nhidden = [[3]]\ncapacities = ['over']", ":2:10", "`capacities` and `hidden`"),
            ("datasets = ['iris']\ndepths = [1]\nhidden = [[3]]", ":3:10", "`depths` and `hidden`"),
            ("datasets = ['iris']\ncapacities = ['big']", ":2:15", "unknown value `big`"),
            ("datasets = ['iris']\ndepths = [1, 1]", ":2:14", "twice"),
            ("datasets = ['iris']\ndepths = [0]", ":2:10", "from 1 to 50"),
            ("datasets = ['iris']\nhidden = [[4], [0]]", ":2:16", "at least one unit"),
            ("datasets = ['iris']\ninits = ['he-norml']", ":2:10", "he-normal"),
            ("datasets = ['iris']\noptimizers = ['adm']", ":2:15", "did you mean `adam`?"),
            ("datasets = ['iris']\nactivation = 'tahn'", ":2:14", "tanh"),
            ("datasets = ['iris']\ninits = []", ":2:9", "`inits` is empty"),
            ("datasets = ['iris']\nsnapshots = 1", ":2:13", "at least 2"),
            ("datasets = ['iris']\nepoch = 1", ":2:1", "did you mean `epochs`?"),
        ] {
            let text_of = refused(text);
            assert!(text_of.contains(&format!("mine.toml{place}")) && text_of.contains(what), "{text}\n{text_of}");
        }
        let text = Suite::load("papre").unwrap_err().to_string();
        assert!(text.contains("did you mean `paper`?"), "{text}");
    }
}
