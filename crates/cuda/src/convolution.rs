//! Which convolutions of a plan the library computes, and what goes on around it.
//!
//! Plans keep the planes of an image's channels one after another; tensor cores want the channels of a pixel side by
//! side. So factors of halves are turned into scratch memory first and the result is turned back, each at the speed of
//! memory.

use crate::cudnn::{Direction, Element, Shape};
use crate::tuning::{
    LEAST_LIBRARY_CHANNELS, LEAST_LIBRARY_F32_CHANNELS, LEAST_LIBRARY_POSITIONS, LEAST_LIBRARY_WORK,
};
use dropforge_gpu::tuning::ALIGNMENT;
use dropforge_ir::{DType, Op};
use dropforge_plan::plan::{Argument, Kernel, Place, Plan, Work};
use dropforge_wgsl::Printing;

/// A convolution for the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    pub shape: Shape,
    /// Whether the library's halves become f32 afterwards.
    pub widened: bool,
}

/// How the library computes a kernel of a plan, if it can, and there is enough to do.
pub fn job(plan: &Plan, kernel: &Kernel, printing: Printing, turns: bool) -> Option<Job> {
    let Work::Call { op, args, results } = &kernel.work else { return None };
    let [first, second] = &args[..] else { return None };
    let info = &plan.buffers[*results.first()?];
    let four = |shape: &dropforge_ir::Shape| -> Option<[usize; 4]> { shape.as_ref().try_into().ok() };
    let (one, two, three) = (four(&first.ty.shape)?, four(&second.ty.shape)?, four(&info.ty.shape)?);
    let (direction, window, [x, filter, output]) = match op {
        Op::Convolution { window } => (Direction::Forward, window, [one, two, three]),
        Op::ConvolutionInputGradient { window, .. } => (Direction::Input, window, [three, two, one]),
        Op::ConvolutionFilterGradient { window, .. } => (Direction::Filter, window, [one, three, two]),
        _ => return None,
    };
    let element = match first.ty.dtype {
        DType::F32 => Element::F32,
        DType::F16 if printing.f16 => Element::F16,
        DType::BF16 if printing.bf16 => Element::BF16,
        _ => return None,
    };
    let is_of_halves = element != Element::F32;
    let widened = info.ty.dtype != first.ty.dtype;
    // Gradients of filters are rounded once to halves, as elsewhere; other results of f32 are not.
    let is_known = first.ty.dtype == second.ty.dtype
        && (!widened || (is_of_halves && info.ty.dtype == DType::F32 && direction == Direction::Filter))
        && !matches!(info.place, Place::State(_))
        && is_plain(first)
        && is_plain(second);
    let output_of = |axis: usize| {
        let reach = window.dilation[axis] * (filter[2 + axis] - 1) + 1;
        (x[2 + axis] + 2 * window.low[axis]).checked_sub(reach).map(|rest| rest / window.stride[axis] + 1)
    };
    let has_elements = [x, filter, output].iter().flatten().all(|&extent| extent > 0);
    if !is_known || !has_elements || window.groups != 1 {
        return None;
    }
    // The library pads both ends alike.
    let is_even = (0..2).all(|axis| output_of(axis) == Some(output[2 + axis]));
    let channels = [filter[0], filter[1]];
    // A single tap with strides reads a part of the image, of which all would be turned; its gradient is written as a
    // whole.
    let skips = filter[2] * filter[3] == 1 && window.stride != [1, 1] && direction != Direction::Input;
    let is_worth_it = match is_of_halves {
        true => channels.iter().all(|&channels| fits_cores(channels)) && !skips,
        false => {
            channels.iter().all(|&channels| channels >= LEAST_LIBRARY_F32_CHANNELS)
                && output[0] * output[2] * output[3] >= LEAST_LIBRARY_POSITIONS
                && window.stride == [1, 1]
        }
    };
    let work = 2.0 * output.iter().product::<usize>() as f64 * filter[1..].iter().product::<usize>() as f64;
    if !is_even || !is_worth_it || work < LEAST_LIBRARY_WORK {
        return None;
    }
    let (padding, stride, dilation) = (window.low, window.stride, window.dilation);
    let channels_last = is_of_halves && turns;
    let shape = Shape { direction, element, channels_last, x, filter, output, padding, stride, dilation };
    Some(Job { shape, widened })
}

