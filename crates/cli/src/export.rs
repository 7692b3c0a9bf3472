//! `dropforge export`

use crate::args::Export;
use crate::machine;
use crate::output::{Outcome, OutputFile};
use dropforge::file::FileKind;
use dropforge::run::{OnnxOptions, Trained};
use serde_json::json;

pub fn run(args: &Export) -> Outcome {
    let out = OutputFile::new(&args.onnx, FileKind::Onnx)?;
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
        true => out.say(json!({ "run": args.run.display().to_string(), "onnx": file, "opset": args.opset })),
        false => out.say(format_args!("written to {file}")),
    }
}
