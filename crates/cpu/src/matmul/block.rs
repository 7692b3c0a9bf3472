//! The product of one thread's part: loops over blocks that fit the caches.

use super::micro::{Ahead, TileArguments, VECTORS, compute_tile, tile_rows};
use super::pack::{PanelsByRows, pack_panel, pack_panels_by_rows};
use super::split::Split;
use super::{MatmulShape, offset};
use crate::pool::share;
use crate::simd::{Kernel, Level, MAX_LANES, Vector};
use std::ops::Range;

/// Steps of the contracted axis in a block, at most: a panel of the left side then fits half of a 32 KiB cache.
pub(super) const BLOCK_STEPS: usize = 320;
/// Elements of a packed block of the right side, at most: half of a 1 MiB cache.
const BLOCK_ELEMENTS: usize = 128 << 10;
/// The same where the right side is streamed from memory: the next block must fit beside it.
const STREAMED_ELEMENTS: usize = 40 << 10;
/// A right side of more elements than this is streamed.
const STREAMED_FROM: usize = 512 << 10;
/// Columns of a block of a right side that is streamed along its rows: sixteen cache lines of each row.
const STREAMED_COLUMNS: usize = 256;
/// Columns of a block, at most, so that the output rows in work stay in the nearest cache.
const BLOCK_COLUMNS: usize = 1024;
/// Up to this many tiles of rows, the right side is read where it stands if its rows are contiguous.
pub(super) const UNPACKED_ROW_TILES: usize = 2;
/// From so many steps on, a right side with contiguous rows is packed along them: fewer rows do not get in each other's
/// way.
const PACKED_BY_ROWS_FROM: usize = 64;
/// Rows of a tile on any instruction set, at most.
const MAX_ROWS: usize = 14;

/// One side of a product.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub pointer: *const f32,
    /// Stride along the rows of the left side, the columns of the right side.
    pub across: isize,
    /// Stride along the contracted axis.
    pub inner: isize,
    /// Strides along the outer contracted axes.
    pub outer: &'a [isize],
}

/// A right side that was packed whole: block after block of the contracted axis, panel after panel in each.
#[derive(Clone, Copy)]
pub(super) struct PackedRight {
    pub pointer: *const f32,
    /// Columns of all panels together.
    pub width: usize,
    /// The first column of this product among them, where a panel starts.
    pub first: usize,
}

impl PackedRight {
    /// Where the panel that starts with a column of this product lies, for a block of `steps` from step `start` on.
    #[inline(always)]
    fn panel(&self, column: usize, start: usize, steps: usize) -> *const f32 {
        self.pointer.wrapping_add(start * self.width + (self.first + column) * steps)
    }
}

/// Packs a part of the panels of a right side for [`PackedRight`].
pub(super) struct PackRight<'a> {
    pub right: Operand<'a>,
    /// Columns.
    pub n: usize,
    /// Steps.
    pub k: usize,
    /// Blocks into which these are divided.
    pub blocks: usize,
    /// Room for [`packed_len`] elements.
    pub to: *mut f32,
    /// Which of how many parts of the panels.
    pub part: [usize; 2],
}

/// Elements of a packed right side.
pub(super) fn packed_len(n: usize, k: usize, lanes: usize) -> usize {
    n.next_multiple_of(VECTORS * lanes) * k
}

impl Kernel for PackRight<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let tile = VECTORS * V::LANES;
        let panels = self.n.div_ceil(tile);
        let packed = PackedRight { pointer: self.to, width: panels * tile, first: 0 };
        let [part, parts] = self.part;
        for unit in share(self.blocks * panels, parts, part) {
            let steps = share(self.k, self.blocks, unit / panels);
            let column = unit % panels * tile;
            let (across, inner) = (self.right.across, self.right.inner);
            let from =
                self.right.pointer.wrapping_offset(column as isize * across + steps.start as isize * inner);
            let to = packed.panel(column, steps.start, steps.len()).cast_mut();
            // SAFETY: the caller of `Matmul::pack` vouches for the right side and for the room.
            unsafe {
                pack_panel::<V>(from, across, inner, (self.n - column).min(tile), steps.len(), to, tile);
            }
        }
    }
}

/// Where the product goes.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub pointer: *mut f32,
    pub row: isize,
    pub column: isize,
}

/// A product for one thread.
pub(super) struct Product<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Extents of the outer contracted axes.
    pub outer: &'a [usize],
    /// Blocks into which `k` is divided.
    pub blocks: usize,
    /// The blocks to sum, counted over all outer positions.
    pub segments: Range<usize>,
    pub left: Operand<'a>,
    pub right: Operand<'a>,
    /// The right side packed before, if it was.
    pub packed: Option<PackedRight>,
    pub output: Output,
    /// Room for [`scratch`] elements, aligned to a cache line.
    pub scratch: *mut f32,
    /// What to do with finished parts of the output.
    pub finish: Option<Finish<'a>>,
}

