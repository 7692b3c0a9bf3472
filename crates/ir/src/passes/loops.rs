//! Passes over loops: what a gradient adds to one is computed by the one that is there, and bodies go through all
//! passes.

use super::{PASSES, run_passes};
use crate::body::Body;
use crate::error::Result;
use crate::op::Op;
use crate::program::{Node, Program, Value};
use std::collections::{HashMap, HashSet};

/// The program with loops over the same arguments joined where one stacks all that the other does. A gradient asks for
/// values of the trips by such a second loop.
///
/// # Errors
/// Never for a valid program.
pub fn join_scans(program: &Program) -> Result<Program> {
    let scans: Vec<&Node> =
        program.nodes().iter().filter(|node| matches!(node.op, Op::Scan { .. })).collect();
    // The loop that computes each one's results, by the first of these.
    let mut leaders: HashMap<Value, &Node> = HashMap::new();
    for (index, first) in scans.iter().enumerate() {
        if leaders.contains_key(&first.results[0]) {
            continue;
        }
        let largest = scans[index..]
            .iter()
            .filter(|other| extends(other, first))
            .max_by_key(|other| other.results.len());
        let Some(&largest) = largest else { continue };
        for other in scans[index..].iter().filter(|other| extends(largest, other)) {
            leaders.entry(other.results[0]).or_insert(largest);
        }
    }
    let mut known: HashMap<Value, Vec<Value>> = HashMap::new();
    program.rebuild(
        |_| true,
        |new, node, args| {
            let Some(leader) = node.results.first().and_then(|result| leaders.get(result)) else {
                return new.copy_node(node, args);
            };
            let key = leader.results[0];
            if let Some(results) = known.get(&key) {
                return Ok(results[..node.results.len()].to_vec());
            }
            let results = new.push(leader.op.clone(), args)?;
            let own = results[..node.results.len()].to_vec();
            known.insert(key, results);
            Ok(own)
        },
    )
}

/// Whether a loop has all results of another, and perhaps more.
fn extends(larger: &Node, smaller: &Node) -> bool {
    let parts = |node: &Node| match &node.op {
        Op::Scan { body, carries, stacked, trips, reverse } => {
            Some((body.clone(), [*carries, *stacked, *trips, *reverse]))
        }
        _ => None,
    };
    let (Some((larger_body, larger_counts)), Some((body, counts))) = (parts(larger), parts(smaller)) else {
        return false;
    };
    larger.args == smaller.args
        && larger_counts == counts
        && (larger_body == body || larger_body.extends(&body))
}

/// The program with bodies that went through all passes, and without what loops stack and nobody reads.
///
/// # Errors
/// Never for a valid program.
pub fn optimize_bodies(program: &Program) -> Result<Program> {
    if !program.nodes().iter().any(|node| matches!(node.op, Op::Scan { .. })) {
        return Ok(program.clone());
    }
    let written = program.states.iter().filter_map(|state| state.write);
    let args = program.nodes().iter().flat_map(|node| node.args.iter().copied());
    let used: HashSet<Value> =
        program.outputs.iter().map(|output| output.value).chain(written).chain(args).collect();
    program.rebuild(
        |_| true,
        |new, node, args| {
            let Op::Scan { body, carries, stacked, trips, reverse } = &node.op else {
                return new.copy_node(node, args);
            };
            let mut inner = body.program().clone();
            let is_kept =
                |position: usize| position < *carries.max(&1) || used.contains(&node.results[position]);
            let kept: Vec<usize> = (0..node.results.len()).filter(|&position| is_kept(position)).collect();
            inner.outputs = kept.iter().map(|&position| inner.outputs[position].clone()).collect();
            let body = Body::new(run_passes(&inner, PASSES, false)?);
            let [carries, stacked, trips, reverse] = [*carries, *stacked, *trips, *reverse];
            let results = new.push(Op::Scan { body, carries, stacked, trips, reverse }, args)?;
            // Nobody reads the others.
            let mut all = vec![results[0]; node.results.len()];
            kept.into_iter().zip(results).for_each(|(position, value)| all[position] = value);
            Ok(all)
        },
    )
}
