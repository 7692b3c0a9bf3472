//! The programs that people write first stay short.

use std::path::Path;

/// Examples, and how many lines of code each may have: the whole file, without comments and blank lines.
const MOST_LINES: [(&str, usize); 16] = [
    ("quickstart", 12),
    ("table", 22),
    ("binary", 18),
    ("own_layer", 30),
    ("residual_cifar", 30),
    ("char_gpt", 22),
    ("sequence", 25),
    ("transfer", 28),
    ("pytorch_weights", 15),
    ("metrics", 18),
    ("onnx", 15),
    ("embed", 16),
    ("mixed_precision", 14),
    ("own_source", 24),
    ("autoencoder", 22),
    ("augment", 18),
];

#[test]
fn examples_are_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for (name, most) in MOST_LINES {
        let text = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
        let code =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        assert!(code <= most, "{name} has {code} lines of code, {most} are enough");
    }
}
