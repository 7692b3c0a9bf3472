//! Weights that PyTorch has saved, by `safetensors.torch.save_file(model.state_dict(), "weights.safetensors")` or
//! `torch.save(model.state_dict(), "weights.pth")`: `load_weights` reads both.
//! `cargo run --release --example pytorch_weights`

use dropforge::prelude::*;
use dropforge::run::LoadOptions;

fn main() -> Result<()> {
    let file = std::env::temp_dir().join(format!("dropforge-weights-{}.safetensors", std::process::id()));
    // Stands for the file from Python: the layers of `nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))`.
    let mut theirs = Network::compile(seq![dense(16), relu(), dense(3)], [4])?;
    theirs.save_weights(&file)?;
    let mut ours =
        NetworkBuilder::new(seq!["body" => dense(16), relu(), "head" => dense(3)]).seed(7).compile([4])?;
    let names = LoadOptions::new().rename("0.*", "body.*").rename("2.*", "head.*");
    println!("{}", ours.load_weights(&file, &names)?);
    let x = Generator::new(1).randn([2, 4]);
    let difference = (theirs.predict(&x)? - ours.predict(&x)?).abs().max(..);
    println!("the largest difference of the outputs is {}", difference.item::<f32>()?);
    std::fs::remove_file(file).map_err(|error| Error::new(error.to_string()))
}
