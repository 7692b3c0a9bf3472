//! Drops nodes that no output and no state write depends on. Ports stay, so that callers keep their positions.

use crate::error::Result;
use crate::program::Program;

/// The program without unused nodes.
///
/// # Errors
/// Never for a valid program.
pub fn remove_dead_code(program: &Program) -> Result<Program> {
    let mut live = vec![false; program.nodes().len()];
    let written = program.states.iter().filter_map(|state| state.write);
    let mut open: Vec<_> = program.outputs.iter().map(|output| output.value).chain(written).collect();
    while let Some(value) = open.pop() {
        let id = program.definition_id(value);
        if !std::mem::replace(&mut live[id.index()], true) {
            open.extend(&program.node(id).args);
        }
    }
    program.rebuild(|id| live[id.index()], |new, node, args| new.copy_node(node, args))
}
