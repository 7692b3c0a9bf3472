//! Numbers that decide speed and memory, and nothing about results.

/// Most operations in one fused kernel: bounds the registers that are live at once.
pub const MAX_GROUP_NODES: usize = 96;

/// Most operands of one fused kernel; portable GPUs bind at least this many buffers.
pub const MAX_GROUP_OPERANDS: usize = 28;

/// Alignment of every buffer in the arena, in bytes: a cache line.
pub const ARENA_ALIGNMENT: usize = 64;
