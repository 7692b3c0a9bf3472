//! Programs for any batch size: the text form, with expressions of the batch where numbers depend on it.
//!
//! ```text
//! program predict(b) {
//!   %0: f32[b, 1, 28, 28] = input "x"
//!   %1: f32[b, 784] = reshape %0 {shape=[b, 784]}
//!   %2: f32[28*b, 28] = reshape %0 {shape=[28*b, 28]}
//!   %3: f32[] = constant float(28*b)
//! }
//! ```
//!
//! An expression is `b`, `28*b`, `b-1` or `28*b+3`, without spaces. `float(28*b)` is that number as a float.

use crate::error::{Error, Result};
use crate::program::Program;
use crate::verify::verify;
use std::fmt::{self, Write as _};

/// Bytes that a text has at most; what is larger is no program of a network.
const MOST_BYTES: usize = 16 << 20;
/// Lines that a text has at most: some hundred layers have a thousand.
const MOST_LINES: usize = 1 << 16;

/// A program whose extents depend on the batch size, which [`Template::instantiate`] puts in.
///
/// ```
/// use dropforge_ir::text::Template;
///
/// let text = "program p(b) {\n  %0: f32[b, 6] = input \"x\"\n  %1: f32[2*b, 3] = reshape %0 {shape=[2*b, 3]}\n  output \"y\" = %1\n}\n";
/// let program = Template::parse(text)?.instantiate(4)?;
/// assert_eq!(program.shape(program.outputs[0].value).to_vec(), [8, 3]);
/// # Ok::<(), dropforge_ir::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Whole(Extent),
    Float(Extent),
}

/// `factor · b + offset`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    factor: u64,
    offset: i64,
}

impl Extent {
    fn at(self, batch: usize) -> Option<u64> {
        self.factor.checked_mul(batch as u64)?.checked_add_signed(self.offset)
    }

    /// The expression that is `numbers[i]` for a batch of `sizes[i]`, of which two differ.
    fn through(sizes: &[usize], numbers: &[u64]) -> Option<Extent> {
        let wide: Vec<(i128, i128)> =
            sizes.iter().zip(numbers).map(|(&size, &number)| (size as i128, number.into())).collect();
        let (first, second) = (*wide.first()?, *wide.get(1)?);
        let (run, rise) = (second.0 - first.0, second.1 - first.1);
        if run == 0 || rise % run != 0 || rise == 0 {
            return None;
        }
        let factor = rise / run;
        let offset = first.1 - factor * first.0;
        let fits = wide.iter().all(|(size, number)| factor * size + offset == *number);
        let extent = Extent { factor: factor.try_into().ok()?, offset: offset.try_into().ok()? };
        fits.then_some(extent)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.factor != 1 {
            write!(f, "{}*", self.factor)?;
        }
        f.write_str("b")?;
        if self.offset != 0 { write!(f, "{:+}", self.offset) } else { Ok(()) }
    }
}

impl fmt::Display for Template {
    /// The text that [`Template::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Whole(extent) => write!(f, "{extent}")?,
                Piece::Float(extent) => write!(f, "float({extent})")?,
            }
        }
        Ok(())
    }
}

impl Template {
    /// The template of one program traced at several batch sizes, three or more so that what fits two of them by chance
    /// is found out.
    ///
    /// # Errors
    /// The programs differ in more than numbers, or a number depends on the batch otherwise than as a multiple and an
    /// offset; the message shows the line.
    pub fn of(traced: &[(usize, &Program)]) -> Result<Template> {
        let sizes: Vec<usize> = traced.iter().map(|(size, _)| *size).collect();
        let texts: Vec<String> = traced.iter().map(|(_, program)| format!("{program:#}")).collect();
        let all: Vec<Vec<&str>> = texts.iter().map(|text| tokens(text)).collect();
        let [_, others @ ..] = all.as_slice() else { return Err(failed("no program was traced")) };
        if others.is_empty() {
            return Err(failed("one batch size does not show what depends on it"));
        }
        let mut pieces = Vec::new();
        let (mut line, mut in_head) = (0, true);
        for index in 0..all.iter().map(Vec::len).max().unwrap_or(0) {
            let variants: Option<Vec<&str>> = all.iter().map(|tokens| tokens.get(index).copied()).collect();
            let here = line;
            let depends = || {
                let lines: Vec<&str> =
                    texts.iter().map(|text| text.lines().nth(here).unwrap_or("nothing").trim()).collect();
                let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
                failed(format!(
                    "for batches of {} the programs differ in more than multiples of the batch: {}",
                    sizes.join(", "),
                    lines.join(" / ")
                ))
            };
            let variants = variants.ok_or_else(depends)?;
            let token = variants[0];
            line += token.matches('\n').count();
            if variants.iter().any(|variant| *variant != token) {
                pieces.push(expression(&sizes, &variants).ok_or_else(depends)?);
            } else if in_head && token == "{" {
                // `program predict {` becomes `program predict(b) {`.
                in_head = false;
                while let Some(Piece::Text(text)) = pieces.last_mut() {
                    text.truncate(text.trim_end().len());
                    if !text.is_empty() {
                        break;
                    }
                    pieces.pop();
                }
                push_text(&mut pieces, "(b) {");
            } else {
                push_text(&mut pieces, token);
            }
        }
        Ok(Template { pieces })
    }

