//! `dropforge eval`

use crate::args::Eval;
use crate::output::{Outcome, add_metrics, count, line};
use crate::{machine, train};
use dropforge::run::{DataSpec, Trained};
use serde_json::json;

pub fn run(args: &Eval) -> Outcome {
    let trained = Trained::open(&args.run, &machine::of_run(&args.machine, &args.run)?)?;
    let named = args.data.data.as_deref().or(trained.config().map(|config| config.data.as_str()));
    let spec = DataSpec::parse(named.ok_or_else(|| {
        format!("{}: a program trained this run, so that it names no data; add --data", args.run.display())
    })?)?;
    if args.data.download {
        spec.download()?;
    }
    let usual = trained.inputs().shape.last().copied().unwrap_or(train::IMAGE_SIZE);
    let size = args.data.size.map_or(usual, |size| size as usize);
    // Of the data trained on what was kept for testing; of other data all.
    let own = trained.config().map(|config| config.data.as_str());
    let data = match own == Some(spec.clone().absolute().to_string().as_str()) {
        true => spec.open(size)?.test,
        false => spec.open_all(size, trained.inputs())?,
    };
    let measured = trained.evaluate(&data, args.batch)?;
    if args.json {
        let mut event = json!({
            "run": args.run.display().to_string(), "data": spec.to_string(), "test_images": measured.samples,
            "test_loss": measured.loss, "seconds": measured.seconds, "images_per_s": measured.samples_per_s(),
        });
        add_metrics(&mut event, "test", &measured.metrics);
        return line(event);
    }
    let metrics: String = measured.metrics.iter().map(|value| format!("test {value}, ")).collect();
    line(format_args!(
        "{} on {spec}: {metrics}test loss {:.4} on {} images, {} images/s",
        args.run.display(),
        measured.loss,
        count(measured.samples),
        count(measured.samples_per_s() as u64)
    ))
}
