//! Transformers that read a text as a whole (Devlin et al.: BERT, arXiv:1810.04805).

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::init::Init;
use crate::nn::{Dense, Layer, Scope, dense, dropout, layer_norm};
use crate::settings::Range;
use dropforge_ir::DType;

models! {
    /// The model `bert_tiny`: tokens `[batch, time]`, i32, of a vocabulary that is as large as the outputs; gives
    /// scores for each token, `[batch, outputs, time]`. With `classify` it gives scores of a class from the first token
    /// instead, and needs `vocabulary`. The parameter names of Hugging Face: `bert.embeddings`, `bert.encoder.layer.N`,
    /// `bert.pooler`, `cls.predictions` and `classifier`. 4.4 million parameters with a vocabulary of 30,522.
    BertTiny = "bert_tiny", "a transformer that reads a text as a whole"
        like "Hugging Face's BertForMaskedLM, BertForSequenceClassification" but "one text of one type",
        [128], Recipe { batch: 32, ..Recipe::by("adamw", 5e-4) }, tokens = true; {
        context: usize = 512, (1..).into(), "longest sequence, in tokens";
        width: usize = 128, (1..).into(), "numbers per token between the layers";
        heads: usize = 2, (1..).into(), "heads of attention; divides the width";
        layers: usize = 2, (1..=1000).into(), "blocks of attention and feed-forward layer";
        hidden: usize = 512, (1..).into(), "units of the feed-forward layers";
        dropout: f32 = 0.1, (0.0..1.0).into(), "probability of each element between the layers";
        classify: bool = false, Range::ANY, "whether a text gets one class, not each token another token";
        vocabulary: usize = 30522, (1..).into(), "different tokens, for classes of texts";
    }
}

fn small(outputs: usize) -> Dense {
    dense(outputs).weight_init(Init::normal(0.0, 0.02)).bias_init(Init::constant(0.0))
}

impl BertTiny {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let bert = self.clone();
        Box::new(move |scope: &Scope, x: &Tensor| bert.scores(scope, x, outputs))
    }

    fn scores(&self, scope: &Scope, x: &Tensor, outputs: usize) -> Tensor {
        let &[batch, time] = x.shape().iter().as_slice() else {
            return scope.fail("bert_tiny", format!("needs i32[batch, time], got {}", x.ty()), x);
        };
        let (width, heads) = (self.width, self.heads);
        if x.dtype() != DType::I32 || time == 0 || time > self.context || heads == 0 || width % heads != 0 {
            let message = format!(
                "needs i32[batch, time] of 1 to {} tokens and {heads} heads that divide a width of {width}, got {}",
                self.context,
                x.ty()
            );
            return scope.fail("bert_tiny", message, x);
        }
        let norm = layer_norm().eps(1e-12);
        let drop = |scope: &Scope, x: &Tensor| dropout(self.dropout).forward(scope, x);
        let bert = scope.enter("bert");
        let tables = bert.enter("embeddings");
        let table = |name: &str, count: usize| {
            tables.enter(name).parameter("weight", [count, width], Init::normal(0.0, 0.02))
        };
        let tokens = table("word_embeddings", if self.classify { self.vocabulary } else { outputs });
        let positions = table("position_embeddings", self.context).slice(0, ..time);
        // All tokens are of the first of two texts.
        let types = table("token_type_embeddings", 2).slice(0, ..1);
        let y = tokens.embedding(x) + positions + types;
        let mut y = drop(&tables, &tables.layer("LayerNorm", &norm, &y));
        for number in 0..self.layers {
            let scope = bert.enter("encoder").enter("layer").enter(&number.to_string());
            let attention = scope.enter("attention");
            let within = attention.enter("self");
            let part = |name: &str| {
                let part = within.layer(name, &small(width), &y);
                part.reshape(vec![batch, time, heads, width / heads]).transpose(1, 2)
            };
            let seen = part("query").attention(&part("key"), &part("value"), false);
            let seen = seen.transpose(1, 2).reshape(vec![batch, time, width]);
            let output = attention.enter("output");
            let seen = drop(&output, &output.layer("dense", &small(width), &seen));
            let x = output.layer("LayerNorm", &norm, &(seen + &y));
            let middle = scope.enter("intermediate").layer("dense", &small(self.hidden), &x).gelu();
            let output = scope.enter("output");
            let made = drop(&output, &output.layer("dense", &small(width), &middle));
            y = output.layer("LayerNorm", &norm, &(made + &x));
        }
        if self.classify {
            let first = bert.enter("pooler").layer("dense", &small(width), &y.at(1, 0)).tanh();
            return scope.layer("classifier", &small(outputs), &drop(scope, &first));
        }
        let head = scope.enter("cls").enter("predictions");
        let change = head.enter("transform");
        let y = change.layer("LayerNorm", &norm, &change.layer("dense", &small(width), &y).gelu());
        let bias = head.parameter("bias", [outputs], Init::constant(0.0));
        (y.linear(&tokens) + bias).permute(&[0, 2, 1])
    }
}
