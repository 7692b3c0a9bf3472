//! Reports of training runs: one HTML file that needs nothing beside it, or single charts.
//!
//! What a report is made of is read by whoever wants one: the [`History`] of a run, what its network
//! [predicts](Predictions) for samples that it was not trained on, and what the compiled step tells of itself. [`page`]
//! puts it together; [`figure`] draws one part of it. What is not given is left out, and the page says so.

mod figures;
mod layers;
mod page;
mod picture;
mod predictions;

pub use figures::{FIGURES, figure};
pub use page::page;
pub use predictions::{Mistake, Outcomes, Predictions, Remade};

use dropforge::run::{Environment, History, StepRecords};
use dropforge::step::Summary;

/// What a report is made of.
#[derive(Default)]
pub struct Parts {
    /// What the run is called.
    pub name: String,
    /// The finished epochs.
    pub history: Option<History>,
    /// What happened within epochs.
    pub steps: StepRecords,
    /// What the run was started with, as TOML.
    pub config: Option<String>,
    /// Samples of each class that were trained on, in the order of the classes of the predictions; empty where they are
    /// not known.
    pub trained_classes: Vec<u64>,
    /// What trained it.
    pub environment: Option<Environment>,
    /// What the network predicts for samples that it was not trained on.
    pub predictions: Option<Predictions>,
    /// The layers.
    pub summary: Option<Summary>,
    /// The kernels and the memory of the training step, as `dropforge explain` lists them.
    pub listing: Option<String>,
    /// Where values of the training step lie in its memory, and when.
    pub memory: Vec<dropforge::step::MemoryBlock>,
    /// The kernels of the training step, timed where there was time for it.
    pub kernels: Vec<dropforge::step::StepKernel>,
    /// Where the time of a step goes, by kernel, as `--profile` prints it.
    pub profile: Option<String>,
    /// Norms and histograms of the layers while they were trained, where they were recorded.
    pub layers: Vec<dropforge::run::LayerRecord>,
    /// What is missing, and why: one sentence each.
    pub notes: Vec<String>,
}
