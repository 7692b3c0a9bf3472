//! Passes: pure functions from program to program, in one visible list.

mod dead_code;
mod factors;
mod loops;
mod pads;
mod pooling;
pub mod precision;
mod simplify;
mod subexpressions;
mod tables;
mod unroll;

use crate::error::Result;
use crate::op::Op;
use crate::program::Program;
use crate::verify::verify;

pub use dead_code::remove_dead_code;
pub use factors::gather_factors;
pub use loops::{join_scans, optimize_bodies};
pub use pads::join_padded_pieces;
pub use pooling::{mask_before_spreading, pool_before_activation};
pub use simplify::simplify;
pub use subexpressions::merge_common_subexpressions;
pub use tables::multiply_before_lookup;
pub use unroll::unroll_scans;

/// A pass with the name that listings and errors use.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Short name.
    pub name: &'static str,
    /// The transform.
    pub run: fn(&Program) -> Result<Program>,
    /// Operations that it looks for: a program without any of them stays as it is.
    pub concerns: fn(&Op) -> bool,
}

impl Pass {
    /// A pass that may change any program.
    pub const fn new(name: &'static str, run: fn(&Program) -> Result<Program>) -> Pass {
        Pass { name, run, concerns: |_| true }
    }

    /// A pass that changes only programs with some operation of these.
    pub const fn of(
        name: &'static str,
        run: fn(&Program) -> Result<Program>,
        concerns: fn(&Op) -> bool,
    ) -> Pass {
        Pass { name, run, concerns }
    }
}

/// What every program goes through before it is scheduled, in this order. Passes come again where others uncover more
/// for them to do: dead code hides that a value has one user only.
pub const PASSES: &[Pass] = &[
    Pass::of("join-scans", join_scans, is_scan),
    Pass::new("dead-code", remove_dead_code),
    Pass::of("optimize-bodies", optimize_bodies, is_scan),
    Pass::new("simplify", simplify),
    Pass::new("common-subexpressions", merge_common_subexpressions),
    Pass::of("multiply-before-lookup", multiply_before_lookup, |op| {
        matches!(op, Op::Gather { .. } | Op::ScatterAdd { .. })
    }),
    Pass::of("join-padded-pieces", join_padded_pieces, |op| matches!(op, Op::Pad { .. })),
    Pass::of("mask-before-spreading", mask_before_spreading, |op| matches!(op, Op::MaxPoolGradient { .. })),
    Pass::new("dead-code", remove_dead_code),
    Pass::of("pool-before-activation (ReLU)", pool_before_activation, is_max_pool),
    Pass::new("dead-code", remove_dead_code),
    Pass::of("pool-before-activation (bias)", pool_before_activation, is_max_pool),
    Pass::new("gather-factors", gather_factors),
    Pass::new("simplify", simplify),
    Pass::new("common-subexpressions", merge_common_subexpressions),
    Pass::new("dead-code", remove_dead_code),
];

fn is_scan(op: &Op) -> bool {
    matches!(op, Op::Scan { .. })
}

fn is_max_pool(op: &Op) -> bool {
    matches!(op, Op::MaxPool { .. })
}

/// Runs all passes; debug builds verify the program after each.
///
/// # Errors
/// Only if a pass has a bug; the error names the pass.
pub fn optimize(program: &Program) -> Result<Program> {
    run_passes(program, PASSES, cfg!(debug_assertions))
}

/// Runs these passes, and verifies the program after each if `verified` says so. Those whose operations are not there
/// are left out, as is one that was the last to run: it would find nothing more.
///
/// # Errors
/// Only if a pass has a bug; the error names the pass.
pub fn run_passes(program: &Program, passes: &[Pass], verified: bool) -> Result<Program> {
    let mut rewritten: Option<Program> = None;
    let mut last = "";
    for pass in passes {
        let program = rewritten.as_ref().unwrap_or(program);
        if pass.name == last || !program.nodes().iter().any(|node| (pass.concerns)(&node.op)) {
            continue;
        }
        let new = (pass.run)(program)?;
        if verified {
            verify(&new).map_err(|error| {
                let place = format!("after pass {}: {}", pass.name, error.operation());
                error.named(place)
            })?;
        }
        last = pass.name;
        rewritten = Some(new);
    }
    Ok(rewritten.unwrap_or_else(|| program.clone()))
}
