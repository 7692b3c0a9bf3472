//! A network as boxes, from the input down, layers within layers. Lines beside them lead around the layers between.

use crate::chart::open;
use crate::style::STYLE;
use crate::text::{at, cut, escape};
use std::fmt::Write as _;

const LINE: f64 = 40.0;
const BOX: f64 = 28.0;
const INDENT: f64 = 18.0;
const WIDTH: f64 = 640.0;
/// Distance of lines that lead around layers, and how many may stand side by side.
const LANE: f64 = 9.0;
const MOST_LANES: usize = 14;

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
    /// Numbers of the layers that it reads; none if it reads the input. Those behind it are not looked at.
    pub reads: Vec<usize>,
}

/// A network as boxes, one below the other; a layer in a layer stands further in.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    title: String,
    layers: Vec<LayerBox>,
}

impl Layers {
    /// Layers in the order in which values pass through them. If none says what it reads, each reads the one before.
    pub fn new(title: &str, mut layers: Vec<LayerBox>) -> Layers {
        if layers.iter().all(|layer| layer.reads.is_empty()) {
            layers.iter_mut().enumerate().skip(1).for_each(|(index, layer)| layer.reads = vec![index - 1]);
        }
        Layers { title: title.into(), layers }
    }

    /// Lines that lead around layers: where from, where to, and the lane. A line from nowhere comes from the input.
    fn around(&self) -> Vec<(Option<usize>, usize, usize)> {
        let mut lines = Vec::new();
        for (to, layer) in self.layers.iter().enumerate().skip(1) {
            match layer.reads.is_empty() {
                true => lines.push((None, to)),
                false => {
                    let far = layer.reads.iter().filter(|&&from| from + 1 < to);
                    lines.extend(far.map(|&from| (Some(from), to)));
                }
            }
        }
        // Short ones inside, so that few cross.
        lines.sort_by_key(|&(from, to)| (to - from.unwrap_or(0), to));
        let mut lanes: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut placed = Vec::new();
        for (from, to) in lines {
            let start = from.unwrap_or(0);
            let is_free = |taken: &Vec<(usize, usize)>| taken.iter().all(|&(a, b)| to <= a || b <= start);
            let lane = match lanes.iter().position(is_free) {
                Some(lane) => lane,
                None if lanes.len() < MOST_LANES => {
                    lanes.push(Vec::new());
                    lanes.len() - 1
                }
                None => MOST_LANES - 1,
            };
            lanes[lane].push((start, to));
            placed.push((from, to, lane));
        }
        placed
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
        let around = self.around();
        let lanes = around.iter().map(|&(.., lane)| lane + 1).max().unwrap_or(0);
        let right = WIDTH - 16.0 - if lanes > 0 { LANE * lanes as f64 + 3.0 } else { 0.0 };
        let mut out = open(WIDTH, height, &self.title, style);
        for (index, layer) in self.layers.iter().enumerate() {
            let depth = layer.path.matches('.').count().min(8) as f64;
            let (x, y) = (16.0 + INDENT * depth, 36.0 + LINE * index as f64);
            let width = right - 16.0 - INDENT * depth;
            if self.layers.get(index + 1).is_some_and(|next| next.reads.contains(&index)) {
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
        for (from, to, lane) in around {
            let start = from.map_or(30.0, |from| 36.0 + LINE * from as f64 + BOX - 8.0);
            let end = 36.0 + LINE * to as f64 + 8.0;
            let _ = writeln!(
                out,
                "<path class=\"frame\" d=\"M{} {}H{}V{}H{}m5 -4l-5 4l5 4\"/>",
                at(right),
                at(start),
                at(right + 8.0 + LANE * lane as f64),
                at(end),
                at(right),
            );
        }
        out + "</svg>\n"
    }
}
