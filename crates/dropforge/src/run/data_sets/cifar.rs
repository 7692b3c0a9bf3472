//! CIFAR.

use super::{DataSet, OpenData, Opening};
use crate::settings::{Described, Range, Table};
use crate::{Result, described};
use std::path::PathBuf;

macro_rules! cifar {
    ($(#[$doc:meta])* $type:ident, $name:literal, $help:literal, $open:path) => {
        $(#[$doc])*
        pub struct $type {
            path: PathBuf,
        }

        described! {
            $type = $name, $help;
            path: PathBuf, None, Range::ANY, "folder of the files";
        }

        impl DataSet for $type {
            fn open(&self, _: &Opening<'_>) -> Result<OpenData> {
                let (train, test) = $open(&self.path)?;
                Ok(OpenData::new(train, test))
            }

            fn short_name(&self) -> String {
                Self::NAME.into()
            }

            fn config(&self) -> Result<Table> {
                self.write_named()
            }
        }
    };
}

cifar! {
    /// CIFAR-10.
    Cifar10, "cifar10", "CIFAR-10, binary version", dropforge_data::cifar10
}
cifar! {
    /// CIFAR-100, by its fine labels.
    Cifar100, "cifar100", "CIFAR-100, binary version, by its fine labels", dropforge_data::cifar100
}
