//! `dropforge bench`: training speed on standard workloads, the same as those of the peers it is compared with.

use crate::args::Bench;
use crate::machine;
use crate::output::{Outcome, count, line};
use dropforge::loss::{Loss, cross_entropy};
use dropforge::models::{GptOptions, catsdogs, gpt, lenet, mlp, resnet18, tinycnn};
use dropforge::nn::Layer;
use dropforge::optim::{Adam, AdamW, Optimizer, Sgd};
use dropforge::step::{Batch, Step, StepBuilder};
use dropforge::{Generator, Runtime, Tensor};
use serde_json::json;
use std::time::Instant;

const NAMES: [&str; 9] = [
    "tinycnn",
    "tinycnn-adam",
    "mlp",
    "lenet",
    "catsdogs",
    "resnet18-b32",
    "resnet18-b512",
    "gpt-char",
    "gpt2-124m",
];

/// Steps before the clock starts, the first one apart.
const WARM_UP: usize = 5;
/// Steps between two readings of the loss, at most, and how long one is not read.
const UNREAD: usize = 10;
const UNREAD_SECONDS: f64 = 0.05;

/// Steps whose kernels are timed for `--profile`.
const PROFILED: usize = 50;

struct Workload {
    net: Box<dyn Layer>,
    optimizer: Box<dyn Optimizer>,
    inputs: Inputs,
    batch: usize,
    classes: usize,
}

enum Inputs {
    /// Normally distributed numbers in samples of this shape.
    Images(Vec<usize>),
    /// Sequences of this many tokens.
    Tokens(usize),
}

