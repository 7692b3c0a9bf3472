//! Moving elements between memory and blocks where they do not lie one after another, or are bytes or halves.

use super::tuning;
use crate::vecmath::block::Block;
use crate::vecmath::half::{Half, narrow_run, widen_run};
use crate::vecmath::lanes::{Lanes, prefetch};

/// The lanes to be moved: what the fourth argument of these block functions points to.
#[repr(C)]
pub(super) struct Walk {
    /// Extents and steps in elements, outermost first.
    pub axes: *const (usize, i64),
    pub rank: usize,
    /// Number of the first lane.
    pub start: usize,
}

/// The runs along the innermost axis that make up `count` lanes.
struct Runs<'a> {
    axes: &'a [(usize, i64)],
    coordinates: [usize; super::layout::MAX_AXES],
    position: i64,
    left: usize,
}

impl<'a> Runs<'a> {
    /// # Safety
    /// `walk` points to axes that live as long as the result.
    #[inline(always)]
    unsafe fn new(walk: &Walk, count: usize) -> Runs<'a> {
        // SAFETY: the caller's promise.
        let axes = unsafe { std::slice::from_raw_parts(walk.axes, walk.rank) };
        // Filled where it stays: what is written in parts and then moved as a whole makes the processor wait.
        let mut runs = Runs { axes, coordinates: [0; super::layout::MAX_AXES], position: 0, left: count };
        let mut number = walk.start;
        for (axis, &(extent, stride)) in axes.iter().enumerate().rev() {
            let coordinate = if axis == 0 { number } else { number % extent };
            number /= extent.max(1);
            runs.coordinates[axis] = coordinate;
            runs.position += coordinate as i64 * stride;
        }
        runs
    }

    /// The next runs that are equally far from each other.
    #[inline(always)]
    fn next(&mut self) -> Option<Group> {
        if self.left == 0 {
            return None;
        }
        let Some(inner) = self.axes.len().checked_sub(1) else {
            let length = self.left;
            self.left = 0;
            return Some(Group { position: 0, length, stride: 0, runs: 1, step: 0 });
        };
        let (extent, stride) = self.axes[inner];
        let mut group =
            Group { position: self.position as isize, length: 0, stride: stride as isize, runs: 1, step: 0 };
        let mut axis = inner;
        if inner > 0 && self.coordinates[inner] == 0 && self.left >= extent {
            // Whole runs along the next axis.
            let (outer, step) = self.axes[inner - 1];
            axis = inner - 1;
            group.length = extent;
            group.runs = (outer - self.coordinates[axis]).min(self.left / extent);
            group.step = step as isize;
            self.coordinates[axis] += group.runs;
            self.position += group.runs as i64 * step;
            self.left -= group.runs * extent;
        } else {
            group.length = (extent - self.coordinates[inner]).min(self.left);
            group.step = if inner > 0 { self.axes[inner - 1].1 as isize } else { 0 };
            self.coordinates[inner] += group.length;
            self.position += group.length as i64 * stride;
            self.left -= group.length;
        }
        while axis > 0 && self.coordinates[axis] == self.axes[axis].0 {
            self.coordinates[axis] = 0;
            self.position -= self.axes[axis].0 as i64 * self.axes[axis].1;
            axis -= 1;
            self.coordinates[axis] += 1;
            self.position += self.axes[axis].1;
        }
        Some(group)
    }
}

/// Runs of one length and stride, each `step` after the one before, also the first run of the next group.
struct Group {
    position: isize,
    length: usize,
    stride: isize,
    runs: usize,
    step: isize,
}

/// Fills a block: `a` is the address of the element at position 0, `b` a [`Walk`]. Writes up to a vector beyond, unless
/// there is one element only.
pub(super) struct Gather;

