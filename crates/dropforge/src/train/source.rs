//! What can be trained on.

use dropforge_data::Source;
use std::sync::Arc;

/// Something that samples can be read from: any [`Source`] that can be cloned, which all of [`crate::data`] can, and
/// any other one as `Arc<YourSource>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be trained on as it is",
    note = "a source of your own is given in an `Arc`: `Arc::new(source)`; or it implements `Clone`, where copies are cheap"
)]
pub trait IntoSource {
    /// A shared handle on the samples.
    fn source(&self) -> Arc<dyn Source>;
}

#[diagnostic::do_not_recommend]
impl<S: Source + Clone + 'static> IntoSource for S {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_data as data;

    /// What the documentation of [`IntoSource`] says of all sources of the data crate.
    #[test]
    fn every_source_of_the_library_can_be_trained_on() {
        fn can<S: IntoSource>() {}
        can::<data::Dataset>();
        can::<data::ImageFolder>();
        can::<data::Subset>();
        can::<data::Balanced>();
        can::<data::SkipUnreadable>();
        can::<data::Cached>();
        can::<data::transform::Augmented>();
        can::<Arc<dyn Source>>();
    }
}
