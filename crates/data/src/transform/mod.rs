//! Random changes of images that are the same whatever the number of threads, and after a run was resumed.

mod affine;
mod auto_augment;
mod blur;
mod colour;
mod crop;
mod drawn;
mod elastic;
mod equalise;
mod erase;
mod flip;
mod noise;
mod passing;
mod perspective;
mod policy;
mod posterise;
mod room;
mod rotate;
mod solarise;

pub use affine::Affine;
pub use auto_augment::{AutoAugment, Policy};
pub use blur::{Blur, Sharpen};
pub use colour::{ColourJitter, Grey};
pub use crop::{RandomCrop, RandomResizedCrop};
pub use drawn::{Drawn, MOST_NUMBERS, NUMBERS, WithNumbers, with_numbers};
pub use elastic::Elastic;
pub use equalise::{AutoContrast, Equalise};
pub use erase::{Erase, FILL};
pub use flip::{Flip, FlipVertically};
pub use noise::Noise;
pub use perspective::Perspective;
pub use policy::{RandAugment, TrivialAugment};
pub use posterise::Posterise;
pub use rotate::Rotate;
pub use solarise::Solarise;

use std::sync::Arc;

use crate::adapt::has_no_data_name;
use crate::random::Random;
use crate::{Description, ElementType, Error, INPUT, Normalization, Request, Result, Sample, Source, Stream};

/// An image while it is changed: planes of numbers from 0 to 1, row by row.
pub struct Image<'a> {
    /// Planes: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `channels × height × width` numbers.
    pub pixels: &'a mut [f32],
}

impl Image<'_> {
    /// The planes, one after another.
    pub fn planes(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.pixels.chunks_exact_mut(self.height * self.width)
    }

    /// Gives each pixel the value that lies at another place before, bilinear; what lies outside is 0. `from` says of
    /// the middle of a pixel (column, row) where that is.
    pub(crate) fn sample_from(&mut self, from: impl Fn(f32, f32) -> (f32, f32)) {
        let (height, width) = (self.height, self.width);
        for plane in self.planes() {
            room::with_copy(plane, |plane, before| {
                let at = |x: f32, y: f32| {
                    let inside = x >= 0.0 && y >= 0.0 && x < width as f32 && y < height as f32;
                    if inside { before[y as usize * width + x as usize] } else { 0.0 }
                };
                for (place, pixel) in plane.iter_mut().enumerate() {
                    let (x, y) = from((place % width) as f32 + 0.5, (place / width) as f32 + 0.5);
                    // From middles to corners of the four pixels around.
                    let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
                    let (right_part, below_part) = (x - 0.5 - left, y - 0.5 - top);
                    let above = at(left, top) * (1.0 - right_part) + at(left + 1.0, top) * right_part;
                    let below =
                        at(left, top + 1.0) * (1.0 - right_part) + at(left + 1.0, top + 1.0) * right_part;
                    *pixel = above * (1.0 - below_part) + below * below_part;
                }
            });
        }
    }
}

/// A change of an image that keeps its size.
pub trait Transform: Send + Sync {
    /// Changes the image, by random numbers that are its own.
    fn apply(&self, image: &mut Image, random: &mut Random);
}

/// A source whose images are changed as they are read; made by [`augment`].
#[derive(Clone)]
pub struct Augmented {
    source: Arc<dyn Source>,
    transforms: Arc<[Box<dyn Transform>]>,
    shape: [usize; 3],
    normalization: Option<Normalization>,
}

/// The same samples, whose images (`input`, f32 of `[channels, height, width]`) go through these changes in order, each
/// time otherwise. What is changed are numbers from 0 to 1: normalisation that the source did is undone before and done
/// again.
///
/// ```
/// use std::sync::Arc;
/// use dropforge_data::{Source, digits, transform::{RandomCrop, Rotate, augment}};
///
/// let (train, _) = digits(100, 10, 1);
/// let train = augment(Arc::new(train), vec![Box::new(RandomCrop::new(2)), Box::new(Rotate::new(10.0))])?;
/// assert_eq!(train.len(), Some(100));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// The input is not f32 of `[channels, height, width]`.
pub fn augment(source: Arc<dyn Source>, transforms: Vec<Box<dyn Transform>>) -> Result<Augmented> {
    let shape = image_shape(&*source)?;
    let field = source.description().field(INPUT);
    let normalization = field.and_then(|field| field.preparation.normalization()).cloned();
    Ok(Augmented { shape, normalization, source, transforms: transforms.into() })
}

/// Channels, height and width of the images of a source.
///
/// # Errors
/// The input is not f32 of `[channels, height, width]`.
pub fn image_shape(source: &dyn Source) -> Result<[usize; 3]> {
    let description = source.description();
    let field = description.field(INPUT).filter(|field| field.dtype == ElementType::F32);
    match field.map(|field| field.shape.as_slice()) {
        Some(&[channels, height, width]) => Ok([channels, height, width]),
        _ => Err(Error::new(format!(
            "{}: only images can be augmented, an input of f32 with the shape [channels, height, width]",
            description.name
        ))),
    }
}

