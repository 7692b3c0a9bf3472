//! Training: epochs of a compiled step over data, and what happens beside it.

pub(crate) mod alike;
mod anomaly;
mod builder;
mod callback;
mod callbacks;
mod early_stopping;
mod fit;
mod keep_best;
mod lr_find;
mod marks;
pub(crate) mod monitor;
mod notes;
mod plateau;
pub(crate) mod progress;
pub(crate) mod report;
mod setup;
pub(crate) mod source;
pub(crate) mod state;
mod trainer;
mod unfreeze;

pub use builder::TrainerBuilder;
pub use callback::{Callback, Control, Snapshot};
pub use early_stopping::{EarlyStopping, early_stopping};
pub use fit::{Fit, Fitted};
pub use keep_best::{KeepBest, keep_best};
pub use lr_find::RateSweep;
pub use marks::{Mark, Marks};
pub use monitor::{Monitor, highest, lowest};
pub use plateau::{ReduceOnPlateau, reduce_on_plateau};
pub use progress::{Phases, Progress};
pub use report::EpochReport;
pub use source::IntoSource;
pub use trainer::Trainer;
pub use unfreeze::{Unfreeze, unfreeze};
