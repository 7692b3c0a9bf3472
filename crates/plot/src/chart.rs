//! Charts of series over two axes.

use crate::axis::{Axis, Scale};
use crate::style::{COLOURS, STYLE};
use crate::text::{at, cut, escape, number};
use std::fmt::Write as _;

/// Width and height of a chart, and what is left free around the panel.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 46.0;
/// What names that stand aslant take below the panel beside that.
const ASLANT: f64 = 34.0;
/// About the width of a character.
const CHARACTER: f64 = 6.5;
/// More names than this are not written; of neighbours the first is.
const MOST_NAMES: usize = 12;
/// Characters of a name.
const NAME: usize = 12;

/// More points than this are not seen in one line; of neighbours the lowest and the highest are drawn.
const MOST_POINTS: usize = 1200;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Line,
    Dashed,
    Points,
    Bars,
}

/// Numbers over numbers, with a name and a way to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    mark: Mark,
}

impl Series {
    fn new(name: &str, points: impl IntoIterator<Item = (f64, f64)>, mark: Mark) -> Series {
        Series { name: name.into(), points: points.into_iter().collect(), mark }
    }

    /// Colour and dashes of its line: what others are compared with stays in the background.
    fn stroke(&self, colour: usize) -> (String, &'static str) {
        match self.mark {
            Mark::Dashed => ("var(--soft)".into(), " stroke-dasharray=\"4 3\""),
            _ => (format!("var(--s{colour})"), ""),
        }
    }

    /// A line through points in their order; what is no number makes a gap.
    pub fn line(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series::new(name, points, Mark::Line)
    }

    /// A dashed line, for what others are compared with.
    pub fn dashed(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series::new(name, points, Mark::Dashed)
    }

    /// Points.
    pub fn points(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series::new(name, points, Mark::Points)
    }

    /// Bars from 0, as wide as the least distance between them.
    pub fn bars(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series::new(name, points, Mark::Bars)
    }
}

/// Series over two axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    names: Vec<String>,
}

impl Chart {
    /// An empty chart.
    pub fn new(title: &str) -> Chart {
        Chart { title: title.into(), ..Chart::default() }
    }

    /// What the horizontal axis shows.
    #[must_use]
    pub fn x(mut self, label: &str) -> Chart {
        self.x.label = label.into();
        self
    }

    /// What the vertical axis shows.
    #[must_use]
    pub fn y(mut self, label: &str) -> Chart {
        self.y.label = label.into();
        self
    }

    /// The horizontal axis from one number to another, whatever is drawn.
    #[must_use]
    pub fn x_range(mut self, low: f64, high: f64) -> Chart {
        self.x.range = Some((low, high));
        self
    }

    /// The vertical axis from one number to another, whatever is drawn.
    #[must_use]
    pub fn y_range(mut self, low: f64, high: f64) -> Chart {
        self.y.range = Some((low, high));
        self
    }

    /// Writes whole numbers only at the horizontal axis: epochs, steps, kernels.
    #[must_use]
    pub fn whole_x(mut self) -> Chart {
        self.x.whole = true;
        self
    }

    /// Makes the horizontal axis logarithmic.
    #[must_use]
    pub fn log_x(mut self) -> Chart {
        self.x.log = true;
        self
    }

    /// Makes the vertical axis logarithmic.
    #[must_use]
    pub fn log_y(mut self) -> Chart {
        self.y.log = true;
        self
    }

    /// Writes names at 0, 1, 2, .. of the horizontal axis instead of numbers.
    #[must_use]
    pub fn x_names(mut self, names: impl IntoIterator<Item = String>) -> Chart {
        self.names = names.into_iter().collect();
        self
    }

    /// Adds a series; each gets the next colour.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "a series is no chart")]
    pub fn add(mut self, series: Series) -> Chart {
        self.series.push(series);
        self
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
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
        let panel = Panel::new(self);
        panel.axes(self, &mut out);
        for (index, series) in self.series.iter().enumerate() {
            panel.series(series, index % COLOURS, &self.names, &mut out);
        }
        self.legend(&mut out);
        out + "</svg>\n"
    }

