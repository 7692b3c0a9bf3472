//! Saving what a trainer has, and going on from it.

use super::InputSpec;
use super::compare::same_precision;
use super::config::check_settings;
use super::manifest::Manifest;
use super::run_dir::{METRICS, RunDir, read_latest};
use super::step_record::StepRecorder;
use super::stored::Stored;
use super::{checkpoint, disk, program_config};
use crate::step::Evaluation;
use crate::train::report::table;
use crate::train::{Callback, Control, EpochReport, Fit, Snapshot, Trainer};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much time passes between two checkpoints in the middle of an epoch, unless told otherwise.
const EVERY: Duration = Duration::from_secs(30);
/// After how much time the first one is written, unless none is to be written in the middle of an epoch: whoever stops
/// a training that has just begun keeps what there is.
const FIRST: Duration = Duration::from_secs(2);

/// Writes checkpoints to a run.
struct Saver {
    folder: PathBuf,
    /// Opened when it is first needed.
    run: Option<RunDir>,
    every: Duration,
    last: Instant,
    /// The programs of the network, from the first checkpoint on.
    programs: Option<Stored>,
    /// Whether another run may be there, of which the first checkpoint takes the place.
    over: bool,
    /// What happens within epochs.
    steps: StepRecorder,
}

impl Callback for Saver {
    fn name(&self) -> String {
        format!("saver.{}", self.folder.display())
    }

    /// The folder is opened first of all, so that no training is lost because it cannot be.
    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.last = Instant::now();
        self.steps.begin(control);
        self.opened()?;
        if self.over { Ok(()) } else { checkpoint::check_own(&self.folder, control.state) }
    }

    fn on_epoch_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.steps.begin(control);
        Ok(())
    }

    /// What was measured is there at once: in the record of the steps, and after an epoch in the table, too. The
    /// checkpoint stays as it is, so that who goes on from it measures again.
    fn on_validation_end(&mut self, measured: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        self.steps.validation(measured, control)?;
        if self.programs.is_none() {
            return Ok(());
        }
        self.steps.write()?;
        match control.progress().batch {
            0 => disk::replace_text(&self.folder.join(METRICS), &table(control.history())),
            _ => Ok(()),
        }
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        self.steps.end_epoch(report, control)?;
        self.write_steps()
    }

    fn on_fit_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.steps.end(control)?;
        self.write_steps()
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.steps.step(control)?;
        if self.programs.is_some() {
            self.steps.write_late()?;
        }
        let first = self.programs.is_none() && self.every < Duration::MAX;
        let every = if first { self.every.min(FIRST) } else { self.every };
        if self.last.elapsed() >= every {
            control.request_save();
        }
        Ok(())
    }

    fn on_checkpoint(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        let mut replaces = false;
        if self.programs.is_none() {
            let own = checkpoint::check_own(&self.folder, snapshot.state);
            replaces = self.over && own.is_err();
            if !replaces {
                own?;
            }
            self.programs = Some(Stored::of(snapshot.network())?);
        }
        self.opened()?;
        if let (Some(run), Some(programs)) = (&self.run, &self.programs) {
            checkpoint::save(run, snapshot, programs, replaces)?;
            self.over = false;
            program_config::write(run, snapshot)?;
        }
        self.write_steps()?;
        self.last = Instant::now();
        Ok(())
    }

    fn on_best(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        checkpoint::save_best(self.opened()?, snapshot)
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }
}

impl Saver {
    fn new(folder: &Path, run: Option<RunDir>, every: Duration, over: bool) -> Saver {
        let (folder, last) = (folder.to_path_buf(), Instant::now());
        let steps = StepRecorder::new(&folder);
        Saver { folder, run, every, last, programs: None, over, steps }
    }

    /// Writes what is recorded within epochs, once there is a checkpoint: until then the folder may be another
    /// training's.
    fn write_steps(&mut self) -> Result<()> {
        if self.programs.is_some() { self.steps.write() } else { Ok(()) }
    }

    fn opened(&mut self) -> Result<&RunDir> {
        match &mut self.run {
            Some(run) => Ok(run),
            empty => Ok(empty.insert(RunDir::open(&self.folder)?)),
        }
    }
}

impl Fit<'_> {
    /// Saves everything to the run in this folder, which is made if need be: after every epoch, every 30 seconds, and
    /// at the end. [`Trainer::fit`] has an example.
    ///
    /// The run may be one that [`Trainer::resume`] has gone on with; another one there is an error before the first
    /// step.
    #[must_use]
    pub fn save(self, run: impl AsRef<Path>) -> Self {
        self.callback(Saver::new(run.as_ref(), None, EVERY, false))
    }

    /// As [`Fit::save`], also where another run is: the first checkpoint takes the place of all that it has.
    #[must_use]
    pub fn save_over(self, run: impl AsRef<Path>) -> Self {
        self.callback(Saver::new(run.as_ref(), None, EVERY, true))
    }
}

