//! Bringing something other than the width into the lanes of vectors, and back.

use super::channelwise::OfLanes;
use crate::simd::{MAX_LANES, Vector};

/// Numbers in a cache line; pieces of scratch memory start at multiples of it.
pub(super) const LINE: usize = 16;

/// Room for `length` numbers so that what follows starts at a cache line.
pub(super) fn whole_lines(length: usize) -> usize {
    length.next_multiple_of(LINE)
}

/// The elements to ask for so that [`align`] finds `length` aligned ones.
pub(super) fn with_alignment(length: usize) -> usize {
    length + LINE
}

/// The part of `scratch` from the first cache line on.
pub(super) fn align(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(LINE * size_of::<f32>());
    &mut scratch[skip..]
}

/// A block of pixels whose lanes are separate planes (of images or of channels) outside of the kernels.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Elements from one lane's plane to the next.
    pub lane_stride: usize,
    /// Lanes there are, at most `LANES`.
    pub lanes: usize,
    /// Rows of pixels, contiguous in each plane.
    pub rows: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Pixels from one row to the next where lanes are innermost.
    pub row_step: usize,
}

// The loops over a square have constant bounds, so that it stays in registers.
impl Block {
    /// Transposes planes into vectors of pixels; lanes there are not become zero.
    ///
    /// # Safety
    /// `planes` is readable and `pixels` writable as the fields say.
    #[inline(always)]
    pub unsafe fn spread<V: Vector>(self, planes: *const f32, pixels: *mut f32) {
        let count = self.rows * self.width;
        let mut place = Place { block: self, at: 0, column: 0 };
        let mut start = 0;
        while start < count {
            let length = V::LANES.min(count - start);
            let mut square = [V::zero(); MAX_LANES];
            // SAFETY: `length` pixels from `start` on are in the plane of each of the lanes, and in `pixels`.
            unsafe {
                for lane in 0..V::LANES {
                    if lane < self.lanes {
                        let from = planes.add(lane * self.lane_stride + start);
                        square[lane] =
                            if length == V::LANES { V::load(from) } else { V::load_partial(from, length) };
                    }
                }
                V::transpose(&mut square);
                if length == V::LANES && place.in_row(V::LANES) {
                    for i in 0..V::LANES {
                        square[i].store(pixels.add((place.at + i) * V::LANES));
                    }
                    place.skip(V::LANES);
                } else {
                    for i in 0..V::LANES {
                        if i < length {
                            square[i].store(pixels.add(place.at * V::LANES));
                            place.skip(1);
                        }
                    }
                }
            }
            start += length;
        }
    }

    /// Transposes vectors of pixels into planes.
    ///
    /// # Safety
    /// `pixels` is readable and `planes` writable as the fields say.
    #[inline(always)]
    pub unsafe fn gather<V: Vector>(self, pixels: *const f32, planes: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { self.gather_changed::<V>(pixels, planes, None) }
    }

    /// As [`Block::gather`], with what happens to each vector on the way.
    ///
    /// # Safety
    /// As for [`Block::gather`].
    #[inline(always)]
    pub unsafe fn gather_changed<V: Vector>(
        self,
        pixels: *const f32,
        planes: *mut f32,
        change: Option<OfLanes<V>>,
    ) {
        let count = self.rows * self.width;
        let mut place = Place { block: self, at: 0, column: 0 };
        let mut start = 0;
        while start < count {
            let length = V::LANES.min(count - start);
            let mut square = [V::zero(); MAX_LANES];
            // SAFETY: as in `spread`.
            unsafe {
                if length == V::LANES && place.in_row(V::LANES) {
                    for i in 0..V::LANES {
                        square[i] = V::load(pixels.add((place.at + i) * V::LANES));
                    }
                    place.skip(V::LANES);
                } else {
                    for i in 0..V::LANES {
                        if i < length {
                            square[i] = V::load(pixels.add(place.at * V::LANES));
                            place.skip(1);
                        }
                    }
                }
                if let Some(change) = change {
                    for i in 0..V::LANES {
                        square[i] = change.apply(square[i]);
                    }
                }
                V::transpose(&mut square);
                for lane in 0..V::LANES {
                    if lane < self.lanes {
                        let to = planes.add(lane * self.lane_stride + start);
                        if length == V::LANES {
                            square[lane].store(to);
                        } else {
                            square[lane].store_partial(to, length);
                        }
                    }
                }
            }
            start += length;
        }
    }
}

/// Where the next pixel is among the vectors.
struct Place {
    block: Block,
    at: usize,
    column: usize,
}

impl Place {
    /// Whether `count` more pixels are in this row.
    #[inline(always)]
    fn in_row(&self, count: usize) -> bool {
        self.column + count <= self.block.width
    }

    /// Moves on by pixels of this row.
    #[inline(always)]
    fn skip(&mut self, count: usize) {
        self.at += count;
        self.column += count;
        if self.column == self.block.width {
            self.at += self.block.row_step - self.block.width;
            self.column = 0;
        }
    }
}

/// Scratch memory that the threads of a job write at places interleaved with each other's.
#[derive(Clone, Copy)]
pub(super) struct Interleaved(*mut f32);

// SAFETY: reading and writing through the pointer is unsafe and its users see to it that threads do not collide.
unsafe impl Send for Interleaved {}
// SAFETY: as above.
unsafe impl Sync for Interleaved {}

impl Interleaved {
    pub fn new(memory: &mut [f32]) -> Self {
        Interleaved(memory.as_mut_ptr())
    }

    /// The address of element `offset`, which is inside the memory.
    #[inline(always)]
    pub fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}
