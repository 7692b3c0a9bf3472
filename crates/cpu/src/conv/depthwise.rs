//! Depthwise convolution, where each channel sees itself alone: forward and input gradient with channels in the lanes.
//!
//! A few rows of as many planes as a vector has lanes are transposed into a cache, so that each pixel is a vector.
//! There every size of plane and filter, every stride and dilation is the same simple sum of aligned vectors, and what
//! comes out is transposed back. That costs about as much as the sum itself for filters of 3×3 and nothing to speak of
//! for larger ones.
//!
//! Each input channel has `multiplier` output channels. Forward they are computed one after another from the same
//! source; the input gradient sums over them, as if they were more taps.

use super::axis::Axis;
use super::choose::{DEPTHWISE_BAND_ELEMENTS, DEPTHWISE_STAGED_PIXELS, PACK_GRAIN};
use super::layout::{Block, Interleaved, align, whole_lines, with_alignment};
use super::{Channelwise, ConvShape, Direction, Ending, Filters, Part};
use crate::pool::Pool;
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// Padded planes beyond this height or width, which no network has, are left to the plain loops.
const MOST_PADDED: usize = 1 << 16;

pub(super) fn supports(shape: &ConvShape) -> bool {
    let fits = |axis: usize| {
        let span = shape.kernel[axis].checked_mul(shape.dilation[axis]);
        let padded = shape.pad_low[axis]
            .checked_add(shape.pad_high[axis])
            .and_then(|pad| pad.checked_add(shape.input[axis]));
        span.is_some_and(|span| span <= MOST_PADDED) && padded.is_some_and(|padded| padded <= MOST_PADDED)
    };
    shape.groups == shape.in_channels && fits(0) && fits(1)
}

/// A tap of the filters.
#[derive(Clone, Copy)]
struct Tap {
    /// Its number in the packed filters of a block.
    filter: usize,
    /// Where it lies in the padded band, in pixels.
    source: usize,
}

/// The rows of planes that are transposed together.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// Height and width of a plane.
    pub size: [usize; 2],
    /// Elements from the plane of one lane to that of the next.
    pub lane_stride: usize,
    /// Zeros before the rows and columns.
    pub low: [usize; 2],
    /// Columns with the zeros around them.
    pub padded_width: usize,
}

impl Source {
    /// Brings the padded rows `rows` of `lanes` planes into `band`, whose columns of padding are zero already.
    ///
    /// # Safety
    /// The planes are readable, `band` has room for these rows.
    #[inline(always)]
    pub unsafe fn spread<V: Vector>(
        self,
        planes: *const f32,
        lanes: usize,
        rows: Range<usize>,
        band: *mut f32,
    ) {
        let [height, width] = self.size;
        let line = self.padded_width * V::LANES;
        let inside = |row: usize| row.clamp(self.low[0], self.low[0] + height);
        let (first, last) = (inside(rows.start), inside(rows.end));
        // SAFETY: rows of padding before and after, and the rows between them, are in the band.
        unsafe {
            let is_padding = |row: &usize| !(first..last).contains(row);
            for row in rows.clone().filter(is_padding) {
                for i in 0..self.padded_width {
                    V::zero().store(band.add((row - rows.start) * line + i * V::LANES));
                }
            }
            if first < last {
                let block = Block {
                    lane_stride: self.lane_stride,
                    lanes,
                    rows: last - first,
                    width,
                    row_step: self.padded_width,
                };
                let to = band.add((first - rows.start) * line + self.low[1] * V::LANES);
                block.spread::<V>(planes.add((first - self.low[0]) * width), to);
            }
        }
    }
}

/// One convolution and the sizes of its scratch memory.
pub(super) struct Plan {
    level: Level,
    threads: usize,
    batch: usize,
    /// Channels of the input, and output channels for each of them.
    channels: usize,
    multiplier: usize,
    /// Whether this is the input gradient: then `multiplier` sources make one target, otherwise one makes as many
    /// targets.
    turned: bool,
    filter_taps: usize,
    source: Source,
    /// Height and width of a plane of the target.
    target: [usize; 2],
    axes: [Axis; 2],
    /// Taps of each phase of rows and, innermost, of columns.
    taps: Vec<Vec<Tap>>,
    /// Blocks of `lanes` input channels.
    blocks: usize,
    /// Target rows of a band, padded source rows that they see, and bands of a plane.
    band: usize,
    span: usize,
    bands: usize,
    /// Target rows that are staged together.
    rows: usize,
    /// Elements of the packed filters, of the padded bands, and of the staging area.
    packed: usize,
    image: usize,
    staging: usize,
}

