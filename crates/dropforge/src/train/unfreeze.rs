//! Training frozen parameters from some epoch on.

use super::callback::{Callback, Control};
use super::state::FROZEN;
use crate::settings::{Described, Range, Table};
use crate::{Error, Result, described};

/// Trains a frozen group of parameters after some epochs. See [`unfreeze`].
#[derive(Clone, Debug)]
pub struct Unfreeze {
    group: String,
    after: u64,
}

/// Trains a group of parameters that was frozen once so many epochs are finished: first the new head of a network, then
/// all of it. The step is compiled anew at that moment.
///
/// ```
/// use dropforge::optim::group;
/// use dropforge::prelude::*;
/// use dropforge::train::unfreeze;
///
/// let (train, _) = datasets::digits(100, 50, 1);
/// let net = seq![flatten(), "trunk" => dense(8), relu(), "head" => dense(10)];
/// let trainer = Trainer::new(net, cross_entropy(), Sgd::new(0.1)).group(group("trunk.*").frozen());
/// let mut trainer = trainer.compile(&train)?;
/// let trunk = |trainer: &Trainer| trainer.step().states().read("trunk.weight");
/// let start = trunk(&trainer)?;
/// trainer.fit(&train).epochs(1).callback(unfreeze("trunk", 1)).run()?;
/// assert_eq!(trunk(&trainer)?, start);
/// trainer.fit(&train).epochs(2).callback(unfreeze("trunk", 1)).run()?;
/// assert_ne!(trunk(&trainer)?, start);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn unfreeze(group: impl Into<String>, after: u64) -> Unfreeze {
    Unfreeze { group: group.into(), after }
}

impl Callback for Unfreeze {
    fn name(&self) -> String {
        format!("unfreeze.{}", self.group)
    }

    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        let Unfreeze { group, after } = self;
        let frozen = control.step().is_frozen(group).map_err(|error| error.context("unfreeze"))?;
        // A run that stopped within the epoch in which the group was first trained, or later.
        let is_done = control.has_changed(group, FROZEN) || control.history().len() as u64 > *after;
        if is_done || !control.goes_on() {
            return Ok(());
        }
        if !frozen {
            return Err(Error::setting(format!(
                "unfreeze: the group {group} is trained from the start; freeze it by Group::frozen, or leave out unfreeze"
            )));
        }
        if control.planned.is_some_and(|planned| planned <= *after) {
            let planned = control.planned.unwrap_or_default();
            control.note(format!(
                "the group {group} stays frozen: it is to be trained after {after} epochs, and the fit has {planned}"
            ));
        }
        Ok(())
    }

    /// Only at that epoch, so that whoever freezes the group later has the last word. A checkpoint remembers the
    /// change.
    fn on_epoch_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        if control.progress().epoch == self.after + 1 { control.unfreeze(&self.group) } else { Ok(()) }
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    Unfreeze = "unfreeze", "trains a frozen group of parameters after some epochs";
    group: String, None, Range::ANY, "the group: its pattern without the wildcards at its ends";
    after: u64, Some(1), (0..).into(), "epochs before";
}
