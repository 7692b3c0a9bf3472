//! Runs on disk: configurations, folders that survive being stopped, checkpoints, and trained networks read back.

mod augment;
mod calls;
mod checkpoint;
mod checksums;
mod chosen;
mod commit;
mod compare;
mod config;
mod damage;
mod data_sets;
mod data_spec;
mod disk;
mod evaluating;
mod forward;
mod group_spec;
#[cfg(test)]
mod harness;
mod history;
mod input_spec;
mod layer_record;
mod manifest;
mod measure;
mod model_spec;
mod old_config;
mod on_device;
#[cfg(feature = "onnx")]
mod onnx_export;
#[cfg(feature = "onnx")]
mod onnx_import;
mod packed;
mod part;
mod pickle;
mod picture;
mod position;
mod post;
mod predictions;
mod program_config;
mod raw;
pub mod registry;
mod run_dir;
mod safetensors;
mod saving;
mod start_spec;
mod step_record;
mod stored;
mod tensorboard;
mod trained;
mod weights;

pub use augment::{AugmentOn, Augmentation, Change, augmentations};
pub use commit::{Commit, commit};
pub use compare::{differences, threads_of};
pub use config::{RunConfig, check_path, optimizer_path};
pub use data_sets::{DataSet, OpenData, Opening};
pub use data_spec::DataSpec;
pub use disk::read_text_file;
pub use evaluating::Predicted;
pub use group_spec::GroupSpec;
pub use history::{History, history};
pub use input_spec::InputSpec;
pub use layer_record::{LayerRecord, RecordLayers, Spread, layer_records, record_layers};
pub use manifest::Environment;
pub use model_spec::ModelSpec;
pub use on_device::OnDevice;
#[cfg(feature = "onnx")]
pub use onnx_export::OnnxOptions;
#[cfg(feature = "onnx")]
pub use onnx_import::{OnnxImport, import_onnx};
pub use packed::pack;
pub use part::Part;
pub use picture::png;
pub use post::{Post, post};
pub use predictions::{PredictionTable, TableFormat};
pub use program_config::unnamed_parts;
pub use raw::{IntoRaw, Raw};
pub use run_dir::{LAYERS, REPORT, RunDir, STEPS, STOP, TENSORBOARD, holds_run, is_training, read_split};
pub use safetensors::read_safetensors;
pub use start_spec::StartSpec;
pub use step_record::{StepMark, StepPoint, StepReader, StepRecords, StepValidation, step_records};
pub use stored::program_text;
pub use tensorboard::{TensorBoard, tensorboard};
pub use trained::{Classified, Trained, config_of};
pub use weights::{LoadOptions, LoadReport, read_weights, write_weights};

pub(crate) use config::toml_message;
