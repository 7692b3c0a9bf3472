//! A layer with a parameter of its own, and a loss of one's own, in a loop of one's own:
//! `cargo run --release --example own_layer`.

use dropforge::prelude::*;

/// A dense layer whose outputs are scaled to length 1 and then by a factor that is learned.
fn on_a_sphere(scope: &Scope, x: &Tensor) -> Tensor {
    let y = scope.layer("dense", &dense(16), x);
    let radius = scope.parameter("radius", [1], Init::constant(1.0));
    let length = (y.square().sum_keep(-1) + 1e-6).sqrt();
    y / length * radius
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
    let net = seq![dense(32), tanh(), "sphere" => on_a_sphere, dense(1)];
    let mut step = compile(net, soft_absolute, Adam::new(0.02), (&x, &y))?;
    for _ in 0..500 {
        step.run((&x, &y))?;
    }
    println!("{}; radius {:?}", step.evaluate((&x, &y))?, step.states().read("sphere.radius")?);
    Ok(())
}
