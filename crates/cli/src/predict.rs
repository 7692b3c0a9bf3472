//! `dropforge predict`

use crate::args::{DataArgs, Predict};
use crate::output::{Outcome, Stop, line};
use crate::{data, machine};
use dropforge::run::{PredictionTable, TableFormat, Trained};
use serde_json::{Map, Value, json};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Images that go through the network at once.
const AT_ONCE: usize = 64;
/// What the names of images end in.
const IMAGES: [&str; 6] = ["png", "jpg", "jpeg", "webp", "gif", "bmp"];

pub fn run(args: &Predict) -> Outcome {
    let trained = machine::open_run(&args.machine, &args.run, args.best)?;
    if let Some(data) = &args.data {
        return data_set(args, &trained, data);
    }
    let mut images = Vec::new();
    for path in &args.images {
        collect(path, &mut images)?;
    }
    // Before anything is computed, so that one missing file does not end a long list half-way.
    for image in &images {
        let found = std::fs::metadata(image).map_err(|error| format!("{}: {error}", image.display()))?;
        if !found.is_file() {
            return Err(format!("{}: is no regular file", image.display()).into());
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut table = PredictionTable::new(&mut out, TableFormat::Csv, trained.classes());
    for paths in images.chunks(AT_ONCE) {
        let pixels = paths.iter().map(|path| trained.inputs().read_image(path));
        let pixels: Vec<Vec<f32>> = pixels.collect::<Result<_, _>>()?;
        for (path, probabilities) in paths.iter().zip(trained.probabilities(pixels.concat())?) {
            let path = path.display().to_string();
            if args.csv {
                table.row(&path, &probabilities)?;
            } else {
                print(args.json, &trained, &path, &probabilities)?;
            }
        }
    }
    finish(&mut out)
}

/// The images of a folder, those in folders below included, in the order of their names; or a single file.
fn collect(path: &Path, images: &mut Vec<PathBuf>) -> Outcome {
    if !path.is_dir() {
        images.push(path.into());
        return Ok(());
    }
    let before = images.len();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let failed = |error: io::Error| format!("{}: cannot list it: {error}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else if ending.is_some_and(|ending| IMAGES.contains(&ending.as_str())) {
                images.push(path);
            }
        }
    }
    images[before..].sort();
    match images.len() > before {
        true => Ok(()),
        false => Err(format!("{}: holds no image (PNG, JPEG, WebP, GIF, BMP)", path.display()).into()),
    }
}

fn print(json: bool, trained: &Trained, path: &str, probabilities: &[f32]) -> Outcome {
    let best = trained.best(probabilities)?;
    if !json {
        return line(format_args!("{path}: {} ({:.2} %)", best.class, best.probability * 100.0));
    }
    let named = trained.classes().iter().zip(probabilities);
    let all: Map<String, Value> = named.map(|(class, p)| (class.clone(), json!(p))).collect();
    line(json!({ "image": path, "class": best.class, "probability": best.probability, "probabilities": all }))
}

/// A row for each test sample of a data set, by its number.
fn data_set(args: &Predict, trained: &Trained, data: &str) -> Outcome {
    let named = DataArgs { data: Some(data.into()), download: false, size: None };
    let (_, data) = data::for_testing(trained, &args.run, &named)?;
    let format = if args.json { TableFormat::JsonLines } else { TableFormat::Csv };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut table = PredictionTable::new(&mut out, format, trained.classes());
    trained.predict_all(&data, AT_ONCE, |number, values| table.row(&number.to_string(), values))?;
    finish(&mut out)
}

fn finish(out: &mut impl Write) -> Outcome {
    out.flush().map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::Unread,
        _ => Stop::Error(format!("cannot write to standard output: {error}")),
    })
}
