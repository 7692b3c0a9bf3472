//! How raw data becomes the numbers of a field, as data itself, so that a trained model keeps it.

use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::{Column, Error, Field, Normalization, Result};

/// How raw data becomes the numbers of a field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Preparation {
    /// Not at all, or in a way that only the program knows.
    #[default]
    None,
    /// Numbers are normalised.
    Numbers {
        /// Per channel.
        normalization: Normalization,
    },
    /// An image file is decoded, its largest centred part scaled, and normalised: see
    /// [`read_image`](crate::read_image).
    Image {
        /// Per channel, of numbers from 0 to 1.
        normalization: Normalization,
    },
    /// As for an image, but of one handwritten digit: see [`read_digit_image`](crate::read_digit_image).
    Digit {
        /// Of numbers from 0 to 1.
        normalization: Normalization,
    },
    /// A text is cut into tokens of the field's vocabulary.
    Text,
    /// The columns of a row of a table are standardised or spread out, one after another.
    Table {
        /// In order.
        columns: Vec<Column>,
    },
}

impl Preparation {
    /// The normalisation in it, if there is one.
    pub fn normalization(&self) -> Option<&Normalization> {
        match self {
            Preparation::Numbers { normalization }
            | Preparation::Image { normalization }
            | Preparation::Digit { normalization } => Some(normalization),
            _ => None,
        }
    }

    /// Whether shape, classes and normalisation do not say all of it.
    pub fn is_more_than_numbers(&self) -> bool {
        !matches!(self, Preparation::None) && self.normalization().is_none()
    }

    /// The same with another normalisation; numbers that were not prepared are normalised from now on.
    #[must_use]
    pub(crate) fn with(self, normalization: Normalization) -> Preparation {
        match self {
            Preparation::None | Preparation::Numbers { .. } => Preparation::Numbers { normalization },
            Preparation::Image { .. } => Preparation::Image { normalization },
            Preparation::Digit { .. } => Preparation::Digit { normalization },
            other => other,
        }
    }
}

impl Field {
    /// Raw numbers of one sample as training saw them: normalised if that was done.
    ///
    /// # Errors
    /// The count is not that of the field.
    pub fn prepare_numbers(&self, mut numbers: Vec<f32>) -> Result<Vec<f32>> {
        let elements = self.elements()?;
        if numbers.len() != elements {
            return Err(Error::new(format!(
                "{} numbers were given, a sample of `{}` has {elements} (shape {:?})",
                numbers.len(),
                self.name,
                self.shape
            )));
        }
        if let Some(normalization) = self.preparation.normalization() {
            normalization.apply(&mut numbers, self.channels())?;
        }
        Ok(numbers)
    }

    /// An image file as training saw its images: decoded, scaled and normalised.
    ///
    /// # Errors
    /// The file is missing or damaged, or the field does not hold images.
    pub fn prepare_image(&self, path: impl AsRef<Path>) -> Result<Vec<f32>> {
        let &[channels, height, width] = self.shape.as_slice() else {
            return Err(Error::new(format!(
                "`{}` takes samples of shape {:?}, which are no images",
                self.name, self.shape
            )));
        };
        let image = match self.preparation {
            Preparation::Digit { .. } if self.shape == [1, 28, 28] => crate::read_digit_image(path)?,
            _ => crate::read_image(path, channels, height, width)?,
        };
        self.prepare_numbers(image)
    }

    /// A text as tokens of the field's vocabulary, as many as it has.
    ///
    /// # Errors
    /// The field does not hold tokens, or a character is not in the vocabulary; the message names it.
    pub fn prepare_text(&self, text: &str) -> Result<Vec<i32>> {
        match self.vocabulary() {
            Some(vocabulary) => vocabulary.encode(text),
            None => Err(Error::new(format!("`{}` takes numbers, not text", self.name))),
        }
    }
}
