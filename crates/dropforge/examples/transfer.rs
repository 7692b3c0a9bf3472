//! Published weights under a new head: the trunk is frozen for an epoch, then trained more slowly than the head, in
//! batches that are gathered: `cargo run --release --example transfer`.

use dropforge::prelude::*;
use dropforge::train::unfreeze;
use dropforge::{optim::group, run::LoadOptions};

fn trunk() -> impl Layer {
    seq![conv(8, 5), relu(), max_pool(2), conv(16, 5), relu(), max_pool(2), flatten()]
}

fn main() -> Result<()> {
    let (train, test) = datasets::digits(2_000, 500, 1);
    // Stands for a file from elsewhere, with names as torchvision's AlexNet has them and a head for a thousand classes.
    let file = std::env::temp_dir().join(format!("dropforge-transfer-{}.safetensors", std::process::id()));
    Network::compile(seq!["features" => trunk(), "classifier" => dense(1000)], [1, 28, 28])?
        .save_weights(&file)?;
    let net = seq!["trunk" => trunk(), "head" => dense(10)];
    let trainer = Trainer::new(net, cross_entropy(), AdamW::new(3e-3)).batch(32).accumulate(2).clip_norm(1.0);
    let mut trainer = trainer.group(group("trunk.*").lr_factor(0.1).frozen()).compile(&train)?;
    let names = LoadOptions::new().rename("features.*", "trunk.*").ignore("classifier.*").strict(false);
    println!("{}", trainer.load_weights(&file, &names)?);
    let fit = trainer.fit(&train).validate(&test).epochs(4).callback(unfreeze("trunk", 1));
    fit.each_epoch(|report| println!("{report}")).run()?;
    std::fs::remove_file(file).map_err(|error| Error::new(error.to_string()))
}
