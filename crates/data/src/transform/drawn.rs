//! Changes of images that a few numbers decide, so that whatever makes them makes the same pictures.

use std::sync::Arc;

use super::{Image, TRANSFORM_STREAM, Transform, image_shape};
use crate::random::Random;
use crate::{Description, ElementType, Error, Field, Request, Result, Sample, Source};

/// The field with the numbers that decide the changes of a sample; see [`with_numbers`].
pub const NUMBERS: &str = "change";

/// No change is decided by more numbers.
pub const MOST_NUMBERS: usize = 8;

/// A change of images that a few numbers decide, drawn for each sample and epoch: here, while samples are read, or by a device
/// that is given these numbers ([`with_numbers`]). Each one is a [`Transform`].
pub trait Drawn: Send + Sync {
    /// How many numbers decide it, [`MOST_NUMBERS`] at most.
    fn numbers(&self) -> usize;

    /// Draws them for an image of the shape `[channels, height, width]`.
    fn draw(&self, shape: [usize; 3], random: &mut Random, numbers: &mut [f32]);

    /// Changes an image as they say.
    fn change(&self, image: &mut Image, numbers: &[f32]);
}

impl<T: Drawn> Transform for T {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        let mut numbers = [0.0; MOST_NUMBERS];
        let numbers = &mut numbers[..self.numbers().min(MOST_NUMBERS)];
        self.draw([image.channels, image.height, image.width], random, numbers);
        self.change(image, numbers);
    }
}

/// A source whose samples come with the numbers that decide their changes; made by [`with_numbers`].
#[derive(Clone)]
pub struct WithNumbers {
    source: Arc<dyn Source>,
    changes: Arc<[Arc<dyn Drawn>]>,
    description: Description,
    shape: [usize; 3],
}

/// The same samples, unchanged, with one more field, `change`: the numbers that decide these changes of their images, one change
/// after another. They are those that [`augment`](super::augment) would draw.
///
/// # Errors
/// The input is not f32 of `[channels, height, width]`, there is such a field already, or no number is drawn.
pub fn with_numbers(source: Arc<dyn Source>, changes: Vec<Arc<dyn Drawn>>) -> Result<WithNumbers> {
    let shape = image_shape(&*source)?;
    let count: usize = changes.iter().map(|change| change.numbers()).sum();
    let description = source.description().clone();
    if description.field(NUMBERS).is_some() || count == 0 {
        let what = if count == 0 { "no change that numbers decide" } else { "a field `change` already" };
        return Err(Error::new(format!("{}: there is {what}", description.name)));
    }
    let description = description.with(Field::numbers(NUMBERS, ElementType::F32, &[count]));
    Ok(WithNumbers { source, changes: changes.into(), description, shape })
}

impl Source for WithNumbers {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        self.source.len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        self.source.read(request, sample)?;
        let mut rest = sample.get::<f32>(NUMBERS)?;
        for (number, change) in (0..).zip(self.changes.iter()) {
            let (numbers, others) = rest.split_at_mut(change.numbers());
            change.draw(self.shape, &mut request.random(TRANSFORM_STREAM + number), numbers);
            rest = others;
        }
        Ok(())
    }

    fn class(&self, index: usize) -> Option<i32> {
        self.source.class(index)
    }

    fn origin(&self, index: usize) -> Option<String> {
        self.source.origin(index)
    }

    fn data_name(&self) -> Option<String> {
        self.source.data_name()
    }
}

/// Whether something happens, as a number.
pub(super) fn happens(random: &mut Random, probability: f32) -> f32 {
    f32::from(u8::from(random.unit() < probability))
}
