//! What a config must satisfy beyond having known keys and values of the right type.

mod model;

pub use model::refused;

use super::source::Source;
use super::{Blocks, ClassWeights, Config, LossKind, MAX_SEED, OptimizerKind, Part, ScheduleKind, Task, sample};
use crate::error::{Failure, Result};
use crate::selection::unknown;

/// Checks a config as read, before its defaults are filled in, so that only what was given is complained about.
pub fn check(config: &Config, source: &Source<'_>, datasets: &[&str]) -> Result<()> {
    let c = Check { config, source };
    c.general()?;
    c.data(datasets)?;
    c.model()?;
    c.loss()?;
    c.machine()?;
    c.train()?;
    c.optimizer()?;
    c.schedule()?;
    c.snapshots()?;
    c.spectra()?;
    c.interlayer()
}

/// Longest name of a layer or group: with what is put around it, file systems take 255 bytes.
const LONGEST_NAME: usize = 100;

struct Check<'a> {
    config: &'a Config,
    source: &'a Source<'a>,
}

impl Check<'_> {
    fn fail(&self, key: &str, what: impl Into<String>) -> Failure {
        let failure = Failure::new(what);
        match self.source.place(key) {
            Some(place) => failure.at(place),
            None => failure,
        }
    }

    /// Refuses `value` of `key` unless `ok`, which has to be false for NaN.
    fn number(&self, ok: bool, key: &str, value: impl std::fmt::Display, must: &str) -> Result<()> {
        if ok {
            return Ok(());
        }
        let failure = self.fail(key, format!("`{key}` must be {must}, is {value}"));
        Err(match sample::hint(key) {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    }

    /// Refuses an option that was given although `kind` has no use for it.
    fn foreign(&self, given: bool, key: &str, kind: &str, remedy: &str) -> Result<()> {
        if !given {
            return Ok(());
        }
        let option = key.rsplit('.').next().unwrap_or(key);
        Err(self.fail(key, format!("`{option}` has no meaning for {kind}")).hint(remedy))
    }

    fn general(&self) -> Result<()> {
        let seed = self.config.seed;
        self.number(seed <= MAX_SEED, "seed", seed, &format!("at most {MAX_SEED}"))
    }

    fn data(&self, datasets: &[&str]) -> Result<()> {
        let d = &self.config.data;
        let given = [
            ("data.name", d.name.is_some()),
            ("data.csv", d.csv.is_some()),
            ("data.text", d.text.is_some()),
            ("data.idx", d.idx.is_some()),
            ("data.npy", d.npy.is_some()),
            ("data.npz", d.npz.is_some()),
        ];
        let given: Vec<&str> = given.iter().filter(|g| g.1).map(|g| g.0).collect();
        if let [first, second, ..] = given[..] {
            return Err(self
                .fail(second, format!("both `{first}` and `{second}` are given"))
                .hint("keep the one that the samples come from"));
        }
        if let Some(name) = &d.name
            && !datasets.contains(&name.as_str())
        {
            return Err(self
                .fail("data.name", format!("unknown data set `{name}`"))
                .did_you_mean(name, datasets.iter().copied()));
        }
        if d.idx.is_some() != d.idx_labels.is_some() {
            let (given, missing) =
                if d.idx.is_some() { ("data.idx", "data.idx_labels") } else { ("data.idx_labels", "data.idx") };
            return Err(self
                .fail(given, format!("`{given}` is given without `{missing}`"))
                .hint("IDX keeps inputs and labels in two files: name both"));
        }
        if d.npy.is_some() != d.npy_targets.is_some() {
            let (given, missing) =
                if d.npy.is_some() { ("data.npy", "data.npy_targets") } else { ("data.npy_targets", "data.npy") };
            return Err(self
                .fail(given, format!("`{given}` is given without `{missing}`"))
                .hint("an NPY file holds one array: name the file of inputs and the file of targets"));
        }
        let file = d.csv.is_some() || d.npz.is_some();
        self.foreign(
            d.target.is_some() && !file,
            "data.target",
            "this source",
            "it names a column or array of a file",
        )?;
        self.foreign(
            d.inputs.is_some() && d.npz.is_none(),
            "data.inputs",
            "this source",
            "it names an array of an NPZ",
        )?;
        self.foreign(
            d.context.is_some() && d.text.is_none(),
            "data.context",
            "this source",
            "it belongs to data.text",
        )?;
        self.foreign(
            !d.parameters.is_empty() && (given.is_empty() || d.name.is_none()),
            "data.parameters",
            "this source",
            "they belong to generated data sets, for example data.name = \"two-moons\"",
        )?;
        self.number(d.context != Some(0), "data.context", 0, "at least 1")?;
        self.foreign(d.task.is_some() && d.text.is_some(), "data.task", "a text", "its characters are the classes")?;
        for (key, share) in [("data.validation", d.validation), ("data.test", d.test)] {
            self.number((0.0..1.0).contains(&share), key, share, "a share, 0 or more and below 1")?;
        }
        let both = d.validation + d.test;
        if both >= 1.0 {
            return Err(self
                .fail("data.test", format!("`data.validation` + `data.test` is {both}: nothing is left to train on"))
                .hint("keep their sum below 1, for example 0.1 and 0.2"));
        }
        self.number(d.limit != Some(0), "data.limit", 0, "at least 1")
    }

    fn machine(&self) -> Result<()> {
        let (threads, memory) = (self.config.threads, self.config.memory);
        // More threads than cores only wait for each other; some more are useful in tests.
        let most = (4 * crate::machine::cores()).max(64);
        self.number(threads <= most, "threads", threads, &format!("at most {most} on this machine"))?;
        self.number(memory >= 0.0 && memory.is_finite(), "memory", memory, "a finite number, 0 or more")
    }

    fn loss(&self) -> Result<()> {
        let loss = &self.config.loss;
        let lambda = loss.l2.lambda;
        self.number(lambda >= 0.0 && lambda.is_finite(), "loss.l2.lambda", lambda, "a finite number, 0 or more")?;
        let smoothing = loss.smoothing;
        self.number((0.0..1.0).contains(&smoothing), "loss.smoothing", smoothing, "from 0 to below 1")?;
        if let Some(ClassWeights::Each(weights)) = &loss.class_weights {
            for (i, &w) in weights.iter().enumerate() {
                self.number(
                    w >= 0.0 && w.is_finite(),
                    &format!("loss.class_weights.{i}"),
                    w,
                    "a finite number, 0 or more",
                )?;
            }
            if !weights.iter().any(|w| *w > 0.0) {
                return Err(self
                    .fail("loss.class_weights", "no class has a weight above 0")
                    .hint("for example [1.0, 2.0]"));
            }
        }
        let other =
            matches!(loss.kind, Some(LossKind::Mse | LossKind::Bce)) || self.config.data.task == Some(Task::Regression);
        for (option, given) in [("smoothing", smoothing != 0.0), ("class_weights", loss.class_weights.is_some())] {
            self.foreign(given && other, &format!("loss.{option}"), "this loss", "it belongs to cross-entropy")?;
        }
        let misfit = match (loss.kind, self.config.data.task) {
            (Some(LossKind::CrossEntropy), Some(Task::Regression)) => "cross-entropy needs class labels",
            (Some(LossKind::Bce), Some(Task::Regression)) => "bce needs two classes",
            _ => return Ok(()),
        };
        Err(self.fail("loss.kind", format!("{misfit}, but `data.task` is regression")).hint("use kind = \"mse\""))
    }

    fn train(&self) -> Result<()> {
        let t = &self.config.train;
        self.number(t.batch_size > 0, "train.batch_size", t.batch_size, "at least 1")?;
        self.number(t.lr > 0.0 && t.lr.is_finite(), "train.lr", t.lr, "a finite number above 0")?;
        let Some(stop) = &t.early_stopping else { return Ok(()) };
        self.number(stop.patience > 0, "train.early_stopping.patience", stop.patience, "at least 1")?;
        let delta = stop.min_delta;
        self.number(
            delta >= 0.0 && delta.is_finite(),
            "train.early_stopping.min_delta",
            delta,
            "a finite number, 0 or more",
        )?;
        if self.config.data.validation == 0.0 {
            return Err(self
                .fail("train.early_stopping", "early stopping needs a validation part, but `data.validation` is 0")
                .hint("set data.validation = 0.1, or remove [train.early_stopping]"));
        }
        Ok(())
    }

    fn optimizer(&self) -> Result<()> {
        let o = &self.config.train.optimizer;
        let sgd = o.kind == OptimizerKind::Sgd;
        const SGD_ONLY: &str = "it belongs to sgd: train.optimizer = { kind = \"sgd\", momentum = 0.9 }";
        const ADAM_ONLY: &str = "it belongs to adam and adamw; --set train.optimizer=sgd replaces all their options";
        self.foreign(!sgd && o.momentum.is_some(), "train.optimizer.momentum", "adam and adamw", SGD_ONLY)?;
        self.foreign(!sgd && o.nesterov.is_some(), "train.optimizer.nesterov", "adam and adamw", SGD_ONLY)?;
        self.foreign(sgd && o.betas.is_some(), "train.optimizer.betas", "sgd", ADAM_ONLY)?;
        self.foreign(sgd && o.eps.is_some(), "train.optimizer.eps", "sgd", ADAM_ONLY)?;
        let unit = |x: f64| (0.0..1.0).contains(&x);
        if let Some(m) = o.momentum {
            self.number(unit(m), "train.optimizer.momentum", m, "0 or more and below 1")?;
        }
        if o.nesterov == Some(true) && o.momentum.unwrap_or(0.0) == 0.0 {
            return Err(self
                .fail("train.optimizer.nesterov", "Nesterov's form needs momentum")
                .hint("add momentum = 0.9"));
        }
        for (i, &b) in o.betas.iter().flatten().enumerate() {
            self.number(unit(b), &format!("train.optimizer.betas.{i}"), b, "0 or more and below 1")?;
        }
        if let Some(e) = o.eps {
            self.number(e > 0.0 && e.is_finite(), "train.optimizer.eps", e, "a finite number above 0")?;
        }
        let w = o.weight_decay.unwrap_or(0.0);
        self.number(w >= 0.0 && w.is_finite(), "train.optimizer.weight_decay", w, "a finite number, 0 or more")
    }

    fn schedule(&self) -> Result<()> {
        use ScheduleKind::*;
        let (s, epochs) = (&self.config.train.schedule, self.config.train.epochs);
        let name = match s.kind {
            Constant => "a constant schedule",
            Step => "the step schedule",
            Exponential => "the exponential schedule",
            Cosine => "the cosine schedule",
            WarmupCosine => "the warmup-cosine schedule",
        };
        let options = [
            ("factor", s.factor.is_some(), matches!(s.kind, Step | Exponential), "step and exponential"),
            ("every", s.every.is_some(), s.kind == Step, "step"),
            ("warmup", s.warmup.is_some(), s.kind == WarmupCosine, "warmup-cosine"),
            ("floor", s.floor.is_some(), matches!(s.kind, Cosine | WarmupCosine), "cosine and warmup-cosine"),
        ];
        for (option, given, used, whose) in options {
            let remedy = format!("it belongs to {whose}");
            self.foreign(given && !used, &format!("train.schedule.{option}"), name, &remedy)?;
        }
        if let Some(f) = s.factor {
            self.number(f > 0.0 && f <= 1.0, "train.schedule.factor", f, "above 0 and at most 1")?;
        }
        self.number(s.every != Some(0), "train.schedule.every", 0, "at least 1")?;
        if let Some(f) = s.floor {
            self.number((0.0..=1.0).contains(&f), "train.schedule.floor", f, "between 0 and 1")?;
        }
        if let Some(w) = s.warmup {
            let must = format!("below the {epochs} epochs");
            self.number(w < epochs.max(1), "train.schedule.warmup", w, &must)?;
        }
        Ok(())
    }

    fn snapshots(&self) -> Result<()> {
        let (s, epochs) = (&self.config.snapshots, self.config.train.epochs);
        self.foreign(
            s.count.is_some() && s.epochs.is_some(),
            "snapshots.count",
            "snapshots given as `epochs`",
            "keep one of the two",
        )?;
        if let Some(n) = s.count {
            self.number(n >= 2, "snapshots.count", n, "at least 2: one before training and one at the end")?;
        }
        let Some(at) = &s.epochs else { return Ok(()) };
        if at.is_empty() {
            return Err(self.fail("snapshots.epochs", "`snapshots.epochs` is empty").hint("for example [0, 1, 10]"));
        }
        for (i, pair) in at.windows(2).enumerate() {
            if pair[0] >= pair[1] {
                return Err(self
                    .fail(&format!("snapshots.epochs.{}", i + 1), "`snapshots.epochs` has to increase")
                    .hint("write every epoch once, smallest first"));
            }
        }
        if let Some(i) = at.iter().position(|&e| e > epochs) {
            return Err(self
                .fail(&format!("snapshots.epochs.{i}"), format!("epoch {} comes after the last, {epochs}", at[i]))
                .hint("raise train.epochs, or drop it; the last epoch is always a snapshot"));
        }
        Ok(())
    }

    fn groups(&self) -> Result<()> {
        let s = &self.config.spectra;
        let by_name = !s.groups.is_empty();
        if by_name && s.blocks != Blocks::Layer {
            return Err(self
                .fail(
                    "spectra.blocks",
                    format!("both `spectra.blocks` = \"{}\" and `spectra.groups` are given", s.blocks.name()),
                )
                .hint("keep one of the two; what no group takes stays with its layer"));
        }
        for name in s.groups.keys() {
            self.name("spectra.groups", "group", name)?;
        }
        Ok(())
    }

    /// Refuses a name that can't be part of a file name.
    fn name(&self, key: &str, what: &str, name: &str) -> Result<()> {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        let reason = if !plain {
            format!("`{name}` has to be of letters, digits, `_`, `-` and `.`")
        } else if name.len() > LONGEST_NAME {
            format!("`{name}` has {} characters, at most {LONGEST_NAME} are possible", name.len())
        } else {
            return Ok(());
        };
        Err(self.fail(key, format!("the {what} name {reason}")).hint("it becomes part of file names"))
    }

    fn interlayer(&self) -> Result<()> {
        let probes = self.config.interlayer.probes;
        self.number(probes >= 2, "interlayer.probes", probes, "at least 2, for a standard error")
    }

    fn spectra(&self) -> Result<()> {
        let s = &self.config.spectra;
        self.number(s.pairs > 0, "spectra.pairs", s.pairs, "at least 1")?;
        self.number(s.slq_probes >= 2, "spectra.slq_probes", s.slq_probes, "at least 2, for a standard error")?;
        self.number(s.slq_steps >= 2, "spectra.slq_steps", s.slq_steps, "at least 2")?;
        self.number(s.tau > 0.0 && s.tau < 1.0, "spectra.tau", s.tau, "above 0 and below 1")?;
        self.number(s.rows != Some(0), "spectra.rows", 0, "at least 1")?;
        self.number(
            s.coupling_probes != 1,
            "spectra.coupling_probes",
            1,
            "0 (none) or at least 2, for a standard error",
        )?;
        if let Some((i, failure)) = unknown(&s.quantities) {
            return Err(match self.source.place(&format!("spectra.quantities.{i}")) {
                Some(place) => failure.at(place),
                None => failure,
            });
        }
        self.groups()?;
        let d = &self.config.data;
        let empty = match s.part {
            Part::Train => false,
            Part::Validation => d.validation == 0.0,
            // A data set may bring its own test part, whatever the share says.
            Part::Test => false,
        };
        if empty {
            return Err(self
                .fail("spectra.part", "the Hessian is to be taken on the validation part, but `data.validation` is 0")
                .hint("set data.validation = 0.1, or spectra.part = \"train\""));
        }
        Ok(())
    }
}
