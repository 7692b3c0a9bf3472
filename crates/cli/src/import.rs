//! `dropforge import`

use crate::args::Import;
use crate::machine;
use crate::output::{Outcome, line};
use dropforge::run::{OnnxImport, import_onnx};
use serde_json::json;

pub fn run(args: &Import) -> Outcome {
    let mut options = OnnxImport::new();
    if !args.classes.is_empty() {
        options = options.classes(args.classes.iter().cloned());
    }
    if !args.mean.is_empty() {
        options = options.normalisation(args.mean.clone(), args.std.clone());
    }
    if let Some(output) = &args.output {
        options = options.output(output);
    }
    for (name, extent) in &args.extent {
        options = options.extent(name, *extent);
    }
    let runtime = machine::open(&args.machine, machine::DEFAULT)?;
    import_onnx(&args.file, &args.out, &options, &runtime)?;
    let (file, run) = (args.file.display().to_string(), args.out.display().to_string());
    match args.json {
        true => line(json!({ "onnx": file, "run": run })),
        false => line(format_args!("{file} is the run {run} now")),
    }
}
