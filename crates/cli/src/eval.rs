//! `dropforge eval`

use crate::args::Eval;
use crate::output::{Outcome, add_metrics, count, line, note};
use crate::{data, machine};
use serde_json::json;

pub fn run(args: &Eval) -> Outcome {
    let trained = machine::open_run(&args.machine, &args.run, args.best)?;
    let (spec, data) = data::for_testing(&trained, &args.run, &args.data)?;
    for metric in trained.unknown_metrics() {
        note(&format!(
            "the metric {metric} is left out: only the program that trained the run can finish it"
        ));
    }
    let measured = trained.evaluate(&data, args.batch)?;
    if args.json {
        let mut event = json!({
            "run": args.run.display().to_string(), "data": spec.to_string(), "test_samples": measured.samples,
            "test_loss": measured.loss, "seconds": measured.seconds, "samples_per_s": measured.samples_per_s(),
        });
        add_metrics(&mut event, "test", &measured.metrics);
        return line(event);
    }
    let metrics: String = measured.metrics.shown().map(|value| format!("test {value}, ")).collect();
    line(format_args!(
        "{} on {spec}: {metrics}test loss {:.4} on {} samples, {} samples/s",
        args.run.display(),
        measured.loss,
        count(measured.samples),
        count(measured.samples_per_s() as u64)
    ))
}
