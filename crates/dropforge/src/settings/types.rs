//! The types that a setting may have, and how they are written in a file.

use super::{Table, Value};
use crate::{Error, ErrorKind, Result};
use std::any::Any;
use std::path::PathBuf;

/// Builds what a name stands for inside of other settings, such as the layers of a residual block.
pub trait Library: Sync {
    /// Builds the thing of this kind (`layer`, `initialiser`, ..) that a value names; the caller knows its type.
    ///
    /// # Errors
    /// There is no such kind or name, or a setting is wrong.
    fn build(&self, kind: &str, value: &Value) -> Result<Box<dyn Any>>;
}

/// What is known while settings are read.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Builds nested things; without one they are refused.
    pub library: Option<&'a dyn Library>,
}

impl Context<'_> {
    /// Nothing is known: for things whose settings are plain values.
    pub const NONE: Context<'static> = Context { library: None };

    /// Builds a nested thing; `T` is what the library makes for this kind.
    ///
    /// # Errors
    /// As [`Library::build`], or there is no library.
    pub fn build<T: 'static>(&self, kind: &str, value: &Value) -> Result<T> {
        let library = self
            .library
            .ok_or_else(|| Error::of(ErrorKind::Setting, format!("a {kind} cannot be named here")))?;
        let built = library.build(kind, value)?.downcast::<T>();
        built
            .map(|built| *built)
            .map_err(|_| Error::of(ErrorKind::Setting, format!("a {kind} cannot be used here")))
    }
}

/// A type that a setting may have.
pub trait SettingType: Sized {
    /// Whether a value is the path of a file or a folder, which means another one from elsewhere.
    const IS_PATH: bool = false;

    /// What a value looks like, for people: `a number`.
    fn expects() -> String;

    /// Reads a value.
    ///
    /// # Errors
    /// The value is of another type; the message says what is expected.
    fn read(value: &Value, context: &Context<'_>) -> Result<Self>;

    /// Writes a value; `None` for one that is said by leaving the setting out.
    ///
    /// # Errors
    /// The value cannot be written down, such as a function.
    fn write(&self) -> Result<Option<Value>>;

    /// The kind of the things that a value describes, such as `optimizer`, if it describes any.
    fn kind() -> Option<&'static str> {
        None
    }

    /// The numbers in it, for the check of the range.
    fn numbers(&self) -> Vec<f64> {
        Vec::new()
    }

    /// The value that a word of a command line stands for: `yes`, `3`, `a,b`. What is of another type is left for
    /// [`SettingType::read`] to refuse.
    fn from_word(word: &str) -> Value {
        Value::String(word.into())
    }
}

/// The error for a value of another type.
fn wrong(expected: &str, value: &Value) -> Error {
    let mut shown = value.to_string();
    if shown.chars().count() > 60 {
        shown = shown.chars().take(60).chain("…".chars()).collect();
    }
    Error::of(ErrorKind::Setting, format!("should be {expected}, got {shown}"))
}

impl SettingType for f64 {
    fn expects() -> String {
        "a number".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<f64> {
        match value {
            Value::Float(x) => Ok(*x),
            Value::Integer(x) => Ok(*x as f64),
            _ => Err(wrong("a number", value)),
        }
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::Float(*self)))
    }

    fn numbers(&self) -> Vec<f64> {
        vec![*self]
    }

    fn from_word(word: &str) -> Value {
        word.parse().map_or_else(|_| Value::String(word.into()), Value::Float)
    }
}

impl SettingType for f32 {
    fn expects() -> String {
        f64::expects()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<f32> {
        f64::read(value, context).map(|x| x as f32)
    }

    fn write(&self) -> Result<Option<Value>> {
        // The shortest decimal that is this f32, not the longer one of the same f64.
        let text = self.to_string();
        Ok(Some(Value::Float(text.parse().unwrap_or_else(|_| f64::from(*self)))))
    }

    fn numbers(&self) -> Vec<f64> {
        vec![f64::from(*self)]
    }

    fn from_word(word: &str) -> Value {
        f64::from_word(word)
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl SettingType for $type {
            fn expects() -> String {
                "a whole number".into()
            }

            fn read(value: &Value, _: &Context<'_>) -> Result<$type> {
                // TOML's integers are signed; what is larger is written as text.
                let read = match value {
                    Value::Integer(x) => <$type>::try_from(*x).ok(),
                    Value::String(text) => text.parse().ok(),
                    _ => None,
                };
                read.ok_or_else(|| wrong("a whole number, 0 or more", value))
            }

            fn write(&self) -> Result<Option<Value>> {
                let value = i64::try_from(*self).map(Value::Integer);
                Ok(Some(value.unwrap_or_else(|_| Value::String(self.to_string()))))
            }

            fn numbers(&self) -> Vec<f64> {
                vec![*self as f64]
            }

            fn from_word(word: &str) -> Value {
                word.parse().map_or_else(|_| Value::String(word.into()), Value::Integer)
            }
        }
    )*};
}
whole_numbers!(usize, u64, u32);

impl SettingType for isize {
    fn expects() -> String {
        "a whole number".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<isize> {
        let read = value.as_integer().and_then(|x| isize::try_from(x).ok());
        read.ok_or_else(|| wrong("a whole number", value))
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::Integer(*self as i64)))
    }

    fn numbers(&self) -> Vec<f64> {
        vec![*self as f64]
    }
}

