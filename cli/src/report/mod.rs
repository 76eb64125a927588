//! `report.html`: one self-contained page with all pictures of a run, for light and dark, wide and narrow screens.

mod axis;
mod canvas;
mod charts;
mod density;
pub(crate) mod heat;
pub(crate) mod lines;
mod maps;
mod owners;
pub(crate) mod page;
mod ridges;
#[cfg(test)]
mod tests;
mod text;

pub use density::SMOOTHING_DECADES;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{Failure, Result};
use crate::files::read_text;
use crate::results::{RunResult, Spectrum};
use crate::rundir::{Manifest, RunDir};
use page::{escape, figures};

/// Name of the report in a run directory.
pub const REPORT: &str = "report.html";
/// Name of the result in a run directory.
pub const RESULT: &str = "result.json";

/// What a report is made of.
pub struct Input<'a> {
    /// All numbers.
    pub result: &'a RunResult,
    /// The spectra, by file name as [`crate::results::LayerResult::spectrum`] has it.
    pub spectra: &'a BTreeMap<String, Spectrum>,
    /// Who computed it, with what.
    pub manifest: &'a Manifest,
    /// The resolved config.
    pub config: &'a str,
    /// Eigenvalues below τ|λ|max count as zero.
    pub tau: f64,
}

/// The page.
///
/// # Errors
/// Only if plotters can't draw.
pub fn render(input: &Input<'_>) -> Result<String> {
    let result = input.result;
    let title = format!("{}: {}", result.dataset.name, result.model.description);
    let mut body = String::new();
    body.push_str(&text::head(input, &title));
    body.push_str(&text::how_to_read(result, input.tau));
    let sections = [
        ("Training", text::TRAINING, charts::training(result)?),
        ("Layers over training", text::EVOLUTION, charts::evolution(result)?),
        ("Spectra", text::SPECTRA, charts::spectra(result, input.spectra, input.tau)?),
    ];
    for (heading, intro, drawn) in sections {
        if !drawn.is_empty() {
            body.push_str(&format!("<h2>{heading}</h2>\n<p class=\"lead\">{}</p>\n", escape(intro)));
            body.push_str(&figures(&drawn));
        }
    }
    for (heading, intro, drawn) in maps::sections(result)? {
        body.push_str(&format!("<h2>{heading}</h2>\n<p class=\"lead\">{}</p>\n", escape(&intro)));
        body.push_str(&drawn);
    }
    body.push_str(&owners::section(result));
    body.push_str(&text::metrics_table(result));
    body.push_str(&text::provenance(input));
    Ok(page::whole(&title, &input.manifest.version, &body))
}

/// Writes the report of a run directory from its `result.json` and `spectra/`, and returns its path.
///
/// # Errors
/// If the directory has no result yet, or a file of it is damaged, or it can't be written to.
pub fn write(run: &RunDir) -> Result<PathBuf> {
    let path = run.file(RESULT);
    if !path.is_file() {
        return Err(Failure::new("the run has no result yet")
            .at(run.path().display())
            .hint("let it finish: eigenlens run --resume with its config and --out"));
    }
    let result = RunResult::from_json(&read_text(&path)?, &path.display().to_string())?;
    let mut spectra = BTreeMap::new();
    for name in result.snapshots.iter().flat_map(|s| &s.layers).filter_map(|l| l.spectrum.as_ref()) {
        // A result from elsewhere must not make the program read what is not in its directory.
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::new(format!("the spectrum `{name}` is outside of the run directory"))
                .at(path.display())
                .hint("the file was changed by hand; repeat the run"));
        }
        let path = run.file(name);
        let bytes = std::fs::read(&path).map_err(|e| Failure::io("read the spectrum", &path, &e))?;
        spectra.insert(name.clone(), Spectrum::from_npz(&bytes, &path.display().to_string())?);
    }
    let config = run.config_text()?;
    let tau = run.whole_config()?.spectra.tau;
    let html = render(&Input { result: &result, spectra: &spectra, manifest: run.manifest(), config: &config, tau })?;
    run.write(REPORT, html.as_bytes())?;
    Ok(run.file(REPORT))
}
