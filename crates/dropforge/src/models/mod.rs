//! Well-known networks, and networks listed in a file.

mod build;
mod classic;
mod gpt;
mod resnet;
mod spec;

pub use build::Recipe;
pub use classic::{catsdogs, lenet, mlp, tinycnn};
pub use gpt::{GptOptions, gpt};
pub use resnet::{resnet, resnet18};
pub use spec::{Extent, LayerSpec, ModelSpec, Padding, SameName};
