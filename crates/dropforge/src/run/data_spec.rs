//! Data sets as words of a command line and as tables of a configuration, which say the same.

use super::InputSpec;
use super::data_sets::{DataSet, OpenData, Opening};
use super::registry::{build, entry};
use crate::settings::{Declaration, Setting, TYPE, Table, Value};
use crate::{Error, Result};
use dropforge_data::Source;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A data set of the registry with its settings.
///
/// As a word it is its name, the first of its settings behind a colon, and others that are not as usual behind a
/// question mark: `digits:600`, `mnist`, `folder:DIR`, `text:FILE?length=64&tokens=bytes`. As a table it has `type` and
/// settings.
#[derive(Clone)]
pub struct DataSpec {
    set: Arc<dyn DataSet>,
    /// Name and all settings.
    table: Table,
}

impl DataSpec {
    /// The data set of a configuration: a word as on the command line, or a table with `type` and settings.
    ///
    /// # Errors
    /// The name is unknown, or a setting is wrong.
    pub fn new(value: &Value) -> Result<DataSpec> {
        if let Value::String(word) = value {
            return DataSpec::parse(word);
        }
        let set: Arc<dyn DataSet> = build::<dyn DataSet>(value)?.into();
        Ok(DataSpec { table: set.config()?, set })
    }

    /// The data set of this word.
    ///
    /// # Errors
    /// The name is unknown, or a setting is missing or wrong.
    pub fn parse(word: &str) -> Result<DataSpec> {
        let (name, rest) = word.split_once(':').map_or((word, None), |(name, rest)| (name, Some(rest)));
        let declaration = &entry::<dyn DataSet>(name)?.declaration;
        let named = |error: Error| error.context(format_args!("data `{word}`"));
        let table = table_of(declaration, rest).map_err(named)?;
        DataSpec::new(&Value::Table(table)).map_err(named)
    }

    /// The same as a table with `type` and all settings.
    pub fn table(&self) -> Table {
        self.table.clone()
    }

    /// Whether both are read alike, perhaps from other places.
    pub fn is_like(&self, other: &DataSpec) -> Result<bool> {
        let elsewhere = |spec: &DataSpec| -> Result<Table> {
            let mut table = spec.table.clone();
            spec.settings()?.iter().filter(|setting| setting.is_path).for_each(|setting| {
                table.remove(setting.name);
            });
            Ok(table)
        };
        Ok(elsewhere(self)? == elsewhere(other)?)
    }

    /// The same data set with its files from the root, so that the name means the same wherever it is used.
    ///
    /// # Errors
    /// Only if there is a bug: what was built can be built again.
    pub fn absolute(&self) -> Result<DataSpec> {
        let mut table = self.table.clone();
        for setting in self.settings()?.iter().filter(|setting| setting.is_path) {
            if let Some(Value::String(path)) = table.get_mut(setting.name)
                && let Ok(absolute) = std::path::absolute(Path::new(path))
            {
                *path = absolute.display().to_string();
            }
        }
        DataSpec::new(&Value::Table(table))
    }

    /// A word for the data set, for names of folders.
    pub fn short_name(&self) -> String {
        self.set.short_name()
    }

    /// Fetches the data set unless it is there.
    ///
    /// # Errors
    /// The data set is none that can be fetched, or fetching fails.
    pub fn download(&self) -> Result<()> {
        self.set.download().map_err(|error| error.context(self))
    }

    /// Opens the data.
    ///
    /// # Errors
    /// A file or folder is missing or damaged, or there is only one class; the message names it.
    pub fn open(&self, opening: &Opening<'_>) -> Result<OpenData> {
        let data = self.set.open(opening)?;
        if let Some([only]) = data.train.description().class_names() {
            let advice = self.set.advice_for_one_class(only);
            return Err(Error::data(format!("{self}: there is one class only, `{only}`; {advice}")));
        }
        Ok(data)
    }

    /// All samples, to measure a model on other data than it was trained with: what is for testing where a data set has
    /// such a part of its own, and else everything. Texts are read by the vocabulary of the model.
    ///
    /// # Errors
    /// As for [`DataSpec::open`], except that one class is enough.
    pub fn open_all(&self, opening: &Opening<'_>, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        self.set.open_all(opening, inputs)
    }

    fn settings(&self) -> Result<&'static [Setting]> {
        let name = self.table.get(TYPE).and_then(Value::as_str).unwrap_or_default();
        Ok(&entry::<dyn DataSet>(name)?.declaration.settings)
    }
}

impl PartialEq for DataSpec {
    fn eq(&self, other: &DataSpec) -> bool {
        self.table == other.table
    }
}

