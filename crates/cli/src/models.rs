//! Models as they stand on the command line, and what they are looked at with.

use crate::output::{Outcome, shape};
use crate::shapes;
use dropforge::run::ModelSpec;
use dropforge::step::{NetworkBuilder, Summary};
use dropforge::{DType, ValueType};
use std::path::Path;

/// A model with a sample that it takes.
pub struct Looked {
    pub model: ModelSpec,
    pub sample: ValueType,
    /// Its layers for that sample.
    pub summary: Summary,
}

/// Whether a word is the name of a file that lists layers.
pub fn is_list(text: &str) -> bool {
    let extension = Path::new(text).extension().map(|extension| extension.to_string_lossy().to_lowercase());
    matches!(extension.as_deref(), Some("toml" | "json"))
}

/// The model that a word stands for, with inputs of this shape or the usual ones. A list of layers does not say whether
/// it takes numbers or tokens: what fits is taken.
pub fn look(text: &str, input: Option<&str>, classes: usize) -> Outcome<Looked> {
    let model = ModelSpec::parse(text)?;
    let extents = match input {
        Some(text) => shapes::parse(text)?,
        None => model.usual_input(),
    };
    let with = |dtype: DType| {
        let sample = ValueType::new(dtype, extents.as_slice());
        let summary = NetworkBuilder::new(model.build(classes)?).summary(sample.clone())?;
        Ok::<_, dropforge::Error>((sample, summary))
    };
    let looked = match model.takes_tokens() {
        Some(true) => with(DType::I32),
        Some(false) => with(DType::F32),
        None => with(DType::F32).or_else(|error| with(DType::I32).map_err(|_| error)),
    };
    match looked {
        Ok((sample, summary)) => Ok(Looked { model, sample, summary }),
        Err(error) if input.is_none() => {
            let usual = shape(&extents).replace('×', "x");
            Err(format!("{error}; inputs were taken to be {usual}, give their shape with --input").into())
        }
        Err(error) => Err(error.into()),
    }
}
