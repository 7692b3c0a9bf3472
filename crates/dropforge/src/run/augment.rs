//! The random changes of images that a configuration names.

use super::{OnDevice, Part, RunConfig};
use crate::Runtime;
use crate::settings::{Context, Described, SettingType, TYPE, Table, Value, unknown};
use crate::step::{CutMix, DeviceChange, Mix, MixUp};
use crate::train::TrainerBuilder;
use crate::{Error, ErrorKind, Result};
use dropforge_data::transform::{
    Affine, AutoAugment, AutoContrast, Blur, ColourJitter, Elastic, Equalise, Erase, Flip, FlipVertically,
    Grey, Noise, Perspective, Posterise, RandAugment, RandomCrop, RandomResizedCrop, Rotate, Sharpen,
    Solarise, Transform, TrivialAugment, augment, image_shape,
};
use dropforge_data::{ElementType, INPUT, Source};
use std::sync::Arc;

/// A random change of images that can be written down.
pub trait Augmentation: Send + Sync {
    /// Its name and settings.
    ///
    /// # Errors
    /// Only if there is a bug: the settings of changes are numbers.
    fn config(&self) -> Result<Table>;

    /// The change, by where it can be made.
    fn into_change(self: Box<Self>) -> Change;
}

/// A change of images, by where it can be made.
pub enum Change {
    /// While a sample is read.
    Host(Box<dyn Transform>),
    /// While a sample is read, or as a part of the step.
    Both(Box<dyn DeviceChange>),
    /// As a part of the step, of all samples of a batch together.
    Mix(Box<dyn Mix>),
}

macro_rules! augmentations {
    ($($type:ident: $change:expr),* $(,)?) => { $(
        impl Augmentation for $type {
            fn config(&self) -> Result<Table> {
                self.write_named()
            }

            fn into_change(self: Box<Self>) -> Change {
                let change: fn(Box<$type>) -> Change = $change;
                change(self)
            }
        }
    )* };
}
augmentations! {
    Affine: |change| Change::Both(change),
    AutoAugment: |change| Change::Host(change),
    AutoContrast: |change| Change::Host(change),
    Blur: |change| Change::Host(change),
    // Turning the circle of colours takes more than a device is worth.
    ColourJitter: |change| if change.hue > 0.0 { Change::Host(change) } else { Change::Both(change) },
    CutMix: |change| Change::Mix(change),
    Elastic: |change| Change::Host(change),
    Equalise: |change| Change::Host(change),
    Erase: |change| Change::Both(change),
    Flip: |change| Change::Both(change),
    FlipVertically: |change| Change::Both(change),
    Grey: |change| Change::Both(change),
    MixUp: |change| Change::Mix(change),
    Noise: |change| Change::Host(change),
    Perspective: |change| Change::Host(change),
    Posterise: |change| Change::Host(change),
    RandAugment: |change| Change::Host(change),
    RandomCrop: |change| Change::Both(change),
    RandomResizedCrop: |change| Change::Both(change),
    Rotate: |change| Change::Both(change),
    Sharpen: |change| Change::Host(change),
    Solarise: |change| Change::Host(change),
    TrivialAugment: |change| Change::Host(change),
}

/// Where random changes of images are made; the pictures are the same to within rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AugmentOn {
    /// By the threads that read samples.
    Host,
    /// As a part of the training step.
    Device,
    /// On a GPU, or where the samples stay on the device, if all of them can be made there; else on the host.
    #[default]
    Auto,
}

impl AugmentOn {
    const ALL: [(&'static str, AugmentOn); 3] =
        [("host", AugmentOn::Host), ("device", AugmentOn::Device), ("auto", AugmentOn::Auto)];
}

impl SettingType for AugmentOn {
    fn expects() -> String {
        "`host`, `device` or `auto`".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<AugmentOn> {
        let Some(name) = value.as_str() else {
            return Err(Error::setting(format!("should be {}, got {value}", AugmentOn::expects())));
        };
        let known = AugmentOn::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, place)| *place).ok_or_else(|| {
            unknown("unknown place", name, "known are", &AugmentOn::ALL.map(|(known, _)| known))
        })
    }

    fn write(&self) -> Result<Option<Value>> {
        let known = AugmentOn::ALL.iter().find(|(_, place)| place == self);
        Ok(known.map(|(name, _)| Value::String((*name).into())))
    }
}

/// The word for what is usual for images of a shape.
const STANDARD: &str = "standard";

/// The changes that these names stand for, in order, with their defaults. `standard` is what is usual for samples of
/// this shape: photographs (3 channels) are mirrored and moved by an eighth of their height, as is usual for CIFAR-10;
/// grey images, such as digits, which mirrored would be others, are moved by a fourteenth and turned by up to 10
/// degrees.
///
/// # Errors
/// There is no such name, or `standard` is asked for samples that are no images.
pub fn augmentations(names: &[impl AsRef<str>], shape: &[usize]) -> Result<Vec<Part<dyn Augmentation>>> {
    let mut found = Vec::new();
    for name in names.iter().map(AsRef::as_ref) {
        match (name, shape) {
            (STANDARD, &[3, height, _]) => {
                found.extend([Part::try_from("flip")?, moved((height / 8).max(1))?]);
            }
            (STANDARD, &[1, height, _]) => {
                found.extend([moved((height / 14).max(1))?, Part::try_from("rotate")?]);
            }
            (STANDARD, _) => {
                let message = "only images have a standard augmentation; the samples are none";
                return Err(Error::of(ErrorKind::Setting, message));
            }
            _ => found.push(Part::try_from(name)?),
        }
    }
    Ok(found)
}

fn moved(padding: usize) -> Result<Part<dyn Augmentation>> {
    let settings = [(TYPE, Value::String("random_crop".into())), ("padding", Value::Integer(padding as i64))];
    Part::new(&Value::Table(Table::from_iter(settings.map(|(key, value)| (key.to_string(), value)))))
}

impl RunConfig {
    /// These samples as they are read to be trained on: with the random changes of the configuration that the host
    /// makes, which come from seed, epoch and sample. What is measured is not changed.
    ///
    /// # Errors
    /// There are changes, those of the step included, but the samples are no images; or they are to be mixed, and no
    /// floats.
    pub fn augmented(&self, train: &Arc<dyn Source>) -> Result<Arc<dyn Source>> {
        let mut changes: Vec<Box<dyn Transform>> = Vec::new();
        for (_, change) in self.changes()? {
            match change {
                Change::Host(change) => changes.push(change),
                Change::Both(change) if self.augment_on != AugmentOn::Device => {
                    changes.push(Box::new(change))
                }
                Change::Both(_) => drop(image_shape(&**train)?),
                Change::Mix(mix) => {
                    let floats =
                        train.description().field(INPUT).is_some_and(|field| field.dtype == ElementType::F32);
                    if mix.needs_images() || !floats {
                        image_shape(&**train)?;
                    }
                }
            }
        }
        Ok(if changes.is_empty() { train.clone() } else { Arc::new(augment(train.clone(), changes)?) })
    }

