//! Pooling over windows of images, and its transposes. A thread makes one element of the result, so that nothing is
//! added by two.

use super::movement::{Source, per_element};
use super::shader::{Dispatch, Shader, Where};
use dropforge_ir::{PoolWindow, ValueType};
use dropforge_plan::plan::Argument;

/// Beyond this extent of a window, its loops are cut to the image.
const LARGE_WINDOW: usize = 32;

/// Extents of the planes.
fn plane(ty: &ValueType) -> [usize; 2] {
    [ty.shape[2].max(1), ty.shape[3].max(1)]
}

/// The statements that split `i` into the plane `c`, row `y` and column `x` of planes of these extents.
fn split([height, width]: [usize; 2]) -> String {
    let size = height * width;
    format!("let c = i / {size}u; let y = (i / {width}u) % {height}u; let x = i % {width}u;")
}

/// Loops over the taps of the window of output position (y, x); inside, (ty, tx) is a position of the input's plane.
fn over_window(window: &PoolWindow, input: [usize; 2], body: &str) -> Vec<String> {
    let PoolWindow { kernel, stride, low, .. } = window;
    // A window may be much larger than what it covers of the image.
    let taps = |axis: usize, name: &str| {
        let (start, low) = (format!("{name} * {}u", stride[axis]), low[axis]);
        if kernel[axis] <= LARGE_WINDOW {
            return ("0u".to_string(), format!("{}u", kernel[axis]));
        }
        let end = input[axis] + low;
        (
            format!("select(0u, {low}u - {start}, {start} < {low}u)"),
            format!("min({}u, select(0u, {end}u - {start}, {start} < {end}u))", kernel[axis]),
        )
    };
    let ((first_y, end_y), (first_x, end_x)) = (taps(0, "y"), taps(1, "x"));
    vec![
        format!("for (var ky = {first_y}; ky < {end_y}; ky++) {{"),
        format!("let ty = y * {}u + ky - {}u;", stride[0], low[0]),
        format!("if (ty >= {}u) {{ continue; }}", input[0]),
        format!("for (var kx = {first_x}; kx < {end_x}; kx++) {{"),
        format!("let tx = x * {}u + kx - {}u;", stride[1], low[1]),
        format!("if (tx >= {}u) {{ continue; }}", input[1]),
        body.to_string(),
        "} }".into(),
    ]
}

/// Loops over the outputs whose window holds input position (y, x); inside, (oy, ox) is such an output.
fn over_outputs(window: &PoolWindow, output: [usize; 2], body: &str) -> Vec<String> {
    let PoolWindow { kernel, stride, low, .. } = window;
    let first = |axis: usize, name: &str| {
        // The first output whose window ends behind the position.
        let behind = kernel[axis] - 1;
        format!(
            "select(0u, ({name} + {}u - {behind}u + {}u) / {}u, {name} + {}u > {behind}u)",
            low[axis],
            stride[axis] - 1,
            stride[axis],
            low[axis]
        )
    };
    let last = |axis: usize, name: &str| {
        format!("min(({name} + {}u) / {}u, {}u)", low[axis], stride[axis], output[axis] - 1)
    };
    vec![
        format!("let first_x = {}; let last_x = {};", first(1, "x"), last(1, "x")),
        format!("let last_y = {};", last(0, "y")),
        format!("for (var oy = {}; oy <= last_y; oy++) {{", first(0, "y")),
        "for (var ox = first_x; ox <= last_x; ox++) {".into(),
        body.to_string(),
        "} }".into(),
    ]
}

/// Values and positions of the largest elements.
pub fn max_pool(
    label: &str,
    window: &PoolWindow,
    argument: &Argument,
    result: &ValueType,
    places: [Where; 3],
) -> Dispatch {
    let mut shader = Shader::default();
    let source = Source::new(&mut shader, argument, places[0]);
    let (values, positions) = (shader.operand(places[1], true), shader.operand(places[2], true));
    let input = plane(&argument.ty);
    let mut body = vec![split(plane(result)), "var best = f_bits(0xff800000u); var at = -1;".into()];
    let element = source.load(&format!("((c * {}u + ty) * {}u + tx)", input[0], input[1]));
    let compare = format!(
        "let e = {element}; let p = i32(ty * {}u + tx); if (r_beats_f32(e, p, best, at)) {{ best = e; at = p; }}",
        input[1]
    );
    body.extend(over_window(window, input, &compare));
    body.push(values.store("i", "best"));
    body.push(positions.store("i", "max(at, 0)"));
    per_element(shader, label, result.shape.elements(), &body)
}

/// Where elements of a plane came from when its positions are those of a pooling with a known window; otherwise every
/// output is asked.
pub fn max_pool_gradient(
    label: &str,
    window: Option<&PoolWindow>,
    args: &[Argument],
    result: &ValueType,
    places: [Where; 3],
) -> Dispatch {
    let mut shader = Shader::default();
    let gradient = Source::new(&mut shader, &args[0], places[0]);
    let positions = Source::new(&mut shader, &args[1], places[1]);
    let target = shader.operand(places[2], true);
    let (input, output) = (plane(result), plane(&args[0].ty));
    let outputs = args[0].ty.shape[2] * args[0].ty.shape[3];
    let mut body = vec![split(input), format!("let here = i % {}u; var sum = 0.0;", input[0] * input[1])];
    let add =
        format!("if (bitcast<u32>({}) == here) {{ sum += {}; }}", positions.load("o"), gradient.load("o"));
    match window {
        Some(window) if outputs > 0 => {
            let add = format!("let o = (c * {}u + oy) * {}u + ox; {add}", output[0], output[1]);
            body.extend(over_outputs(window, output, &add));
        }
        _ => body
            .push(format!("for (var p = 0u; p < {outputs}u; p++) {{ let o = c * {outputs}u + p; {add} }}")),
    }
    body.push(target.store("i", "sum"));
    per_element(shader, label, result.shape.elements(), &body)
}

pub fn window_sum(
    label: &str,
    window: &PoolWindow,
    argument: &Argument,
    result: &ValueType,
    places: [Where; 2],
) -> Dispatch {
    let mut shader = Shader::default();
    let source = Source::new(&mut shader, argument, places[0]);
    let target = shader.operand(places[1], true);
    let input = plane(&argument.ty);
    let mut body = vec![split(plane(result)), "var sum = 0.0;".into()];
    let add = format!("sum += {};", source.load(&format!("((c * {}u + ty) * {}u + tx)", input[0], input[1])));
    body.extend(over_window(window, input, &add));
    body.push(target.store("i", "sum"));
    per_element(shader, label, result.shape.elements(), &body)
}

pub fn window_sum_transpose(
    label: &str,
    window: &PoolWindow,
    argument: &Argument,
    result: &ValueType,
    places: [Where; 2],
) -> Dispatch {
    let mut shader = Shader::default();
    let source = Source::new(&mut shader, argument, places[0]);
    let target = shader.operand(places[1], true);
    let output = plane(&argument.ty);
    let mut body = vec![split(plane(result)), "var sum = 0.0;".into()];
    if argument.ty.shape.elements() > 0 {
        let add =
            format!("sum += {};", source.load(&format!("((c * {}u + oy) * {}u + ox)", output[0], output[1])));
        body.extend(over_outputs(window, output, &add));
    }
    body.push(target.store("i", "sum"));
    per_element(shader, label, result.shape.elements(), &body)
}
