//! The files of the folder `data/`, embedded when the program is built.

/// Every file the manifest names.
const FILES: &[(&str, &[u8])] = &[
    ("abalone.csv.gz", include_bytes!("../../../data/abalone.csv.gz")),
    ("ames_housing.csv.gz", include_bytes!("../../../data/ames_housing.csv.gz")),
    ("austen.txt.gz", include_bytes!("../../../data/austen.txt.gz")),
    ("auto_mpg.csv.gz", include_bytes!("../../../data/auto_mpg.csv.gz")),
    ("banana.csv.gz", include_bytes!("../../../data/banana.csv.gz")),
    ("bike_sharing.csv.gz", include_bytes!("../../../data/bike_sharing.csv.gz")),
    ("body_weight.csv.gz", include_bytes!("../../../data/body_weight.csv.gz")),
    ("breast_cancer_wdbc.csv.gz", include_bytes!("../../../data/breast_cancer_wdbc.csv.gz")),
    ("concrete.csv.gz", include_bytes!("../../../data/concrete.csv.gz")),
    ("cpu_performance.csv.gz", include_bytes!("../../../data/cpu_performance.csv.gz")),
    ("diabetes_progression.csv.gz", include_bytes!("../../../data/diabetes_progression.csv.gz")),
    ("digits8x8-test-images-idx3-ubyte.gz", include_bytes!("../../../data/digits8x8-test-images-idx3-ubyte.gz")),
    ("digits8x8-test-labels-idx1-ubyte.gz", include_bytes!("../../../data/digits8x8-test-labels-idx1-ubyte.gz")),
    ("digits8x8-train-images-idx3-ubyte.gz", include_bytes!("../../../data/digits8x8-train-images-idx3-ubyte.gz")),
    ("digits8x8-train-labels-idx1-ubyte.gz", include_bytes!("../../../data/digits8x8-train-labels-idx1-ubyte.gz")),
    ("dna_splice.csv.gz", include_bytes!("../../../data/dna_splice.csv.gz")),
    ("fashion7x7-test-images-idx3-ubyte.gz", include_bytes!("../../../data/fashion7x7-test-images-idx3-ubyte.gz")),
    ("fashion7x7-test-labels-idx1-ubyte.gz", include_bytes!("../../../data/fashion7x7-test-labels-idx1-ubyte.gz")),
    ("fashion7x7-train-images-idx3-ubyte.gz", include_bytes!("../../../data/fashion7x7-train-images-idx3-ubyte.gz")),
    ("fashion7x7-train-labels-idx1-ubyte.gz", include_bytes!("../../../data/fashion7x7-train-labels-idx1-ubyte.gz")),
    ("german_credit.csv.gz", include_bytes!("../../../data/german_credit.csv.gz")),
    ("glass.csv.gz", include_bytes!("../../../data/glass.csv.gz")),
    ("heart_cleveland.csv.gz", include_bytes!("../../../data/heart_cleveland.csv.gz")),
    ("image_segment.csv.gz", include_bytes!("../../../data/image_segment.csv.gz")),
    ("ionosphere.csv.gz", include_bytes!("../../../data/ionosphere.csv.gz")),
    ("iris.csv.gz", include_bytes!("../../../data/iris.csv.gz")),
    ("kin32fm.csv.gz", include_bytes!("../../../data/kin32fm.csv.gz")),
    ("letter.csv.gz", include_bytes!("../../../data/letter.csv.gz")),
    ("mnist-test-images-idx3-ubyte.gz", include_bytes!("../../../data/mnist-test-images-idx3-ubyte.gz")),
    ("mnist-test-labels-idx1-ubyte.gz", include_bytes!("../../../data/mnist-test-labels-idx1-ubyte.gz")),
    ("mnist-train-images-idx3-ubyte.gz", include_bytes!("../../../data/mnist-train-images-idx3-ubyte.gz")),
    ("mnist-train-labels-idx1-ubyte.gz", include_bytes!("../../../data/mnist-train-labels-idx1-ubyte.gz")),
    ("mnist7x7-test-images-idx3-ubyte.gz", include_bytes!("../../../data/mnist7x7-test-images-idx3-ubyte.gz")),
    ("mnist7x7-train-images-idx3-ubyte.gz", include_bytes!("../../../data/mnist7x7-train-images-idx3-ubyte.gz")),
    ("musk1.csv.gz", include_bytes!("../../../data/musk1.csv.gz")),
    ("ozone_la.csv.gz", include_bytes!("../../../data/ozone_la.csv.gz")),
    ("pendigits.csv.gz", include_bytes!("../../../data/pendigits.csv.gz")),
    ("penguins.csv.gz", include_bytes!("../../../data/penguins.csv.gz")),
    ("satellite.csv.gz", include_bytes!("../../../data/satellite.csv.gz")),
    ("sonar.csv.gz", include_bytes!("../../../data/sonar.csv.gz")),
    ("spambase.csv.gz", include_bytes!("../../../data/spambase.csv.gz")),
    ("tecator_fat.csv.gz", include_bytes!("../../../data/tecator_fat.csv.gz")),
    ("tissue_gene.csv.gz", include_bytes!("../../../data/tissue_gene.csv.gz")),
    ("titanic.csv.gz", include_bytes!("../../../data/titanic.csv.gz")),
    ("vehicle.csv.gz", include_bytes!("../../../data/vehicle.csv.gz")),
    ("vowel.csv.gz", include_bytes!("../../../data/vowel.csv.gz")),
    ("wine.csv.gz", include_bytes!("../../../data/wine.csv.gz")),
    ("wine_quality_red.csv.gz", include_bytes!("../../../data/wine_quality_red.csv.gz")),
    ("yeast.csv.gz", include_bytes!("../../../data/yeast.csv.gz")),
];

/// The bytes of an embedded file.
pub fn bytes(file: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(name, _)| *name == file).map(|(_, bytes)| *bytes)
}

/// Names of all embedded files.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}
