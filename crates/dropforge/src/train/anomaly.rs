//! Steps that are watched for numbers that are none.

use crate::nn::StateKind;
use crate::step::{Batch, Outcome, State, Step};
use crate::{Array, Data, Error, ErrorKind, Result};

/// Looks at what a step made; an error names the operation with which it went wrong.
pub(super) fn check(
    step: &mut Step,
    batch: &Batch,
    before: &[(String, Array)],
    outcome: &Outcome,
    number: u64,
) -> Result<()> {
    let loss = outcome.loss()?;
    let mut wrong = (!loss.is_finite()).then(|| format!("the loss became {loss}"));
    if wrong.is_none() {
        let states = step.copy_states()?;
        let state = states.iter().find(|(name, array)| is_trained(step, name) && !is_finite(array));
        wrong = state.map(|(name, _)| format!("{name} is no longer finite"));
    }
    let Some(wrong) = wrong else { return Ok(()) };
    let found = match before.iter().find(|(name, array)| is_trained(step, name) && !is_finite(array)) {
        Some((name, _)) => format!("{name} was not finite before it"),
        None => match step.find_anomaly(batch.clone(), before)? {
            Some(anomaly) => format!("first {anomaly}"),
            None => "on the interpreter all is finite, so it is a matter of rounding, or of the batch".into(),
        },
    };
    Err(Error::of(ErrorKind::Numbers, format!("step {number}: {wrong}; {found}")))
}

/// Whether training goes on from a state: sums of metrics may be infinite, as a relative error of 0 is, without harm.
fn is_trained(step: &Step, name: &str) -> bool {
    let kind = step.states().get(name).map(State::kind);
    !matches!(kind, Some(StateKind::Metric | StateKind::Evaluation))
}

fn is_finite(array: &Array) -> bool {
    match array.data() {
        Data::F32(values) => values.iter().all(|x| x.is_finite()),
        Data::F16(values) => values.iter().all(|x| f64::from(*x).is_finite()),
        Data::BF16(values) => values.iter().all(|x| f64::from(*x).is_finite()),
        _ => true,
    }
}