/// What to do with finished parts of the output.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// Called with the rows and columns that are finished, and where they start.
    pub call: &'a dyn Fn(Range<usize>, Range<usize>, *const f32),
    /// Rows are put together until they have so many elements.
    pub together: usize,
    /// Room for [`ASIDE`] elements, aligned to a cache line, where finished parts are put instead of into the output,
    /// row after row; only for a product of at most one segment.
    pub aside: Option<*mut f32>,
}

/// Elements of a part that is put aside, at most.
pub(super) const ASIDE: usize = TOGETHER + MAX_ROWS * BLOCK_COLUMNS;
/// Elements of finished tiles that are put together, where they lie side by side: enough that starting the epilogue
/// costs little, few enough to stay in the nearest caches.
pub(super) const TOGETHER: usize = 8 << 10;

/// Whether the right side of `n` × `k` elements is read from memory rather than from a cache.
fn is_streamed(n: usize, k: usize) -> bool {
    n.saturating_mul(k) > STREAMED_FROM
}

/// Columns of a block, at most; a multiple of the tile's.
fn most_columns(steps: usize, lanes: usize, streamed: bool) -> usize {
    let tile = VECTORS * lanes;
    let elements = if streamed { STREAMED_ELEMENTS } else { BLOCK_ELEMENTS };
    ((elements / steps.max(1)).min(BLOCK_COLUMNS) / tile * tile).max(tile)
}

/// Columns of a block, a multiple of the tile's.
fn block_columns(n: usize, steps: usize, lanes: usize, streamed: bool) -> usize {
    let blocks = n.div_ceil(most_columns(steps, lanes, streamed)).max(1);
    n.div_ceil(blocks).next_multiple_of(VECTORS * lanes)
}

/// The width of a panel of the left side.
fn left_width(lanes: usize) -> usize {
    MAX_ROWS.next_multiple_of(lanes)
}

/// Elements of scratch that a thread needs.
pub(super) fn scratch(shape: &MatmulShape, split: &Split, lanes: usize) -> usize {
    let steps = shape.k.div_ceil(split.blocks);
    // The first part is the widest.
    let columns = split.columns_of_part(shape.n, 0, lanes).len().next_multiple_of(VECTORS * lanes);
    steps * (columns.min(most_columns(steps, lanes, false)) + left_width(lanes))
}

impl Product<'_> {
    /// Computes the product.
    ///
    /// # Safety
    /// Everything described is accessible, and the output is not accessed by others.
    pub unsafe fn run(self, level: Level) {
        if self.m > 0 && self.n > 0 {
            level.call(self);
        }
    }
}

/// Steps of the contracted axis to sum at once.
struct Segment {
    left: *const f32,
    right: *const f32,
    steps: usize,
    /// Whether sums start here instead of being added to.
    first: bool,
    /// Whether sums are finished after this.
    last: bool,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let most_steps = self.k.div_ceil(self.blocks);
        let streamed = self.packed.is_none() && is_streamed(self.n, self.k);
        let segments = if self.segments.is_empty() { 0..1 } else { self.segments.clone() };
        let by_rows = self.packs_by_rows::<V>();
        // The next block is packed while one is computed, so that memory and arithmetic work at the same time.
        let fits_twice = 2 * STREAMED_COLUMNS <= most_columns(most_steps, V::LANES, false);
        let staged = by_rows && streamed && segments.len() == 1 && fits_twice;
        let width = match staged {
            true => STREAMED_COLUMNS,
            false => block_columns(self.n, most_steps, V::LANES, streamed),
        };
        // SAFETY: the scratch memory has room for a block that is not streamed, or two that are.
        let packs = unsafe {
            let first = self.scratch.add(most_steps * left_width(V::LANES));
            [first, if staged { first.add(most_steps * STREAMED_COLUMNS) } else { first }]
        };
        let mut column = 0;
        let mut number = 0;
        while column < self.n {
            let columns = column..(column + width).min(self.n);
            column = columns.end;
            for index in segments.clone() {
                let last = index + 1 == segments.end;
                let segment = Segment { first: index == segments.start, last, ..self.segment(index) };
                let next = if !streamed || by_rows {
                    None
                } else if !last {
                    Some(self.segment(index + 1).at_column(&self.right, columns.start))
                } else if column < self.n {
                    Some(self.segment(segments.start).at_column(&self.right, column))
                } else {
                    None
                };
                let panels = |columns: &Range<usize>, to: *mut f32| PanelsByRows {
                    from: segment.at_column(&self.right, columns.start).right,
                    inner: self.right.inner,
                    count: columns.len(),
                    steps: segment.steps,
                    to,
                    width: VECTORS * V::LANES,
                };
                let following = column..(column + width).min(self.n);
                let meanwhile =
                    (staged && !following.is_empty()).then(|| panels(&following, packs[(number + 1) % 2]));
                let pack = match self.packed {
                    // Only read.
                    Some(packed) => {
                        let start = share(self.k, self.blocks, index).start;
                        packed.panel(columns.start, start, segment.steps).cast_mut()
                    }
                    None => packs[number % 2],
                };
                // SAFETY: promised to `Product::run`.
                unsafe {
                    if by_rows && !(staged && number > 0) {
                        pack_panels_by_rows::<V>(panels(&columns, packs[0]), 0..segment.steps);
                    }
                    self.block::<V>(&columns, segment, pack, next, meanwhile);
                }
                number += 1;
            }
        }
    }
}

