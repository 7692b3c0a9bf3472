//! The trials of a sweep: processes that train, a few at once, until all have what they are to have or somebody asks
//! for an end.

use super::record::Record;
use super::space::{Space, Trial};
use super::tpe::{self, Tried};
use super::{check, is_highest, order, said};
use crate::args::Sweep;
use crate::output::{Outcome, Stop, line, note};
use crate::runs::Listed;
use dropforge::run::{holds_run, is_training};
use dropforge::settings::Value;
use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Where the settings of trials come from.
pub enum Source {
    /// All are known from the start.
    Given(Vec<Trial>),
    /// From what the trials before have measured.
    Learned,
}

pub struct Sweeping<'a> {
    args: &'a Sweep,
    space: &'a Space,
    source: Source,
    count: usize,
    record: Record,
    /// Trials that failed; they are left out.
    failed: BTreeSet<usize>,
    /// Settings that cannot be, which nobody should propose again.
    refused: Vec<Trial>,
}

/// The name of a trial's folder, the same however many there are.
fn name(trial: usize) -> String {
    format!("trial-{trial:03}")
}

/// What became of the wish to start a trial.
enum Started {
    Trains(Child),
    /// It has what it is to have.
    HasEnough,
    /// Another process trains it: one that a sweep of before has left, which ends as soon as it has saved.
    Elsewhere,
}

/// How many of the trials go on after each stage of successive halving: one of so many.
const KEPT: u64 = 3;

