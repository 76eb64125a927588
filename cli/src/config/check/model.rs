//! What the section `[model]` must satisfy.

use eigenlens_nets::Activation;
use eigenlens_nets::init::Init;
use eigenlens_nets::options::OptionError;
use eigenlens_nets::zoo::ZooError;

use super::Check;
use crate::config::layer::options;
use crate::config::model::Named;
use crate::config::{Layer, LayerKind};
use crate::error::{Failure, Result};

/// What a named network can't have, and the key that says so.
pub fn refused(error: &ZooError) -> (String, Failure) {
    let key = match error {
        ZooError::Foreign { option, .. } | ZooError::Option { option, .. } => option,
        ZooError::Input { .. } => "name",
    };
    let text = error.to_string();
    let (what, hint) = text.split_once("; ").unwrap_or((&text, "see `eigenlens models`"));
    (format!("model.{key}"), Failure::new(what).hint(hint))
}

impl Check<'_> {
    fn activation(&self, key: &str, text: &str) -> Result<()> {
        self.option(key, text.parse::<Activation>())
    }

    fn initialiser(&self, key: &str, text: &str) -> Result<()> {
        self.option(key, text.parse::<Init>().and_then(|init| init.check()))
    }

    /// Refuses a name that the networks don't know, or a number in parentheses that doesn't go with it.
    fn option<T>(&self, key: &str, read: Result<T, OptionError>) -> Result<()> {
        Err(match read {
            Ok(_) => return Ok(()),
            Err(OptionError::Unknown { what, name, known, .. }) => {
                self.fail(key, format!("unknown {what} `{name}`")).did_you_mean(&name, known.iter().copied())
            }
            Err(other) => {
                let hint = if key.ends_with("init") {
                    "for example he-normal, or normal(0.02) with the standard deviation"
                } else {
                    "for example tanh, or leaky-relu(0.2) with the slope on the left"
                };
                self.fail(key, format!("`{key}`{}: {other}", self.layer_of(key))).hint(hint)
            }
        })
    }

    /// ` (layer NAME)` where the key is an option of a layer that has a name.
    fn layer_of(&self, key: &str) -> String {
        let place = key.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let layer = place.and_then(|place| self.config.model.layers.as_ref()?.get(place));
        layer.and_then(|layer| layer.name.as_ref()).map_or(String::new(), |name| format!(" (layer `{name}`)"))
    }

    pub(super) fn model(&self) -> Result<()> {
        let m = &self.config.model;
        if let Some(named) = m.named() {
            return self.named(named);
        }
        for (option, given) in m.sizes() {
            let remedy = "it goes with a name, for example model.name = \"residual-mlp\"";
            self.foreign(given, &format!("model.{option}"), "a model without `name`", remedy)?;
        }
        if let Some(layers) = &m.layers {
            let short = [
                ("model.hidden", m.hidden.is_some()),
                ("model.activation", m.activation.is_some()),
                ("model.init", m.init.is_some()),
                ("model.bias", m.bias.is_some()),
            ];
            for (key, given) in short {
                self.foreign(given, key, "a model given as `layers`", "say it in the layers, or remove them")?;
            }
            return self.layers(layers);
        }
        for (i, &units) in m.hidden.iter().flatten().enumerate() {
            self.number(units > 0, &format!("model.hidden.{i}"), units, "at least 1")?;
        }
        if let Some(name) = &m.activation {
            self.activation("model.activation", name)?;
        }
        if let Some(name) = &m.init {
            self.initialiser("model.init", name)?;
        }
        Ok(())
    }

    fn named(&self, named: Named) -> Result<()> {
        let m = &self.config.model;
        for (key, given) in [("hidden", m.hidden.is_some()), ("layers", m.layers.is_some()), ("bias", m.bias.is_some())]
        {
            self.foreign(given, &format!("model.{key}"), "a model given by `name`", "keep one of the two")?;
        }
        let (family, options) = match named {
            Ok(known) => known,
            Err((key, e)) => return self.option::<()>(&format!("model.{key}"), Err(e)),
        };
        match family.complete(&options) {
            Ok(_) => Ok(()),
            Err(e) => {
                let (key, failure) = refused(&e);
                Err(self.source.place(&key).map_or(failure.clone(), |place| failure.at(place)))
            }
        }
    }

    /// Refuses options that a type doesn't have, and asks for those that it needs.
    fn options(&self, layer: &Layer, place: usize) -> Result<()> {
        let (needed, others) = options(layer.kind);
        let (kind, given) = (layer.kind.name(), layer.given());
        let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        let known = || {
            let own: Vec<String> = needed.iter().chain(others).map(|o| format!("`{o}`")).collect();
            if own.is_empty() {
                "it has none but `name` and `inputs`".to_owned()
            } else {
                format!("it has {}", own.join(", "))
            }
        };
        for option in &given {
            let own = ["type", "name", "inputs"].iter().chain(needed).chain(others).any(|o| o == option);
            self.foreign(
                !own,
                &format!("model.layers.{place}.{option}"),
                &format!("{article} {kind} layer"),
                &known(),
            )?;
        }
        match needed.iter().find(|o| !given.iter().any(|g| g == *o)) {
            Some(option) => Err(self
                .fail(&format!("model.layers.{place}"), format!("{kind} layer {place} has no `{option}`"))
                .hint(known())),
            None => Ok(()),
        }
    }

    fn layers(&self, layers: &[Layer]) -> Result<()> {
        let Some(last) = layers.iter().rposition(|l| l.kind == LayerKind::Linear) else {
            return Err(self.fail("model.layers", "the model has no linear layer").hint(
                "add one: [[model.layers]] with type = \"linear\" (its `units` may be left out in the last one)",
            ));
        };
        if layers.last().is_some_and(|l| l.kind == LayerKind::Activation) {
            return Err(self
                .fail(&format!("model.layers.{}", layers.len() - 1), "the model ends in an activation")
                .hint("end with a linear layer: the loss applies its own link (softmax, sigmoid or none)"));
        }
        for (i, layer) in layers.iter().enumerate() {
            let key = |option: &str| format!("model.layers.{i}.{option}");
            self.options(layer, i)?;
            if layer.kind == LayerKind::Linear && layer.units.is_none() && i != last {
                return Err(self
                    .fail(&format!("model.layers.{i}"), format!("linear layer {i} has no `units`"))
                    .hint("say how many outputs it has; only the last linear layer takes them from the data"));
            }
            let counts = [
                ("units", layer.units),
                ("channels", layer.channels),
                ("groups", layer.groups),
                ("heads", layer.heads),
                ("vocabulary", layer.vocabulary),
                ("width", layer.width),
                ("length", layer.length),
            ];
            for (option, count) in counts {
                self.number(count != Some(0), &key(option), 0, "at least 1")?;
            }
            let eps = layer.eps.unwrap_or(1.0);
            self.number(eps > 0.0 && eps.is_finite(), &key("eps"), eps, "a finite number above 0")?;
            let share = layer.momentum.unwrap_or(1.0);
            self.number(share > 0.0 && share <= 1.0, &key("momentum"), share, "above 0 and at most 1")?;
            let start = layer.start.unwrap_or(1.0);
            self.number(start.is_finite(), &key("start"), start, "a finite number")?;
            let rate = layer.rate.unwrap_or(0.0);
            self.number((0.0..1.0).contains(&rate), &key("rate"), rate, "from 0 to below 1")?;
            if let Some(name) = &layer.init {
                self.initialiser(&key("init"), name)?;
            }
            if let Some(name) = &layer.function {
                self.activation(&key("fn"), name)?;
            }
            if let Some(name) = &layer.name {
                self.name(&key("name"), "layer", name)?;
                if layers[..i].iter().any(|l| l.name.as_ref() == Some(name)) {
                    return Err(self
                        .fail(&key("name"), format!("the layer name `{name}` is taken"))
                        .hint("it becomes part of file names, so it has to be different from the others"));
                }
            }
            if layer.inputs.as_ref().is_some_and(Vec::is_empty) {
                return Err(self
                    .fail(&key("inputs"), format!("`{}` is empty", key("inputs")))
                    .hint("name the layers that it reads, or leave `inputs` out to read the one before"));
            }
            let remedy = "its parameters start as those of the layer that has them";
            let given = layer.shares.is_some() && layer.init.is_some();
            self.foreign(given, &key("init"), "a layer that shares its parameters", remedy)?;
        }
        Ok(())
    }
}
