//! Data sets as they stand in a configuration: `[data]` with `type` and settings says the same as a word like `digits:600`.

use super::DataSpec;
use super::registry::build;
use crate::settings::{Described, Range, TYPE, Table, Value};
use crate::{Result, described};
use dropforge_data::{DIGITS_TRAIN, TableOptions};
use std::path::PathBuf;

/// Tokens of a sample of text, unless told otherwise.
pub(super) const TEXT_LENGTH: usize = 128;
/// Where MNIST is looked for unless told otherwise.
pub(super) const MNIST_DIR: &str = "data/mnist";

/// A data set that a name stands for.
pub trait DataSet: Send + Sync {
    /// What is opened.
    fn spec(&self) -> DataSpec;

    /// Its name and settings.
    ///
    /// # Errors
    /// Only if there is a bug: the settings are texts and numbers.
    fn config(&self) -> Result<Table>;
}

macro_rules! data_set {
    ($type:ty, $this:ident => $spec:expr) => {
        impl DataSet for $type {
            fn spec(&self) -> DataSpec {
                let $this = self;
                $spec
            }

            fn config(&self) -> Result<Table> {
                self.write_named()
            }
        }
    };
}

/// Built-in digits.
pub struct Digits {
    count: usize,
}
described! {
    Digits = "digits", "handwritten digits, which the library draws itself";
    count: usize, Some(DIGITS_TRAIN), (10..=10_000_000).into(), "images to train on; a sixth as many are for testing";
}
data_set!(Digits, this => DataSpec::Digits(this.count));

/// MNIST and data sets in its format.
pub struct Mnist {
    path: String,
}
described! {
    Mnist = "mnist", "MNIST, or another data set in its format (IDX)";
    path: String, Some(MNIST_DIR.into()), Range::ANY, "folder of the four files";
}
data_set!(Mnist, this => DataSpec::Mnist(PathBuf::from(&this.path)));

/// CIFAR-10.
pub struct Cifar10 {
    path: String,
}
described! {
    Cifar10 = "cifar10", "CIFAR-10, binary version";
    path: String, None, Range::ANY, "folder of the files";
}
data_set!(Cifar10, this => DataSpec::Cifar10(PathBuf::from(&this.path)));

/// Images in folders.
pub struct Folder {
    path: String,
}
described! {
    Folder = "folder", "PNG and JPEG images in a folder per class, or in such folders within train and test";
    path: String, None, Range::ANY, "the folder";
}
data_set!(Folder, this => DataSpec::Folder(PathBuf::from(&this.path)));

/// A text.
pub struct Text {
    path: String,
    length: usize,
    bytes: bool,
}
described! {
    Text = "text", "a text in UTF-8, of which each next token is to be predicted";
    path: String, None, Range::ANY, "the file";
    length: usize, Some(TEXT_LENGTH), (1..=1_000_000).into(), "tokens of a sample";
    bytes: bool, Some(false), Range::ANY, "whether the bytes are the tokens, not the characters";
}
data_set!(Text, this => DataSpec::Text { path: PathBuf::from(&this.path), length: this.length, bytes: this.bytes });

/// A table.
pub struct CsvTable {
    path: String,
    target: Option<String>,
    ignore: Vec<String>,
    classes: bool,
}
described! {
    CsvTable = "table", "a table in a CSV or TSV file, of which one column is predicted from the others";
    path: String, None, Range::ANY, "the file";
    target: Option<String>, Some(None), Range::ANY, "the column to predict, the last one by default";
    ignore: Vec<String>, Some(Vec::new()), Range::ANY, "columns that are not read";
    classes: bool, Some(false), Range::ANY, "whether a target of numbers stands for classes";
}
data_set!(CsvTable, this => DataSpec::Table {
    path: PathBuf::from(&this.path),
    options: TableOptions { target: this.target.clone(), ignore: this.ignore.clone(), classes: this.classes },
});

impl DataSpec {
    /// The data set of a configuration: a word as on the command line, or a table with `type` and settings.
    ///
    /// # Errors
    /// The name is unknown, or a setting is wrong.
    pub fn new(value: &Value) -> Result<DataSpec> {
        match value {
            Value::String(word) => DataSpec::parse(word),
            table => Ok(build::<dyn DataSet>(table)?.spec()),
        }
    }

    /// The same as a table with `type` and settings, of which some can then be changed.
    pub fn table(&self) -> Table {
        let text = |path: &PathBuf| Value::String(path.display().to_string());
        let (name, settings) = match self {
            DataSpec::Digits(count) => ("digits", vec![("count", Value::Integer(*count as i64))]),
            DataSpec::Mnist(path) => ("mnist", vec![("path", text(path))]),
            DataSpec::Cifar10(path) => ("cifar10", vec![("path", text(path))]),
            DataSpec::Folder(path) => ("folder", vec![("path", text(path))]),
            DataSpec::Text { path, length, bytes } => (
                "text",
                vec![
                    ("path", text(path)),
                    ("length", Value::Integer(*length as i64)),
                    ("bytes", Value::Boolean(*bytes)),
                ],
            ),
            DataSpec::Table { path, options } => {
                let ignore = options.ignore.iter().cloned().map(Value::String).collect();
                let target = options.target.iter().map(|target| ("target", Value::String(target.clone())));
                let rest = [
                    ("path", text(path)),
                    ("ignore", Value::Array(ignore)),
                    ("classes", Value::Boolean(options.classes)),
                ];
                ("table", target.chain(rest).collect())
            }
        };
        let named = std::iter::once((TYPE, Value::String(name.into())));
        named.chain(settings).map(|(key, value)| (key.to_string(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_tables_say_the_same() {
        for word in [
            "digits",
            "digits:600",
            "mnist",
            "mnist:a",
            "cifar10:b/c",
            "folder:d",
            "text:e.txt?length=64&tokens=bytes",
            "table:f.csv?target=price&ignore=a,b&classes=yes",
            "table:f.csv",
        ] {
            let spec = DataSpec::new(&Value::String(word.into())).unwrap();
            assert_eq!(spec.to_string(), word);
            assert_eq!(DataSpec::new(&Value::Table(spec.table())).unwrap(), spec);
        }
        let message = |text: &str| DataSpec::new(&toml::from_str(text).unwrap()).unwrap_err().to_string();
        assert!(message("type = 'folderr'\npath = 'a'").contains("did you mean `folder`"));
        assert!(message("type = 'folder'").contains("folder needs `path`"));
        assert!(
            message("type = 'digits'\ncount = 1").contains("`count` is 1, it must be from 10 to 10000000")
        );
        assert!(message("type = 'text'\npath = 'a'\nlenght = 3").contains("did you mean `length`"));
    }
}
