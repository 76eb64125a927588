//! The data sets inside the program, real and generated, by the manifest of the folder `data/`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use toml::{Table, Value};

use super::array::{self, Pair};
use super::dataset::{Dataset, Task};
use super::error::DataError;
use super::input::Input;
use super::labels::TargetSpec;
use super::{csv, embedded, idx, synthetic, text};
use crate::options::nearest;

const MANIFEST: &str = include_str!("../../../data/datasets.toml");

/// One embedded file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileInfo {
    /// File name in `data/`.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// SHA-256 of the unpacked bytes.
    pub sha256_unpacked: String,
}

/// What is known about a built-in data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// The name to use.
    pub name: String,
    /// A second name, if there is one.
    pub alias: Option<String>,
    /// One line on the content.
    pub title: String,
    /// Classification or regression.
    pub task: Task,
    /// Number of rows, a fixed test part included.
    pub rows: usize,
    /// Rows of the fixed test part, if the source has one.
    pub test_rows: Option<usize>,
    /// Number of input values per row.
    pub features: usize,
    /// Shape of one input, channels first.
    pub input_shape: Vec<usize>,
    /// Names of the classes; empty for regression.
    pub class_names: Vec<String>,
    /// Rows per class where the manifest counts them (without a fixed test part).
    pub class_counts: Vec<usize>,
    /// Unit of a regression target, or empty.
    pub target_unit: String,
    /// Whether it is a text, and `features` its characters per window.
    pub text: bool,
    /// Largest possible input value of images.
    pub max_value: Option<f64>,
    /// Who measured it and where it was published.
    pub origin: String,
    /// Licence of the data.
    pub licence: String,
    /// Package the file was taken from: registry, name and version.
    pub package: String,
    /// What was done to the source's columns.
    pub preprocessing: String,
    /// What was done about missing values.
    pub missing: String,
    /// Anything else worth knowing, or empty.
    pub note: String,
    /// Metric of the reference scores: `accuracy` or `r2`.
    pub metric: String,
    /// Reference scores by name (`constant`, `linear`, `mlp32`, …) measured with scikit-learn; `data/README.md` has the
    /// protocol.
    pub reference: Vec<(String, f64)>,
    /// Whether it is one of the 37 real sets of the study.
    pub core: bool,
    /// What a generated set depends on, with what it is if nothing is said; empty for a set that was measured.
    pub parameters: Vec<(String, f64)>,
    /// The embedded files; none of a generated set.
    pub files: Vec<FileInfo>,
}

impl Info {
    /// Whether it is generated.
    pub fn synthetic(&self) -> bool {
        self.files.is_empty()
    }

    /// What a parameter is if nothing is said; `None` where the set has no such parameter.
    pub fn parameter(&self, name: &str) -> Option<f64> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A reference score by its name.
    pub fn score(&self, name: &str) -> Option<f64> {
        self.reference.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// The built-in sets in the order of the manifest.
///
/// # Panics
/// Never in a tested build: the manifest is embedded and a test parses it.
pub fn list() -> &'static [Info] {
    static LIST: OnceLock<Vec<Info>> = OnceLock::new();
    LIST.get_or_init(|| parse(MANIFEST).unwrap_or_else(|e| panic!("the embedded data manifest is wrong: {e}")))
}

/// Names of the built-in sets.
pub fn names() -> Vec<&'static str> {
    list().iter().map(|i| i.name.as_str()).collect()
}

/// What is known about the built-in set of this name (or alias, in any case).
///
/// # Errors
/// [`DataError::UnknownName`] with the nearest known name.
pub fn info(name: &str) -> Result<&'static Info, DataError> {
    let is = |known: &str| known.eq_ignore_ascii_case(name.trim());
    list().iter().find(|i| is(&i.name) || i.alias.as_deref().is_some_and(is)).ok_or_else(|| {
        let all = list().iter().flat_map(|i| [Some(i.name.as_str()), i.alias.as_deref()]).flatten();
        let near = nearest(name, all).map(str::to_owned);
        DataError::UnknownName { name: name.to_owned(), nearest: near, known: names().join(", ") }
    })
}

