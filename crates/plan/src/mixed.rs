//! Mixed products: factors of half precision, sums of f32.
//!
//! In a program these are a product (or convolution) of f32 whose arguments are casts from f16 or bf16. A cast to f32
//! loses nothing, so the operation reads what was cast instead, and the cast is not carried out for it: half the memory
//! is read, and a device with matrix units for halves can use them.

use crate::view::{View, Views};
use dropforge_ir::{DType, Op, Program, Value};

/// How an argument of a library operation lies in memory: as its view says, or in the memory of the halves that were
/// cast to it. `fits` says which views the operation can read.
pub fn argument_view(
    program: &Program,
    views: &Views,
    op: &Op,
    arg: Value,
    fits: impl Fn(&View) -> bool,
) -> View {
    let view = views.view(arg);
    let cast = program.definition(view.root);
    let narrow = cast.args.first().filter(|&&narrow| {
        cast.op == (Op::Cast { to: DType::F32 }) && program.dtype(narrow).is_half() && op.is_contraction()
    });
    let through = narrow.and_then(|&narrow| {
        let source = views.view(narrow);
        if arg == view.root {
            Some(source.clone())
        } else {
            // Positions in the cast value are positions in its source if that has the same order.
            let same_order = source.is_contiguous(program.shape(narrow));
            same_order.then(|| View { root: source.root, ..view.clone() })
        }
    });
    through.filter(fits).unwrap_or_else(|| view.clone())
}
