//! What kernels can count.

use dropforge_ir::{Error, Op, Program, Result};

/// Checks that windows lie in images, padding included, whose rows and columns fit i32, in which kernels count them.
///
/// # Errors
/// Names the first operation whose image is larger.
pub(crate) fn check(program: &Program) -> Result<()> {
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
