//! The order of the library's modules, as ARCHITECTURE.md states it: each uses only those before it, so that there are
//! no circles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules in order.
const ORDER: [&str; 17] = [
    "error", "file", "settings", "data", "tensor", "devices", "init", "nn", "loss", "metric", "optim",
    "schedule", "models", "step", "train", "run", "prelude",
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

/// A file's text without the items that only tests have.
fn without_tests(text: &str) -> String {
    let mut parts = text.split("#[cfg(test)]");
    let mut code = parts.next().unwrap_or_default().to_string();
    for part in parts {
        // The item ends with a semicolon, or with the brace that closes its first one.
        let (mut depth, mut end) = (0, part.len());
        for (at, c) in part.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 1 => depth -= 1,
                '}' | ';' if c == '}' || depth == 0 => {
                    end = at + 1;
                    break;
                }
                _ => {}
            }
        }
        code += &part[end..];
    }
    code
}

/// The first names behind `crate::` in a file's code, without comments and unit tests.
fn uses(text: &str) -> BTreeSet<String> {
    let code = without_tests(text);
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
                $crate::seq!()\n#[cfg(test)]\nuse crate::models;\nuse crate::init;\n\
                #[cfg(test)]\nmod tests { mod inner { use crate::step; } }\nuse crate::loss;";
    let found: Vec<String> = uses(text).into_iter().collect();
    assert_eq!(found, ["Error", "init", "loss", "nn", "optim", "train"]);
}

/// ARCHITECTURE.md as one line, wherever its lines end.
fn architecture() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    std::fs::read_to_string(page).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_says_the_same_order() {
    let page = architecture();
    assert!(page.contains(&ORDER.join(" → ")), "ARCHITECTURE.md states another order of modules");
}

/// Which crates are devices, in their order: two hold what several share.
const DEVICES: [&str; 5] = ["gpu", "wgsl", "cpu", "wgpu", "cuda"];

/// The crates of the workspace that another one is built of; those of its tests do not count.
fn parts(manifest: &str) -> Vec<String> {
    let manifest: dropforge::settings::Table = manifest.parse().unwrap();
    let own = |name: &String| {
        name.strip_prefix("dropforge-").map(String::from).or((name == "dropforge").then(|| name.clone()))
    };
    let all = manifest.get("dependencies").and_then(|all| all.as_table());
    all.into_iter().flat_map(|all| all.keys()).filter_map(own).collect()
}

#[test]
fn crates_use_only_those_to_their_left() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = architecture();
    let said = page
        .split("**Each layer uses only those to its left**: ")
        .nth(1)
        .expect("the page states the order of crates");
    let (order, alone) = said.split_once(". ").unwrap();
    assert!(
        alone.starts_with("`data` and `plot` stand alone; `onnx` knows"),
        "the page says which crates stand alone"
    );
    let order: Vec<&str> = order
        .split(" → ")
        .flat_map(|layer| if layer == "devices" { DEVICES.to_vec() } else { vec![layer] })
        .collect();
    let place = |name: &str| order.iter().position(|known| *known == name);
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(manifest) = std::fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let name = folder.file_name().unwrap().to_str().unwrap();
        let parts = parts(&manifest);
        match (name, place(name)) {
            ("data" | "plot", _) => assert!(parts.is_empty(), "{name} does not stand alone: {parts:?}"),
            // It exchanges programs, and knows nothing else.
            ("onnx", _) => assert_eq!(parts, ["ir"]),
            // Its cases run on everything, and nothing is built of it.
            ("conformance", _) => {}
            (_, None) => panic!("ARCHITECTURE.md does not say where the crate {name} stands"),
            (_, Some(own)) => {
                for part in parts {
                    let fits = ["data", "plot", "onnx"].contains(&&*part)
                        || place(&part).is_some_and(|part| part < own);
                    assert!(fits, "{name} uses {part}, which does not stand to its left");
                }
            }
        }
    }
}

/// The code of the library's files below a folder, by path.
fn code(below: &str) -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source.join(below), &mut all);
    let read = |path: PathBuf| {
        let text = without_tests(&std::fs::read_to_string(&path).unwrap());
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.flat_map(|line| [line, "\n"]).collect();
        (path.strip_prefix(&source).unwrap().display().to_string(), code)
    };
    all.into_iter().map(read).collect()
}

/// So that a test can make each of them fail; and training knows of no files but by those who save.
#[test]
fn file_calls_of_runs_are_made_in_one_place() {
    const CALLS: [&str; 6] = ["fs::", " File::", "(File::", ".is_dir()", ".is_file()", ".exists()"];
    // What makes the calls; what reads people's data, not runs; and what is only tests.
    const OTHERS: [&str; 3] = ["run/calls.rs", "run/data_sets/", "run/harness.rs"];
    let is_other = |path: &str| OTHERS.iter().any(|other| path.starts_with(other));
    for (path, code) in code("run").into_iter().chain(code("train")).filter(|(path, _)| !is_other(path)) {
        // What a call has found; a lock that is held; the system itself.
        let excepted = ["found.", "use std::fs::", "\"/proc/"];
        for line in code.lines().filter(|line| !excepted.iter().any(|part| line.contains(part))) {
            let call = CALLS.iter().find(|call| line.contains(**call));
            assert!(call.is_none(), "{path}: `{}` is a file call; make it in run/calls.rs", line.trim());
        }
    }
}