/// Reads a built-in set, or makes it with these `parameters` and the usual ones for the others. Cost: MNIST unpacks to 75 MB
/// of f64 in well under a second, the others at once.
///
/// # Errors
/// [`DataError::UnknownName`]; parameters that the set does not have.
pub fn load(name: &str, parameters: &BTreeMap<String, f64>) -> Result<Dataset, DataError> {
    let info = info(name)?;
    if info.synthetic() {
        return synthetic::generate(info, parameters);
    }
    if let Some(key) = parameters.keys().next() {
        let problem = format!("the set was measured and has no parameter {key:?}");
        return Err(DataError::format(&info.name, problem, "parameters belong to generated sets, such as two-moons"));
    }
    let mut set = match &info.files[..] {
        [file] if info.text => {
            let test = info.test_rows.map_or(0.0, |rows| rows as f64 / info.rows as f64);
            text::read(&info.name, open(file)?, info.features, test)?
        }
        [table] => {
            let spec = TargetSpec { task: Some(info.task), ..TargetSpec::default() };
            let names = (info.task == Task::Classification).then_some(&info.class_names[..]);
            csv::read(&info.name, open(table)?, None, &spec, names)?
        }
        [train_images, train_labels, test_images, test_labels] => {
            let train = pair(train_images, train_labels)?;
            let test = pair(test_images, test_labels)?;
            array::dataset(&info.name, train, Some(test), &TargetSpec::default(), Some(&info.class_names))?
        }
        files => unreachable!("{} files for {}", files.len(), info.name),
    };
    set.max_value = info.max_value;
    Ok(set)
}

fn open(info: &FileInfo) -> Result<Input, DataError> {
    let bytes = embedded::bytes(&info.file).ok_or_else(|| {
        DataError::format(&info.file, "the file is not embedded", "this build is wrong: report it as a bug")
    })?;
    Input::memory(&format!("built-in {}", info.file), bytes)
}

fn pair(images: &FileInfo, labels: &FileInfo) -> Result<Pair, DataError> {
    let (x, y) = (open(images)?, open(labels)?);
    let (x_file, y_file) = (x.file.clone(), y.file.clone());
    Ok(Pair { x: idx::read(x)?, y: idx::read(y)?, x_file, y_file })
}

/// The manifest as [`Info`]s; the error says which entry and key is wrong.
fn parse(text: &str) -> Result<Vec<Info>, String> {
    let manifest: Table = text.parse().map_err(|e| format!("{e}"))?;
    let entries = manifest.get("dataset").and_then(Value::as_array).ok_or("no [[dataset]]")?;
    entries.iter().map(|e| entry(Entry(e.as_table().ok_or("a dataset is no table")?))).collect()
}

/// One table of the manifest.
struct Entry<'a>(&'a Table);

impl<'a> Entry<'a> {
    fn text(&self, key: &str) -> Result<&'a str, String> {
        self.0
            .get(key)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("text {key:?} is missing in {:?}", self.0.get("name")))
    }

    fn optional(&self, key: &str) -> String {
        self.text(key).unwrap_or_default().to_owned()
    }

    fn count(&self, key: &str) -> Option<usize> {
        self.0.get(key).and_then(Value::as_integer).and_then(|v| usize::try_from(v).ok())
    }

    fn list<T>(&self, key: &str, item: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        self.0.get(key).and_then(Value::as_array).map(|a| a.iter().filter_map(item).collect()).unwrap_or_default()
    }

    fn file(&self) -> Result<FileInfo, String> {
        Ok(FileInfo {
            file: self.text("file")?.to_owned(),
            sha256: self.text("sha256")?.to_owned(),
            sha256_unpacked: self.text("sha256_uncompressed")?.to_owned(),
        })
    }
}

