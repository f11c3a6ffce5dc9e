//! What each number format promises.

/// What a format promises beyond what all do, with one table.
pub(super) struct Promise {
    pub(super) name: &'static str,
    /// Zero is a level of every group.
    pub(super) zero: bool,
    /// Quantizing the negated tensor negates the result, but for values halfway between two levels.
    pub(super) symmetric: bool,
    /// A group of one value, whatever it is, keeps it.
    pub(super) constant: bool,
}

pub(super) const PROMISES: &[Promise] = &[
    Promise { name: "uniform", zero: true, symmetric: true, constant: true },
    Promise { name: "k-means", zero: false, symmetric: false, constant: true },
    Promise { name: "lloyd-max", zero: false, symmetric: false, constant: true },
    Promise { name: "ks", zero: false, symmetric: false, constant: true },
    Promise { name: "pwlq", zero: true, symmetric: true, constant: true },
    Promise { name: "power-of-two", zero: true, symmetric: true, constant: true },
    Promise { name: "apot", zero: true, symmetric: true, constant: true },
    Promise { name: "fp16", zero: true, symmetric: true, constant: false },
    Promise { name: "bf16", zero: true, symmetric: true, constant: false },
    Promise { name: "fp8", zero: true, symmetric: true, constant: true },
    Promise { name: "fp4", zero: true, symmetric: true, constant: true },
    Promise { name: "ternary", zero: true, symmetric: true, constant: true },
    Promise { name: "binary", zero: false, symmetric: true, constant: true },
    Promise { name: "residual", zero: true, symmetric: true, constant: true },
];

/// Tables other than the defaults, with what the formats promise then. `residual` is not among them: with searched or
/// affine grids it loses the order of values.
pub(super) const TABLES: &[(&str, Promise)] = &[
    ("scheme = \"affine\"", Promise { name: "uniform", zero: false, symmetric: false, constant: false }),
    ("range = \"mse\"", Promise { name: "uniform", zero: true, symmetric: false, constant: false }),
    (
        "scheme = \"affine\"\nrange = \"mse\"\np = 2.4",
        Promise { name: "uniform", zero: false, symmetric: false, constant: false },
    ),
    ("family = \"gaussian\"", Promise { name: "lloyd-max", zero: false, symmetric: false, constant: true }),
    ("family = \"laplace\"", Promise { name: "lloyd-max", zero: false, symmetric: false, constant: true }),
    ("clip = \"analytic\"", Promise { name: "ks", zero: false, symmetric: false, constant: true }),
    ("clip = \"off\"\ndecide = \"layer\"", Promise { name: "ks", zero: false, symmetric: false, constant: true }),
    ("refine = 5", Promise { name: "ks", zero: false, symmetric: false, constant: true }),
    ("candidates = 5", Promise { name: "pwlq", zero: true, symmetric: false, constant: true }),
    ("scale = \"max\"", Promise { name: "power-of-two", zero: true, symmetric: true, constant: true }),
    ("scale = \"max\"", Promise { name: "apot", zero: true, symmetric: true, constant: true }),
    ("normalize = true", Promise { name: "apot", zero: false, symmetric: false, constant: false }),
    ("variant = \"e5m2\"", Promise { name: "fp8", zero: true, symmetric: true, constant: true }),
    ("scale = \"mse\"", Promise { name: "fp8", zero: true, symmetric: true, constant: false }),
    ("scale = \"mse\"", Promise { name: "fp4", zero: true, symmetric: true, constant: false }),
    ("rule = \"twn\"", Promise { name: "ternary", zero: true, symmetric: true, constant: true }),
    ("center = true", Promise { name: "binary", zero: false, symmetric: false, constant: false }),
];

/// Formats that are not in the table promise nothing more.
pub(super) fn promise(name: &str) -> &'static Promise {
    const NONE: &Promise = &Promise { name: "", zero: false, symmetric: false, constant: false };
    PROMISES.iter().find(|promise| promise.name == name).unwrap_or(NONE)
}
