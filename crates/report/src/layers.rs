//! Charts of what was recorded of the layers while they were trained.

use crate::Parts;
use dropforge::run::{LayerRecord, Spread};
use dropforge_plot::{Chart, Series, Strip, Strips};

/// More curves than this cannot be told apart.
const MOST_CURVES: usize = 8;
/// More parameters than this make a page long.
const MOST_PARAMETERS: usize = 12;

/// The recorded parameters in their order; of very many those that are spread over all.
pub fn parameters(parts: &Parts, most: usize) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for record in &parts.layers {
        if !names.contains(&&*record.name) {
            names.push(&record.name);
        }
    }
    // Biases and scales come after what they belong to.
    let weights: Vec<&str> = names.iter().copied().filter(|name| name.ends_with("weight")).collect();
    let names = if names.len() > most && !weights.is_empty() { weights } else { names };
    (0..names.len().min(most)).map(|index| names[index * names.len() / names.len().min(most)]).collect()
}

/// A number of each parameter over the steps.
fn over_steps(parts: &Parts, title: &str, y: &str, of: impl Fn(&LayerRecord) -> Option<f64>) -> Chart {
    let chart = Chart::new(title).x("step").y(y).log_y();
    parameters(parts, MOST_CURVES).into_iter().fold(chart, |chart, name| {
        let own = parts.layers.iter().filter(|record| record.name == name);
        let points: Vec<(f64, f64)> = own
            .filter_map(|record| Some((record.step as f64, of(record)?)))
            .filter(|point| point.1 > 0.0)
            .collect();
        if points.is_empty() { chart } else { chart.add(Series::line(name, points)) }
    })
}

/// Norms of the gradients.
pub fn gradients(parts: &Parts) -> Chart {
    over_steps(parts, "Norm of the gradients of each layer", "norm", |record| {
        Some(record.gradients.as_ref()?.norm)
    })
}

/// How far steps moved, beside how large the weights are.
pub fn updates(parts: &Parts) -> Chart {
    over_steps(parts, "What a step changes, as a part of the weights", "update / weights", |record| {
        Some(record.update_norm? / record.weights.norm).filter(|part| part.is_finite())
    })
}

/// Histograms of a parameter or its gradients over time, by `weights:NAME` and `gradients:NAME`.
pub fn histograms(parts: &Parts, what: &str) -> Option<Strips> {
    let (of, name) = what.split_once(':')?;
    let spread = |record: &LayerRecord| -> Option<Spread> {
        match of {
            "weights" => Some(record.weights.clone()),
            "gradients" => record.gradients.clone(),
            _ => None,
        }
    };
    let own = parts.layers.iter().filter(|record| record.name == name);
    let strip = |record: &LayerRecord| {
        let Spread { low, high, counts, .. } = spread(record)?;
        Some(Strip { x: record.step as f64, low, high, counts })
    };
    let strips: Vec<Strip> = own.filter_map(strip).collect();
    (!strips.is_empty()).then(|| Strips::new(&format!("{name}: {of}"), "step", strips))
}

/// The names of all histograms that a page shows.
pub fn names(parts: &Parts) -> Vec<String> {
    let both = |name: &str| ["weights", "gradients"].map(|of| format!("{of}:{name}"));
    parameters(parts, MOST_PARAMETERS).into_iter().flat_map(both).collect()
}