fn entry(e: Entry) -> Result<Info, String> {
    let full = e.text("name")?.to_owned();
    let (name, alias) = match e.text("short") {
        Ok(short) => (short.to_owned(), Some(full)),
        Err(_) => (full, None),
    };
    let count = |key: &str| e.count(key).ok_or_else(|| format!("number {key:?} is missing in {name:?}"));
    let task = match e.text("task")? {
        "classification" => Task::Classification,
        "regression" => Task::Regression,
        other => return Err(format!("task {other:?} in {name:?}")),
    };
    let features = count("features")?;
    let kind = e.text("kind")?;
    let (image, text, synthetic) = (kind == "image", kind == "text", kind == "synthetic");
    let files = if synthetic {
        Vec::new()
    } else if image {
        let part =
            |key: &str| e.0.get(key).and_then(Value::as_table).ok_or_else(|| format!("{key:?} is missing in {name:?}"));
        ["train_images", "train_labels", "test_images", "test_labels"]
            .iter()
            .map(|key| Entry(part(key)?).file())
            .collect::<Result<_, _>>()?
    } else {
        vec![e.file()?]
    };
    let baseline = e.0.get("baseline").and_then(Value::as_table).ok_or_else(|| format!("no baseline in {name:?}"))?;
    let class_counts = e.list("class_counts", |v| usize::try_from(v.as_integer()?).ok());
    Ok(Info {
        title: e.text("title")?.to_owned(),
        task,
        rows: count("rows")?,
        test_rows: e.count("test_rows"),
        features,
        input_shape: if image { vec![count("channels")?, count("height")?, count("width")?] } else { vec![features] },
        class_names: e.list("class_names", |v| Some(v.as_str()?.to_owned())),
        class_counts: if class_counts.is_empty() {
            e.list("train_class_counts", |v| usize::try_from(v.as_integer()?).ok())
        } else {
            class_counts
        },
        target_unit: e.optional("target_unit"),
        text,
        max_value: e.count("max_value").map(|v| v as f64),
        origin: e.text("origin")?.to_owned(),
        licence: e.text("licence")?.to_owned(),
        package: if synthetic {
            "none".to_owned()
        } else {
            format!("{} {} {}", e.text("registry")?, e.text("package")?, e.text("package_version")?)
        },
        preprocessing: e.text("preprocessing")?.to_owned(),
        missing: e.text("missing")?.to_owned(),
        note: e.optional("note"),
        metric: Entry(baseline).text("metric")?.to_owned(),
        reference: baseline.iter().filter_map(|(k, v)| Some((k.clone(), number(v)?))).collect(),
        core: e.0.get("core").and_then(Value::as_bool).unwrap_or(false),
        parameters: e
            .0
            .get("parameters")
            .and_then(Value::as_table)
            .map(|all| all.iter().filter_map(|(k, v)| Some((k.clone(), number(v)?))).collect())
            .unwrap_or_default(),
        files,
        name,
        alias,
    })
}

