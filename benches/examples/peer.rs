//! One side of a comparison with other programs: runs tasks on request, so that a script can time both sides in turn.
//!
//! Reads commands from standard input and answers each with one line: `load WORKLOAD f32|f64`, `export DIR` (weights and
//! data for the other side), `time TASK COUNT` (seconds), `save TASK FILE` (the result, as NPZ), `threads`, `quit`.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use eigenlens_benches::workloads::{Stage, Task, WORKLOADS};
use eigenlens_linalg::Real;
use eigenlens_nets::data::npz::{Column, write as npz};
use eigenlens_nets::snapshot::{self, NamedTensor, TensorData};

type Lines<'a> = &'a mut dyn Iterator<Item = std::io::Result<String>>;

fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("the other side listens");
}

/// Serves one workload; returns the next `load` line.
fn serve<T: Real>(workload: usize, lines: Lines<'_>) -> Option<String> {
    let stage = Stage::<T>::new(&WORKLOADS[workload]);
    let mut ready = stage.ready();
    say(&format!("ok {}", stage.model.len()));
    while let Some(Ok(line)) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["load", ..] => return Some(line),
            ["quit"] => return None,
            ["threads"] => say(&rayon::current_num_threads().to_string()),
            ["export", dir] => say(&export(&stage, ready.directions(), Path::new(dir)).unwrap_or_else(|e| e)),
            ["time", task, count] => match (Task::of_name(task), count.parse::<usize>()) {
                (Some(task), Ok(count)) => {
                    let time = |_| {
                        let start = Instant::now();
                        ready.repeat(task);
                        start.elapsed().as_secs_f64().to_string()
                    };
                    let times: Vec<String> = (0..count).map(time).collect();
                    say(&times.join(" "));
                }
                _ => say("error: time TASK COUNT"),
            },
            ["save", task, file] => match Task::of_name(task) {
                Some(task) => {
                    let bytes = npz(&[("y", Column::F64(&ready.run(task)))]);
                    say(&std::fs::write(file, bytes)
                        .map_or_else(|e| format!("error: {file}: {e}"), |()| "ok".to_string()));
                }
                None => say("error: save TASK FILE"),
            },
            _ => say("error: load, export, time, save, threads or quit"),
        }
    }
    None
}

fn export<T: Real>(stage: &Stage<T>, directions: &[f64], dir: &Path) -> Result<String, String> {
    let theta = stage.theta();
    let tensor = |t: &eigenlens_nets::model::Tensor| {
        let values = theta[t.range.clone()].iter().map(|x| x.to_f64()).collect();
        NamedTensor { name: t.name.clone(), shape: t.shape.clone(), data: TensorData::F64(values) }
    };
    let tensors: Vec<NamedTensor> = stage.model.tensors().iter().map(tensor).collect();
    snapshot::write(&dir.join("weights.safetensors"), &tensors, &BTreeMap::new()).map_err(|e| format!("error: {e}"))?;
    let samples = &stage.samples;
    let columns = [("x", Column::F64(&samples.x)), ("y", Column::F64(&samples.y)), ("v", Column::F64(directions))];
    let file = dir.join("samples.npz");
    std::fs::write(&file, npz(&columns)).map_err(|e| format!("error: {}: {e}", file.display()))?;
    Ok("ok".to_string())
}

fn main() {
    let stdin = std::io::stdin();
    let mut lines = stdin.lock().lines();
    let mut next = lines.next().and_then(Result::ok);
    while let Some(line) = next {
        let words: Vec<&str> = line.split_whitespace().collect();
        next = match words[..] {
            ["load", name, precision] => match WORKLOADS.iter().position(|w| w.name == name) {
                Some(w) if precision == "f32" => serve::<f32>(w, &mut lines),
                Some(w) if precision == "f64" => serve::<f64>(w, &mut lines),
                _ => {
                    say("error: load WORKLOAD f32|f64");
                    lines.next().and_then(Result::ok)
                }
            },
            ["quit"] => None,
            _ => {
                say("error: load a workload first");
                lines.next().and_then(Result::ok)
            }
        };
    }
}
