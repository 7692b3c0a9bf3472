//! What the repository promises about itself: layers of crates, cases for every operation, links that lead somewhere.

use dropforge_ir::{BinaryKind, CompareKind, Op, ReduceKind, UnaryKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder whose names end like this, build outputs left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Each crate may use those of the layers before its own.
const LAYERS: [&[&str]; 8] = [
    &["dropforge-ir", "dropforge-data"],
    &["dropforge-plan", "dropforge-onnx"],
    &["dropforge-runtime"],
    &["dropforge-gpu"],
    &["dropforge-wgsl"],
    &["dropforge-cpu", "dropforge-wgpu", "dropforge-cuda"],
    &["dropforge"],
    &["dropforge-cli"],
];

#[test]
fn crates_use_only_layers_before_their_own() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let mut seen = 0;
    for manifest in files(&root().join("crates"), "Cargo.toml") {
        let text = read(&manifest);
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let Some(own) = name.and_then(layer) else { continue };
        let (mut is_dependency, name) = (false, name.unwrap_or_default());
        seen += 1;
        for line in text.lines() {
            if line.starts_with('[') {
                is_dependency = line.trim() == "[dependencies]";
            }
            let Some(used) = line.split(['.', ' ', '=']).next().filter(|_| is_dependency) else { continue };
            if let Some(other) = layer(used) {
                assert!(other < own, "{name} may not use {used}");
                assert!(name != "dropforge-data" && (used != "dropforge-data" || own >= 6), "{name}: {used}");
            }
        }
    }
    assert_eq!(seen, LAYERS.iter().map(|layer| layer.len()).sum::<usize>(), "a crate has no layer");
}

#[test]
fn every_operation_has_cases() {
    let folder = root().join("cases").join("conformance");
    let mut used = BTreeSet::new();
    for file in files(&folder, ".txt") {
        for line in read(&file).lines().filter(|line| line.trim_start().starts_with('%')) {
            let right = line.split_once(" = ").map(|(_, right)| right);
            used.extend(right.and_then(|right| right.split_whitespace().next()).map(str::to_string));
        }
    }
    let kinds = UnaryKind::ALL
        .iter()
        .map(|kind| kind.name())
        .chain(BinaryKind::ALL.iter().map(|kind| kind.name()))
        .chain(CompareKind::ALL.iter().map(|kind| kind.name()))
        .chain(ReduceKind::ALL.iter().map(|kind| kind.name()));
    let with_kinds = ["unary", "binary", "compare", "reduce"];
    let others = Op::NAMES.iter().copied().filter(|name| !with_kinds.contains(name));
    let missing: Vec<&str> = kinds.chain(others).filter(|name| !used.contains(*name)).collect();
    assert!(missing.is_empty(), "without a case: {missing:?}");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in files(&root(), ".md") {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let is_outside = target.contains("://") || target.starts_with("mailto:");
            let folder = document.parent().unwrap_or(Path::new("."));
            if !target.is_empty() && !is_outside && !folder.join(target).exists() {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
