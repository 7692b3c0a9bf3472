//! `dropforge predict`

use crate::args::Predict;
use crate::machine;
use crate::output::{Outcome, line};
use dropforge::run::{RunConfig, Trained};
use serde_json::{Map, Value, json};

/// Images that go through the network at once.
const AT_ONCE: usize = 64;

pub fn run(args: &Predict) -> Outcome {
    let config = RunConfig::open(&args.run)?;
    let classes = &config.inputs.classes;
    // Before anything is computed, so that one missing file does not end a long list half-way.
    let images = args.images.iter().map(|path| config.inputs.read_image(path));
    let images: Vec<Vec<f32>> = images.collect::<Result<_, _>>()?;
    let mut trained = Trained::open(&args.run, &machine::open(&args.machine, &config.device)?)?;
    for (paths, images) in args.images.chunks(AT_ONCE).zip(images.chunks(AT_ONCE)) {
        for (path, probabilities) in paths.iter().zip(trained.probabilities(images.concat())?) {
            let named = classes.iter().zip(&probabilities);
            let Some((class, probability)) = named.clone().max_by(|a, b| a.1.total_cmp(b.1)) else {
                return Err("the run has no classes to choose from".into());
            };
            let path = path.display().to_string();
            if args.json {
                let all: Map<String, Value> = named.map(|(class, p)| (class.clone(), json!(p))).collect();
                line(
                    json!({ "image": path, "class": class, "probability": probability, "probabilities": all }),
                )?;
            } else {
                line(format_args!("{path}: {class} ({:.2} %)", probability * 100.0))?;
            }
        }
    }
    Ok(())
}