    /// Reads a template. What it says is checked when it is instantiated.
    ///
    /// # Errors
    /// The text is too large, or its head or an expression cannot be read.
    pub fn parse(text: &str) -> Result<Template> {
        if text.len() > MOST_BYTES || text.lines().count() > MOST_LINES {
            return Err(failed(format!("is larger than {MOST_BYTES} bytes or {MOST_LINES} lines")));
        }
        let tokens = tokens(text);
        let head = tokens.iter().position(|token| *token == "{").unwrap_or(0);
        let mut pieces = Vec::new();
        let (name, parameter) = tokens.split_at(head.saturating_sub(4));
        if parameter.get(..4) != Some(&["(", "b", ")", " "]) {
            return Err(failed("expected `program NAME(b) {` at its start"));
        }
        name.iter().for_each(|token| push_text(&mut pieces, token));
        push_text(&mut pieces, "(b) {");
        let mut rest = &tokens[head + 1..];
        while let Some((&token, after)) = rest.split_first() {
            let read = |message: &str| failed(format!("{message} at `{}`", token.escape_debug()));
            let (piece, left) = match token {
                "float" if after.first() == Some(&"(") => {
                    let (extent, left) = extent(&after[1..]).ok_or_else(|| read("expected float(2*b)"))?;
                    let left = left.strip_prefix(&[")"]).ok_or_else(|| read("expected `)`"))?;
                    (Piece::Float(extent), left)
                }
                _ => match extent(rest) {
                    Some((extent, left)) => (Piece::Whole(extent), left),
                    None => {
                        push_text(&mut pieces, token);
                        rest = after;
                        continue;
                    }
                },
            };
            pieces.push(piece);
            rest = left;
        }
        Ok(Template { pieces })
    }

    /// The program for batches of this size, checked by the verifier.
    ///
    /// # Errors
    /// An extent does not exist for this size, or the text is no valid program.
    pub fn instantiate(&self, batch: usize) -> Result<Program> {
        let mut text = String::new();
        for piece in &self.pieces {
            let number = |extent: &Extent| {
                let missing = || failed(format!("{extent} is no extent for a batch of {batch}"));
                extent.at(batch).ok_or_else(missing)
            };
            let _ = match piece {
                Piece::Text(piece) => {
                    text.push_str(piece);
                    Ok(())
                }
                Piece::Whole(extent) => write!(text, "{}", number(extent)?),
                Piece::Float(extent) => write!(text, "{:?}", number(extent)? as f32),
            };
        }
        let program = super::parse(&text.replacen("(b) {", " {", 1))?;
        verify(&program)?;
        Ok(program)
    }
}

fn failed(message: impl Into<String>) -> Error {
    Error::new("template", message)
}

fn push_text(pieces: &mut Vec<Piece>, token: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push_str(token),
        _ => pieces.push(Piece::Text(token.to_string())),
    }
}

/// The expression that gives a token for each batch size.
fn expression(sizes: &[usize], variants: &[&str]) -> Option<Piece> {
    let whole = |text: &&str| text.parse::<u64>().ok();
    if let Some(numbers) = variants.iter().map(whole).collect::<Option<Vec<u64>>>() {
        return Extent::through(sizes, &numbers).map(Piece::Whole);
    }
    let float = |text: &&str| text.strip_suffix(".0")?.parse::<u64>().ok();
    let numbers = variants.iter().map(float).collect::<Option<Vec<u64>>>()?;
    Extent::through(sizes, &numbers).map(Piece::Float)
}

/// An expression at the start of these tokens, and what follows it.
fn extent<'t, 's>(tokens: &'t [&'s str]) -> Option<(Extent, &'t [&'s str])> {
    let (factor, rest) = match tokens {
        ["b", rest @ ..] => (1, rest),
        [factor, "*", "b", rest @ ..] => (factor.parse().ok()?, rest),
        _ => return None,
    };
    let sign = |minus: bool, number: &str| {
        number.parse::<i64>().ok().map(|offset| if minus { -offset } else { offset })
    };
    Some(match rest {
        ["+", number, rest @ ..] => (Extent { factor, offset: sign(false, number)? }, rest),
        ["-", number, rest @ ..] => (Extent { factor, offset: sign(true, number)? }, rest),
        _ => (Extent { factor, offset: 0 }, rest),
    })
}

/// The text in pieces that make it up when joined: names in quotes, names of values, words and numbers, single other
/// characters.
fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = token_end(bytes, start);
        // All ends lie behind ASCII characters, or behind a whole run of others.
        tokens.push(text.get(start..end).unwrap_or_default());
        start = end;
    }
    tokens
}

