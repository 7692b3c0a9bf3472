//! Changes of images as operations of the training step.

mod colour;
mod geometry;
mod mix;

pub use mix::{CutMix, Mix, MixUp, Mixed};

use super::batch::{Batch, INPUT};
use super::resident::Resident;
use crate::nn::Scope;
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Error, Result};
use dropforge_data::transform::{
    Affine, ColourJitter, Drawn, Erase, Flip, FlipVertically, Grey, Image, NUMBERS, RandomCrop,
    RandomResizedCrop, Rotate, with_numbers,
};
use dropforge_data::{Normalization, Random, Source, rows};
use dropforge_ir::DType;
use std::sync::Arc;

/// A change of images that a step can make itself, on whatever device it runs: pictures are those that the same change
/// makes while samples are read, to within rounding, since both are decided by the same numbers, drawn for each sample
/// and epoch.
///
/// ```
/// use dropforge::data::transform::{Flip, RandomCrop};
/// use dropforge::prelude::*;
///
/// let (train, test) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), dense(10)];
/// let trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).batch(50);
/// let mut trainer = trainer.augment(RandomCrop::new(2)).augment(Flip { probability: 0.1 }).compile(&train)?;
/// let before = trainer.evaluate(&test)?;
/// trainer.fit(&train).epochs(3).run()?;
/// assert!(trainer.evaluate(&test)?.loss < before.loss);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub trait DeviceChange: Drawn {
    /// The images `[batch, channels, height, width]`, of numbers from 0 to 1, as the numbers `[batch, n]` have them
    /// changed.
    fn trace(&self, images: &Tensor, numbers: &Tensor) -> Tensor;

    /// Name and settings, as a configuration has them.
    ///
    /// # Errors
    /// No file can name it.
    fn config(&self) -> Result<Table> {
        Err(Error::setting("a change of images made by a program, which has no name in files"))
    }
}

impl Drawn for Box<dyn DeviceChange> {
    fn numbers(&self) -> usize {
        (**self).numbers()
    }

    fn draw(&self, shape: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        (**self).draw(shape, random, numbers);
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        (**self).change(image, numbers);
    }
}

impl DeviceChange for Box<dyn DeviceChange> {
    fn trace(&self, images: &Tensor, numbers: &Tensor) -> Tensor {
        (**self).trace(images, numbers)
    }

    fn config(&self) -> Result<Table> {
        (**self).config()
    }
}

macro_rules! device_changes {
    ($($type:ty => $trace:expr;)*) => { $(
        impl DeviceChange for $type {
            fn trace(&self, images: &Tensor, numbers: &Tensor) -> Tensor {
                let trace: fn(&$type, &Tensor, &Tensor) -> Tensor = $trace;
                trace(self, images, numbers)
            }

            fn config(&self) -> Result<Table> {
                self.write_named()
            }
        }
    )* };
}
device_changes! {
    Affine => |_, images, numbers| geometry::mapped(images, numbers);
    ColourJitter => colour::jitter;
    Erase => |_, images, numbers| colour::erase(images, numbers);
    Flip => |_, images, numbers| geometry::mirrored(images, numbers, 3);
    FlipVertically => |_, images, numbers| geometry::mirrored(images, numbers, 2);
    Grey => |_, images, numbers| colour::grey_where(images, numbers);
    RandomCrop => |_, images, numbers| geometry::shifted(images, numbers);
    RandomResizedCrop => |_, images, numbers| geometry::resized_part(images, numbers);
    Rotate => |_, images, numbers| geometry::mapped(images, numbers);
}

/// What a training step does to its inputs before the network sees them.
#[derive(Clone, Default)]
pub(crate) struct Changes {
    /// The samples that the step picks its batches from, where they stay on the device.
    pub resident: Option<Resident>,
    pub changes: Vec<Arc<dyn DeviceChange>>,
    pub mixes: Vec<Arc<dyn Mix>>,
    /// By what the inputs have been normalised.
    pub normalization: Option<Normalization>,
}

