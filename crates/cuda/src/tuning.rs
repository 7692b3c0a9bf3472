//! Numbers that decide speed and memory, and nothing about results; those of kernels are in `dropforge_wgsl::tuning`.

/// Most bytes of one piece of memory: kernels count its words in 32 bits.
pub const LARGEST_BUFFER: u64 = 8 << 30;

/// Most buffers of a kernel.
pub const MOST_BUFFERS: usize = 64;

/// Most bytes of a kernel's parameters, which go with each launch: the driver takes 4096 with the addresses of buffers.
pub const PARAMETER_BYTES: u64 = 3584;

/// Most bytes of a block's shared memory that needs not be asked for.
pub const WORKGROUP_BYTES: u32 = 48 << 10;

/// Outputs up to this many bytes start on their way to the host with the step that makes them.
pub const EARLY_READ_BYTES: u64 = 64 << 10;

/// Bytes of the pinned memory through which reads and writes outside of steps go.
pub const STAGING_BYTES: u64 = 8 << 20;

/// Floating-point operations from which products and convolutions go to a library: for less, kernels that end with what
/// follows the product take as long as the library and save a launch.
pub const LEAST_LIBRARY_WORK: f64 = 2e8;

/// Bytes that the library works in.
pub const LIBRARY_WORKSPACE_BYTES: u64 = 32 << 20;

/// Channels from which convolutions of halves go to the library: with fewer, tensor cores are mostly empty.
pub const LEAST_LIBRARY_CHANNELS: usize = 16;

/// Floating-point operations from which attention of halves goes through tensor cores, whose tiles are large.
pub const LEAST_ATTENTION_WORK: f64 = 5e6;

/// Most bytes that a convolution of the library works in.
pub const CONVOLUTION_WORKSPACE_BYTES: usize = 512 << 20;

/// Blocks that keep a GPU busy; columns of reductions are split up to this. With 512, those of batch norms reached half
/// of what memory allows on an H200.
pub const BUSY_GROUPS: usize = 2048;

/// Positions of the result from which a convolution of f32 goes to the library: below, printed kernels were faster.
pub const LEAST_LIBRARY_POSITIONS: usize = 1 << 17;

/// Channels from which a convolution of f32 goes to the library.
pub const LEAST_LIBRARY_F32_CHANNELS: usize = 64;
