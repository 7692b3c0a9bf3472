//! `dropforge bench`: training speed on standard workloads, the same as those of the peers it is compared with.

use crate::args::Bench;
use crate::machine;
use crate::output::{Outcome, OutputFile, count, line};
use crate::overhead;
use crate::trace::{self, Timeline};
use crate::workloads::{NAMES, Task, Workload, workload};
use dropforge::Runtime;
use dropforge::file::FileKind;
use dropforge::step::{Batch, NetworkBuilder, Precision, Step, StepBuilder};
use serde_json::json;
use std::time::Instant;

/// Steps before the clock starts, the first one apart.
const WARM_UP: usize = 5;
/// Steps between two readings of the loss, at most, and how long one is not read.
const UNREAD: usize = 10;
const UNREAD_SECONDS: f64 = 0.05;

/// Steps whose kernels are timed for `--profile`.
const PROFILED: usize = 50;

pub fn run(args: &Bench) -> Outcome {
    let runtime = machine::open(&args.machine, machine::DEFAULT)?;
    let is_gpu = runtime.device().is_gpu();
    let workload = workload(&args.workload, is_gpu)
        .ok_or_else(|| format!("unknown workload `{}`; known are {}", args.workload, NAMES.join(", ")))?;
    if !(args.seconds.is_finite() && args.seconds >= 0.0) {
        return Err(format!("--seconds is {}, it must be 0 or more", args.seconds).into());
    }
    let traced = args.trace.as_deref().map(|path| OutputFile::new(path, FileKind::Trace)).transpose()?;
    let precision = machine::chosen(args.dtype, &runtime);
    let samples = args.batch.map_or(workload.batch, usize::from);
    if args.overhead {
        return overhead::run(args, precision, samples, &runtime);
    }
    let batch = data(&workload.task, samples, &runtime)?;
    if args.inference {
        return predictions(args, precision, workload, &batch, samples, &runtime);
    }
    let started = Instant::now();
    let mut step = compile(workload, &batch, precision, args.clip_norm, &runtime)?;
    let compile_ms = started.elapsed().as_secs_f64() * 1e3;
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
        line(json!({
            "workload": args.workload, "device": runtime.device().name(), "dtype": precision.name(),
            "steps_per_s": steps_per_s, "samples_per_s": steps_per_s * samples as f64,
            "first_loss": first_loss, "last_loss": last_loss,
            "peak_bytes": peak, "arena_bytes": arena, "resident_bytes": resident_bytes(), "compile_ms": compile_ms,
        }))?;
    } else {
        line(format_args!(
            "{}: {steps_per_s:.2} steps/s, {:.1} samples/s, loss {first_loss:.4} -> {last_loss:.4}, {} bytes, compiled in \
         {compile_ms:.1} ms",
            args.workload,
            steps_per_s * samples as f64,
            count(peak as u64)
        ))?;
    }
    if args.profile || args.trace.is_some() {
        step.start_profile();
        for _ in 0..PROFILED {
            step.run(&batch)?;
        }
    }
    if let Some(file) = &traced {
        trace::write(file, &step.kernels(), &step.memory_blocks(), &Timeline::default())?;
    }
    if args.profile {
        let memory = runtime.memory();
        for (_, listing) in step.profile() {
            line(listing)?;
        }
        machine::print_memory(false, memory)?;
    }
    Ok(())
}

/// How long single predictions take, results on the host included.
fn predictions(
    args: &Bench,
    precision: Precision,
    workload: Workload,
    batch: &Batch,
    samples: usize,
    runtime: &Runtime,
) -> Outcome {
    let mut network =
        NetworkBuilder::new(workload.net).precision(precision).runtime(runtime).compile_for(batch)?;
    for _ in 0..WARM_UP {
        network.predict(batch)?.to_array()?;
    }
    let (started, mut times) = (Instant::now(), Vec::new());
    let seconds = loop {
        let begin = Instant::now();
        network.predict(batch)?.to_array()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        let seconds = started.elapsed().as_secs_f64();
        if seconds > args.seconds {
            break seconds;
        }
    };
    let samples_per_s = (times.len() * samples) as f64 / seconds;
    times.sort_by(f64::total_cmp);
    let percentile = |part: usize| times[times.len() * part / 100];
    let (p50_ms, p99_ms) = (percentile(50), percentile(99));
    let arena = network.compilations().iter().map(|compiled| compiled.peak_bytes).max().unwrap_or(0);
    if args.json {
        return line(json!({
            "workload": args.workload, "device": runtime.device().name(), "dtype": precision.name(), "batch": samples,
            "samples_per_s": samples_per_s, "p50_ms": p50_ms, "p99_ms": p99_ms,
            "peak_bytes": arena + network.states().bytes(), "arena_bytes": arena, "resident_bytes": resident_bytes(),
        }));
    }
    line(format_args!(
        "{}: {samples_per_s:.1} samples/s predicted in batches of {samples}, {p50_ms:.3} ms each, {p99_ms:.3} ms at the \
         99th percentile",
        args.workload
    ))?;
    if args.profile {
        network.start_profile();
        for _ in 0..PROFILED {
            network.predict(batch)?.to_array()?;
        }
        for (_, listing) in network.profile() {
            line(listing)?;
        }
    }
    Ok(())
}

/// One batch of random inputs with their targets, the same each time; on a GPU it stays there, as those of the peers
/// do.
fn data(task: &Task, samples: usize, runtime: &Runtime) -> Outcome<Batch> {
    let (inputs, targets) = task.data(samples);
    runtime.evaluate(&[&inputs, &targets])?;
    if runtime.device().is_gpu() {
        return Ok(Batch::from((inputs, targets)));
    }
    Ok(Batch::from((inputs.to_array()?, targets.to_array()?)))
}

fn compile(
    workload: Workload,
    batch: &Batch,
    precision: Precision,
    clip_norm: Option<f64>,
    runtime: &Runtime,
) -> Outcome<Step> {
    let step = StepBuilder::new(workload.net, workload.task.loss(), workload.optimizer);
    let mut step = step.precision(precision).runtime(runtime);
    if let Some(limit) = clip_norm {
        step = step.clip_norm(limit);
    }
    Ok(step.compile_for(batch)?)
}

/// The most memory that this process has had, where the system says so.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
