//! Host time of a training step: what the calling thread computes per run, whatever the device does meanwhile.
//!
//! `host [steps]`; Linux only, as it reads the thread's own clock. `DROPFORGE_GPU=software` takes the software renderer.

use dropforge::prelude::{Adam, Sgd, StepBuilder, cross_entropy};
use dropforge::{Array, Data, Runtime, models};
use dropforge_plan::Device;
use dropforge_wgpu::{Choice, WgpuDevice};
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Nanoseconds that this thread has computed.
fn computed() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("no number")?.parse()?)
}

fn main() -> Outcome<()> {
    let steps = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(300);
    let software = std::env::var("DROPFORGE_GPU").as_deref() == Ok("software");
    let device = Arc::new(WgpuDevice::new(if software { Choice::Software } else { Choice::Best })?);
    println!("on {}", device.name());
    let tiny = StepBuilder::new(models::tinycnn(2), cross_entropy(), Sgd::new(0.01));
    measure(&device, "tinycnn", tiny, &[2, 3, 8, 8], steps)?;
    let mlp = StepBuilder::new(models::mlp(10), cross_entropy(), Adam::new(1e-3));
    measure(&device, "mlp", mlp, &[4, 64], steps)
}

fn measure(
    device: &Arc<WgpuDevice>,
    name: &str,
    builder: StepBuilder,
    input: &[usize],
    steps: u32,
) -> Outcome<()> {
    let runtime = Runtime::new(Arc::clone(device) as Arc<dyn Device>);
    let count: usize = input.iter().product();
    let inputs = Data::F32((0..count).map(|i| ((i * 2654435761) % 2003) as f32 / 1000.0 - 1.0).collect());
    let inputs = Array::new(input.to_vec(), inputs).ok_or("sizes")?;
    let targets = Array::new([input[0]], Data::I32(vec![1; input[0]])).ok_or("sizes")?;
    let mut step = builder.runtime(&runtime).compile(&inputs.ty(), &targets.ty())?;
    let batch = dropforge::compile::Batched { inputs: Arc::new(inputs), targets: Arc::new(targets) };
    for _ in 0..20 {
        step.run(&batch)?.loss()?;
    }
    for round in 0..3 {
        let (start, before) = (Instant::now(), computed()?);
        let mut late = None;
        for number in 0..steps {
            let outcome = step.run(&batch)?;
            if number % 10 == 0
                && let Some(before) = late.replace(outcome)
            {
                before.loss()?;
            }
        }
        let each = (computed()? - before) / f64::from(steps) / 1e3;
        device.synchronize()?;
        let wall = start.elapsed().as_secs_f64() * 1e6 / f64::from(steps);
        println!("{name} round {round}: {each:.1} µs on the host, {wall:.1} µs a step");
    }
    Ok(())
}
