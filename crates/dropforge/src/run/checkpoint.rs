//! Checkpoints: everything of a training run, on the device and on the host, as files that belong together.

use super::checksums::{self, MOST_STATE, Sums};
use super::chosen::Chosen;
use super::manifest::{Manifest, Training, Yes};
use super::run_dir::{
    BEST, CHOICES, MANIFEST, METRICS, MODEL, OPTIMIZER, RunDir, STATE, no_checkpoint, read_latest,
};
use super::safetensors::{self, TensorFile};
use super::stored::Stored;
use super::{Environment, InputSpec, disk, position};
use crate::metric::measured_by;
use crate::models::current_name;
use crate::nn::StateKind;
use crate::step::{Network, State as DeviceState, States};
use crate::train::Snapshot;
use crate::train::report::table;
use crate::train::state::State;
use crate::{Error, Result};
use dropforge_ir::{Array, ValueType};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// What stands before the name of a parameter whose average is in the network, where training goes on from the
/// parameter itself.
const TRAINED: &str = "trained.";

/// No weight is larger: its square would be no number, nor what it is multiplied with.
const MOST_WEIGHT: f32 = 1e30;

/// Whether a state is part of the trained network, rather than of its training.
fn is_model(kind: StateKind) -> bool {
    matches!(kind, StateKind::Parameter | StateKind::Statistic)
}

/// Whether a state is part of the training alone, and has to be kept to go on.
fn is_training(kind: StateKind) -> bool {
    matches!(kind, StateKind::Optimizer | StateKind::Counter | StateKind::Metric)
}

/// Refuses a run that something else has trained: its newest checkpoint is not on the way to this one.
pub(super) fn check_own(run: &Path, now: &State) -> Result<()> {
    let saved = read_latest(run, |folder| {
        let path = folder.join(STATE);
        position::parse(&disk::read_text(&path, MOST_STATE)?).map_err(|error| error.context(path.display()))
    });
    let own = |saved: &State| {
        if !saved.identity.is_empty() {
            return saved.identity == now.identity && saved.step <= now.step;
        }
        // Runs of earlier versions are known by what they have measured.
        let mut epochs = saved.history.iter().zip(&now.history);
        saved.step <= now.step
            && saved.history.len() <= now.history.len()
            && now.check_continues(saved).is_ok()
            // A validation may have come after the checkpoint.
            && !saved.history.is_empty()
            && epochs.all(|(a, b)| (a.step, a.loss.to_bits()) == (b.step, b.loss.to_bits()))
    };
    match saved?.as_ref().is_none_or(own) {
        true => Ok(()),
        false => Err(Error::file(format!("{}: holds another run", run.display())).advice(
            "save in another folder, go on with that run by `resume`, or replace it by `save_over`",
            "choose another --out, or go on with that run by --resume",
        )),
    }
}

/// Adds a checkpoint to a run.
///
/// `replaces` says that what stands there is of another training, which this one takes the place of.
pub(super) fn save(run: &RunDir, snapshot: &Snapshot<'_>, programs: &Stored, replaces: bool) -> Result<()> {
    let (network, state) = (snapshot.network(), snapshot.state);
    let optimizer = snapshot.step.settings().into_iter().map(|(name, value)| (name.to_string(), value));
    let training = Training {
        batch: state.batch_size,
        seed: state.seed,
        precision: network.precision().name().into(),
        optimizer: optimizer.collect(),
    };
    let inputs = InputSpec::described(snapshot.description);
    let mut about =
        Manifest::new(network.sample().dtype, inputs, training, Environment::now(network.runtime()));
    about.yes = Yes::of(|output| network.probability(output));
    about.kept = snapshot.keeps;
    about.replaces = replaces;
    programs.describe(&mut about);
    let states = network.states();
    run.add_checkpoint(|folder| {
        let mut sums = Sums::default();
        programs.write(folder, &mut sums)?;
        sums.write(folder, MANIFEST, &about.to_text()?)?;
        let write = |name: &str, tensors: &[(String, &DeviceState)]| {
            disk::write_file(&folder.join(name), &mut |out| write_states(out, tensors, &BTreeMap::new()))
        };
        write(MODEL, &network_of(states)?)?;
        write(OPTIMIZER, &training_of(states)?)?;
        if let Some(text) = Chosen::of(network).to_text()? {
            sums.write(folder, CHOICES, &text)?;
        }
        disk::write_text(&folder.join(METRICS), &table(&state.history))?;
        disk::write_text(&folder.join(STATE), &position::to_text(state, &sums)?)
    })
}

