//! The tool from the outside: what it prints, writes, and refuses.

mod common;
mod exchange;
#[cfg(feature = "gpu")]
mod gpu;
mod licences;
mod mistakes;
#[cfg(feature = "png")]
mod png;
mod reports;
mod runs;
mod sweeps;
#[cfg(all(unix, feature = "tui"))]
mod tui;