    /// The names of the series above the panel, where there are several.
    fn legend(&self, out: &mut String) {
        let named: Vec<_> = self.series.iter().enumerate().filter(|(_, s)| !s.name.is_empty()).collect();
        if named.len() < 2 && named.iter().all(|(_, series)| series.name == self.y.label) {
            return;
        }
        let mut x = LEFT;
        for (count, (index, series)) in named.iter().enumerate() {
            let name = cut(&series.name, 24);
            let width = 26.0 + 7.0 * name.chars().count() as f64;
            if x + width > WIDTH {
                let _ = writeln!(out, "<text x=\"{}\" y=\"40\">+{}</text>", at(x), named.len() - count);
                break;
            }
            let (colour, dash) = series.stroke(index % COLOURS);
            let _ = writeln!(
                out,
                "<path d=\"M{} 36h14\" stroke=\"{colour}\" stroke-width=\"3\"{dash}/><text x=\"{}\" y=\"40\">{}</text>",
                at(x),
                at(x + 18.0),
                escape(&name)
            );
            x += width;
        }
    }
}

/// The first tag, the style and the title.
pub(crate) fn open(width: f64, height: f64, title: &str, style: &str) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" class=\"plot\" role=\"img\">\n<title>{}</title>\n",
        at(width),
        at(height),
        escape(title)
    );
    if !style.is_empty() {
        let _ = writeln!(out, "<style>\n{style}</style>");
        let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"var(--ground)\"/>");
    }
    let _ = writeln!(out, "<text class=\"title\" x=\"12\" y=\"21\">{}</text>", escape(&cut(title, 76)));
    out
}

/// The part of a chart between the axes.
struct Panel {
    x: Scale,
    y: Scale,
    /// Whether names are too long to stand side by side.
    is_aslant: bool,
    /// Where the horizontal axis is.
    bottom: f64,
}

impl Panel {
    fn new(chart: &Chart) -> Panel {
        let points = || chart.series.iter().flat_map(|series| series.points.iter());
        let bars = chart.series.iter().any(|series| series.mark == Mark::Bars);
        // Bars stand on 0, and have half their width at both ends.
        let width = if bars { bar_width(chart) / 2.0 } else { 0.0 };
        let x = points().flat_map(|point| [point.0 - width, point.0 + width]);
        let y = points().map(|point| point.1).chain(bars.then_some(0.0));
        let longest = chart.names.iter().map(|name| name.chars().count().min(NAME)).max().unwrap_or(0);
        let room = (WIDTH - LEFT - RIGHT) / chart.names.len().clamp(1, MOST_NAMES) as f64;
        let is_aslant = CHARACTER * (longest + 1) as f64 > room;
        let bottom = HEIGHT - BOTTOM - if is_aslant { ASLANT } else { 0.0 };
        Panel { x: chart.x.scale(x), y: chart.y.scale(y), is_aslant, bottom }
    }

    fn place_x(&self, x: f64) -> Option<f64> {
        Some(LEFT + self.x.place(x)? * (WIDTH - LEFT - RIGHT))
    }

    fn place_y(&self, y: f64) -> Option<f64> {
        Some(self.bottom - self.y.place(y)? * (self.bottom - TOP))
    }

    /// The place of a point within the panel's height.
    fn place(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let (x, y) = (self.place_x(x)?, self.place_y(y)?);
        (LEFT - 0.5..=WIDTH - RIGHT + 0.5).contains(&x).then(|| (x, y.clamp(TOP - 4.0, self.bottom + 4.0)))
    }

    fn axes(&self, chart: &Chart, out: &mut String) {
        let (bottom, right) = (self.bottom, WIDTH - RIGHT);
        for tick in self.y.ticks(6) {
            let Some(y) = self.place_y(tick) else { continue };
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
        let named = |index: usize| (index as f64, escape(&cut(&chart.names[index], NAME)));
        let labels: Vec<(f64, String)> = if chart.names.is_empty() {
            self.x.ticks(8).into_iter().map(|tick| (tick, number(tick))).collect()
        } else {
            let step = chart.names.len().div_ceil(MOST_NAMES);
            (0..chart.names.len()).step_by(step).map(named).collect()
        };
        for (tick, label) in labels {
            let Some(x) = self.place_x(tick) else { continue };
            let place = match self.is_aslant {
                true => format!(
                    "transform=\"translate({} {}) rotate(-30)\" text-anchor=\"end\"",
                    at(x + 5.0),
                    at(bottom + 15.0)
                ),
                false => format!("x=\"{}\" y=\"{}\" text-anchor=\"middle\"", at(x), at(bottom + 18.0)),
            };
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{} {}V{}\"/><text {place}>{label}</text>",
                at(x),
                at(bottom),
                at(bottom + 5.0)
            );
        }
        let _ = writeln!(
            out,
            "<path class=\"frame\" d=\"M{} {}V{}H{}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            at(LEFT),
            at(TOP),
            at(bottom),
            at(right),
            at((LEFT + right) / 2.0),
            at(HEIGHT - 8.0),
            escape(&cut(&chart.x.label, 60)),
            at((TOP + bottom) / 2.0),
            escape(&cut(&chart.y.label, 40))
        );
    }

