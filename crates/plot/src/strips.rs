//! Histograms over time: a strip for each moment, darker where there is more.

use crate::axis::{Axis, Scale};
use crate::chart::open;
use crate::style::STYLE;
use crate::text::{at, cut, escape, number};
use std::fmt::Write as _;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 36.0;
/// More strips than this are not seen; of neighbours the first is drawn.
const MOST_STRIPS: usize = 60;

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    /// The moment.
    pub x: f64,
    /// The least number.
    pub low: f64,
    /// The largest number.
    pub high: f64,
    /// How many numbers lie in each of equal parts from `low` to `high`.
    pub counts: Vec<u64>,
}

/// Histograms of the same numbers over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Strips {
    title: String,
    x: String,
    strips: Vec<Strip>,
}

impl Strips {
    /// Histograms in the order of their moments; `x` is what those are.
    pub fn new(title: &str, x: &str, strips: Vec<Strip>) -> Strips {
        Strips { title: title.into(), x: x.into(), strips }
    }

    /// The chart as a file of its own.
    pub fn svg(&self) -> String {
        self.draw(STYLE)
    }

    /// The chart as a part of a page whose rules include [`STYLE`].
    pub fn inline(&self) -> String {
        self.draw("")
    }

    fn draw(&self, style: &str) -> String {
        let mut out = open(WIDTH, HEIGHT, &cut(&self.title, 40), style);
        let each = self.strips.len().div_ceil(MOST_STRIPS).max(1);
        let strips: Vec<&Strip> =
            self.strips.iter().step_by(each).filter(|strip| !strip.counts.is_empty()).collect();
        let y: Scale = Axis::default().scale(strips.iter().flat_map(|strip| [strip.low, strip.high]));
        let place = |value: f64| Some(HEIGHT - BOTTOM - y.place(value)? * (HEIGHT - TOP - BOTTOM));
        for tick in y.ticks(4) {
            let Some(y) = place(tick) else { continue };
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{} {}H{}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                at(LEFT),
                at(y),
                at(WIDTH - RIGHT),
                at(LEFT - 5.0),
                at(y + 4.0),
                number(tick)
            );
        }
        let width = (WIDTH - LEFT - RIGHT) / strips.len().max(1) as f64;
        for (index, strip) in strips.iter().enumerate() {
            let x = LEFT + width * index as f64;
            let most = strip.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
            let part = (strip.high - strip.low) / strip.counts.len() as f64;
            let _ = writeln!(
                out,
                "<g shape-rendering=\"crispEdges\"><title>{} {}: {} to {}</title>",
                escape(&self.x),
                number(strip.x),
                number(strip.low),
                number(strip.high)
            );
            for (bin, &count) in strip.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let ends = [strip.low + part * bin as f64, strip.low + part * (bin + 1) as f64].map(place);
                let [Some(bottom), Some(top)] = ends else { continue };
                // Roots, so that what is rare is seen.
                let _ = writeln!(
                    out,
                    "<rect class=\"cell\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill-opacity=\"{:.2}\"/>",
                    at(x),
                    at(top),
                    at((width - 0.5).max(0.5)),
                    at((bottom - top).max(1.0)),
                    (count as f64 / most).sqrt()
                );
            }
            out += "</g>\n";
        }
        // As many moments are written as there is room for.
        let written = strips.len().div_ceil(5).max(1);
        for (index, strip) in strips.iter().enumerate().step_by(written) {
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                at(LEFT + width * (index as f64 + 0.5)),
                at(HEIGHT - BOTTOM + 14.0),
                number(strip.x)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            at((LEFT + WIDTH - RIGHT) / 2.0),
            at(HEIGHT - 6.0),
            escape(&self.x)
        );
        out + "</svg>\n"
    }
}