impl Changes {
    /// Whether batches to train on need the numbers that decide the changes.
    pub fn take_numbers(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Samples to train on, with the numbers that decide the changes.
    ///
    /// # Errors
    /// The samples are no images.
    pub fn numbered(&self, samples: Arc<dyn Source>) -> Result<Arc<dyn Source>> {
        if !self.take_numbers() {
            return Ok(samples);
        }
        let changes = self.changes.iter().map(|change| change.clone() as Arc<dyn Drawn>);
        Ok(Arc::new(with_numbers(samples, changes.collect())?))
    }

    /// What batches to train on are made of: the samples, or their numbers where the device has them.
    ///
    /// # Errors
    /// The samples are no images, or others than those on the device.
    pub fn fed(&self, samples: Arc<dyn Source>) -> Result<Arc<dyn Source>> {
        let Some(resident) = &self.resident else { return self.numbered(samples) };
        if !resident.holds(&*samples) {
            return Err(Error::data(format!(
                "{}: these are not the samples that the trainer was compiled with, which stay on the device; compile one \
                 for these",
                samples.description().name
            )));
        }
        let changes = self.changes.iter().map(|change| change.clone() as Arc<dyn Drawn>);
        Ok(Arc::new(rows(samples, changes.collect())?))
    }

    /// How many fields a batch to train on has beside those of the samples.
    pub fn own_fields(&self) -> usize {
        usize::from(self.take_numbers()) + usize::from(self.resident.is_some())
    }

    /// The batch with the inputs that the network is to see, and how they were mixed, if they were.
    pub fn apply(&self, scope: &Scope, batch: &Batch) -> (Batch, Option<Mixed>) {
        let picked = self.resident.as_ref().map(|resident| resident.apply(batch.clone()));
        let batch = picked.as_ref().unwrap_or(batch);
        let mut images = batch.get(INPUT);
        if !self.changes.is_empty() {
            images = self.changed(&images, &batch.get(NUMBERS));
        }
        let mixed = mix::any_of(&self.mixes, &scope.enter("mix"), &images);
        let images = mixed.as_ref().map_or(images, |(images, _)| images.clone());
        (batch.clone().with(INPUT, images), mixed.map(|(_, mixed)| mixed))
    }

    fn changed(&self, images: &Tensor, numbers: &Tensor) -> Tensor {
        let count = self.changes.iter().map(|change| change.numbers()).sum::<usize>();
        if images.rank() != 4 || images.dtype() != DType::F32 {
            let message = format!("needs images f32[batch, channels, height, width], got {}", images.ty());
            return fail("augment", message, &[images]);
        }
        if numbers.error().is_none() && numbers.shape().to_vec() != [images.shape()[0], count] {
            let message = format!("needs {count} numbers of each sample, got {}", numbers.ty());
            return fail("augment", message, &[numbers]);
        }
        let scales = self.normalization.as_ref().map(|by| (per_channel(by.mean()), per_channel(by.std())));
        let mut changed = scales.as_ref().map_or_else(|| images.clone(), |(mean, std)| images * std + mean);
        let mut at = 0;
        for change in &self.changes {
            let end = at + change.numbers();
            changed = change.trace(&changed, &numbers.slice(1, at..end));
            at = end;
        }
        scales.map_or(changed.clone(), |(mean, std)| (changed - mean) / std)
    }
}

/// A number for each channel of images, or the same for all.
fn per_channel(numbers: &[f32]) -> Tensor {
    match numbers {
        [one] => Tensor::from_vec(vec![*one], [1, 1, 1, 1]),
        // What does not fit the images is said where they meet.
        all => Tensor::from_vec(all.to_vec(), [1, all.len(), 1, 1]),
    }
}

/// One of the numbers of each sample, beside images.
fn column(numbers: &Tensor, at: usize) -> Tensor {
    numbers.slice(1, at..at + 1).reshape(vec![numbers.shape()[0], 1, 1, 1])
}
