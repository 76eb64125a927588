//! How θ is cut into blocks: by layer, tensor, head or unit, as one, or by names.
//!
//! A [`Part`] is a named set of entries of θ, a sorted list of ranges, so that rows and columns of a tensor can be one. The
//! parts of a [`Grouping`] cover θ exactly once. Shared parameters are one tensor, and so lie in one part.

use std::ops::Range;

use eigenlens_linalg::Real;
use thiserror::Error;
use wildmatch::WildMatch;

use crate::model::{Layer, Model, Tensor};
use crate::options::nearest;
use crate::spec::LayerKind;

/// Which entries of θ belong together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Grouping {
    /// A parametrised layer, weight and bias (a functional block of arXiv 2510.17486).
    #[default]
    Layer,
    /// Each weight and each bias by itself.
    Tensor,
    /// All of θ, called `network`.
    Network,
    /// What belongs to one head of an attention: its rows of the weights and biases of q, k and v, its columns of the weight
    /// of o. The bias of o belongs to no head and is a part of its own; other layers are whole.
    Head,
    /// What makes one output: the row of a linear layer or the kernels of a channel of a convolution, with its bias; the
    /// scale and shift of one channel of a norm. Other layers are whole.
    Neuron,
    /// Tensors that are named together; of the others what is left of their layers.
    Groups(Vec<Group>),
}

/// A part by names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Names of layers or tensors, in which `*` stands for any characters and `?` for one.
    pub patterns: Vec<String>,
}

/// Why θ can't be cut up by names.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GroupingError {
    /// A pattern without a tensor.
    #[error("`{pattern}` of group `{group}` is the name of no layer and no tensor; {}", .nearest.as_ref().map_or("give names such as `fc1`, `fc1.weight` or `fc*`".to_string(), |n| format!("did you mean `{n}`?")))]
    Nothing {
        /// The group.
        group: String,
        /// The pattern.
        pattern: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// A group without patterns.
    #[error("group `{0}` has no names; list names of layers or tensors, in which `*` stands for any characters")]
    Empty(String),
    /// A tensor in two groups.
    #[error("`{tensor}` is in the groups `{first}` and `{second}`; let only one of them take it")]
    Twice {
        /// The tensor.
        tensor: String,
        /// One group.
        first: String,
        /// The other.
        second: String,
    },
    /// A pattern without a part.
    #[error("`{pattern}` is the name of no block; {}", .nearest.as_ref().map_or_else(|| format!("the blocks are {known}"), |n| format!("did you mean `{n}`?")))]
    NoPart {
        /// The pattern.
        pattern: String,
        /// The nearest name.
        nearest: Option<String>,
        /// All names, or the first of them.
        known: String,
    },
    /// Two parts of one name.
    #[error("two blocks would be called `{0}`; give the group another name")]
    Name(String),
}

/// A named part of θ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name, different from that of every other part.
    pub name: String,
    /// What it is, in a few words: `linear 64→32 + bias`.
    pub description: String,
    /// The entries of θ: sorted ranges, none empty, none touching the next.
    pub ranges: Vec<Range<usize>>,
}

