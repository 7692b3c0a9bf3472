//! Direct convolution with output channels in the lanes, forward and input gradient.
//!
//! Filters are packed so that a vector holds one tap for `LANES` target channels; pixels are broadcast from a padded
//! image. A tile of accumulators is a few vectors of channels by a few pixels of a row. The input gradient of a
//! strided convolution is several convolutions without stride, one for each phase of the target pixels, each with
//! the taps that reach that phase.

use super::axis::Axis;
use super::choose::{
    DIRECT_FILTER_ELEMENTS, DIRECT_STAGED_PIXELS, FINISHED_ELEMENTS, direct_bands, joined_rows, tile_pixels,
};
use super::layout::{Block, Interleaved, align, whole_lines, with_alignment};
use super::{ConvShape, Direction, Ending, Filters, Part};
use crate::pool::{Pool, share};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

pub(super) fn supports(shape: &ConvShape) -> bool {
    shape.groups == 1
}

/// A tap of the filter.
#[derive(Clone, Copy)]
struct Tap {
    /// Its number in the filter plane.
    filter: usize,
    /// Where it lies in a plane of the padded source.
    source: usize,
}

/// Channels and sizes of the planes that are read or written.
#[derive(Clone, Copy)]
struct Planes {
    channels: usize,
    height: usize,
    width: usize,
}

impl Planes {
    fn plane(&self) -> usize {
        self.height * self.width
    }
}

/// One convolution and the sizes of its scratch memory.
pub(super) struct Plan {
    level: Level,
    threads: usize,
    batch: usize,
    turned: bool,
    filter_taps: usize,
    source: Planes,
    target: Planes,
    axes: [Axis; 2],
    /// Taps of each phase of rows and, innermost, of columns.
    taps: Vec<Vec<Tap>>,
    /// Target rows that are staged together.
    rows: usize,
    /// Blocks of `lanes` target channels, and how many are computed together.
    blocks: usize,
    together: usize,
    /// Parts of the rows that are computed apart, so that every thread has something to do.
    bands: usize,
    /// Elements of the packed filters, of a padded image and of the staging area.
    packed: usize,
    image: usize,
    staging: usize,
}

impl Plan {
    pub fn new(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> Plan {
        let shape = &joined_rows(shape);
        let lanes = level.lanes();
        let turned = direction == Direction::InputGradient;
        let [height, width] = shape.output();
        let input = Planes { channels: shape.in_channels, height: shape.input[0], width: shape.input[1] };
        let output = Planes { channels: shape.out_channels, height, width };
        let (source, target) = if turned { (output, input) } else { (input, output) };
        let axis = if turned { Axis::input_gradient } else { Axis::forward };
        let axes = [axis(shape, 0), axis(shape, 1)];
        let mut taps = Vec::new();
        for row in &axes[0].phases {
            for column in &axes[1].phases {
                let pairs = row.taps.iter().flat_map(|y| column.taps.iter().map(move |x| (y, x)));
                let tap = |(y, x): (&(usize, usize), &(usize, usize))| Tap {
                    filter: y.0 * shape.kernel[1] + x.0,
                    source: y.1 * axes[1].padded + x.1,
                };
                taps.push(pairs.map(tap).collect());
            }
        }
        let blocks = target.channels.div_ceil(lanes);
        let together = match level.registers() {
            32.. => [4, 2, 1],
            _ => [2, 2, 1],
        };
        let together = *together.iter().find(|&&count| blocks.is_multiple_of(count)).unwrap_or(&1);
        let rows = (DIRECT_STAGED_PIXELS / target.width.max(1)).clamp(1, target.height.max(1));
        let packed = whole_lines(blocks * lanes * source.channels * shape.taps());
        let source_image = source.channels * source.plane();
        Plan {
            level,
            threads,
            batch: shape.batch,
            turned,
            filter_taps: shape.taps(),
            source,
            target,
            rows,
            blocks,
            together,
            bands: direct_bands(shape, blocks / together, target.height, threads, packed, source_image),
            packed,
            image: whole_lines(source.channels * axes[0].padded * axes[1].padded),
            staging: whole_lines(together * rows * target.width * lanes),
            axes,
            taps,
        }
    }

    fn own(&self) -> usize {
        self.image + self.staging
    }

    pub fn scratch_len(&self) -> usize {
        with_alignment(self.packed + self.threads * self.own())
    }

    pub fn packed_len(&self) -> usize {
        self.packed
    }

    pub fn pack(&self, filters: &[f32], packed: &mut [f32], pool: &Pool) {
        let packed = Interleaved::new(packed);
        pool.split(self.blocks, 1, |_, blocks| {
            self.level.call(Pack { plan: self, blocks, filters: filters.as_ptr(), packed: packed.at(0) });
        });
    }

    pub fn run(
        &self,
        a: &[f32],
        b: Filters,
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
        ending: Ending,
    ) {
        let length = self.packed + self.threads * self.own();
        let (own_packed, rest) = align(scratch)[..length].split_at_mut(self.packed);
        let packed = match b {
            Filters::Packed(packed) => packed,
            Filters::Plain(filters) => {
                self.pack(filters, own_packed, pool);
                own_packed
            }
        };
        let (scratch, out) = (Interleaved::new(rest), Interleaved::new(out));
        pool.split(self.batch * self.bands * self.blocks / self.together, 1, |thread, units| {
            let image = scratch.at(thread * self.own());
            self.level.call(Units {
                plan: self,
                units,
                source: a.as_ptr(),
                packed: packed.as_ptr(),
                image,
                staging: image.wrapping_add(self.image),
                target: out.at(0),
                ending,
            });
        });
    }

    fn is_padded(&self) -> bool {
        [self.axes[0].padded, self.axes[1].padded] != [self.source.height, self.source.width]
    }
}

/// Packs filters into `[target / LANES][source][tap][LANES]`.
struct Pack<'a> {
    plan: &'a Plan,
    blocks: Range<usize>,
    filters: *const f32,
    packed: *mut f32,
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Pack { plan, blocks, filters, packed } = self;
        let (taps, sources, targets) = (plan.filter_taps, plan.source.channels, plan.target.channels);
        for block in blocks {
            let lanes = V::LANES.min(targets - block * V::LANES);
            // SAFETY: filters of `lanes` targets; `packed` has room for all blocks.
            unsafe {
                let to = packed.add(block * sources * taps * V::LANES);
                if !plan.turned {
                    let width = sources * taps;
                    let block_of = Block { lane_stride: width, lanes, rows: 1, width, row_step: width };
                    block_of.spread::<V>(filters.add(block * V::LANES * width), to);
                    continue;
                }
                for source in 0..sources {
                    let from = filters.add((source * targets + block * V::LANES) * taps);
                    let to = to.add(source * taps * V::LANES);
                    if taps == 1 {
                        V::load_partial(from, lanes).store(to);
                    } else {
                        let block_of =
                            Block { lane_stride: taps, lanes, rows: 1, width: taps, row_step: taps };
                        block_of.spread::<V>(from, to);
                    }
                }
            }
        }
    }
}

