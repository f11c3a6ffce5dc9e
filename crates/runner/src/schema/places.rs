//! Where plugins stand in a run's configuration: there the program looks a name up later than it reads the file.

/// Places of the resolved configuration, `[]` for each element of a list, with the family whose member stands there.
const PLACES: &[(&str, &str)] = &[
    ("images", "image source"),
    ("evaluation.held_out", "image source"),
    ("data", "data set"),
    ("fit", "fitting step"),
    ("teacher.architecture", "architecture"),
    ("allocate.sensitivity", "sensitivity"),
    ("quant.passes[]", "pass"),
    ("distill.loss[]", "loss"),
    ("distill.loss[].augment[]", "augmentation"),
    ("distill.augmentation[]", "augmentation"),
    ("distill.generator", "generator"),
    ("distill.range_warmup.generator", "generator"),
];

/// Tables of the quantization of a tensor, with the plugins in each.
const TENSORS: [&str; 4] = ["quant.weight", "quant.activation", "quant.layer[].weight", "quant.layer[].activation"];
const OF_TENSOR: [(&str, &str); 4] = [
    ("format", "number format"),
    ("quantizer", "quantizer"),
    ("range", "range estimator"),
    ("learned", "learned quantizer"),
];

/// Keys that hold a number of bits.
pub(super) const BITS: [&str; 5] = [
    "quant.weight_bits",
    "quant.activation_bits",
    "quant.first_last_bits",
    "quant.layer[].weight_bits",
    "quant.layer[].activation_bits",
];

/// All places with the family that stands there.
pub(super) fn places() -> Vec<(String, &'static str)> {
    let single = PLACES.iter().map(|(place, family)| ((*place).to_owned(), *family));
    let of_tensors = TENSORS
        .iter()
        .flat_map(|tensor| OF_TENSOR.iter().map(move |(key, family)| (format!("{tensor}.{key}"), *family)));
    single.chain(of_tensors).collect()
}

/// Keys that stand beside a member's own, in the table that a place reads as `{ tag = ... }`. Which of them there are,
/// the table's parser says.
pub(super) const BESIDE: &[(&str, &[&str])] = &[
    ("data set", &["limit"]),
    ("loss", &["weight", "from_epoch", "until_epoch", "augment", "perturb", "ramp"]),
    ("image prior", &["weight"]),
    ("fitting step", &["steps", "images"]),
];
