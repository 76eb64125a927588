//! Reads the golden cases of `tests/golden` (conventions in its README) into plain structs.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use npyz::{Deserialize, NpyFile};
use serde_json::Value;

/// The names of all cases.
pub const CASES: [&str; 8] = [
    "iris_mlp_tanh_ce",
    "digits_mlp_relu_ce",
    "diabetes_mlp_softplus_mse",
    "cancer_mlp_sigmoid_bce_l2weights",
    "digits_cnn_avgpool_ce",
    "digits_resnet_bn_eval_ce",
    "digits4x4_resmlp_layernorm_ce",
    "digits_attention1h_ce",
];

/// A row-major matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f64>,
}

impl Matrix {
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// The square block of these rows and columns.
    pub fn block(&self, range: Range<usize>) -> Matrix {
        let data = range.clone().flat_map(|i| &self.row(i)[range.clone()]).copied().collect();
        Matrix { rows: range.len(), cols: range.len(), data }
    }

    pub fn times(&self, v: &[f64]) -> Vec<f64> {
        (0..self.rows).map(|i| self.row(i).iter().zip(v).map(|(a, b)| a * b).sum()).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    SoftmaxCrossEntropy,
    BceWithLogits,
    Mse,
}

/// The loss over the samples, and λ of (λ/2) Σ θᵢ², or 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    pub kind: LossKind,
    /// A mean over samples, else a sum.
    pub mean: bool,
    pub l2: f64,
    /// Whether the L2 term covers only the tensors named `*.weight`.
    pub l2_on_weights: bool,
}

/// One tensor's place in the flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub range: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    Classes(Vec<usize>),
    Values(Vec<f64>),
}

/// Coefficients of Lanczos from v₀ (restricted and normalised): βⱼ is the norm of the residual after step j.
#[derive(Clone, Debug, PartialEq)]
pub struct Lanczos {
    pub alpha: Vec<f64>,
    pub beta: Vec<f64>,
}

/// Sixteen rows, the diagonal and four products of a block too large to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub indices: Vec<usize>,
    pub rows: Matrix,
    pub diagonal: Vec<f64>,
    /// Row i is B vᵢ\[range\].
    pub products: Matrix,
}

/// One layer: weight and bias together.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub name: String,
    pub range: Range<usize>,
    /// All eigenvalues of the Hessian block, ascending.
    pub eigs: Vec<f64>,
    /// All eigenvalues of the GGN block, ascending.
    pub ggn_eigs: Vec<f64>,
    /// The dense Hessian block, unless it is too large.
    pub block: Option<Matrix>,
    /// What there is instead of a dense block.
    pub sample: Option<Sample>,
    pub trace: f64,
    pub frobenius: f64,
    pub lambda_min: f64,
    pub lambda_max: f64,
    pub ggn_trace: f64,
    pub ggn_frobenius: f64,
    pub ggn_lambda_max: f64,
    pub lanczos: Lanczos,
}

/// One golden case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub name: &'static str,
    /// Extents of a sample.
    pub input: Vec<usize>,
    /// The network as arch.json describes it.
    pub ops: Vec<Value>,
    /// Running averages by name.
    pub buffers: Vec<(String, Vec<f64>)>,
    pub loss: Loss,
    pub parameters: Vec<Parameter>,
    pub layers: Vec<Layer>,
    pub x: Matrix,
    pub y: Labels,
    pub theta: Vec<f64>,
    pub outputs: Matrix,
    pub grad: Vec<f64>,
    /// Four directions, one per row.
    pub vectors: Matrix,
    /// Row i is H vᵢ.
    pub hvp: Matrix,
    /// Row i is G vᵢ.
    pub ggnvp: Matrix,
    /// The full Hessian, where it is small.
    pub hessian: Option<Matrix>,
    pub hessian_eigs: Vec<f64>,
    pub ggn_eigs: Vec<f64>,
    pub loss_value: f64,
    pub grad_norm: f64,
    pub trace: f64,
    pub frobenius: f64,
    pub ggn_trace: f64,
    pub ggn_frobenius: f64,
    pub lanczos: Lanczos,
    /// Frobenius norm of block (i, j) of H.
    pub block_norms: Matrix,
    /// Frobenius norm of block (i, j) of G.
    pub ggn_block_norms: Matrix,
    /// Share of ‖H‖² in the diagonal blocks.
    pub diagonal_share: f64,
}