/// Makes a run of a network that was trained elsewhere: nothing can be gone on with but the weights.
#[cfg(feature = "onnx")]
pub(super) fn save_imported(
    run: &RunDir,
    about: &Manifest,
    programs: &Stored,
    weights: &BTreeMap<String, Array>,
) -> Result<()> {
    let types: Vec<ValueType> = weights.values().map(Array::ty).collect();
    let tensors: Vec<(&str, &ValueType)> = weights.keys().map(String::as_str).zip(&types).collect();
    let arrays: Vec<&Array> = weights.values().collect();
    run.add_checkpoint(|folder| {
        let mut sums = Sums::default();
        programs.write(folder, &mut sums)?;
        sums.write(folder, MANIFEST, &about.to_text()?)?;
        let read = |index: usize| Ok(arrays[index].clone());
        let none = BTreeMap::new();
        disk::write_file(&folder.join(MODEL), &mut |out| {
            safetensors::write_summed(out, &none, &tensors, read)
        })?;
        disk::write_file(&folder.join(OPTIMIZER), &mut |out| {
            safetensors::write(out, &[], |_| Err(Error::file("there is no state")))
        })?;
        disk::write_text(&folder.join(METRICS), &table(&[]))?;
        disk::write_text(&folder.join(STATE), &position::to_text(&State::new(0, 1), &sums)?)
    })
}

/// Keeps the weights as the best of a run, with the figures that made them the best.
pub(super) fn save_best(run: &RunDir, snapshot: &Snapshot<'_>) -> Result<()> {
    let states = snapshot.network().states();
    let about = snapshot.report().map_or_else(BTreeMap::new, |report| {
        // In the middle of an epoch nothing is known of its training steps.
        let figures = report.names().into_iter().filter_map(|name| Some((report.get(&name)?, name)));
        let figures = figures.filter(|(figure, _)| !figure.is_nan());
        let at = [("epoch", report.epoch), ("step", report.step)];
        let at = at.map(|(name, number)| (name.to_string(), number.to_string()));
        at.into_iter().chain(figures.map(|(figure, name)| (name, figure.to_string()))).collect()
    });
    let (path, tensors) = (run.path().join(BEST), network_of(states)?);
    disk::replace_file(&path, &mut |out| write_states(out, &tensors, &about))
}

/// What the network is used with, by name: its states, with averages of parameters in place of these where there are
/// any.
fn network_of(states: &States) -> Result<Vec<(String, &DeviceState)>> {
    let averages: BTreeMap<String, &DeviceState> =
        states.averages()?.into_iter().map(|(average, parameter)| (parameter, average)).collect();
    let own = states.iter().filter(|state| is_model(state.kind()));
    let used = |state| *averages.get(DeviceState::name(state)).unwrap_or(&state);
    Ok(own.map(|state| (state.name().to_string(), used(state))).collect())
}

/// What is needed to go on, by name; with it the parameters of which the network has the averages.
fn training_of(states: &States) -> Result<Vec<(String, &DeviceState)>> {
    let own = states.iter().filter(|state| is_training(state.kind()));
    let mut all: Vec<(String, &DeviceState)> = own.map(|state| (state.name().to_string(), state)).collect();
    for (_, parameter) in states.averages()? {
        all.extend(states.get(&parameter).map(|state| (format!("{TRAINED}{parameter}"), state)));
    }
    Ok(all)
}

