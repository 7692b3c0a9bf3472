//! Samples of one's own, from a type that reads lazily and from plain vectors:
//! `cargo run --release --example own_source`. Functions and iterators are sources too: `data::from_fn`,
//! `data::from_iter`.

use dropforge::data::{Description, Request, Sample, Source, from_records};
use dropforge::prelude::*;

/// Points on a line; each is computed when it is read.
struct Line(Description);

impl Source for Line {
    fn description(&self) -> &Description {
        &self.0
    }
    fn len(&self) -> Option<usize> {
        Some(2000)
    }
    fn read(&self, request: &Request, sample: &mut Sample) -> dropforge::data::Result<()> {
        // Other points in every epoch, and the same ones whatever the number of threads.
        let x = request.random(0).between(-1.0, 1.0);
        sample.write("input", &[x])?;
        sample.write("target", &[2.0 * x + 1.0])
    }
}

fn main() -> Result<()> {
    let lazy = std::sync::Arc::new(Line(Description::values("line", &[1], &[1])));
    let vectors = from_records(vec![([0.0], [1.0]), ([0.5], [2.0]), ([1.0], [3.0])])?;
    let mut trainer = Trainer::new(dense(1), mse(), Sgd::new(0.5)).compile(&lazy)?;
    println!("{}", trainer.epoch(&lazy)?);
    println!("{}", trainer.evaluate(&vectors)?);
    Ok(())
}
