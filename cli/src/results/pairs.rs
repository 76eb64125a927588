//! `interlayer.csv`: one row per snapshot and ordered pair of blocks.

use super::RunResult;
use super::maps::{Matrix, Partial};

/// The columns. An empty field says that the pair has no such number, or that it was not computed.
const HEADER: [&str; 15] = [
    "snapshot",
    "epoch",
    "space",
    "from",
    "to",
    "distance",
    "resonance",
    "resonance_error",
    "coupling",
    "stable_rank",
    "gap",
    "share",
    "jensen_shannon",
    "wasserstein",
    "wasserstein_error",
];

/// The CSV text of all maps, with a header line: pairs of parameters, of activations and of spectra, as `space` says. `None`
/// if there are no maps.
pub fn interlayer_csv(result: &RunResult) -> Option<String> {
    if result.snapshots.iter().all(|s| s.maps.is_empty()) {
        return None;
    }
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let to_memory = "writing to memory";
    writer.write_record(HEADER).expect(to_memory);
    let always = |m: &Matrix, v: usize, w: usize| Some(m[v][w]);
    let if_any = |m: &Option<Matrix>, v: usize, w: usize| m.as_ref().map(|m| m[v][w]);
    let partial = |m: &Option<Partial>, v: usize, w: usize| m.as_ref().and_then(|m| m[v][w]);
    for s in &result.snapshots {
        let mut put = |space: &str, names: &[&str], row: &dyn Fn(usize, usize) -> (Option<usize>, [Option<f64>; 9])| {
            for (v, from) in names.iter().enumerate() {
                for (w, to) in names.iter().enumerate() {
                    let (distance, numbers) = row(v, w);
                    writer.serialize((s.index, s.epoch, space, from, to, distance, numbers)).expect(to_memory);
                }
            }
        };
        if let Some(p) = &s.maps.parameters {
            let names: Vec<&str> = p.blocks.iter().map(String::as_str).collect();
            put("parameters", &names, &|v, w| {
                let (r, error) = (always(&p.resonance, v, w), if_any(&p.resonance_error, v, w));
                (None, [r, error, p.coupling[v][w], None, None, p.share[v][w], None, None, None])
            });
        }
        if let Some(a) = &s.maps.activations {
            let names: Vec<&str> = a.blocks.iter().map(|b| b.name.as_str()).collect();
            put("activations", &names, &|v, w| {
                let (r, error) = (always(&a.resonance, v, w), if_any(&a.resonance_error, v, w));
                let d = partial(&a.stable_rank, v, w);
                (a.distance[v][w], [r, error, a.coupling[v][w], d, a.gap[v][w], None, None, None, None])
            });
        }
        if let Some(h) = &s.maps.spectra {
            let names: Vec<&str> = h.blocks.iter().map(String::as_str).collect();
            put("spectra", &names, &|v, w| {
                let (js, w1) = (h.jensen_shannon[v][w], h.wasserstein[v][w]);
                let error = partial(&h.wasserstein_error, v, w);
                (None, [None, None, None, None, None, None, js, w1, error])
            });
        }
    }
    Some(String::from_utf8(writer.into_inner().expect(to_memory)).expect("names are UTF-8"))
}
