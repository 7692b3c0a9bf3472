//! Printing.

use crate::half::{BF16, F16};
use crate::op::Op;
use crate::program::{Node, Program};
use crate::types::{DType, Literal};
use std::fmt;

impl fmt::Display for Program {
    /// The text form, with the origins of nodes as comments; `{:#}` leaves them out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !self.name.is_empty() && self.name.chars().all(plain) {
            writeln!(f, "program {} {{", self.name)?;
        } else {
            writeln!(f, "program {:?} {{", self.name)?;
        }
        for node in self.nodes() {
            self.fmt_node(node, f)?;
        }
        for state in &self.states {
            if let Some(value) = state.write {
                writeln!(f, "  write {:?} = {value}", state.name)?;
            }
        }
        for output in &self.outputs {
            writeln!(f, "  output {:?} = {}", output.name, output.value)?;
        }
        writeln!(f, "}}")
    }
}

impl Op {
    /// The attributes as the text form has them, in braces; empty without any.
    pub fn attribute_text(&self) -> String {
        let attributes: Vec<String> =
            self.attributes().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        if attributes.is_empty() { String::new() } else { format!("{{{}}}", attributes.join(", ")) }
    }
}

impl Program {
    fn fmt_node(&self, node: &Node, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, &value) in node.results.iter().enumerate() {
            let start = if index == 0 { "  " } else { ", " };
            write!(f, "{start}{value}: {}", self.ty(value))?;
        }
        write!(f, " = {}", node.op.name())?;
        match &node.op {
            Op::Input(port) => write!(f, " {:?}", self.inputs[*port].name)?,
            Op::State(port) => write!(f, " {:?}", self.states[*port].name)?,
            Op::Hyper(port) => write!(f, " {:?}", self.hypers[*port].name)?,
            Op::Constant(literal) => write!(f, " {}", literal_text(literal))?,
            _ => {}
        }
        for (index, arg) in node.args.iter().enumerate() {
            write!(f, "{}{arg}", if index == 0 { " " } else { ", " })?;
        }
        let attributes = node.op.attribute_text();
        if !attributes.is_empty() {
            write!(f, " {attributes}")?;
        }
        if !node.origin.is_unknown() && !f.alternate() {
            write!(f, "  // {}", node.origin.to_string().escape_debug())?;
        }
        writeln!(f)
    }
}

/// The elements of a literal: one alone, or all in a flat list.
fn literal_text(literal: &Literal) -> String {
    let halves = || literal.bytes().chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let elements: Vec<String> = match literal.ty.dtype {
        DType::F32 => literal
            .bytes()
            .chunks_exact(4)
            .map(|bytes| float_text(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
            .collect(),
        DType::F16 => halves().map(|bits| half_text(bits, 0x7e00, &F16::from_bits(bits))).collect(),
        DType::BF16 => halves().map(|bits| half_text(bits, 0x7fc0, &BF16::from_bits(bits))).collect(),
        DType::Bool => literal.bytes().iter().map(|&byte| (byte != 0).to_string()).collect(),
        _ => literal.to_f64().iter().map(f64::to_string).collect(),
    };
    match elements.as_slice() {
        [one] if literal.ty.shape.rank() == 0 => one.clone(),
        _ => format!("[{}]", elements.join(", ")),
    }
}

fn float_text(x: f32) -> String {
    if x.is_nan() && x.to_bits() != f32::NAN.to_bits() {
        return format!("nan:{:#010x}", x.to_bits());
    }
    format!("{x:?}")
}

/// A number of 16 bits, and the bits of any NaN but `usual_nan`.
fn half_text(bits: u16, usual_nan: u16, x: &impl fmt::Debug) -> String {
    let text = format!("{x:?}");
    if text == "NaN" && bits != usual_nan { format!("nan:{bits:#06x}") } else { text }
}
