//! Declarations: a type, its name, and its settings.

use super::{Context, Range, SettingType, TYPE, Table, Value, unknown};
use crate::{Error, ErrorKind, Result};

/// One setting of a thing.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its key in a file.
    pub name: &'static str,
    /// What a value looks like, for people.
    pub expects: String,
    /// What it is unless given, written down; `None` if it must be given, or if leaving it out says something.
    pub default: Option<Value>,
    /// Whether it must be given.
    pub required: bool,
    /// What its numbers may be.
    pub range: Range,
    /// One line of help.
    pub help: &'static str,
    /// Whether a run may go on with another value.
    pub may_change: bool,
    /// The kind of the things that its value describes, such as `optimizer`, if it describes any.
    pub kind: Option<&'static str>,
    /// Whether it is the path of a file or a folder.
    pub is_path: bool,
    /// The value that a word of a command line stands for.
    pub from_word: fn(&str) -> Value,
}

/// What a thing is called in PyTorch, or the paper it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// What it is called there.
    pub name: &'static str,
    /// What is different on purpose; empty if nothing is.
    pub differs: &'static str,
}

/// A thing that a name can stand for.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Its counterpart elsewhere, if it has one.
    pub twin: Option<Twin>,
    /// Its settings, in the order of their declaration.
    pub settings: Vec<Setting>,
}

impl Declaration {
    /// The setting with this key.
    ///
    /// # Errors
    /// There is none; the message offers the nearest.
    pub fn setting(&self, name: &str) -> Result<&Setting> {
        let known: Vec<&str> = self.settings.iter().map(|setting| setting.name).collect();
        let found = self.settings.iter().find(|setting| setting.name == name);
        found.ok_or_else(|| unknown(&format!("{} has no setting", self.name), name, "it has", &known))
    }
}

/// A type whose values can be written down as a name with settings. [`described!`](crate::described) implements it.
pub trait Described: Sized {
    /// Its name in files and on the command line.
    const NAME: &'static str;

    /// What it is and what can be set.
    fn declaration() -> Declaration;

    /// Reads the settings of a table; `type` and what is not given are passed over.
    ///
    /// # Errors
    /// A key is unknown, a value is of another type or out of its range, or a required one is missing.
    fn read(table: &Table, context: &Context<'_>) -> Result<Self>;

    /// Writes all settings, without the name.
    ///
    /// # Errors
    /// A setting cannot be written down, such as a function.
    fn write(&self) -> Result<Table>;

    /// Writes name and settings.
    ///
    /// # Errors
    /// As [`Described::write`].
    fn write_named(&self) -> Result<Table> {
        let mut table = Table::new();
        table.insert(TYPE.into(), Value::String(Self::NAME.into()));
        table.extend(self.write()?);
        Ok(table)
    }

    /// The same thing with one setting changed.
    ///
    /// # Errors
    /// There is no such setting, or its value cannot be that.
    fn with(&self, setting: &str, value: Value, context: &Context<'_>) -> Result<Self> {
        Self::declaration().setting(setting)?;
        let mut table = self.write()?;
        table.insert(setting.into(), value);
        Self::read(&table, context)
    }
}

/// The fields of a table while they are read.
pub struct Fields<'a> {
    name: &'static str,
    table: &'a Table,
    context: &'a Context<'a>,
}

