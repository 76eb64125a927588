//! Which layers a layer reads and whose parameters it uses, checked before there is a graph.

use std::collections::HashMap;

use super::{LayerKind, ModelError, ModelSpec};
use crate::options::nearest;

/// What layers call their parts, after their own name and a dot.
const MADE: [&str; 8] = ["q", "k", "v", "o", "heads", "outer", "pairs", "mask"];

/// The names of the layers that each layer reads, checked: all known, none later, none without a reader.
pub(super) fn reads(spec: &ModelSpec, labels: &[String]) -> Result<Vec<Vec<String>>, ModelError> {
    let place: HashMap<&str, usize> = labels.iter().enumerate().map(|(i, l)| (l.as_str(), i)).collect();
    let mut all = Vec::with_capacity(labels.len());
    for (i, (layer, label)) in spec.layers.iter().zip(labels).enumerate() {
        if label == ModelSpec::INPUT || place[label.as_str()] != i {
            return Err(ModelError::DuplicateName(label.clone()));
        }
        let made = label.rsplit_once('.').filter(|(owner, part)| place.contains_key(owner) && MADE.contains(part));
        if let Some((owner, _)) = made {
            return Err(ModelError::MadeName { layer: label.clone(), owner: owner.to_string() });
        }
        let before = || if i == 0 { ModelSpec::INPUT.to_string() } else { labels[i - 1].clone() };
        let reads = if layer.inputs.is_empty() { vec![before()] } else { layer.inputs.clone() };
        for input in &reads {
            if input != ModelSpec::INPUT && !place.contains_key(input.as_str()) {
                let known = labels.iter().map(String::as_str).chain([ModelSpec::INPUT]);
                let nearest = nearest(input, known).map(str::to_string);
                return Err(ModelError::UnknownInput { layer: label.clone(), input: input.clone(), nearest });
            }
        }
        let (fits, takes) = match layer.kind {
            LayerKind::Add | LayerKind::Concat { .. } => (reads.len() >= 2, "2 or more"),
            LayerKind::Mul | LayerKind::Bilinear { .. } => (reads.len() == 2, "2"),
            _ => (reads.len() == 1, "1"),
        };
        if !fits {
            let (kind, has) = (layer.kind.name(), reads.len());
            return Err(ModelError::Count { layer: label.clone(), kind, has, takes });
        }
        all.push(reads);
    }
    let position = |name: &String| place.get(name.as_str()).copied();
    for (i, reads) in all.iter().enumerate() {
        if let Some(input) = reads.iter().find(|r| position(r).is_some_and(|j| j >= i)) {
            return Err(match cycle(i, &all, &position) {
                Some(cycle) => ModelError::Cycle(cycle.into_iter().map(|j| labels[j].clone()).collect()),
                None => ModelError::Later { layer: labels[i].clone(), input: input.clone() },
            });
        }
    }
    let mut read = vec![false; labels.len()];
    all.iter().flatten().filter_map(position).for_each(|j| read[j] = true);
    if let Some(j) = (0..labels.len().saturating_sub(1)).find(|&j| !read[j]) {
        return Err(ModelError::Unread(labels[j].clone()));
    }
    Ok(all)
}

/// A way from a layer through what it reads back to itself.
fn cycle(from: usize, reads: &[Vec<String>], position: &impl Fn(&String) -> Option<usize>) -> Option<Vec<usize>> {
    let mut seen = vec![false; reads.len()];
    let mut paths = vec![vec![from]];
    while let Some(path) = paths.pop() {
        for next in reads[*path.last().expect("a path has a start")].iter().filter_map(position) {
            let longer: Vec<usize> = path.iter().copied().chain([next]).collect();
            if next == from {
                return Some(longer);
            }
            if !std::mem::replace(&mut seen[next], true) {
                paths.push(longer);
            }
        }
    }
    None
}

/// Checks that a layer shares the parameters of an earlier one of its own kind, which has them itself.
pub(super) fn shares(spec: &ModelSpec, labels: &[String]) -> Result<(), ModelError> {
    for (i, (layer, label)) in spec.layers.iter().zip(labels).enumerate() {
        let Some(with) = &layer.shares else { continue };
        let reason = match labels.iter().position(|l| l == with) {
            None => {
                let known = labels[..i].iter().map(String::as_str);
                match nearest(with, known) {
                    Some(name) => format!("no layer is called that; did you mean `{name}`?"),
                    None => "no layer is called that; name an earlier layer".to_string(),
                }
            }
            Some(j) if j == i => "that is the layer itself; name an earlier one".to_string(),
            Some(j) if j > i => {
                "that layer stands after it; let the first of them have the parameters, and the later ones share them"
                    .to_string()
            }
            Some(j) => {
                let other = &spec.layers[j];
                let (kind, own) = (other.kind.name(), layer.kind.name());
                match &other.shares {
                    _ if kind != own => format!("that is of the kind {kind}, this of {own}; name one of its own kind"),
                    _ if !layer.kind.kind().has_parameters() => {
                        format!("layers of the kind {kind} have none; leave `shares` out")
                    }
                    Some(owner) => format!("that layer uses those of `{owner}` itself; share those of `{owner}`"),
                    None => continue,
                }
            }
        };
        return Err(ModelError::Shared { layer: label.clone(), with: with.clone(), reason });
    }
    Ok(())
}
