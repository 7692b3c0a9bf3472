//! The order of the library's modules, as ARCHITECTURE.md states it: each uses only those before it, so that there are no
//! circles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules in order.
const ORDER: [&str; 16] = [
    "error", "settings", "data", "tensor", "devices", "init", "nn", "loss", "metric", "optim", "schedule",
    "models", "step", "train", "run", "prelude",
];

/// What the root re-exports, by the module it comes from.
const ROOT: [(&str, &[&str]); 3] = [
    ("error", &["Error", "ErrorKind", "Result"]),
    (
        "tensor",
        &[
            "Axes",
            "Conv2d",
            "Element",
            "Generator",
            "IntoReshape",
            "IntoShape",
            "NestedData",
            "Operand",
            "Pool2d",
            "Runtime",
            "Tensor",
            "gradients",
        ],
    ),
    ("nn", &["seq"]),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The first names behind `crate::` in a file's code, without comments and unit tests.
fn uses(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c == '$' || c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        // The names of a list stand at its outermost level.
        let (mut depth, mut start) = (0, 0);
        for (index, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    found.insert(name(&list[start..index]));
                    start = index + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn modules_use_only_those_before_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    assert!(all.len() > 50, "the sources are elsewhere");
    let place = |module: &str| ORDER.iter().position(|known| *known == module);
    let mut wrong = BTreeSet::new();
    for path in all {
        let inside = path.strip_prefix(&source).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("{module} is not in the order of modules"));
        for used in uses(&std::fs::read_to_string(&path).unwrap()) {
            let root =
                ROOT.iter().find(|(_, names)| names.contains(&used.as_str())).map(|(module, _)| *module);
            let used = root.unwrap_or(&used);
            // Other names at the root come from the crates below.
            if place(used).is_some_and(|used| used > own) {
                wrong.insert((module.to_string(), used.to_string()));
            }
        }
    }
    assert!(wrong.is_empty(), "these use what comes after them: {wrong:?}");
}

#[test]
fn uses_are_found_in_every_form() {
    let text = "use crate::{Error, nn::{Layer, Scope}, optim};\n/// crate::run\nlet x = crate::train::state();\n\
                $crate::seq!()\n#[cfg(test)]\nuse crate::models;";
    let found: Vec<String> = uses(text).into_iter().collect();
    assert_eq!(found, ["Error", "nn", "optim", "train"]);
}

#[test]
fn the_page_says_the_same_order() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&ORDER.join(" → ")), "ARCHITECTURE.md states another order of modules");
}