pub fn run(args: &Bench) -> Outcome {
    let runtime = machine::open(&args.machine, machine::DEFAULT)?;
    let is_gpu = runtime.device().is_gpu();
    let mut workload = workload(&args.workload, is_gpu)
        .ok_or_else(|| format!("unknown workload `{}`; known are {}", args.workload, NAMES.join(", ")))?;
    if args.dtype != "f32" {
        return Err(format!("the number format `{}` is not available; f32 is", args.dtype).into());
    }
    if !(args.seconds.is_finite() && args.seconds >= 0.0) {
        return Err(format!("--seconds is {}, it must be 0 or more", args.seconds).into());
    }
    workload.batch = args.batch.map_or(workload.batch, usize::from);
    let samples = workload.batch;
    let batch = workload.data(&runtime)?;
    let started = Instant::now();
    let mut step = workload.compile(&batch, args.clip_norm, &runtime)?;
    let compile_ms = started.elapsed().as_secs_f64() * 1e3;
    if args.inference {
        return predictions(args, &mut step, &batch, samples);
    }
    let first_loss = step.run(&batch)?.loss()?;
    for _ in 0..WARM_UP {
        step.run(&batch)?;
    }
    let (started, mut steps) = (Instant::now(), 0);
    let (last_loss, seconds) = loop {
        let (begin, first) = (Instant::now(), steps);
        let loss = loop {
            let outcome = step.run(&batch)?;
            steps += 1;
            if steps - first == UNREAD || begin.elapsed().as_secs_f64() > UNREAD_SECONDS {
                break outcome.loss()?;
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        if seconds > args.seconds {
            break (loss, seconds);
        }
    };
    let steps_per_s = steps as f64 / seconds;
    let arena = step.network().compilations().iter().map(|compiled| compiled.peak_bytes).max().unwrap_or(0);
    let peak = arena + step.states().bytes();
    if args.json {
        return line(json!({
            "workload": args.workload, "device": runtime.device().name(), "dtype": args.dtype,
            "steps_per_s": steps_per_s, "samples_per_s": steps_per_s * samples as f64,
            "first_loss": first_loss, "last_loss": last_loss,
            "peak_bytes": peak, "arena_bytes": arena, "resident_bytes": resident_bytes(), "compile_ms": compile_ms,
        }));
    }
    line(format_args!(
        "{}: {steps_per_s:.2} steps/s, {:.1} samples/s, loss {first_loss:.4} -> {last_loss:.4}, {} bytes, compiled in \
         {compile_ms:.1} ms",
        args.workload,
        steps_per_s * samples as f64,
        count(peak as u64)
    ))?;
    if args.profile {
        step.start_profile();
        for _ in 0..PROFILED {
            step.run(&batch)?;
        }
        let memory = runtime.memory();
        for (_, listing) in step.profile() {
            line(listing)?;
        }
        machine::print_memory(false, memory)?;
    }
    Ok(())
}

/// Predictions per second, results on the host included.
fn predictions(args: &Bench, step: &mut Step, batch: &Batch, samples: usize) -> Outcome {
    for _ in 0..WARM_UP {
        step.predict(batch)?.to_array()?;
    }
    let (started, mut runs) = (Instant::now(), 0);
    let seconds = loop {
        step.predict(batch)?.to_array()?;
        runs += 1;
        let seconds = started.elapsed().as_secs_f64();
        if seconds > args.seconds {
            break seconds;
        }
    };
    line(format_args!(
        "{}: {:.1} samples/s predicted in batches of {samples}",
        args.workload,
        (runs * samples) as f64 / seconds
    ))
}

/// The workload of this name. The transformer is larger on a GPU, where there is more to compute with.
fn workload(name: &str, is_gpu: bool) -> Option<Workload> {
    let images = |net: Box<dyn Layer>, optimizer: Box<dyn Optimizer>, shape: &[usize], batch, classes| {
        Some(Workload { net, optimizer, inputs: Inputs::Images(shape.to_vec()), batch, classes })
    };
    let momentum = || Box::new(Sgd::new(1e-2).momentum(0.9));
    let transformer = |options: GptOptions, batch| {
        let optimizer = Box::new(AdamW::new(3e-4).weight_decay(0.1));
        let (inputs, classes) = (Inputs::Tokens(options.context), options.vocabulary);
        Some(Workload { net: Box::new(gpt(options)), optimizer, inputs, batch, classes })
    };
    match name {
        "tinycnn" => images(Box::new(tinycnn(2)), Box::new(Sgd::new(1e-2)), &[3, 32, 32], 32, 2),
        "tinycnn-adam" => images(Box::new(tinycnn(2)), Box::new(Adam::new(1e-3)), &[3, 32, 32], 32, 2),
        "mlp" => images(Box::new(mlp(10)), Box::new(Adam::new(1e-3)), &[784], 128, 10),
        "lenet" => images(Box::new(lenet(10)), momentum(), &[1, 28, 28], 128, 10),
        "catsdogs" => images(Box::new(catsdogs(2)), Box::new(Adam::new(1e-3)), &[3, 64, 64], 32, 2),
        "resnet18-b32" => images(Box::new(resnet18(10)), momentum(), &[3, 32, 32], 32, 10),
        "resnet18-b512" => images(Box::new(resnet18(10)), momentum(), &[3, 32, 32], 512, 10),
        "gpt-char" if !is_gpu => {
            transformer(GptOptions { vocabulary: 65, context: 128, width: 128, heads: 4, layers: 4 }, 16)
        }
        "gpt-char" => {
            transformer(GptOptions { vocabulary: 65, context: 256, width: 384, heads: 6, layers: 6 }, 64)
        }
        "gpt2-124m" => {
            let options = GptOptions { vocabulary: 50304, context: 1024, width: 768, heads: 12, layers: 12 };
            transformer(options, 16)
        }
        _ => None,
    }
}

impl Workload {
    /// One batch of random inputs and classes, the same each time.
    fn data(&self, runtime: &Runtime) -> Outcome<Batch> {
        let mut generator = Generator::new(0);
        let mut tokens = |shape: &[usize]| generator.randint(shape, 0, self.classes as i32);
        let (inputs, targets) = match &self.inputs {
            Inputs::Tokens(time) => (tokens(&[self.batch, *time]), tokens(&[self.batch, *time])),
            Inputs::Images(shape) => {
                let targets = tokens(&[self.batch]);
                (generator.randn([&[self.batch], shape.as_slice()].concat()), targets)
            }
        };
        runtime.evaluate(&[&inputs, &targets])?;
        Ok(Batch::from((inputs.to_array()?, targets.to_array()?)))
    }

    fn compile(self, batch: &Batch, clip_norm: Option<f64>, runtime: &Runtime) -> Outcome<Step> {
        let classes = self.classes;
        // The scores of all tokens of all sequences count alike.
        let loss = move |scores: &Tensor, targets: &Tensor| match scores.rank() {
            3 => cross_entropy().loss(&scores.reshape([-1, classes as isize]), &targets.reshape([-1])),
            _ => cross_entropy().loss(scores, targets),
        };
        let mut step = StepBuilder::new(self.net, loss, self.optimizer).runtime(runtime);
        if let Some(limit) = clip_norm {
            step = step.clip_norm(limit);
        }
        Ok(step.compile_for(batch)?)
    }
}

/// The most memory that this process has had, where the system says so.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
