//! Built-in digits.

use super::{DataSet, OpenData, Opening};
use crate::settings::{Described, Table};
use crate::{Result, described};
use dropforge_data::{DIGITS_SEED, DIGITS_TRAIN, digits, digits_for_testing};

/// Digits that the library draws itself, so many for training and a sixth of that for testing.
pub struct Digits {
    count: usize,
}

described! {
    Digits = "digits", "handwritten digits, which the library draws itself";
    count: usize, Some(DIGITS_TRAIN), (10..=10_000_000).into(), "images to train on; a sixth as many are for testing";
}

impl DataSet for Digits {
    fn open(&self, _: &Opening<'_>) -> Result<OpenData> {
        // Always the same ones, so that results of runs with different seeds can be compared.
        let (train, test) = digits(self.count, digits_for_testing(self.count), DIGITS_SEED);
        Ok(OpenData::new(train, test))
    }

    fn short_name(&self) -> String {
        Self::NAME.into()
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::DataSpec;

    #[test]
    fn so_many_and_a_sixth() {
        let data = DataSpec::parse("digits:60").unwrap().open(&Opening::default()).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(60), Some(10)));
        assert_eq!((data.inputs.shape.as_slice(), data.inputs.classes.len()), ([1, 28, 28].as_slice(), 10));
    }
}
