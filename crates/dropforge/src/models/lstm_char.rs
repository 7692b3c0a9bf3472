//! Recurrent networks that predict the next token (Karpathy: The unreasonable effectiveness of recurrent neural
//! networks, 2015).

use super::{Model, Recipe};
use crate::Tensor;
use crate::nn::{Layer, Scope, dense, embedding, lstm};
use crate::seq;
use crate::settings::{Described, Table};
use crate::{Result, described};

/// Sizes of an [`lstm_char`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LstmCharOptions {
    /// Different tokens.
    pub vocabulary: usize,
    /// Numbers per token, and hidden states of each layer.
    pub width: usize,
    /// LSTMs on each other.
    pub layers: usize,
    /// Probability of dropout between them.
    pub dropout: f32,
}

/// A table of tokens, an LSTM and a head: takes token numbers `[batch, time]`, i32, and gives scores
/// `[batch, time, vocabulary]`.
///
/// Parameters: `embedding.weight`, those of `lstm` (see [`lstm`]), `head.weight` and `head.bias`.
pub fn lstm_char(options: LstmCharOptions) -> impl Layer {
    let LstmCharOptions { vocabulary, width, layers, dropout } = options;
    seq![
        "embedding" => embedding(vocabulary, width),
        "lstm" => lstm(width).layers(layers).dropout(dropout),
        "head" => dense(vocabulary)
    ]
}

/// The model `lstm-char`, whose scores are `[batch, vocabulary, time]`; its vocabulary is that of the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LstmChar {
    context: usize,
    width: usize,
    layers: usize,
    dropout: f32,
}

described! {
    LstmChar = "lstm-char", "a recurrent network that predicts the next token";
    context: usize, Some(128), (1..).into(), "length of a sequence, in tokens";
    width: usize, Some(128), (1..).into(), "numbers per token, and hidden states of each layer";
    layers: usize, Some(1), (1..).into(), "LSTMs on each other";
    dropout: f32, Some(0.0), (0.0..=1.0).into(), "probability of dropout between layers";
}

impl Model for LstmChar {
    fn layers(&self, outputs: usize) -> Box<dyn Layer> {
        let LstmChar { width, layers, dropout, .. } = *self;
        let net = lstm_char(LstmCharOptions { vocabulary: outputs, width, layers, dropout });
        // Classes stand behind the batch, where the cross-entropy looks for them.
        Box::new(move |scope: &Scope, x: &Tensor| net.forward(scope, x).permute(&[0, 2, 1]))
    }

    fn usual_input(&self) -> Vec<usize> {
        vec![self.context]
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn recipe(&self) -> Recipe {
        Recipe { batch: 32, ..Recipe::by("adam", 3e-3) }
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
