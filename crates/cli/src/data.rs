//! The data that a command measures a run on.

use crate::args::DataArgs;
use crate::output::{Outcome, note};
use crate::train;
use dropforge::data::Source;
use dropforge::run::{DataSpec, Opening, Trained, read_split, unnamed_parts};
use std::path::Path;
use std::sync::Arc;

/// Test data for a run, and what they are called. Of the data that it was trained on, what was kept for testing, as it was split
/// then; of other data all.
pub fn for_testing(trained: &Trained, run: &Path, args: &DataArgs) -> Outcome<(DataSpec, Arc<dyn Source>)> {
    let own = trained.config().map(|config| config.data.as_str());
    let named = match args.data.as_deref().or(own) {
        Some(named) => named,
        None => {
            let why = unnamed_parts(run)?.into_iter().find(|line| line.starts_with("data: "));
            let why = why.map_or_else(String::new, |line| format!(" ({})", &line["data: ".len()..]));
            return Err(format!(
                "{}: a program trained this run, on data that it gives no name for{why}; say what to measure it on with \
                 --data",
                run.display()
            )
            .into());
        }
    };
    let spec = DataSpec::parse(named)?;
    if args.download {
        spec.download()?;
    }
    let usual = trained.inputs().shape.last().copied().unwrap_or(train::IMAGE_SIZE);
    let size = args.size.map_or(usual, |size| size as usize);
    if own != Some(spec.absolute()?.to_string().as_str()) {
        let all = spec.open_all(&Opening::of(size), trained.inputs())?;
        return Ok((spec, all));
    }
    let (noted, inputs) = (read_split(run)?, Some(trained.inputs()));
    let open = spec.open(&Opening { noted: noted.as_ref(), inputs, ..Opening::of(size) })?;
    open.notes.iter().for_each(|text| note(text));
    Ok((spec, open.kept.unwrap_or(open.test)))
}
