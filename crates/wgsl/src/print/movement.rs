//! Operations that move elements: pad, concat, gather, copies. A thread makes one element of the result.

use super::index::{constant, position, sum};
use super::scalar::float;
use super::shader::{Dispatch, Shader, Slot, Where};
use dropforge_ir::{DType, Shape, ValueType};
use dropforge_plan::plan::Argument;

/// Threads of a workgroup of these shaders.
pub const THREADS: usize = 256;

/// An argument in a shader.
pub struct Source<'a> {
    pub argument: &'a Argument,
    pub slot: Slot,
}

impl<'a> Source<'a> {
    pub fn new(shader: &mut Shader, argument: &'a Argument, place: Where) -> Source<'a> {
        Source { argument, slot: shader.operand(place, false) }
    }

    /// The index of the element with this number in row-major order.
    pub fn numbered(&self, number: &str) -> String {
        let Argument { ty, offset, strides, .. } = self.argument;
        sum(&[constant(*offset), position(number, &ty.shape, strides)])
    }

    /// The index of the element at these coordinates.
    pub fn at(&self, coordinates: &[String]) -> String {
        let mut terms = vec![constant(self.argument.offset)];
        for (coordinate, &stride) in coordinates.iter().zip(&self.argument.strides) {
            if stride != 0 {
                terms.push(format!("({coordinate}) * {}", constant(stride)));
            }
        }
        sum(&terms)
    }

    /// The value of the element with this number.
    pub fn load(&self, number: &str) -> String {
        self.slot.load(&self.numbered(number))
    }

    /// The value of the element at these coordinates.
    pub fn load_at(&self, coordinates: &[String]) -> String {
        self.slot.load(&self.at(coordinates))
    }
}

/// The shader of a thread per element: `body` sees the number `i` of its element.
pub fn per_element(mut shader: Shader, label: &str, elements: usize, body: &[String]) -> Dispatch {
    shader.line(&format!("let i = wg * {THREADS}u + lid;"));
    shader.line(&format!("if (i < {elements}u) {{"));
    for line in body {
        shader.line(line);
    }
    shader.line("}");
    shader.finish(label, THREADS, elements.div_ceil(THREADS))
}

/// The coordinates of element `number` of a shape, as expressions.
pub fn coordinates(number: &str, shape: &Shape) -> Vec<String> {
    let strides = shape.strides();
    (0..shape.rank())
        .map(|axis| match (strides[axis], axis) {
            (stride, 0) => format!("({number} / {}u)", stride.max(1)),
            (1, _) => format!("({number} % {}u)", shape[axis].max(1)),
            (stride, _) => format!("(({number} / {}u) % {}u)", stride.max(1), shape[axis].max(1)),
        })
        .collect()
}

/// Copies elements as they are stored.
pub fn copy(label: &str, ty: &ValueType, from: Where, to: Where) -> Dispatch {
    let mut shader = Shader::default();
    let (from, to) = (shader.operand(from, false), shader.operand(to, true));
    let body = [format!("{} = {};", to.stored("i"), from.stored("i"))];
    per_element(shader, label, ty.shape.elements(), &body)
}

/// Extents of padding.
pub struct Padding<'a> {
    pub low: &'a [usize],
    pub interior: &'a [usize],
    pub value: f64,
}

/// A number of an element type.
pub fn number(dtype: DType, value: f64) -> String {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => float(dtype.round(value) as f32),
        DType::I32 if value as i32 == i32::MIN => "(-2147483647 - 1)".into(),
        DType::I32 => format!("i32({})", value as i32),
        DType::U32 | DType::U8 => format!("{}u", value as u32),
        DType::Bool => (value != 0.0).to_string(),
    }
}

pub fn pad(
    label: &str,
    padding: &Padding<'_>,
    argument: &Argument,
    result: &ValueType,
    places: [Where; 2],
) -> Dispatch {
    let mut shader = Shader::default();
    let source = Source::new(&mut shader, argument, places[0]);
    let target = shader.operand(places[1], true);
    let mut body = Vec::new();
    let mut inside = vec!["true".to_string()];
    let mut inner = Vec::new();
    for (axis, coordinate) in coordinates("i", &result.shape).into_iter().enumerate() {
        let step = padding.interior[axis] + 1;
        // Below 0 wraps to beyond the extent.
        body.push(format!("let p{axis} = {coordinate} - {}u;", padding.low[axis]));
        inside.push(format!("p{axis} / {step}u < {}u && p{axis} < 0x80000000u", argument.ty.shape[axis]));
        if step > 1 {
            inside.push(format!("p{axis} % {step}u == 0u"));
        }
        inner.push(format!("p{axis} / {step}u"));
    }
    let dtype = result.dtype;
    let value = number(dtype, padding.value);
    body.push(format!("if ({}) {{", inside.join(" && ")));
    body.push(target.store("i", &source.load_at(&inner)));
    body.push("} else {".into());
    body.push(target.store("i", &value));
    body.push("}".into());
    per_element(shader, label, result.shape.elements(), &body)
}