impl Plan {
    pub fn new(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> Plan {
        let lanes = level.lanes();
        let turned = direction == Direction::InputGradient;
        let multiplier = shape.group_outputs();
        let (source, target) =
            if turned { (shape.output(), shape.input) } else { (shape.input, shape.output()) };
        let axis = if turned { Axis::input_gradient } else { Axis::forward };
        let axes = [axis(shape, 0), axis(shape, 1)];
        let sources = if turned { multiplier } else { 1 };
        let reach = |axis: &Axis| {
            let places = axis.phases.iter().flat_map(|phase| phase.taps.iter().map(|(_, place)| *place));
            places.max().unwrap_or(0)
        };
        // A band starts with the first phase.
        let rows_of_step = axes[0].target_step;
        let span_of =
            |band: usize| band.div_ceil(rows_of_step).max(1) * axes[0].source_step + reach(&axes[0]);
        let mut band = target[0].max(1);
        while band > rows_of_step
            && sources * span_of(band) * axes[1].padded * lanes > DEPTHWISE_BAND_ELEMENTS
        {
            band = band.div_ceil(2).next_multiple_of(rows_of_step);
        }
        let span = span_of(band);
        let mut taps = Vec::new();
        for row in &axes[0].phases {
            for column in &axes[1].phases {
                let mut of_phase = Vec::with_capacity(sources * row.taps.len() * column.taps.len());
                for source in 0..sources {
                    for y in &row.taps {
                        of_phase.extend(column.taps.iter().map(|x| Tap {
                            filter: source * shape.taps() + y.0 * shape.kernel[1] + x.0,
                            source: (source * span + y.1) * axes[1].padded + x.1,
                        }));
                    }
                }
                taps.push(of_phase);
            }
        }
        let blocks = shape.in_channels.div_ceil(lanes);
        let rows = (DEPTHWISE_STAGED_PIXELS / target[1].max(1)).clamp(1, band);
        Plan {
            level,
            threads,
            batch: shape.batch,
            channels: shape.in_channels,
            multiplier,
            turned,
            filter_taps: shape.taps(),
            source: Source {
                size: source,
                lane_stride: sources * source[0] * source[1],
                low: [axes[0].low, axes[1].low],
                padded_width: axes[1].padded,
            },
            target,
            taps,
            blocks,
            band,
            span,
            bands: target[0].div_ceil(band),
            rows,
            packed: whole_lines(blocks * multiplier * shape.taps() * lanes),
            image: whole_lines(sources * span * axes[1].padded * lanes),
            staging: whole_lines(rows * target[1] * lanes),
            axes,
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
        pool.split(self.blocks, PACK_GRAIN, |_, blocks| {
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
        pool.split(self.batch * self.blocks * self.bands, 1, |thread, units| {
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
}

/// Packs filters into `[channel / LANES][multiple][tap][LANES]`.
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
        // The filters of a channel lie one after another, as do its multiples in a block.
        let width = plan.multiplier * plan.filter_taps;
        for block in blocks {
            let lanes = V::LANES.min(plan.channels - block * V::LANES);
            let filters_of = Block { lane_stride: width, lanes, rows: 1, width, row_step: width };
            // SAFETY: filters of `lanes` channels; `packed` has room for all blocks.
            unsafe {
                let from = filters.add(block * V::LANES * width);
                filters_of.spread::<V>(from, packed.add(block * width * V::LANES));
            }
        }
    }
}

/// Units of work: a band of a block of channels of an image.
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
        for i in (0..plan.image).step_by(V::LANES) {
            // SAFETY: the area is that long, a multiple of the lanes.
            unsafe { V::zero().store(padded.add(i)) };
        }
        let sources = if plan.turned { plan.multiplier } else { 1 };
        let targets = plan.multiplier / sources;
        let ([height, width], [target_height, target_width]) = (plan.source.size, plan.target);
        let target_plane = target_height * target_width;
        for unit in units {
            let (band, unit) = (unit % plan.bands, unit / plan.bands);
            let (block, image) = (unit % plan.blocks, unit / plan.blocks);
            let channel = block * V::LANES;
            let lanes = V::LANES.min(plan.channels - channel);
            let rows = band * plan.band..target_height.min((band + 1) * plan.band);
            let first = rows.start / plan.axes[0].target_step * plan.axes[0].source_step;
            // SAFETY: image and channels are inside the operands, whose sizes were checked; areas as `Plan::new` has
            // them.
            unsafe {
                let from = source.add((image * plan.channels + channel) * sources * height * width);
                for copy in 0..sources {
                    let to = padded.add(copy * plan.span * plan.source.padded_width * V::LANES);
                    let planes = from.add(copy * height * width);
                    plan.source.spread::<V>(planes, lanes, first..first + plan.span, to);
                }
                let filters = packed.add(block * plan.multiplier * plan.filter_taps * V::LANES);
                let to = target.add((image * plan.channels + channel) * targets * target_plane);
                for multiple in 0..targets {
                    let band = Band {
                        plan,
                        first,
                        pixels: padded,
                        filters: filters.add(multiple * plan.filter_taps * V::LANES),
                        staging,
                        channel,
                        lanes,
                        lane_stride: targets * target_plane,
                        each: ending.each,
                    };
                    band.rows::<V>(rows.clone(), to.add(multiple * target_plane));
                }
            }
            if let Some(finish) = ending.finish {
                finish(Part {
                    image,
                    channels: channel * targets..(channel + lanes) * targets,
                    rows,
                    width: target_width,
                    plane: target_plane,
                    of_channels: plan.channels * targets,
                });
            }
        }
    }
}

/// Some rows of a block of target planes.
#[derive(Clone, Copy)]
struct Band<'a> {
    plan: &'a Plan,
    /// The padded source row that `pixels` starts with.
    first: usize,
    pixels: *const f32,
    filters: *const f32,
    staging: *mut f32,
    /// The input channel of the first lane, and how many lanes there are.
    channel: usize,
    lanes: usize,
    /// Elements from the target plane of one lane to that of the next.
    lane_stride: usize,
    each: Option<Channelwise>,
}

impl Band<'_> {
    /// # Safety
    /// The rows are in the band, and `target` is the plane of the first lane.
    #[inline(always)]
    unsafe fn rows<V: Vector>(self, rows: Range<usize>, target: *mut f32) {
        let Band { plan, channel, lanes, lane_stride, each, .. } = self;
        let width = plan.target[1];
        let mut y = rows.start;
        while y < rows.end {
            let count = plan.rows.min(rows.end - y);
            // SAFETY: rows inside the target.
            unsafe {
                for row in y..y + count {
                    self.row::<V>(row, self.staging.add((row - y) * width * V::LANES));
                }
                let block = Block { lane_stride, lanes, rows: count, width, row_step: width };
                let each = each.map(|each| each.of::<V>(channel, &block));
                block.gather_changed(self.staging, target.add(y * width), each);
            }
            y += count;
        }
    }

    /// Computes a target row, with channels innermost.
    ///
    /// # Safety
    /// The row is in the band, `target` has room for it.
    #[inline(always)]
    unsafe fn row<V: Vector>(self, row: usize, target: *mut f32) {
        let plan = self.plan;
        let [rows, columns] = &plan.axes;
        let (phase, number) = rows.phase(row);
        let skipped = number * rows.source_step - self.first;
        let pixels = self.pixels.wrapping_add(skipped * columns.padded * V::LANES);
        for (i, column) in columns.phases.iter().enumerate() {
            let line = Line {
                pixels,
                filters: self.filters,
                taps: &plan.taps[phase * columns.phases.len() + i],
                target: target.wrapping_add(column.first * V::LANES),
                source_step: columns.source_step * V::LANES,
                target_step: columns.target_step * V::LANES,
            };
            // SAFETY: columns of this phase.
            unsafe {
                match columns.source_step {
                    1 => line.across::<V, 1>(column.count),
                    2 => line.across::<V, 2>(column.count),
                    _ => line.across::<V, 0>(column.count),
                }
            }
        }
    }
}

/// Pixels of one phase in one row.
#[derive(Clone, Copy)]
struct Line<'a> {
    pixels: *const f32,
    filters: *const f32,
    taps: &'a [Tap],
    target: *mut f32,
    source_step: usize,
    target_step: usize,
}

