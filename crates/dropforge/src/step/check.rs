//! Checks of a whole network that no single operation can make.

use super::build::Traced;
use crate::error::{Error, Result};
use crate::nn::StateKind;
use crate::optim::averages;
use dropforge_ir::{Program, Value};

/// Every state that a step writes must matter: to an output or another state of the step, or to evaluation. One that does
/// not is most likely a forgotten use.
pub(crate) fn written_states_are_used(train: &Traced, evaluate: &Traced) -> Result<()> {
    for (index, state) in train.declared.iter().enumerate() {
        let checked = matches!(state.kind, StateKind::Statistic | StateKind::Optimizer);
        // Averages of the weights are read in place of these, when somebody asks for it.
        let is_average = !averages(std::iter::once(&*state.name)).is_empty();
        if !checked || is_average || state.write.is_none() {
            continue;
        }
        let evaluated = evaluate.declared.iter().position(|other| other.name == state.name);
        if !matters(&train.program, index)
            && !evaluated.is_some_and(|other| is_read(&evaluate.program, other))
        {
            let origin = state.port.node.origin.origin();
            let message = format!("{} is written but never used", state.name);
            return Err(Error::from(dropforge_ir::Error::new("state", message).at(&origin)));
        }
    }
    Ok(())
}

/// Whether an output, or what another state is written with, depends on a state.
fn matters(program: &Program, state: usize) -> bool {
    let mut depends = vec![false; program.value_count()];
    depends[program.states[state].value.index()] = true;
    for node in program.nodes() {
        if node.args.iter().any(|arg| depends[arg.index()]) {
            for result in &node.results {
                depends[result.index()] = true;
            }
        }
    }
    let reached = |value: Value| depends[value.index()];
    let others = program.states.iter().enumerate().filter(|(other, _)| *other != state);
    program.outputs.iter().any(|output| reached(output.value))
        || others.filter_map(|(_, port)| port.write).any(reached)
}

/// Whether an operation reads a state.
fn is_read(program: &Program, state: usize) -> bool {
    let value = program.states[state].value;
    program.nodes().iter().any(|node| node.args.contains(&value))
}
