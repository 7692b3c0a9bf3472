//! From a network to programs that run: a training step, evaluation and prediction over the same states.

mod batch;
mod build;
mod check;
mod network;
mod states;
mod step;
mod summary;

pub use dropforge_runtime::Choices;

pub(crate) use batch::data_type;
pub use batch::{Batched, IntoBatch, IntoSample};
pub use network::{Network, NetworkBuilder};
pub use states::{State, States};
pub use step::{Evaluation, Outcome, Step, StepBuilder, compile};
pub use summary::{Summary, SummaryRow};

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
