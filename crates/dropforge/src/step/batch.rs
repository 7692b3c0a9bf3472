//! What a step takes: named tensors.

use super::input::Inputs;
use crate::error::{Error, Result};
use crate::nn::trace::own_port;
use crate::tensor::node::{Place, poison};
use crate::tensor::{IntoShape, Tensor};
use dropforge_ir::{Array, DType, Shape, ValueType};
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;

/// Names of the fields that a network without names takes and that a loss compares with.
pub(crate) use dropforge_data::{INPUT, TARGET};

/// Named tensors of any element type, in order: what a step takes, and while it is traced what its function is given.
///
/// The first axis of each field counts the samples, unless it was added with [`Batch::with_shared`]. Pairs make one
/// with the fields `input` and `target`. Fields that lie on the device of the step are used there without a trip
/// through the host; [`Tensor::to`] brings them there.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::step::Batch;
///
/// let batch = Batch::new()
///     .with("left", Tensor::zeros([32, 8]))
///     .with("right", Tensor::zeros([32, 8]))
///     .with("same", Tensor::from_vec(vec![1; 32], [32]));
/// assert_eq!(batch.samples()?, 32);
/// assert_eq!(batch.get("left").shape().to_vec(), [32, 8]);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "collate_fn")]
#[derive(Clone, Default)]
pub struct Batch {
    fields: Vec<Field>,
}

/// A field of a [`Batch`].
#[derive(Clone)]
pub(crate) struct Field {
    pub name: Cow<'static, str>,
    pub value: Tensor,
    /// Whether it belongs to all samples together.
    pub shared: bool,
}

/// What can be a field of a [`Batch`].
pub trait IntoField {
    /// The field's elements.
    fn into_field(self) -> Tensor;
}

impl IntoField for Tensor {
    fn into_field(self) -> Tensor {
        self
    }
}

impl IntoField for &Tensor {
    fn into_field(self) -> Tensor {
        self.clone()
    }
}

impl IntoField for Array {
    fn into_field(self) -> Tensor {
        Tensor::from_array(self)
    }
}

impl IntoField for &Array {
    fn into_field(self) -> Tensor {
        Tensor::from_array(self.clone())
    }
}

impl Batch {
    /// Without fields.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// With one more field; the first axis counts the samples.
    #[must_use]
    pub fn with(self, name: impl Into<Cow<'static, str>>, value: impl IntoField) -> Batch {
        self.push(name.into(), value.into_field(), false)
    }

    /// With one more field that belongs to all samples together, such as a table or a mask.
    #[must_use]
    pub fn with_shared(self, name: impl Into<Cow<'static, str>>, value: impl IntoField) -> Batch {
        self.push(name.into(), value.into_field(), true)
    }

    fn push(mut self, name: Cow<'static, str>, value: Tensor, shared: bool) -> Batch {
        match self.fields.iter_mut().find(|field| field.name == name) {
            Some(known) => *known = Field { name, value, shared },
            None => self.fields.push(Field { name, value, shared }),
        }
        self
    }

    /// The same with this field behind the others.
    pub(super) fn with_last(mut self, name: &str) -> Result<Batch> {
        let place = self.fields.iter().position(|field| field.name == name);
        let place = place.ok_or_else(|| {
            Error::data(format!(
                "the batch has no field \"{name}\" with the numbers that decide how its images are changed; \
                 data::transform::with_numbers gives it"
            ))
        })?;
        let field = self.fields.remove(place);
        self.fields.push(field);
        Ok(self)
    }

    /// The field of this name. One that does not exist is a poisoned tensor: the call that compiles the step says so,
    /// with the names that there are.
    #[track_caller]
    pub fn get(&self, name: &str) -> Tensor {
        if let Some(field) = self.fields.iter().find(|field| field.name == name) {
            return field.value.clone();
        }
        let known: Vec<&str> = self.names().collect();
        let message = format!("there is no field \"{name}\"; there are {}", known.join(", "));
        let place = Place::new(None, Location::caller());
        poison(dropforge_ir::Error::new("batch", message), ValueType::scalar(DType::F32), place, None)
    }

    /// The names of the fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| &*field.name)
    }

    /// Number of samples.
    ///
    /// # Errors
    /// If fields differ in it, or one has no axis to count; the message names them.
    pub fn samples(&self) -> Result<usize> {
        Fields::of(self).map(|(_, samples)| samples)
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }
}

impl From<&Batch> for Batch {
    fn from(batch: &Batch) -> Batch {
        batch.clone()
    }
}

impl<A: IntoField, B: IntoField> From<(A, B)> for Batch {
    fn from((input, target): (A, B)) -> Batch {
        Batch::new().with(INPUT, input).with(TARGET, target)
    }
}

impl From<&(Tensor, Tensor)> for Batch {
    fn from((input, target): &(Tensor, Tensor)) -> Batch {
        Batch::from((input, target))
    }
}

/// Inputs alone, for predictions.
impl From<&Tensor> for Batch {
    fn from(input: &Tensor) -> Batch {
        Batch::new().with(INPUT, input)
    }
}

/// Inputs alone, for predictions.
impl From<Tensor> for Batch {
    fn from(input: Tensor) -> Batch {
        Batch::new().with(INPUT, input)
    }
}

/// The type of one sample without the batch axis: a shape means f32, a [`ValueType`] any element type.
pub trait IntoSample {
    /// Element type and shape.
    fn into_sample(self) -> ValueType;
}

