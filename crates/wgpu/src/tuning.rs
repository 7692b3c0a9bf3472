//! Numbers that decide speed and memory, and nothing about results; those of kernels are in [`dropforge_wgsl::tuning`].

/// Most bytes of staging memory that are kept for reads.
pub const READ_STAGING_BYTES: u64 = 64 << 20;

/// Bytes that may be written or cleared outside of steps before the host waits for the device.
pub const OUTSIDE_BYTES: u64 = 64 << 20;

/// What the smallest write counts for among them.
pub const OUTSIDE_LEAST_BYTES: u64 = 64 << 10;

/// Outputs up to this many bytes start on their way to the host with the step that makes them.
pub const EARLY_READ_BYTES: u64 = 64 << 10;
