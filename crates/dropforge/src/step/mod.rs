//! From a network to programs that run: a training step, evaluation and prediction over the same states.

mod anomaly;
mod batch;
mod build;
mod builder;
mod change;
mod check;
mod evaluation;
mod exchange;
mod input;
mod kept;
mod kernels;
mod loaded;
mod memory;
mod meter;
mod network;
mod outcome;
mod precision;
mod programs;
mod resident;
mod states;
mod summary;
mod task;
mod traced;
mod training;

pub use dropforge_runtime::Choices;

pub use anomaly::Anomaly;
pub use batch::{Batch, IntoField, IntoSample};
pub use builder::StepBuilder;
pub use change::{CutMix, DeviceChange, Mix, MixUp, Mixed};
pub use evaluation::{Evaluating, Evaluation};
pub use kernels::StepKernel;
pub use memory::MemoryBlock;
pub use meter::Meter;
pub use network::{Network, NetworkBuilder};
pub use outcome::Outcome;
pub use precision::Precision;
pub use states::{State, States};
pub use summary::{Summary, SummaryRow};
pub use task::{Objective, Task};
pub use training::{Step, compile};

pub(crate) use build::verify;
pub(crate) use change::Changes;
pub(crate) use evaluation::Quality;
pub(crate) use loaded::Feed;
pub(crate) use resident::Resident;

pub(crate) use task::PREDICTION;
pub(crate) use traced::TracedProgram;

/// A program that was compiled, for people who wonder what takes the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Compilation {
    /// `train`, `evaluate` or `predict`.
    pub program: &'static str,
    /// The batch size it was compiled for: what differed from the programs there were.
    pub batch: usize,
    /// How long tracing, differentiating and compiling took.
    pub seconds: f64,
    /// Bytes of intermediate values at the fullest moment of a run.
    pub peak_bytes: usize,
}
