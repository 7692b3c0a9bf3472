//! Well-known networks.

mod autoencoder;
mod bert;
mod catsdogs;
mod declare;
mod densenet;
mod dlrm;
mod gpt;
mod lenet;
mod lstm_char;
mod mlp;
mod mobile;
mod model;
mod names;
mod resnet;
mod tinycnn;
mod unet;
mod vgg;
mod vit;

pub use autoencoder::{AutoEncoder, Vae};
pub use bert::BertTiny;
pub use catsdogs::{CatsDogs, catsdogs};
pub use densenet::DenseNet121;
pub use dlrm::Dlrm;
pub use gpt::{Gpt, GptOptions, gpt};
pub use lenet::{LeNet, lenet};
pub use lstm_char::{LstmChar, LstmCharOptions, lstm_char};
pub use mlp::{Mlp, mlp};
pub use mobile::{EfficientNetB0, MobileNetV2};
pub use model::{Model, Recipe};
pub(crate) use names::current_name;
pub use resnet::{ResNet18, ResNet34, ResNet50, resnet, resnet18};
pub use tinycnn::{TinyCnn, tinycnn};
pub use unet::UNet;
pub use vgg::{AlexNet, Vgg11, Vgg16};
pub use vit::VitSmall;
