//! Training: epochs of a compiled step over data.

mod progress;
pub(crate) mod report;
pub(crate) mod source;
pub(crate) mod state;
mod trainer;

pub use progress::Progress;
pub use report::{EpochReport, Evaluation};
pub use source::IntoSource;
pub use trainer::{Trainer, TrainerBuilder};
