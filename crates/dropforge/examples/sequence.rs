//! An LSTM and a GRU learn of sequences of several lengths whether they hold more ones than twos:
//! `cargo run --release --example sequence`.

use dropforge::nn::{Sequences, Start, gru, lstm};
use dropforge::prelude::*;

type Cell = Box<dyn Fn(&Scope, &Tensor, &Start) -> Sequences + Send + Sync>;

fn train(name: &str, cell: Cell) -> Result<()> {
    let mut generator = Generator::new(1);
    // Ones and twos, and zeros behind the end.
    let is_inside = Tensor::arange(0, 20).lt(generator.randint([512, 1], 3, 20)).cast(DType::I32);
    let x = generator.randint([512, 20], 1, 3) * is_inside;
    let count = |token: i32| x.eq(token).cast(DType::I32).sum(1);
    let y = count(1).gt(count(2)).cast(DType::I32);
    let net = move |scope: &Scope, x: &Tensor| {
        let lengths = x.gt(0).cast(DType::I32).sum(1);
        let x = scope.layer("table", &embedding(3, 8), x);
        let start = Start { lengths: Some(&lengths), ..Start::default() };
        let states = cell(&scope.enter("cell"), &x, &start);
        scope.layer("head", &dense(2), &states.hidden.at(0, 0))
    };
    let mut step = compile(net, cross_entropy(), Adam::new(0.01), (&x, &y))?;
    (0..100).try_for_each(|_| step.run((&x, &y)).map(drop))?;
    println!("{name}: {}", step.evaluate((&x, &y))?);
    Ok(())
}

fn main() -> Result<()> {
    train("lstm", Box::new(|scope, x, start| lstm(16).run(scope, x, start)))?;
    train("gru", Box::new(|scope, x, start| gru(16).run(scope, x, start)))
}