/// A number, whole or not.
fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|i| i as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use flate2::read::MultiGzDecoder;
    use sha2::{Digest, Sha256};
    use std::io::Read;

    fn hex(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn every_embedded_file_has_the_checksum_of_the_manifest() {
        let mut seen = BTreeSet::new();
        for file in list().iter().flat_map(|i| &i.files) {
            let packed = embedded::bytes(&file.file).unwrap_or_else(|| panic!("{} is not embedded", file.file));
            assert_eq!(hex(packed), file.sha256, "{}", file.file);
            let mut plain = Vec::new();
            MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
            assert_eq!(hex(&plain), file.sha256_unpacked, "{}", file.file);
            seen.insert(file.file.as_str());
        }
        assert_eq!(seen, embedded::names().collect(), "an embedded file has no entry in the manifest");
    }

    #[test]
    fn the_study_has_37_real_sets() {
        let core: Vec<&Info> = list().iter().filter(|i| i.core).collect();
        assert_eq!(core.len(), 37);
        assert_eq!(core.iter().filter(|i| i.task == Task::Regression).count(), 12);
        assert!(core.iter().all(|i| !i.synthetic() && i.rows >= 30 && i.rows <= 20_000));
        // Its sets are compared with a network of one hidden layer.
        assert!(core.iter().all(|i| i.score("mlp32").or(i.score("mlp64")).is_some()));
    }

    #[test]
    fn every_set_loads_and_agrees_with_the_manifest() {
        for info in list() {
            let set = load(&info.name, &BTreeMap::new()).unwrap();
            assert_eq!((set.rows, set.features, set.task()), (info.rows, info.features, info.task), "{}", info.name);
            assert_eq!(set.input_shape, info.input_shape, "{}", info.name);
            assert_eq!((!set.test_part().is_empty()).then(|| set.test_part().len()), info.test_rows, "{}", info.name);
            if info.task == Task::Classification {
                let train = set.subset(&set.train_part().collect::<Vec<_>>());
                assert_eq!(train.class_counts(), info.class_counts, "{}", info.name);
                assert_eq!(set.outputs(), info.class_names.len(), "{}", info.name);
            } else {
                assert_eq!(set.outputs(), 1, "{}", info.name);
            }
            assert!(!info.licence.is_empty() && !info.origin.is_empty(), "{} has no attribution", info.name);
            assert!(info.reference.len() >= 3, "{} has no reference scores", info.name);
        }
    }

    #[test]
    fn image_values_reach_their_stated_maximum() {
        for (name, max) in [("digits", 16.0), ("mnist", 255.0)] {
            let set = load(name, &BTreeMap::new()).unwrap();
            assert_eq!(set.max_value, Some(max));
            assert_eq!(set.x.iter().copied().fold(0.0, f64::max), max, "{name}");
            assert!(set.x.iter().all(|&v| v >= 0.0));
        }
    }

    #[test]
    fn statistics_of_the_source_are_reproduced() {
        // diabetes: target mean and sd of the manifest; iris: means of Fisher's table.
        let set = load("diabetes", &BTreeMap::new()).unwrap();
        let y = set.targets.values().unwrap();
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        assert!((mean - 152.133).abs() < 1e-3, "{mean}");
        let iris = load("iris", &BTreeMap::new()).unwrap();
        let mean = |j: usize| (0..150).map(|i| iris.row(i)[j]).sum::<f64>() / 150.0;
        assert!((mean(0) - 5.843333).abs() < 1e-6 && (mean(3) - 1.199333).abs() < 1e-6);
        assert_eq!(iris.feature_names, ["sepal_length", "sepal_width", "petal_length", "petal_width"]);
    }

    #[test]
    fn both_names_give_the_same_set() {
        for (short, full) in
            [("breast_cancer", "breast_cancer_wdbc"), ("digits", "digits8x8"), ("diabetes", "diabetes_progression")]
        {
            assert_eq!(info(short).unwrap(), info(full).unwrap());
            assert_eq!(info(full).unwrap().name, short);
        }
        assert_eq!(info(" Iris ").unwrap().name, "iris");
    }

    #[test]
    fn unknown_name_gets_the_nearest_and_the_list() {
        let text = load("mnsit", &BTreeMap::new()).unwrap_err().to_string();
        assert!(text.contains("did you mean \"mnist\"?") && text.contains("iris, wine"), "{text}");
        let text = load("cifar-10", &BTreeMap::new()).unwrap_err().to_string();
        assert!(!text.contains("did you mean") && text.contains("iris, wine"), "{text}");
        let text = load("boston\u{1b}[2J", &BTreeMap::new()).unwrap_err().to_string();
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_wrong_manifest_says_which_key() {
        let text = parse("[[dataset]]\nname = \"a\"\ntask = \"sorting\"").unwrap_err();
        assert!(text.contains("sorting"), "{text}");
        assert!(parse("[[dataset]]\nname = \"a\"").unwrap_err().contains("task"));
        assert!(parse("").is_err() && parse("= 3").is_err());
    }
}
