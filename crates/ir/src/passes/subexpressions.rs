//! Computes equal expressions once. Every operation is a pure function of its arguments and attributes, random bits
//! included, so equal operation and equal arguments mean equal results.

use crate::error::Result;
use crate::op::Op;
use crate::program::{Program, Value};
use std::collections::HashMap;

/// The program with equal nodes merged into the first of them.
///
/// # Errors
/// Never for a valid program.
pub fn merge_common_subexpressions(program: &Program) -> Result<Program> {
    let mut known: HashMap<(Op, Vec<Value>), Vec<Value>> = HashMap::new();
    program.rebuild(
        |_| true,
        |new, node, args| {
            let key = (node.op.clone(), args.to_vec());
            if let Some(results) = known.get(&key) {
                return Ok(results.clone());
            }
            let results = new.copy_node(node, args)?;
            known.insert(key, results.clone());
            Ok(results)
        },
    )
}