fn write_states(
    out: &mut dyn disk::Seekable,
    states: &[(String, &DeviceState)],
    about: &BTreeMap<String, String>,
) -> Result<()> {
    let tensors: Vec<(&str, &ValueType)> =
        states.iter().map(|(name, state)| (name.as_str(), state.ty())).collect();
    safetensors::write_summed(out, about, &tensors, |index| {
        let state = states[index].1;
        let array = state.read()?;
        alive(state, &array).map(|()| array)
    })
}

/// Refuses what nothing can be trained on from: a checkpoint of it would take the place of a good one.
fn alive(state: &DeviceState, array: &Array) -> Result<()> {
    let Some(numbers) = array.to_f32() else { return Ok(()) };
    let dead = |x: &f32| match state.kind() {
        StateKind::Parameter => x.is_nan() || x.abs() > MOST_WEIGHT,
        // An infinite variance makes every output 0, for ever.
        StateKind::Optimizer | StateKind::Statistic => !x.is_finite(),
        StateKind::Counter | StateKind::Metric | StateKind::Evaluation => x.is_nan(),
    };
    match numbers.iter().find(|x| dead(x)) {
        None => Ok(()),
        Some(x) => Err(Error::file(format!(
            "{} has become {x:e}: the loss diverges. Nothing of it is saved, an earlier checkpoint stays; train with a lower \
             learning rate, as another run",
            state.name()
        ))),
    }
}

/// Where the newest checkpoint of a run is, if there is one and it is of a run like `now`.
pub(crate) fn peek(run: &Path, now: &State) -> Result<Option<State>> {
    read_latest(run, |folder| read_state(folder, now))
}

fn read_state(folder: &Path, now: &State) -> Result<State> {
    let path = folder.join(STATE);
    let text = disk::read_text(&path, MOST_STATE)?;
    let state = position::parse(&text).and_then(|state| now.check_continues(&state).map(|()| state));
    state.map_err(|error| error.context(path.display()))
}

/// Reads the newest checkpoint of a run into the states, if there is one and all of it fits a run like `now`. What the
/// device had chosen is left to the caller.
pub(super) fn load(run: &Path, states: &States, now: &State) -> Result<Option<(State, Option<Chosen>)>> {
    let read = |folder: &Path| {
        checksums::check(folder)?;
        let state = read_state(folder, now)?;
        let model = read_fitting(&folder.join(MODEL), states, is_model, None)?;
        let optimizer = read_fitting(&folder.join(OPTIMIZER), states, is_training, Some(&state))?;
        Ok(((state, Chosen::read(&folder.join(CHOICES))?), model, optimizer))
    };
    let Some((host, model, optimizer)) = read_latest(run, read)? else { return Ok(None) };
    write_all(states, model.into_iter().chain(optimizer))?;
    Ok(Some(host))
}

/// Reads the weights of the newest checkpoint of a run into its network, which then goes by what the device had chosen.
pub(super) fn load_model(run: &Path, network: &mut Network) -> Result<()> {
    let read = |folder: &Path| {
        checksums::check(folder)?;
        let model = read_fitting(&folder.join(MODEL), network.states(), is_model, None)?;
        Ok((model, Chosen::read(&folder.join(CHOICES))?))
    };
    let Some((model, chosen)) = read_latest(run, read)? else {
        return Err(no_checkpoint(run));
    };
    write_all(network.states(), model)?;
    if let Some(choices) = chosen.as_ref().and_then(|chosen| chosen.for_device_of(network)) {
        network.set_choices(choices);
    }
    Ok(())
}

/// Names of metrics, which are known by the states that hold their sums.
fn metrics_of<'a>(states: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    states.filter_map(measured_by).collect()
}

/// What metrics are called now that had the name of their kind alone in earlier versions, whatever their settings: `f1`
/// is `f1_per_class`, `perplexity` `perplexity_without_0`. Those that are called otherwise by one of both sides alone,
/// by their old names.
fn longer_names(then: &BTreeSet<&str>, now: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let gone = then.difference(now);
    let one = |old: &&str| {
        let mut longer = now
            .difference(then)
            .filter(|new| new.strip_prefix(*old).is_some_and(|rest| rest.starts_with('_')));
        let new = longer.next()?;
        longer.next().is_none().then(|| (old.to_string(), new.to_string()))
    };
    gone.filter_map(one).collect()
}

