//! Yes or no from one logit, with accuracy and F1 of each epoch: `cargo run --release --example binary`.

use dropforge::data::{Dataset, Description};
use dropforge::metric::{accuracy, ratio};
use dropforge::prelude::*;

fn main() -> Result<()> {
    let x = Generator::new(1).randn([4000, 2]);
    let inside = x.square().sum_keep(1).lt(1.4).cast(DType::F32);
    let about = Description::values("ring", &[2], &[1]);
    let (train, test) = Dataset::from_f32(about, x.to_vec()?, inside.to_vec::<f32>()?)?.split(3000)?;
    let cross_entropy_of_logits = |z: &Tensor, y: &Tensor| (z.softplus() - z * y).mean(..);
    let f1 = ratio("f1", |z: &Tensor, y: &Tensor| {
        let yes = z.gt(0.0).cast(DType::F32);
        ((&yes * y).sum(..) * 2.0, yes.sum(..) + y.sum(..))
    });
    let net = seq![dense(16), relu(), dense(1)];
    let trainer = Trainer::new(net, cross_entropy_of_logits, Adam::new(1e-2)).metric(accuracy()).metric(f1);
    println!("{}", trainer.compile(&train)?.fit(&train).validate(&test).epochs(10).run()?);
    Ok(())
}
