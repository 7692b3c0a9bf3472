//! What the inputs of a run look like.

use crate::settings::{Context, Range, SettingType, Value};
use crate::{Error, Result, described};
use dropforge_data::{Description, Field, INPUT, Preparation, Source, TARGET, Vocabulary};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the inputs of a model look like, so that a later image can be brought to the same form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Names of the classes; empty for a regression.
    pub classes: Vec<String>,
    /// Mean per channel that is taken off.
    pub mean: Vec<f32>,
    /// Deviation per channel that is divided by.
    pub std: Vec<f32>,
    /// Whether images are handwritten digits, light on dark and centred, which photographs have to be made first.
    #[serde(default)]
    pub digits: bool,
    /// The samples as the data describe them, where the above does not say all: the columns of a table, the vocabulary
    /// of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
}

described! {
    InputSpec = "inputs", "`[inputs]`: what the samples look like, which training finds out and writes";
    shape: Vec<usize>, None, Range::ANY, "shape of one sample";
    classes: Vec<String>, None, Range::ANY, "names of the classes, in the order of the outputs; none for numbers";
    mean: Vec<f32>, None, Range::ANY, "what is taken off, one for all or one for each channel";
    std: Vec<f32>, None, Range::ANY, "what is divided by, one for all or one for each channel";
    digits: bool, Some(false), Range::ANY, "whether images are handwritten digits, light on dark and centred";
    description: Option<Description>, Some(None), Range::ANY, "the fields of a sample, where the above does not say all";
}

impl SettingType for Description {
    fn expects() -> String {
        "a table that training writes".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Description> {
        value
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| Error::setting(error.message().replace('\n', " ")))
    }

    fn write(&self) -> Result<Option<Value>> {
        Value::try_from(self).map(Some).map_err(|error| Error::setting(error.to_string()))
    }
}

impl SettingType for InputSpec {
    fn expects() -> String {
        "a table that training writes".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<InputSpec> {
        value
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| Error::setting(error.message().replace('\n', " ")))
    }

    fn write(&self) -> Result<Option<Value>> {
        if *self == InputSpec::default() {
            return Ok(None);
        }
        Value::try_from(self).map(Some).map_err(|error| Error::setting(error.to_string()))
    }
}

impl InputSpec {
    /// What the samples of a source look like.
    pub fn of(source: &dyn Source) -> InputSpec {
        InputSpec::described(source.description())
    }

    /// What samples look like that are described so.
    pub(crate) fn described(description: &Description) -> InputSpec {
        let input = description.input();
        let spec = input.map_or_else(InputSpec::default, InputSpec::of_field);
        // Inputs of other names, or several.
        let own_fields =
            description.fields.iter().any(|field| ![INPUT, TARGET].contains(&field.name.as_str()));
        let preparation = input.map(|field| &field.preparation);
        // Whoever predicts numbers has to know their units.
        let units = description.target().is_some_and(|target| target.preparation.normalization().is_some());
        let is_told = own_fields || units || preparation.is_some_and(Preparation::is_more_than_numbers);
        InputSpec {
            classes: description.class_names().map_or_else(Vec::new, <[String]>::to_vec),
            description: is_told.then(|| description.clone()),
            ..spec
        }
    }

    /// What a field of samples looks like.
    pub(super) fn of_field(field: &Field) -> InputSpec {
        let normalization = field.preparation.normalization();
        InputSpec {
            shape: field.shape.clone(),
            classes: Vec::new(),
            mean: normalization.map_or_else(Vec::new, |n| n.mean().to_vec()),
            std: normalization.map_or_else(Vec::new, |n| n.std().to_vec()),
            digits: matches!(field.preparation, Preparation::Digit { .. }),
            description: None,
        }
    }

    /// How many numbers a model gives for such data: a score per class or token, or the values of the target; 0 where
    /// the data do not say.
    pub fn outputs(&self) -> usize {
        let numbers = self.description.as_ref().and_then(|description| description.target());
        match (self.vocabulary(), numbers) {
            (Some(vocabulary), _) => vocabulary.len(),
            (None, Some(target)) if target.classes().is_none() => target.shape.iter().product(),
            _ => self.classes.len(),
        }
    }

