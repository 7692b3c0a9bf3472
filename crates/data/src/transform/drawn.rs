//! Changes of images that a few numbers decide, so that whatever makes them makes the same pictures.

use std::sync::Arc;

use super::passing::passing;
use super::{Image, TRANSFORM_STREAM, Transform, image_shape};
use crate::random::Random;
use crate::{Description, ElementType, Error, Field, Request, Result, Sample, Source, Stream};

/// The field with the numbers that decide the changes of a sample; see [`with_numbers`].
pub const NUMBERS: &str = "change";

/// Changes that more numbers decide take memory for them, for each sample.
pub const MOST_NUMBERS: usize = 8;

/// A change of images that a few numbers decide, drawn for each sample and epoch: here, while samples are read, or by a
/// device that is given these numbers ([`with_numbers`]). Each one is a [`Transform`].
pub trait Drawn: Send + Sync {
    /// How many numbers decide it; up to [`MOST_NUMBERS`] take no memory.
    fn numbers(&self) -> usize;

    /// Draws them for an image of the shape `[channels, height, width]`.
    fn draw(&self, shape: [usize; 3], random: &mut Random, numbers: &mut [f32]);

    /// Changes an image as they say.
    fn change(&self, image: &mut Image, numbers: &[f32]);
}

impl<T: Drawn> Transform for T {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        let (mut few, mut many) = ([0.0; MOST_NUMBERS], Vec::new());
        let count = self.numbers();
        let numbers = match few.get_mut(..count) {
            Some(few) => few,
            None => {
                many.resize(count, 0.0);
                &mut many[..]
            }
        };
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

/// The same samples, unchanged, with one more field, `change`: the numbers that decide these changes of their images,
/// one change after another. They are those that [`augment`](super::augment) would draw.
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
        self.draw(request, sample)
    }

    fn stream(&self, epoch: u64, seed: u64) -> Result<Box<dyn Stream>> {
        let own = self.clone();
        passing(&*self.source, epoch, seed, move |request, sample| own.draw(request, sample))
    }

    fn is_random(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Source> {
        Some(&*self.source)
    }
}

impl WithNumbers {
    /// Writes the numbers alone.
    pub(crate) fn draw(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let mut rest = sample.get::<f32>(NUMBERS)?;
        for (number, change) in (0..).zip(self.changes.iter()) {
            let (numbers, others) = rest.split_at_mut(change.numbers());
            change.draw(self.shape, &mut request.random(TRANSFORM_STREAM + number), numbers);
            rest = others;
        }
        Ok(())
    }
}

/// Whether something happens, as a number.
pub(super) fn happens(random: &mut Random, probability: f32) -> f32 {
    f32::from(u8::from(random.unit() < probability))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::augment;
    use crate::{Dataset, INPUT, read_one};

    /// Adds a number of its own to each of twelve pixels.
    struct Twelve;

    impl Drawn for Twelve {
        fn numbers(&self) -> usize {
            12
        }

        fn draw(&self, _: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
            numbers.iter_mut().for_each(|number| *number = random.unit());
        }

        fn change(&self, image: &mut Image, numbers: &[f32]) {
            image.pixels.iter_mut().zip(numbers).for_each(|(pixel, number)| *pixel += number);
        }
    }

    #[test]
    fn any_count_of_numbers_will_do() {
        let description = Description::values("grey", &[1, 3, 4], &[]);
        let data = Dataset::from_f32(description, vec![0.0; 12], vec![0.0f32]).unwrap();
        let here = read_one(&augment(Arc::new(data.clone()), vec![Box::new(Twelve)]).unwrap(), 0).unwrap();
        let told = read_one(&with_numbers(Arc::new(data), vec![Arc::new(Twelve)]).unwrap(), 0).unwrap();
        let (here, told): (&[f32], &[f32]) =
            (here.get(INPUT).unwrap().slice().unwrap(), told.get(NUMBERS).unwrap().slice().unwrap());
        assert!(here == told && here.iter().all(|pixel| *pixel > 0.0), "{here:?} {told:?}");
    }
}
