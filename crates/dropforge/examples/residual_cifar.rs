//! A residual network with everything that a real training has:
//! `cargo run --release --example residual_cifar [FOLDER]`, on CIFAR-10 in FOLDER or else on a few digits.
//! `dropforge eval runs/residual_cifar --data digits --best` measures the best epoch.

use dropforge::data::transform::{Flip, RandomCrop, augment};
use dropforge::prelude::*;
use dropforge::train::keep_best;

/// Two convolutions beside a shortcut, which changes the width.
fn block(width: usize) -> impl Layer {
    let main = seq![conv(width, 3).same(), batch_norm(), relu(), conv(width, 3).same(), batch_norm()];
    seq![conv(width, 1), residual(main), relu(), max_pool(2)]
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1);
    // Digits that are mirrored are no digits.
    let flip = Flip { probability: if folder.is_some() { 0.5 } else { 0.0 } };
    let (train, test) = folder.map_or_else(|| Ok(datasets::digits(600, 100, 1)), datasets::cifar10)?;
    let train = augment(std::sync::Arc::new(train), vec![Box::new(RandomCrop::new(2)), Box::new(flip)])?;
    let net = seq![block(16), block(32), global_avg_pool(), flatten(), dropout(0.2), dense(10)];
    let mut trainer = Trainer::new(net, cross_entropy().label_smoothing(0.1), AdamW::new(4e-3))
        .batch(128)
        .clip_norm(1.0)
        .schedule(Schedule::cosine(12.0).warmup(1.0))
        .compile(&train)?;
    let fitted = trainer
        .fit(&train)
        .validate(&test)
        .epochs(12)
        .callback(early_stopping(lowest("val_loss")).patience(4))
        .callback(keep_best(lowest("val_loss")))
        .save_over("runs/residual_cifar")
        .each_epoch(|report| println!("{report}"))
        .run()?;
    println!("{fitted}");
    Ok(())
}
