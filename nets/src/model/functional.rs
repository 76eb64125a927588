//! Functional blocks: a layer with weights and what follows it, as nodes of a graph of blocks.

use eigenlens_autodiff::NodeId;

use crate::spec::LayerSpec;

/// A functional block C = (P, A) of arXiv 2510.17486: a layer with weights, then norm, activation and whatever else stands
/// before the next one or before its result is read twice (a skip connection then begins at its end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Functional {
    /// The name of its layer with weights.
    pub name: String,
    /// The name of the layer that it ends with.
    pub end: String,
    /// The node of its result f.
    pub node: NodeId,
    /// The blocks whose results it reads, by their place in the list.
    pub reads: Vec<usize>,
}

/// The blocks of a network in its own order; `reads` are the places of the layers that each layer reads (none for the
/// data), `nodes` their results.
pub(super) fn blocks(
    layers: &[LayerSpec],
    labels: &[String],
    reads: &[Vec<Option<usize>>],
    nodes: &[NodeId],
) -> Vec<Functional> {
    let mut readers = vec![Vec::new(); layers.len()];
    for (i, list) in reads.iter().enumerate() {
        list.iter().flatten().for_each(|&j| readers[j].push(i));
    }
    // The layer that a block which begins at `i` ends with.
    let end = |i: usize| {
        let (mut at, mut plain) = (i, true);
        while let &[next] = &readers[at][..] {
            let kind = layers[next].kind.kind();
            // A norm belongs to the block only if it comes first; else it prepares the next one's input.
            if kind.has_weights() || (kind.is_norm() && !plain) {
                break;
            }
            plain &= kind.is_norm();
            at = next;
        }
        at
    };
    let begins: Vec<usize> = (0..layers.len()).filter(|&i| layers[i].kind.kind().has_weights()).collect();
    let ends: Vec<usize> = begins.iter().map(|&i| end(i)).collect();
    // For each layer: the blocks that its result comes from, as they are read by the next.
    let mut sources: Vec<Vec<usize>> = Vec::with_capacity(layers.len());
    let mut reads_of = vec![Vec::new(); begins.len()];
    for (i, list) in reads.iter().enumerate() {
        let mut from: Vec<usize> = list.iter().flatten().flat_map(|&j| sources[j].iter().copied()).collect();
        from.sort_unstable();
        from.dedup();
        // Two branches may end in the same sum: it then is the end of both, and the first stands for it.
        match ends.iter().position(|&e| e == i) {
            Some(block) => {
                // What is read inside of the block is its own.
                let own = |b: &usize| ends[*b] != i;
                reads_of[block] = from.into_iter().filter(own).collect();
                sources.push(vec![block]);
            }
            None => sources.push(from),
        }
    }
    let mut kept = Vec::new();
    for (b, &e) in ends.iter().enumerate() {
        if ends[..b].iter().all(|other| *other != e) {
            kept.push(b);
        }
    }
    let place = |b: &usize| kept.iter().position(|k| k == b);
    kept.iter()
        .map(|&b| Functional {
            name: labels[begins[b]].clone(),
            end: labels[ends[b]].clone(),
            node: nodes[ends[b]],
            reads: reads_of[b].iter().filter_map(place).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::Activation;
    use crate::model::Model;
    use crate::spec::{Loss, ModelSpec};
    use crate::zoo::{Family, Merge, Norm, Options, Task};

    fn found(family: Family, options: Options, input: &[usize]) -> Vec<(String, String, Vec<usize>)> {
        let task = Task { input: input.to_vec(), vocabulary: None, outputs: 3 };
        let layers = family.layers(&options, &task).unwrap();
        let model = Model::<f64>::new(&ModelSpec::new(input, layers, Loss::CrossEntropy)).unwrap();
        model.functional().iter().map(|f| (f.name.clone(), f.end.clone(), f.reads.clone())).collect()
    }

    fn row(name: &str, end: &str, reads: &[usize]) -> (String, String, Vec<usize>) {
        (name.to_string(), end.to_string(), reads.to_vec())
    }

    #[test]
    fn a_chain_ends_its_blocks_at_activations() {
        let options = Options { depth: Some(2), norm: Some(Norm::Layer), ..Options::default() };
        let chain = found(Family::Mlp, options, &[4]);
        assert_eq!(chain, [row("fc1", "fc1.act", &[]), row("fc2", "fc2.act", &[0]), row("head", "head", &[1])]);
    }

    #[test]
    fn a_residual_stream_is_read_once_by_the_next_block() {
        let options = Options { depth: Some(2), norm: Some(Norm::Layer), ..Options::default() };
        let blocks = found(Family::ResidualMlp, options, &[4]);
        let want =
            [row("embed", "embed", &[]), row("fc1", "h1", &[0]), row("fc2", "h2", &[1]), row("head", "head", &[2])];
        assert_eq!(blocks, want);
        // Without skips the norm before the next layer is the next block's.
        let plain = found(Family::ResidualMlp, Options { skips: Some(false), ..options }, &[4]);
        assert_eq!(plain[1], row("fc1", "fc1.act", &[0]));
    }

    #[test]
    fn branches_that_end_in_one_sum_are_one_end() {
        let options = Options { depth: Some(1), merge: Some(Merge::Add), ..Options::default() };
        let blocks = found(Family::Diamond, options, &[4]);
        // Both branches run into the sum; the first gives it its name.
        assert_eq!(blocks, [row("stem", "stem.act", &[]), row("left1", "merge", &[0]), row("head", "head", &[1])]);
        let options = Options { merge: Some(Merge::Bilinear), ..options };
        let blocks = found(Family::Diamond, options, &[4]);
        assert_eq!(
            blocks[1..4],
            [row("left1", "left1.act", &[0]), row("right1", "right1.act", &[0]), row("merge", "merge", &[1, 2])]
        );
    }

    #[test]
    fn networks_for_images_have_a_block_for_each_convolution() {
        let options = Options { width: Some(2), activation: Some(Activation::Tanh), ..Options::default() };
        let blocks = found(Family::ResNetSmall(1), options, &[1, 8, 8]);
        let names: Vec<&str> = blocks.iter().map(|b| b.0.as_str()).collect();
        assert_eq!(names[..3], ["stem", "s1b1.conv1", "s1b1.conv2"]);
        assert_eq!(blocks[2], row("s1b1.conv2", "s1b1.act2", &[0, 1]));
        assert_eq!(blocks.last().unwrap().0, "head");
    }
}
