//! `dropforge eval`

use crate::args::Eval;
use crate::output::{Outcome, count, line};
use crate::{machine, train};
use dropforge::data::with_classes;
use dropforge::run::{DataSpec, RunConfig, Trained};
use serde_json::json;
use std::sync::Arc;

pub fn run(args: &Eval) -> Outcome {
    let config = RunConfig::open(&args.run)?;
    let runtime = machine::open(&args.machine, &config.device)?;
    let mut trained = Trained::open(&args.run, &runtime)?;
    let spec = DataSpec::parse(args.data.data.as_deref().unwrap_or(&config.data))?;
    if args.data.download {
        spec.download()?;
    }
    let usual = config.inputs.shape.last().copied().unwrap_or(train::IMAGE_SIZE);
    let size = args.data.size.map_or(usual, |size| size as usize);
    // Of the data trained on what was kept for testing; of other data all.
    let mut data = match spec.clone().absolute().to_string() == config.data {
        true => spec.open(size)?.test,
        false => spec.open_all(size, &config.inputs)?,
    };
    if !config.inputs.classes.is_empty() {
        data = Arc::new(with_classes(data, &config.inputs.classes).map_err(dropforge::Error::from)?);
    }
    let measured = trained.evaluate(&data, args.batch)?;
    if args.json {
        return line(json!({
            "run": args.run.display().to_string(), "data": spec.to_string(), "test_images": measured.samples,
            "test_loss": measured.loss, "test_accuracy": measured.accuracy,
            "seconds": measured.seconds, "images_per_s": measured.samples_per_s(),
        }));
    }
    line(format_args!(
        "{} on {spec}: test accuracy {}, test loss {:.4} on {} images, {} images/s",
        args.run.display(),
        train::percent(measured.accuracy),
        measured.loss,
        count(measured.samples),
        count(measured.samples_per_s() as u64)
    ))
}
