//! Parts of a configuration that the registry builds.

use super::registry::{Kind, build};
use crate::settings::{Context, SettingType, TYPE, Table, Value};
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;

/// A thing of a kind, such as an optimizer, as it stands in a configuration: its name and all its settings.
pub struct Part<T: ?Sized> {
    table: Table,
    kind: PhantomData<fn() -> Box<T>>,
}

impl<T: Kind + ?Sized + 'static> Part<T> {
    /// The one that a name, or a table with `type` and settings, stands for; what is not given has its default.
    ///
    /// # Errors
    /// There is no such name, or a setting is wrong.
    pub fn new(value: &Value) -> Result<Part<T>> {
        let table = build::<T>(value)?.config()?;
        Ok(Part { table, kind: PhantomData })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.table.get(TYPE).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its name and all its settings.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The thing itself.
    ///
    /// # Errors
    /// Only if there is a bug: what was read can be built.
    pub fn build(&self) -> Result<Box<T>> {
        build(&Value::Table(self.table.clone()))
    }
}

impl<T: ?Sized> Clone for Part<T> {
    fn clone(&self) -> Part<T> {
        Part { table: self.table.clone(), kind: PhantomData }
    }
}

impl<T: ?Sized> PartialEq for Part<T> {
    fn eq(&self, other: &Part<T>) -> bool {
        self.table == other.table
    }
}

impl<T: ?Sized> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.table, f)
    }
}

impl<T: Kind + ?Sized + 'static> SettingType for Part<T> {
    fn expects() -> String {
        format!("a name, or a table with `{TYPE}` and settings")
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Part<T>> {
        Part::new(value)
    }

    fn kind() -> Option<&'static str> {
        Some(T::KIND)
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::Table(self.table.clone())))
    }
}

impl<T: Kind + ?Sized + 'static> TryFrom<&str> for Part<T> {
    type Error = Error;

    fn try_from(name: &str) -> Result<Part<T>> {
        Part::new(&Value::String(name.into()))
    }
}
