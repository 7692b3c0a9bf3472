//! Charts as SVG text: lines, points, bars and matrices, readable in light, in dark and on paper.
//!
//! A chart is data and labels; it draws itself with `svg()` as a file of its own, or with `inline()` as a part of a
//! page that has [`STYLE`] among its rules. Nothing refers to anything outside, and the same chart gives the same text.
//!
//! ```
//! use dropforge_plot::{Chart, Series};
//!
//! let loss = [(1.0, 2.3), (2.0, 0.9), (3.0, 0.4)];
//! let chart = Chart::new("Loss").x("epoch").y("loss").add(Series::line("train", loss));
//! assert!(chart.svg().starts_with("<svg "));
//! ```

mod axis;
mod blocks;
mod chart;
mod layers;
mod matrix;
mod parallel;
mod strips;
mod style;
mod text;

pub use axis::Axis;
pub use blocks::{Block, Blocks};
pub use chart::{Chart, Series};
pub use layers::{LayerBox, Layers};
pub use matrix::Matrix;
pub use parallel::{Coordinate, Parallel};
pub use strips::{Strip, Strips};
pub use style::STYLE;
pub use text::{escape, number};
