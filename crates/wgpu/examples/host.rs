//! Host time of a training step: how long `run` takes to prepare, encode and submit it.
//!
//! `host [samples]`. The device is idle before each sample, so that a renderer on the same cores does not disturb; the
//! median is printed, and the least. `DROPFORGE_GPU=software` takes the software renderer.

use dropforge::prelude::{Adam, Sgd, StepBuilder, cross_entropy};
use dropforge::{Array, Data, Runtime, models};
use dropforge_runtime::Device;
use dropforge_wgpu::{Choice, WgpuDevice};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let samples = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let software = std::env::var("DROPFORGE_GPU").as_deref() == Ok("software");
    let device = Arc::new(WgpuDevice::new(if software { Choice::Software } else { Choice::Best })?);
    println!("on {}", device.name());
    let tiny = StepBuilder::new(models::tinycnn(2), cross_entropy(), Sgd::new(0.01));
    measure(&device, "tinycnn", tiny, &[2, 3, 8, 8], samples)?;
    let lenet = StepBuilder::new(models::lenet(10), cross_entropy(), Adam::new(1e-3));
    measure(&device, "lenet", lenet, &[2, 1, 28, 28], samples)
}

fn measure(
    device: &Arc<WgpuDevice>,
    name: &str,
    builder: StepBuilder,
    input: &[usize],
    samples: usize,
) -> Outcome<()> {
    let runtime = Runtime::new(Arc::clone(device) as Arc<dyn Device>);
    let count: usize = input.iter().product();
    let inputs = Data::F32((0..count).map(|i| ((i * 2654435761) % 2003) as f32 / 1000.0 - 1.0).collect());
    let inputs = Array::new(input.to_vec(), inputs).ok_or("sizes")?;
    let targets = Array::new([input[0]], Data::I32(vec![1; input[0]])).ok_or("sizes")?;
    let mut step = builder.runtime(&runtime).compile(&inputs.ty(), &targets.ty())?;
    let batch = dropforge::step::Batch::from((inputs, targets));
    let mut times: Vec<Duration> = Vec::new();
    let mut late = None;
    for _ in 0..samples + 20 {
        device.synchronize()?;
        let start = Instant::now();
        let outcome = step.run(&batch)?;
        times.push(start.elapsed());
        late = Some(outcome);
    }
    let loss = late.ok_or("no samples")?.loss()?;
    times.drain(..20);
    times.sort_unstable();
    let dispatches: usize = step.explain().iter().map(|(_, text)| text.matches("workgroups").count()).sum();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "{name}: {dispatches} kernels, {:.1} µs on the host (least {:.1}), loss {loss:.3}",
        micros(times[times.len() / 2]),
        micros(times[0])
    );
    Ok(())
}
