//! Reading a line of a text form, piece by piece.

use crate::attribute::Attribute;
use crate::half::{BF16, F16};
use crate::op::Op;
use crate::types::{DType, Literal, Shape, ValueType};
use std::collections::BTreeMap;

/// What was read, or what was expected and what was found instead.
pub type Parsed<T> = std::result::Result<T, String>;

/// What is left of a line of text. Spaces before what is read are skipped.
pub struct Line<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Line<'a> {
    /// A line to read.
    pub fn new(rest: &'a str) -> Line<'a> {
        Line { rest }
    }

    /// The operation of this name, with the attributes that come.
    ///
    /// # Errors
    /// If there is no such operation, or its attributes are others.
    pub fn operation(&mut self, name: &str) -> Parsed<Op> {
        let mut attributes = self.attributes()?;
        let op = Op::from_text(name, &mut attributes)?;
        match attributes.keys().next() {
            Some(unknown) => Err(format!("{name} has no attribute {unknown}")),
            None => Ok(op),
        }
    }

    pub(super) fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Whether this character comes next.
    pub fn peeks(&mut self, first: char) -> bool {
        self.skip_space();
        self.rest.starts_with(first)
    }

    /// Whether a digit or a sign comes next.
    pub fn peeks_digit(&mut self) -> bool {
        self.skip_space();
        self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '-')
    }

    /// Whether a letter with a number comes next, such as `r7`.
    pub fn peeks_numbered(&mut self, letter: char) -> bool {
        self.skip_space();
        self.rest.strip_prefix(letter).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Whether this word comes next.
    pub fn peeks_word(&self, word: &str) -> bool {
        Line { rest: self.rest }.eat(word)
    }

    /// Whether nothing comes but a comment.
    pub fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty() || self.rest.starts_with("//")
    }

    /// Fails unless nothing comes but a comment.
    ///
    /// # Errors
    /// Names what comes.
    pub fn end(&mut self) -> Parsed<()> {
        if self.at_end() { Ok(()) } else { self.fail("the end of the line") }
    }

    /// The failure of finding something else than what was expected.
    ///
    /// # Errors
    /// Always.
    pub fn fail<T>(&self, expected: &str) -> Parsed<T> {
        let found: String = self.rest.chars().take(20).collect();
        if found.is_empty() {
            return Err(format!("expected {expected}, found the end of the line"));
        }
        Err(format!("expected {expected}, found `{}`", found.trim_end().escape_debug()))
    }

    /// Skips `token` if it comes next; a word must end where the token does.
    pub fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        let goes_on = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if goes_on && token.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            return false;
        }
        self.rest = rest;
        true
    }

    /// Skips `token`.
    ///
    /// # Errors
    /// If something else comes.
    pub fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { self.fail(&format!("`{token}`")) }
    }

    /// Takes as many characters as are parts of a word; `expected` names it in errors.
    ///
    /// # Errors
    /// If there is none.
    pub fn word(&mut self, expected: &str, part: impl Fn(char) -> bool) -> Parsed<&'a str> {
        self.skip_space();
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return self.fail(expected);
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(word)
    }

    /// The name of a value, without its `%`.
    ///
    /// # Errors
    /// If something else comes.
    pub fn value_name(&mut self, expected: &str) -> Parsed<&'a str> {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix('%') else { return self.fail(expected) };
        self.rest = rest;
        self.word(expected, |c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// A name in quotes, with Rust's escapes.
    pub(super) fn string(&mut self, expected: &str) -> Parsed<String> {
        self.skip_space();
        let quoted = format!("{expected} in quotes");
        let Some(inside) = self.rest.strip_prefix('"') else { return self.fail(&quoted) };
        let mut text = String::new();
        let mut chars = inside.chars();
        loop {
            text.push(match chars.next() {
                None => return self.fail(&format!("{quoted}, with a closing quote")),
                Some('"') => break,
                Some('\\') => {
                    let escaped = unescape(&mut chars);
                    escaped.ok_or_else(|| format!("expected {quoted}, found an escape that is not known"))?
                }
                Some(c) => c,
            });
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    /// Text in square brackets, brackets included.
    pub(super) fn bracketed(&mut self, expected: &str) -> Parsed<&'a str> {
        self.skip_space();
        let end = self.rest.starts_with('[').then(|| self.rest.find(']')).flatten();
        let Some(end) = end else { return self.fail(expected) };
        let (text, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Ok(text)
    }

    /// A type such as `f32[2, 3]`.
    ///
    /// # Errors
    /// If something else comes.
    pub fn ty(&mut self) -> Parsed<ValueType> {
        let start = self.rest;
        let expected = "a type such as f32[2, 3]";
        let dtype = DType::from_name(self.word(expected, |c| c.is_ascii_alphanumeric())?);
        let Some(dtype) = dtype else {
            self.rest = start.trim_start();
            return self.fail(expected);
        };
        let extents = self.bracketed("extents such as [2, 3]")?;
        let shape = Shape::parse(extents)
            .ok_or_else(|| format!("expected extents such as [2, 3], found `{extents}`"))?;
        shape.check()?;
        Ok(ValueType { dtype, shape })
    }

    pub(super) fn literal(&mut self, ty: ValueType) -> Parsed<Literal> {
        self.skip_space();
        let elements: Vec<&str> = if self.rest.starts_with('[') {
            let list = self.bracketed("a list of elements, closed by `]`")?;
            let inside = list[1..list.len() - 1].trim();
            if inside.is_empty() { Vec::new() } else { inside.split(',').map(str::trim).collect() }
        } else {
            vec![self.word("an element or a list of elements", |c| !c.is_whitespace() && c != '/')?]
        };
        if elements.len() != ty.shape.elements() {
            return Err(format!("{ty} has {} elements, found {}", ty.shape.elements(), elements.len()));
        }
        let mut bytes = Vec::with_capacity(ty.bytes());
        for element in elements {
            element_bytes(ty.dtype, element, &mut bytes)
                .ok_or_else(|| format!("expected an element of {}, found `{element}`", ty.dtype))?;
        }
        Literal::from_bytes(ty, &bytes).ok_or_else(|| "the elements do not fit the type".to_string())
    }

    /// `{name=value, …}` if it comes next; commas inside brackets do not separate.
    pub(super) fn attributes(&mut self) -> Parsed<BTreeMap<String, String>> {
        let mut attributes = BTreeMap::new();
        if !self.eat("{") {
            return Ok(attributes);
        }
        while !self.eat("}") {
            if !attributes.is_empty() {
                self.expect(",")?;
            }
            let name =
                self.word("the name of an attribute or `}`", |c| c.is_ascii_alphanumeric() || c == '_')?;
            self.expect("=")?;
            let mut depth = 0usize;
            let end = self.rest.find(|c| {
                match c {
                    '[' => depth += 1,
                    ']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0 && (c == ',' || c == '}')
            });
            let Some(end) = end else { return self.fail("the value of an attribute, closed by `,` or `}`") };
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            if attributes.insert(name.to_string(), value.trim().to_string()).is_some() {
                return Err(format!("the attribute {name} stands there twice"));
            }
        }
        Ok(attributes)
    }
}

fn unescape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '0' => '\0',
        c @ ('\\' | '"' | '\'') => c,
        'u' => {
            let (code, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
            *chars = rest.chars();
            char::from_u32(u32::from_str_radix(code, 16).ok()?)?
        }
        _ => return None,
    })
}

