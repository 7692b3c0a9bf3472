//! `dropforge eval`

use crate::args::Eval;
use crate::confusion;
use crate::data::for_testing;
use crate::machine;
use crate::output::{Outcome, add_metrics, count, line, note};
use dropforge::data::Source;
use dropforge::loss::Loss;
use dropforge::metric::Metric;
use dropforge::run::{Part, Trained};
use dropforge::step::Meter;
use serde_json::json;
use std::sync::Arc;

pub fn run(args: &Eval) -> Outcome {
    let trained = machine::open_run(&args.machine, &args.run, args.best)?;
    let asked = Asked::new(args)?;
    let testing = for_testing(&trained, &args.run, &args.data, args.skip_corrupt)?;
    let (spec, data) = (&testing.spec, testing.measured());
    if trained.is_imported() && trained.classes().is_empty() && data.description().class_names().is_some() {
        note("the network has no names of classes; those of the data are taken in their order");
    }
    let meter = asked.meter(&trained, &data)?;
    let unknown = if meter.is_none() { trained.unknown_metrics() } else { Vec::new() };
    for metric in unknown {
        note(&format!(
            "the metric {metric} is left out: only the program that trained the run can finish it"
        ));
    }
    let measured = match meter {
        Some(meter) => trained.evaluate_by(&data, args.batch, meter)?,
        None => trained.evaluate(&data, args.batch)?,
    };
    testing.note_skipped();
    if args.json {
        let mut event = json!({
            "run": args.run.display().to_string(), "data": spec.to_string(), "part": testing.part,
            "test_samples": measured.samples,
            "test_loss": measured.loss, "seconds": measured.seconds, "samples_per_s": measured.samples_per_s(),
        });
        add_metrics(&mut event, "test", &measured.metrics);
        return line(event);
    }
    let part = testing.part;
    let metrics: String = measured.metrics.shown().map(|value| format!("{part} {value}, ")).collect();
    confusion::print(&measured.metrics, trained.classes())?;
    line(format_args!(
        "{} on {spec}: {metrics}{part} loss {:.4} on {} samples, {} samples/s",
        args.run.display(),
        measured.loss,
        count(measured.samples),
        count(measured.samples_per_s() as u64)
    ))
}

/// What is asked to be measured by, instead of what the run holds.
struct Asked {
    loss: Option<Box<dyn Loss>>,
    metrics: Vec<Arc<dyn Metric>>,
}

impl Asked {
    fn new(args: &Eval) -> Outcome<Asked> {
        let loss = args.loss.as_deref().map(|name| Part::<dyn Loss>::try_from(name)?.build()).transpose();
        let metric = |name: &String| Ok(Part::<dyn Metric>::try_from(name.as_str())?.build()?.into());
        let metrics = args.metrics.iter().map(metric).collect::<dropforge::Result<_>>();
        let named = |flag: &'static str| move |error: dropforge::Error| error.context(flag);
        Ok(Asked { loss: loss.map_err(named("--loss"))?, metrics: metrics.map_err(named("--metrics"))? })
    }

    fn meter(self, trained: &Trained, data: &Arc<dyn Source>) -> Outcome<Option<Meter>> {
        if self.loss.is_none() && self.metrics.is_empty() {
            return Ok(None);
        }
        let meter = match self.loss {
            Some(loss) => Meter::new(loss),
            None => trained.meter(&**data)?,
        };
        Ok(Some(if self.metrics.is_empty() { meter } else { meter.metrics(self.metrics) }))
    }
}
