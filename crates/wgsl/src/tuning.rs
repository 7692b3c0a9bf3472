//! Numbers that decide speed and memory, and nothing about results.

/// Threads of a workgroup of a loop kernel.
pub const WORKGROUP: usize = 256;

/// Elements that each thread of an elementwise kernel takes once there are many.
pub const ELEMENTS_PER_THREAD: usize = 4;

/// From how many elements on each thread of a loop kernel takes four neighbours: with less, more threads are worth
/// more.
pub const QUADS_FROM: usize = 1 << 16;

/// From how many elements on a thread takes several.
pub const MANY_ELEMENTS: usize = 1 << 20;

/// Threads that a device should have to be busy; reductions are split up to this.
pub const BUSY_THREADS: usize = 1 << 17;

/// The same for products, whose threads do more at a time.
pub const BUSY_PRODUCT_THREADS: usize = 1 << 16;

/// Most columns that one thread reduces alone.
pub const COLUMNS_PER_THREAD: usize = 8;

/// Workgroups that keep a large device busy; columns are split up to this.
pub const BUSY_GROUPS: usize = 512;

/// From how many columns on they may be split.
pub const LEAST_SPLIT_COLUMNS: usize = 1024;

/// Most parts that columns, or the inner axis of a product, are split into.
pub const MOST_PARTS: usize = 256;

/// Least length of a part of the inner axis of a product.
pub const LEAST_PART: usize = 64;

/// Most words that the parts of a product take until they are added.
pub const MOST_PART_WORDS: usize = 1 << 22;

/// Extents of tiles of a contraction: of a workgroup, and of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows of the result, a multiple of four times those of a thread.
    pub m: usize,
    /// Columns of the result, a multiple of four times those of a thread.
    pub n: usize,
    /// Rows of a thread, a multiple of four.
    pub thread_m: usize,
    /// Columns of a thread, a multiple of four.
    pub thread_n: usize,
    /// Along the sum: what is in workgroup memory at once.
    pub k: usize,
}

impl Tile {
    const fn new(m: usize, n: usize, thread_m: usize, thread_n: usize, k: usize) -> Tile {
        Tile { m, n, thread_m, thread_n, k }
    }

    /// Threads of a workgroup.
    pub const fn threads(self) -> usize {
        self.m / self.thread_m * (self.n / self.thread_n)
    }

    /// Bytes of workgroup memory: a slice of both operands, with a quad more than needed in each row.
    pub const fn memory(self) -> usize {
        self.k * (self.m / 4 + 1 + self.n / 4 + 1) * 16
    }
}

/// Tiles, with what a multiplication costs in each while all of it is used: small ones load more for each.
pub const TILES: [(Tile, f64); 13] = [
    (Tile::new(128, 128, 8, 8, 16), 1.0),
    (Tile::new(64, 128, 8, 8, 16), 1.15),
    (Tile::new(128, 64, 8, 8, 16), 1.15),
    (Tile::new(64, 64, 8, 4, 16), 1.1),
    (Tile::new(64, 64, 4, 4, 16), 1.25),
    (Tile::new(64, 64, 4, 4, 32), 1.2),
    (Tile::new(32, 128, 4, 4, 16), 1.3),
    (Tile::new(128, 32, 4, 4, 16), 1.3),
    (Tile::new(32, 64, 4, 4, 32), 1.35),
    (Tile::new(32, 32, 4, 4, 16), 1.5),
    (Tile::new(32, 32, 4, 4, 32), 1.45),
    (Tile::new(8, 128, 4, 4, 16), 3.0),
    (Tile::new(128, 8, 4, 4, 16), 3.0),
];

/// Extents of a tile of a contraction by cooperative matrices: of a workgroup, and of a subgroup's part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixTile {
    /// Rows of the result, a multiple of those of a part.
    pub m: usize,
    /// Columns of the result, a multiple of those of a part.
    pub n: usize,
    /// Rows of a part, a multiple of 16.
    pub part_m: usize,
    /// Columns of a part, a multiple of 16.
    pub part_n: usize,
    /// Along the sum: what is in workgroup memory at once.
    pub k: usize,
}

