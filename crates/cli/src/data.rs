//! The data that a command measures a run on.

use crate::args::DataArgs;
use crate::output::{Outcome, note};
use crate::train;
use dropforge::data::{Preparation, SkipUnreadable, Source, TARGET, read_one, skip_unreadable, subset};
use dropforge::run::{DataSpec, InputSpec, Opening, Trained, read_split, unnamed_parts};
use std::path::Path;
use std::sync::Arc;

/// Samples, and which of the source's they are, if not all.
pub type Readable = (Arc<dyn Source>, Option<Vec<usize>>);

/// Data to measure a run on.
pub struct Testing {
    /// What they are called.
    pub spec: DataSpec,
    /// The samples.
    pub source: Arc<dyn Source>,
    /// What figures of them are called: `validation` of samples that training measured itself on, else `test`.
    pub part: &'static str,
    /// What passes over samples that cannot be read, if that is wanted.
    skipping: Option<Arc<SkipUnreadable>>,
}

impl Testing {
    fn new(spec: DataSpec, source: Arc<dyn Source>, part: &'static str, skip_corrupt: bool) -> Testing {
        let skipping = skip_corrupt.then(|| Arc::new(skip_unreadable(source.clone())));
        Testing { spec, source, part, skipping }
    }

    /// The samples to measure on. As in training, the next one that can be read takes the place of one that cannot be,
    /// if that is to be so.
    pub fn measured(&self) -> Arc<dyn Source> {
        self.skipping.as_ref().map_or_else(|| self.source.clone(), |skipping| skipping.clone())
    }

    /// How many could not be read, once they have been.
    pub fn note_skipped(&self) {
        let first =
            self.skipping.as_ref().and_then(|skipping| Some((skipping.skipped(), skipping.first_error()?)));
        if let Some((skipped, first)) = first {
            note(&format!("passed over {skipped} times what cannot be read; the first: {first}"));
        }
    }

    /// The samples that can be read with their numbers: all, unless others are to be left out, which are noted.
    pub fn readable(&self) -> Outcome<Readable> {
        let (Some(_), Some(len)) = (&self.skipping, self.source.len()) else {
            return Ok((self.source.clone(), None));
        };
        let mut numbers = Vec::new();
        for number in 0..len {
            match read_one(&*self.source, number) {
                Ok(_) => numbers.push(number),
                Err(error) => note(&format!("sample {number} is left out: {error}")),
            }
        }
        let readable = subset(self.source.clone(), numbers.clone()).map_err(|error| error.to_string())?;
        Ok((Arc::new(readable), Some(numbers)))
    }
}

/// Test data for a run. Of the data that it was trained on, what was kept for testing, as it was split
/// then; of other data all. What cannot be read is passed
/// over if that is asked for, or was in training.
pub fn for_testing(trained: &Trained, run: &Path, args: &DataArgs, skip_corrupt: bool) -> Outcome<Testing> {
    opened(trained, run, args, skip_corrupt, trained.inputs(), false)
}

/// As [`for_testing`], to predict from: all samples, or those for testing where the data have such a part of their own,
/// whatever the run was trained on. What tables have in the column of the target, empty cells included, is not looked
/// at.
pub fn for_predicting(trained: &Trained, run: &Path, args: &DataArgs) -> Outcome<Testing> {
    let mut inputs = trained.inputs().clone();
    if let Some(description) = &mut inputs.description
        && description.input().is_some_and(|input| matches!(input.preparation, Preparation::Table { .. }))
    {
        description.fields.retain(|field| field.name != TARGET);
    }
    opened(trained, run, args, false, &inputs, true)
}

/// `inputs` says how data are read, but for the part of the run's own that was kept for testing, which is what is
/// wanted of them unless it is `whole` data.
fn opened(
    trained: &Trained,
    run: &Path,
    args: &DataArgs,
    skip_corrupt: bool,
    inputs: &InputSpec,
    whole: bool,
) -> Outcome<Testing> {
    let own = trained.config().map(|config| config.data.as_str());
    let named = match args.data.as_deref().or(own) {
        Some(named) => named,
        None if run.is_file() => {
            let run = run.display();
            return Err(format!("{run}: a packed run does not hold what its data are called; say what to measure it on with --data").into());
        }
        None if trained.is_imported() => {
            let run = run.display();
            return Err(format!(
                "{run}: an imported network has no data of its own; say what to measure it on with --data"
            )
            .into());
        }
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
    let skip_corrupt = skip_corrupt || trained.config().is_some_and(|config| config.skip_corrupt);
    if whole || own != Some(spec.absolute()?.to_string().as_str()) {
        let source = spec.open_all(&Opening { skip_corrupt, ..Opening::of(size) }, inputs)?;
        note_unknown(&*source);
        return Ok(Testing::new(spec, source, "test", skip_corrupt));
    }
    let (noted, inputs) = (read_split(run)?, Some(trained.inputs()));
    let open = spec.open(&Opening { noted: noted.as_ref(), skip_corrupt, inputs, ..Opening::of(size) })?;
    open.notes.iter().for_each(|text| note(text));
    if noted.is_none() && open.split.is_some() {
        note(
            "the run does not say which files it was trained on, as those of early versions: files are on the side that \
             they would be on today, so that some may have been trained on",
        );
    }
    let (source, part) = match open.kept {
        Some(kept) => (kept, "test"),
        None => (open.test, "validation"),
    };
    note_unknown(&*source);
    Ok(Testing::new(spec, source, part, skip_corrupt))
}

/// Says, once for each column of a table, that it has categories that the model does not know.
fn note_unknown(source: &dyn Source) {
    source.unknown_categories().iter().for_each(|unknown| note(&unknown.to_string()));
}
