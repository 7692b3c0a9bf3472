//! The portable GPU device: plans carried out in WGSL through `wgpu`.
