//! Transposition of a plane: the source is contiguous along the rows' axis, the destination along the columns'.

use super::Element;
use crate::simd::{Kernel, Level, MAX_LANES, Vector};

/// Columns that are done together, so that the source lines they share stay in the nearest cache.
const BLOCK: usize = 64;

/// Copies element `(row, column)` from `from + row + column * from_stride` to `to + row * to_stride + column`.
///
/// # Safety
/// All of these are accessible, and the planes do not overlap.
pub(super) unsafe fn transpose_plane<T: Element>(
    from: *const T,
    from_stride: isize,
    to: *mut T,
    to_stride: isize,
    extents: [usize; 2],
    level: Level,
) {
    if size_of::<T>() == size_of::<f32>() {
        // Words of any type move like numbers: loads, shuffles and stores keep the bits.
        let (from, to) = (from.cast(), to.cast());
        level.call(Words { from, from_stride, to, to_stride, extents });
        return;
    }
    let [rows, columns] = extents;
    for first_row in (0..rows).step_by(BLOCK) {
        for first_column in (0..columns).step_by(BLOCK) {
            for row in first_row..(first_row + BLOCK).min(rows) {
                for column in first_column..(first_column + BLOCK).min(columns) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let value = *from.offset(row as isize + column as isize * from_stride);
                        *to.offset(row as isize * to_stride + column as isize) = value;
                    }
                }
            }
        }
    }
}

struct Words {
    from: *const f32,
    from_stride: isize,
    to: *mut f32,
    to_stride: isize,
    extents: [usize; 2],
}

impl Kernel for Words {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let [rows, columns] = self.extents;
        for first_column in (0..columns).step_by(BLOCK) {
            for row in (0..rows).step_by(V::LANES) {
                for column in (first_column..(first_column + BLOCK).min(columns)).step_by(V::LANES) {
                    let counts = [(rows - row).min(V::LANES), (columns - column).min(V::LANES)];
                    let from = self.from.wrapping_offset(row as isize + column as isize * self.from_stride);
                    let to = self.to.wrapping_offset(row as isize * self.to_stride + column as isize);
                    // SAFETY: `transpose_plane`'s caller vouches for the elements.
                    unsafe { square::<V>(from, self.from_stride, to, self.to_stride, counts) };
                }
            }
        }
    }
}

/// Transposes a square of one vector by one vector, or the part of it that there is.
///
/// # Safety
/// As [`transpose_plane`].
#[inline(always)]
unsafe fn square<V: Vector>(
    from: *const f32,
    from_stride: isize,
    to: *mut f32,
    to_stride: isize,
    [rows, columns]: [usize; 2],
) {
    let mut square = [V::zero(); MAX_LANES];
    // SAFETY: the caller's promise.
    unsafe {
        if rows == V::LANES && columns == V::LANES {
            for (column, vector) in square.iter_mut().enumerate().take(V::LANES) {
                *vector = V::load(from.offset(column as isize * from_stride));
            }
            V::transpose(&mut square);
            for (row, vector) in square.iter().enumerate().take(V::LANES) {
                vector.store(to.offset(row as isize * to_stride));
            }
        } else {
            for (column, vector) in square.iter_mut().enumerate().take(columns) {
                *vector = V::load_partial(from.offset(column as isize * from_stride), rows);
            }
            V::transpose(&mut square);
            for (row, vector) in square.iter().enumerate().take(rows) {
                vector.store_partial(to.offset(row as isize * to_stride), columns);
            }
        }
    }
}
