//! Writes each built-in model as an ONNX file, with inputs and what the model makes of them, in folders as the
//! standard's own tests have them. `scripts/check-onnx` runs them through ONNX Runtime.

use dropforge::prelude::*;
use dropforge::run::{ModelSpec, OnnxOptions};
use std::path::Path;

fn write(folder: &Path, opset: i64, network: &mut Network, input: &Tensor) -> Result<()> {
    let failed = |error: std::io::Error| Error::new(error.to_string());
    let set = folder.join("test_data_set_0");
    std::fs::create_dir_all(&set).map_err(failed)?;
    network.save_onnx(folder.join("model.onnx"), &OnnxOptions::new().opset(opset))?;
    let output = network.predict(input)?;
    for (name, file, tensor) in [("input", "input_0.pb", input), ("prediction", "output_0.pb", &output)] {
        let bytes = dropforge_onnx::write_tensor(name, &tensor.to_array()?);
        std::fs::write(set.join(file), bytes).map_err(failed)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| Error::new("give a folder to write to"))?;
    for (name, shape) in [
        ("lenet", vec![1, 28, 28]),
        ("mlp", vec![1, 28, 28]),
        ("tinycnn", vec![1, 28, 28]),
        ("catsdogs", vec![3, 32, 32]),
        ("resnet18", vec![3, 32, 32]),
        ("gpt", vec![128]),
    ] {
        let is_text = name == "gpt";
        let sample = ValueType::new(if is_text { DType::I32 } else { DType::F32 }, shape.clone());
        let net: std::sync::Arc<dyn Layer> = ModelSpec::parse(name)?.build(20)?.into();
        let mut network = NetworkBuilder::new(net).seed(1).compile(sample)?;
        let batch: Vec<usize> = std::iter::once(3).chain(shape).collect();
        let count: usize = batch.iter().product();
        let input = match is_text {
            true => Tensor::from_vec((0..count as i32).map(|i| i * 7 % 20).collect::<Vec<i32>>(), batch),
            false => Generator::new(2).randn(batch),
        };
        for opset in [18, 21, 23] {
            write(&Path::new(&folder).join(format!("{name}_{opset}")), opset, &mut network, &input)?;
        }
    }
    Ok(())
}
