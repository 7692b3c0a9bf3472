//! How long compiling the training step of a deep network takes: dense layers of width 16 with a ReLU each, by Adam.
//!
//! `cargo run --release -p dropforge-cli --example compile_speed -- 250 500 1000 2000`

use dropforge::prelude::*;
use dropforge::step::StepBuilder;
use std::time::Instant;

fn main() -> dropforge::Result<()> {
    let depths: Vec<usize> = std::env::args().skip(1).filter_map(|depth| depth.parse().ok()).collect();
    let (x, y) = (Tensor::zeros([8, 16]), Tensor::from_vec(vec![0; 8], [8]));
    for depth in depths {
        let mut least = f64::INFINITY;
        for _ in 0..3 {
            let net = move |scope: &Scope, x: &Tensor| {
                (0..depth).fold(x.clone(), |x, layer| scope.layer(&layer.to_string(), &dense(16), &x).relu())
            };
            let start = Instant::now();
            StepBuilder::new(net, cross_entropy(), Adam::new(1e-3)).compile_for((&x, &y))?;
            least = least.min(start.elapsed().as_secs_f64());
        }
        println!("{depth:5} layers: {:7.1} ms", least * 1e3);
    }
    Ok(())
}