    /// A trainer whose steps make those changes of the configuration that the host does not.
    ///
    /// # Errors
    /// A change that the device is to make is one that only the host can make.
    pub fn augment_steps(&self, mut trainer: TrainerBuilder) -> Result<TrainerBuilder> {
        for (name, change) in self.changes()? {
            match change {
                Change::Mix(mix) => trainer = trainer.mix(mix),
                Change::Both(change) if self.augment_on == AugmentOn::Device => {
                    trainer = trainer.augment(change)
                }
                Change::Host(_) if self.augment_on == AugmentOn::Device => return Err(host_only(&name)),
                Change::Both(_) | Change::Host(_) => {}
            }
        }
        Ok(trainer)
    }

    /// Where the changes are made on a device.
    ///
    /// # Errors
    /// Only if there is a bug: what was read can be built.
    pub fn augmented_on(&self, runtime: &Runtime) -> Result<AugmentOn> {
        if self.augment_on != AugmentOn::Auto {
            return Ok(self.augment_on);
        }
        let all = self.changes()?.iter().all(|(_, change)| !matches!(change, Change::Host(_)));
        let device = runtime.device().is_gpu() || self.data_on_device == OnDevice::Yes;
        Ok(if all && device { AugmentOn::Device } else { AugmentOn::Host })
    }

    pub(super) fn changes(&self) -> Result<Vec<(String, Change)>> {
        let change =
            |part: &Part<dyn Augmentation>| Ok((part.name().to_string(), part.build()?.into_change()));
        self.transforms.iter().map(change).collect()
    }
}

fn host_only(name: &str) -> Error {
    Error::setting(format!(
        "{name} is made on the host only; leave it out, or have all changes made there: --augment-on host"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_data::{Loader, LoaderOptions, digits};

    #[test]
    fn what_is_standard_depends_on_the_images() {
        let names = |shape: &[usize]| -> Vec<String> {
            let parts = augmentations(&["standard", "erase"], shape).unwrap();
            parts.iter().map(|part| part.name().to_string()).collect()
        };
        assert_eq!(names(&[3, 32, 32]), ["flip", "random_crop", "erase"]);
        assert_eq!(names(&[1, 28, 28]), ["random_crop", "rotate", "erase"]);
        let cifar = augmentations(&["standard"], &[3, 32, 32]).unwrap();
        assert_eq!(cifar[1].table()["padding"].as_integer(), Some(4));
        assert!(augmentations(&["standard"], &[13]).unwrap_err().to_string().contains("only images"));
        assert!(augmentations(&["flipp"], &[13]).unwrap_err().to_string().contains("did you mean `flip`"));
    }

    #[test]
    fn a_configuration_changes_what_is_trained_on() {
        let text = "[[transforms]]\ntype = 'random_crop'\npadding = 3\n[[transforms]]\ntype = 'flip'\nprobability = 0.0";
        let config = RunConfig::parse(text).unwrap();
        let written = RunConfig::parse(&config.to_text().unwrap()).unwrap();
        assert_eq!(written.transforms, config.transforms);
        assert_eq!(written.transforms[0].table()["padding"].as_integer(), Some(3));
        config.check_continues(&written).unwrap();
        let plain = RunConfig::new(&Table::new()).unwrap();
        assert!(config.check_continues(&plain).unwrap_err().to_string().starts_with("`transforms"));
        let train: Arc<dyn Source> = Arc::new(digits(3, 0, 1).0);
        assert!(Arc::ptr_eq(&plain.augmented(&train).unwrap(), &train));
        let changed = config.augmented(&train).unwrap();
        let read = |epoch| {
            let options = LoaderOptions { batch: 3, shuffle: false, seed: 5, ..Default::default() };
            let batch = Loader::new(changed.clone(), options).unwrap().epoch(epoch, 0).next().unwrap();
            batch.unwrap().get(INPUT).cloned()
        };
        assert_eq!(read(0), read(0));
        assert_ne!(read(0), read(1));
        let plain = Loader::new(train, LoaderOptions { batch: 3, shuffle: false, ..Default::default() });
        let plain = plain.unwrap().epoch(0, 0).next().unwrap().unwrap().get(INPUT).cloned();
        assert_ne!(read(0), plain);
    }
}
