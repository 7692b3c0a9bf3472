//! What can be trained on.

use dropforge_data::{Dataset, Description, ImageFolder, Source, TargetKind};
use dropforge_ir::{DType, Shape, ValueType};
use std::sync::Arc;

/// Something that samples can be read from. A [`Source`] of your own goes in as `Arc<YourSource>`.
pub trait IntoSource {
    /// A shared handle on the samples.
    fn source(&self) -> Arc<dyn Source>;
}

impl IntoSource for Dataset {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }
}

impl IntoSource for ImageFolder {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }
}

impl<S: Source + 'static> IntoSource for Arc<S> {
    fn source(&self) -> Arc<dyn Source> {
        self.clone()
    }
}

impl IntoSource for Arc<dyn Source> {
    fn source(&self) -> Arc<dyn Source> {
        self.clone()
    }
}

/// Types of a batch of inputs and of their targets.
pub(crate) fn batch_types(description: &Description, len: usize) -> (ValueType, ValueType) {
    let batched = |shape: &[usize]| -> Shape { std::iter::once(len).chain(shape.iter().copied()).collect() };
    let target = match &description.target {
        TargetKind::Class { .. } => ValueType::new(DType::I32, batched(&[])),
        TargetKind::Values { shape } => ValueType::new(DType::F32, batched(shape)),
    };
    (ValueType::new(DType::F32, batched(&description.input_shape)), target)
}
