//! Checkpoints that something has damaged: what is wrong with which file, and what is left to go on from.

use super::checksums::{self, MOST_STATE};
use super::manifest::{self, Manifest};
use super::position;
use super::run_dir::{BEST, CONSTANTS, EVALUATE, MANIFEST, MODEL, OPTIMIZER, PREDICT, STATE, checkpoints};
use super::safetensors::TensorFile;
use super::stored::MOST_TEXT;
use super::{calls, disk};
use crate::train::state;
use crate::{Error, ErrorKind, Result};
use dropforge_ir::text::Template;
use std::path::Path;

/// What went wrong while a checkpoint was read, with what to do if that is because one of its files is damaged or
/// missing.
pub(super) fn advised(run: &Path, checkpoint: &Path, error: Error) -> Error {
    match whole(checkpoint) {
        // A program that is cut short may only be found out when it is made for a batch.
        Err(found) if [ErrorKind::File, ErrorKind::Program].contains(&error.kind()) => {
            Error::file(format!("{found}; {}", advice(run, checkpoint))).caused_by(error)
        }
        _ => error,
    }
}

/// Looks into each file of a checkpoint.
fn whole(checkpoint: &Path) -> Result<()> {
    let at = |name: &str| checkpoint.join(name);
    checksums::check(checkpoint)?;
    TensorFile::open(&at(MODEL))?.check()?;
    TensorFile::open(&at(OPTIMIZER))?.check()?;
    TensorFile::open_if_any(&at(CONSTANTS))?.map_or(Ok(()), |mut file| file.check())?;
    // Runs of the first version have no manifest.
    let about = disk::read_text_if_any(&at(MANIFEST), MOST_TEXT)?;
    if let Some(about) = about.filter(|text| !is_of_another_version(text, manifest::FORMAT)) {
        Manifest::parse(&about).map_err(|error| error.context(at(MANIFEST).display()))?;
    }
    let state = disk::read_text(&at(STATE), MOST_STATE)?;
    if !is_of_another_version(&state, state::FORMAT) {
        position::parse(&state).map_err(|error| error.context(at(STATE).display()))?;
    }
    for name in [PREDICT, EVALUATE] {
        if let Some(text) = disk::read_text_if_any(&at(name), MOST_TEXT)? {
            let program = Template::parse(&text).and_then(|template| template.instantiate(1));
            program.map_err(|error| Error::from(error).context(at(name).display()))?;
        }
    }
    Ok(())
}

/// Whether a text is whole, and written in a layout that is not this version's: that is no damage.
fn is_of_another_version(text: &str, format: u32) -> bool {
    let table = text.parse::<toml::Table>().ok();
    let said = table.and_then(|table| table.get("format")?.as_integer());
    said.is_some_and(|said| said != i64::from(format))
}

