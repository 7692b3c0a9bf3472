//! `dropforge explain`

use crate::args::Explain;
use crate::machine;
use crate::machine::chosen;
use crate::models::{self, Looked};
use crate::output::{Outcome, line};
use dropforge::loss::{Loss, cross_entropy};
use dropforge::run::{Part, RunConfig, Trained};
use dropforge::settings::{SettingType, Table};
use dropforge::step::StepBuilder;
use dropforge::{DType, ValueType};
use std::path::Path;

pub fn run(args: &Explain) -> Outcome {
    let run = Path::new(&args.model);
    if run.is_dir() || run.is_file() && !models::is_list(&args.model) {
        return of_run(run, args);
    }
    if args.evaluation {
        return Err("--evaluation is for runs; give the folder of one instead of a model".into());
    }
    if args.batch == 0 {
        return Err("a batch of 0 samples is asked for, use 1 or more".into());
    }
    let Looked { model, sample, summary } = models::look(&args.model, args.input.as_deref(), args.classes)?;
    let runtime = machine::open(&args.machine, machine::DEFAULT)?;
    let settings = Table::from_iter(model.write()?.map(|model| ("model".to_string(), model)));
    let optimizer = RunConfig::new(&settings)?.optimizer.build()?;
    let batched = |dtype, rest: &[usize]| ValueType::new(dtype, [&[args.batch], rest].concat());
    // Scores have their classes on the axis behind the batch, and there is a target for each place on the others.
    let places = summary.output.as_deref().and_then(|output| output.get(2..)).unwrap_or_default();
    let (loss, target): (Box<dyn Loss>, _) = match model.usual_loss() {
        Some(name) => (Part::<dyn Loss>::try_from(name)?.build()?, batched(DType::I32, &[])),
        None => (Box::new(cross_entropy()), batched(DType::I32, places)),
    };
    let input = batched(sample.dtype, &sample.shape);
    let mut step = StepBuilder::new(model.build(args.classes)?, loss, optimizer)
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
