//! Numbers that decide speed and memory, and nothing about results.

/// Threads of a workgroup of a loop kernel.
pub const WORKGROUP: usize = 256;

/// Elements that each thread of an elementwise kernel takes once there are many.
pub const ELEMENTS_PER_THREAD: usize = 4;

/// From how many elements on a thread takes several.
pub const MANY_ELEMENTS: usize = 1 << 20;

/// Threads that a device should have to be busy; reductions and products are split up to this.
pub const BUSY_THREADS: usize = 1 << 17;

/// Most columns that one thread reduces alone.
pub const COLUMNS_PER_THREAD: usize = 8;

/// Least bytes of a piece of device memory from which buffers are cut.
pub const CHUNK_BYTES: u64 = 16 << 20;

/// Rounding of pieces that hold one large buffer, in bytes.
pub const LARGE_GRAIN: u64 = 1 << 20;

/// Bytes of idle device memory that are always kept for reuse; more is kept up to half of what was in use at most.
pub const KEPT_BYTES: u64 = 256 << 20;

/// Most bytes of staging memory that are kept for reads.
pub const READ_STAGING_BYTES: u64 = 64 << 20;

/// Bytes that may be written or cleared outside of steps before the host waits for the device.
pub const OUTSIDE_BYTES: u64 = 64 << 20;

/// What the smallest write counts for among them.
pub const OUTSIDE_LEAST_BYTES: u64 = 64 << 10;

/// Steps of one executable that may be in flight; each has staging memory of its own.
pub const STEPS_IN_FLIGHT: usize = 3;

/// Alignment of everything on the device, in bytes; what any device asks of the start of a binding.
pub const ALIGNMENT: u64 = 256;

/// Outputs up to this many bytes start on their way to the host with the step that makes them.
pub const EARLY_READ_BYTES: u64 = 64 << 10;

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
