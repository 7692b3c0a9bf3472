//! What the command line says of a training, as settings over those of a file.

use crate::args::Train;
use crate::output::Outcome;
use dropforge::optim::group;
use dropforge::run::{DataSpec, ModelSpec, Part, RunConfig, check_path, optimizer_path, read_text_file};
use dropforge::settings::{SettingType, TYPE, Table, Value, set_path};
use dropforge::train::Callback;
use std::path::Path;

/// What the command line says, as settings over those of `base`.
pub fn settings(args: &Train, mut base: Table) -> Outcome<Table> {
    if let Some(model) = &args.model {
        let model = ModelSpec::parse(model)?.write()?;
        base.extend(model.map(|model| ("model".to_string(), model)));
    }
    if let Some(data) = &args.data.data {
        base.insert("data".into(), Value::String(data.clone()));
    }
    let number = |number: Option<f64>| number.map(|number| Value::Float(number).to_string());
    let whole = |number: Option<u64>| number.map(|number| number.to_string());
    // An optimizer around another one leaves the settings of updates to that.
    let named =
        args.optimizer.as_deref().map(|name| Table::from_iter([("optimizer".to_string(), name.into())]));
    let inside = optimizer_path(named.as_ref().unwrap_or(&base), "");
    // A name comes before the settings of what it names.
    let mut said = |path: &str, value: Option<String>| -> Outcome {
        value.map_or(Ok(()), |value| Ok(set_path(&mut base, path, &value)?))
    };
    let name = |name: &Option<String>| name.as_ref().map(|name| format!("{{ type = {name:?} }}"));
    said("optimizer", name(&args.optimizer))?;
    said("schedule", name(&args.schedule))?;
    said("loss", name(&args.loss))?;
    for (setting, value) in
        [("lr", args.lr), ("momentum", args.momentum), ("weight_decay", args.weight_decay)]
    {
        said(&format!("{inside}{setting}"), number(value))?;
    }
    said("ema", number(args.ema))?;
    said("swa_start", number(args.swa_start))?;
    said("schedule.warmup", number(args.warmup))?;
    said("clip_norm", number(args.clip_norm))?;
    let metrics = (!args.metrics.is_empty()).then(|| format!("{:?}", args.metrics));
    said("precision", args.precision.as_ref().map(|name| format!("{name:?}")))?;
    said("metrics", metrics)?;
    said("max_steps", whole(args.max_steps))?;
    said("max_time", number(args.max_time))?;
    said("validate_every", whole(args.validate_every))?;
    said("validate_epochs", whole(args.validate_epochs))?;
    said("limit_train", number(args.limit_train))?;
    said("overfit_batches", whole(args.overfit_batches))?;
    said("drop_last", args.drop_last.then(|| "true".into()))?;
    said("skip_corrupt", args.skip_corrupt.then(|| "true".into()))?;
    said("cache", whole(args.cache))?;
    said("cache_folder", args.cache_folder.as_ref().map(|folder| format!("{folder:?}")))?;
    said("data_on_device", args.data_on_device.clone())?;
    said("augment_on", args.augment_on.as_ref().map(|place| format!("{place:?}")))?;
    said("epochs", whole(args.epochs))?;
    said("batch", whole(args.batch))?;
    // More than TOML's integers hold.
    said("seed", args.seed.map(|seed| format!("\"{seed}\"")))?;
    said("save_every", number(args.save_every))?;
    said("threads", args.machine.threads.map(|threads| threads.to_string()))?;
    said("device", args.machine.device.as_ref().map(|device| format!("{device:?}")))?;
    // A word for data as the table that it stands for, where a part of that is set.
    if args.set.iter().any(|setting| setting.starts_with("data.")) {
        let spec = base.get("data").map_or_else(|| DataSpec::parse("digits"), DataSpec::new)?;
        base.insert("data".into(), Value::Table(spec.table()));
    }
    additions(args, &mut base)?;
    for setting in &args.set {
        let (path, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("--set {setting}: write a path and a value, such as optimizer.lr=0.01"))?;
        check_path(path)?;
        set_path(&mut base, path, value)?;
    }
    Ok(base)
}

