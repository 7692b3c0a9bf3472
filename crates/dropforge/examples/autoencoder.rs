//! Images through 16 numbers and back: `cargo run --release --example autoencoder`. The target of an image is the image
//! itself, so that the labels of the digits are not looked at. `dropforge report runs/autoencoder --data digits:200`
//! shows inputs beside what becomes of them, the worst first.

use dropforge::nn::{conv_transpose, unflatten};
use dropforge::prelude::*;
use dropforge::step::Batch;

/// Halves height and width; the transposed one doubles them.
fn net() -> impl Layer {
    let half = |channels| conv(channels, 3).stride(2).padding(1);
    let twice = |channels| conv_transpose(channels, 4).stride(2).padding(1);
    let encoder = seq![half(8), relu(), half(16), relu(), flatten(), dense(16)];
    let decoder = seq![dense(16 * 49), relu(), unflatten([16, 7, 7]), twice(8), relu(), twice(1)];
    seq!["encoder" => encoder, "decoder" => decoder]
}

fn main() -> Result<()> {
    let (train, test) = datasets::digits(1000, 200, 1);
    let reconstruct = |scope: &Scope, batch: &Batch| {
        let x = batch.get("input");
        let y = net().forward(scope, &x);
        ((&y - &x).square().mean(..), y)
    };
    let mut trainer = Trainer::of(reconstruct, Adam::new(3e-3)).batch(50).compile(&train)?;
    let fit = trainer.fit(&train).validate(&test).epochs(3).save("runs/autoencoder");
    println!("{}", fit.each_epoch(|report| println!("{report}")).run()?);
    Ok(())
}