/// A program decides by the kind of an error: the library's own are never of no kind by oversight.
#[test]
fn errors_have_a_kind() {
    for folder in
        ["data", "init", "loss", "metric", "models", "optim", "run", "schedule", "settings", "step", "train"]
    {
        for (path, code) in code(folder).into_iter().filter(|(path, _)| path != "run/harness.rs") {
            for (at, _) in code.match_indices("Error::new(") {
                let before = &code[..at];
                let of_another =
                    ["io::", "dropforge_ir::", "dropforge_data::"].iter().any(|of| before.ends_with(of));
                let line = before.matches('\n').count() + 1;
                assert!(
                    of_another,
                    "{path}: the error in line {line} of the code has no kind; see ErrorKind"
                );
            }
        }
    }
}

/// Words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What an addition touches, as CONTRIBUTING.md counts it: its own file, the list of its folder, and its line of the
/// registry. What trains, runs and reads settings names none of the entries.
#[test]
fn an_entry_is_named_where_it_stands_and_in_two_lists() {
    // Other things of the same name: an operation, a distribution, what products compute in.
    const HOMONYMS: [&str; 3] = ["Constant", "Normal", "Precision"];
    let registry = code("run").into_iter().find(|(path, _)| path == "run/registry.rs").unwrap().1;
    let frame: Vec<(String, String)> = ["run", "settings", "step", "train"]
        .into_iter()
        .flat_map(code)
        .filter(|(path, _)| !["run/registry.rs", "run/harness.rs"].contains(&path.as_str()))
        .collect();
    let mut entries = 0;
    for folder in ["nn", "loss", "optim", "schedule", "init", "metric"] {
        let own = code(folder);
        let line = format!("{folder}::");
        for entry in registry.lines().filter_map(|text| text.trim().strip_prefix(&line)?.strip_suffix(',')) {
            entries += 1;
            let listed = registry.lines().filter(|text| text.trim() == format!("{line}{entry},")).count();
            assert_eq!(listed, 1, "{line}{entry} has one line in the registry");
            let exported = own.iter().find(|(path, _)| path == &format!("{folder}/mod.rs")).unwrap();
            assert!(words(&exported.1).any(|word| word == entry), "{folder}/mod.rs does not have {entry}");
            let named = |(_, code): &&(String, String)| words(code).any(|word| word == entry);
            let elsewhere = frame.iter().find(named).filter(|_| !HOMONYMS.contains(&entry));
            assert!(elsewhere.is_none(), "{} names {line}{entry}", elsewhere.unwrap().0);
        }
    }
    assert!(entries > 150, "{entries} entries are too few to be all");
}

/// The pages that people read, by their paths from the root of the repository.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let names =
        docs.map(|name| format!("docs/{}", name.to_str().unwrap())).filter(|name| name.ends_with(".md"));
    let others = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "bench/README.md"].map(String::from);
    let read = |name: String| (std::fs::read_to_string(root.join(&name)).unwrap(), name);
    names.chain(others).map(read).map(|(text, name)| (name, text)).collect()
}

/// A page without what stands between fences.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let outside = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    text.lines().filter(outside).collect::<Vec<_>>().join("\n")
}

#[test]
fn guides_are_run_and_found() {
    let (library, pages) = (include_str!("../src/lib.rs"), pages());
    for (name, text) in &pages {
        if name == "README.md" || name.starts_with("docs/") {
            let runs = library.contains(&format!("/{name}\""));
            assert!(!text.contains("```rust") || runs, "{name}: its programs are not run");
        }
        let Some(page) = name.strip_prefix("docs/") else { continue };
        let readme = &pages.iter().find(|(name, _)| name == "README.md").unwrap().1;
        assert!(readme.contains(&format!("(docs/{page})")), "README.md does not lead to {name}");
    }
}

/// The Rust programs of a page.
fn programs(text: &str) -> impl Iterator<Item = &str> {
    text.split("```rust").skip(1).filter_map(|rest| rest.split("```").next())
}

/// A code host shows the lines that documentation would hide behind `# `: guides have whole programs, to be copied.
#[test]
fn programs_of_guides_are_whole_as_they_stand() {
    for (name, text) in pages() {
        for program in programs(&text) {
            let hidden = program.lines().find(|line| line.trim() == "#" || line.trim().starts_with("# "));
            assert!(hidden.is_none(), "{name}: `{}` is shown on a code host", hidden.unwrap());
            let is_whole = program.contains("\nfn main()");
            assert!(is_whole || !name.starts_with("docs/"), "{name}: this is no whole program:{program}");
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let anchor = |heading: &str| -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    for (name, text) in pages() {
        for link in prose(&text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.replace('\n', " ");
            if link.contains("://") {
                continue;
            }
            let (file, part) = link.split_once('#').unwrap_or((&link, ""));
            let here = root.join(&name);
            let to = if file.is_empty() { here } else { here.parent().unwrap().join(file) };
            assert!(to.exists(), "{name}: there is no {link}");
            let headings = || std::fs::read_to_string(&to).unwrap_or_default();
            let has = |text: String| {
                text.lines()
                    .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == part)
            };
            assert!(part.is_empty() || has(headings()), "{name}: {file} has no part {part}");
        }
    }
}
