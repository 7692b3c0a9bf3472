//! `dropforge pack`

use crate::args::Pack;
use crate::output::{Outcome, line};

pub fn run(args: &Pack) -> Outcome {
    dropforge::run::pack(&args.run, &args.out)?;
    line(format_args!("{} is in {}", args.run.display(), args.out.display()))
}
