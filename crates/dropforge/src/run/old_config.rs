//! Configurations of earlier versions.

use crate::settings::{TYPE, Table, Value};
use crate::{Error, Result};

/// Format 1 as format 2: names of optimizers and schedules stood under `name`, and one such as `lenet` under the
/// model's.
pub(super) fn converted(mut table: Table) -> Result<Table> {
    for key in ["optimizer", "schedule"] {
        if let Some(Value::Table(part)) = table.get_mut(key)
            && let Some(name) = part.remove("name")
        {
            part.insert(TYPE.into(), name);
        }
    }
    match table.get_mut("model") {
        Some(Value::Table(model)) if !model.contains_key("layers") => {
            let name = model.remove("name").ok_or_else(|| Error::file("model: `name` is missing"))?;
            model.insert(TYPE.into(), name);
        }
        _ => {}
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use crate::run::RunConfig;

    /// As version 0.1.0 wrote it.
    const OLD: &str = "format = 1\nepochs = 2\nbatch = 64\nseed = 3\ndevice = \"cpu\"\ndata = \"digits:60\"\n\
        [optimizer]\nname = \"sgd\"\nlr = 0.05\nmomentum = 0.9\nnesterov = false\nweight_decay = 0.0\n\
        [schedule]\nname = \"cosine\"\nwarmup = 0.2\n\
        [inputs]\nshape = [1, 28, 28]\nclasses = [\"0\", \"1\"]\nmean = [0.1]\nstd = [0.3]\ndigits = true\n\
        [model]\nname = \"lenet\"\n";

    #[test]
    fn the_first_format_is_read() {
        let config = RunConfig::parse(OLD).unwrap();
        assert_eq!((config.epochs, config.batch, config.seed), (2, 64, 3));
        assert_eq!((config.model.name(), config.optimizer.name()), ("lenet", "sgd"));
        assert_eq!(config.optimizer.table()["momentum"].as_float(), Some(0.9));
        let layers = OLD.replace("name = \"lenet\"", "name = \"own\"\n[[model.layers]]\ntype = \"flatten\"");
        assert_eq!(RunConfig::parse(&layers).unwrap().model.name(), "own");
        let message = RunConfig::parse(&OLD.replace("warmup", "warmap")).unwrap_err().to_string();
        assert!(message.contains("`warmap`"), "{message}");
    }
}
