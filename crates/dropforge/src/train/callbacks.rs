//! The callbacks of a fit, together.

use super::callback::Callback;
use crate::{Error, ErrorKind, Result};
use dropforge_data::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Callbacks in the order in which they hear of events.
pub(super) struct Callbacks<'a>(Vec<&'a mut (dyn Callback + 'a)>);

impl<'a> Callbacks<'a> {
    pub fn new(all: Vec<&'a mut (dyn Callback + 'a)>) -> Callbacks<'a> {
        Callbacks(all)
    }

    /// Refuses two that would keep what they remember under one name.
    ///
    /// # Errors
    /// Two that remember something have the same name.
    pub fn distinct(&self) -> Result<()> {
        let mut names: Vec<String> = self
            .0
            .iter()
            .filter(|callback| callback.state().is_some())
            .map(|callback| callback.name())
            .collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => Err(Error::of(
                ErrorKind::Setting,
                format!(
                    "two callbacks are called {}, and a checkpoint keeps what each remembers by its name; use one of them, or \
                     another figure for the other",
                    pair[0]
                ),
            )),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls each until one fails.
    pub fn each(&mut self, mut call: impl FnMut(&mut dyn Callback) -> Result<()>) -> Result<()> {
        self.0.iter_mut().try_for_each(|callback| call(&mut **callback))
    }

    /// Whether one of them saves.
    pub fn save(&self) -> bool {
        self.0.iter().any(|callback| callback.saves())
    }

    /// Tells all of the folder that one of them saves to.
    pub fn tell_folder(&mut self) {
        let Some(folder) = self.0.iter().find_map(|callback| callback.folder().map(Path::to_path_buf)) else {
            return;
        };
        self.0.iter_mut().for_each(|callback| callback.in_run(&folder));
    }

    /// Tells all what is validated on.
    pub fn tell_validation(&mut self, samples: &Arc<dyn Source>) {
        self.0.iter_mut().for_each(|callback| callback.with_validation(samples));
    }

    /// How many checkpoints are to stay.
    pub fn keeps(&self) -> usize {
        self.0.iter().map(|callback| callback.keeps()).max().unwrap_or(1)
    }

    /// Tells all of an error.
    pub fn failed(&mut self, error: &Error) {
        for callback in &mut self.0 {
            callback.on_error(error);
        }
    }

    /// Notes what each remembers.
    pub fn remember(&self, states: &mut BTreeMap<String, String>) {
        for callback in &self.0 {
            if let Some(state) = callback.state() {
                states.insert(callback.name(), state);
            }
        }
    }

    /// Gives each what it remembered, once.
    pub fn restore(&mut self, states: &mut BTreeMap<String, String>) -> Result<()> {
        for callback in &mut self.0 {
            let name = callback.name();
            if let Some(state) = states.remove(&name) {
                callback.restore(&state).map_err(|error| error.context(format_args!("callback {name}")))?;
            }
        }
        Ok(())
    }
}
