//! The dropforge command-line tool.
fn main() {}