impl<'a> Sweeping<'a> {
    /// Of so many trials, as its folder has them.
    ///
    /// # Errors
    /// A trial would have the folder of a run that this sweep has not made.
    pub fn new(
        args: &'a Sweep,
        space: &'a Space,
        source: Source,
        count: usize,
        record: Record,
    ) -> Outcome<Sweeping<'a>> {
        let sweep =
            Sweeping { args, space, source, count, record, failed: BTreeSet::new(), refused: Vec::new() };
        for trial in 0..count {
            let folder = sweep.folder(trial);
            if !sweep.record.has(&name(trial)) && holds_run(&folder) {
                let folder = folder.display();
                return Err(format!(
                    "{folder}: holds a run that this sweep did not make; take another --out"
                )
                .into());
            }
        }
        Ok(sweep)
    }

    /// The trials that have a run, in their order; what cannot be read is noted. Other runs in the folder are none of
    /// them.
    pub fn runs(&self) -> Vec<Listed> {
        let own = (0..self.count).filter(|&trial| self.record.has(&name(trial)));
        let folders = own.map(|trial| self.folder(trial)).filter(|folder| holds_run(folder));
        folders
            .filter_map(|folder| Listed::read(&folder).map_err(|error| note(&error.for_command())).ok())
            .collect()
    }

    /// How many trials there are to be.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether a trial of before has the figure that is watched, so that nobody need ask whether there is one.
    pub fn has_measured(&self) -> bool {
        let name = self.space.monitor.name();
        self.runs().iter().any(|run| run.figure(name).is_some())
    }

    fn folder(&self, trial: usize) -> PathBuf {
        self.args.out.join(name(trial))
    }

    /// Successive halving (Jamieson and Talwalkar, arXiv:1502.07943): trains all trials for a few epochs, the best
    /// third of them three times as long, and so on, until the best have all their epochs. Gives as
    /// [`Sweeping::train`].
    pub fn halve(&mut self, mut trials: Vec<usize>, first: u64, asked: &AtomicBool) -> Outcome<bool> {
        let mut epochs = first.max(1);
        loop {
            if !self.train(&trials, Some(epochs), asked)? {
                return Ok(false);
            }
            trials.retain(|trial| !self.failed.contains(trial));
            let mut ranked = Vec::new();
            let mut planned = 0;
            for &trial in &trials {
                let run = Listed::read(&self.folder(trial))?;
                planned = planned.max(run.planned.unwrap_or(0));
                ranked.push((trial, self.figure_at(&run, epochs)));
            }
            if epochs >= planned {
                return Ok(true);
            }
            let highest = self.is_highest(&self.runs())?;
            ranked.sort_by(|a, b| order(highest, a.1, b.1));
            let kept = (ranked.len() as u64).div_ceil(KEPT).max(1) as usize;
            trials = ranked.into_iter().take(kept).map(|(trial, _)| trial).collect();
            epochs = (epochs * KEPT).min(planned);
            if trials.is_empty() {
                return Ok(true);
            }
            if !self.args.json {
                let names: Vec<String> = trials.iter().map(usize::to_string).collect();
                line(format_args!("the best go on to epoch {epochs}: trials {}", names.join(", ")))?;
            }
        }
    }

    /// The figure of a run after so many epochs, or its last one.
    fn figure_at(&self, run: &Listed, epochs: u64) -> Option<f64> {
        let report = run.epochs.iter().rfind(|report| report.epoch <= epochs)?;
        report.get(self.space.monitor.name()).filter(|figure| !figure.is_nan())
    }

    /// Whether a high figure is the better one, as the sweep or the metric says.
    fn is_highest(&self, runs: &[Listed]) -> Outcome<bool> {
        is_highest(self.space, runs)
    }

    /// Trains trials, several at once, up to an epoch or to their ends; gives whether they came to it. When somebody
    /// asks for an end, none is begun any more, and those that train are asked to end, too.
    pub fn train(&mut self, trials: &[usize], until: Option<u64>, asked: &AtomicBool) -> Outcome<bool> {
        let mut waiting: VecDeque<usize> = trials.iter().copied().collect();
        let mut busy: Vec<(usize, Child)> = Vec::new();
        // Trials of which it has been said that another process trains them.
        let mut elsewhere = BTreeSet::new();
        // What ends the sweep: no other trial is begun, and those that train are waited for.
        let mut stop = None;
        let mut told = false;
        loop {
            let ends = asked.load(Ordering::SeqCst);
            if ends && !told {
                told = true;
                if !busy.is_empty() {
                    let count = busy.len();
                    note(&format!(
                        "{count} of the trials finish their step and save; asking again ends them at once"
                    ));
                }
                for (_, child) in &mut busy {
                    if let Some(input) = &mut child.stdin {
                        // One that has just ended does not hear it.
                        let _ = input.write_all(b"\n").and_then(|()| input.flush());
                    }
                }
            }
            // Each of those that wait once, so that all being trained elsewhere is no reason to spin.
            for _ in 0..waiting.len() {
                if busy.len() >= usize::from(self.args.jobs) || stop.is_some() || ends {
                    break;
                }
                let Some(trial) = waiting.pop_front() else { break };
                match self.start(trial, until) {
                    Ok(Started::Trains(child)) => busy.push((trial, child)),
                    Ok(Started::HasEnough) => {}
                    Ok(Started::Elsewhere) => {
                        if elsewhere.insert(trial) {
                            note(&format!(
                                "trial {trial} is being trained by another process, which is waited for"
                            ));
                        }
                        waiting.push_back(trial);
                    }
                    Err(error) => stop = Some(error),
                }
            }
            if busy.is_empty() && (waiting.is_empty() || stop.is_some() || ends) {
                return stop.map_or(Ok(!ends), Err);
            }
            thread::sleep(Duration::from_millis(50));
            let mut index = 0;
            while index < busy.len() {
                match busy[index].1.try_wait() {
                    Ok(None) => index += 1,
                    Ok(Some(status)) if status.success() => drop(busy.swap_remove(index)),
                    _ => {
                        let (trial, _) = busy.swap_remove(index);
                        self.failed.insert(trial);
                        note(&format!("trial {trial} failed; the others go on"));
                    }
                }
            }
        }
    }

    /// Starts a trial, or goes on with it.
    fn start(&mut self, trial: usize, until: Option<u64>) -> Outcome<Started> {
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let folder = self.folder(trial);
        if is_training(&folder) {
            return Ok(Started::Elsewhere);
        }
        let mut command = Command::new(program);
        // A trial hears by the pipe that it should end, and that this process is no more, however it went.
        command.args(["train", "--quiet", "--led"]).stdin(Stdio::piped());
        if let Some(epochs) = until {
            command.arg("--until-epoch").arg(epochs.to_string());
        }
        if holds_run(&folder) {
            let run = Listed::read(&folder)?;
            let has_enough = until.is_some_and(|epochs| run.epochs.len() as u64 >= epochs);
            if has_enough || run.status() == "finished" {
                return Ok(Started::HasEnough);
            }
            command.arg("--resume").arg(&folder);
        } else {
            let settings = self.settings(trial)?;
            // What is given has been looked at before the first trial; what is proposed is not known until now.
            if matches!(self.source, Source::Learned)
                && let Some(message) = check::mistaken(self.space, &settings)?
            {
                check::leave_out(trial, &settings, &message);
                self.failed.insert(trial);
                self.refused.push(settings);
                return Ok(Started::HasEnough);
            }
            self.record.add(&name(trial))?;
            if !self.args.json {
                match line(format_args!("trial {trial}: {}", said(&settings))) {
                    // Trials are worth finishing even if nobody reads along.
                    Ok(()) | Err(Stop::Unread) => {}
                    Err(stop) => return Err(stop),
                }
            }
            command.args(&self.space.args).arg("--out").arg(&folder);
            for (path, value) in &settings {
                command.arg("--set").arg(format!("{path}={value}"));
            }
        }
        let child = command.spawn().map_err(|error| format!("cannot start a trial: {error}"))?;
        Ok(Started::Trains(child))
    }

    /// What a trial is to be trained with.
    fn settings(&self, trial: usize) -> Outcome<Trial> {
        match &self.source {
            Source::Given(trials) => Ok(trials[trial].clone()),
            Source::Learned => {
                let tried = self.tried()?;
                Ok(tpe::propose(self.space, &tried, self.args.seed, trial as u64))
            }
        }
    }

    /// What the trials so far have had, and how good they were; those that are being trained are not known to be.
    fn tried(&self) -> Outcome<Vec<Tried>> {
        let runs = self.runs();
        let highest = self.is_highest(&runs)?;
        let tried = runs.iter().filter_map(|run| {
            let places =
                self.space.settings.iter().map(|(path, choice)| choice.place(run.settings.get(path)?));
            let figure = run.figure(self.space.monitor.name()).filter(|_| !run.training);
            let loss = figure.map(|figure| if highest { -figure } else { figure });
            Some(Tried { places: places.collect::<Option<_>>()?, loss })
        });
        // What cannot be is as bad as what is not known.
        let refused = self.refused.iter().filter_map(|trial| {
            let places = self.space.settings.iter().zip(trial);
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
            let places = places.map(|((_, choice), (_, value))| choice.place(&text(value)));
            Some(Tried { places: places.collect::<Option<_>>()?, loss: None })
        });
        Ok(tried.chain(refused).collect())
    }
}
