//! `dropforge pack`

use crate::args::Pack;
use crate::output::{Outcome, OutputFile};
use dropforge::file::FileKind;

pub fn run(args: &Pack) -> Outcome {
    let out = OutputFile::new(&args.out, FileKind::PackedRun)?;
    dropforge::run::pack(&args.run, &args.out)?;
    out.say(format_args!("{} is in {}", args.run.display(), args.out.display()))
}