fn fits_cores(channels: usize) -> bool {
    channels >= LEAST_LIBRARY_CHANNELS && channels.is_multiple_of(8)
}

/// Whether an argument lies row-major from its buffer's start.
pub fn is_plain(argument: &Argument) -> bool {
    let strides = argument.ty.shape.strides();
    let mut axes = argument.strides.iter().zip(strides).zip(argument.ty.shape.iter());
    argument.offset == 0 && axes.all(|((&given, plain), &extent)| extent <= 1 || given == plain as i64)
}

/// Batches of matrices that are turned: rows become columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// How many matrices there are.
    pub batch: usize,
    /// Rows of each, as it lies.
    pub rows: usize,
    /// Columns of each, as it lies.
    pub columns: usize,
    /// From halves of this type to f32; else elements stay as they are.
    pub widened: Option<Element>,
}

/// Where something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In the memory of an argument or the result, by its number: 0, 1 and 2.
    Operand(usize),
    /// At this byte of scratch memory.
    Scratch(usize),
}

/// A turn, from where to where.
pub type Turning = (Turn, Spot, Spot);

/// What happens around the library's convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around {
    pub before: Vec<Turning>,
    /// Where the library finds both arguments, and puts the result.
    pub spots: [Spot; 3],
    pub after: Vec<Turning>,
    /// Where it works.
    pub workspace: usize,
    /// Bytes of scratch memory in all.
    pub bytes: usize,
}

impl Job {
    /// What happens around it, while the library itself works in so many bytes.
    pub fn around(&self, workspace: usize) -> Around {
        let Shape { direction, channels_last, x, filter, output, .. } = self.shape;
        let extents = match direction {
            Direction::Forward => [x, filter, output],
            Direction::Input => [output, filter, x],
            Direction::Filter => [x, output, filter],
        };
        let mut around = Around {
            before: Vec::new(),
            spots: [0, 1, 2].map(Spot::Operand),
            after: Vec::new(),
            workspace: 0,
            bytes: 0,
        };
        // The gradient of the output first, so that the gradient of filters finds it where that of images, right
        // before, left it.
        let order = if direction == Direction::Filter { [1, 0, 2] } else { [0, 1, 2] };
        for number in order {
            let [batch, channels, height, width] = extents[number];
            let pixels = height * width;
            let widened = (number == 2 && self.widened).then_some(self.shape.element);
            // One pixel or one channel lies the same way in both orders.
            let is_turned = channels_last && pixels > 1 && channels > 1;
            if !is_turned && widened.is_none() {
                continue;
            }
            let spot = Spot::Scratch(around.take(batch * channels * pixels * 2));
            around.spots[number] = spot;
            let operand = Spot::Operand(number);
            let turn = match number {
                2 if is_turned => Turn { batch, rows: pixels, columns: channels, widened },
                2 => Turn { batch: 1, rows: 1, columns: batch * channels * pixels, widened },
                _ => Turn { batch, rows: channels, columns: pixels, widened },
            };
            match number {
                2 => around.after.push((turn, spot, operand)),
                _ => around.before.push((turn, operand, spot)),
            }
        }
        around.workspace = around.take(workspace);
        around
    }
}

impl Around {
    fn take(&mut self, bytes: usize) -> usize {
        let start = self.bytes;
        self.bytes = (start + bytes).next_multiple_of(ALIGNMENT as usize);
        start
    }
}

/// Threads of a block of [`Turn::source`].
pub const TURNING_THREADS: u32 = 256;

impl Turn {
    /// Rows and columns of a block's tile, which has 4096 elements.
    fn tile(&self) -> [usize; 2] {
        match (self.rows, self.columns) {
            (_, ..=16) => [256, 16],
            (..=16, _) => [16, 256],
            _ => [64, 64],
        }
    }

