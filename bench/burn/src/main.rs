//! Training speed of burn on the workloads of `dropforge bench`, for the comparison with its wgpu backend.
//!
//! ```text
//! cargo build --release                     # shaders as WGSL, burn's `wgpu` backend
//! cargo build --release --features vulkan   # shaders as SPIR-V, burn's `vulkan` backend
//! target/release/burn-bench NAME --seconds S
//! ```
//!
//! NAME is one of tinycnn, tinycnn-adam, mlp, lenet, catsdogs, resnet18-b32, resnet18-b512 and gpt-char. Prints one
//! line of JSON: the workload, the steps per second, the first loss and the last one; the adapter's name goes to
//! standard error. `CUBECL_WGPU_DEFAULT_DEVICE` (say, `DiscreteGpu(0)` or `Cpu`) chooses among adapters.
//!
//! As in `dropforge bench`, each step takes its batch from the host, every parameter trains, and the loss is read back
//! every ten steps. The clock starts after at least five steps and two seconds, when burn has chosen its kernels.

mod data;
mod models;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, DeviceKind, Int, Tensor, TensorData};
use data::Generator;
use models::{CatsDogs, Gpt, LeNet, Mlp, Network, ResNet18, TinyCnn};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Steps before the clock starts, at least.
const WARM_UP: usize = 5;
/// How long to step before the clock starts, at least.
const WARM_UP_TIME: Duration = Duration::from_secs(2);
/// Steps between two readings of the loss.
const UNREAD: usize = 10;

/// Inputs and classes on the host.
struct Batch {
    inputs: TensorData,
    targets: TensorData,
}

struct Run {
    device: Device,
    seconds: f64,
}

struct Measured {
    steps_per_s: f64,
    first_loss: f32,
    last_loss: f32,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut name, mut seconds) = (None, 3.0);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let value = args.next().ok_or("--seconds needs a number")?;
                seconds =
                    value.parse().map_err(|_| format!("--seconds is `{value}`, it must be a number"))?;
            }
            _ if name.is_none() && !arg.starts_with('-') => name = Some(arg),
            _ => return Err(format!("unexpected argument `{arg}`")),
        }
    }
    let name = name.ok_or("usage: burn-bench NAME [--seconds S]")?;
    let run = Run { device: device().autodiff(), seconds };
    if let Some(identity) = run.device.identity() {
        eprintln!("{}", identity.name);
    }
    let measured = run.workload(&name).ok_or_else(|| format!("unknown workload `{name}`"))?;
    println!(
        "{}",
        json!({
            "workload": name, "steps_per_s": measured.steps_per_s,
            "first_loss": measured.first_loss, "last_loss": measured.last_loss,
        })
    );
    Ok(())
}

fn device() -> Device {
    #[cfg(feature = "vulkan")]
    return Device::vulkan(DeviceKind::DefaultDevice);
    #[cfg(not(feature = "vulkan"))]
    Device::wgpu(DeviceKind::DefaultDevice)
}

impl Run {
    fn workload(&self, name: &str) -> Option<Measured> {
        let device = &self.device;
        let sgd = || (SgdConfig::new().init(), 1e-2);
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let sgd_momentum = || (SgdConfig::new().with_momentum(Some(momentum)).init(), 1e-2);
        let adam = || (AdamConfig::new().with_epsilon(1e-8).init(), 1e-3);
        let adamw = || (AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1).init(), 3e-4);
        Some(match name {
            "tinycnn" => self.measure(TinyCnn::new(2, device), sgd(), images(&[32, 3, 32, 32], 2)),
            "tinycnn-adam" => self.measure(TinyCnn::new(2, device), adam(), images(&[32, 3, 32, 32], 2)),
            "mlp" => self.measure(Mlp::new(10, device), adam(), images(&[128, 784], 10)),
            "lenet" => self.measure(LeNet::new(10, device), sgd_momentum(), images(&[128, 1, 28, 28], 10)),
            "catsdogs" => self.measure(CatsDogs::new(2, device), adam(), images(&[32, 3, 64, 64], 2)),
            "resnet18-b32" => {
                self.measure(ResNet18::new(10, device), sgd_momentum(), images(&[32, 3, 32, 32], 10))
            }
            "resnet18-b512" => {
                self.measure(ResNet18::new(10, device), sgd_momentum(), images(&[512, 3, 32, 32], 10))
            }
            "gpt-char" => self.measure(Gpt::new(65, 256, 384, 6, 6, device), adamw(), tokens(&[64, 256], 65)),
            _ => return None,
        })
    }

    fn measure<N: Network>(
        &self,
        net: N,
        (optimizer, rate): (ModuleOptimizer, f64),
        batch: Batch,
    ) -> Measured {
        let mut training = Training { net: Some(net), optimizer, rate, batch, device: self.device.clone() };
        let first_loss = training.step().into_scalar();
        let (started, mut steps) = (Instant::now(), 0);
        while steps < WARM_UP || started.elapsed() < WARM_UP_TIME {
            training.round();
            steps += UNREAD;
        }
        let (started, mut steps) = (Instant::now(), 0);
        loop {
            let last_loss = training.round();
            steps += UNREAD;
            let seconds = started.elapsed().as_secs_f64();
            if seconds > self.seconds {
                return Measured { steps_per_s: steps as f64 / seconds, first_loss, last_loss };
            }
        }
    }
}

struct Training<N> {
    /// Absent only while the optimizer has it.
    net: Option<N>,
    optimizer: ModuleOptimizer,
    rate: f64,
    batch: Batch,
    device: Device,
}

impl<N: Network> Training<N> {
    /// The steps from one reading of the loss to the next.
    fn round(&mut self) -> f32 {
        for _ in 1..UNREAD {
            self.step();
        }
        self.step().into_scalar()
    }

    fn step(&mut self) -> Tensor<1> {
        let net = self.net.take().expect("the network is there between steps");
        let targets = Tensor::<1, Int>::from_data(self.batch.targets.clone(), &self.device);
        let scores = net.scores(self.batch.inputs.clone(), &self.device);
        let loss = CrossEntropyLossConfig::new().init(&self.device).forward(scores, targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        self.net = Some(self.optimizer.step(self.rate, net, gradients));
        loss
    }
}

/// Normally distributed inputs of this shape, whose first axis is the batch.
fn images(shape: &[usize], classes: usize) -> Batch {
    let mut generator = Generator::new(0);
    let inputs = TensorData::new(generator.normals(shape.iter().product()), shape);
    let targets = TensorData::new(generator.integers(shape[0], classes), [shape[0]]);
    Batch { inputs, targets }
}

fn tokens(shape: &[usize], vocabulary: usize) -> Batch {
    let (mut generator, count) = (Generator::new(0), shape.iter().product());
    let inputs = TensorData::new(generator.integers(count, vocabulary), shape);
    let targets = TensorData::new(generator.integers(count, vocabulary), [count]);
    Batch { inputs, targets }
}