/// What is left.
fn advice(run: &Path, checkpoint: &Path) -> String {
    let all = checkpoints(run).unwrap_or_default();
    let older = all.iter().map(|(_, path)| path).take_while(|path| *path != checkpoint);
    let left: Vec<_> = older.filter(|path| whole(path).is_ok()).collect();
    if let Some(older) = left.last() {
        let name = older.file_name().unwrap_or_default().to_string_lossy();
        return format!(
            "remove the folder {}, and the run goes on from the checkpoint before it, {name}",
            checkpoint.display()
        );
    }
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let weights = [checkpoint.join(MODEL), run.join(BEST)];
    let restore = format!("{} is the only checkpoint: restore the file from a copy", named(checkpoint));
    let is_whole = |path: &Path| TensorFile::open(path).and_then(|mut file| file.check()).is_ok();
    match weights.iter().find(|path| calls::is_file(path) && is_whole(path)) {
        Some(path) => {
            format!(
                "{restore}, or start another run from the weights that are left (`train --from {}`)",
                path.display()
            )
        }
        None => format!("{restore}, or train again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use crate::seq;
    use std::fs;

    #[test]
    fn a_damaged_file_is_named_with_what_is_left() {
        let run = std::env::temp_dir().join(format!("dropforge-damage-{}", std::process::id()));
        let _ = fs::remove_dir_all(&run);
        let (train, _) = datasets::digits(40, 10, 1);
        let build = || Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Adam::new(1e-2)).batch(20);
        let mut trainer = build().compile(&train).unwrap();
        trainer.save(&run).unwrap();
        let runtime = Runtime::shared().unwrap();
        let first = checkpoints(&run).unwrap().pop().unwrap().1;
        for name in [MODEL, OPTIMIZER, STATE, MANIFEST, PREDICT] {
            let (path, text) = (first.join(name), fs::read(first.join(name)).unwrap());
            for damaged in [Some(&text[..text.len() / 2]), None] {
                match damaged {
                    Some(half) => fs::write(&path, half).unwrap(),
                    // What there may be no such file of is another thing.
                    None if [MANIFEST, PREDICT].contains(&name) => continue,
                    None => fs::remove_file(&path).unwrap(),
                }
                let opened = Trained::open(&run, &runtime).err();
                let resumed = build().compile(&train).unwrap().resume(&run).err();
                let errors = [opened, resumed];
                let errors: Vec<String> = errors.iter().flatten().map(ToString::to_string).collect();
                assert!(!errors.is_empty(), "{name} {:?}", damaged.map(<[u8]>::len));
                for error in errors {
                    assert!(
                        error.contains(name) && error.contains("is the only checkpoint"),
                        "{name}: {error}"
                    );
                    assert_eq!(error.contains("--from "), name != MODEL, "{error}");
                }
                fs::remove_file(&path).ok();
                fs::write(&path, &text).unwrap();
            }
        }
        // One bit that the disk has lost, and the same in a packed run.
        let packed = run.join("packed");
        super::super::pack(&run, &packed).unwrap();
        for name in [MODEL, OPTIMIZER, STATE, MANIFEST, PREDICT, EVALUATE, "packed"] {
            let path = if name == "packed" { packed.clone() } else { first.join(name) };
            let whole = fs::read(&path).unwrap();
            for at in [whole.len() / 2, whole.len() - 2] {
                let mut bytes = whole.clone();
                bytes[at] ^= 1;
                fs::remove_file(&path).unwrap();
                fs::write(&path, bytes).unwrap();
                let opened = Trained::open(if name == "packed" { &packed } else { &run }, &runtime).err();
                let resumed = build().compile(&train).unwrap().resume(&run).err();
                let errors = [(opened, name != OPTIMIZER && name != STATE), (resumed, name != "packed")];
                for (error, is_one) in errors {
                    assert_eq!(error.is_some(), is_one, "{name} {at}: {error:?}");
                    let text = error.map_or_else(|| name.into(), |error| error.to_string());
                    assert!(text.contains(name), "{name} {at}: {text}");
                }
            }
            fs::remove_file(&path).unwrap();
            fs::write(&path, whole).unwrap();
        }
        fs::remove_file(packed).unwrap();
        // Another layout is said as such.
        let (path, text) = (first.join(STATE), fs::read(first.join(STATE)).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "format = 1\nsteps = 3\n").unwrap();
        let error = build().compile(&train).unwrap().resume(&run).err().unwrap().to_string();
        assert!(error.contains("is in format 1") && !error.contains("only checkpoint"), "{error}");
        fs::write(&path, text).unwrap();
        // With another one before it, that is what is left.
        let second = run.join("checkpoint-000009");
        fs::create_dir(&second).unwrap();
        for entry in fs::read_dir(&first).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, second.join(path.file_name().unwrap())).unwrap();
        }
        fs::write(second.join(MODEL), "half").unwrap();
        let error = Trained::open(&run, &runtime).err().unwrap().to_string();
        assert!(error.contains("remove the folder") && error.ends_with("checkpoint-000001"), "{error}");
        fs::remove_dir_all(&second).unwrap();
        Trained::open(&run, &runtime).unwrap();
        fs::remove_dir_all(&run).unwrap();
    }
}