    fn series(&self, series: &Series, colour: usize, names: &[String], out: &mut String) {
        let name = escape(&series.name);
        match series.mark {
            Mark::Line | Mark::Dashed => {
                let path = self.path(&thinned(&series.points));
                let (stroke, dash) = series.stroke(colour);
                let _ = writeln!(
                    out,
                    "<path d=\"{path}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"1.8\" \
                     stroke-linejoin=\"round\"{dash}><title>{name}</title></path>"
                );
                // A lone point has no line.
                if let [point] = series.points[..]
                    && let Some((x, y)) = self.place(point)
                {
                    let _ = writeln!(
                        out,
                        "<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"var(--s{colour})\"/>",
                        at(x),
                        at(y)
                    );
                }
            }
            Mark::Points => {
                let _ =
                    writeln!(out, "<g fill=\"var(--s{colour})\" fill-opacity=\".55\"><title>{name}</title>");
                for (x, y) in series.points.iter().filter_map(|point| self.place(*point)) {
                    let _ = writeln!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"2.4\"/>", at(x), at(y));
                }
                *out += "</g>\n";
            }
            Mark::Bars => {
                let step = distance(&series.points);
                let _ =
                    writeln!(out, "<g fill=\"var(--s{colour})\" fill-opacity=\".75\"><title>{name}</title>");
                for &(x, y) in &series.points {
                    let ends = [x - step * 0.45, x + step * 0.45].map(|x| self.place_x(x));
                    let ([Some(left), Some(right)], Some((_, top))) = (ends, self.place((x, y))) else {
                        continue;
                    };
                    let bottom = self.place_y(0.0).unwrap_or(self.bottom).min(self.bottom);
                    let (high, low) = (top.min(bottom), top.max(bottom));
                    // A bar that has a name says all of it, and how high it is.
                    let said = names.get(x.round().max(0.0) as usize).map(|bar| {
                        format!("<title>{}: {} {}</title>", escape(bar), number(y), escape(&series.name))
                    });
                    let end = said.map_or("/>".into(), |title| format!(">{title}</rect>"));
                    let _ = writeln!(
                        out,
                        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{end}",
                        at(left),
                        at(high),
                        at(right - left),
                        at(low - high)
                    );
                }
                *out += "</g>\n";
            }
        }
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut gap = true;
        for point in points {
            match self.place(*point) {
                Some((x, y)) => {
                    let _ = write!(path, "{}{} {}", if gap { 'M' } else { 'L' }, at(x), at(y));
                    gap = false;
                }
                None => gap = true,
            }
        }
        path
    }
}

/// The least distance between neighbours.
fn distance(points: &[(f64, f64)]) -> f64 {
    let mut places: Vec<f64> = points.iter().map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    let least =
        places.windows(2).map(|pair| pair[1] - pair[0]).filter(|d| *d > 0.0).fold(f64::INFINITY, f64::min);
    if least.is_finite() { least } else { 1.0 }
}

fn bar_width(chart: &Chart) -> f64 {
    let bars = chart.series.iter().filter(|series| series.mark == Mark::Bars);
    bars.map(|series| distance(&series.points)).fold(0.0, f64::max)
}

/// Of very many points the lowest and the highest of neighbours.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let size = points.len().div_ceil(MOST_POINTS / 2);
    let ends = |part: &[(f64, f64)]| {
        let by = |a: &usize, b: &usize| part[*a].1.total_cmp(&part[*b].1);
        let (low, high) = ((0..part.len()).min_by(by), (0..part.len()).max_by(by));
        let mut kept: Vec<usize> = low.into_iter().chain(high).collect();
        kept.sort_unstable();
        kept.dedup();
        kept.into_iter().map(|index| part[index]).collect::<Vec<_>>()
    };
    points.chunks(size).flat_map(ends).collect()
}
