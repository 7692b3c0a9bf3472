//! What can be trained on.

use dropforge_data::Source;
use std::sync::Arc;

/// Something that samples can be read from: any [`Source`] that can be cloned, which all of [`crate::data`] can, and any
/// other one as `Arc<YourSource>`.
pub trait IntoSource {
    /// A shared handle on the samples.
    fn source(&self) -> Arc<dyn Source>;
}

impl<S: Source + Clone + 'static> IntoSource for S {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }
}
