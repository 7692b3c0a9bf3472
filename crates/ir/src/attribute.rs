//! How attribute values of operations are printed and parsed.

use crate::op::{BinaryKind, CompareKind, ReduceKind, UnaryKind};
use crate::types::{DType, Real, Shape};

/// A value that can stand behind `name=` in the text form.
pub trait Attribute: Sized {
    /// The text form; must not contain `,`, `}` or `=` outside square brackets.
    fn print(&self) -> String;
    /// Reads what `print` wrote.
    fn parse(text: &str) -> Option<Self>;
}

macro_rules! plain_attribute {
    ($($type:ty),*) => {$(
        impl Attribute for $type {
            fn print(&self) -> String { self.to_string() }
            fn parse(text: &str) -> Option<Self> { text.trim().parse().ok() }
        }
    )*};
}
plain_attribute!(usize, u32);

macro_rules! named_attribute {
    ($($type:ty),*) => {$(
        impl Attribute for $type {
            fn print(&self) -> String { self.name().to_string() }
            fn parse(text: &str) -> Option<Self> { Self::from_name(text.trim()) }
        }
    )*};
}
named_attribute!(DType, UnaryKind, BinaryKind, CompareKind, ReduceKind);

impl Attribute for Vec<usize> {
    fn print(&self) -> String {
        Shape::from(self.as_slice()).to_string()
    }
    fn parse(text: &str) -> Option<Self> {
        let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
        if inner.is_empty() {
            return Some(Vec::new());
        }
        inner.split(',').map(|part| part.trim().parse().ok()).collect()
    }
}

impl Attribute for Shape {
    fn print(&self) -> String {
        self.to_string()
    }
    fn parse(text: &str) -> Option<Self> {
        Vec::<usize>::parse(text).map(Shape::from)
    }
}

impl Attribute for [usize; 2] {
    fn print(&self) -> String {
        Shape::from(*self).to_string()
    }
    fn parse(text: &str) -> Option<Self> {
        Vec::<usize>::parse(text)?.try_into().ok()
    }
}

impl Attribute for Real {
    fn print(&self) -> String {
        print_float(self.0)
    }
    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Real)
    }
}

/// Shortest text that reads back as the same number.
pub fn print_float(value: f64) -> String {
    format!("{value:?}")
}
