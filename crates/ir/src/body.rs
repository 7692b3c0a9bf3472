//! The body of a loop: a program of its own that stands in an operation as an attribute.

use crate::attribute::Attribute;
use crate::program::Program;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// How deep bodies may stand in each other in a text; what is read never nests deeper than the reader's stack.
const MOST_BRACKETS: usize = 16;

/// A program that an operation carries out many times. It has inputs and outputs, which go by position, and neither
/// states nor hyperparameters. Two bodies are equal if their text is; where their nodes come from does not count.
#[derive(Clone)]
pub struct Body {
    program: Arc<Program>,
    text: Arc<str>,
}

impl Body {
    /// A program as a body. Its ports are named by their positions.
    pub fn new(mut program: Program) -> Body {
        program.name = "body".into();
        for ports in [&mut program.inputs, &mut program.outputs] {
            for (position, port) in ports.iter_mut().enumerate() {
                port.name = position.to_string();
            }
        }
        let whole = format!("{program:#}");
        let lines: Vec<&str> = whole.lines().map(str::trim).collect();
        let statements = lines.get(1..lines.len().saturating_sub(1)).unwrap_or_default();
        let text = format!("[{}]", statements.join("; ")).into();
        Body { program: Arc::new(program), text }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Whether this is `other` with more outputs behind its own.
    pub fn extends(&self, other: &Body) -> bool {
        let common = &other.text[..other.text.len() - 1];
        self.text.strip_prefix(common).is_some_and(|rest| rest.starts_with([';', ']']))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        self.text == other.text
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Attribute for Body {
    fn print(&self) -> String {
        self.text.to_string()
    }

    fn parse(text: &str) -> Option<Body> {
        let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
        let mut lines = String::from("program body {\n");
        let mut depth = 0;
        for c in inside.chars() {
            match c {
                '[' => depth += 1,
                ']' => depth = usize::checked_sub(depth, 1)?,
                _ => {}
            }
            if depth > MOST_BRACKETS || c == '\n' {
                return None;
            }
            lines.push(if c == ';' && depth == 0 { '\n' } else { c });
        }
        lines.push_str("\n}\n");
        Some(Body::new(crate::text::parse(&lines).ok()?))
    }
}
