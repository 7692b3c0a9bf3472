//! Numbers that decide speed and memory of every GPU, and nothing about results.

/// Alignment of everything on the device, in bytes; what any device asks of the start of a binding.
pub const ALIGNMENT: u64 = 256;

/// Least bytes of a piece of device memory from which buffers are cut.
pub const CHUNK_BYTES: u64 = 16 << 20;

/// Rounding of pieces that hold one large buffer, in bytes.
pub const LARGE_GRAIN: u64 = 1 << 20;

/// Bytes of idle device memory that are always kept for reuse; more is kept up to half of what was in use at most.
pub const KEPT_BYTES: u64 = 256 << 20;

/// Steps of one executable that may be in flight; each has staging memory of its own.
pub const STEPS_IN_FLIGHT: usize = 3;

/// Most operations on each element in an epilogue; beyond, it is a kernel of its own, which has more threads.
pub const MOST_EPILOGUE_WORK: usize = 64;

/// Milliseconds that a program may spend on timing tiles when it is loaded.
pub const TIMING_MILLISECONDS: u64 = 200;

/// Microseconds that one candidate runs for at a time.
pub const CANDIDATE_MICROSECONDS: f64 = 400.0;

/// How often each candidate is timed; the shortest time counts.
pub const TIMING_ROUNDS: usize = 2;

/// Part of the time of the pick by rule below which another is taken.
pub const CLEARLY_FASTER: f64 = 0.97;

/// Floating-point operations per microsecond from which the first guess of a run's length is made.
pub const GUESSED_RATE: f64 = 1e7;