/// Copies `count` planes of `rows` by `width` into zeroed planes of `padded` size, `low` rows and columns from their
/// start. What was around them stays.
///
/// # Safety
/// `source` and `image` are as large as that says.
pub(super) unsafe fn copy_inside(
    source: *const f32,
    count: usize,
    [rows, width]: [usize; 2],
    image: *mut f32,
    padded: [usize; 2],
    low: [usize; 2],
) {
    for channel in 0..count {
        for row in 0..rows {
            let to = (channel * padded[0] + low[0] + row) * padded[1] + low[1];
            // SAFETY: the caller's promise.
            unsafe {
                let from = source.add((channel * rows + row) * width);
                std::ptr::copy_nonoverlapping(from, image.add(to), width);
            }
        }
    }
}

/// Units of work: an image and some blocks of target channels.
struct Units<'a> {
    plan: &'a Plan,
    units: Range<usize>,
    source: *const f32,
    packed: *const f32,
    image: *mut f32,
    staging: *mut f32,
    target: *mut f32,
    ending: Ending<'a>,
}

impl Kernel for Units<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Units { plan, units, source, packed, image: padded, staging, target, ending } = self;
        let chunks = plan.blocks / plan.together;
        let mut padded_image = usize::MAX;
        if plan.is_padded() {
            for i in 0..plan.image {
                // SAFETY: the area is that long.
                unsafe { *padded.add(i) = 0.0 };
            }
        }
        for unit in units {
            // What is larger stays in the cache from one unit to the next: the filters or the image. Bands, where there
            // are some, are the images' rows.
            let parts = plan.batch * plan.bands;
            let (part, chunk) = if plan.packed > DIRECT_FILTER_ELEMENTS && plan.bands == 1 {
                (unit % parts, unit / parts)
            } else {
                (unit / chunks, unit % chunks)
            };
            let (image, band) = (part / plan.bands, part % plan.bands);
            // SAFETY: image and chunk are inside the operands, whose sizes were checked; areas as `Plan::new` has them.
            unsafe {
                let from = source.add(image * plan.source.channels * plan.source.plane());
                let pixels = if plan.is_padded() {
                    if padded_image != image {
                        let Planes { channels, height, width } = plan.source;
                        let padded_size = [plan.axes[0].padded, plan.axes[1].padded];
                        let low = [plan.axes[0].low, plan.axes[1].low];
                        copy_inside(from, channels, [height, width], padded, padded_size, low);
                        padded_image = image;
                    }
                    padded
                } else {
                    from
                };
                let block = chunk * plan.together;
                let filters = packed.add(block * plan.source.channels * plan.filter_taps * V::LANES);
                let target = target.add(image * plan.target.channels * plan.target.plane());
                let chunk = Chunk { plan, image, pixels, filters, staging, ending };
                chunk.rows::<V>(block, share(plan.target.height, plan.bands, band), target);
            }
        }
    }
}

