//! MNIST and data sets in its format.

use super::{DataSet, OpenData, Opening};
use crate::settings::{Described, Range, Table};
use crate::{Error, Result, described};
use dropforge_data::{download_mnist, mnist};
use std::path::PathBuf;

/// Where MNIST is looked for unless told otherwise.
const MNIST_DIR: &str = "data/mnist";

/// MNIST or another data set in its format.
pub struct Mnist {
    path: PathBuf,
}

described! {
    Mnist = "mnist", "MNIST, or another data set in its format (IDX)";
    path: PathBuf, Some(MNIST_DIR.into()), Range::ANY, "folder of the four files";
}

impl DataSet for Mnist {
    fn open(&self, _: &Opening<'_>) -> Result<OpenData> {
        let (train, test) = mnist(&self.path).map_err(|error| {
            let there = self.path.exists();
            let error = Error::data(error.to_string()).caused_by(error);
            if there { error } else { error.advice("`download_mnist` fetches it", "--download fetches it") }
        })?;
        Ok(OpenData::new(train, test))
    }

    fn short_name(&self) -> String {
        Self::NAME.into()
    }

    fn download(&self) -> Result<()> {
        Ok(download_mnist(&self.path, None)?)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

/// Fashion-MNIST.
pub struct FashionMnist {
    path: PathBuf,
}

described! {
    FashionMnist = "fashion", "Fashion-MNIST, ten kinds of clothes in the format of MNIST";
    path: PathBuf, None, Range::ANY, "folder of the four files";
}

impl DataSet for FashionMnist {
    fn open(&self, _: &Opening<'_>) -> Result<OpenData> {
        let (train, test) = dropforge_data::fashion_mnist(&self.path)?;
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
    fn how_to_come_by_it_is_said() {
        let spec = DataSpec::parse("mnist:no/such/folder").unwrap();
        let error = spec.open(&Opening::default()).err().unwrap().for_command();
        assert!(error.contains("no/such/folder") && error.contains("--download"), "{error}");
    }
}
