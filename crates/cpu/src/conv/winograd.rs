//! Winograd's F(4×4, 3×3): transforms, and how the work is split over threads.
//!
//! With few channels the transformed filters are small: they are computed once, and each thread takes groups of
//! tiles through transform, products and back while they are in its cache. With many channels the transformed
//! filters are what is large: the transformed tiles are shared and each thread takes blocks of target channels.
//!
//! The input gradient is the convolution of the output gradient with turned filters.

use super::choose::{WINOGRAD_BLOCKS, WINOGRAD_TILES, winograd_splits_channels};
use super::layout::{Interleaved, LINE, align, whole_lines, with_alignment};
use super::winograd_product::{GradientProducts, Products};
use super::winograd_transform::{
    FilterSizes, POSITIONS, Pixels, Planes, TILE, Tiles, Tiling, TransformFilterGradients, TransformFilters,
    TransformOutputs, TransformPixels,
};
use super::{Channelwise, ConvShape, Direction, Ending, Filters, Finish, Part};
use crate::pool::Pool;
use crate::simd::Level;
use std::ops::Range;

pub(super) fn supports(shape: &ConvShape) -> bool {
    let pads = [shape.pad_low, shape.pad_high];
    shape.groups == 1
        && shape.kernel == [3; 2]
        && shape.stride == [1; 2]
        && shape.dilation == [1; 2]
        && pads.iter().flatten().all(|&pad| pad <= 2)
}

/// One convolution, how it is tiled, and the sizes of its scratch memory.
pub(super) struct Plan {
    direction: Direction,
    level: Level,
    lanes: usize,
    threads: usize,
    splits_channels: bool,
    /// What is convolved: the input, or for the input gradient the output gradient.
    source: Planes,
    /// What comes out of the convolution: the output (for the filter gradient too) or the input gradient.
    target: Planes,
    filters: FilterSizes,
    tiling: Tiling,
    /// Strips of the whole batch, and of a group that goes through the transforms together.
    strips: usize,
    group: usize,
    /// Blocks of `lanes` channels.
    source_blocks: usize,
    target_blocks: usize,
    /// Target blocks that are computed together when threads split the channels.
    together: usize,
    memory: Memory,
}

/// Elements of each part of the scratch memory. Steps are from one of the 36 positions to the next.
struct Memory {
    source_step: usize,
    target_step: usize,
    filter_step: usize,
    /// What all threads share: transformed filters, or transformed tiles.
    shared: usize,
    /// What each thread has for itself.
    own: usize,
}

/// Steps that are powers of two would put all positions of a tile into the same few sets of the cache.
fn step(length: usize) -> usize {
    whole_lines(length) + LINE
}

