//! Operations along one axis that keep it: sorting, running sums.

use super::movement::{Source, around, number, per_element};
use super::shader::{Dispatch, Shader, Where};
use dropforge_ir::{DType, ValueType};
use dropforge_plan::plan::Argument;

/// Each thread counts how many elements come before its own, and puts its position there. That is quadratic, but all
/// threads read the same run at the same time, and there is one dispatch however long it is.
pub fn argsort(
    label: &str,
    axis: usize,
    descending: bool,
    argument: &Argument,
    places: [Where; 2],
) -> Dispatch {
    let mut shader = Shader::default();
    let source = Source::new(&mut shader, argument, places[0]);
    let target = shader.operand(places[1], true);
    let ty = &argument.ty;
    // A key in the order of the elements: see the CPU's kernel.
    let key = if ty.dtype.is_float() {
        "fn key(x: f32) -> u32 { let b = bitcast<u32>(x); if ((b & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; } \
         if (b == 0x80000000u) { return b; } return select(b | 0x80000000u, ~b, (b >> 31u) == 1u); }"
    } else {
        "fn key(x: i32) -> u32 { return bitcast<u32>(x) ^ 0x80000000u; }"
    };
    shader.line_head(key);
    let (size, (_, inner)) = (ty.shape[axis].max(1), around(&ty.shape, axis));
    let inner = inner.max(1);
    let before = if descending { ">" } else { "<" };
    let body = vec![
        format!("let own = (i / {inner}u) % {size}u;"),
        format!("let first = i - own * {inner}u;"),
        format!("let mine = key({});", source.load("i")),
        "var rank = 0u;".into(),
        format!("for (var j = 0u; j < {size}u; j++) {{"),
        format!("let e = first + j * {inner}u;"),
        format!("let other = key({});", source.load("e")),
        format!("if (other {before} mine || (other == mine && j < own)) {{ rank++; }} }}"),
        format!("let to = first + rank * {inner}u;"),
        target.store("to", "i32(own)"),
    ];
    per_element(shader, label, ty.shape.elements(), &body)
}

/// Each thread sums a run.
pub fn cumulative_sum(
    label: &str,
    axis: usize,
    reverse: bool,
    argument: &Argument,
    result: &ValueType,
    places: [Where; 2],
) -> Dispatch {
    let mut shader = Shader::default();
    let source = Source::new(&mut shader, argument, places[0]);
    let target = shader.operand(places[1], true);
    let (outer, inner) = around(&result.shape, axis);
    let size = result.shape[axis];
    let zero = number(if result.dtype == DType::I32 { DType::I32 } else { DType::F32 }, 0.0);
    let position = if reverse { format!("{}u - k", size.max(1) - 1) } else { "k".into() };
    let body = vec![
        format!("let first = (i / {0}u) * {1}u + i % {0}u;", inner.max(1), size * inner),
        format!("var sum = {zero};"),
        format!("for (var k = 0u; k < {size}u; k++) {{"),
        format!("let e = first + ({position}) * {}u;", inner.max(1)),
        format!("sum += {};", source.load("e")),
        target.store("e", "sum"),
        "}".into(),
    ];
    per_element(shader, label, outer * inner, &body)
}
