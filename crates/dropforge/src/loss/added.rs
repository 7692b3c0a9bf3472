//! No loss but what layers add.

use super::Loss;
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::{Result, described};

/// No loss but what layers add. See [`added`].
#[derive(Clone, Copy, Debug)]
pub struct Added;

/// 0, to which what layers [add](crate::nn::Scope::add_loss) is added: for networks that learn from their input alone,
/// such as auto-encoders. Targets are not looked at.
pub fn added() -> Added {
    Added
}

impl Loss for Added {
    fn loss(&self, _: &Tensor, _: &Tensor) -> Tensor {
        Tensor::from(0.0)
    }

    fn describe(&self) -> String {
        "added".into()
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    Added = "added", "nothing but what layers add, such as those of an autoencoder"
        like "add_loss of Keras" but "what layers add is all there is";
}
