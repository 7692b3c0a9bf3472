//! From data to a saved run: `cargo run --release --example quickstart`. Afterwards `dropforge eval runs/quickstart`
//! measures it and `dropforge predict runs/quickstart photo.png` uses it.

use dropforge::prelude::*;

fn main() -> Result<()> {
    let (train, test) = datasets::digits(12_000, 2_000, 1);
    let features = seq![conv(6, 5).same(), relu(), max_pool(2), conv(16, 5), relu(), max_pool(2)];
    let net = seq![features, flatten(), dense(120), relu(), dense(84), relu(), dense(10)];
    let trainer = Trainer::new(net, cross_entropy(), Sgd::new(0.05).momentum(0.9)).batch(128);
    let mut trainer = trainer.compile(&train)?;
    let fit = trainer.fit(&train).validate(&test).epochs(5).save("runs/quickstart");
    fit.each_epoch(|report| println!("{report}")).run()?;
    Ok(())
}
