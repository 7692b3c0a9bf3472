//! Charts as PNG files.

use crate::common::{Folder, LINEAR};

#[test]
fn every_sort_of_chart_becomes_a_picture() {
    let folder = Folder::new("png");
    folder.write("linear.toml", LINEAR);
    folder.succeed("train --model linear.toml --data digits:120 --epochs 2 --out run --quiet");
    for figure in ["loss", "confusion", "memory"] {
        let said = folder.run(&format!("plot run --what {figure} --out {figure}.png"));
        match said.status.success() {
            true => assert!(folder.read(&format!("{figure}.png")).starts_with(b"\x89PNG"), "{figure}"),
            // Where there is no font, nothing can be written into the picture.
            false => assert!(String::from_utf8_lossy(&said.stderr).contains("needs a font"), "{figure}"),
        }
    }
    // A picture is no chart to write over.
    folder.write("notes.png", "mine");
    assert!(folder.fail("plot run --what loss --out notes.png").contains("notes.png"));
    assert_eq!(folder.read("notes.png"), b"mine");
}
