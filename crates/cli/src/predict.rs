//! `dropforge predict`

use crate::args::{DataArgs, Predict};
use crate::data::for_predicting;
use crate::machine;
use crate::output::{Outcome, Stop, error, line};
use dropforge::data::Source;
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
    if trained.inputs().shape.len() != 3 {
        return Err(format!(
            "{}: the network takes inputs of shape {:?}, which are no images; give a data set with --data",
            args.run.display(),
            trained.inputs().shape
        )
        .into());
    }
    // One that is missing or broken does not keep the others from being predicted.
    let mut wrong = Wrong(0);
    let mut images = Vec::new();
    for path in &args.images {
        if let Err(Stop::Error(message)) = collect(path, &mut images) {
            wrong.say(&message);
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut table = PredictionTable::new(&mut out, TableFormat::Csv, trained.classes());
    for paths in images.chunks(AT_ONCE) {
        let (mut read, mut pixels) = (Vec::new(), Vec::new());
        for path in paths {
            match trained.inputs().read_image(path) {
                Ok(image) => {
                    pixels.extend(image);
                    read.push(path.display().to_string());
                }
                Err(error) => wrong.say(&error.to_string()),
            }
        }
        if read.is_empty() {
            continue;
        }
        for (path, probabilities) in read.iter().zip(trained.rows_of(&trained.predict(pixels)?)?) {
            if args.csv {
                table.row(path, &probabilities)?;
            } else {
                print(args.json, &trained, path, &probabilities)?;
            }
        }
    }
    finish(&mut out)?;
    if wrong.0 > 0 { Err(Stop::Said) } else { Ok(()) }
}

/// How many of the images cannot be predicted.
struct Wrong(usize);

impl Wrong {
    fn say(&mut self, message: &str) {
        self.0 += 1;
        error(message);
    }
}

/// The images of a folder, those in folders below included, in the order of their names; or a single file, which is
/// looked at when it is read.
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
    if trained.classes().is_empty() {
        let numbers: Vec<String> = probabilities.iter().map(f32::to_string).collect();
        return match json {
            true => line(json!({ "image": path, "values": probabilities })),
            false => line(format_args!("{path}: {}", numbers.join(" "))),
        };
    }
    let best = trained.best(probabilities)?;
    if !json {
        return line(format_args!("{path}: {} ({:.2} %)", best.class, best.probability * 100.0));
    }
    let named = trained.classes().iter().zip(probabilities);
    let all: Map<String, Value> = named.map(|(class, p)| (class.clone(), json!(p))).collect();
    line(json!({ "image": path, "class": best.class, "probability": best.probability, "probabilities": all }))
}

/// A row for each sample of a data set, by the file that it is from, or else by its number.
fn data_set(args: &Predict, trained: &Trained, data: &str) -> Outcome {
    let named = DataArgs { data: Some(data.into()), download: false, size: None };
    let (data, numbers) = for_predicting(trained, &args.run, &named)?.readable()?;
    let format = if args.json { TableFormat::JsonLines } else { TableFormat::Csv };
    let mut out = BufWriter::new(io::stdout().lock());
    let about = trained.inputs().description.as_ref();
    let target = about.and_then(|about| about.target_name.as_deref());
    let mut table = PredictionTable::new(&mut out, format, trained.classes()).target(target);
    trained.predict_all(&data, AT_ONCE, |row, values| {
        let number = numbers.as_ref().and_then(|numbers| numbers.get(row)).unwrap_or(&row);
        table.row(&data.origin(row).unwrap_or_else(|| number.to_string()), values)
    })?;
    finish(&mut out)
}

fn finish(out: &mut impl Write) -> Outcome {
    out.flush().map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::Unread,
        _ => Stop::Error(format!("cannot write to standard output: {error}")),
    })
}