/// What the command line adds to the lists of a configuration, and the weights to start from.
fn additions(args: &Train, base: &mut Table) -> Outcome {
    let table = |pairs: &[(&str, Value)]| {
        Value::Table(pairs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
    };
    let patience = args.patience.map(|epochs| Value::Integer(epochs.min(i64::MAX as u64) as i64));
    let is_set = patience.as_ref().is_some_and(|epochs| set_patience(args.monitor.as_deref(), epochs, base));
    let mut add = |list: &str, value: Value, first: bool| -> Outcome {
        match base.entry(list).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(all) if all.iter().any(|known| says(list, known, &value)) => {}
            Value::Array(all) => all.insert(if first { 0 } else { all.len() }, value),
            _ => return Err(format!("`{list}` should be a list").into()),
        }
        Ok(())
    };
    let monitor = args.monitor.as_deref().unwrap_or("val_loss");
    let named = args.keep_best.as_deref().filter(|figure| !figure.is_empty());
    if args.keep_best.is_some() || args.monitor.is_some() {
        let figure = named.unwrap_or(monitor).into();
        add("callbacks", table(&[("type", "keep_best".into()), ("monitor", figure)]), false)?;
    }
    if let (Some(patience), false) = (patience, is_set) {
        let settings =
            [("type", "early_stopping".into()), ("monitor", monitor.into()), ("patience", patience)];
        add("callbacks", table(&settings), false)?;
    }
    if args.tensorboard {
        add("callbacks", table(&[("type", "tensorboard".into())]), false)?;
    }
    // Of several groups the first that fits takes a parameter.
    for pattern in args.freeze.iter().rev() {
        add("groups", table(&[("pattern", pattern.as_str().into()), ("frozen", true.into())]), true)?;
        if let Some(epochs) = args.unfreeze_after {
            let name = group(pattern.as_str()).given_name().to_string();
            let after = Value::Integer(epochs.min(i64::MAX as u64) as i64);
            let settings = [("type", "unfreeze".into()), ("group", name.into()), ("after", after)];
            add("callbacks", table(&settings), false)?;
        }
    }
    if let Some(path) = &args.from {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let list = |all: &[String]| Value::Array(all.iter().map(|text| text.as_str().into()).collect());
        let weights = Value::String(path.display().to_string());
        let from = table(&[
            ("weights", weights),
            ("strict", (!args.partly).into()),
            ("rename", list(&args.rename)),
            ("ignore", list(&args.ignore)),
        ]);
        base.insert("from".into(), from);
    }
    Ok(())
}

/// Gives this patience to what ends training early already, if something does: the only one, or that which watches this
/// figure.
fn set_patience(monitor: Option<&str>, epochs: &Value, base: &mut Table) -> bool {
    let Some(Value::Array(callbacks)) = base.get_mut("callbacks") else { return false };
    let tables = callbacks.iter_mut().filter_map(Value::as_table_mut);
    let mut stopping: Vec<&mut Table> =
        tables.filter(|table| table.get(TYPE).and_then(Value::as_str) == Some("early_stopping")).collect();
    let watches = |table: &Table, figure: &str| {
        let watched = table.get("monitor").and_then(Value::as_str).unwrap_or_default();
        watched.split_whitespace().next_back() == Some(figure)
    };
    let at = match monitor {
        Some(figure) => stopping.iter().position(|table| watches(table, figure)),
        None => (stopping.len() == 1).then_some(0),
    };
    at.is_some_and(|at| {
        stopping[at].insert("patience".into(), epochs.clone());
        true
    })
}

/// Whether an item of a list says what is to be added, and perhaps more.
fn says(list: &str, known: &Value, added: &Value) -> bool {
    // As they are written, whatever has its default.
    let written = |value: &Value| match list {
        "callbacks" => {
            Part::<dyn Callback>::new(value).map_or_else(|_| Table::new(), |part| part.table().clone())
        }
        _ => value.as_table().cloned().unwrap_or_default(),
    };
    let (known, whole) = (written(known), written(added));
    let said = added.as_table().filter(|said| !said.is_empty());
    known == whole || said.is_some_and(|said| said.keys().all(|key| known.get(key) == whole.get(key)))
}

/// The settings of a file that a person wrote.
pub fn read_settings(path: &Path) -> Outcome<Table> {
    let text = read_text_file(path)?;
    // Read whole, so that mistakes are named with the file.
    let read = || {
        let settings = RunConfig::settings(&text)?;
        RunConfig::new(&settings).map(|_| settings)
    };
    Ok(read().map_err(|error: dropforge::Error| error.context(path.display()))?)
}