impl Segment {
    /// The same with the right side moved to a column.
    #[inline(always)]
    fn at_column(&self, right: &Operand, column: usize) -> Segment {
        Segment { right: self.right.wrapping_offset(column as isize * right.across), ..*self }
    }
}

impl Product<'_> {
    /// Whether the right side is read where it stands.
    #[inline(always)]
    fn is_in_place<V: Vector>(&self) -> bool {
        self.packed.is_none()
            && self.right.across == 1
            && self.m.div_ceil(tile_rows::<V>()) <= UNPACKED_ROW_TILES
    }

    /// Whether the right side is packed along its rows, which asks for memory itself.
    #[inline(always)]
    fn packs_by_rows<V: Vector>(&self) -> bool {
        self.packed.is_none()
            && self.right.across == 1
            && !self.is_in_place::<V>()
            && self.k >= PACKED_BY_ROWS_FROM
    }

    /// The segment with this number; one of no steps if there are none.
    #[inline(always)]
    fn segment(&self, index: usize) -> Segment {
        let outer = index / self.blocks;
        let steps =
            if self.segments.is_empty() { 0..0 } else { share(self.k, self.blocks, index % self.blocks) };
        let start = |operand: &Operand| {
            let outer = if outer == 0 { 0 } else { offset(self.outer, operand.outer, outer) };
            operand.pointer.wrapping_offset(outer + steps.start as isize * operand.inner)
        };
        let (left, right) = (start(&self.left), start(&self.right));
        Segment { left, right, steps: steps.len(), first: true, last: true }
    }

    /// Adds one segment to the columns of one block, whose right side is or comes into `right_pack`, which is only read
    /// if the right side was packed before. `next` is what will be read after it, `meanwhile` what is packed meanwhile.
    ///
    /// # Safety
    /// As [`Product::run`].
    #[inline(always)]
    unsafe fn block<V: Vector>(
        &self,
        columns: &Range<usize>,
        segment: Segment,
        right_pack: *mut f32,
        next: Option<Segment>,
        meanwhile: Option<PanelsByRows>,
    ) {
        let tile_columns = VECTORS * V::LANES;
        let left_width = left_width(V::LANES);
        let left_pack = self.scratch;
        let steps = segment.steps;
        let row_tiles = self.m.div_ceil(tile_rows::<V>());
        let in_place = self.is_in_place::<V>();
        // SAFETY: offsets within the operands, and within the scratch memory as `scratch` counts it.
        unsafe {
            let right = segment.right.wrapping_offset(columns.start as isize * self.right.across);
            let panels = columns.len().div_ceil(tile_columns);
            let by_rows = self.packs_by_rows::<V>();
            for panel in 0..panels {
                let first = panel * tile_columns;
                let count = (columns.len() - first).min(tile_columns);
                if self.packed.is_none() && !by_rows && (!in_place || count < tile_columns) {
                    let from = right.wrapping_offset(first as isize * self.right.across);
                    let to = right_pack.add(panel * steps * tile_columns);
                    let (across, inner) = (self.right.across, self.right.inner);
                    pack_panel::<V>(from, across, inner, count, steps, to, tile_columns);
                }
            }
            // First of the finished rows that have not been reported.
            let mut unreported = 0;
            for tile in 0..row_tiles {
                let rows = share(self.m, row_tiles, tile);
                let aside = self.finish.and_then(|finish| finish.aside);
                let output = match aside {
                    Some(pointer) => {
                        let pointer = pointer.add((rows.start - unreported) * columns.len());
                        Output { pointer, row: columns.len() as isize, column: 1 }
                    }
                    None => {
                        let start = rows.start as isize * self.output.row
                            + columns.start as isize * self.output.column;
                        Output { pointer: self.output.pointer.wrapping_offset(start), ..self.output }
                    }
                };
                let left = segment.left.wrapping_offset(rows.start as isize * self.left.across);
                let (left, left_step) = if self.left.across == 1 && panels == 1 {
                    (left, self.left.inner)
                } else {
                    let (across, inner) = (self.left.across, self.left.inner);
                    pack_panel::<V>(left, across, inner, rows.len(), steps, left_pack, left_width);
                    (left_pack.cast_const(), left_width as isize)
                };
                for panel in 0..panels {
                    let first = panel * tile_columns;
                    let count = (columns.len() - first).min(tile_columns);
                    let packed_meanwhile = share(steps, row_tiles * panels, tile * panels + panel);
                    let (right, right_step) = if in_place && count == tile_columns {
                        (right.wrapping_add(first), self.right.inner)
                    } else {
                        let packed = right_pack.add(panel * steps * tile_columns);
                        (packed.cast_const(), tile_columns as isize)
                    };
                    let arguments = TileArguments {
                        left,
                        left_step,
                        right,
                        right_step,
                        steps,
                        out: output.pointer.wrapping_offset(first as isize * output.column),
                        out_row: output.row,
                        columns: count,
                        accumulate: !segment.first,
                        ahead: match (&meanwhile, &next) {
                            (Some(meanwhile), _) => Ahead::rows(meanwhile, packed_meanwhile.start),
                            (None, Some(next)) => self.ahead(next, tile, panel, panels, tile_columns),
                            (None, None) => Ahead::NOTHING,
                        },
                    };
                    let vectors = count.div_ceil(V::LANES);
                    if output.column == 1 {
                        compute_tile::<V, 1>(rows.len(), vectors, arguments);
                    } else {
                        self.scattered_tile::<V>(rows.len(), vectors, arguments);
                    }
                    if let Some(meanwhile) = meanwhile {
                        pack_panels_by_rows::<V>(meanwhile, packed_meanwhile);
                    }
                }
                if let Some(finish) = self.finish
                    && segment.last
                    && ((rows.end - unreported) * columns.len() >= finish.together || tile + 1 == row_tiles)
                {
                    let start =
                        unreported as isize * self.output.row + columns.start as isize * self.output.column;
                    let first = aside.unwrap_or(self.output.pointer.wrapping_offset(start));
                    (finish.call)(unreported..rows.end, columns.clone(), first);
                    unreported = rows.end;
                }
            }
        }
    }

    /// What to ask for during the tile with this number, of a panel of columns: the tiles of the first rows get the
    /// columns of the same panel, those of later rows get rows of the left side.
    #[inline(always)]
    fn ahead(&self, next: &Segment, tile: usize, panel: usize, panels: usize, tile_columns: usize) -> Ahead {
        const LINE: usize = 16;
        let tiles = tile_columns.div_ceil(LINE);
        if tile < tiles {
            let column = (panel * tile_columns + tile * LINE) as isize;
            let pointer = next.right.wrapping_offset(column * self.right.across);
            Ahead::sixteen(pointer, self.right.across, self.right.inner)
        } else {
            let row = (((tile - tiles) * panels + panel) * LINE) as isize;
            if row as usize >= self.m {
                return Ahead::NOTHING;
            }
            let pointer = next.left.wrapping_offset(row * self.left.across);
            Ahead::sixteen(pointer, self.left.across, self.left.inner)
        }
    }

    /// Computes a tile aside and puts its elements where the strides say.
    ///
    /// # Safety
    /// As [`compute_tile`], but with the output's own column stride.
    #[inline(always)]
    unsafe fn scattered_tile<V: Vector>(&self, rows: usize, vectors: usize, arguments: TileArguments) {
        const WIDTH: usize = VECTORS * MAX_LANES;
        let mut tile = [0.0; MAX_ROWS * WIDTH];
        // SAFETY: the tile has room for the widest and highest; the output is as promised.
        unsafe {
            let aside = TileArguments {
                out: tile.as_mut_ptr(),
                out_row: WIDTH as isize,
                accumulate: false,
                ..arguments
            };
            compute_tile::<V, 1>(rows, vectors, aside);
            for row in 0..rows {
                let out = arguments.out.offset(row as isize * arguments.out_row);
                for column in 0..arguments.columns {
                    let out = out.offset(column as isize * self.output.column);
                    let before = if arguments.accumulate { *out } else { 0.0 };
                    *out = before + tile[row * WIDTH + column];
                }
            }
        }
    }
}
