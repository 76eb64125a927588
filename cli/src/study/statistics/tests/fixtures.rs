//! Agreement with the reference implementations to 1e-8 (`fixtures/make.py`).

use serde_json::Value;

use super::super::correlation::{self, Of};
use super::super::distributions::{chi2_tail, f_tail, normal_two_sided, student_two_sided};
use super::super::multiple::benjamini_hochberg;
use super::super::resampling::quantile;
use super::super::{Groups, Table, cca, logistic, mixed, ridge, scores};

fn reference() -> Value {
    serde_json::from_str(include_str!("../fixtures/reference.json")).unwrap()
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn lists(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(list).collect()
}

fn table(value: &Value) -> Table {
    Table::new(lists(value).into_iter().enumerate().map(|(j, c)| (format!("x{j}"), c))).unwrap()
}

/// Absolute for numbers up to 1, relative beyond; p-values relative, too.
#[track_caller]
fn close(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-8 * want.abs().max(1.0), "{got} {want}");
}

#[track_caller]
fn close_p(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-8 * want.abs() + 1e-300, "{got:e} {want:e}");
}

#[track_caller]
fn all_close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).for_each(|(g, w)| close(*g, *w));
}

#[test]
fn distributions_agree_with_scipy() {
    let d = &reference()["distributions"];
    lists(&d["t"]).iter().for_each(|r| close_p(student_two_sided(r[0], r[1]), r[2]));
    lists(&d["f"]).iter().for_each(|r| close_p(f_tail(r[0], r[1], r[2]), r[3]));
    lists(&d["chi2"]).iter().for_each(|r| close_p(chi2_tail(r[0], r[1]), r[2]));
    lists(&d["normal"]).iter().for_each(|r| close_p(normal_two_sided(r[0]), r[1]));
}

#[test]
fn correlations_agree_with_scipy() {
    let r = reference();
    let c = &r["correlation"];
    let (x, y) = (list(&c["x"]), list(&c["y"]));
    let controls = table(&c["controls"]);
    let (x, y) = (("x", x.as_slice()), ("y", y.as_slice()));
    all_close(&correlation::ranks("x", x.1).unwrap(), &list(&c["ranks"]));
    for (key, found) in [
        ("pearson", correlation::pearson(x, y)),
        ("spearman", correlation::spearman(x, y)),
        ("partial", correlation::partial(Of::Values, x, y, &controls)),
        ("partial_ranks", correlation::partial(Of::Ranks, x, y, &controls)),
    ] {
        let (found, want) = (found.unwrap(), list(&c[key]));
        close(found.r, want[0]);
        close_p(found.p, want[1]);
    }
    let m = &r["multiple"];
    all_close(&benjamini_hochberg(&list(&m["p"])).unwrap(), &list(&m["adjusted"]));
}

#[test]
fn canonical_correlations_agree_with_statsmodels_scikit_learn_and_scipy() {
    let r = reference();
    let c = &r["cca"];
    let (x, y) = (table(&c["x"]), table(&c["y"]));
    let plain = cca::fit(&x, &y, cca::Ridge { left: 0.0, right: 0.0 }).unwrap();
    all_close(&plain.pairs.iter().map(|p| p.correlation).collect::<Vec<_>>(), &list(&c["correlations"]));
    close(plain.wilks, c["wilks"].as_f64().unwrap());
    close(plain.f, c["f"].as_f64().unwrap());
    close_p(plain.f_p.unwrap(), c["p"].as_f64().unwrap());
    all_close(&plain.pairs[0].left_loadings.iter().map(|x| x.abs()).collect::<Vec<_>>(), &list(&c["loadings"]));
    let both = list(&c["ridge"]);
    let ridged = cca::fit(&x, &y, cca::Ridge { left: both[0], right: both[1] }).unwrap();
    all_close(&ridged.pairs.iter().map(|p| p.correlation).collect::<Vec<_>>(), &list(&c["ridge_correlations"]));
    all_close(&ridged.pairs[0].left_weights, &list(&c["ridge_left"]));
    all_close(&ridged.pairs[0].right_weights, &list(&c["ridge_right"]));
    assert_eq!(ridged.f_p, None);
}

