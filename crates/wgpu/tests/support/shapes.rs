//! Programs of shapes that the conformance cases are too small for, as text. Those who run them choose the extents.

/// A program with all floats as f16.
pub fn in_halves(text: &str) -> String {
    text.replace("f32", "f16")
}

/// A program whose inputs are f16, cast to f32 before anything else.
pub fn from_halves(text: &str) -> String {
    let line = |line: &str| match line.split_once(": f32[") {
        Some((name, rest)) if rest.contains("] = input ") => {
            format!("{name}_half: f16[{rest}\n{name} = cast {}_half {{to=f32}}", name.trim())
        }
        _ => line.to_string(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Products of row-major and of turned matrices.
pub fn products(m: usize, n: usize, k: usize) -> String {
    format!(
        "program products {{
  %a: f32[{m}, {k}] = input \"a\"
  %b: f32[{k}, {n}] = input \"b\"
  %c: f32[{n}, {k}] = input \"c\"
  %d: f32[{k}, {m}] = input \"d\"
  %x = dot %a, %b {{lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}}
  %y = dot %d, %c {{lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[1]}}
  output \"x\" = %x
  output \"y\" = %y
}}"
    )
}

/// A convolution of two images with filters of 3 by 3 and padding of 2, besides its channels.
#[derive(Clone, Copy)]
pub struct Convolved {
    pub channels: usize,
    pub filters: usize,
    pub size: usize,
    pub stride: usize,
    pub dilation: usize,
    pub groups: usize,
}

impl Convolved {
    /// Channels, filters, size, stride, dilation and groups.
    pub fn new(of: [usize; 6]) -> Convolved {
        let [channels, filters, size, stride, dilation, groups] = of;
        Convolved { channels, filters, size, stride, dilation, groups }
    }

    fn out(self) -> usize {
        (self.size + 4 - 2 * self.dilation - 1) / self.stride + 1
    }

    fn window(self) -> String {
        let Convolved { stride, dilation, groups, .. } = self;
        format!(
            "window=[stride:[{stride}, {stride}] low:[2, 2] high:[2, 2] dilation:[{dilation}, {dilation}] groups:{groups}]"
        )
    }

    fn inputs(self) -> String {
        let Convolved { channels, filters, size, groups, .. } = self;
        let (per_group, out) = (channels / groups, self.out());
        format!(
            "  %x: f32[2, {channels}, {size}, {size}] = input \"x\"
  %f: f32[{filters}, {per_group}, 3, 3] = input \"f\"
  %g: f32[2, {filters}, {out}, {out}] = input \"g\""
        )
    }

    /// The three results of a convolution, by themselves.
    pub fn all(self) -> String {
        let (inputs, window, size) = (self.inputs(), self.window(), self.size);
        format!(
            "program convolutions {{
{inputs}
  %y = convolution %x, %f {{{window}}}
  %dx = convolution_input_gradient %g, %f {{{window}, input=[{size}, {size}]}}
  %df = convolution_filter_gradient %x, %g {{{window}, kernel=[3, 3]}}
  output \"y\" = %y
  output \"dx\" = %dx
  output \"df\" = %df
}}"
        )
    }

    /// The output with a bias and an activation, the gradient of x where another value is positive, and a step of the
    /// filters along their gradient.
    pub fn with_epilogues(self) -> [String; 3] {
        let (inputs, window, size) = (self.inputs(), self.window(), self.size);
        let Convolved { channels, filters, groups, .. } = self;
        let (out, per_group) = (self.out(), channels / groups);
        let forward = format!(
            "program forward {{
{inputs}
  %b: f32[{filters}] = input \"b\"
  %y = convolution %x, %f {{{window}}}
  %w = broadcast %b {{shape=[2, {filters}, {out}, {out}], axes=[1]}}
  %z = add %y, %w
  %a = relu %z
  output \"a\" = %a
}}"
        );
        let backward = format!(
            "program backward {{
{inputs}
  %h: f32[2, {channels}, {size}, {size}] = input \"h\"
  %dx = convolution_input_gradient %g, %f {{{window}, input=[{size}, {size}]}}
  %c: f32[] = constant 0.0
  %n: f32[2, {channels}, {size}, {size}] = broadcast %c {{shape=[2, {channels}, {size}, {size}], axes=[]}}
  %p = gt %h, %n
  %d = select %p, %dx, %n
  output \"d\" = %d
}}"
        );
        let update = format!(
            "program update {{
{inputs}
  %s: f32[{filters}, {per_group}, 3, 3] = state \"s\"
  %c: f32[] = constant 0.1
  %r = broadcast %c {{shape=[{filters}, {per_group}, 3, 3], axes=[]}}
  %df = convolution_filter_gradient %x, %g {{{window}, kernel=[3, 3]}}
  %e = mul %df, %r
  %n = sub %s, %e
  write \"s\" = %n
}}"
        );
        [forward, backward, update]
    }
}

/// Products that elementwise kernels follow, in batches of `z`: with a bias along the columns and an activation; where
/// the product itself is also wanted, and the results are of other types than it; and where what follows is turned.
pub fn products_with_epilogues(z: usize, m: usize, n: usize, k: usize) -> [String; 3] {
    let shape = format!("[{z}, {m}, {n}]");
    let inputs = format!("  %a: f32[{z}, {m}, {k}] = input \"a\"\n  %b: f32[{z}, {k}, {n}] = input \"b\"");
    let product = "  %y = dot %a, %b {lhs_batch=[0], rhs_batch=[0], lhs_contract=[2], rhs_contract=[1]}";
    let bias = format!(
        "program bias {{
{inputs}
  %c: f32[{n}] = input \"c\"
{product}
  %w = broadcast %c {{shape={shape}, axes=[2]}}
  %v = add %y, %w
  %r = tanh %v
  output \"r\" = %r
}}"
    );
    let kept = format!(
        "program kept {{
{inputs}
  %c: f32{shape} = input \"c\"
{product}
  %p = lt %y, %c
  %i = cast %y {{to=i32}}
  output \"y\" = %y
  output \"p\" = %p
  output \"i\" = %i
}}"
    );
    let turned = format!(
        "program turned {{
{inputs}
  %c: f32[{n}, {m}, {z}] = input \"c\"
{product}
  %t = permute %c {{order=[2, 1, 0]}}
  %v = mul %y, %t
  %i: i32{shape} = iota {{shape={shape}, axis=2}}
  %f = cast %i {{to=f32}}
  %r = add %v, %f
  output \"r\" = %r
}}"
    );
    [bias, kept, turned]
}
