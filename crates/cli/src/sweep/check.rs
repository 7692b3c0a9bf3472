//! What is refused before the first trial: mistakes that all trials would only find one after another.

use super::said;
use super::space::{Space, Trial};
use crate::args::{Cli, Command, Train};
use crate::output::{Outcome, Stop, note};
use crate::{mistake, train};
use clap::Parser;
use std::collections::BTreeSet;

/// The trials whose settings cannot be, which is said of each.
///
/// # Errors
/// The words for `dropforge train` are wrong, or the settings of all trials.
pub fn refused(space: &Space, trials: &[Trial]) -> Result<BTreeSet<usize>, String> {
    let mut refused: Vec<(usize, String)> = Vec::new();
    for (index, trial) in trials.iter().enumerate() {
        refused.extend(mistaken(space, trial)?.map(|message| (index, message)));
    }
    match refused.first() {
        Some((_, message)) if refused.len() == trials.len() => return Err(message.clone()),
        _ => {}
    }
    refused.iter().for_each(|(index, message)| leave_out(*index, &trials[*index], message));
    Ok(refused.into_iter().map(|(index, _)| index).collect())
}

/// Why the settings of a trial cannot be, if they cannot.
///
/// # Errors
/// The words for `dropforge train` are wrong.
pub fn mistaken(space: &Space, trial: &Trial) -> Result<Option<String>, String> {
    Ok(match train::configure(&words(space, trial)?) {
        Err(Stop::Error(message)) => Some(message),
        Ok(_) | Err(Stop::Said | Stop::Unread) => None,
    })
}

/// Says that a trial is not trained, and why.
pub fn leave_out(index: usize, trial: &Trial, message: &str) {
    note(&format!("trial {index} ({}) is left out: {message}", said(trial)));
}

/// Refuses a figure to compare trials by that no epoch will have, as found by one of them, which is made ready and not
/// trained.
pub fn figures(space: &Space, trial: &Trial) -> Outcome {
    train::check_figures(&words(space, trial)?, &space.monitor)
}

/// The words with which a trial is trained.
fn words(space: &Space, trial: &Trial) -> Result<Train, String> {
    let given =
        ["dropforge", "train", "--quiet"].map(String::from).into_iter().chain(space.args.iter().cloned());
    let set = trial.iter().flat_map(|(path, value)| ["--set".to_string(), format!("{path}={value}")]);
    match Cli::try_parse_from(given.chain(set)) {
        Ok(Cli { command: Command::Train(train) }) => match misplaced(&train) {
            Some(flag) => Err(format!(
                "args: {flag} is nothing that all trials can have; the sweep makes a run for each and goes on with it"
            )),
            None => Ok(*train),
        },
        Ok(_) => Err("args: these are words for `dropforge train`, and name no other command".into()),
        Err(error) => Err(format!("args: {}", mistake(&error))),
    }
}

/// A flag with which a trial would not train a run of its own to its end.
fn misplaced(train: &Train) -> Option<&'static str> {
    let flags = [
        ("--resume", train.resume.is_some()),
        ("--out", train.out.is_some()),
        ("--fast-dev-run", train.fast_dev_run),
        ("--dry-run", train.dry_run),
        ("--until-epoch", train.until_epoch.is_some()),
    ];
    flags.into_iter().find_map(|(flag, given)| given.then_some(flag))
}
