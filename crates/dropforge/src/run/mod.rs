//! Runs on disk: configurations, folders that survive being stopped, checkpoints, and trained networks read back.

pub(crate) mod checkpoint;
pub(crate) mod chosen;
mod config;
mod data_spec;
mod disk;
mod group_spec;
mod model_spec;
mod old_config;
mod part;
mod position;
pub mod registry;
mod run_dir;
mod safetensors;
mod saving;
mod trained;

pub use config::{InputSpec, RunConfig, check_path};
pub use data_spec::{DataSpec, OpenData};
pub use group_spec::GroupSpec;
pub use model_spec::ModelSpec;
pub use part::Part;
pub use run_dir::{RunDir, holds_run};
pub use safetensors::read_safetensors;
pub use trained::Trained;

pub(crate) use config::toml_message;
