//! `dropforge export`

use crate::args::Export;
use crate::machine;
use crate::output::{Outcome, line};
use dropforge::run::{OnnxOptions, Trained};
use serde_json::json;

pub fn run(args: &Export) -> Outcome {
    let trained = Trained::open(&args.run, &machine::of_run(&args.machine, &args.run)?)?;
    let options = OnnxOptions::new().opset(args.opset);
    let options = match args.preprocess.as_deref() {
        Some("floats") => options.normalising(),
        Some(_) => options.from_bytes(),
        None => options,
    };
    trained.save_onnx(&args.onnx, &options)?;
    let file = args.onnx.display().to_string();
    match args.json {
        true => line(json!({ "run": args.run.display().to_string(), "onnx": file, "opset": args.opset })),
        false => line(format_args!("written to {file}")),
    }
}
