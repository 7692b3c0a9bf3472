//! Padding as a layer of its own.

use super::convolution::PaddingMode;
use super::declare::layers;
use super::scope::Scope;
use crate::settings::Range;
use crate::tensor::{PadMode, Tensor};

layers! {
    /// So many elements before and after along each of the last axes, outermost first; `[[1, 1], [2, 2]]` puts a row
    /// above and below and two columns left and right. A negative number takes away. PyTorch's `nn.ZeroPad2d`,
    /// `ConstantPad2d`, `ReflectionPad2d`, `ReplicationPad2d`, `CircularPad2d` and those for one and three axes, which
    /// list the last axis first.
    Pad, pad(sides: &[[isize; 2]]) = "pad", "elements before and after along the last axes"
        like "nn.ZeroPad2d, ConstantPad, ReflectionPad, ReplicationPad, CircularPad"
        but "axes from the outermost inwards" [
        sides as "sides": Vec<[isize; 2]> = sides.to_vec(), Range::ANY, "[before, after] for each of the last axes";
    ] {
        mode: PaddingMode = PaddingMode::Zeros, Range::ANY, "what is put around";
        value: f32 = 0.0, Range::ANY, "the number that stands for zeros";
    }
}

impl Pad {
    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let Some(before) = x.rank().checked_sub(self.sides.len()) else {
            let message = format!("there are {} pairs for the axes of {}", self.sides.len(), x.shape());
            return scope.fail("pad", message, x);
        };
        let sides = self.sides.iter().map(|&[low, high]| (low, high));
        let around: Vec<_> = std::iter::repeat_n((0, 0), before).chain(sides).collect();
        let mode = match self.mode {
            PaddingMode::Zeros => PadMode::Constant(self.value),
            mode => mode.mode(),
        };
        x.pad_with(&around, mode)
    }
}
