//! What a convolution does with its result on the way to memory, by channel: batch norms and biases, and a ReLU.
//!
//! Kernels with channels in the lanes hold a vector of channels for each pixel before they bring it into the planes:
//! there this takes a few operations on registers, where a loop kernel behind the convolution reads and writes
//! everything once more.

use super::layout::Block;
use crate::simd::Vector;

/// `(x − mean) · scale + shift` with a number for each channel of the result, where there are some, and then a ReLU if
/// wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Channelwise {
    /// Subtracted first.
    pub mean: Option<*const f32>,
    /// Multiplied with.
    pub scale: Option<*const f32>,
    /// Added then.
    pub shift: Option<*const f32>,
    /// Whether what is not positive becomes 0.
    pub relu: bool,
}

// SAFETY: the numbers are only read, and whoever gives them to a convolution promises that they stay.
unsafe impl Send for Channelwise {}
// SAFETY: as above.
unsafe impl Sync for Channelwise {}

/// The same for the channels in the lanes of a vector.
#[derive(Clone, Copy)]
pub(super) struct OfLanes<V> {
    mean: V,
    scale: V,
    shift: V,
    relu: bool,
}

impl Channelwise {
    /// For the channels of a block, from `channel` on.
    ///
    /// # Safety
    /// There are numbers for these channels.
    #[inline(always)]
    pub(super) unsafe fn of<V: Vector>(&self, channel: usize, block: &Block) -> OfLanes<V> {
        // SAFETY: the caller's promise.
        unsafe {
            // What is missing changes no bit of any number.
            let (mut mean, mut scale, mut shift) = (V::splat(0.0), V::splat(1.0), V::splat(-0.0));
            if let Some(numbers) = self.mean {
                mean = V::load_partial(numbers.add(channel), block.lanes);
            }
            if let Some(numbers) = self.scale {
                scale = V::load_partial(numbers.add(channel), block.lanes);
            }
            if let Some(numbers) = self.shift {
                shift = V::load_partial(numbers.add(channel), block.lanes);
            }
            OfLanes { mean, scale, shift, relu: self.relu }
        }
    }
}

impl<V: Vector> OfLanes<V> {
    /// Each step is rounded, as in a loop kernel.
    #[inline(always)]
    pub(super) fn apply(&self, x: V) -> V {
        let x = x.sub(self.mean).mul(self.scale).add(self.shift);
        if self.relu { V::select(x.beats(V::zero()), x, V::zero()) } else { x }
    }
}