impl Trainer {
    /// Adds a checkpoint to the run in this folder, which is made if need be. The run is whole: the tool and
    /// [`Trained`] open it without this program, whatever its layers are.
    ///
    /// [`Trained`]: crate::run::Trained
    ///
    /// ```
    /// use dropforge::prelude::*;
    /// use dropforge::run::RunDir;
    /// use std::time::Duration;
    ///
    /// # let run = std::env::temp_dir().join(format!("dropforge-doc-save-{}", std::process::id()));
    /// let (train, _) = datasets::digits(200, 50, 1);
    /// let build = || Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Adam::new(1e-2)).compile(&train);
    /// let mut first = build()?;
    /// first.epoch(&train)?;
    /// first.save(&run)?;
    /// // Another training is not saved over this one unless that is asked for.
    /// let mut second = build()?;
    /// assert!(second.save(&run).is_err());
    /// second.save_over(&run)?;
    /// assert_eq!(dropforge::run::history(&run)?.steps, 0);
    /// // From here on it is saved now and then by itself, and at the end of `fit`.
    /// second.autosave(RunDir::open(&run)?, Duration::from_secs(30));
    /// second.fit(&train).epochs(1).run()?;
    /// assert_eq!(dropforge::run::history(&run)?.epochs.len(), 1);
    /// # drop(second);
    /// # std::fs::remove_dir_all(run).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// The folder holds another run or something else, cannot be written, is in use, or the weights have become NaN or
    /// infinite; the previous checkpoint is then unchanged.
    pub fn save(&mut self, run: impl AsRef<Path>) -> Result<()> {
        if self.saves_to(run.as_ref()) {
            return self.checkpoint();
        }
        let run = RunDir::open(run.as_ref())?;
        let snapshot = self.snapshot();
        checkpoint::check_own(run.path(), snapshot.state)?;
        checkpoint::save(&run, &snapshot, &Stored::of(snapshot.network())?, false)?;
        program_config::write(&run, &snapshot)
    }

    /// As [`Trainer::save`], also where another run is: its newest checkpoint is replaced, and its configuration
    /// removed. [`Trainer::save`] has an example.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    pub fn save_over(&mut self, run: impl AsRef<Path>) -> Result<()> {
        if self.saves_to(run.as_ref()) {
            return self.checkpoint();
        }
        let run = RunDir::open(run.as_ref())?;
        let snapshot = self.snapshot();
        let replaces = checkpoint::check_own(run.path(), snapshot.state).is_err();
        checkpoint::save(&run, &snapshot, &Stored::of(snapshot.network())?, replaces)?;
        program_config::write(&run, &snapshot)
    }

    /// Writes checkpoints to this run while training, whenever so much time has passed since the last one; the first
    /// one after two seconds at most. With [`Duration::MAX`] it writes none in the middle of an epoch.
    /// [`Trainer::save`] has an example.
    pub fn autosave(&mut self, run: RunDir, every: Duration) {
        let folder = run.path().to_path_buf();
        self.attach(Saver::new(&folder, Some(run), every, false));
    }

    /// Goes on where the last checkpoint of a run was written. Returns whether there was one; if not, nothing changes.
    /// On the same device it goes by what the device had chosen then, so that the run goes on with the same bits.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// # let folder = std::env::temp_dir().join(format!("dropforge-doc-resume-{}", std::process::id()));
    /// let (train, _) = datasets::digits(200, 50, 1);
    /// let net = || seq![flatten(), dense(10)];
    /// let build = || Trainer::new(net(), cross_entropy(), Adam::new(1e-2)).batch(50).compile(&train);
    /// let mut first = build()?;
    /// first.epoch(&train)?;
    /// first.save(&folder)?;
    /// let mut second = build()?;
    /// assert!(second.resume(&folder)?);
    /// assert_eq!(second.epochs(), 1);
    /// # std::fs::remove_dir_all(folder).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such folder, the checkpoint cannot be read, or it is one of another network, optimizer, seed, batch
    /// size, or of classes with other names or another order; the message says what differs. Settings that decide
    /// results differ as well: what files have names for is compared. Nothing changes then, unless it is found out late
    /// that a file is damaged: then groups may have been thawed already.
    pub fn resume(&mut self, run: impl AsRef<Path>) -> Result<bool> {
        let run = run.as_ref();
        if let Some(about) = read_latest(run, Manifest::read)?.flatten() {
            let now = InputSpec::described(self.description());
            about.inputs.check_continues(&now).map_err(|error| error.context(run.display()))?;
            same_precision(&about.training.precision, self.step().network().precision())
                .map_err(|error| error.context(run.display()))?;
        }
        let Some(saved) = checkpoint::peek(run, self.state())? else { return Ok(false) };
        if !saved.settings.is_empty() {
            check_settings(&saved.settings, &self.state().settings)
                .map_err(|error| error.context(run.display()))?;
        }
        // What was frozen or thawed decides which states there are.
        self.apply_changes(&saved)?;
        let Some((state, chosen)) = checkpoint::load(run, self.step().states(), self.state())? else {
            return Err(Error::file(format!("{}: its checkpoint has disappeared", run.display())));
        };
        let choices = chosen.as_ref().and_then(|chosen| chosen.for_device_of(self.step().network())).cloned();
        if let Some(choices) = choices {
            self.set_choices(&choices)?;
        }
        self.continue_from(state);
        Ok(true)
    }
}