/// Joins arguments along an axis. Threads take four neighbours at once from `quads_from` elements on, where all of them
/// lie so.
pub fn concat(
    label: &str,
    axis: usize,
    args: &[Argument],
    result: &ValueType,
    (places, to): (&[Where], Where),
    quads_from: usize,
) -> Dispatch {
    let mut shader = Shader::default();
    let elements = result.shape.elements();
    let in_quads = elements >= quads_from
        && axis + 1 < result.shape.rank()
        && result.shape[result.shape.rank() - 1].is_multiple_of(4)
        && to.first.is_multiple_of(4)
        && args.iter().zip(places).all(|(arg, place)| lies_in_quads(arg, *place));
    if in_quads {
        places.iter().chain([&to]).for_each(|&place| shader.bind_as_quads(place));
    }
    let sources: Vec<Source<'_>> =
        args.iter().zip(places).map(|(arg, &place)| Source::new(&mut shader, arg, place)).collect();
    let target = shader.operand(to, true);
    let mut body = vec![if in_quads { "let e = i << 2u;".to_string() } else { "let e = i;".into() }];
    let numbered = coordinates("e", &result.shape).into_iter().enumerate();
    body.extend(numbered.map(|(axis, coordinate)| format!("let p{axis} = {coordinate};")));
    let mut start = 0;
    for source in &sources {
        let end = start + source.argument.ty.shape[axis];
        if end > start {
            let inner: Vec<String> = (0..result.shape.rank())
                .map(|other| if other == axis { format!("p{other} - {start}u") } else { format!("p{other}") })
                .collect();
            body.push(format!("if (p{axis} >= {start}u && p{axis} < {end}u) {{"));
            body.push(if in_quads {
                let four = source.slot.stored_four(&source.at(&inner));
                format!("{} = {four};", target.stored_four("e"))
            } else {
                target.store("e", &source.load_at(&inner))
            });
            body.push("}".into());
        }
        start = end;
    }
    per_element(shader, label, if in_quads { elements / 4 } else { elements }, &body)
}

/// Whether four neighbours along the last axis, from a multiple of four on, are a quad of the argument's buffer.
fn lies_in_quads(argument: &Argument, place: Where) -> bool {
    let Some((&last, others)) = argument.strides.split_last() else { return false };
    let comes_in_fours = others.iter().all(|step| step % 4 == 0);
    last == 1 && comes_in_fours && argument.offset % 4 == 0 && place.first.is_multiple_of(4)
}

/// Extents before and behind an axis.
pub fn around(shape: &Shape, axis: usize) -> (usize, usize) {
    (shape[..axis].iter().product(), shape[axis + 1..].iter().product())
}

pub fn gather(
    label: &str,
    axis: usize,
    args: &[Argument],
    result: &ValueType,
    places: [Where; 3],
) -> Dispatch {
    let mut shader = Shader::default();
    let operand = Source::new(&mut shader, &args[0], places[0]);
    let indices = Source::new(&mut shader, &args[1], places[1]);
    let target = shader.operand(places[2], true);
    let size = args[0].ty.shape[axis];
    let (_, inner) = around(&args[0].ty.shape, axis);
    let count = args[1].ty.shape.elements();
    let dtype = result.dtype;
    let mut body = vec![
        format!("let outer = i / {}u;", (count * inner).max(1)),
        format!("let j = (i / {}u) % {}u;", inner.max(1), count.max(1)),
        format!("let position = bitcast<u32>({});", indices.load("j")),
        format!("if (position < {size}u) {{"),
        format!("let e = (outer * {size}u + position) * {inner}u + i % {}u;", inner.max(1)),
    ];
    body.push(target.store("i", &operand.load("e")));
    body.push("} else {".into());
    body.push(target.store("i", &number(dtype, 0.0)));
    body.push("}".into());
    per_element(shader, label, result.shape.elements(), &body)
}