/// Refuses a run that measures something else; `saved` is what it says of itself.
fn same_metrics(then: &BTreeSet<&str>, now: &BTreeSet<&str>, saved: Option<&State>) -> Result<()> {
    if then == now {
        return Ok(());
    }
    let shown = |names: &BTreeSet<&str>| match names.is_empty() {
        true => "no metric".to_string(),
        false => names.iter().copied().collect::<Vec<_>>().join(", "),
    };
    let renamed = longer_names(then, now);
    let unsaid = saved.is_some_and(|saved| !saved.settings.contains_key(METRICS_SETTING));
    let lacks = match renamed.iter().next().filter(|_| unsaid) {
        Some((old, new)) => format!(
            "; it is of an earlier version and does not say by which settings, so that its {old} cannot be told to be {new}"
        ),
        None => String::new(),
    };
    Err(Error::setting(format!(
        "the metrics differ: the run measures {}, this training {}{lacks}; measure the same, or start another run",
        shown(then),
        shown(now)
    )))
}

/// The setting that says what is measured.
const METRICS_SETTING: &str = "metrics";

fn write_all(states: &States, arrays: impl IntoIterator<Item = (String, Array)>) -> Result<()> {
    arrays.into_iter().try_for_each(|(name, array)| states.write(&name, &array))
}

/// The tensors of a file, which are exactly the wanted states. Nothing is read before all of them fit. `saved` is what
/// the run says of itself; its settings have been compared with those of now.
fn read_fitting(
    path: &Path,
    states: &States,
    wanted: impl Fn(StateKind) -> bool,
    saved: Option<&State>,
) -> Result<BTreeMap<String, Array>> {
    let mut file = TensorFile::open(path)?;
    file.rename(current_name);
    let wanted: Vec<(&str, &ValueType)> =
        states.iter().filter(|state| wanted(state.kind())).map(|state| (state.name(), state.ty())).collect();
    let names: HashSet<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let now = metrics_of(names.iter().copied());
    if saved.is_some_and(|saved| saved.settings.contains_key(METRICS_SETTING)) {
        let renamed = longer_names(&metrics_of(file.types().map(|(name, _)| name)), &now);
        file.rename(|state| {
            let old = measured_by(state)?;
            Some(state.replacen(&format!(".{old}."), &format!(".{}.", renamed.get(old)?), 1))
        });
    }
    // A parameter of which the network's file has the average.
    let trained = |name: &str| states.get(name.strip_prefix(TRAINED)?).filter(|state| is_model(state.kind()));
    let fits = || {
        same_metrics(&metrics_of(file.types().map(|(name, _)| name)), &now, saved)?;
        let more = file.types().filter_map(|(name, _)| Some((name, trained(name)?.ty())));
        for (name, there) in wanted.iter().copied().chain(more) {
            match file.ty(name) {
                None => return Err(Error::file(format!("has no tensor {name}; it is of another model"))),
                Some(here) => {
                    let here = here.map_err(|error| error.context(name))?;
                    if here != *there {
                        return Err(Error::file(format!(
                            "{name} is {here} in the file, but {there} in the model"
                        )));
                    }
                }
            }
        }
        match file.types().find(|(name, _)| !names.contains(name) && trained(name).is_none()) {
            Some((name, _)) => {
                Err(Error::file(format!("{name} is not part of the model; the file is of another one")))
            }
            None => Ok(()),
        }
    };
    fits().map_err(|error| error.context(path.display()))?;
    let own = |name: String| match name.strip_prefix(TRAINED) {
        Some(parameter) if !names.contains(name.as_str()) => parameter.to_string(),
        _ => name,
    };
    Ok(file.read_all()?.into_iter().map(|(name, array)| (own(name), array)).collect())
}