/// Some blocks of target channels of an image.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    plan: &'a Plan,
    image: usize,
    pixels: *const f32,
    filters: *const f32,
    staging: *mut f32,
    ending: Ending<'a>,
}

impl Chunk<'_> {
    /// # Safety
    /// `target` is the image of whose blocks from `block` on these rows are computed.
    #[inline(always)]
    unsafe fn rows<V: Vector>(self, block: usize, of: Range<usize>, target: *mut f32) {
        let plan = self.plan;
        let Planes { channels, height, width } = plan.target;
        let of_chunk = block * V::LANES..channels.min((block + plan.together) * V::LANES);
        let mut y = of.start;
        let mut unfinished = y;
        while y < of.end {
            let rows = plan.rows.min(of.end - y);
            // SAFETY: rows inside the target.
            unsafe {
                for row in y..y + rows {
                    self.row::<V>(row, row - y);
                }
                for i in 0..plan.together {
                    let channel = (block + i) * V::LANES;
                    let lanes = V::LANES.min(channels - channel);
                    let block = Block { lane_stride: height * width, lanes, rows, width, row_step: width };
                    let staged = self.staging.add(i * plan.rows * width * V::LANES);
                    let each = self.ending.each.map(|each| each.of::<V>(channel, &block));
                    block.gather_changed(staged, target.add((channel * height + y) * width), each);
                }
            }
            y += rows;
            let is_enough = (y - unfinished) * width * of_chunk.len() >= FINISHED_ELEMENTS;
            if let Some(finish) = self.ending.finish.filter(|_| is_enough || y == of.end) {
                finish(Part {
                    image: self.image,
                    channels: of_chunk.clone(),
                    rows: unfinished..y,
                    width,
                    plane: height * width,
                    of_channels: channels,
                });
                unfinished = y;
            }
        }
    }

    /// Computes a target row into row `staged` of the staging area.
    ///
    /// # Safety
    /// Both are inside.
    #[inline(always)]
    unsafe fn row<V: Vector>(self, row: usize, staged: usize) {
        let plan = self.plan;
        let [rows, columns] = &plan.axes;
        let (phase, number) = rows.phase(row);
        let pixels = self.pixels.wrapping_add(number * rows.source_step * columns.padded);
        for (i, column) in columns.phases.iter().enumerate() {
            let tile = Tile {
                plan,
                pixels,
                filters: self.filters,
                taps: &plan.taps[phase * columns.phases.len() + i],
                target: self.staging.wrapping_add((staged * plan.target.width + column.first) * V::LANES),
                source_step: columns.source_step,
                target_step: columns.target_step * V::LANES,
            };
            // SAFETY: columns of this phase.
            unsafe {
                match (columns.source_step, plan.together) {
                    (1, 4) if V::REGISTERS >= 32 => tile.by_pairs::<V, 1>(column.count),
                    (2, 4) if V::REGISTERS >= 32 => tile.by_pairs::<V, 2>(column.count),
                    (1, 4) => tile.across::<V, 4, 4, 1>(column.count),
                    (1, 2) if V::REGISTERS >= 32 => tile.across::<V, 2, 8, 1>(column.count),
                    (1, 2) => tile.across::<V, 2, 4, 1>(column.count),
                    (1, _) if V::REGISTERS >= 32 => tile.across::<V, 1, 16, 1>(column.count),
                    (1, _) => tile.across::<V, 1, 8, 1>(column.count),
                    (2, 4) => tile.across::<V, 4, 4, 2>(column.count),
                    (2, 2) if V::REGISTERS >= 32 => tile.across::<V, 2, 8, 2>(column.count),
                    (2, 2) => tile.across::<V, 2, 4, 2>(column.count),
                    (2, _) if V::REGISTERS >= 32 => tile.across::<V, 1, 16, 2>(column.count),
                    (2, _) => tile.across::<V, 1, 8, 2>(column.count),
                    (_, 4) => tile.across::<V, 4, 4, 0>(column.count),
                    (_, 2) => tile.across::<V, 2, 4, 0>(column.count),
                    _ => tile.across::<V, 1, 8, 0>(column.count),
                }
            }
        }
    }
}

