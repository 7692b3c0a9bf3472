//! Parallel coordinates: a line for each trial over all of its settings.

use crate::axis::{Axis, Scale};
use crate::chart::open;
use crate::style::STYLE;
use crate::text::{at, cut, escape, number};
use std::fmt::Write as _;

const HEIGHT: f64 = 360.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 24.0;
const LEFT: f64 = 70.0;
/// Between two axes.
const STEP: f64 = 130.0;
const RIGHT: f64 = 90.0;
/// More names than this are not all written.
const MOST_NAMES: usize = 12;

/// An axis, with the place of each line on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    name: String,
    /// Places from 0 at the bottom to 1; `None` where a line has none.
    places: Vec<Option<f64>>,
    /// What is written at places.
    labels: Vec<(f64, String)>,
    /// What each line has there, for people.
    said: Vec<String>,
}

impl Coordinate {
    /// Numbers, one for each line, on a scale that may be logarithmic.
    pub fn numbers(name: &str, values: impl IntoIterator<Item = Option<f64>>, log: bool) -> Coordinate {
        let values: Vec<Option<f64>> = values.into_iter().collect();
        let axis = Axis { log, ..Axis::default() };
        let scale: Scale = axis.scale(values.iter().copied().flatten());
        let labels = scale.ticks(5).into_iter().filter_map(|tick| Some((scale.place(tick)?, number(tick))));
        Coordinate {
            name: name.into(),
            labels: labels.collect(),
            places: values.iter().map(|value| scale.place((*value)?)).collect(),
            said: values.iter().map(|value| value.map_or("–".into(), number)).collect(),
        }
    }

    /// Names, one for each line, in the order in which they come first.
    pub fn names<'a>(name: &str, values: impl IntoIterator<Item = Option<&'a str>>) -> Coordinate {
        let values: Vec<Option<&str>> = values.into_iter().collect();
        let mut known: Vec<&str> = Vec::new();
        for value in values.iter().flatten() {
            if !known.contains(value) {
                known.push(value);
            }
        }
        // Numbers in their order, which is that in which people look for them.
        if known.iter().all(|value| value.parse::<f64>().is_ok()) {
            known.sort_by(|a, b| a.parse::<f64>().unwrap_or(0.0).total_cmp(&b.parse().unwrap_or(0.0)));
        }
        let place = |index: usize| (index as f64 + 0.5) / known.len() as f64;
        let step = known.len().div_ceil(MOST_NAMES).max(1);
        let of = |value: &Option<&str>| known.iter().position(|known| Some(*known) == *value).map(place);
        Coordinate {
            name: name.into(),
            places: values.iter().map(of).collect(),
            labels: (0..known.len()).step_by(step).map(|index| (place(index), known[index].into())).collect(),
            said: values.iter().map(|value| value.unwrap_or("–").into()).collect(),
        }
    }
}

/// A line for each trial over parallel axes, the last of which says what came of it: the better, the stronger the line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parallel {
    title: String,
    axes: Vec<Coordinate>,
    /// Whether the last axis says what came of it, and whether high is good there.
    result: Option<bool>,
}

impl Parallel {
    /// Without axes.
    pub fn new(title: &str) -> Parallel {
        Parallel { title: title.into(), ..Parallel::default() }
    }

    /// Adds an axis.
    #[must_use]
    pub fn axis(mut self, axis: Coordinate) -> Parallel {
        self.axes.push(axis);
        self
    }

    /// Adds the axis that says what came of each line.
    #[must_use]
    pub fn result(mut self, axis: Coordinate, high_is_good: bool) -> Parallel {
        self.result = Some(high_is_good);
        self.axis(axis)
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
        let width = LEFT + STEP * self.axes.len().saturating_sub(1) as f64 + RIGHT;
        let mut out = open(width.max(320.0), HEIGHT, &self.title, style);
        let x = |axis: usize| LEFT + STEP * axis as f64;
        let y = |place: f64| HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM);
        let lines = self.axes.iter().map(|axis| axis.places.len()).max().unwrap_or(0);
        // The best is drawn last, over the others.
        let mut order: Vec<(usize, f64)> = (0..lines).map(|line| (line, self.goodness(line))).collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (rank, &(line, good)) in order.iter().enumerate() {
            let points = self.axes.iter().enumerate().filter_map(|(index, axis)| {
                let place = axis.places.get(line).copied().flatten()?;
                Some(format!("{} {}", at(x(index)), at(y(place))))
            });
            let points: Vec<String> = points.collect();
            let said =
                self.axes.iter().filter_map(|axis| Some(format!("{} {}", axis.name, axis.said.get(line)?)));
            let said: Vec<String> = said.collect();
            let is_best = rank + 1 == lines && self.result.is_some();
            let (colour, stroke) = if is_best { ("var(--s1)", 2.6) } else { ("var(--s0)", 1.4) };
            let _ = writeln!(
                out,
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{stroke}\" stroke-opacity=\"{:.2}\">\
                 <title>{}</title></path>",
                points.join("L"),
                if is_best { 1.0 } else { 0.15 + 0.7 * good },
                escape(&said.join(", "))
            );
        }
        for (index, axis) in self.axes.iter().enumerate() {
            // Names of settings are long: every second one stands higher.
            let top = TOP - if index % 2 == 0 { 12.0 } else { 26.0 };
            let _ = writeln!(
                out,
                "<path class=\"frame\" d=\"M{0} {1}V{2}\"/><text class=\"in\" x=\"{0}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>",
                at(x(index)),
                at(TOP),
                at(HEIGHT - BOTTOM),
                at(top),
                escape(&cut(&axis.name, 30))
            );
            for (place, label) in &axis.labels {
                let _ = writeln!(
                    out,
                    "<path class=\"grid\" d=\"M{} {}h-5\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\" \
                     stroke=\"var(--ground)\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                    at(x(index)),
                    at(y(*place)),
                    at(x(index) - 8.0),
                    at(y(*place) + 4.0),
                    escape(&cut(label, 10))
                );
            }
        }
        out + "</svg>\n"
    }

    /// How good a line is, from 0 to 1.
    fn goodness(&self, line: usize) -> f64 {
        let Some(high) = self.result else { return 0.5 };
        match self.axes.last().and_then(|axis| axis.places.get(line).copied().flatten()) {
            Some(place) if high => place,
            Some(place) => 1.0 - place,
            None => 0.0,
        }
    }
}
