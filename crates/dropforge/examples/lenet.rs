//! LeNet-5 on handwritten digits, from data to a saved run: `cargo run --release --example lenet`.

use dropforge::prelude::*;

fn main() -> Result<()> {
    let (train, test) = datasets::digits(12_000, 2_000, 1);
    let net = seq![
        conv(6, 5).same(),
        relu(),
        max_pool(2),
        conv(16, 5),
        relu(),
        max_pool(2),
        flatten(),
        dense(120),
        relu(),
        dense(84),
        relu(),
        dense(10)
    ];
    let mut trainer =
        Trainer::new(net, cross_entropy(), Sgd::new(0.05).momentum(0.9)).batch(128).compile(&train)?;
    for _ in 0..5 {
        println!("{}", trainer.epoch(&train)?);
    }
    println!("{}", trainer.evaluate(&test)?);
    trainer.save("runs/example")
}
