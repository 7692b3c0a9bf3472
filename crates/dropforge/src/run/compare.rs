//! What decides the results of a run, compared when it is gone on with.

use super::manifest::Manifest;
use super::run_dir::read_latest;
use super::{Environment, InputSpec};
use crate::step::Precision;
use crate::{Error, Result};
use std::path::Path;

/// What differs between what trained a run and what would go on with it now, and may change bits: the library, the device
/// with its threads, the system. One line each; nothing for runs of the first version, which do not say.
///
/// # Errors
/// There is no such run, or it is damaged.
pub fn differences(run: impl AsRef<Path>, runtime: &crate::Runtime) -> Result<Vec<String>> {
    let about = read_latest(run.as_ref(), Manifest::read)?.flatten();
    Ok(about.map_or_else(Vec::new, |about| about.environment.differences(&Environment::now(runtime))))
}

/// How many threads of the CPU trained a run; `None` if it does not say, or another device trained it.
///
/// # Errors
/// As [`differences`].
pub fn threads_of(run: impl AsRef<Path>) -> Result<Option<usize>> {
    let about = read_latest(run.as_ref(), Manifest::read)?.flatten();
    Ok(about.and_then(|about| about.environment.threads()))
}

/// Whether a training can go on with other data: shape, normalisation, and the classes in their order.
pub(super) fn same_inputs(then: &InputSpec, now: &InputSpec) -> Result<()> {
    let differ = |what: &str, then: String, now: String| {
        Err(Error::data(format!("was trained on {what} {then}, this data has {now}; use the same data")))
    };
    if then.classes.len() != now.classes.len() {
        return differ(
            "another number of classes:",
            then.classes.len().to_string(),
            now.classes.len().to_string(),
        );
    }
    if then.classes != now.classes {
        let (then, now): (Vec<&str>, Vec<&str>) = then
            .classes
            .iter()
            .zip(&now.classes)
            .filter(|(then, now)| then != now)
            .map(|(then, now)| (then.as_str(), now.as_str()))
            .unzip();
        return differ("the classes", then.join(", "), format!("{} in their place", now.join(", ")));
    }
    if then.shape != now.shape {
        return differ("inputs of shape", format!("{:?}", then.shape), format!("{:?}", now.shape));
    }
    if (&then.mean, &then.std) != (&now.mean, &now.std) {
        let show = |inputs: &InputSpec| format!("mean {:?}, deviation {:?}", inputs.mean, inputs.std);
        return differ("inputs normalised by", show(then), show(now));
    }
    Ok(())
}

/// Whether a training can go on in another precision: its states would be others, or its numbers.
pub(super) fn same_precision(then: &str, now: Precision) -> Result<()> {
    if then == now.name() {
        return Ok(());
    }
    Err(Error::setting(format!("was trained in {then}, this goes on in {now}; use the same precision")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_data_is_refused_by_what_differs() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
        let then = InputSpec { shape: vec![2], classes: names(&["azure", "red"]), ..InputSpec::default() };
        assert!(same_inputs(&then, &then).is_ok());
        let message = |now: InputSpec| same_inputs(&then, &now).unwrap_err().to_string();
        let renamed = message(InputSpec { classes: names(&["blue", "red"]), ..then.clone() });
        assert!(
            renamed.contains("azure") && renamed.contains("blue") && !renamed.contains("red,"),
            "{renamed}"
        );
        assert!(
            message(InputSpec { classes: names(&["azure"]), ..then.clone() }).contains("number of classes")
        );
        assert!(message(InputSpec { shape: vec![3], ..then.clone() }).contains("[3]"));
        assert!(message(InputSpec { mean: vec![0.5], std: vec![1.0], ..then.clone() }).contains("0.5"));
    }
}
