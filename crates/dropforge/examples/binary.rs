//! Yes or no from one logit, with accuracy, F1 and AUC of each epoch: `cargo run --release --example binary`.

use dropforge::data::{Dataset, Description};
use dropforge::loss::bce_with_logits;
use dropforge::metric::{accuracy, auc, f1};
use dropforge::prelude::*;

fn main() -> Result<()> {
    let x = Generator::new(1).randn([4000, 2]);
    let inside = x.square().sum_keep(1).lt(1.4).cast(DType::F32);
    let about = Description::values("ring", &[2], &[1]);
    let (train, test) = Dataset::from_f32(about, x.to_vec()?, inside.to_vec::<f32>()?)?.split(3000)?;
    let trainer = Trainer::new(seq![dense(16), relu(), dense(1)], bce_with_logits(), Adam::new(1e-2));
    let mut trainer = trainer.metric(accuracy()).metric(f1()).metric(auc()).compile(&train)?;
    let fit = trainer.fit(&train).validate(&test).epochs(10);
    println!("{}", fit.each_epoch(|report| println!("{report}")).run()?);
    Ok(())
}
