//! What kernels may use, and what they can count.

use dropforge_ir::{Error, Op, Program, Result};

/// What a device allows a kernel, as far as printers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a buffer that a kernel sees.
    pub buffer_bytes: u64,
    /// Most buffers of a kernel, its parameters apart.
    pub buffers: usize,
    /// Most bytes of a kernel's parameters.
    pub parameter_bytes: u64,
    /// Most bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Most threads of a workgroup.
    pub workgroup_threads: u32,
}

/// What WebGPU promises everywhere.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            buffer_bytes: 128 << 20,
            buffers: 8,
            parameter_bytes: 64 << 10,
            workgroup_bytes: 16 << 10,
            workgroup_threads: 256,
        }
    }
}

/// Checks that windows lie in images, padding included, whose rows and columns fit i32, in which kernels count them.
///
/// # Errors
/// Names the first operation whose image is larger.
pub fn check(program: &Program) -> Result<()> {
    for node in program.nodes() {
        let image = |arg: usize| {
            let shape = program.shape(node.args[arg]);
            [shape[2], shape[3]]
        };
        let (input, low, high) = match &node.op {
            Op::Convolution { window } | Op::ConvolutionFilterGradient { window, .. } => {
                (image(0), window.low, window.high)
            }
            Op::ConvolutionInputGradient { window, input } => (*input, window.low, window.high),
            Op::MaxPool { window } | Op::WindowSum { window } => (image(0), window.low, window.high),
            Op::WindowSumTranspose { window, input } => (*input, window.low, window.high),
            _ => continue,
        };
        for axis in 0..2 {
            let padded = input[axis] + low[axis] + high[axis];
            if i32::try_from(padded).is_err() {
                let message = format!("{padded} rows or columns with the padding are more than a GPU counts");
                return Err(Error::new(node.op.name(), message).at(&node.origin));
            }
        }
    }
    Ok(())
}
