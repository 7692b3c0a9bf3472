//! A layer, a loss and a training loop of one's own: `cargo run --release --example own_loop`.

use dropforge::prelude::*;

/// A dense layer whose outputs compete: they are scaled to length 1.
fn on_the_sphere(scope: &Scope, x: &Tensor) -> Tensor {
    let y = scope.layer("dense", &dense(16), x);
    let length = (y.square().sum_keep(-1) + 1e-6).sqrt();
    y / length
}

/// The absolute error, smooth near zero (log-cosh).
fn soft_absolute(prediction: &Tensor, target: &Tensor) -> Tensor {
    let error = prediction - target;
    (&error + (&error * -2.0).softplus() - std::f32::consts::LN_2).mean(..)
}

fn main() -> Result<()> {
    let mut generator = Generator::new(1);
    let x = generator.rand([256, 2]);
    let y = (x.slice(1, 0..1) * 6.0).sin() * x.slice(1, 1..2);
    let net = seq![dense(32), tanh(), on_the_sphere, dense(1)];
    let mut step = compile(net, soft_absolute, Adam::new(0.02), (&x, &y))?;
    for number in 0..=500 {
        let outcome = step.run((&x, &y))?;
        if number % 100 == 0 {
            println!("step {number}: loss {:.5}", outcome.loss()?);
        }
        // The rate is an input of the compiled step: changing it compiles nothing.
        step.set_learning_rate(0.02 * 0.998f64.powi(number))?;
    }
    Ok(())
}