    /// Whether a run that was started with samples like these can go on with those that are there now.
    ///
    /// # Errors
    /// Shape, classes, normalisation or columns are others; the message says which.
    pub fn check_continues(&self, now: &InputSpec) -> Result<()> {
        let differs = |what: &str, was: String, is: String| {
            Err(Error::data(format!(
                "the data have changed since the run was started: {what} {was}, now {is}; go on with the same data, or \
                 start another run"
            )))
        };
        if self.shape.is_empty() && self.description.is_none() && !now.shape.is_empty() {
            return Err(Error::file(
                "config.toml is empty or damaged: it does not say what samples look like; restore it from a copy",
            ));
        }
        if self.shape != now.shape {
            return differs("samples had the shape", format!("{:?}", self.shape), format!("{:?}", now.shape));
        }
        if self.classes != now.classes {
            return differs("the classes were", self.classes.join(", "), now.classes.join(", "));
        }
        if (&self.mean, &self.std) != (&now.mean, &now.std) {
            let numbers =
                |inputs: &InputSpec| format!("mean {:?} and deviation {:?}", inputs.mean, inputs.std);
            return differs("normalisation was by", numbers(self), numbers(now));
        }
        let fields = |spec: &InputSpec| spec.description.as_ref().map(|about| about.fields.clone());
        let (was, mut is) = (fields(self), fields(now));
        // Runs of earlier versions do not say what columns are called.
        for (was, is) in
            was.iter().flatten().zip(is.iter_mut().flatten()).filter(|(was, _)| was.columns.is_empty())
        {
            is.columns.clone_from(&was.columns);
        }
        if was != is {
            return differs(
                "columns or vocabulary were",
                "others".into(),
                "they are as the data have them".into(),
            );
        }
        Ok(())
    }

    /// What tokens stand for, where the inputs are tokens.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.description.as_ref().and_then(|description| description.input()).and_then(Field::vocabulary)
    }

    /// Reads a PNG or JPEG file in the size that the model takes, as raw numbers from 0 to 1, which
    /// [`Trained`](super::Trained) normalises.
    ///
    /// # Errors
    /// The file is missing or damaged, or the model does not take images.
    pub fn read_image(&self, path: impl AsRef<Path>) -> Result<Vec<f32>> {
        let &[channels, height, width] = self.shape.as_slice() else {
            return Err(Error::data(format!(
                "the model takes inputs of shape {:?}, which are no images",
                self.shape
            )));
        };
        Ok(match self.digits && self.shape == [1, 28, 28] {
            true => dropforge_data::read_digit_image(path)?,
            false => dropforge_data::read_image(path, channels, height, width)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Described;
    use dropforge_data::ElementType;
    use std::collections::BTreeSet;

    /// Manifests and configurations say the same of inputs.
    #[test]
    fn what_is_declared_is_what_is_written() {
        let field = Field::numbers("grey", ElementType::F32, &[2]);
        let inputs = InputSpec {
            shape: vec![2],
            digits: true,
            description: Some(Description { name: "greys".into(), target_name: None, fields: vec![field] }),
            ..InputSpec::default()
        };
        let Some(Value::Table(written)) = SettingType::write(&inputs).unwrap() else { panic!("no table") };
        let declared = <InputSpec as Described>::declaration().settings;
        let declared: BTreeSet<&str> = declared.iter().map(|setting| setting.name).collect();
        assert_eq!(written.keys().map(String::as_str).collect::<BTreeSet<_>>(), declared);
        let read = <InputSpec as Described>::read(&written, &Context::NONE).unwrap();
        assert_eq!((&read, &Described::write(&read).unwrap()), (&inputs, &written));
    }

    #[test]
    fn a_run_goes_on_with_the_same_classes_only() {
        let was = InputSpec { classes: vec!["blue".into(), "red".into()], ..InputSpec::default() };
        was.check_continues(&was.clone()).unwrap();
        let now = InputSpec { classes: vec!["azure".into(), "blue".into()], ..InputSpec::default() };
        let message = was.check_continues(&now).unwrap_err().to_string();
        assert!(message.contains("the classes were blue, red, now azure, blue"), "{message}");
        let now = InputSpec { mean: vec![0.5], std: vec![1.0], ..was.clone() };
        assert!(was.check_continues(&now).unwrap_err().to_string().contains("normalisation was by mean []"));
        let now = InputSpec { shape: vec![3, 8, 8], ..was.clone() };
        let larger = InputSpec { shape: vec![3, 9, 9], ..was.clone() };
        let message = larger.check_continues(&now).unwrap_err().to_string();
        assert!(message.contains("the shape [3, 9, 9], now [3, 8, 8]"), "{message}");
        let message = was.check_continues(&now).unwrap_err().to_string();
        assert!(message.contains("config.toml is empty or damaged"), "{message}");
    }
}