/// Pixels of one phase in one row.
#[derive(Clone, Copy)]
struct Tile<'a> {
    plan: &'a Plan,
    pixels: *const f32,
    filters: *const f32,
    taps: &'a [Tap],
    target: *mut f32,
    source_step: usize,
    target_step: usize,
}

impl Tile<'_> {
    /// Four blocks, two at a time: so a tile has room for many pixels, and reads few filters for each of them.
    ///
    /// # Safety
    /// As for [`Tile::across`].
    #[inline(always)]
    unsafe fn by_pairs<V: Vector, const STEP: usize>(self, count: usize) {
        let plan = self.plan;
        let filters = 2 * plan.source.channels * plan.filter_taps * V::LANES;
        let staged = 2 * plan.rows * plan.target.width * V::LANES;
        for pair in 0..2 {
            let tile = Tile {
                filters: self.filters.wrapping_add(pair * filters),
                target: self.target.wrapping_add(pair * staged),
                ..self
            };
            // SAFETY: the caller's promise.
            unsafe {
                match tile_pixels(count) {
                    14 => tile.across::<V, 2, 14, STEP>(count),
                    7 => tile.across::<V, 2, 7, STEP>(count),
                    _ => tile.across::<V, 2, 8, STEP>(count),
                }
            }
        }
    }

    /// # Safety
    /// There are `count` pixels; `STEP` is the source step if that is 1 or 2, otherwise 0.
    #[inline(always)]
    unsafe fn across<V: Vector, const BLOCKS: usize, const PIXELS: usize, const STEP: usize>(
        self,
        count: usize,
    ) {
        let mut x = 0;
        while x < count {
            let left = count - x;
            // SAFETY: pixels inside the row. The last tile overlaps the one before where there is one.
            x += unsafe {
                if PIXELS > 4 && left <= 4 && count >= 4 {
                    self.compute::<V, BLOCKS, 4, STEP>(x.min(count - 4));
                    4
                } else if PIXELS > 8 && left <= 8 && count >= 8 {
                    self.compute::<V, BLOCKS, 8, STEP>(x.min(count - 8));
                    8
                } else if count >= PIXELS {
                    self.compute::<V, BLOCKS, PIXELS, STEP>(x.min(count - PIXELS));
                    PIXELS
                } else if PIXELS > 8 && left >= 8 {
                    self.compute::<V, BLOCKS, 8, STEP>(x);
                    8
                } else if PIXELS > 4 && left >= 4 {
                    self.compute::<V, BLOCKS, 4, STEP>(x);
                    4
                } else if left >= 2 {
                    self.compute::<V, BLOCKS, 2, STEP>(x);
                    2
                } else {
                    self.compute::<V, BLOCKS, 1, STEP>(x);
                    1
                }
            };
        }
    }

    /// # Safety
    /// The pixels from `x` on are inside the row.
    #[inline(always)]
    unsafe fn compute<V: Vector, const BLOCKS: usize, const PIXELS: usize, const STEP: usize>(
        self,
        x: usize,
    ) {
        let plan = self.plan;
        let source_step = if STEP == 0 { self.source_step } else { STEP };
        let plane = plan.axes[0].padded * plan.axes[1].padded;
        let filter_plane = plan.filter_taps * V::LANES;
        let block_step = plan.source.channels * filter_plane;
        let mut sums = [[V::zero(); PIXELS]; BLOCKS];
        // SAFETY: the caller's promise; taps of these pixels are inside the padded image.
        unsafe {
            let mut pixels = self.pixels.add(x * source_step);
            let mut filters = self.filters;
            for _ in 0..plan.source.channels {
                for tap in self.taps {
                    let weights_at = filters.add(tap.filter * V::LANES);
                    let pixels = pixels.add(tap.source);
                    let mut weights = [V::zero(); BLOCKS];
                    for i in 0..BLOCKS {
                        weights[i] = V::load(weights_at.add(i * block_step));
                    }
                    for p in 0..PIXELS {
                        let pixel = V::splat(*pixels.add(p * source_step));
                        for i in 0..BLOCKS {
                            sums[i][p] = pixel.mul_add(weights[i], sums[i][p]);
                        }
                    }
                }
                pixels = pixels.wrapping_add(plane);
                filters = filters.add(filter_plane);
            }
            let staged = plan.rows * plan.target.width * V::LANES;
            for i in 0..BLOCKS {
                for p in 0..PIXELS {
                    sums[i][p].store(self.target.add(i * staged + (x + p) * self.target_step));
                }
            }
        }
    }
}
