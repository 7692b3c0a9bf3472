//! Computes equal expressions once. Every operation is a pure function of its arguments and attributes, random bits
//! included, so equal operation and equal arguments mean equal results.

use crate::error::Result;
use crate::program::{Program, Value};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// The program with equal nodes merged into the first of them.
///
/// # Errors
/// Never for a valid program.
pub fn merge_common_subexpressions(program: &Program) -> Result<Program> {
    // By the hash of operation and arguments, the first result of a node that has it. Nodes that differ and have the
    // same hash, which is as good as never, stay apart.
    let hashing = BuildHasherDefault::<DefaultHasher>::default();
    let mut known: HashMap<u64, Value> = HashMap::new();
    program.rebuild(
        |_| true,
        |new, node, args| {
            let hash = hashing.hash_one((&node.op, args));
            if let Some(known) = known.get(&hash).map(|&value| new.definition(value))
                && known.op == node.op
                && *known.args == *args
            {
                return Ok(known.results.to_vec());
            }
            let results = new.copy_node(node, args)?;
            if let Some(&first) = results.first() {
                known.insert(hash, first);
            }
            Ok(results)
        },
    )
}
