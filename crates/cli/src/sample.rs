//! `dropforge sample`: a network that predicts the next token writes on.

use crate::args::Sample;
use crate::machine;
use crate::output::{Outcome, line};
use dropforge::run::Trained;
use dropforge::{Array, Data, Generator};
use serde_json::json;

pub fn run(args: &Sample) -> Outcome {
    if !(args.temperature.is_finite() && args.temperature >= 0.0) {
        return Err(format!("--temperature is {}, it must be 0 or more", args.temperature).into());
    }
    let trained = machine::open_run(&args.machine, &args.run, args.best)?;
    let inputs = trained.inputs();
    let no_text =
        || format!("{}: the run was not trained on a text, so it cannot write one", args.run.display());
    let (vocabulary, context) = inputs.vocabulary().zip(inputs.shape.first().copied()).ok_or_else(no_text)?;
    let known = |error: dropforge::data::Error| format!("--prompt: {error}");
    let mut tokens = vocabulary.encode(&args.prompt).map_err(known)?;
    if tokens.is_empty() {
        return Err("--prompt is empty; give the network something to go on from".into());
    }
    let prompt = tokens.len();
    let draws: Vec<f32> = Generator::new(args.seed).rand([args.tokens]).to_vec::<f32>()?;
    for draw in draws {
        let scores = next_scores(&trained, &tokens, context)?;
        tokens.push(pick(&scores, args.temperature, f64::from(draw)) as i32);
    }
    let text = vocabulary.decode(&tokens).map_err(|error| error.to_string())?;
    if args.json {
        let written = vocabulary.decode(&tokens[prompt..]).map_err(|error| error.to_string())?;
        return line(
            json!({ "run": args.run.display().to_string(), "prompt": args.prompt, "text": written }),
        );
    }
    line(text)
}

/// The scores of all tokens for the place after the last one.
fn next_scores(trained: &Trained, tokens: &[i32], context: usize) -> Outcome<Vec<f64>> {
    // The network takes sequences of one length. What stands behind the last token does not matter to it.
    let seen = &tokens[tokens.len().saturating_sub(context)..];
    let mut padded = seen.to_vec();
    padded.resize(context, seen[0]);
    let inputs = Array::new([1, context], Data::I32(padded)).ok_or("the tokens do not fit the network")?;
    let scores = trained.predict(inputs)?;
    let &[1, vocabulary, places] = scores.shape().iter().as_slice() else {
        return Err(format!("the network gives {}, not scores [1, tokens, places]", scores.ty()).into());
    };
    let all = scores.to_vec::<f32>()?;
    let last: Vec<f32> = (0..vocabulary).map(|token| all[token * places + seen.len() - 1]).collect();
    let best = last.iter().fold(f32::NEG_INFINITY, |best, &score| best.max(score));
    // As they are compared: infinite ones have no difference that is a number.
    trained.check_numbers(&last.iter().map(|score| score - best).collect::<Vec<f32>>())?;
    Ok(last.into_iter().map(f64::from).collect())
}

/// A token by its probability, softmax(scores / temperature), for an even draw from 0 up to 1; the best one at 0.
fn pick(scores: &[f64], temperature: f64, draw: f64) -> usize {
    let best = (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
    if temperature == 0.0 {
        return best;
    }
    let weights: Vec<f64> = scores.iter().map(|score| ((score - scores[best]) / temperature).exp()).collect();
    let mut left = draw * weights.iter().sum::<f64>();
    for (token, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return token;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::pick;

    #[test]
    fn tokens_are_drawn_by_their_probability() {
        let scores = [0.0, 2f64.ln(), -1e9];
        assert_eq!(pick(&scores, 0.0, 0.99), 1);
        // Probabilities 1/3, 2/3 and 0.
        let drawn = [0.0, 0.3, 0.34, 0.999_999].map(|draw| pick(&scores, 1.0, draw));
        assert_eq!(drawn, [0, 0, 1, 1]);
        // Colder, the better one takes more: 1/5 and 4/5.
        assert_eq!([pick(&scores, 0.5, 0.19), pick(&scores, 0.5, 0.21)], [0, 1]);
    }
}