impl<'a> Fields<'a> {
    /// Fields for a thing with this declaration, whose keys must be known.
    ///
    /// # Errors
    /// A key is unknown.
    pub fn new(declaration: &Declaration, table: &'a Table, context: &'a Context<'a>) -> Result<Fields<'a>> {
        for key in table.keys().filter(|key| *key != TYPE) {
            declaration.setting(key)?;
        }
        Ok(Fields { name: declaration.name, table, context })
    }

    /// The value of a field, or its default.
    ///
    /// # Errors
    /// It is missing without a default, of another type, or out of its range.
    pub fn read<T: SettingType>(&self, key: &str, default: Option<T>, range: Range) -> Result<T> {
        let Some(value) = self.table.get(key) else {
            return default.ok_or_else(|| {
                Error::of(
                    ErrorKind::Setting,
                    format!("{} needs `{key}`, {}; it is missing", self.name, T::expects()),
                )
            });
        };
        let named = |error: Error| error.context(format_args!("{}: `{key}`", self.name));
        let value = T::read(value, self.context).map_err(named)?;
        match value.numbers().into_iter().find(|number| !range.contains(*number)) {
            None => Ok(value),
            Some(number) => {
                let name = self.name;
                Err(Error::of(
                    ErrorKind::Setting,
                    format!("{name}: `{key}` is {number}, it must be {}", finite(range)),
                ))
            }
        }
    }
}

/// What a range says where a number is not in it.
fn finite(range: Range) -> String {
    if range.is_any() { "a finite number".into() } else { range.to_string() }
}

/// A declared setting; for [`described!`](crate::described).
#[doc(hidden)]
pub fn setting<T: SettingType>(
    name: &'static str,
    default: Option<T>,
    range: Range,
    help: &'static str,
    may_change: bool,
    by_recipe: bool,
) -> Setting {
    let default = default.map(|value| value.write().ok().flatten());
    Setting {
        name,
        expects: T::expects(),
        required: default.is_none() && !by_recipe,
        default: default.flatten().filter(|_| !by_recipe),
        range,
        help,
        may_change,
        kind: T::kind(),
        is_path: T::IS_PATH,
        from_word: T::from_word,
    }
}

/// Declares what a type is called in files and which of its fields are settings.
///
/// Each setting is a field of the type: `field: type, default, range, help;`. The default is `Some(value)`, or `None`
/// for a setting that must be given. `field as "key"` gives it another name in files. `may change` behind the help says
/// that a run can go on with another value, `by recipe` that what it is by default follows from other settings. Behind
/// the help of the whole stands what it is called in PyTorch or the paper it comes from (`like "nn.ReLU"`), with what
/// differs on purpose (`but "no dilation"`), and then, in braces, fields that are no settings with their values. See
/// [`settings`](crate::settings) for an example.
#[macro_export]
macro_rules! described {
    (
        $type:ty = $name:literal, $help:literal $(like $twin:literal $(but $differs:literal)?)?
            $(, { $($rest:ident: $value:expr),* $(,)? })?;
        $($field:ident $(as $key:literal)?: $kind:ty, $default:expr, $range:expr, $line:literal
            $(, may $change:ident)? $(, by $recipe:ident)?;)*
    ) => {
        impl $crate::settings::Described for $type {
            const NAME: &'static str = $name;

            fn declaration() -> $crate::settings::Declaration {
                $crate::settings::Declaration {
                    name: $name,
                    help: $help,
                    twin: $crate::described!(@twin $($twin $($differs)?)?),
                    settings: vec![$($crate::settings::declare_setting::<$kind>(
                        $crate::described!(@key $field $($key)?),
                        $default,
                        $range,
                        $line,
                        $crate::described!(@flag $($change)?),
                        $crate::described!(@flag $($recipe)?),
                    )),*],
                }
            }

            #[allow(unused_variables, reason = "there may be no settings")]
            fn read(
                table: &$crate::settings::Table,
                context: &$crate::settings::Context<'_>,
            ) -> $crate::Result<Self> {
                let declaration = <Self as $crate::settings::Described>::declaration();
                let fields = $crate::settings::Fields::new(&declaration, table, context)?;
                Ok(Self {
                    $($field: fields.read::<$kind>($crate::described!(@key $field $($key)?), $default, $range)?,)*
                    $($($rest: $value,)*)?
                })
            }

            #[allow(unused_mut, reason = "there may be no settings")]
            fn write(&self) -> $crate::Result<$crate::settings::Table> {
                let mut table = $crate::settings::Table::new();
                $(
                    let value = <$kind as $crate::settings::SettingType>::write(&self.$field);
                    let key = $crate::described!(@key $field $($key)?);
                    match value.map_err(|error| error.context(format_args!("{}: `{key}`", $name)))? {
                        Some(value) => drop(table.insert(key.into(), value)),
                        None => {}
                    }
                )*
                Ok(table)
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@twin) => { None };
    (@twin $name:literal) => { $crate::described!(@twin $name "") };
    (@twin $name:literal $differs:literal) => {
        Some($crate::settings::Twin { name: $name, differs: $differs })
    };
    (@flag) => { false };
    (@flag change) => { true };
    (@flag recipe) => { true };
}
