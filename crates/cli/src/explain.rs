//! `dropforge explain`

use crate::args::Explain;
use crate::machine;
use crate::machine::chosen;
use crate::output::{Outcome, line};
use crate::shapes;
use dropforge::loss::cross_entropy;
use dropforge::run::{ModelSpec, RunConfig, Trained};
use dropforge::settings::{Table, Value};
use dropforge::step::StepBuilder;
use dropforge::{DType, ValueType};
use std::path::Path;

pub fn run(args: &Explain) -> Outcome {
    let run = Path::new(&args.model);
    if run.is_dir() {
        return of_run(run, args);
    }
    if args.evaluation {
        return Err("--evaluation is for runs; give the folder of one instead of a model".into());
    }
    let model = ModelSpec::parse(&args.model)?;
    let sample = match &args.input {
        Some(text) => shapes::parse(text)?,
        None => model.usual_input(),
    };
    if args.batch == 0 {
        return Err("a batch of 0 samples is asked for, use 1 or more".into());
    }
    let runtime = machine::open(&args.machine, machine::DEFAULT)?;
    let settings = Table::from_iter([("model".to_string(), Value::String(args.model.clone()))]);
    let optimizer = RunConfig::new(&settings)?.optimizer.build()?;
    let input = ValueType::new(DType::F32, [&[args.batch], sample.as_slice()].concat());
    let target = ValueType::new(DType::I32, [args.batch]);
    let net = model.build(args.classes)?;
    let mut step = StepBuilder::new(net, cross_entropy(), optimizer)
        .precision(chosen(args.precision, &runtime))
        .runtime(&runtime);
    if let Some(limit) = args.clip_norm {
        step = step.clip_norm(limit);
    }
    let step = step.compile(&input, &target)?;
    for (_, listing) in step.explain() {
        line(listing.trim_end())?;
    }
    Ok(())
}

/// The programs that a run holds.
fn of_run(run: &Path, args: &Explain) -> Outcome {
    if args.batch == 0 {
        return Err("a batch of 0 samples is asked for, use 1 or more".into());
    }
    let trained = Trained::open(run, &machine::of_run(&args.machine, run)?)?;
    let listing = match args.evaluation {
        true => trained.explain_evaluation(args.batch)?,
        false => trained.explain(args.batch)?,
    };
    line(listing.trim_end())
}