/// Keeps what a transform draws apart from other random numbers of a sample.
const TRANSFORM_STREAM: u64 = 0x7472_616e_7366_0001;

impl Source for Augmented {
    fn description(&self) -> &Description {
        self.source.description()
    }

    fn len(&self) -> Option<usize> {
        self.source.len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        self.source.read(request, sample)?;
        self.change(request, sample)
    }

    fn stream(&self, epoch: u64, seed: u64) -> Result<Box<dyn Stream>> {
        let own = self.clone();
        passing::passing(&*self.source, epoch, seed, move |request, sample| own.change(request, sample))
    }

    fn is_random(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Source> {
        Some(&*self.source)
    }

    has_no_data_name!();
}

impl Augmented {
    fn change(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let [channels, height, width] = self.shape;
        let pixels = sample.get::<f32>(INPUT)?;
        if let Some(normalization) = &self.normalization {
            for (channel, plane) in pixels.chunks_exact_mut(height * width).enumerate() {
                let (mean, std) = normalization.channel(channel);
                plane.iter_mut().for_each(|x| *x = *x * std + mean);
            }
        }
        for (number, transform) in (0..).zip(self.transforms.iter()) {
            let mut random = request.random(TRANSFORM_STREAM + number);
            transform.apply(&mut Image { channels, height, width, pixels }, &mut random);
        }
        match &self.normalization {
            Some(normalization) => normalization.apply(pixels, channels),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::message;
    use crate::{Field, HostBatch, Loader, LoaderOptions, digits, from_records};

    /// As samples with numbers are, on either way of changing them.
    #[test]
    fn streams_are_changed_as_samples_are() {
        let pixels = |i: usize| (0..16).map(move |pixel| ((pixel * 7 + i * 3) % 16) as f32 / 16.0);
        let image = Field::numbers(INPUT, ElementType::F32, &[1, 4, 4]);
        let description = Description::new("images").with(image);
        let all = crate::Dataset::new(
            description.clone(),
            vec![crate::Values::F32((0..6).flat_map(pixels).collect())],
        );
        let all: Arc<dyn Source> = Arc::new(all.unwrap());
        let stream: Arc<dyn Source> = Arc::new(Flowing(description));
        let options = LoaderOptions { batch: 6, shuffle: false, ..Default::default() };
        let first = |source: Arc<dyn Source>| {
            Loader::new(source, options.clone()).unwrap().epoch(3, 0).next().unwrap().unwrap()
        };
        let augmented = |source: &Arc<dyn Source>| {
            first(Arc::new(augment(source.clone(), vec![Box::new(RandomCrop::new(2))]).unwrap()))
        };
        let (kept, flowed) = (augmented(&all), augmented(&stream));
        assert_eq!(kept.get(INPUT), flowed.get(INPUT));
        assert_ne!(kept.get(INPUT), first(all.clone()).get(INPUT));
        let numbered = |source: &Arc<dyn Source>| {
            first(Arc::new(with_numbers(source.clone(), vec![Arc::new(RandomCrop::new(2))]).unwrap()))
        };
        assert_eq!(numbered(&all).get(NUMBERS), numbered(&stream).get(NUMBERS));
    }

    /// Six images, one after another.
    struct Flowing(Description);

    struct Flow(usize);

    impl Source for Flowing {
        fn description(&self) -> &Description {
            &self.0
        }
        fn len(&self) -> Option<usize> {
            None
        }
        fn read(&self, _: &Request, _: &mut Sample) -> Result<()> {
            Err(Error::new("is a stream"))
        }
        fn stream(&self, _: u64, _: u64) -> Result<Box<dyn Stream>> {
            Ok(Box::new(Flow(0)))
        }
    }

    impl Stream for Flow {
        fn next(&mut self, sample: &mut Sample) -> Result<bool> {
            let now = self.0;
            self.0 += 1;
            let pixels: Vec<f32> = (0..16).map(|pixel| ((pixel * 7 + now * 3) % 16) as f32 / 16.0).collect();
            if now < 6 { sample.write(INPUT, &pixels).map(|()| true) } else { Ok(false) }
        }
    }

    /// What becomes of the image `0, 1/n, 2/n, ..` by the random numbers of a seed.
    pub fn changed(transform: &dyn Transform, [channels, height, width]: [usize; 3], seed: u64) -> Vec<f32> {
        let count = channels * height * width;
        let mut pixels: Vec<f32> = (0..count).map(|i| i as f32 / count as f32).collect();
        let mut image = Image { channels, height, width, pixels: &mut pixels };
        transform.apply(&mut image, &mut Random::new(&[seed]));
        pixels
    }

    /// What torchvision gives (`scripts/golden_transforms.py`): the image on the first line, then a name, settings and
    /// what comes out.
    const GOLDEN: &str = include_str!("../../tests/data/transforms.txt");

    fn numbers(text: &str) -> Vec<f32> {
        text.split(',').filter(|text| !text.is_empty()).map(|number| number.parse().unwrap()).collect()
    }

    #[test]
    fn changes_are_those_of_torchvision() {
        let mut lines = GOLDEN.lines();
        let plain = numbers(lines.next().unwrap());
        for line in lines {
            let [name, settings, expected] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let settings = numbers(settings);
            let mut pixels = plain.clone();
            if name == "equalise_large" {
                pixels = (0..400).map(|at| (at * at * 37 % 101) as f32 / 101.0).collect();
                equalise::equalise(&mut Image { channels: 1, height: 20, width: 20, pixels: &mut pixels });
            }
            let mut image = Image { channels: 3, height: 9, width: 12, pixels: &mut pixels };
            match (name, settings.as_slice()) {
                ("flip", []) => Flip { probability: 1.0 }.apply(&mut image, &mut Random::new(&[0])),
                ("flip_vertically", []) => {
                    FlipVertically { probability: 1.0 }.apply(&mut image, &mut Random::new(&[0]));
                }
                ("brightness", &[factor]) => colour::brightness(&mut image, factor),
                ("contrast", &[factor]) => colour::contrast(&mut image, factor),
                ("saturation", &[factor]) => colour::saturation(&mut image, factor),
                ("hue", &[part]) => colour::hue(&mut image, part),
                ("posterise", &[bits]) => posterise::posterise(&mut image, bits as u32),
                ("solarise", &[threshold]) => solarise::solarise(&mut image, threshold),
                ("equalise_large", []) => {}
                ("equalise", []) => equalise::equalise(&mut image),
                ("auto_contrast", []) => equalise::auto_contrast(&mut image),
                ("sharpen", &[factor]) => blur::sharpen(&mut image, factor),
                ("blur", &[reach, deviation]) => blur::blur(&mut image, reach as usize, deviation),
                ("affine", &[degrees, right, down, scale, along, across]) => {
                    affine::Motion { degrees, right, down, scale, shear: [along, across] }.apply(&mut image);
                }
                // Which of the changes, its strength, whether it may go far, and which way.
                ("policy", &[change, strength, far, way]) => {
                    let reach = if far > 0.0 { &policy::WIDE } else { &policy::GENTLE };
                    policy::CHANGES[change as usize].apply(
                        &mut image,
                        policy::part(strength as usize),
                        reach,
                        way,
                    );
                }
                ("elastic", &[strength]) => {
                    let moves: Vec<f32> = (0..216).map(|i| (i * i * 37 % 101) as f32 / 101.0 - 0.5).collect();
                    elastic::stretch(&mut image, &moves, strength);
                }
                ("perspective", corners) => {
                    let corner = |i: usize| (f64::from(corners[2 * i]), f64::from(corners[2 * i + 1]));
                    perspective::see(&mut image, [0, 1, 2, 3].map(corner));
                }
                _ => panic!("{line}: is no change"),
            }
            let pairs = pixels.iter().zip(numbers(expected));
            let (at, farthest) =
                pairs.map(|(a, b)| (a - b).abs()).enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert!(farthest < 2e-4, "{name} {settings:?}: pixel {at} is {farthest} away");
        }
    }

    #[test]
    fn the_same_whatever_the_threads_and_other_in_each_epoch() {
        let (train, _) = digits(40, 0, 1);
        let transforms: fn() -> Vec<Box<dyn Transform>> =
            || vec![Box::new(RandomCrop::new(3)), Box::new(Rotate::new(20.0)), Box::new(Erase::new(0.5))];
        let source: Arc<dyn Source> = Arc::new(augment(Arc::new(train), transforms()).unwrap());
        let batches = |threads, epoch, skip| {
            let options = LoaderOptions { batch: 8, threads, seed: 3, ..Default::default() };
            let loader = Loader::new(source.clone(), options).unwrap();
            loader.epoch(epoch, skip).map(|batch| batch.unwrap()).collect::<Vec<HostBatch>>()
        };
        let first = batches(1, 0, 0);
        assert_eq!(first, batches(3, 0, 0));
        assert_eq!(first[2..], batches(2, 0, 2));
        assert_ne!(first, batches(1, 1, 0));
    }

    #[test]
    fn without_transforms_normalisation_comes_back() {
        let (train, _) = digits(1, 0, 1);
        let plain = crate::read_one(&train, 0).unwrap();
        let same = augment(Arc::new(train), vec![]).unwrap();
        let same = crate::read_one(&same, 0).unwrap();
        let input = |batch: &HostBatch| batch.get(INPUT).unwrap().slice::<f32>().unwrap().to_vec();
        assert!(input(&plain).iter().zip(input(&same)).all(|(a, b)| (a - b).abs() < 1e-5));
        let numbers = Arc::new(from_records([([1.0f32], 0)]).unwrap());
        assert!(message(augment(numbers, vec![])).contains("only images"));
    }
}
