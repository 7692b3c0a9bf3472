//! What lies where in a memory, and when.

use crate::axis::{Axis, Scale};
use crate::chart::open;
use crate::style::{COLOURS, STYLE};
use crate::text::{at, escape, number};
use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 46.0;

/// A part of a memory over a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// What is said when somebody points at it.
    pub name: String,
    /// From when to when.
    pub time: (f64, f64),
    /// From where to where.
    pub place: (f64, f64),
}

/// Parts of a memory over time: what fills it, and what takes the place of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    title: String,
    x: String,
    y: String,
    blocks: Vec<Block>,
}

impl Blocks {
    /// With what the axes are.
    pub fn new(title: &str, x: &str, y: &str, blocks: Vec<Block>) -> Blocks {
        Blocks { title: title.into(), x: x.into(), y: y.into(), blocks }
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
        let mut out = open(WIDTH, HEIGHT, &self.title, style);
        let ends = |of: fn(&Block) -> (f64, f64)| {
            self.blocks.iter().flat_map(move |block| <[f64; 2]>::from(of(block)))
        };
        let x: Scale = Axis::default().scale(ends(|block| block.time).chain([0.0]));
        let y: Scale = Axis::default().scale(ends(|block| block.place).chain([0.0]));
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let place_x = |value: f64| Some(LEFT + x.place(value)? * (right - LEFT));
        let place_y = |value: f64| Some(bottom - y.place(value)? * (bottom - TOP));
        for tick in y.ticks(6) {
            let Some(y) = place_y(tick) else { continue };
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{} {}H{}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                at(LEFT),
                at(y),
                at(right),
                at(LEFT - 6.0),
                at(y + 4.0),
                number(tick)
            );
        }
        for tick in x.ticks(8) {
            let Some(x) = place_x(tick) else { continue };
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                at(x),
                at(bottom + 18.0),
                number(tick)
            );
        }
        for (index, block) in self.blocks.iter().enumerate() {
            let sides = [
                place_x(block.time.0),
                place_x(block.time.1),
                place_y(block.place.1),
                place_y(block.place.0),
            ];
            let [Some(left), Some(right), Some(top), Some(bottom)] = sides else { continue };
            let _ = writeln!(
                out,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"var(--s{})\" fill-opacity=\".6\" \
                 stroke=\"var(--ground)\" stroke-width=\".5\"><title>{}</title></rect>",
                at(left),
                at(top),
                at((right - left).max(0.5)),
                at((bottom - top).max(0.5)),
                index % COLOURS,
                escape(&block.name)
            );
        }
        let _ = writeln!(
            out,
            "<path class=\"frame\" d=\"M{} {}V{}H{}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            at(LEFT),
            at(TOP),
            at(bottom),
            at(right),
            at((LEFT + right) / 2.0),
            at(HEIGHT - 8.0),
            escape(&self.x),
            at((TOP + bottom) / 2.0),
            escape(&self.y)
        );
        out + "</svg>\n"
    }
}
