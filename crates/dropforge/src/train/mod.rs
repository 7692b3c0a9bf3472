//! Training: epochs over data, learning-rate schedules, and runs on disk that survive being stopped.

mod config;
mod data_spec;
mod disk;
mod run_dir;
mod safetensors;
mod schedule;

pub use config::{InputSpec, OptimizerSpec, RunConfig, ScheduleName, ScheduleSpec};
pub use data_spec::{DataSpec, OpenData};
pub use run_dir::{RunDir, holds_run};
pub use safetensors::read_safetensors;
pub use schedule::{Moment, Schedule};

pub(crate) use config::toml_message;
