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
            writable(out)?;
            let weights = read_weights(file)?;
            write_weights(out, &weights)?;
            written.say(format_args!("{} tensors written to {}", weights.len(), out.display()))
        }
    }
}

/// Refuses a name that says the file is of a format that is not written: whoever reads it goes by its name.
fn writable(out: &Path) -> Outcome {
    let extension = out.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        None | Some("safetensors" | "npz") => Ok(()),
        // A device or a pipe, whose name says nothing.
        _ if out.exists() && !out.is_file() => Ok(()),
        Some(other) => Err(format!(
            "{}: files of the kind .{other} are not written; give a name that ends in .safetensors or .npz",
            out.display()
        )
        .into()),
    }
}

/// What floats are like.
#[derive(Default)]
struct Extent {
    /// Least, mean and greatest of those that are finite; nothing where none is.
    finite: Option<[f64; 3]>,
    nan: usize,
    infinite: usize,
}

impl Extent {
    /// Of the elements of a tensor; nothing of others than floats.
    fn of(array: &Array) -> Extent {
        let numbers = array.to_f32().unwrap_or_default();
        let nan = numbers.iter().filter(|number| number.is_nan()).count();
        let infinite = numbers.iter().filter(|number| number.is_infinite()).count();
        let count = numbers.len() - nan - infinite;
        let finite = || numbers.iter().filter(|number| number.is_finite()).map(|&number| f64::from(number));
        let (least, most) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let mean = finite().sum::<f64>() / count as f64;
        Extent { finite: (count > 0).then_some([least, mean, most]), nan, infinite }
    }

    fn text(&self) -> String {
        let finite = self.finite.map(|[min, mean, max]| format!("  {min:.4} to {max:.4}, mean {mean:.4}"));
        let mut text = finite.unwrap_or_default();
        for (count, what) in [(self.nan, "NaN"), (self.infinite, "infinite")] {
            if count > 0 {
                text += &format!("{} {count} {what}", if text.is_empty() { " " } else { "," });
            }
        }
        text
    }
}

/// How floats of one shape differ: the largest difference of those where there is one, and how many stand against NaN.
fn difference(left: &[f32], right: &[f32]) -> (Option<f64>, String) {
    let (mut largest, mut against) = (0.0f64, 0);
    for (x, y) in left.iter().zip(right) {
        match x.is_nan() || y.is_nan() {
            true => against += usize::from(x.is_nan() != y.is_nan()),
            // Equal infinities have no difference.
            false if x == y => {}
            false => largest = largest.max((f64::from(*x) - f64::from(*y)).abs()),
        }
    }
    let differs = format!("differs by up to {largest:.3e}");
    let what = match against {
        0 => differs,
        _ if largest == 0.0 => format!("NaN on one side in {against} of {} elements", left.len()),
        _ => format!("{differs}, and NaN on one side in {against} of {} elements", left.len()),
    };
    ((against == 0 || largest > 0.0).then_some(largest), what)
}

fn show(file: &Path, as_json: bool) -> Outcome {
    let weights = read_weights(file)?;
    let mut elements = 0;
    for (name, array) in &weights {
        elements += array.data().len();
        let (ty, extent) = (array.ty(), Extent::of(array));
        if !as_json {
            line(format_args!("{name}  {ty}{}", extent.text()))?;
            continue;
        }
        let [min, mean, max] = extent.finite.map_or([None; 3], |all| all.map(Some));
        let shape: &[usize] = &ty.shape;
        line(json!({
            "name": name, "dtype": ty.dtype.name(), "shape": shape, "min": min, "mean": mean, "max": max,
            "nan": extent.nan, "infinite": extent.infinite,
        }))?;
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
            let found = left.to_f32().zip(right.to_f32()).map(|(left, right)| difference(&left, &right));
            let (largest, what) = found.unwrap_or((None, "other elements".into()));
            say(&name, &what, largest)?;
        }
    }
    for name in b.keys() {
        say(name, &format!("only in {}", second.display()), None)?;
    }
    if as_json { Ok(()) } else { line(format_args!("{same} tensors are the same")) }
}