/// Reads a case.
///
/// # Panics
/// If a file is missing or is not what the README says; the message names it.
pub fn load(name: &'static str) -> Case {
    let folder = Folder(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name));
    let arch = folder.json("arch.json");
    let expected = folder.json("expected.json");

    let hessian = folder.has("hessian.npy").then(|| folder.matrix("hessian.npy"));
    let layers = array(&arch["layers"])
        .iter()
        .zip(array(&expected["layers"]))
        .map(|(layer, expected)| read_layer(&folder, hessian.as_ref(), layer, expected))
        .collect();
    let parameters = array(&arch["parameters"])
        .iter()
        .map(|p| Parameter {
            name: text(&p["name"]).to_owned(),
            shape: array(&p["shape"]).iter().map(size).collect(),
            range: size(&p["offset"])..size(&p["offset"]) + size(&p["size"]),
        })
        .collect();
    let loss = read_loss(&arch["loss"]);
    let y = match loss.kind {
        LossKind::SoftmaxCrossEntropy => {
            Labels::Classes(folder.array::<i64>("y.npy").1.iter().map(|c| usize::try_from(*c).unwrap()).collect())
        }
        LossKind::BceWithLogits | LossKind::Mse => Labels::Values(folder.vector("y.npy")),
    };
    Case {
        name,
        input: array(&arch["input"]).iter().map(size).collect(),
        ops: array(&arch["ops"]).to_vec(),
        buffers: read_buffers(&folder, &arch),
        loss,
        parameters,
        layers,
        x: folder.samples("x.npy"),
        y,
        theta: folder.vector("theta.npy"),
        outputs: folder.matrix("outputs.npy"),
        grad: folder.vector("grad.npy"),
        vectors: folder.matrix("vectors.npy"),
        hvp: folder.matrix("hvp.npy"),
        ggnvp: folder.matrix("ggnvp.npy"),
        hessian,
        hessian_eigs: folder.vector("hessian_eigs.npy"),
        ggn_eigs: folder.vector("ggn_eigs.npy"),
        loss_value: number(&expected["loss"]),
        grad_norm: number(&expected["grad_norm"]),
        trace: number(&expected["hessian_trace"]),
        frobenius: number(&expected["hessian_fro"]),
        ggn_trace: number(&expected["ggn_trace"]),
        ggn_frobenius: number(&expected["ggn_fro"]),
        lanczos: read_lanczos(&expected["lanczos_full"]),
        block_norms: read_square(&expected["block_fro_norms"]),
        ggn_block_norms: read_square(&expected["ggn_block_fro_norms"]),
        diagonal_share: number(&expected["block_diag_fro2_share"]),
    }
}

fn read_buffers(folder: &Folder, arch: &Value) -> Vec<(String, Vec<f64>)> {
    let names: Vec<&str> = arch["buffers"].as_array().map_or(&[][..], |b| b).iter().map(|b| text(&b["name"])).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let snapshot = eigenlens_nets::snapshot::read(&folder.0.join("model.safetensors")).unwrap();
    names
        .into_iter()
        .map(|n| (n.to_owned(), snapshot.get(n).unwrap_or_else(|| panic!("no {n}")).data.to_f64()))
        .collect()
}

fn read_loss(loss: &Value) -> Loss {
    let kind = match text(&loss["kind"]) {
        "softmax_cross_entropy" => LossKind::SoftmaxCrossEntropy,
        "bce_with_logits" => LossKind::BceWithLogits,
        "mse" => LossKind::Mse,
        other => panic!("a loss '{other}' that this reader does not know"),
    };
    let mean = match text(&loss["reduction"]) {
        "mean" => true,
        "sum" => false,
        other => panic!("a reduction '{other}' that this reader does not know"),
    };
    let l2 = loss.get("l2").filter(|l2| !l2.is_null());
    Loss {
        kind,
        mean,
        l2: l2.map_or(0.0, |l2| number(&l2["lambda"])),
        l2_on_weights: l2.is_some_and(|l2| text(&l2["scope"]) == "weights"),
    }
}

