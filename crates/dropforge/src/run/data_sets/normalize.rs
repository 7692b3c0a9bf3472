//! By which mean and deviation the images of files are normalised.

use super::{InputSpec, Opening};
use crate::settings::{Context, SettingType, Value, unknown};
use crate::{Error, Result};
use dropforge_data::{ImageFolder, Normalization, Source};

/// How many images are looked at, spread evenly among all, to find mean and deviation.
const LOOKED_AT: usize = 1000;

/// By which mean and deviation images are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalize {
    /// Those that models for photographs are usually trained with, ImageNet's.
    #[default]
    Usual,
    /// Those of the images to train on. A run keeps them, whatever images come later.
    Found,
}

impl Normalize {
    const ALL: [(&'static str, Normalize); 2] = [("usual", Normalize::Usual), ("found", Normalize::Found)];

    /// The two parts, normalised; a note says what was found.
    pub(super) fn apply(
        self,
        opening: &Opening<'_>,
        notes: &mut Vec<String>,
        (train, test): (ImageFolder, ImageFolder),
    ) -> Result<(ImageFolder, ImageFolder)> {
        let by = match (self, opening.inputs.and_then(known)) {
            (Normalize::Usual, _) => photographs()?,
            (Normalize::Found, Some(known)) => known,
            (Normalize::Found, None) => {
                let found = train.statistics(LOOKED_AT)?;
                let numbers = |numbers: &[f32]| {
                    numbers.iter().map(|number| format!("{number:.3}")).collect::<Vec<_>>().join(", ")
                };
                notes.push(format!(
                    "{}: normalised by mean {} and deviation {}, found in {} images to train on",
                    train.description().name,
                    numbers(found.mean()),
                    numbers(found.std()),
                    train.count().min(LOOKED_AT)
                ));
                found
            }
        };
        Ok((train.normalized(by.clone())?, test.normalized(by)?))
    }
}

/// Images to measure a model on, whose inputs are these: normalised as those that it was trained on.
pub(super) fn as_trained(images: &ImageFolder, inputs: &InputSpec) -> Result<ImageFolder> {
    Ok(images.normalized(known(inputs).map_or_else(photographs, Ok)?)?)
}

/// The normalisation of a model's inputs, if they are photographs that have one.
fn known(inputs: &InputSpec) -> Option<Normalization> {
    let fits = inputs.shape.first() == Some(&3) && [1, 3].contains(&inputs.mean.len());
    Normalization::new(&inputs.mean, &inputs.std).ok().filter(|_| fits)
}

/// The means and deviations that models for photographs are usually trained with.
fn photographs() -> Result<Normalization> {
    Ok(Normalization::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])?)
}

impl SettingType for Normalize {
    fn expects() -> String {
        "`usual` or `found`".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Normalize> {
        let Some(name) = value.as_str() else {
            return Err(Error::setting(format!("should be {}, got {value}", Normalize::expects())));
        };
        let known = Normalize::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, normalize)| *normalize).ok_or_else(|| {
            unknown("unknown normalisation", name, "known are", &Normalize::ALL.map(|(known, _)| known))
        })
    }

    fn write(&self) -> Result<Option<Value>> {
        let known = Normalize::ALL.iter().find(|(_, normalize)| normalize == self);
        Ok(known.map(|(name, _)| Value::String((*name).into())))
    }
}