impl Block for Gather {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller promises that all lanes of the walk are readable, and `count` and a vector more writable.
        unsafe {
            let mut runs = Runs::new(&*b.cast::<Walk>(), count);
            if count == 1 {
                // A single value has no room for a vector.
                *to = *a.offset(runs.position as isize);
                return;
            }
            let mut to = to;
            while let Some(Group { position, length, stride, runs, step }) = runs.next() {
                let mut from = a.offset(position);
                let runs_ahead = (tuning::GATHERED_AHEAD / length.max(1)).max(1);
                let ahead = 4 * step * runs_ahead as isize;
                for _ in 0..runs {
                    match stride {
                        0 => fill::<V>(to, *from, length),
                        1 => copy::<V>(to, from, length, ahead),
                        _ => {
                            for i in 0..length {
                                *to.add(i) = *from.offset(i as isize * stride);
                            }
                        }
                    }
                    to = to.add(length);
                    from = from.wrapping_offset(step);
                }
            }
        }
    }
}

/// `length` elements one after another, and up to a vector more written. Those `ahead`, in bytes, will be needed soon,
/// if that is not zero: hardware does not foresee where the next run lies.
///
/// # Safety
/// That many elements are readable and writable.
#[inline(always)]
unsafe fn copy<V: Lanes>(to: *mut u32, from: *const u32, length: usize, ahead: isize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut i = 0;
        while i + V::COUNT <= length {
            if ahead != 0 {
                prefetch(from.add(i).cast::<u8>().wrapping_offset(ahead));
            }
            V::store(V::load(from.add(i)), to.add(i));
            i += V::COUNT;
        }
        if i < length {
            V::store(V::load_first(from.add(i), length - i), to.add(i));
        }
    }
}

/// `length` lanes of one element, and up to a vector more.
///
/// # Safety
/// That many elements are writable.
#[inline(always)]
unsafe fn fill<V: Lanes>(to: *mut u32, bits: u32, length: usize) {
    let all = V::splat_bits(bits);
    let mut i = 0;
    while i < length {
        // SAFETY: the caller's promise.
        unsafe { V::store(all, to.add(i)) };
        i += V::COUNT;
    }
}

/// As [`Gather`], from bytes.
pub(super) struct GatherBytes;

impl Block for GatherBytes {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: as for `Gather`.
        unsafe {
            let mut runs = Runs::new(&*b.cast::<Walk>(), count);
            let mut to = to;
            while let Some(Group { position, length, stride, runs, step }) = runs.next() {
                let mut from = a.cast::<u8>().offset(position);
                for _ in 0..runs {
                    if stride == 1 {
                        for i in 0..length {
                            *to.add(i) = u32::from(*from.add(i));
                        }
                    } else {
                        for i in 0..length {
                            *to.add(i) = u32::from(*from.offset(i as isize * stride));
                        }
                    }
                    to = to.add(length);
                    from = from.wrapping_offset(step);
                }
            }
        }
    }
}

/// The opposite of [`Gather`]: `to` is the address of the element at position 0, `a` the block, `b` a [`Walk`].
pub(super) struct Scatter;

impl Block for Scatter {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller promises that all lanes of the walk are writable, and `count` readable.
        unsafe {
            let mut runs = Runs::new(&*b.cast::<Walk>(), count);
            let mut from = a;
            while let Some(Group { position, length, stride, runs, step }) = runs.next() {
                let mut to = to.offset(position);
                for _ in 0..runs {
                    if stride == 1 {
                        let mut i = 0;
                        while i + V::COUNT <= length {
                            V::store(V::load(from.add(i)), to.add(i));
                            i += V::COUNT;
                        }
                        if i < length {
                            V::store_first(V::load_first(from.add(i), length - i), to.add(i), length - i);
                        }
                    } else {
                        for i in 0..length {
                            *to.offset(i as isize * stride) = *from.add(i);
                        }
                    }
                    from = from.add(length);
                    to = to.wrapping_offset(step);
                }
            }
        }
    }
}

/// As [`Scatter`], to bytes.
pub(super) struct ScatterBytes;

