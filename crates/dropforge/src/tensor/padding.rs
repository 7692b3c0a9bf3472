//! Padding with numbers, and with what the tensor holds itself.

use super::Tensor;
use super::node::fail;

/// What stands around the elements in [`Tensor::pad_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// One number.
    Constant(f32),
    /// The elements mirrored at the outermost one, which is not repeated: NumPy's and PyTorch's `reflect`.
    Reflect,
    /// The outermost element repeated: PyTorch's `replicate`, NumPy's `edge`.
    Replicate,
    /// The elements from the other end: PyTorch's `circular`, NumPy's `wrap`.
    Circular,
}

impl Tensor {
    /// Elements put around this: so many before and after along each axis, outermost first. A negative number takes
    /// elements away, as in PyTorch.
    ///
    /// Reflecting needs fewer elements than the axis has, the other end at most as many, and repeating at least one.
    #[track_caller]
    pub fn pad_with(&self, around: &[(isize, isize)], mode: PadMode) -> Tensor {
        if around.len() != self.rank() {
            let message = format!("needs a pair for each axis of {}, got {}", self.shape(), around.len());
            return fail("pad_with", message, &[self]);
        }
        let mut padded = self.clone();
        for (axis, &(before, after)) in around.iter().enumerate() {
            let extent = padded.shape()[axis];
            let (cut_low, cut_high) = (before.min(0).unsigned_abs(), after.min(0).unsigned_abs());
            if cut_low.saturating_add(cut_high) > extent {
                let message =
                    format!("{} has no {cut_low} and {cut_high} elements to take away", self.shape());
                return fail("pad_with", message, &[self]);
            }
            padded = padded.slice(axis as isize, cut_low..extent - cut_high);
            padded = padded.pad_axis(axis, before.max(0).unsigned_abs(), after.max(0).unsigned_abs(), mode);
        }
        padded
    }

    /// One axis, with no negative numbers.
    #[track_caller]
    fn pad_axis(&self, axis: usize, low: usize, high: usize, mode: PadMode) -> Tensor {
        if low == 0 && high == 0 {
            return self.clone();
        }
        let extent = self.shape()[axis];
        let most = match mode {
            PadMode::Constant(value) => {
                let at =
                    |count: usize| (0..self.rank()).map(move |other| if other == axis { count } else { 0 });
                return self.pad(&at(low).collect::<Vec<_>>(), &at(high).collect::<Vec<_>>(), value);
            }
            PadMode::Reflect => extent.saturating_sub(1),
            PadMode::Replicate if extent > 0 => usize::MAX,
            PadMode::Replicate => 0,
            PadMode::Circular => extent,
        };
        if low > most || high > most {
            let message = format!(
                "axis {axis} of {} allows at most {most} elements on each side, got {low} and {high}",
                self.shape()
            );
            return fail("pad_with", message, &[self]);
        }
        let along = axis as isize;
        let (before, after) = match mode {
            PadMode::Reflect => (
                self.slice(along, 1..low + 1).flip(along),
                self.slice(along, extent - 1 - high..extent - 1).flip(along),
            ),
            PadMode::Circular => (self.slice(along, extent - low..), self.slice(along, ..high)),
            _ => {
                let mut shape = self.shape().to_vec();
                shape[axis] = low;
                let before = self.slice(along, ..1).broadcast_to(shape.clone());
                shape[axis] = high;
                (before, self.slice(along, extent - 1..).broadcast_to(shape))
            }
        };
        let mut parts = Vec::new();
        for (part, count) in [(&before, low), (self, extent), (&after, high)] {
            if count > 0 {
                parts.push(part);
            }
        }
        Tensor::concat(&parts, along)
    }
}