    /// The kernel in CUDA C, after the types of the prelude.
    pub fn source(&self) -> String {
        let [tile_rows, tile_columns] = self.tile();
        let (target, given) = match self.widened {
            None => ("u16", "x"),
            Some(Element::BF16) => ("f32", "bitcast<f32>(u32(x) << 16)"),
            Some(_) => ("f32", "f16_value(x)"),
        };
        let in_pairs =
            self.widened.is_none() && self.rows.is_multiple_of(2) && self.columns.is_multiple_of(2);
        let mut text = format!(
            "__device__ __forceinline__ {target} given(u16 x) {{ return {given}; }}
extern \"C\" __global__ void __launch_bounds__({TURNING_THREADS}) dropforge(const Parameters<1u> extents, \
             const u16* __restrict__ from, {target}* __restrict__ to) {{
__shared__ u16 tile[{tile_rows}][{}];
const u32 rows = extents[0].x, columns = extents[0].y;
const u32 across = (columns + {}u) / {tile_columns}u, down = (rows + {}u) / {tile_rows}u;
const u32 first_column = blockIdx.x % across * {tile_columns}u, first_row = blockIdx.x / across % down * {tile_rows}u;
const u64 start = u64(blockIdx.x / across / down) * rows * columns;
",
            tile_columns + 2,
            tile_columns - 1,
            tile_rows - 1
        );
        text += &if in_pairs {
            format!(
                "#pragma unroll
for (u32 n = 0; n < 2048u / {TURNING_THREADS}u; n++) {{
    const u32 i = n * {TURNING_THREADS}u + threadIdx.x;
    const u32 row = i / {0}u, column = i % {0}u * 2u;
    if (first_row + row < rows && first_column + column < columns)
        *(u32*)&tile[row][column] = *(const u32*)&from[start + u64(first_row + row) * columns + first_column + column];
}}
__syncthreads();
#pragma unroll
for (u32 n = 0; n < 2048u / {TURNING_THREADS}u; n++) {{
    const u32 i = n * {TURNING_THREADS}u + threadIdx.x;
    const u32 column = i / {1}u, row = i % {1}u * 2u;
    if (first_row + row < rows && first_column + column < columns)
        *(u32*)&to[start + u64(first_column + column) * rows + first_row + row] =
            u32(tile[row][column]) | u32(tile[row + 1u][column]) << 16;
}}
}}
",
                tile_columns / 2,
                tile_rows / 2
            )
        } else {
            format!(
                "for (u32 i = threadIdx.x; i < 4096u; i += {TURNING_THREADS}u) {{
    const u32 row = i / {tile_columns}u, column = i % {tile_columns}u;
    if (first_row + row < rows && first_column + column < columns)
        tile[row][column] = from[start + u64(first_row + row) * columns + first_column + column];
}}
__syncthreads();
for (u32 i = threadIdx.x; i < 4096u; i += {TURNING_THREADS}u) {{
    const u32 column = i / {tile_rows}u, row = i % {tile_rows}u;
    if (first_row + row < rows && first_column + column < columns)
        to[start + u64(first_column + column) * rows + first_row + row] = given(tile[row][column]);
}}
}}
"
            )
        };
        text
    }

    /// Its parameters, and the blocks that it takes.
    pub fn launch(&self) -> (Vec<u32>, [u32; 3]) {
        let [tile_rows, tile_columns] = self.tile();
        let blocks = self.rows.div_ceil(tile_rows) * self.columns.div_ceil(tile_columns) * self.batch;
        (vec![self.rows as u32, self.columns as u32, 0, 0], [blocks as u32, 1, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::text::parse;

    fn jobs(dtype: &str, body: &str) -> Vec<Option<Job>> {
        let text = format!("program p {{\n{}\n}}", body.replace("TYPE", dtype));
        let plan = dropforge_plan::plan(&parse(&text).unwrap()).unwrap();
        let printing = Printing { f16: true, bf16: true, ..Printing::default() };
        let is_call = |kernel: &&Kernel| matches!(kernel.work, Work::Call { .. });
        plan.kernels.iter().filter(is_call).map(|kernel| job(&plan, kernel, printing, true)).collect()
    }

    const STRIDED: &str = "  %x: TYPE[16, 64, 32, 32] = input \"x\"
  %f: TYPE[128, 64, 3, 3] = input \"f\"
  %y = convolution %x, %f {window=[stride:[2, 2] low:[1, 1] high:[0, 0] dilation:[1, 1] groups:1]}
  output \"y\" = %y";

    #[test]
    fn channels_of_halves_come_side_by_side() {
        let job = jobs("bf16", STRIDED)[0].unwrap();
        assert_eq!((job.shape.element, job.shape.output), (Element::BF16, [16, 128, 16, 16]));
        let around = job.around(1000);
        let turn = |batch, rows, columns| Turn { batch, rows, columns, widened: None };
        let (x, filter) = (16 * 64 * 1024 * 2, 128 * 64 * 9 * 2);
        let [first, second, third] = [0, x, x + filter].map(Spot::Scratch);
        assert_eq!(
            around.before,
            [(turn(16, 64, 1024), Spot::Operand(0), first), (turn(128, 64, 9), Spot::Operand(1), second)]
        );
        assert_eq!(around.after, [(turn(16, 256, 128), third, Spot::Operand(2))]);
        assert_eq!(around.spots, [first, second, third]);
        assert_eq!(
            (around.workspace, around.bytes),
            (x + filter + 16 * 128 * 256 * 2, around.workspace + 1024)
        );
    }

    #[test]
    fn f32_stays_as_it_lies() {
        let large = STRIDED
            .replace("[16, 64, 32, 32]", "[128, 64, 32, 32]")
            .replace("stride:[2, 2]", "stride:[1, 1]");
        let job = jobs("f32", &large.replace("high:[0, 0]", "high:[1, 1]"))[0].unwrap();
        let around = job.around(0);
        assert!(!job.shape.channels_last && around.before.is_empty() && around.after.is_empty(), "{job:?}");
        assert_eq!(around.spots, [0, 1, 2].map(Spot::Operand));
    }

    #[test]
    fn gradients_of_filters_are_widened_and_other_results_are_not() {
        let found = jobs(
            "f16",
            "  %a: TYPE[32, 64, 32, 32] = input \"a\"
  %b: TYPE[32, 64, 32, 32] = input \"b\"
  %w: TYPE[64, 64, 1, 1] = input \"w\"
  %x = cast %a {to=f32}
  %g = cast %b {to=f32}
  %f = cast %w {to=f32}
  %d = convolution_filter_gradient %x, %g {window=[stride:[1, 1] low:[0, 0] high:[0, 0] dilation:[1, 1] groups:1], kernel=[1, 1]}
  %y = convolution %x, %f {window=[stride:[1, 1] low:[0, 0] high:[0, 0] dilation:[1, 1] groups:1]}
  output \"d\" = %d
  output \"y\" = %y",
        );
        let kept: Vec<Job> = found.into_iter().flatten().collect();
        let [job] = kept[..] else { panic!("{kept:?}") };
        assert!(job.widened && job.shape.direction == Direction::Filter);
        let Around { after, .. } = job.around(0);
        let turn = Turn { batch: 1, rows: 1, columns: 4096, widened: Some(Element::F16) };
        assert_eq!(after.iter().map(|(turn, ..)| *turn).collect::<Vec<_>>(), [turn]);
    }

    #[test]
    fn what_the_library_does_not_take_is_left_to_kernels() {
        // Three channels, groups, ends that differ, little to do.
        for (channels, inner, window) in [
            (3, 3, "stride:[1, 1] low:[1, 1] high:[1, 1] dilation:[1, 1] groups:1"),
            (64, 32, "stride:[1, 1] low:[1, 1] high:[1, 1] dilation:[1, 1] groups:2"),
            (64, 64, "stride:[1, 1] low:[0, 0] high:[2, 2] dilation:[1, 1] groups:1"),
        ] {
            let body = format!(
                "  %x: TYPE[16, {channels}, 32, 32] = input \"x\"
  %f: TYPE[128, {inner}, 3, 3] = input \"f\"
  %y = convolution %x, %f {{window=[{window}]}}
  output \"y\" = %y"
            );
            assert_eq!(jobs("bf16", &body), [None], "{window}");
        }
        let small = STRIDED.replace("[16, 64, 32, 32]", "[1, 64, 2, 2]");
        assert_eq!(jobs("bf16", &small), [None]);
    }
}