fn read_layer(folder: &Folder, hessian: Option<&Matrix>, layer: &Value, expected: &Value) -> Layer {
    let name = text(&layer["name"]);
    assert_eq!(name, text(&expected["name"]), "arch.json and expected.json list the layers in one order");
    let range = size(&layer["start"])..size(&layer["end"]);
    let (block, rows) = (format!("block.{name}.npy"), format!("block_rows.{name}.npy"));
    let stored = folder.has(&block).then(|| folder.matrix(&block));
    let sample = folder.has(&rows).then(|| Sample {
        indices: folder
            .array::<i64>(&format!("block_rows_idx.{name}.npy"))
            .1
            .iter()
            .map(|i| usize::try_from(*i).unwrap())
            .collect(),
        rows: folder.matrix(&rows),
        diagonal: folder.vector(&format!("block_diag.{name}.npy")),
        products: folder.matrix(&format!("block_hvp.{name}.npy")),
    });
    Layer {
        name: name.to_owned(),
        eigs: folder.vector(&format!("block_eigs.{name}.npy")),
        ggn_eigs: folder.vector(&format!("ggn_block_eigs.{name}.npy")),
        block: stored.or_else(|| hessian.map(|h| h.block(range.clone()))),
        sample,
        range,
        trace: number(&expected["trace"]),
        frobenius: number(&expected["fro"]),
        lambda_min: number(&expected["lambda_min"]),
        lambda_max: number(&expected["lambda_max"]),
        ggn_trace: number(&expected["ggn_trace"]),
        ggn_frobenius: number(&expected["ggn_fro"]),
        ggn_lambda_max: number(&expected["ggn_lambda_max"]),
        lanczos: read_lanczos(&expected["lanczos"]),
    }
}

fn read_lanczos(value: &Value) -> Lanczos {
    let numbers = |key: &str| array(&value[key]).iter().map(number).collect();
    Lanczos { alpha: numbers("alpha"), beta: numbers("beta") }
}

fn read_square(value: &Value) -> Matrix {
    let rows = array(value);
    let data: Vec<f64> = rows.iter().flat_map(|row| array(row).iter().map(number)).collect();
    assert_eq!(data.len(), rows.len() * rows.len());
    Matrix { rows: rows.len(), cols: rows.len(), data }
}

pub fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} should be an array"))
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} should be a string"))
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} should be a number"))
}

pub fn size(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} should be a size")) as usize
}

/// The folder of a case.
struct Folder(PathBuf);

impl Folder {
    fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.0.join(file)).unwrap_or_else(|e| panic!("{}: {e}", self.0.join(file).display()))
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&self.read(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    fn array<T: Deserialize>(&self, file: &str) -> (Vec<usize>, Vec<T>) {
        let bytes = self.read(file);
        let npy = NpyFile::new(&bytes[..]).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(npy.order(), npyz::Order::C, "{file}");
        let shape = npy.shape().iter().map(|n| *n as usize).collect();
        (shape, npy.into_vec().unwrap_or_else(|e| panic!("{file}: {e}")))
    }

    /// All values, whatever the shape.
    fn vector(&self, file: &str) -> Vec<f64> {
        self.array(file).1
    }

    /// One row per sample, whatever the axes after the first.
    fn samples(&self, file: &str) -> Matrix {
        let (shape, data) = self.array(file);
        Matrix { rows: shape[0], cols: shape[1..].iter().product(), data }
    }

    fn matrix(&self, file: &str) -> Matrix {
        let (shape, data) = self.array(file);
        let [rows, cols] = shape[..] else { panic!("{file} has shape {shape:?}, not two axes") };
        Matrix { rows, cols, data }
    }
}

#[cfg(test)]
mod tests;
