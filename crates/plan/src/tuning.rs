//! Numbers that decide speed and memory, and nothing about results.

/// Most operations in one fused kernel: bounds the registers that are live at once.
pub const MAX_GROUP_NODES: usize = 96;

/// Most operands of one fused kernel; portable GPUs bind at least this many buffers.
pub const MAX_GROUP_OPERANDS: usize = 28;

/// Most operations that are done once more in another kernel so that their result need not be stored.
pub const MAX_REPEATED_NODES: usize = 8;

/// Alignment of every buffer in the arena, in bytes: a cache line.
pub const ARENA_ALIGNMENT: usize = 64;

/// Most bytes of intermediate values that a kernel may keep alive for longer in order to run together with an equal
/// one.
pub const MERGED_BYTES: usize = 4 << 10;

/// How many sets of equal kernels, the latest ones, a kernel is compared with to run together with one of them.
pub const MERGE_CANDIDATES: usize = 64;

/// After so many kernels on the way a search for whether one waits for another is given up; they then stay apart.
pub const MERGE_SEARCH: usize = 1000;
