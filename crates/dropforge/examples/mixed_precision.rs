//! The same network in f32, bf16 and f16: `cargo run --release --example mixed_precision`.

use dropforge::prelude::*;

fn main() -> Result<()> {
    let (train, test) = datasets::digits(6_000, 1_000, 1);
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let net = seq![conv(8, 5), relu(), max_pool(2), flatten(), dense(64), relu(), dense(10)];
        let trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-3)).precision(precision);
        let mut trainer = trainer.compile(&train)?;
        trainer.fit(&train).validate(&test).epochs(2).run()?;
        println!("{precision}: {}", trainer.history()[1]);
    }
    Ok(())
}
