//! A network as boxes, from the input down, layers within layers.

use crate::chart::open;
use crate::style::STYLE;
use crate::text::{at, cut, escape};
use std::fmt::Write as _;

const LINE: f64 = 40.0;
const BOX: f64 = 28.0;
const INDENT: f64 = 18.0;
const WIDTH: f64 = 640.0;

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerBox {
    /// Its path, parts separated by dots.
    pub path: String,
    /// What it is.
    pub kind: String,
    /// What comes out of it, for people.
    pub output: String,
    /// What is said when somebody points at it: parameters, kernels.
    pub about: String,
}

/// A network as boxes, one below the other; a layer in a layer stands further in.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    title: String,
    layers: Vec<LayerBox>,
}

impl Layers {
    /// Layers in the order in which values pass through them.
    pub fn new(title: &str, layers: Vec<LayerBox>) -> Layers {
        Layers { title: title.into(), layers }
    }

    /// The network as a file of its own.
    pub fn svg(&self) -> String {
        self.draw(STYLE)
    }

    /// The network as a part of a page whose rules include [`STYLE`].
    pub fn inline(&self) -> String {
        self.draw("")
    }

    fn draw(&self, style: &str) -> String {
        let height = 44.0 + LINE * self.layers.len() as f64;
        let mut out = open(WIDTH, height, &self.title, style);
        for (index, layer) in self.layers.iter().enumerate() {
            let depth = layer.path.matches('.').count().min(8) as f64;
            let (x, y) = (16.0 + INDENT * depth, 36.0 + LINE * index as f64);
            let width = WIDTH - 32.0 - INDENT * depth;
            if index + 1 < self.layers.len() {
                let _ = writeln!(
                    out,
                    "<path class=\"frame\" d=\"M{} {}v{}\"/>",
                    at(WIDTH / 2.0),
                    at(y + BOX),
                    at(LINE - BOX)
                );
            }
            let _ = writeln!(
                out,
                "<g><title>{}</title><rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\"/>\
                 <text class=\"strong\" x=\"{}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{6}\">{}</text>\
                 <text x=\"{}\" y=\"{6}\" text-anchor=\"end\">{}</text></g>",
                escape(&format!("{}: {}", layer.path, layer.about)),
                at(x),
                at(y),
                at(width),
                at(BOX),
                at(x + 10.0),
                at(y + 18.0),
                escape(&cut(&layer.path, 34)),
                at(x + width * 0.5),
                escape(&cut(&layer.kind, 20)),
                at(x + width - 10.0),
                escape(&cut(&layer.output, 22)),
            );
        }
        out + "</svg>\n"
    }
}
