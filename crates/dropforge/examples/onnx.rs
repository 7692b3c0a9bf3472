//! A network as an ONNX file, which other programs run, and back.
//! `cargo run --release -p dropforge --features onnx --example onnx`

use dropforge::prelude::*;
use dropforge::run::{OnnxImport, OnnxOptions};

fn main() -> Result<()> {
    let file = std::env::temp_dir().join(format!("dropforge-example-{}.onnx", std::process::id()));
    let mut network = Network::compile(dropforge::models::lenet(10), [1, 28, 28])?;
    network.save_onnx(&file, &OnnxOptions::new())?;
    let again = Trained::open_onnx(&file, &OnnxImport::new(), &Runtime::shared()?)?;
    let images = Generator::new(1).randn([3, 1, 28, 28]);
    let (ours, theirs) = (network.predict(&images)?, again.predict(images.to_array()?)?);
    println!("the largest difference is {}", (&ours - &theirs).abs().max(..).item::<f32>()?);
    println!("{} is left for onnx.checker.check_model and onnxruntime.InferenceSession", file.display());
    Ok(())
}
