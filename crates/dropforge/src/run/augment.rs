//! The random changes of images that a configuration names.

use super::{Part, RunConfig};
use crate::data::Augmentation;
use crate::settings::{TYPE, Table, Value};
use crate::{Error, ErrorKind, Result};
use dropforge_data::Source;
use dropforge_data::transform::{Transform, augment};
use std::sync::Arc;

/// The word for what is usual for images of a shape.
const STANDARD: &str = "standard";

/// The changes that these names stand for, in order, with their defaults. `standard` is what is usual for samples of this
/// shape: photographs (3 channels) are mirrored and moved by an eighth of their height, as is usual for CIFAR-10; grey images,
/// such as digits, which mirrored would be others, are moved by a fourteenth and turned by up to 10 degrees.
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
    /// These samples as they are trained on: with the random changes of the configuration, which come from seed, epoch and
    /// sample. What is measured is not changed.
    ///
    /// # Errors
    /// There are changes, but the samples are no images.
    pub fn augmented(&self, train: &Arc<dyn Source>) -> Result<Arc<dyn Source>> {
        if self.transforms.is_empty() {
            return Ok(train.clone());
        }
        let built = self.transforms.iter().map(|part| Ok(part.build()? as Box<dyn Transform>));
        Ok(Arc::new(augment(train.clone(), built.collect::<Result<_>>()?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_data::{INPUT, Loader, LoaderOptions, digits};

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