impl Block for ScatterBytes {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: as for `Scatter`.
        unsafe {
            let mut runs = Runs::new(&*b.cast::<Walk>(), count);
            let mut from = a;
            while let Some(Group { position, length, stride, runs, step }) = runs.next() {
                let mut to = to.cast::<u8>().offset(position);
                for _ in 0..runs {
                    if stride == 1 {
                        for i in 0..length {
                            *to.add(i) = *from.add(i) as u8;
                        }
                    } else {
                        for i in 0..length {
                            *to.offset(i as isize * stride) = *from.add(i) as u8;
                        }
                    }
                    from = from.add(length);
                    to = to.wrapping_offset(step);
                }
            }
        }
    }
}

/// As [`Gather`], from halves, which become f32.
pub(super) struct GatherHalves<H>(std::marker::PhantomData<H>);

impl<H: Half> Block for GatherHalves<H> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: as for `Gather`; chunks are at most a vector, for which the array has room.
        unsafe {
            let mut runs = Runs::new(&*b.cast::<Walk>(), count);
            let mut to = to;
            while let Some(Group { position, length, stride, runs, step }) = runs.next() {
                let mut from = a.cast::<u16>().offset(position);
                for _ in 0..runs {
                    if stride == 1 {
                        widen_run::<V, H>(to, from, length);
                    } else {
                        for start in (0..length).step_by(V::COUNT) {
                            let mut chunk = [0u16; 16];
                            let chunk_length = (length - start).min(V::COUNT);
                            for (i, bits) in chunk.iter_mut().enumerate().take(chunk_length) {
                                *bits = *from.offset((start + i) as isize * stride);
                            }
                            widen_run::<V, H>(to.add(start), chunk.as_ptr(), chunk_length);
                        }
                    }
                    to = to.add(length);
                    from = from.wrapping_offset(step);
                }
            }
        }
    }
}

/// As [`Scatter`], to halves, to which f32 are rounded.
pub(super) struct ScatterHalves<H>(std::marker::PhantomData<H>);

impl<H: Half> Block for ScatterHalves<H> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: as for `Gather`; chunks are at most a vector, for which the array has room.
        unsafe {
            let mut runs = Runs::new(&*b.cast::<Walk>(), count);
            let mut from = a;
            while let Some(Group { position, length, stride, runs, step }) = runs.next() {
                let mut to = to.cast::<u16>().offset(position);
                for _ in 0..runs {
                    if stride == 1 {
                        narrow_run::<V, H>(to, from, length);
                    } else {
                        for start in (0..length).step_by(V::COUNT) {
                            let mut chunk = [0u16; 16];
                            let chunk_length = (length - start).min(V::COUNT);
                            narrow_run::<V, H>(chunk.as_mut_ptr(), from.add(start), chunk_length);
                            for (i, &bits) in chunk.iter().enumerate().take(chunk_length) {
                                *to.offset((start + i) as isize * stride) = bits;
                            }
                        }
                    }
                    from = from.add(length);
                    to = to.wrapping_offset(step);
                }
            }
        }
    }
}

/// The positions themselves: `a` points to that of position 0 (an i64), `b` is a [`Walk`].
pub(super) struct Positions;

impl Block for Positions {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller promises that `count` elements are writable.
        unsafe {
            let base = a.cast::<i64>().read_unaligned() as u32;
            let mut runs = Runs::new(&*b.cast::<Walk>(), count);
            let mut to = to;
            while let Some(Group { position, length, stride, runs, step }) = runs.next() {
                let mut first = base.wrapping_add(position as u32);
                for _ in 0..runs {
                    for i in 0..length {
                        *to.add(i) = first.wrapping_add((stride as u32).wrapping_mul(i as u32));
                    }
                    to = to.add(length);
                    first = first.wrapping_add(step as u32);
                }
            }
        }
    }
}

/// Repeats each of `count` row values along the columns, whose number `b` points to (a u32). Writes up to a vector
/// beyond.
pub(super) struct Spread;

impl Block for Spread {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller promises room for all lanes and a vector more.
        unsafe {
            let columns = *b as usize;
            for row in 0..count {
                fill::<V>(to.add(row * columns), *a.add(row), columns);
            }
        }
    }
}
