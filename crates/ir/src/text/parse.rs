//! Parsing.

use crate::attribute::Attribute;
use crate::error::{Error, Result};
use crate::half::{BF16, F16};
use crate::op::Op;
use crate::program::{Program, Value};
use crate::types::{DType, Literal, Shape, ValueType};
use std::collections::{BTreeMap, HashMap};

/// Reads one program from its text form. Values may have any names of letters, digits and `_`, not only numbers.
///
/// # Errors
/// Names the line, from 1, and what was expected there.
pub fn parse(text: &str) -> Result<Program> {
    let mut parser = Parser { program: Program::default(), values: HashMap::new() };
    let mut place = Place::Before;
    let mut lines = 0;
    for (index, line) in text.lines().enumerate() {
        lines = index + 1;
        let mut line = Line { rest: line };
        if line.at_end() {
            continue;
        }
        place = match place {
            Place::Before => parser.head(&mut line).map(|()| Place::Inside),
            Place::Inside if line.eat("}") => Ok(Place::After),
            Place::Inside => parser.statement(&mut line).map(|()| Place::Inside),
            Place::After => line.fail("the end of the text"),
        }
        .and_then(|place| line.end().map(|()| place))
        .map_err(|message| Error::new("parse", format!("line {}: {message}", index + 1)))?;
    }
    match place {
        Place::After => Ok(parser.program),
        Place::Before => Err(Error::new("parse", "expected `program`, found an empty text")),
        Place::Inside => {
            Err(Error::new("parse", format!("line {lines}: expected `}}`, found the end of the text")))
        }
    }
}

type Parsed<T> = std::result::Result<T, String>;

enum Place {
    Before,
    Inside,
    After,
}

struct Parser {
    program: Program,
    values: HashMap<String, Value>,
}

impl Parser {
    fn head(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        line.expect("program")?;
        line.skip_space();
        self.program.name = if line.rest.starts_with('"') {
            line.string("the program's name")?
        } else {
            line.word("the program's name", |c| c.is_ascii_alphanumeric() || "_.-".contains(c))?.to_string()
        };
        line.expect("{")
    }

    fn statement(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        if line.eat("write") {
            let name = line.string("the name of a state")?;
            line.expect("=")?;
            let value = self.value(line)?;
            let states = &self.program.states;
            let state = states.iter().position(|state| state.name == name);
            let state = state.ok_or_else(|| format!("there is no state named {name:?}"))?;
            return self.program.write(state, value).map_err(|error| error.message().to_string());
        }
        if line.eat("output") {
            let name = line.string("the name of the output")?;
            line.expect("=")?;
            let value = self.value(line)?;
            if self.program.outputs.iter().any(|output| output.name == name) {
                return Err(format!("two outputs are named {name:?}"));
            }
            self.program.output(name, value);
            return Ok(());
        }
        let mut names = Vec::new();
        let mut types = Vec::new();
        loop {
            names.push(line.value_name("a value such as %0, `write`, `output` or `}`")?);
            types.push(if line.eat(":") { Some(line.ty()?) } else { None });
            if !line.eat(",") {
                break;
            }
        }
        line.expect("=")?;
        let results = self.node(line, &types)?;
        if results.len() != names.len() {
            return Err(format!("the operation has {} results, {} are named", results.len(), names.len()));
        }
        for ((name, stated), value) in names.into_iter().zip(types).zip(results) {
            let ty = self.program.ty(value);
            if stated.is_some_and(|stated| stated != *ty) {
                return Err(format!("%{name} is {ty} by the shape rule"));
            }
            if self.values.insert(name.to_string(), value).is_some() {
                return Err(format!("%{name} is defined twice"));
            }
        }
        Ok(())
    }

    fn node(&mut self, line: &mut Line<'_>, types: &[Option<ValueType>]) -> Parsed<Vec<Value>> {
        let name = line.word("the name of an operation", |c| c.is_ascii_alphanumeric() || c == '_')?;
        let stated =
            || types[0].clone().ok_or_else(|| format!("expected a type, as in %0: f32[2] = {name} …"));
        let duplicate = |port: &str| Err(format!("two ports of this sort are named {port:?}"));
        Ok(vec![match name {
            "input" => {
                let port = line.string("the name of the input")?;
                if self.program.inputs.iter().any(|other| other.name == port) {
                    return duplicate(&port);
                }
                self.program.input(port, stated()?)
            }
            "state" => {
                let port = line.string("the name of the state")?;
                if self.program.states.iter().any(|other| other.name == port) {
                    return duplicate(&port);
                }
                self.program.state(port, stated()?)
            }
            "hyper" => {
                let port = line.string("the name of the hyperparameter")?;
                if self.program.hypers.iter().any(|other| other.name == port) {
                    return duplicate(&port);
                }
                self.program.hyper(port)
            }
            "constant" => {
                let literal = line.literal(stated()?)?;
                self.program.constant(literal)
            }
            _ => {
                let mut args = Vec::new();
                line.skip_space();
                if line.rest.starts_with('%') {
                    args.push(self.value(line)?);
                    while line.eat(",") {
                        args.push(self.value(line)?);
                    }
                }
                let mut attributes = line.attributes()?;
                let op = Op::from_text(name, &mut attributes)?;
                if let Some(unknown) = attributes.keys().next() {
                    return Err(format!("{name} has no attribute {unknown}"));
                }
                return self.program.push(op, &args).map_err(|error| error.to_string());
            }
        }])
    }

    fn value(&self, line: &mut Line<'_>) -> Parsed<Value> {
        let name = line.value_name("a value such as %0")?;
        self.values.get(name).copied().ok_or_else(|| format!("%{name} is not defined above"))
    }
}

/// What is left of a line.
struct Line<'a> {
    rest: &'a str,
}

impl<'a> Line<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty() || self.rest.starts_with("//")
    }

    fn end(&mut self) -> Parsed<()> {
        if self.at_end() { Ok(()) } else { self.fail("the end of the line") }
    }

    fn fail<T>(&self, expected: &str) -> Parsed<T> {
        let found: String = self.rest.chars().take(20).collect();
        if found.is_empty() {
            return Err(format!("expected {expected}, found the end of the line"));
        }
        Err(format!("expected {expected}, found `{}`", found.trim_end().escape_debug()))
    }

    /// Skips `token` if it comes next; a word must end where the token does.
    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        let goes_on = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if goes_on && token.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            return false;
        }
        self.rest = rest;
        true
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { self.fail(&format!("`{token}`")) }
    }

    fn word(&mut self, expected: &str, part: impl Fn(char) -> bool) -> Parsed<&'a str> {
        self.skip_space();
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return self.fail(expected);
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(word)
    }

    fn value_name(&mut self, expected: &str) -> Parsed<&'a str> {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix('%') else { return self.fail(expected) };
        self.rest = rest;
        self.word(expected, |c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// A name in quotes, with Rust's escapes.
    fn string(&mut self, expected: &str) -> Parsed<String> {
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
    fn bracketed(&mut self, expected: &str) -> Parsed<&'a str> {
        self.skip_space();
        let end = self.rest.starts_with('[').then(|| self.rest.find(']')).flatten();
        let Some(end) = end else { return self.fail(expected) };
        let (text, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Ok(text)
    }

    fn ty(&mut self) -> Parsed<ValueType> {
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

    fn literal(&mut self, ty: ValueType) -> Parsed<Literal> {
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
    fn attributes(&mut self) -> Parsed<BTreeMap<String, String>> {
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
