//! Checkpoints: everything of a training run, on the device and on the host, as files that belong together.

use super::chosen::Chosen;
use super::run_dir::{CHOICES, MODEL, OPTIMIZER, RunDir, STATE, read_latest};
use super::safetensors::{self, read_safetensors};
use super::{disk, position};
use crate::nn::StateKind;
use crate::step::{Network, State as DeviceState, States};
use crate::train::report::table;
use crate::train::state::State;
use crate::{Error, Result};
use dropforge_ir::{Array, ValueType};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Whether a state is part of the trained network, rather than of its training.
fn is_model(kind: StateKind) -> bool {
    matches!(kind, StateKind::Parameter | StateKind::Statistic)
}

/// Whether a state is part of the training alone, and has to be kept to go on.
fn is_training(kind: StateKind) -> bool {
    matches!(kind, StateKind::Optimizer | StateKind::Counter | StateKind::Metric)
}

/// Adds a checkpoint to a run, and writes its table of metrics.
pub(crate) fn save(run: &RunDir, network: &Network, state: &State) -> Result<()> {
    let states = network.states();
    run.add_checkpoint(|folder| {
        write_states(&folder.join(MODEL), states, is_model)?;
        write_states(&folder.join(OPTIMIZER), states, is_training)?;
        Chosen::of(network).write(&folder.join(CHOICES))?;
        let text = position::to_text(state)?;
        disk::write_file(&folder.join(STATE), &mut |out| {
            out.write_all(text.as_bytes()).map_err(|error| Error::new(format!("cannot write: {error}")))
        })
    })?;
    run.write_metrics(&table(&state.history))
}

fn write_states(path: &Path, states: &States, wanted: impl Fn(StateKind) -> bool) -> Result<()> {
    let states: Vec<&DeviceState> = states.iter().filter(|state| wanted(state.kind())).collect();
    let tensors: Vec<(&str, &ValueType)> = states.iter().map(|state| (state.name(), state.ty())).collect();
    disk::write_file(path, &mut |out| safetensors::write(out, &tensors, |index| states[index].read()))
}

/// Where the newest checkpoint of a run is, if there is one and it is of a run like `now`.
pub(crate) fn peek(run: &Path, now: &State) -> Result<Option<State>> {
    read_latest(run, |folder| read_state(folder, now))
}

fn read_state(folder: &Path, now: &State) -> Result<State> {
    let path = folder.join(STATE);
    let text = fs::read_to_string(&path).map_err(|error| disk::cannot("read", &path, &error))?;
    let state = position::parse(&text).and_then(|state| now.check_continues(&state).map(|()| state));
    state.map_err(|error| error.context(path.display()))
}

/// Reads the newest checkpoint of a run into the states, if there is one and all of it fits a run like `now`. What the
/// device had chosen is left to the caller.
pub(crate) fn load(run: &Path, states: &States, now: &State) -> Result<Option<(State, Option<Chosen>)>> {
    let read = |folder: &Path| {
        let state = read_state(folder, now)?;
        let model = read_fitting(&folder.join(MODEL), states, is_model)?;
        let optimizer = read_fitting(&folder.join(OPTIMIZER), states, is_training)?;
        Ok(((state, Chosen::read(&folder.join(CHOICES))?), model, optimizer))
    };
    let Some((host, model, optimizer)) = read_latest(run, read)? else { return Ok(None) };
    write_all(states, model.into_iter().chain(optimizer))?;
    Ok(Some(host))
}

/// Reads the weights of the newest checkpoint of a run into its network, which then goes by what the device had chosen.
pub(crate) fn load_model(run: &Path, network: &mut Network) -> Result<()> {
    let read = |folder: &Path| {
        let model = read_fitting(&folder.join(MODEL), network.states(), is_model)?;
        Ok((model, Chosen::read(&folder.join(CHOICES))?))
    };
    let Some((model, chosen)) = read_latest(run, read)? else {
        return Err(Error::new(format!("{}: the run has no checkpoint yet", run.display())));
    };
    write_all(network.states(), model)?;
    if let Some(choices) = chosen.as_ref().and_then(|chosen| chosen.for_device_of(network)) {
        network.set_choices(choices);
    }
    Ok(())
}

fn write_all(states: &States, arrays: impl IntoIterator<Item = (String, Array)>) -> Result<()> {
    arrays.into_iter().try_for_each(|(name, array)| states.write(&name, &array))
}

/// The tensors of a file, which are exactly the wanted states.
fn read_fitting(
    path: &Path,
    states: &States,
    wanted: impl Fn(StateKind) -> bool,
) -> Result<BTreeMap<String, Array>> {
    let arrays = read_safetensors(path)?;
    let wanted = || states.iter().filter(|state| wanted(state.kind()));
    let fits = || {
        for state in wanted() {
            match arrays.get(state.name()) {
                None => {
                    return Err(Error::new(format!(
                        "has no tensor {}; it is of another model",
                        state.name()
                    )));
                }
                Some(array) if array.ty() != *state.ty() => {
                    let (name, here, there) = (state.name(), array.ty(), state.ty());
                    return Err(Error::new(format!(
                        "{name} is {here} in the file, but {there} in the model"
                    )));
                }
                Some(_) => {}
            }
        }
        match arrays.keys().find(|name| !wanted().any(|state| state.name() == *name)) {
            Some(name) => {
                Err(Error::new(format!("{name} is not part of the model; the file is of another one")))
            }
            None => Ok(()),
        }
    };
    fits().map_err(|error| error.context(path.display()))?;
    Ok(arrays)
}
