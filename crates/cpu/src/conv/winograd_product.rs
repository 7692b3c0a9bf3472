//! The matrix products between Winograd's transforms, one for each of the 36 positions.

use super::winograd_transform::{POSITIONS, Tiles};
use crate::simd::{Kernel, Vector};

/// Output tiles = Σ over channels of input tiles × filters, in the layouts of the transforms.
pub(super) struct Products {
    pub inputs: Tiles,
    pub outputs: Tiles,
    /// `[position][target block][source][LANES]`.
    pub filters: *const f32,
    pub filter_step: usize,
    /// Source channels.
    pub sources: usize,
    /// Blocks of target channels.
    pub blocks: usize,
    /// Tiles to compute, from the first one on; at most `count` of the tiles.
    pub tiles: usize,
}

impl Kernel for Products {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for position in 0..POSITIONS {
            let matrix = Matrix {
                inputs: self.inputs.memory.wrapping_add(position * self.inputs.step),
                filters: self.filters.wrapping_add(position * self.filter_step),
                outputs: self.outputs.memory.wrapping_add(position * self.outputs.step),
                products: &self,
            };
            let mut block = 0;
            while block < self.blocks {
                // SAFETY: blocks are inside the matrices.
                block += unsafe {
                    match (V::REGISTERS >= 32, self.blocks - block) {
                        (true, 4..) => matrix.rows::<V, 4, 6>(block),
                        (true, 2..) => matrix.rows::<V, 2, 12>(block),
                        (true, _) => matrix.rows::<V, 1, 16>(block),
                        (false, 2..) => matrix.rows::<V, 2, 5>(block),
                        (false, _) => matrix.rows::<V, 1, 8>(block),
                    }
                };
            }
        }
    }
}

/// The operands at one position.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    inputs: *const f32,
    filters: *const f32,
    outputs: *mut f32,
    products: &'a Products,
}

impl Matrix<'_> {
    /// Computes `BLOCKS` blocks of target channels for all tiles, `TILES` at a time; returns `BLOCKS`.
    ///
    /// # Safety
    /// The blocks are inside the matrices.
    #[inline(always)]
    unsafe fn rows<V: Vector, const BLOCKS: usize, const TILES: usize>(self, block: usize) -> usize {
        let tiles = self.products.tiles;
        let mut tile = 0;
        while tile < tiles {
            // SAFETY: the tiles are inside the matrices; the last ones may overlap those before.
            tile += unsafe {
                if tiles >= TILES && tiles - tile >= TILES / 2 {
                    self.square::<V, BLOCKS, TILES>(block, tile.min(tiles - TILES));
                    TILES
                } else if tiles - tile >= 2 {
                    self.square::<V, BLOCKS, 2>(block, tile);
                    2
                } else {
                    self.square::<V, BLOCKS, 1>(block, tile);
                    1
                }
            };
        }
        BLOCKS
    }

    /// # Safety
    /// The square is inside the output tiles.
    #[inline(always)]
    unsafe fn square<V: Vector, const BLOCKS: usize, const TILES: usize>(self, block: usize, tile: usize) {
        let Products { sources, inputs: Tiles { count, .. }, outputs, .. } = *self.products;
        let mut sums = [[V::zero(); TILES]; BLOCKS];
        // SAFETY: the caller's promise.
        unsafe {
            let mut filters = self.filters.add(block * sources * V::LANES);
            let mut inputs = self.inputs.add(tile * V::LANES);
            let mut left = sources;
            while left > 0 {
                let lanes = V::LANES.min(left);
                for lane in 0..lanes {
                    let mut weights = [V::zero(); BLOCKS];
                    for i in 0..BLOCKS {
                        weights[i] = V::load(filters.add(i * sources * V::LANES));
                    }
                    for t in 0..TILES {
                        let input = V::splat(*inputs.add(t * V::LANES + lane));
                        for i in 0..BLOCKS {
                            sums[i][t] = input.mul_add(weights[i], sums[i][t]);
                        }
                    }
                    filters = filters.add(V::LANES);
                }
                inputs = inputs.add(count * V::LANES);
                left -= lanes;
            }
            for i in 0..BLOCKS {
                let to = self.outputs.add(((block + i) * outputs.count + tile) * V::LANES);
                for t in 0..TILES {
                    sums[i][t].store(to.add(t * V::LANES));
                }
            }
        }
    }
}

