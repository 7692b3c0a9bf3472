//! Well-known networks, and networks listed in a file.

mod spec;

pub use spec::{Extent, LayerSpec, ModelSpec, Padding, SameName};

impl ModelSpec {
    /// Models that are built in.
    pub const NAMES: [&'static str; 2] = ["mlp", "lenet"];
}
