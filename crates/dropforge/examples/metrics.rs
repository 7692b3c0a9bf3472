//! Metrics of one's own beside the usual one, exact over an epoch: precision and recall of each class:
//! `cargo run --release --example metrics`.

use dropforge::metric::{accuracy, ratio};
use dropforge::prelude::*;

fn main() -> Result<()> {
    let (train, test) = datasets::digits(3_000, 1_000, 1);
    let net = seq![flatten(), dense(32), relu(), dense(10)];
    let mut builder = Trainer::new(net, cross_entropy(), Adam::new(3e-3)).metric(accuracy());
    let count = |of: Tensor| of.cast(DType::I32).sum(..);
    for class in 0..10 {
        let right = move |p: &Tensor, t: &Tensor| count(p.argmax(1).eq(class).logical_and(t.eq(class)));
        let of_found = move |p: &Tensor, t: &Tensor| (right(p, t), count(p.argmax(1).eq(class)));
        let of_all = move |p: &Tensor, t: &Tensor| (right(p, t), count(t.eq(class)));
        builder = builder.metric(ratio(format!("precision of {class}"), of_found));
        builder = builder.metric(ratio(format!("recall of {class}"), of_all));
    }
    let mut trainer = builder.compile(&train)?;
    println!("{}", trainer.fit(&train).validate(&test).epochs(3).run()?);
    Ok(())
}