fn token_end(bytes: &[u8], start: usize) -> usize {
    let part = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'.';
    let word = |from: usize| from + bytes[from..].iter().take_while(|&&c| part(c)).count();
    match bytes[start] {
        b'"' => {
            let mut at = start + 1;
            while at < bytes.len() && bytes[at] != b'"' && bytes[at] != b'\n' {
                at += if bytes[at] == b'\\' && bytes.get(at + 1).is_some_and(u8::is_ascii) { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        b'%' => word(start + 1),
        c if part(c) => {
            let end = word(start);
            // 1e-5 is one number.
            let exponent = c.is_ascii_digit() && matches!(bytes[end - 1], b'e' | b'E');
            let signed = matches!(bytes.get(end), Some(b'-' | b'+'))
                && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
            if exponent && signed { word(end + 1) } else { end }
        }
        c if c.is_ascii() => start + 1,
        _ => start + bytes[start..].iter().take_while(|c| !c.is_ascii()).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DType, Literal, ValueType};
    use crate::{BinaryKind, Op, ReduceKind};

    /// Sums of rows over a batch, in two forms, less their mean.
    fn program(batch: usize) -> Program {
        let mut p = Program::new("p");
        let x = p.input("x 2", ValueType::new(DType::F32, [batch, 6]));
        let halves = p.apply(Op::Reshape { shape: [2 * batch, 3].into() }, &[x]).unwrap();
        let sums = p.reduce(ReduceKind::Sum, halves, &[1]).unwrap();
        let all = p.reduce(ReduceKind::Sum, sums, &[0]).unwrap();
        let count = p.constant(Literal::f32(2.0 * batch as f32));
        let mean = p.binary(BinaryKind::Divide, all, count).unwrap();
        let small = p.constant(Literal::f32(1e-5));
        let mean = p.binary(BinaryKind::Add, mean, small).unwrap();
        let last = p
            .apply(Op::Slice { start: vec![batch - 1, 0], stop: vec![batch, 6], step: vec![1, 1] }, &[x])
            .unwrap();
        p.output("mean", mean);
        p.output("last", last);
        p
    }

    fn template() -> Template {
        let traced = [2, 3, 7].map(|batch| (batch, program(batch)));
        let traced: Vec<(usize, &Program)> =
            traced.iter().map(|(batch, program)| (*batch, program)).collect();
        Template::of(&traced).unwrap()
    }

    #[test]
    fn a_template_gives_the_program_of_any_batch() {
        let template = template();
        let text = template.to_string();
        for part in
            ["program p(b) {", "f32[b, 6]", "shape=[2*b, 3]", "constant float(2*b)", "start=[b-1, 0]", "1e-5"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert_eq!(Template::parse(&text).unwrap(), template);
        for batch in [1, 2, 5, 64, 1000] {
            assert_eq!(
                format!("{:#}", template.instantiate(batch).unwrap()),
                format!("{:#}", program(batch))
            );
        }
        // There is no last sample of none.
        let message = template.instantiate(0).unwrap_err().to_string();
        assert!(message.contains("b-1 is no extent for a batch of 0"), "{message}");
        assert!(template.instantiate(usize::MAX).is_err());
    }

    #[test]
    fn what_depends_otherwise_is_refused() {
        let square = |batch: usize| {
            let mut p = Program::new("p");
            let x = p.input("x", ValueType::new(DType::F32, [batch, batch]));
            let y = p.apply(Op::Reshape { shape: [batch * batch].into() }, &[x]).unwrap();
            p.output("y", y);
            (batch, p)
        };
        let traced = [2, 3, 7].map(square);
        let traced: Vec<(usize, &Program)> =
            traced.iter().map(|(batch, program)| (*batch, program)).collect();
        let message = Template::of(&traced).unwrap_err().to_string();
        assert!(
            message.contains("2, 3, 7") && message.contains("f32[9]") && !message.contains('\n'),
            "{message}"
        );
        assert!(Template::of(&traced[..1]).is_err());
        let (mut longer, other) = (program(3), program(2));
        longer.output("again", longer.outputs[0].value);
        assert!(Template::of(&[(2, &other), (3, &longer)]).is_err());
    }

    #[test]
    fn texts_that_are_no_templates_are_errors() {
        let text = template().to_string();
        for (from, to) in [
            ("program p(b) {", "program p {"),
            ("program p(b) {", ""),
            ("2*b", "99999999999999999999*b"),
            ("2*b", "18446744073709551615*b"),
            ("float(2*b)", "float(2*b"),
            ("float(2*b)", "float()"),
            ("b-1", "b-9223372036854775809"),
            ("b-1", "b--1"),
            ("[b, 6]", "[b, 7]"),
            ("output \"mean\"", "output \"mean"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let result = Template::parse(&changed).and_then(|template| template.instantiate(4));
            assert!(result.is_err(), "{from} → {to}");
        }
        assert!(Template::parse(&"\n".repeat(MOST_LINES + 2)).unwrap_err().to_string().contains("larger"));
    }
}