impl MatrixTile {
    const fn new(m: usize, n: usize, part_m: usize, part_n: usize, k: usize) -> MatrixTile {
        MatrixTile { m, n, part_m, part_n, k }
    }

    /// Threads of a workgroup, for subgroups of so many lanes.
    pub const fn threads(self, lanes: usize) -> usize {
        self.m / self.part_m * (self.n / self.part_n) * lanes
    }

    /// Elements from one row to the next in workgroup memory: a few more than needed, so that the rows of a matrix meet
    /// different banks. Without them, products took more than twice the time.
    pub const fn row(extent: usize) -> usize {
        extent + 8
    }

    /// Elements of both slices in workgroup memory, at most: in rows along the sum or across it.
    pub const fn elements(self) -> usize {
        const fn one(width: usize, depth: usize) -> usize {
            let (along, across) = (width * MatrixTile::row(depth), depth * MatrixTile::row(width));
            if along > across { along } else { across }
        }
        one(self.m, self.k) + one(self.n, self.k)
    }
}

/// Tiles of cooperative matrices, with prices like those of other tiles, for matrices of 16 by 16 with factors of f16.
pub const MATRIX_TILES: [(MatrixTile, f64); 10] = [
    (MatrixTile::new(128, 256, 64, 64, 32), 0.2),
    (MatrixTile::new(128, 128, 64, 32, 64), 0.21),
    (MatrixTile::new(128, 128, 64, 32, 32), 0.25),
    (MatrixTile::new(64, 128, 32, 32, 64), 0.28),
    (MatrixTile::new(128, 64, 32, 32, 64), 0.29),
    (MatrixTile::new(64, 64, 32, 32, 64), 0.27),
    (MatrixTile::new(64, 64, 32, 32, 32), 0.33),
    (MatrixTile::new(32, 64, 16, 32, 64), 0.34),
    (MatrixTile::new(32, 32, 16, 16, 64), 0.5),
    (MatrixTile::new(32, 32, 16, 16, 32), 0.55),
];

/// By how much more other matrices cost: those of 8 by 8, which are multiplied by the ordinary units, gain little over
/// tiles.
pub const SMALL_MATRIX_PRICE: f64 = 3.5;

/// What 16 positions along the sum cost for each element of a thread's tile while the device is just busy, in
/// microseconds of a large device; with less to do than that, it costs the same.
pub const SLICE_PRICE: f64 = 0.05;

/// What a second dispatch, which adds the parts of a sum, costs.
pub const SPLIT_PRICE: f64 = 3.5;

/// What each word costs that it reads.
pub const PART_WORD_PRICE: f64 = 2.7e-6;

/// Extents of a workgroup's tile of attention scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionTile {
    /// Rows of the tile: a multiple of four times `each`.
    pub rows: usize,
    /// Rows of each thread: 4 or 8.
    pub each: usize,
    /// Numbers of a head that are in workgroup memory at once: a power of two, at most the columns of a tile.
    pub depth: usize,
}

/// Tiles of attention, the preferred one first; the last fits into the least workgroup memory that there is.
pub const ATTENTION_TILES: [AttentionTile; 6] = [
    AttentionTile { rows: 64, each: 8, depth: 8 },
    AttentionTile { rows: 64, each: 4, depth: 8 },
    AttentionTile { rows: 128, each: 8, depth: 16 },
    AttentionTile { rows: 128, each: 8, depth: 8 },
    AttentionTile { rows: 32, each: 4, depth: 16 },
    AttentionTile { rows: 32, each: 4, depth: 8 },
];

/// Most candidates that are timed for one contraction.
pub const MOST_CANDIDATES: usize = 10;

/// Most words of memory for which timing is worth their clearing.
pub const MOST_TIMED_WORDS: usize = 1 << 26;

/// Sums by index look through up to so many indices for each element of the result,
pub const FEW_INDICES: usize = 32;

/// or make up to so many comparisons in all; beyond, indices are sorted.
pub const FEW_COMPARISONS: usize = 1 << 22;