/// Filter gradients += Σ over tiles of output gradients × input tiles.
pub(super) struct GradientProducts {
    pub inputs: Tiles,
    /// From the first of the blocks to compute on.
    pub gradients: Tiles,
    /// `[position][target block][source, whole blocks][LANES]`.
    pub filters: *mut f32,
    pub filter_step: usize,
    /// Blocks of source channels.
    pub source_blocks: usize,
    /// Blocks of target channels.
    pub blocks: usize,
    /// Tiles to sum over.
    pub tiles: usize,
    /// Whether to add to what is there.
    pub add: bool,
}

impl Kernel for GradientProducts {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for position in 0..POSITIONS {
            let mut block = 0;
            while block < self.blocks {
                // SAFETY: blocks are inside the matrices.
                block += unsafe {
                    match (V::REGISTERS >= 32, V::LANES >= 8, self.blocks - block) {
                        (true, true, 3 | 5..) => self.columns::<V, 3, 8>(position, block),
                        (true, true, 2..) => self.columns::<V, 2, 8>(position, block),
                        (true, true, _) => self.columns::<V, 1, 16>(position, block),
                        (_, _, 2..) => self.columns::<V, 2, 4>(position, block),
                        _ => self.columns::<V, 1, 4>(position, block),
                    }
                };
            }
        }
    }
}

impl GradientProducts {
    /// Computes `BLOCKS` blocks of target channels for all source channels, `CHANNELS` at a time (which divides
    /// `LANES`, or is taken in halves); returns `BLOCKS`.
    ///
    /// # Safety
    /// The blocks are inside the matrices.
    #[inline(always)]
    unsafe fn columns<V: Vector, const BLOCKS: usize, const CHANNELS: usize>(
        &self,
        position: usize,
        block: usize,
    ) -> usize {
        for source in 0..self.source_blocks {
            let mut lane = 0;
            while lane < V::LANES {
                // SAFETY: channels inside the source block.
                unsafe {
                    if CHANNELS <= V::LANES {
                        self.square::<V, BLOCKS, CHANNELS>(position, block, source, lane);
                        lane += CHANNELS;
                    } else {
                        self.square::<V, BLOCKS, 4>(position, block, source, lane);
                        lane += 4;
                    }
                }
            }
        }
        BLOCKS
    }

    /// # Safety
    /// The square is inside the filter gradients.
    #[inline(always)]
    unsafe fn square<V: Vector, const BLOCKS: usize, const CHANNELS: usize>(
        &self,
        position: usize,
        block: usize,
        source: usize,
        lane: usize,
    ) {
        let mut sums = [[V::zero(); CHANNELS]; BLOCKS];
        let (inputs, gradients) = (self.inputs, self.gradients);
        // SAFETY: the caller's promise.
        unsafe {
            let row = self.source_blocks * V::LANES * V::LANES;
            let to = self
                .filters
                .add(position * self.filter_step + block * row + (source * V::LANES + lane) * V::LANES);
            if self.add {
                for i in 0..BLOCKS {
                    for c in 0..CHANNELS {
                        sums[i][c] = V::load(to.add(i * row + c * V::LANES));
                    }
                }
            }
            let mut pixels =
                inputs.memory.add(position * inputs.step + source * inputs.count * V::LANES + lane);
            let mut factors =
                gradients.memory.add(position * gradients.step + block * gradients.count * V::LANES);
            for _ in 0..self.tiles {
                let mut values = [V::zero(); BLOCKS];
                for i in 0..BLOCKS {
                    values[i] = V::load(factors.add(i * gradients.count * V::LANES));
                }
                for c in 0..CHANNELS {
                    let pixel = V::splat(*pixels.add(c));
                    for i in 0..BLOCKS {
                        sums[i][c] = pixel.mul_add(values[i], sums[i][c]);
                    }
                }
                pixels = pixels.add(V::LANES);
                factors = factors.add(V::LANES);
            }
            for i in 0..BLOCKS {
                for c in 0..CHANNELS {
                    sums[i][c].store(to.add(i * row + c * V::LANES));
                }
            }
        }
    }
}
