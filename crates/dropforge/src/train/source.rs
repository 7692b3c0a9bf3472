//! What can be trained on.

use crate::step::data_type;
use crate::{Error, Result};
use dropforge_data::{Description, INPUT, Source, TARGET};
use dropforge_ir::{Shape, ValueType};
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

/// Types of a batch of inputs and of their targets.
pub(crate) fn batch_types(description: &Description, len: usize) -> Result<(ValueType, ValueType)> {
    let batched = |name: &str| -> Result<ValueType> {
        let field = description.field(name).ok_or_else(|| {
            Error::new(format!(
                "{}: samples have no field `{name}`, which training needs; name one so",
                description.name
            ))
        })?;
        let shape: Shape = std::iter::once(len).chain(field.shape.iter().copied()).collect();
        Ok(ValueType::new(data_type(field.dtype), shape))
    };
    Ok((batched(INPUT)?, batched(TARGET)?))
}