impl Plan {
    pub fn new(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> Plan {
        let lanes = level.lanes();
        let [height, width] = shape.output();
        let input = Planes {
            channels: shape.in_channels,
            height: shape.input[0],
            width: shape.input[1],
            pad: shape.pad_low,
        };
        let output = Planes { channels: shape.out_channels, height, width, pad: [0; 2] };
        let turned = direction == Direction::InputGradient;
        let (source, target) = if turned {
            (Planes { pad: shape.pad_low.map(|pad| 2 - pad), ..output }, input)
        } else {
            (input, output)
        };
        let filters = FilterSizes { targets: target.channels, sources: source.channels, turned };
        let tiling = Tiling { strips: target.height.div_ceil(TILE), tiles: target.width.div_ceil(TILE) };
        let strips = shape.batch * tiling.strips;
        let (source_blocks, target_blocks) =
            (source.channels.div_ceil(lanes), target.channels.div_ceil(lanes));
        let splits_channels =
            winograd_splits_channels(source.channels, target.channels, target_blocks, threads);
        // Small batches have small groups, so that every thread gets one.
        let group = if splits_channels {
            strips
        } else {
            (WINOGRAD_TILES / tiling.tiles.max(1)).min(strips.div_ceil(threads)).max(1)
        };
        let together = if splits_channels { WINOGRAD_BLOCKS.min(target_blocks) } else { target_blocks };

        let tiles = group * tiling.tiles;
        let source_step = step(source_blocks * tiles * lanes);
        let gradient = direction == Direction::FilterGradient;
        let target_step =
            step(if splits_channels && !gradient { together } else { target_blocks } * tiles * lanes);
        let sources = if gradient { source_blocks * lanes } else { source.channels };
        let filter_step = step(together * sources * lanes);
        let staging = whole_lines(tiling.staging(lanes));
        let (tiles_in, tiles_out, transformed) =
            (POSITIONS * source_step, POSITIONS * target_step, POSITIONS * filter_step);
        let (shared, own) = match (splits_channels, gradient) {
            (false, false) => (transformed, tiles_in + tiles_out + staging),
            (false, true) => (0, tiles_in + tiles_out + transformed + staging),
            (true, false) => (tiles_in, tiles_out + transformed + staging),
            (true, true) => (tiles_in + tiles_out, transformed + staging),
        };
        let memory = Memory { source_step, target_step, filter_step, shared, own };
        Plan {
            direction,
            level,
            lanes,
            threads,
            splits_channels,
            source,
            target,
            filters,
            tiling,
            strips,
            group,
            source_blocks,
            target_blocks,
            together,
            memory,
        }
    }

    pub fn scratch_len(&self) -> usize {
        with_alignment(self.memory.shared + self.threads * self.memory.own)
    }

    /// Elements of transformed filters that are worth keeping: where threads split the channels, reading four times as
    /// many as there are plain ones takes longer than transforming these in the cache.
    pub fn packed_len(&self) -> usize {
        match self.direction {
            Direction::FilterGradient => 0,
            _ if self.splits_channels => 0,
            _ => POSITIONS * self.memory.filter_step,
        }
    }

    pub fn pack(&self, filters: &[f32], packed: &mut [f32], pool: &Pool) {
        self.transform_all_filters(filters, Interleaved::new(packed), pool);
    }

    fn transform_all_filters(&self, filters: &[f32], to: Interleaved, pool: &Pool) {
        pool.split(self.target_blocks, 1, |_, blocks| {
            let to = to.at(blocks.start * self.source.channels * self.lanes);
            self.transform_filters(filters, blocks, to);
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
        let length = self.memory.shared + self.threads * self.memory.own;
        let scratch = Interleaved::new(&mut align(scratch)[..length]);
        let out = Interleaved::new(out);
        match (self.direction, b) {
            (Direction::FilterGradient, Filters::Plain(b)) if self.splits_channels => {
                self.filter_gradient_by_channels(a, b, out, scratch, pool)
            }
            (Direction::FilterGradient, Filters::Plain(b)) => {
                self.filter_gradient_by_tiles(a, b, out, scratch, pool)
            }
            (_, Filters::Plain(b)) if self.splits_channels => {
                self.convolve_by_channels(a, b, out, scratch, pool, ending)
            }
            _ => self.convolve_by_tiles(a, b, out, scratch, pool, ending),
        }
    }

    /// Tells that some blocks of some strips are finished.
    fn tell(&self, finish: Finish, blocks: Range<usize>, strips: Range<usize>) {
        let Planes { channels, height, width, .. } = self.target;
        let of_image = self.tiling.strips;
        let mut strip = strips.start;
        while strip < strips.end {
            let image = strip / of_image;
            let end = strips.end.min((image + 1) * of_image);
            let first = image * of_image;
            finish(Part {
                image,
                channels: blocks.start * self.lanes..channels.min(blocks.end * self.lanes),
                rows: (strip - first) * TILE..height.min((end - first) * TILE),
                width,
                plane: height * width,
                of_channels: channels,
            });
            strip = end;
        }
    }

    /// Where the memory of `thread` starts.
    fn own(&self, thread: usize) -> usize {
        self.memory.shared + thread * self.memory.own
    }

    fn source_tiles(&self, memory: *mut f32) -> Tiles {
        Tiles { memory, step: self.memory.source_step, count: self.group * self.tiling.tiles }
    }

    fn target_tiles(&self, memory: *mut f32) -> Tiles {
        Tiles { memory, step: self.memory.target_step, count: self.group * self.tiling.tiles }
    }

    /// The strips of some groups.
    fn strips_of(&self, group: usize) -> Range<usize> {
        group * self.group..self.strips.min((group + 1) * self.group)
    }

    fn transform_inputs(
        &self,
        a: &[f32],
        strips: Range<usize>,
        first: usize,
        to: *mut f32,
        staging: *mut f32,
    ) {
        self.level.call(TransformPixels {
            pixels: Pixels::Inputs,
            planes: self.source,
            tiling: self.tiling,
            first_tile: (strips.start - first) * self.tiling.tiles,
            strips,
            source: a.as_ptr(),
            tiles: self.source_tiles(to),
            staging,
        });
    }

    fn transform_gradients(
        &self,
        b: &[f32],
        strips: Range<usize>,
        first: usize,
        to: *mut f32,
        staging: *mut f32,
    ) {
        self.level.call(TransformPixels {
            pixels: Pixels::Gradients,
            planes: self.target,
            tiling: self.tiling,
            first_tile: (strips.start - first) * self.tiling.tiles,
            strips,
            source: b.as_ptr(),
            tiles: self.target_tiles(to),
            staging,
        });
    }

    fn transform_filters(&self, b: &[f32], blocks: Range<usize>, to: *mut f32) {
        let (filters, step) = (self.filters, self.memory.filter_step);
        self.level.call(TransformFilters { filters, blocks, source: b.as_ptr(), memory: to, step });
    }

    /// Tile products of some blocks, and their way back to pixels. Memory as `TransformOutputs` has it.
    #[allow(clippy::too_many_arguments, reason = "five areas of memory")]
    fn outputs(
        &self,
        blocks: Range<usize>,
        strips: Range<usize>,
        inputs: *mut f32,
        filters: *const f32,
        tiles: *mut f32,
        staging: *mut f32,
        out: *mut f32,
        each: Option<Channelwise>,
    ) {
        self.level.call(Products {
            inputs: self.source_tiles(inputs),
            outputs: self.target_tiles(tiles),
            filters,
            filter_step: self.memory.filter_step,
            sources: self.source.channels,
            blocks: blocks.len(),
            tiles: strips.len() * self.tiling.tiles,
        });
        self.level.call(TransformOutputs {
            each,
            planes: self.target,
            channels: blocks.start * self.lanes..self.target.channels.min(blocks.end * self.lanes),
            tiling: self.tiling,
            strips,
            tiles: self.target_tiles(tiles),
            first_tile: 0,
            target: out,
            staging,
        });
    }

    fn convolve_by_tiles(
        &self,
        a: &[f32],
        b: Filters,
        out: Interleaved,
        scratch: Interleaved,
        pool: &Pool,
        ending: Ending,
    ) {
        if let Filters::Plain(b) = b {
            self.transform_all_filters(b, scratch, pool);
        }
        pool.split(self.strips.div_ceil(self.group), 1, |thread, groups| {
            let filters = match b {
                Filters::Packed(packed) => packed.as_ptr(),
                Filters::Plain(_) => scratch.at(0),
            };
            let inputs = self.own(thread);
            let tiles = inputs + POSITIONS * self.memory.source_step;
            let staging = scratch.at(tiles + POSITIONS * self.memory.target_step);
            let (inputs, tiles) = (scratch.at(inputs), scratch.at(tiles));
            for strips in groups.map(|group| self.strips_of(group)) {
                self.transform_inputs(a, strips.clone(), strips.start, inputs, staging);
                let blocks = 0..self.target_blocks;
                let (to, each) = (out.at(0), ending.each);
                self.outputs(blocks.clone(), strips.clone(), inputs, filters, tiles, staging, to, each);
                if let Some(finish) = ending.finish {
                    self.tell(finish, blocks, strips);
                }
            }
        });
    }

    fn convolve_by_channels(
        &self,
        a: &[f32],
        b: &[f32],
        out: Interleaved,
        scratch: Interleaved,
        pool: &Pool,
        ending: Ending,
    ) {
        pool.split(self.strips, 1, |thread, strips| {
            self.transform_inputs(a, strips, 0, scratch.at(0), scratch.at(self.own(thread)));
        });
        pool.split(self.target_blocks.div_ceil(self.together), 1, |thread, chunks| {
            let filters = self.own(thread);
            let tiles = filters + POSITIONS * self.memory.filter_step;
            let staging = scratch.at(tiles + POSITIONS * self.memory.target_step);
            let (filters, tiles) = (scratch.at(filters), scratch.at(tiles));
            for chunk in chunks {
                let blocks = self.blocks_of(chunk);
                self.transform_filters(b, blocks.clone(), filters);
                let strips = 0..self.strips;
                self.outputs(
                    blocks.clone(),
                    strips.clone(),
                    scratch.at(0),
                    filters,
                    tiles,
                    staging,
                    out.at(0),
                    ending.each,
                );
                if let Some(finish) = ending.finish {
                    self.tell(finish, blocks, strips);
                }
            }
        });
    }

    /// The target blocks of a chunk that is computed together.
    fn blocks_of(&self, chunk: usize) -> Range<usize> {
        chunk * self.together..self.target_blocks.min((chunk + 1) * self.together)
    }

    fn filter_gradient_by_tiles(
        &self,
        a: &[f32],
        b: &[f32],
        out: Interleaved,
        scratch: Interleaved,
        pool: &Pool,
    ) {
        let groups = self.strips.div_ceil(self.group);
        let gradients_at = POSITIONS * self.memory.source_step;
        let filters_at = gradients_at + POSITIONS * self.memory.target_step;
        pool.split(groups, 1, |thread, groups| {
            let own = self.own(thread);
            let (inputs, gradients) = (scratch.at(own), scratch.at(own + gradients_at));
            let filters = scratch.at(own + filters_at);
            let staging = scratch.at(own + filters_at + POSITIONS * self.memory.filter_step);
            let first = groups.start;
            for group in groups {
                let strips = self.strips_of(group);
                self.transform_inputs(a, strips.clone(), strips.start, inputs, staging);
                self.transform_gradients(b, strips.clone(), strips.start, gradients, staging);
                self.level.call(GradientProducts {
                    inputs: self.source_tiles(inputs),
                    gradients: self.target_tiles(gradients),
                    filters,
                    filter_step: self.memory.filter_step,
                    source_blocks: self.source_blocks,
                    blocks: self.target_blocks,
                    tiles: strips.len() * self.tiling.tiles,
                    add: group > first,
                });
            }
        });
        let parts = groups.min(self.threads);
        pool.split(self.target_blocks, 1, |_, blocks| {
            let offset = blocks.start * self.source_blocks * self.lanes * self.lanes;
            let memory = scratch.at(self.own(0) + filters_at + offset);
            self.transform_back(blocks, memory, parts, out);
        });
    }

    fn filter_gradient_by_channels(
        &self,
        a: &[f32],
        b: &[f32],
        out: Interleaved,
        scratch: Interleaved,
        pool: &Pool,
    ) {
        let gradients = POSITIONS * self.memory.source_step;
        pool.split(self.strips, 1, |thread, strips| {
            let staging = scratch.at(self.own(thread));
            self.transform_inputs(a, strips.clone(), 0, scratch.at(0), staging);
            self.transform_gradients(b, strips, 0, scratch.at(gradients), staging);
        });
        pool.split(self.target_blocks.div_ceil(self.together), 1, |thread, chunks| {
            let filters = scratch.at(self.own(thread));
            for chunk in chunks {
                let blocks = self.blocks_of(chunk);
                let tiles = self.strips * self.tiling.tiles;
                self.level.call(GradientProducts {
                    inputs: self.source_tiles(scratch.at(0)),
                    gradients: self.target_tiles(scratch.at(gradients + blocks.start * tiles * self.lanes)),
                    filters,
                    filter_step: self.memory.filter_step,
                    source_blocks: self.source_blocks,
                    blocks: blocks.len(),
                    tiles,
                    add: false,
                });
                self.transform_back(blocks, filters, 1, out);
            }
        });
    }

    /// From transformed filter gradients, in `parts` of the threads' own memory, to the filter gradient.
    fn transform_back(&self, blocks: Range<usize>, memory: *const f32, parts: usize, out: Interleaved) {
        self.level.call(TransformFilterGradients {
            filters: self.filters,
            blocks,
            memory,
            step: self.memory.filter_step,
            parts,
            part_step: self.memory.own,
            target: out.at(0),
        });
    }
}