impl Line<'_> {
    /// # Safety
    /// There are `count` pixels; `STEP` is the source step in pixels if that is 1 or 2, otherwise 0.
    #[inline(always)]
    unsafe fn across<V: Vector, const STEP: usize>(self, count: usize) {
        // SAFETY: pixels inside the row.
        unsafe {
            match count {
                16.. if V::REGISTERS >= 32 => self.tiles::<V, STEP, 16>(count),
                8.. => self.tiles::<V, STEP, 8>(count),
                4.. => self.tiles::<V, STEP, 4>(count),
                2.. => self.tiles::<V, STEP, 2>(count),
                _ => self.tiles::<V, STEP, 1>(count),
            }
        }
    }

    /// The last tile overlaps the one before where there is one.
    ///
    /// # Safety
    /// There are `count` pixels, at least `PIXELS` or none.
    #[inline(always)]
    unsafe fn tiles<V: Vector, const STEP: usize, const PIXELS: usize>(self, count: usize) {
        let mut x = 0;
        while x < count {
            // SAFETY: pixels inside the row.
            unsafe { self.compute::<V, STEP, PIXELS>(x.min(count - PIXELS)) };
            x += PIXELS;
        }
    }

    /// # Safety
    /// The pixels from `x` on are inside the row.
    #[inline(always)]
    unsafe fn compute<V: Vector, const STEP: usize, const PIXELS: usize>(self, x: usize) {
        let step = if STEP == 0 { self.source_step } else { STEP * V::LANES };
        let mut sums = [V::zero(); PIXELS];
        // SAFETY: the caller's promise; taps of these pixels are inside the padded band.
        unsafe {
            let pixels = self.pixels.add(x * step);
            for tap in self.taps {
                let weight = V::load(self.filters.add(tap.filter * V::LANES));
                let pixels = pixels.add(tap.source * V::LANES);
                for p in 0..PIXELS {
                    sums[p] = V::load(pixels.add(p * step)).mul_add(weight, sums[p]);
                }
            }
            for p in 0..PIXELS {
                sums[p].store(self.target.add((x + p) * self.target_step));
            }
        }
    }
}
