//! Well-known networks.

mod catsdogs;
mod gpt;
mod lenet;
mod lstm_char;
mod mlp;
mod model;
mod names;
mod resnet;
mod tinycnn;

pub use catsdogs::{CatsDogs, catsdogs};
pub use gpt::{Gpt, GptOptions, gpt};
pub use lenet::{LeNet, lenet};
pub use lstm_char::{LstmChar, LstmCharOptions, lstm_char};
pub use mlp::{Mlp, mlp};
pub use model::{Model, Recipe};
pub(crate) use names::current_name;
pub use resnet::{ResNet18, resnet, resnet18};
pub use tinycnn::{TinyCnn, tinycnn};
