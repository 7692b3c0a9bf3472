//! What only a GPU does: its memory is counted and bounded, and a run keeps what was chosen for its kernels. On a
//! software renderer where there is no GPU; `DROPFORGE_NO_GPU=1` passes without any.

use crate::common::{Folder, LINEAR, number};

const TRAIN: &str = "train --device gpu --model linear.toml --data digits:90 --batch 20 --epochs 1";

/// Whether there is none, as expected.
fn is_missing(folder: &Folder) -> bool {
    std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") && !folder.succeed("devices").contains("gpu:0")
}

#[test]
fn memory_of_a_gpu_is_counted_and_bounded() {
    let folder = Folder::new("gpu-memory");
    if is_missing(&folder) {
        return;
    }
    folder.write("linear.toml", LINEAR);
    let lines = folder.succeed(&format!("{TRAIN} --out run --profile --json --memory-limit 300MiB"));
    let memory = lines.lines().find(|line| line.contains(r#""event":"memory""#)).unwrap();
    assert_eq!(number(memory, "limit_bytes"), f64::from(300 << 20));
    let (held, peak) = (number(memory, "held_bytes"), number(memory, "peak_held_bytes"));
    assert!(0.0 < held && held <= peak && peak <= f64::from(300 << 20), "{memory}");
    assert!(number(memory, "in_use_bytes") > 7850.0 && number(memory, "hit_rate") > 0.5, "{memory}");
    let text = folder.succeed(&format!("{TRAIN} --out text --profile --memory-limit 300MiB"));
    for part in ["measured peak", "device memory: ", "the limit is 300.0 MiB"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let message = folder.fail(&format!("{TRAIN} --out none --memory-limit 50KB"));
    assert!(message.contains("limit of 50000 bytes") && message.contains("held are"), "{message}");
}

#[test]
fn a_run_keeps_what_the_gpu_had_chosen() {
    let folder = Folder::new("gpu-choices");
    if is_missing(&folder) {
        return;
    }
    folder.write("linear.toml", LINEAR);
    folder.succeed(&format!("{TRAIN} --out run"));
    let choices = String::from_utf8(folder.checkpoint("run", "choices.toml")).unwrap();
    assert!(
        choices.starts_with("device = ") && choices.contains("dot-") && choices.contains("tile:"),
        "{choices}"
    );
    folder.succeed("train --resume run --epochs 2");
    assert_eq!(String::from_utf8(folder.checkpoint("run", "choices.toml")).unwrap(), choices);
    // Of another device nothing is taken, and nothing is left for it.
    folder.succeed("train --resume run --epochs 3 --device cpu");
    assert!(
        std::fs::read_dir(folder.path().join("run"))
            .unwrap()
            .all(|entry| { !entry.unwrap().path().join("choices.toml").exists() })
    );
}
