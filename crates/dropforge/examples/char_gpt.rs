//! A small transformer learns the characters of a text, then writes:
//! `cargo run --release --example char_gpt -- [FILE]`.

use dropforge::data::Corpus;
use dropforge::models::{GptOptions, gpt};
use dropforge::prelude::*;

fn main() -> Result<()> {
    let rhyme = "the rain in spain stays mainly in the plain. ".repeat(40);
    let corpus = std::env::args().nth(1).map_or_else(|| Corpus::from_text("rhyme", &rhyme), Corpus::open)?;
    let (context, vocabulary) = (32, corpus.vocabulary().len());
    let net = gpt(GptOptions { vocabulary, context, width: 64, heads: 4, layers: 2 });
    let net = move |scope: &Scope, x: &Tensor| net.forward(scope, x).permute(&[0, 2, 1]);
    let train = corpus.samples(context)?;
    let mut trainer = Trainer::new(net, cross_entropy(), AdamW::new(3e-3)).batch(16).compile(&train)?;
    (0..20).try_for_each(|_| trainer.epoch(&train).map(|report| println!("{report}")))?;
    let (mut tokens, mut random) = (corpus.tokens()[..context].to_vec(), Generator::new(1));
    for _ in 0..60 {
        let latest = Tensor::from_vec(tokens[tokens.len() - context..].to_vec(), [1, context]);
        // Gumbel noise makes the largest of the scores a sample of their softmax, here at temperature 0.8.
        let noise = -(-random.rand([1, vocabulary, context]).log()).log();
        tokens.push((trainer.predict(&latest)? / 0.8 + noise).argmax(1).to_vec::<i32>()?[context - 1]);
    }
    println!("{}", corpus.decode(&tokens)?);
    Ok(())
}
