//! Checks of a whole network that no single operation can make.

use super::build::Traced;
use crate::error::{Error, Result};
use crate::nn::StateKind;
use crate::optim::averages;
use dropforge_ir::{Program, Value};
use std::collections::HashSet;

/// Every state that a step writes must matter: to an output or another state of the step, or to evaluation. One that
/// does not is most likely a forgotten use.
pub(crate) fn written_states_are_used(train: &Traced, evaluate: &Traced) -> Result<()> {
    let reached = reached(&train.program);
    let read: HashSet<Value> =
        evaluate.program.nodes().iter().flat_map(|node| node.args.iter().copied()).collect();
    let states = evaluate.declared.iter().zip(&evaluate.program.states);
    let evaluated: HashSet<&str> =
        states.filter(|(_, port)| read.contains(&port.value)).map(|(state, _)| &*state.name).collect();
    for (index, state) in train.declared.iter().enumerate() {
        let checked = matches!(state.kind, StateKind::Statistic | StateKind::Optimizer);
        // Averages of the weights are read in place of these, when somebody asks for it.
        let is_average = !averages(std::iter::once(&*state.name)).is_empty();
        if !checked || is_average || state.write.is_none() {
            continue;
        }
        let matters = match reached[train.program.states[index].value.index()] {
            Reached::Nothing => false,
            Reached::State(other) => other != index,
            Reached::More => true,
        };
        if !matters && !evaluated.contains(&*state.name) {
            let origin = state.port.node.origin.origin();
            let message = format!("{} is written but never used", state.name);
            return Err(Error::from(dropforge_ir::Error::new("state", message).at(&origin)));
        }
    }
    Ok(())
}

/// Where a value leads: to no end of the program, to what one state is written with, or to an output or several states.
#[derive(Clone, Copy, PartialEq)]
enum Reached {
    Nothing,
    State(usize),
    More,
}

impl Reached {
    fn and(self, other: Reached) -> Reached {
        match (self, other) {
            (Reached::Nothing, one) | (one, Reached::Nothing) => one,
            (one, other) if one == other => one,
            _ => Reached::More,
        }
    }
}

/// For each value of a program, where it leads.
fn reached(program: &Program) -> Vec<Reached> {
    let mut reached = vec![Reached::Nothing; program.value_count()];
    for output in &program.outputs {
        reached[output.value.index()] = Reached::More;
    }
    for (index, port) in program.states.iter().enumerate() {
        if let Some(value) = port.write {
            reached[value.index()] = reached[value.index()].and(Reached::State(index));
        }
    }
    for node in program.nodes().iter().rev() {
        let whole =
            node.results.iter().fold(Reached::Nothing, |sum, result| sum.and(reached[result.index()]));
        for arg in &node.args {
            reached[arg.index()] = reached[arg.index()].and(whole);
        }
    }
    reached
}
