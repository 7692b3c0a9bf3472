//! The kernels of a training step, one by one: what each computes, for which layers, and how long it takes.

use super::training::Step;
use dropforge_plan::explain::{cost, title};
use dropforge_runtime::Executable;

/// A kernel of a training step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepKernel {
    /// What it computes: a library operation, or the operations that were fused.
    pub name: String,
    /// The paths of the layers of which it computes something, forward or backward; empty for what belongs to none.
    pub layers: Vec<String>,
    /// Where the last of its operations was written: layer, file and line.
    pub place: String,
    /// What the device notes, such as the way in which it computes a product; empty if nothing.
    pub note: String,
    /// Floating-point operations, a fused multiply-add counted as two.
    pub flops: f64,
    /// Bytes that it reads and writes, each value counted once.
    pub bytes: f64,
    /// Seconds in one run, as the mean over those that were [timed](Step::start_profile); `None` where none was. 0 for
    /// what runs inside of another kernel.
    pub seconds: Option<f64>,
}

impl Step {
    /// The kernels of the training program for the largest batch so far, in the order in which they run.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let (x, y) = (Tensor::ones([8, 3]), Tensor::ones([8, 1]));
    /// let mut step = compile(seq!["head" => dense(1)], mse(), Sgd::new(0.1), (&x, &y))?;
    /// step.start_profile();
    /// step.run((&x, &y))?;
    /// let kernels = step.kernels();
    /// assert!(kernels.iter().any(|kernel| kernel.layers.contains(&"head".to_string())));
    /// assert!(kernels.iter().all(|kernel| kernel.seconds.is_some()));
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    pub fn kernels(&self) -> Vec<StepKernel> {
        self.programs().largest(kernels).unwrap_or_default()
    }
}

fn kernels(executable: &Executable) -> Vec<StepKernel> {
    let plan = executable.plan();
    // Before the first run there is a row of zeros.
    let times = executable.times().filter(|times| times.runs > 0);
    let kernel = |(index, kernel): (usize, &dropforge_plan::plan::Kernel)| {
        let mut layers: Vec<String> =
            kernel.nodes.iter().map(|&node| plan.program.node(node).origin.path.to_string()).collect();
        layers.sort_unstable();
        layers.dedup();
        layers.retain(|path| !path.is_empty());
        let work = cost(plan, kernel);
        StepKernel {
            name: title(plan, kernel),
            layers,
            place: if kernel.origin.is_unknown() { String::new() } else { kernel.origin.to_string() },
            note: executable.note(index),
            flops: work.flops,
            bytes: work.bytes,
            seconds: times.as_ref().and_then(|times| times.seconds.get(index)).copied(),
        }
    };
    plan.kernels.iter().enumerate().map(kernel).collect()
}
