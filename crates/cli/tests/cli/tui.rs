//! The full screen, in a terminal that `script` makes.

use crate::common::{Folder, LINEAR};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_training_on_a_full_screen_ends_by_q_and_is_saved() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("there is no `script` here: the full screen is not tried");
        return;
    }
    let folder = Folder::new("tui");
    folder.write("linear.toml", LINEAR);
    let command = env!("CARGO_BIN_EXE_dropforge");
    let train = "--model linear.toml --data digits:200 --batch 20 --epochs 1000000 --tui --out run";
    let line = format!("stty rows 30 cols 100; exec {command} train {train}");
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(folder.path())
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !folder.path().join("run/model.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint");
        assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let end: String = text.chars().rev().take(600).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(output.status.success() && end.contains("q was pressed; all is saved"), "{end}");
    // The screen was taken and given back, and had its parts.
    for part in ["\x1b[?1049h", "\x1b[?1049l", "learning rate", "validation"] {
        assert!(text.contains(part), "{part:?} is missing");
    }
    assert!(folder.succeed("runs run").contains("stopped"));
}

#[test]
fn there_has_to_be_a_terminal() {
    let folder = Folder::new("tui-pipe");
    folder.write("linear.toml", LINEAR);
    let said = folder.fail("train --model linear.toml --data digits:60 --epochs 1 --tui --out run");
    assert!(said.contains("the output is no terminal"), "{said}");
    assert!(!folder.path().join("run").exists());
}
