//! Traces of steps as Chrome (chrome://tracing), Perfetto and speedscope read them: the "trace event format", JSON.

use crate::output::{Outcome, OutputFile};
use dropforge::step::{MemoryBlock, StepKernel};
use dropforge::train::{Callback, Control, EpochReport, Phases};
use serde_json::{Value, json};

/// The steps whose phases are shown.
const MOST_STEPS: usize = 200;
/// Numbers of the two groups of rows.
const HOST: u32 = 1;
const DEVICE: u32 = 2;

/// Gathers what the host does at the first steps of a training.
#[derive(Default)]
pub struct Timeline {
    last: Phases,
    /// Microseconds since the start.
    now: f64,
    steps: usize,
    events: Vec<Value>,
}

impl Timeline {
    fn add(&mut self, name: &str, seconds: f64, step: u64) {
        let took = seconds.max(0.0) * 1e6;
        let args = json!({ "step": step });
        self.events.push(json!({
            "name": name, "ph": "X", "pid": HOST, "tid": 1, "ts": self.now, "dur": took, "args": args,
        }));
        self.now += took;
    }
}

impl Callback for Timeline {
    fn name(&self) -> String {
        "timeline".into()
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    fn on_epoch_start(&mut self, _: &mut Control<'_>) -> dropforge::Result<()> {
        self.last = Phases::default();
        Ok(())
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> dropforge::Result<()> {
        if self.steps == MOST_STEPS {
            return Ok(());
        }
        self.steps += 1;
        let (step, now, last) = (control.progress().step, control.progress().phases, self.last);
        // What callbacks took is known a step later.
        for (name, seconds) in [
            ("callbacks", now.callbacks - last.callbacks),
            ("waiting for data", now.data - last.data),
            ("step", now.step - last.step),
        ] {
            if seconds > 0.0 {
                self.add(name, seconds, step);
            }
        }
        self.last = now;
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, _: &mut Control<'_>) -> dropforge::Result<()> {
        if let Some(validation) = report.validation.as_ref().filter(|_| self.steps < MOST_STEPS) {
            self.add("validation", validation.seconds, report.step);
        }
        Ok(())
    }
}

/// Writes a trace: the kernels of one step, each as long as it takes in the mean, the memory of intermediate values
/// meanwhile, and what the host did.
pub fn write(
    file: &OutputFile<'_>,
    kernels: &[StepKernel],
    memory: &[MemoryBlock],
    timeline: &Timeline,
) -> Outcome {
    let named = |pid: u32, name: &str| json!({ "name": "process_name", "ph": "M", "pid": pid, "args": { "name": name } });
    let mut events = vec![named(DEVICE, "kernels of a step, mean times")];
    if !timeline.events.is_empty() {
        events.push(named(HOST, "host, first steps"));
        events.extend(timeline.events.iter().cloned());
    }
    let mut now = 0.0;
    for (index, kernel) in kernels.iter().enumerate() {
        let used = memory.iter().filter(|block| (block.first..=block.last).contains(&index));
        let bytes: usize = used.map(|block| block.bytes).sum();
        events.push(json!({
            "name": "memory of intermediate values", "ph": "C", "pid": DEVICE, "ts": now, "args": { "bytes": bytes },
        }));
        let took = kernel.seconds.unwrap_or(0.0) * 1e6;
        let rate = |amount: f64| if took > 0.0 { amount / (took * 1e3) } else { 0.0 };
        events.push(json!({
            "name": kernel.name, "cat": kernel.layers.first().map_or("step", String::as_str), "ph": "X",
            "pid": DEVICE, "tid": 1, "ts": now, "dur": took,
            "args": {
                "kernel": index, "layers": kernel.layers, "place": kernel.place, "note": kernel.note,
                "flops": kernel.flops, "bytes": kernel.bytes, "GFLOP/s": rate(kernel.flops), "GB/s": rate(kernel.bytes),
            },
        }));
        now += took;
    }
    let trace = json!({ "displayTimeUnit": "ms", "traceEvents": events });
    file.write(trace.to_string())
}