fn element_bytes(dtype: DType, text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    let nan = text.strip_prefix("nan:0x");
    match dtype {
        DType::F32 => {
            let number = match nan {
                Some(bits) => {
                    Some(f32::from_bits(u32::from_str_radix(bits, 16).ok()?)).filter(|x| x.is_nan())?
                }
                None => text.parse::<f32>().ok()?,
            };
            bytes.extend(number.to_le_bytes());
        }
        DType::F16 | DType::BF16 => {
            let is_f16 = dtype == DType::F16;
            let bits = match nan {
                Some(bits) => {
                    let bits = u16::from_str_radix(bits, 16).ok()?;
                    let infinity = if is_f16 { 0x7c00 } else { 0x7f80 };
                    Some(bits).filter(|bits| bits & 0x7fff > infinity)?
                }
                None => {
                    let number = text.parse::<f64>().ok()?;
                    if is_f16 { F16::from_f64(number).to_bits() } else { BF16::from_f64(number).to_bits() }
                }
            };
            bytes.extend(bits.to_le_bytes());
        }
        DType::I32 => bytes.extend(text.parse::<i32>().ok()?.to_le_bytes()),
        DType::U32 => bytes.extend(text.parse::<u32>().ok()?.to_le_bytes()),
        DType::U8 => bytes.push(text.parse().ok()?),
        DType::Bool => bytes.push(u8::from(text.parse::<bool>().ok()?)),
    }
    Some(())
}