#[test]
fn mixed_models_agree_with_statsmodels() {
    for (at, m) in reference()["mixed"].as_array().unwrap().iter().enumerate() {
        let groups = Groups::new(list(&m["groups"]).iter().map(|g| g.to_string()));
        let found = mixed::fit(&table(&m["x"]), ("y", &list(&m["y"])), &groups).unwrap();
        let of = |f: fn(&mixed::Coefficient) -> f64| found.coefficients.iter().map(f).collect::<Vec<_>>();
        all_close(&of(|c| c.value), &list(&m["beta"]));
        all_close(&of(|c| c.error), &list(&m["errors"]));
        of(|c| c.p).iter().zip(list(&m["p"])).for_each(|(got, want)| close_p(*got, want));
        close(found.residual, m["residual"].as_f64().unwrap());
        close(found.between, m["between"].as_f64().unwrap());
        if let Some(want) = m["log_likelihood"].as_f64() {
            close(found.log_likelihood, want);
        }
        assert_eq!(found.between == 0.0, at == 1);
    }
}

#[test]
fn regressions_agree_with_scikit_learn() {
    let r = reference();
    let g = &r["regression"];
    let (x, y) = (table(&g["x"]), list(&g["y"]));
    let fitted = ridge::fit(&x, ("y", &y), g["alpha"].as_f64().unwrap()).unwrap();
    close(fitted.intercept, g["intercept"].as_f64().unwrap());
    all_close(&fitted.weights, &list(&g["weights"]));
    let truth: Vec<bool> = g["truth"].as_array().unwrap().iter().map(|t| t.as_bool().unwrap()).collect();
    let alpha = g["logistic_alpha"].as_f64().unwrap();
    for (key, weighting) in [("rows", logistic::Weighting::Rows), ("classes", logistic::Weighting::Classes)] {
        let model = logistic::fit(&x, &truth, alpha, weighting).unwrap();
        let found: Vec<f64> = std::iter::once(model.intercept).chain(model.weights.iter().copied()).collect();
        all_close(&found, &list(&g[key]));
    }
    let score = list(&g["score"]);
    close(scores::auc(&truth, &score).unwrap(), g["auc"].as_f64().unwrap());
    let model = logistic::fit(&x, &truth, alpha, logistic::Weighting::Rows).unwrap();
    let said = model.probabilities(&x).into_iter().map(|p| p > 0.5);
    let confusion = scores::Confusion::of(truth.iter().copied().zip(said));
    close(confusion.balanced().unwrap(), g["balanced"].as_f64().unwrap());
    for w in lists(&g["wilson"]) {
        let (low, high) = scores::wilson(w[0] as usize, w[1] as usize);
        all_close(&[low, high], &w[2..]);
    }
    let mut sorted = y.clone();
    sorted.sort_by(f64::total_cmp);
    all_close(&[0.025, 0.3, 0.975].map(|q| quantile(&sorted, q)), &list(&g["quantile"]));
}

#[test]
fn separable_classes_have_a_solution_and_one_class_has_none() {
    let x = Table::new([("x", (0..10).map(f64::from).collect())]).unwrap();
    let y: Vec<bool> = (0..10).map(|i| i > 4).collect();
    let model = logistic::fit(&x, &y, 1e-6, logistic::Weighting::Rows).unwrap();
    assert_eq!(model.probabilities(&x).into_iter().map(|p| p > 0.5).collect::<Vec<_>>(), y);
    let one = logistic::fit(&x, &[true; 10], 0.1, logistic::Weighting::Rows);
    assert_eq!(one, Err(super::super::Unfit::Classes));
}
