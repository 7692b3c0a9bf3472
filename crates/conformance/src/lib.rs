//! One meaning for every device: what the tests of each device run.
//!
//! - [`check_all`] runs the cases of `cases/conformance`, whose expected values come from PyTorch.
//! - [`check_random`] runs random programs and compares them with the interpreter in double precision.
//! - [`check_geometries`] runs windows of any size, and slices and paddings, huge numbers included.
//! - [`check_gradients`] and [`check_random_gradients`] compare gradients with finite differences.
//!
//! A device's test is one line for each, with its exceptions listed and explained. As these are helpers of tests, they
//! panic with a report when something does not hold.

mod case;
mod compare;
mod dice;
mod difference;
mod generate;
mod geometry;
mod random;
mod runner;
mod shrink;

pub use case::{Case, Gradients, all_cases, parse_cases};
pub use compare::compare;
pub use dice::Dice;
pub use difference::{check_gradients, check_random_gradients};
pub use generate::{Sample, generate};
pub use geometry::{Geometries, check_geometries};
pub use random::{check_random, check_random_mixed, seeds_from_environment};
pub use runner::{Exception, Verdict, check_all, check_share, thinned};
