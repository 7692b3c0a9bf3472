//! `dropforge weights`

use crate::args::{Weights, WeightsCommand};
use crate::output::{Outcome, OutputFile, line};
use dropforge::Array;
use dropforge::file::FileKind;
use dropforge::run::{read_weights, write_weights};
use serde_json::json;
use std::path::Path;

pub fn run(args: &Weights) -> Outcome {
    match &args.what {
        WeightsCommand::Show { file, json } => show(file, *json),
        WeightsCommand::Diff { first, second, json } => differences(first, second, *json),
        WeightsCommand::Convert { file, out } => {
            let is_npz = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
            let written = OutputFile::new(out, if is_npz { FileKind::Npz } else { FileKind::Safetensors })?;
            let weights = read_weights(file)?;
            write_weights(out, &weights)?;
            written.say(format_args!("{} tensors written to {}", weights.len(), out.display()))
        }
    }
}

/// Least, mean and greatest number of floats; nothing of others and of what is empty.
fn extent(array: &Array) -> Option<[f64; 3]> {
    let numbers = array.to_f32().filter(|numbers| !numbers.is_empty())?;
    let wide = || numbers.iter().map(|&number| f64::from(number));
    let (least, most) = (wide().fold(f64::INFINITY, f64::min), wide().fold(f64::NEG_INFINITY, f64::max));
    Some([least, wide().sum::<f64>() / numbers.len() as f64, most])
}

fn show(file: &Path, as_json: bool) -> Outcome {
    let weights = read_weights(file)?;
    let mut elements = 0;
    for (name, array) in &weights {
        elements += array.data().len();
        let (ty, extent) = (array.ty(), extent(array));
        match (as_json, extent) {
            (true, extent) => {
                let [min, mean, max] = extent.map_or([None; 3], |all| all.map(Some));
                let shape: &[usize] = &ty.shape;
                let dtype = ty.dtype.name();
                line(
                    json!({ "name": name, "dtype": dtype, "shape": shape, "min": min, "mean": mean, "max": max }),
                )?;
            }
            (false, Some([min, mean, max])) => {
                line(format_args!("{name}  {ty}  {min:.4} to {max:.4}, mean {mean:.4}"))?;
            }
            (false, None) => line(format_args!("{name}  {ty}"))?,
        }
    }
    if as_json { Ok(()) } else { line(format_args!("{} tensors, {elements} elements", weights.len())) }
}

fn differences(first: &Path, second: &Path, as_json: bool) -> Outcome {
    let (mut a, mut b) = (read_weights(first)?, read_weights(second)?);
    let mut same = 0;
    let say = |name: &str, what: &str, largest: Option<f64>| match as_json {
        true => line(json!({ "name": name, "difference": what, "largest": largest })),
        false => line(format_args!("{name}: {what}")),
    };
    let names: Vec<String> = a.keys().cloned().collect();
    for name in names {
        let Some(left) = a.remove(&name) else { continue };
        let Some(right) = b.remove(&name) else {
            say(&name, &format!("only in {}", first.display()), None)?;
            continue;
        };
        if left.ty() != right.ty() {
            say(&name, &format!("{} and {}", left.ty(), right.ty()), None)?;
        } else if left.data().bytes() == right.data().bytes() {
            same += 1;
        } else {
            let largest = left.to_f32().zip(right.to_f32()).map(|(left, right)| {
                let each = left.iter().zip(&right).map(|(x, y)| f64::from((x - y).abs()));
                each.fold(0.0, f64::max)
            });
            let what =
                largest.map_or("other elements".into(), |largest| format!("differs by up to {largest:.3e}"));
            say(&name, &what, largest)?;
        }
    }
    for name in b.keys() {
        say(name, &format!("only in {}", second.display()), None)?;
    }
    if as_json { Ok(()) } else { line(format_args!("{same} tensors are the same")) }
}
