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
}

/// What every program goes through before it is scheduled, in this order. Passes come again where others uncover more
/// for them to do: dead code hides that a value has one user only.
pub const PASSES: &[Pass] = &[
    Pass { name: "join-scans", run: join_scans },
    Pass { name: "dead-code", run: remove_dead_code },
    Pass { name: "optimize-bodies", run: optimize_bodies },
    Pass { name: "simplify", run: simplify },
    Pass { name: "common-subexpressions", run: merge_common_subexpressions },
    Pass { name: "multiply-before-lookup", run: multiply_before_lookup },
    Pass { name: "join-padded-pieces", run: join_padded_pieces },
    Pass { name: "mask-before-spreading", run: mask_before_spreading },
    Pass { name: "dead-code", run: remove_dead_code },
    Pass { name: "pool-before-activation (ReLU)", run: pool_before_activation },
    Pass { name: "dead-code", run: remove_dead_code },
    Pass { name: "pool-before-activation (bias)", run: pool_before_activation },
    Pass { name: "gather-factors", run: gather_factors },
    Pass { name: "simplify", run: simplify },
    Pass { name: "common-subexpressions", run: merge_common_subexpressions },
    Pass { name: "dead-code", run: remove_dead_code },
];

/// Runs all passes; debug builds verify the program after each.
///
/// # Errors
/// Only if a pass has a bug; the error names the pass.
pub fn optimize(program: &Program) -> Result<Program> {
    run_passes(program, PASSES, cfg!(debug_assertions))
}

/// Runs these passes, and verifies the program after each if `verified` says so.
///
/// # Errors
/// Only if a pass has a bug; the error names the pass.
pub fn run_passes(program: &Program, passes: &[Pass], verified: bool) -> Result<Program> {
    let mut program = program.clone();
    for pass in passes {
        program = (pass.run)(&program)?;
        if verified {
            verify(&program).map_err(|error| {
                let place = format!("after pass {}: {}", pass.name, error.operation());
                error.named(place)
            })?;
        }
    }
    Ok(program)
}
