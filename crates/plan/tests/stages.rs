//! What each stage of planning makes of programs: each file in `cases/plans` holds a line that names the stage, a
//! program, a line `---`, and what is expected. `DROPFORGE_UPDATE=1 cargo test -p dropforge-plan --test stages`
//! rewrites the second half.
//!
//! | first line | what is shown |
//! |---|---|
//! | `test: fuse` | the kernels with their instructions |
//! | `test: merge`, `test: epilogue` | a line for each kernel, in order: which instances it has, which kernel ends which |
//! | `test: place` | the buffers with their places, and the size of the arena |

use dropforge_ir::text::parse;
use dropforge_plan::text::{self, kernels, order, places};
use dropforge_plan::verify::verify;
use dropforge_plan::{Plan, plan};
use std::path::Path;

fn shown(stage: &str, plan: &Plan) -> Option<String> {
    match stage {
        "fuse" => Some(kernels(plan)),
        "merge" | "epilogue" => Some(order(plan)),
        "place" => {
            let (arena, least) = (plan.arena_bytes, plan.lower_bound_bytes);
            Some(format!("{}  arena {arena}, at least {least}\n", places(plan)))
        }
        _ => None,
    }
}

#[test]
fn stages_give_what_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/plans");
    let update = std::env::var_os("DROPFORGE_UPDATE").is_some();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut seen = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let content = std::fs::read_to_string(&path).unwrap();
        let (before, expected) = content.split_once("---\n").unwrap_or((&content, ""));
        let (first, program) = before.split_once('\n').unwrap();
        let stage = first.strip_prefix("test: ").unwrap_or_else(|| panic!("{name} begins with no stage"));
        let program = parse(program).unwrap_or_else(|error| panic!("{name}: {error}"));
        let plan = plan(&program).unwrap();
        verify(&plan).unwrap_or_else(|error| panic!("{name}: {error}\n{plan}"));
        let whole = plan.to_string();
        assert_eq!(text::parse(&whole).unwrap().to_string(), whole, "{name}");
        let found = shown(stage, &plan).unwrap_or_else(|| panic!("{name}: there is no stage {stage}"));
        seen.insert(stage.to_string());
        if update {
            std::fs::write(&path, format!("{before}---\n{found}")).unwrap();
        } else if found.trim() != expected.trim() {
            wrong.push(format!("{name}: found\n{found}expected\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["epilogue", "fuse", "merge", "place"]);
}