impl<S: IntoShape> IntoSample for S {
    fn into_sample(self) -> ValueType {
        ValueType::new(DType::F32, self.into_shape())
    }
}

impl IntoSample for ValueType {
    fn into_sample(self) -> ValueType {
        self
    }
}

/// What the fields of all batches of a step look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fields(Arc<[FieldType]>);

/// Type of a field: of one sample, or of the whole field where that is shared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldType {
    pub name: Cow<'static, str>,
    pub ty: ValueType,
    pub shared: bool,
}

impl FieldType {
    /// The type in a batch of so many samples.
    pub fn batched(&self, samples: usize) -> ValueType {
        if self.shared { self.ty.clone() } else { with_batch(samples, &self.ty) }
    }

    /// What a message says is wanted.
    fn wanted(&self) -> String {
        if self.shared {
            return self.ty.to_string();
        }
        let extents = self.ty.shape.iter().map(ToString::to_string);
        let extents: Vec<String> = std::iter::once("batch".into()).chain(extents).collect();
        format!("{}[{}]", self.ty.dtype, extents.join(", "))
    }
}

impl Fields {
    /// One field called `input` with samples of this type.
    pub fn input(sample: ValueType) -> Fields {
        Fields([FieldType { name: INPUT.into(), ty: sample, shared: false }].into())
    }

    /// What the fields of a batch look like, and how many samples there are.
    pub fn of(batch: &Batch) -> Result<(Fields, usize)> {
        let mut samples: Option<(usize, &str)> = None;
        let mut fields = Vec::new();
        for field in &batch.fields {
            if let Some(error) = field.value.error() {
                return Err(error);
            }
            let ty = field.value.ty();
            if field.shared {
                fields.push(FieldType { name: field.name.clone(), ty: ty.clone(), shared: true });
                continue;
            }
            let (len, sample) = unbatched(ty).ok_or_else(|| {
                let what = described(&field.name);
                let need = if is_plural(&field.name) { "need" } else { "needs" };
                Error::data(format!("{what} {need} a batch as first axis, got {ty}"))
            })?;
            match samples {
                Some((known, other)) if known != len => {
                    return Err(Error::data(format!(
                        "{} and {} must have the same batch size; got {known} and {len}",
                        described(other),
                        described(&field.name)
                    )));
                }
                _ => samples = Some((len, &field.name)),
            }
            fields.push(FieldType { name: field.name.clone(), ty: sample, shared: false });
        }
        match samples {
            Some((len, _)) => Ok((Fields(fields.into()), len)),
            None => {
                Err(Error::data("the batch has no field that counts its samples; add one with Batch::with"))
            }
        }
    }

    /// The fields, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldType> {
        self.0.iter()
    }

    /// The fields that stand at these places.
    pub fn at(&self, place: usize) -> &FieldType {
        &self.0[place]
    }

    /// A batch of ports, for tracing.
    pub fn ports(&self, samples: usize) -> Batch {
        let port = |field: &FieldType| Field {
            name: field.name.clone(),
            value: own_port(field.batched(samples)),
            shared: field.shared,
        };
        Batch { fields: self.0.iter().map(port).collect() }
    }

    /// The samples of a batch whose fields at `needed` places are there and fit; where each of them is in the batch
    /// goes to `found`.
    pub fn check(&self, batch: &impl Inputs, needed: &[usize], found: &mut Vec<usize>) -> Result<usize> {
        found.clear();
        let mut samples: Option<usize> = None;
        for &place in needed {
            let field = &self.0[place];
            let Some(index) = batch.names().position(|given| given == field.name) else {
                let given: Vec<&str> = batch.names().collect();
                return Err(Error::data(format!(
                    "the batch has no field \"{}\"; it has {}",
                    field.name,
                    if given.is_empty() { "none".into() } else { given.join(", ") }
                )));
            };
            found.push(index);
            let (dtype, shape) = batch.ty(index)?;
            let misfit = |wanted: String| {
                let what = described(&field.name);
                let ty = ValueType::new(dtype, shape.clone());
                Error::data(format!("{what} must be {wanted}, got {ty}"))
            };
            if field.shared {
                if dtype != field.ty.dtype || *shape != field.ty.shape {
                    return Err(misfit(field.wanted()));
                }
                continue;
            }
            let fits = dtype == field.ty.dtype
                && shape.split_first().is_some_and(|(_, sample)| *sample == *field.ty.shape);
            if !fits {
                return Err(misfit(field.wanted()));
            }
            let len = shape[0];
            match samples {
                Some(known) if known != len => return Err(misfit(field.batched(known).to_string())),
                _ => samples = Some(len),
            }
        }
        Ok(samples.unwrap_or(0))
    }
}

fn is_plural(name: &str) -> bool {
    name == INPUT || name == TARGET
}

/// How messages call a field.
fn described(name: &str) -> String {
    match name {
        INPUT => "the inputs".into(),
        TARGET => "the targets".into(),
        other => format!("the field \"{other}\""),
    }
}

/// A type with the batch in front.
pub(crate) fn with_batch(len: usize, sample: &ValueType) -> ValueType {
    let shape: Shape = std::iter::once(len).chain(sample.shape.iter().copied()).collect();
    ValueType::new(sample.dtype, shape)
}

/// The batch size of a value and the type of one sample; `None` without a batch axis.
pub(crate) fn unbatched(ty: &ValueType) -> Option<(usize, ValueType)> {
    let (&len, sample) = ty.shape.split_first()?;
    Some((len, ValueType::new(ty.dtype, sample)))
}
