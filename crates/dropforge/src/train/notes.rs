//! What a fit says of settings that will have no effect.

use super::trainer::Trainer;
use crate::Result;
use crate::schedule::{Moment, Schedule};
use crate::settings::SettingType;
use dropforge_data::Source;
use std::sync::Arc;

/// Epochs that are looked at for the end of a schedule.
const MOST_EPOCHS: u64 = 10_000;

impl Trainer {
    /// Notes, before a fit trains for so many epochs in all, what will have no effect. Where something else may end it
    /// earlier, schedules are not looked at, nor are those of a program's own, which may know of no later epochs.
    pub(super) fn note_what_has_no_effect(
        &mut self,
        train: &Arc<dyn Source>,
        epochs: u64,
        is_limited: bool,
    ) -> Result<()> {
        if epochs == 0 {
            self.notes.push("nothing is trained in 0 epochs: the network stays as it begins".into());
        }
        if epochs <= self.epochs() {
            return Ok(());
        }
        // Of a stream nobody knows how many there are.
        let Some(batches) = self.loader(train.clone())?.batches() else { return Ok(()) };
        let mut notes = Vec::new();
        if batches > 1 && self.step.compares_losses() {
            notes.push(format!(
                "the optimizer compares the losses of its steps, and each of the {batches} batches of an epoch has another; train on \
                 batches of all samples"
            ));
        }
        let (all, gathered) = (epochs.saturating_mul(batches as u64), self.step.accumulated());
        if all < gathered as u64 {
            notes.push(format!(
                "nothing is learned: an update takes the gradients of {gathered} batches, and the fit has {all} in all; \
                 accumulate fewer, or train longer"
            ));
        }
        let named = self
            .group_schedules
            .iter()
            .map(|(group, schedule)| (format!("the schedule of {group}"), schedule));
        let all = std::iter::once(("the schedule".to_string(), &self.schedule)).chain(named);
        for (what, schedule) in all.filter(|(_, schedule)| !is_limited && schedule.write().is_ok()) {
            notes.extend(of_schedule(&what, schedule, epochs, batches));
        }
        self.notes.append(&mut notes);
        Ok(())
    }
}

/// What there is to say of a schedule over so many epochs of so many batches.
fn of_schedule(what: &str, schedule: &Schedule, epochs: u64, batches: usize) -> Option<String> {
    let at = |epoch: u64, batch: usize| {
        let step = epoch.saturating_mul(batches as u64).saturating_add(batch as u64);
        schedule.factor(&Moment { step, epoch, batch, batches, planned: Some(epochs) })
    };
    let last = epochs - 1;
    let length = if schedule.is_by_steps() { epochs as f64 * batches as f64 } else { epochs as f64 };
    if schedule.warmup_length() > length {
        let unit = if schedule.is_by_steps() { "steps" } else { "epochs" };
        return Some(format!(
            "{what} warms up for {} {unit}, and the fit has {length}: the learning rate never reaches its height",
            schedule.warmup_length()
        ));
    }
    if at(last, batches.saturating_sub(1)) != 0.0 {
        return None;
    }
    let end = (1..epochs.min(MOST_EPOCHS)).find(|&epoch| at(epoch, 0) == 0.0)?;
    Some(format!(
        "{what} comes to its end after epoch {end}, and the learning rate is 0 from there to the last epoch, {epochs}; leave out its \
         length, or give it {epochs} epochs"
    ))
}
