//! Whose the largest eigenvalues are: tables of classes and samples.

use super::charts::layer_label;
use super::page::escape;
use crate::numbers::{significant, typeset};
use crate::results::{Attribution, LayerResult, RunResult};

/// Classes and samples that a row names.
const NAMED: usize = 3;

/// The section, of the last snapshot; nothing where no eigenvalue is attributed.
pub fn section(result: &RunResult) -> String {
    let Some(last) = result.last() else { return String::new() };
    let tables: String = last.layers.iter().filter(|l| !l.attribution.is_empty()).map(|l| table(result, l)).collect();
    if tables.is_empty() {
        return tables;
    }
    let classes = last.layers.iter().any(|l| l.attribution.iter().any(|a| !a.classes.is_empty()));
    let of_classes = if classes {
        " Shares of classes are sums over their samples. Beside it, the eigenvalues of the matrix of class means (Papyan\u{2019}s \
          G₁), which the outliers come from."
    } else {
        ""
    };
    format!(
        "<h2>Whose the largest eigenvalues are</h2>\n<p class=\"lead\">After epoch {}. An eigenvalue is a sum over samples, λ = \
         Σ wₙ vᵀHₙv, and each has a share in it, which may be negative. ± is the standard error from the finite sample: how far \
         other samples of the same kind would move it.{of_classes} Samples are numbered from 0 in the part that the Hessian is \
         the mean over.</p>\n{tables}",
        last.epoch
    )
}

fn table(result: &RunResult, layer: &LayerResult) -> String {
    let means = layer.class_means.as_ref().map(|c| &c.means[..]);
    let classes = layer.attribution.iter().any(|a| !a.classes.is_empty());
    let mut head = String::from("<tr><th>λ</th><th>value</th>");
    if means.is_some() {
        head.push_str("<th>of class means</th>");
    }
    if classes {
        head.push_str("<th>classes with the largest shares</th>");
    }
    head.push_str("<th>samples with the largest shares</th></tr>");
    let rows: String = layer.attribution.iter().map(|a| row(result, a, means, classes)).collect();
    format!(
        "<h3>{} <span class=\"note\">{}</span></h3>\n<div class=\"scroll\"><table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        escape(&layer_label(&layer.name)),
        escape(&layer.kind)
    )
}

fn row(result: &RunResult, a: &Attribution, means: Option<&[f64]>, classes: bool) -> String {
    let value = match a.data_error {
        Some(error) => format!("{} ± {}", significant(a.value, 3), significant(error, 2)),
        None => significant(a.value, 3),
    };
    let mut cells = format!("<td>{}</td>", escape(&typeset(&value)));
    if let Some(means) = means {
        let value = means.get(a.rank - 1).map_or("–".to_owned(), |x| typeset(&significant(*x, 3)));
        cells.push_str(&format!("<td>{}</td>", escape(&value)));
    }
    if classes {
        let mut order: Vec<(usize, f64)> = a.classes.iter().copied().enumerate().collect();
        order.sort_by(|x, y| y.1.abs().total_cmp(&x.1.abs()));
        let listed = order.iter().take(NAMED).map(|(c, share)| format!("{} {}", class(result, *c), per_cent(*share)));
        cells.push_str(&format!("<td class=\"words\">{}</td>", escape(&listed.collect::<Vec<_>>().join(", "))));
    }
    let samples = a.samples.iter().take(NAMED).map(|s| {
        let label = s.label.map_or(String::new(), |l| format!(" ({})", class(result, l)));
        format!("{}{label} {}", s.sample, per_cent(s.share))
    });
    cells.push_str(&format!("<td class=\"words\">{}</td>", escape(&samples.collect::<Vec<_>>().join(", "))));
    format!("<tr><th>{}</th>{cells}</tr>\n", a.rank)
}

fn class(result: &RunResult, label: usize) -> String {
    result.dataset.class_names.get(label).cloned().unwrap_or_else(|| label.to_string())
}

fn per_cent(share: f64) -> String {
    format!("{} %", typeset(&format!("{:.1}", 100.0 * share)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use crate::results::{ClassMeans, SampleShare};

    #[test]
    fn classes_and_samples_are_named_and_safe() {
        let (mut result, _) = example::run();
        assert_eq!(section(&result), "", "nothing is attributed");
        result.dataset.class_names = vec!["<cat>".into(), "dog".into()];
        let layer = &mut result.snapshots.last_mut().unwrap().layers[0];
        layer.attribution = vec![Attribution {
            rank: 1,
            value: 2.5,
            data_error: Some(0.125),
            penalty: 0.0,
            classes: vec![0.25, 0.75],
            samples: vec![SampleShare { sample: 17, label: Some(1), share: -0.5 }],
        }];
        layer.class_means = Some(ClassMeans { own: vec![], means: vec![2.25], cross: vec![] });
        let text = section(&result);
        for piece in ["2.50 ± 0.12", "2.25", "dog 75.0 %, &lt;cat&gt; 25.0 %", "17 (dog) −50.0 %"] {
            assert!(text.contains(piece), "{piece} in {text}");
        }
        // Without classes neither column is there.
        let layer = &mut result.snapshots.last_mut().unwrap().layers[0];
        layer.class_means = None;
        layer.attribution[0].classes.clear();
        layer.attribution[0].samples[0].label = None;
        let text = section(&result);
        assert!(!text.contains("class means") && text.contains("17 −50.0 %"), "{text}");
    }
}