impl fmt::Debug for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataSpec({self})")
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table.get(TYPE).and_then(Value::as_str).unwrap_or_default())?;
        let settings = self.settings().unwrap_or_default();
        let unusual = |setting: &&Setting| self.table.get(setting.name) != setting.default.as_ref();
        let said: Vec<&Setting> = settings.iter().filter(unusual).collect();
        if said.is_empty() {
            return Ok(());
        }
        let mut joint = '?';
        for setting in settings {
            let Some(value) = self.table.get(setting.name) else { continue };
            if setting.name == settings[0].name {
                write!(f, ":{}", plain(value))?;
            } else if said.iter().any(|said| said.name == setting.name) {
                write!(f, "{joint}{}={}", setting.name, escaped(value))?;
                joint = '&';
            }
        }
        Ok(())
    }
}

/// Name and settings of a word, of which `rest` stands behind the colon.
fn table_of(declaration: &Declaration, rest: Option<&str>) -> Result<Table> {
    let mut table = Table::from_iter([(TYPE.to_string(), Value::String(declaration.name.into()))]);
    let Some(first) = declaration.settings.first() else { return Ok(table) };
    let (main, options) = match rest.and_then(|rest| rest.rsplit_once('?')) {
        Some((main, options)) if options.contains('=') => (main, options),
        _ => (rest.unwrap_or_default(), ""),
    };
    if rest.is_some() && main.is_empty() || rest.is_none() && first.required {
        let (name, first) = (declaration.name, first.name);
        return Err(Error::setting(format!("names no {first}; write {name}:{}", first.to_uppercase())));
    }
    if rest.is_some() {
        table.insert(first.name.into(), (first.from_word)(main));
    }
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let setting = declaration.setting(key)?;
        table.insert(key.into(), unescaped((setting.from_word)(value)));
    }
    Ok(table)
}

/// What separates the parts of options, and how it is written in their texts.
const ESCAPES: [(&str, &str); 4] = [("%", "%25"), ("&", "%26"), (",", "%2C"), ("?", "%3F")];

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Boolean(flag) => if *flag { "yes" } else { "no" }.into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn escaped(value: &Value) -> String {
    match value {
        Value::String(text) => {
            ESCAPES.iter().fold(text.clone(), |text, (character, code)| text.replace(character, code))
        }
        Value::Array(items) => items.iter().map(escaped).collect::<Vec<_>>().join(","),
        other => plain(other),
    }
}

fn unescaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(
            ESCAPES.iter().rev().fold(text, |text, (character, code)| text.replace(code, character)),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(unescaped).collect()),
        other => other,
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
            "mnist:/a/b",
            "cifar10:b/c",
            "folder:pets: both",
            "text:a?b.txt",
            "text:e.txt?length=64&tokens=bytes",
            "table:f.csv?target=price&ignore=a,b&classes=yes",
            "table:f.csv?target=a%26b%3F&ignore=one%2C two,50%25",
            "table:f.csv",
        ] {
            let spec = DataSpec::new(&Value::String(word.into())).unwrap();
            assert_eq!(spec.to_string(), word);
            assert_eq!(DataSpec::new(&Value::Table(spec.table())).unwrap(), spec);
        }
        let spec = DataSpec::parse("table:f.csv?target=a%26b&ignore=one%2C two,c").unwrap();
        assert_eq!(spec.table()["target"].as_str(), Some("a&b"));
        assert_eq!(spec.table()["ignore"][0].as_str(), Some("one, two"));
        assert_eq!(DataSpec::parse("folder:a/My Pets").unwrap().short_name(), "my-pets");
        let absolute = DataSpec::parse("text:a.txt?length=9").unwrap().absolute().unwrap().to_string();
        let here = std::env::current_dir().unwrap().join("a.txt");
        assert_eq!(absolute, format!("text:{}?length=9", here.display()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("minst", "unknown data set `minst`; did you mean `mnist`? Known are `cifar10`"),
            ("cifar10", "data `cifar10`: names no path; write cifar10:PATH"),
            ("folder:", "write folder:PATH"),
            ("text:", "write text:PATH"),
            ("table:x?tarjet=a", "table has no setting `tarjet`; did you mean `target`?"),
            ("table:x?classes=maybe", "`classes`: should be true or false"),
            ("text:a?length=0", "must be from 1 to"),
            ("text:a?lenght=3", "did you mean `length`"),
            ("digits:x", "`count`: should be a whole number"),
            ("digits:0", "from 10 to 10000000"),
        ] {
            let message = DataSpec::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let message = |text: &str| DataSpec::new(&toml::from_str(text).unwrap()).unwrap_err().to_string();
        assert!(message("type = 'folderr'\npath = 'a'").contains("did you mean `folder`"));
        assert!(message("type = 'folder'").contains("folder needs `path`"));
        assert!(
            message("type = 'digits'\ncount = 1").contains("`count` is 1, it must be from 10 to 10000000")
        );
        assert!(message("type = 'text'\npath = 'a'\nlenght = 3").contains("did you mean `length`"));
        let message = DataSpec::parse("digits").unwrap().download().unwrap_err().to_string();
        assert!(message.contains("digits: it cannot be downloaded"), "{message}");
    }
}
