//! The tool from the outside: what it prints, writes, and refuses.

mod common;
mod mistakes;
mod runs;