impl Part {
    /// A part of these ranges, in any order.
    ///
    /// # Panics
    /// If two of them overlap.
    #[track_caller]
    pub fn new(name: impl Into<String>, description: impl Into<String>, mut ranges: Vec<Range<usize>>) -> Self {
        ranges.retain(|r| !r.is_empty());
        ranges.sort_by_key(|r| r.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                last => {
                    assert!(last.is_none_or(|l| l.end < range.start), "ranges of θ overlap at {range:?}");
                    merged.push(range);
                }
            }
        }
        Part { name: name.into(), description: description.into(), ranges: merged }
    }

    /// All of a layer.
    pub fn layer(layer: &Layer) -> Self {
        Part::new(&layer.name, &layer.description, vec![layer.range.clone()])
    }

    /// All of θ.
    pub fn network<T: Real>(model: &Model<T>) -> Self {
        let count = model.layers().len();
        let description = format!("{count} layer{}", if count == 1 { "" } else { "s" });
        Part::new("network", description, std::iter::once(0..model.len()).collect())
    }

    /// Its number of parameters.
    pub fn len(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// Whether it has none (never, for a part of a network).
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// The parts whose names fit one of the patterns, in which `*` stands for any characters and `?` for one, in their own order;
/// all of them if there are no patterns.
///
/// # Errors
/// [`GroupingError::NoPart`] for a pattern that fits none.
pub fn select(parts: &[Part], patterns: &[String]) -> Result<Vec<Part>, GroupingError> {
    /// Names that a message lists.
    const LISTED: usize = 20;
    let fits = |pattern: &String, part: &Part| WildMatch::new(pattern).matches(&part.name);
    if let Some(pattern) = patterns.iter().find(|p| !parts.iter().any(|part| fits(p, part))) {
        let names = || parts.iter().map(|p| p.name.as_str());
        let more = if parts.len() > LISTED { ", …" } else { "" };
        return Err(GroupingError::NoPart {
            pattern: pattern.clone(),
            nearest: nearest(pattern, names()).map(str::to_owned),
            known: names().take(LISTED).collect::<Vec<_>>().join(", ") + more,
        });
    }
    let chosen = |part: &&Part| patterns.is_empty() || patterns.iter().any(|p| fits(p, part));
    Ok(parts.iter().filter(chosen).cloned().collect())
}

impl<T: Real> Model<T> {
    /// The parts of θ by a grouping, in the order of their first entries.
    ///
    /// # Errors
    /// Names that fit nothing, or two groups.
    pub fn blocks(&self, grouping: &Grouping) -> Result<Vec<Part>, GroupingError> {
        let mut parts: Vec<Part> = match grouping {
            Grouping::Layer => self.layer_blocks(),
            Grouping::Tensor => self.tensors().iter().map(tensor).collect(),
            Grouping::Network => vec![Part::network(self)],
            Grouping::Head => self.heads(),
            Grouping::Neuron => self.layers().iter().flat_map(|layer| self.units(layer)).collect(),
            Grouping::Groups(groups) => self.groups(groups)?,
        };
        parts.sort_by_key(|p| p.ranges[0].start);
        Ok(parts)
    }

    /// The parts by layer: [`Grouping::Layer`].
    pub fn layer_blocks(&self) -> Vec<Part> {
        self.layers().iter().map(Part::layer).collect()
    }

    /// The tensors of a layer: weight, then bias if there is one.
    fn tensors_of(&self, layer: &Layer) -> &[Tensor] {
        let all = self.tensors();
        let first = all.partition_point(|t| t.range.start < layer.range.start);
        &all[first..first + layer.params.len()]
    }

    /// The place in the network's list of the layer that these parameters belong to: for the projections of an attention,
    /// the attention.
    pub fn owner_of(&self, layer: &Layer) -> usize {
        let named = |name: &str| self.spec().layers.iter().enumerate().position(|(i, l)| l.label(i) == name);
        let owner = named(&layer.name).or_else(|| named(layer.name.rsplit_once('.')?.0));
        owner.expect("parameters belong to a layer of the network")
    }

    /// What the layer of [`Model::owner_of`] does.
    pub fn kind_of(&self, layer: &Layer) -> &LayerKind {
        &self.spec().layers[self.owner_of(layer)].kind
    }

    /// Whether another layer uses these parameters as well.
    pub fn is_shared(&self, layer: &Layer) -> bool {
        let owner = self.owner_of(layer);
        let label = self.spec().layers[owner].label(owner);
        self.spec().layers.iter().any(|l| l.shares.as_ref() == Some(&label))
    }

    /// The part of each output of a layer, or the whole layer if its parameters don't belong to outputs.
    fn units(&self, layer: &Layer) -> Vec<Part> {
        let by_output = matches!(
            self.kind_of(layer),
            LayerKind::Linear { .. }
                | LayerKind::Bilinear { .. }
                | LayerKind::Conv2d { .. }
                | LayerKind::Attention { .. }
                | LayerKind::LayerNorm { .. }
                | LayerKind::RmsNorm { .. }
                | LayerKind::GroupNorm { .. }
                | LayerKind::BatchNorm { .. }
        );
        if !by_output {
            return vec![Part::layer(layer)];
        }
        let unit = |i: usize| {
            let own = self.tensors_of(layer).iter().map(|t| rows(t, i, 1)).collect();
            Part::new(format!("{}[{i}]", layer.name), format!("output {i} of {}", layer.description), own)
        };
        (0..self.tensors_of(layer)[0].shape[0]).map(unit).collect()
    }

    fn heads(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut layers = self.layers().iter();
        while let Some(q) = layers.next() {
            let LayerKind::Attention { heads, .. } = *self.kind_of(q) else {
                parts.push(Part::layer(q));
                continue;
            };
            let [k, v, o] = [(); 3].map(|()| layers.next().expect("an attention has four projections"));
            let name = q.name.rsplit_once('.').map_or("", |(name, _)| name);
            let width = q.outputs / heads;
            for head in 0..heads {
                let mut own: Vec<_> =
                    [q, k, v].iter().flat_map(|l| self.tensors_of(l)).map(|t| rows(t, head * width, width)).collect();
                let mixer = &self.tensors_of(o)[0];
                own.extend((0..mixer.shape[0]).map(|row| {
                    let start = mixer.range.start + row * mixer.shape[1] + head * width;
                    start..start + width
                }));
                parts.push(Part::new(format!("{name}.head{head}"), format!("head {head} of {heads}"), own));
            }
            parts.extend(self.tensors_of(o)[1..].iter().map(tensor));
        }
        parts
    }

    fn groups(&self, groups: &[Group]) -> Result<Vec<Part>, GroupingError> {
        let layer_of = |t: &Tensor| self.layers().iter().find(|l| l.range.contains(&t.range.start));
        let layer_name = |t: &Tensor| layer_of(t).map_or("", |l| l.name.as_str());
        let mut taken: Vec<Option<usize>> = vec![None; self.tensors().len()];
        for (g, group) in groups.iter().enumerate() {
            if group.patterns.is_empty() {
                return Err(GroupingError::Empty(group.name.clone()));
            }
            for pattern in &group.patterns {
                let wild = WildMatch::new(pattern);
                let mut found = false;
                for (t, owner) in self.tensors().iter().zip(&mut taken) {
                    if !wild.matches(&t.name) && !wild.matches(layer_name(t)) {
                        continue;
                    }
                    found = true;
                    if let Some(other) = owner.filter(|&other| other != g) {
                        let (first, second) = (groups[other].name.clone(), group.name.clone());
                        return Err(GroupingError::Twice { tensor: t.name.clone(), first, second });
                    }
                    *owner = Some(g);
                }
                if !found {
                    let known = self.layers().iter().map(|l| l.name.as_str());
                    let known = known.chain(self.tensors().iter().map(|t| t.name.as_str()));
                    let nearest = nearest(pattern.trim_matches(['*', '?']), known).map(str::to_string);
                    let (group, pattern) = (group.name.clone(), pattern.clone());
                    return Err(GroupingError::Nothing { group, pattern, nearest });
                }
            }
        }
        let of = |owner: Option<usize>, within: &Range<usize>| -> Vec<&Tensor> {
            let tensors = self.tensors().iter().zip(&taken);
            tensors.filter(|(t, o)| **o == owner && within.contains(&t.range.start)).map(|(t, _)| t).collect()
        };
        let ranges = |tensors: &[&Tensor]| tensors.iter().map(|t| t.range.clone()).collect::<Vec<_>>();
        let mut parts = Vec::new();
        for (g, group) in groups.iter().enumerate() {
            let own = of(Some(g), &(0..self.len()));
            let count = format!("{} tensor{}", own.len(), if own.len() == 1 { "" } else { "s" });
            parts.push(Part::new(&group.name, count, ranges(&own)));
        }
        for layer in self.layers() {
            let own = of(None, &layer.range);
            match own[..] {
                [] => {}
                _ if own.len() == layer.params.len() => parts.push(Part::layer(layer)),
                _ => parts.push(Part::new(&layer.name, format!("the rest of {}", layer.description), ranges(&own))),
            }
        }
        let twice = |(i, part): (usize, &Part)| parts[..i].iter().any(|p| p.name == part.name);
        match parts.iter().enumerate().find(|&p| twice(p)) {
            Some((_, part)) => Err(GroupingError::Name(part.name.clone())),
            None => Ok(parts),
        }
    }
}

fn tensor(t: &Tensor) -> Part {
    let extents = t.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let kind = t.name.rsplit('.').next().unwrap_or(&t.name);
    Part::new(&t.name, format!("{kind} {extents}").trim_end(), vec![t.range.clone()])
}

/// `count` rows of a tensor from `first` on, all its axes but the first being one.
fn rows(t: &Tensor, first: usize, count: usize) -> Range<usize> {
    let width: usize = t.shape[1..].iter().product();
    t.range.start + first * width..t.range.start + (first + count) * width
}

#[cfg(test)]
mod tests;