impl SettingType for bool {
    fn expects() -> String {
        "true or false".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<bool> {
        value.as_bool().ok_or_else(|| wrong("true or false", value))
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::Boolean(*self)))
    }

    fn from_word(word: &str) -> Value {
        match word {
            "yes" | "true" => Value::Boolean(true),
            "no" | "false" => Value::Boolean(false),
            other => Value::String(other.into()),
        }
    }
}

impl SettingType for PathBuf {
    const IS_PATH: bool = true;

    fn expects() -> String {
        "a path".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<PathBuf> {
        value.as_str().map(PathBuf::from).ok_or_else(|| wrong("a path", value))
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::String(self.display().to_string())))
    }
}

impl SettingType for String {
    fn expects() -> String {
        "a text".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<String> {
        value.as_str().map(str::to_string).ok_or_else(|| wrong("a text", value))
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::String(self.clone())))
    }
}

/// Settings of something whose own are not known here.
impl SettingType for Table {
    fn expects() -> String {
        "a table of settings".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Table> {
        value.as_table().cloned().ok_or_else(|| wrong(&Self::expects(), value))
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::Table(self.clone())))
    }
}

/// Left out for `None`.
impl<T: SettingType> SettingType for Option<T> {
    const IS_PATH: bool = T::IS_PATH;

    fn expects() -> String {
        T::expects()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Option<T>> {
        T::read(value, context).map(Some)
    }

    fn kind() -> Option<&'static str> {
        T::kind()
    }

    fn write(&self) -> Result<Option<Value>> {
        self.as_ref().map_or(Ok(None), T::write)
    }

    fn numbers(&self) -> Vec<f64> {
        self.as_ref().map_or_else(Vec::new, T::numbers)
    }

    fn from_word(word: &str) -> Value {
        T::from_word(word)
    }
}

impl<T: SettingType> SettingType for Vec<T> {
    fn expects() -> String {
        format!("a list, each {}", T::expects())
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Vec<T>> {
        let Value::Array(items) = value else { return Err(wrong(&Self::expects(), value)) };
        let item = |(index, item)| {
            let place = index + 1;
            T::read(item, context).map_err(|error| error.context(format_args!("number {place} of the list")))
        };
        items.iter().enumerate().map(item).collect()
    }

    fn kind() -> Option<&'static str> {
        T::kind()
    }

    fn write(&self) -> Result<Option<Value>> {
        let items: Result<Vec<Option<Value>>> = self.iter().map(T::write).collect();
        Ok(Some(Value::Array(items?.into_iter().flatten().collect())))
    }

    fn numbers(&self) -> Vec<f64> {
        self.iter().flat_map(T::numbers).collect()
    }

    fn from_word(word: &str) -> Value {
        Value::Array(word.split(',').filter(|word| !word.is_empty()).map(T::from_word).collect())
    }
}

/// One value for all, or a list of so many.
impl<T: SettingType + Copy + PartialEq, const N: usize> SettingType for [T; N] {
    fn expects() -> String {
        format!("{}, or a list of {N}", T::expects())
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<[T; N]> {
        let Value::Array(items) = value else { return T::read(value, context).map(|one| [one; N]) };
        let items = items.iter().map(|item| T::read(item, context)).collect::<Result<Vec<T>>>()?;
        items.try_into().map_err(|_| wrong(&Self::expects(), value))
    }

    fn write(&self) -> Result<Option<Value>> {
        match self.first() {
            Some(first) if self.iter().all(|item| item == first) => first.write(),
            _ => self.to_vec().write(),
        }
    }

    fn numbers(&self) -> Vec<f64> {
        self.iter().flat_map(T::numbers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again<T: SettingType + PartialEq + std::fmt::Debug>(value: T) {
        let written = value.write().unwrap().unwrap();
        let read = T::read(&written, &Context::NONE).unwrap();
        assert_eq!(read, value, "{written}");
    }

    #[test]
    fn what_is_written_reads_back() {
        again(0.1 + 0.2);
        again(0.1f32);
        again(f32::MIN_POSITIVE);
        again(u64::MAX);
        again(true);
        again("a \"quoted\" one".to_string());
        again(vec![1usize, 2]);
        again([3usize, 5]);
        again([3usize, 3]);
        assert_eq!(0.1f32.write().unwrap(), Some(Value::Float(0.1)));
        assert_eq!(None::<f64>.write().unwrap(), None);
    }

    #[test]
    fn other_types_are_refused() {
        let message = |value: Value| <[usize; 2]>::read(&value, &Context::NONE).unwrap_err().to_string();
        assert_eq!(message(Value::Integer(-3)), "should be a whole number, 0 or more, got -3");
        let three = Value::Array(vec![Value::Integer(1); 3]);
        assert_eq!(message(three), "should be a whole number, or a list of 2, got [1, 1, 1]");
        let second = Value::Array(vec![Value::Integer(1), Value::Integer(-1)]);
        let wrong = Vec::<usize>::read(&second, &Context::NONE).unwrap_err().to_string();
        assert!(wrong.starts_with("number 2 of the list"), "{wrong}");
        let long = message(Value::String("x".repeat(1 << 20)));
        assert!(long.len() < 200, "{long}");
        assert!(f64::read(&Value::Boolean(true), &Context::NONE).is_err());
    }
}
