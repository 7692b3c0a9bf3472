//! Training: epochs over data, learning-rate schedules, and runs on disk that survive being stopped.

mod checkpoint;
mod chosen;
mod config;
mod data_spec;
mod disk;
mod progress;
mod report;
mod run_dir;
mod safetensors;
mod schedule;
mod source;
mod state;
mod trained;
mod trainer;

pub use config::{InputSpec, OptimizerSpec, RunConfig, ScheduleName, ScheduleSpec};
pub use data_spec::{DataSpec, OpenData};
pub use progress::Progress;
pub use report::{EpochReport, Evaluation};
pub use run_dir::{RunDir, holds_run};
pub use safetensors::read_safetensors;
pub use schedule::{Moment, Schedule};
pub use source::IntoSource;
pub use trained::Trained;
pub use trainer::{Trainer, TrainerBuilder};

pub(crate) use config::toml_message;
