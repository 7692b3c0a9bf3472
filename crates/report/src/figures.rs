//! The charts of a report, each by its name.

use crate::Parts;
use crate::layers;
use crate::predictions::{Outcomes, Predictions, best};
use dropforge::metric::{average_precision_of, precision_recall_curve, roc_auc, roc_curve};
use dropforge::run::StepPoint;
use dropforge::train::EpochReport;
use dropforge_plot::{Block, Blocks, Chart, LayerBox, Layers, Matrix, Series, Strips, number};

/// What can be drawn, beside the name of any metric that was measured, and `weights:NAME` and `gradients:NAME` for
/// histograms of a parameter.
pub const FIGURES: [&str; 19] = [
    "loss",
    "lr",
    "speed",
    "waiting",
    "confusion",
    "roc",
    "pr",
    "calibration",
    "scatter",
    "residuals",
    "errors",
    "qq",
    "classes",
    "network",
    "kernels",
    "memory",
    "blocks",
    "gradients",
    "updates",
];

/// More curves than this cannot be told apart.
const MOST_CURVES: usize = 8;
/// More points than this make a page slow, and cover each other.
const MOST_POINTS: usize = 3000;

/// A chart or something like it, as SVG.
pub(crate) enum Figure {
    Chart(Chart),
    Matrix(Matrix),
    Layers(Layers),
    Strips(Strips),
    Blocks(Blocks),
}

impl Figure {
    pub fn svg(&self) -> String {
        match self {
            Figure::Chart(chart) => chart.svg(),
            Figure::Matrix(matrix) => matrix.svg(),
            Figure::Layers(layers) => layers.svg(),
            Figure::Strips(strips) => strips.svg(),
            Figure::Blocks(blocks) => blocks.svg(),
        }
    }

    pub fn inline(&self) -> String {
        match self {
            Figure::Chart(chart) => chart.inline(),
            Figure::Matrix(matrix) => matrix.inline(),
            Figure::Layers(layers) => layers.inline(),
            Figure::Strips(strips) => strips.inline(),
            Figure::Blocks(blocks) => blocks.inline(),
        }
    }
}

/// One chart as an SVG file: one of [`FIGURES`], or the name of a metric.
///
/// # Errors
/// What it shows was not measured, or is not known of this run; the message says what there is.
pub fn figure(parts: &Parts, what: &str) -> dropforge::Result<String> {
    if let Some(figure) = draw(parts, what) {
        return Ok(figure.svg());
    }
    if FIGURES.contains(&what) {
        let notes: String =
            parts.notes.iter().map(|note| format!(". {}", note.trim_end_matches('.'))).collect();
        return Err(dropforge::Error::new(format!(
            "{}: there is nothing to draw as {what}: {}{notes}",
            parts.name,
            shows(what)
        )));
    }
    let metrics = metric_names(epochs(parts));
    let known: Vec<&str> = FIGURES.into_iter().chain(metrics.iter().map(String::as_str)).collect();
    Err(dropforge::settings::unknown(&format!("{} has no figure", parts.name), what, "there are", &known))
}

/// What a figure is made of, for runs that have nothing of it.
fn shows(what: &str) -> &'static str {
    match what {
        "confusion" | "roc" | "pr" | "calibration" | "classes" => "it shows predictions of classes",
        "scatter" | "residuals" | "errors" | "qq" => "it shows predictions of numbers",
        "gradients" | "updates" => "it shows what `train --record-layers` has recorded",
        "kernels" | "memory" | "blocks" => {
            "it shows the compiled step, which needs the data and layers of the run"
        }
        "network" => "it shows the table of layers, which the run does not have",
        "waiting" => "it shows what was recorded within epochs, and there is nothing of that",
        _ => "it shows epochs, and none is finished",
    }
}

/// The chart of this name, if there is something to draw.
pub(crate) fn draw(parts: &Parts, what: &str) -> Option<Figure> {
    let predictions = parts.predictions.as_ref();
    let chart = match what {
        "loss" => over_time(parts, "loss", "Loss"),
        "lr" if has_steps(parts) => {
            let points = thinned(&parts.steps.points);
            let rates = points.filter_map(|point| Some((point.step as f64, point.lr?)));
            Chart::new("Learning rate").x("step").whole_x().y("rate").add(Series::line("rate", rates))
        }
        "speed" if has_steps(parts) => {
            let speeds = thinned(&parts.steps.points).map(|point| (point.step as f64, point.samples_per_s));
            let chart = Chart::new("Speed").x("step").whole_x().y("samples per second");
            marked(parts, "speed", chart.add(Series::line("samples per second", speeds)))
        }
        "waiting" => {
            let shares = thinned(&parts.steps.points).map(|point| (point.step as f64, point.waiting));
            Chart::new("Waiting for data")
                .x("step")
                .whole_x()
                .y("part of the time")
                .add(Series::line("waiting", shares))
        }
        "lr" => {
            let rates = epochs(parts).iter().map(|report| (report.epoch as f64, report.lr));
            Chart::new("Learning rate").x("epoch").whole_x().y("rate").add(Series::line("rate", rates))
        }
        "speed" => {
            let speeds = epochs(parts).iter().map(|report| (report.epoch as f64, report.samples_per_s));
            Chart::new("Speed")
                .x("epoch")
                .whole_x()
                .y("samples per second")
                .add(Series::line("samples per second", speeds))
        }
        "confusion" => return confusion(predictions?),
        "roc" => roc(predictions?)?,
        "pr" => precision_recall(predictions?)?,
        "calibration" => calibration(predictions?)?,
        "scatter" => scatter(predictions?)?,
        "residuals" => residuals(predictions?)?,
        "errors" => errors(predictions?)?,
        "qq" => quantiles(predictions?)?,
        "classes" => class_counts(predictions?, &parts.trained_classes)?,
        "memory" => memory(parts),
        "network" => return network(parts),
        "kernels" => kernels(parts),
        "blocks" => return blocks(parts),
        "gradients" => layers::gradients(parts),
        "updates" => layers::updates(parts),
        name if name.contains(':') => return layers::histograms(parts, name).map(Figure::Strips),
        name if metric_names(epochs(parts)).iter().any(|known| known == name) => over_time(parts, name, name),
        _ => return None,
    };
    (!chart.is_empty()).then_some(Figure::Chart(chart))
}

pub(crate) fn epochs(parts: &Parts) -> &[EpochReport] {
    parts.history.as_ref().map_or(&[], |history| &history.epochs)
}

/// The metrics that were measured, without those that are one of many.
pub(crate) fn metric_names(epochs: &[EpochReport]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for report in epochs {
        let validation = report.validation.iter().flat_map(|validation| validation.metrics.shown());
        for value in report.metrics.shown().chain(validation) {
            if !names.contains(&value.name) {
                names.push(value.name.clone());
            }
        }
    }
    names
}

/// Whether something was recorded within epochs.
fn has_steps(parts: &Parts) -> bool {
    !parts.steps.points.is_empty()
}

/// Of very many points some that are spread over all, the last one included.
fn thinned(points: &[StepPoint]) -> impl Iterator<Item = &StepPoint> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    points.iter().rev().step_by(every).collect::<Vec<_>>().into_iter().rev()
}

/// Adds what stood out, if something did.
fn marked(parts: &Parts, figure: &str, chart: Chart) -> Chart {
    let own = parts.steps.marks.iter().filter(|mark| mark.figure == figure);
    let points: Vec<(f64, f64)> = match figure {
        // A mark has steps per second, the chart has samples: it stands where the curve is.
        "speed" => own
            .filter_map(|mark| {
                let at = parts.steps.points.iter().find(|point| point.step >= mark.step)?;
                Some((mark.step as f64, at.samples_per_s))
            })
            .collect(),
        _ => own.map(|mark| (mark.step as f64, mark.value)).collect(),
    };
    if points.is_empty() { chart } else { chart.add(Series::points("stood out", points)) }
}

/// A figure over epochs, or over steps where something was recorded within epochs: the loss always, metrics where they
/// were validated there.
fn over_time(parts: &Parts, name: &str, title: &str) -> Chart {
    let within = parts.steps.validations.iter().any(|validation| !validation.ends_epoch);
    if !(within || name == "loss" && has_steps(parts)) {
        return over_epochs(epochs(parts), name, title);
    }
    let mut chart = Chart::new(title).x("step").whole_x().y(name);
    if name == "loss" && has_steps(parts) {
        let points = thinned(&parts.steps.points).map(|point| (point.step as f64, point.loss));
        chart = marked(parts, "loss", chart.add(Series::line("training, within epochs", points)));
    }
    let of_epochs = |prefix: &str| -> Vec<(f64, f64)> {
        let get = |report: &EpochReport| Some((report.step as f64, report.get(&format!("{prefix}{name}"))?));
        epochs(parts).iter().filter_map(get).collect()
    };
    let mut validation = of_epochs("val_");
    let within = parts.steps.validations.iter().filter(|validation| !validation.ends_epoch);
    validation.extend(within.filter_map(|one| Some((one.step as f64, one.measured.get(name)?))));
    validation.sort_by(|a, b| a.0.total_cmp(&b.0));
    let series = [("training, epoch mean", of_epochs("train_")), ("validation", validation)];
    series
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .fold(chart, |chart, (name, points)| chart.add(Series::line(name, points)))
}

fn over_epochs(epochs: &[EpochReport], name: &str, title: &str) -> Chart {
    let points = |prefix: &str| -> Vec<(f64, f64)> {
        let get = |report: &EpochReport| Some((report.epoch as f64, report.get(&format!("{prefix}{name}"))?));
        epochs.iter().filter_map(get).collect()
    };
    let chart = Chart::new(title).x("epoch").whole_x().y(name);
    [("train_", "training"), ("val_", "validation")].into_iter().fold(chart, |chart, (prefix, series)| {
        let points = points(prefix);
        if points.is_empty() { chart } else { chart.add(Series::line(series, points)) }
    })
}

/// Probabilities and true classes, with the number of classes.
fn classes(predictions: &Predictions) -> Option<(&[f32], &[usize], usize)> {
    match &predictions.outcomes {
        Outcomes::Classes { probabilities, truth } if !truth.is_empty() => {
            Some((probabilities, truth, predictions.classes.len()))
        }
        _ => None,
    }
}

fn confusion(predictions: &Predictions) -> Option<Figure> {
    let (probabilities, truth, classes) = classes(predictions)?;
    let mut counts = vec![0.0; classes * classes];
    for (row, &truth) in probabilities.chunks(classes).zip(truth).filter(|(_, truth)| **truth < classes) {
        counts[truth * classes + best(row).0] += 1.0;
    }
    let matrix =
        Matrix::new("Confusion", &predictions.classes, &counts).axes("true class", "predicted class");
    Some(Figure::Matrix(matrix))
}

/// A class: its name, scores, and which samples are of it.
type OneClass<'a> = (&'a str, Vec<f64>, Vec<bool>);

/// The classes that occur most, in their order; of two the second alone.
fn one_against_others(predictions: &Predictions) -> Option<Vec<OneClass<'_>>> {
    let (probabilities, truth, classes) = classes(predictions)?;
    let mut counts: Vec<(usize, usize)> =
        (0..classes).map(|class| (class, truth.iter().filter(|own| **own == class).count())).collect();
    if classes == 2 {
        counts.remove(0);
    }
    counts.retain(|(_, count)| *count > 0 && *count < truth.len());
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(MOST_CURVES);
    counts.sort_unstable();
    let of = |(class, _): (usize, usize)| {
        let scores = probabilities.iter().skip(class).step_by(classes).map(|&p| f64::from(p)).collect();
        (&*predictions.classes[class], scores, truth.iter().map(|&own| own == class).collect())
    };
    Some(counts.into_iter().map(of).collect())
}

fn roc(predictions: &Predictions) -> Option<Chart> {
    let chart = Chart::new("ROC").x("false positive rate").y("true positive rate");
    let chart = chart.x_range(0.0, 1.0).y_range(0.0, 1.0);
    let chart =
        one_against_others(predictions)?.into_iter().fold(chart, |chart, (name, scores, positive)| {
            let curve = roc_curve(&scores, &positive);
            let points = curve.iter().map(|point| (point.false_positive_rate, point.true_positive_rate));
            chart.add(Series::line(&format!("{name} {:.3}", roc_auc(&scores, &positive)), points))
        });
    (!chart.is_empty()).then(|| chart.add(Series::dashed("chance", [(0.0, 0.0), (1.0, 1.0)])))
}

fn precision_recall(predictions: &Predictions) -> Option<Chart> {
    let chart = Chart::new("Precision over recall").x("recall").y("precision");
    let chart = chart.x_range(0.0, 1.0).y_range(0.0, 1.0);
    Some(one_against_others(predictions)?.into_iter().fold(chart, |chart, (name, scores, positive)| {
        let curve = precision_recall_curve(&scores, &positive);
        let points = curve.iter().map(|point| (point.recall, point.precision));
        chart.add(Series::line(&format!("{name} {:.3}", average_precision_of(&scores, &positive)), points))
    }))
}

fn calibration(predictions: &Predictions) -> Option<Chart> {
    const BINS: usize = 10;
    let (probabilities, truth, classes) = classes(predictions)?;
    let mut bins = [(0.0, 0.0); BINS];
    for (row, &truth) in probabilities.chunks(classes).zip(truth) {
        let (said, confidence) = best(row);
        let bin = &mut bins[((confidence * BINS as f32).ceil() as usize).clamp(1, BINS) - 1];
        *bin = (bin.0 + 1.0, bin.1 + f64::from(said == truth));
    }
    let share = |(index, (all, right)): (usize, &(f64, f64))| {
        (*all > 0.0).then(|| ((index as f64 + 0.5) / BINS as f64, right / all))
    };
    let bars: Vec<(f64, f64)> = bins.iter().enumerate().filter_map(share).collect();
    let chart = Chart::new("Calibration: how often the class that is said is right").x("its probability");
    let chart = chart.y("share that is right").x_range(0.0, 1.0).y_range(0.0, 1.0);
    Some(
        chart
            .add(Series::bars("share that is right", bars))
            .add(Series::dashed("calibrated", [(0.0, 0.0), (1.0, 1.0)])),
    )
}

fn class_counts(predictions: &Predictions, trained: &[u64]) -> Option<Chart> {
    let (_, truth, classes) = classes(predictions)?;
    let mut counts = vec![0.0; classes];
    truth.iter().filter(|class| **class < classes).for_each(|&class| counts[class] += 1.0);
    let bars = counts.iter().enumerate().map(|(class, &count)| (class as f64, count));
    let chart = Chart::new("Samples of each class").y("samples").x_names(predictions.classes.iter().cloned());
    let chart = chart.add(Series::bars("measured", bars));
    if trained.is_empty() {
        return Some(chart);
    }
    let trained = trained.iter().enumerate().map(|(class, &count)| (class as f64, count as f64));
    Some(chart.add(Series::points("trained on", trained)))
}

/// Targets with predictions, at most so many.
fn numbers(predictions: &Predictions) -> Option<Vec<(f64, f64)>> {
    let Outcomes::Numbers { predictions, targets } = &predictions.outcomes else { return None };
    let step = targets.len().div_ceil(MOST_POINTS).max(1);
    let pairs = targets.iter().zip(predictions).step_by(step);
    Some(pairs.map(|(&target, &prediction)| (f64::from(target), f64::from(prediction))).collect())
}

fn scatter(predictions: &Predictions) -> Option<Chart> {
    let points = numbers(predictions)?;
    let targets = || points.iter().map(|point| point.0).filter(|target| target.is_finite());
    let (low, high) = (targets().fold(f64::INFINITY, f64::min), targets().fold(f64::NEG_INFINITY, f64::max));
    let chart = Chart::new("Predictions over targets").x("target").y("prediction");
    let chart = chart.add(Series::points("samples", points.iter().copied()));
    Some(chart.add(Series::dashed("right", [(low, low), (high, high)])))
}

fn residuals(predictions: &Predictions) -> Option<Chart> {
    const BINS: usize = 30;
    let points = numbers(predictions)?;
    let errors: Vec<f64> =
        points.iter().map(|(target, said)| said - target).filter(|e| e.is_finite()).collect();
    let (low, high) =
        errors.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &e| (low.min(e), high.max(e)));
    let width = if high > low { (high - low) / BINS as f64 } else { 1.0 };
    let mut counts = [0.0; BINS];
    errors.iter().for_each(|error| counts[(((error - low) / width) as usize).min(BINS - 1)] += 1.0);
    let bars = counts.iter().enumerate().map(|(bin, &count)| (low + width * (bin as f64 + 0.5), count));
    let chart = Chart::new("What predictions differ from targets").x("prediction minus target").y("samples");
    Some(chart.add(Series::bars("samples", bars.filter(|bar| bar.0.is_finite()))))
}

/// What predictions differ by, over what they are: no pattern should be seen.
fn errors(predictions: &Predictions) -> Option<Chart> {
    let points = numbers(predictions)?;
    let said = || points.iter().map(|point| point.1).filter(|said| said.is_finite());
    let (low, high) = (said().fold(f64::INFINITY, f64::min), said().fold(f64::NEG_INFINITY, f64::max));
    let chart = Chart::new("Residuals over predictions").x("prediction").y("prediction minus target");
    let chart =
        chart.add(Series::points("samples", points.iter().map(|(target, said)| (*said, said - target))));
    Some(chart.add(Series::dashed("right", [(low, 0.0), (high, 0.0)])))
}

/// Quantiles of the residuals over those of a normal distribution with their mean and deviation.
fn quantiles(predictions: &Predictions) -> Option<Chart> {
    let mut errors: Vec<f64> =
        numbers(predictions)?.iter().map(|(target, said)| said - target).filter(|e| e.is_finite()).collect();
    errors.sort_by(f64::total_cmp);
    let count = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / count;
    let deviation = (errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / count).sqrt();
    let place = |index: usize| mean + deviation * normal_quantile((index as f64 + 0.5) / count);
    let points: Vec<(f64, f64)> = errors.iter().enumerate().map(|(index, &e)| (place(index), e)).collect();
    let (&(low, _), &(high, _)) = (points.first()?, points.last()?);
    let chart = Chart::new("Q-Q: residuals against a normal distribution").x("normal quantile").y("residual");
    let chart = chart.add(Series::points("samples", points));
    Some(chart.add(Series::dashed("normal", [(low, low), (high, high)])))
}

/// The number below which a part of a standard normal distribution lies, by halving its integral's ends.
fn normal_quantile(part: f64) -> f64 {
    let (mut low, mut high) = (-8.0f64, 8.0f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_part(middle) < part { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The part of a standard normal distribution below a number: the rational approximation 26.2.17 of Abramowitz and
/// Stegun, which is right to 7.5e-8.
fn normal_part(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let factors = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let sum = factors.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    let tail = sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The kernels that take longest.
fn kernels(parts: &Parts) -> Chart {
    const MOST: usize = 12;
    let timed = parts.kernels.iter().enumerate().filter_map(|(index, kernel)| Some((index, kernel.seconds?)));
    let mut timed: Vec<(usize, f64)> = timed.filter(|(_, seconds)| *seconds > 0.0).collect();
    timed.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all: f64 = timed.iter().map(|(_, seconds)| seconds).sum();
    timed.truncate(MOST);
    let title = format!("Time of the slowest kernels of a step, of {} ms in all", number(all * 1e3));
    let chart = Chart::new(&title).y("ms");
    if timed.is_empty() {
        return chart;
    }
    let name = |(index, _): &(usize, f64)| format!("{index}: {}", parts.kernels[*index].name);
    let bars = timed.iter().enumerate().map(|(place, (_, seconds))| (place as f64, seconds * 1e3));
    let bars = Series::bars("ms", bars);
    chart.x_names(timed.iter().map(name)).x("kernel, by its number in the step").add(bars)
}

fn blocks(parts: &Parts) -> Option<Figure> {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let block = |block: &dropforge::step::MemoryBlock| Block {
        name: format!(
            "{}: {} MiB, kernels {} to {}",
            block.name,
            number(mib(block.bytes)),
            block.first,
            block.last
        ),
        time: (block.first as f64, block.last as f64 + 1.0),
        place: (mib(block.offset), mib(block.offset + block.bytes)),
    };
    let all: Vec<Block> = parts.memory.iter().map(block).collect();
    let title = "Memory plan: where intermediate values lie during a step";
    (!all.is_empty()).then(|| Figure::Blocks(Blocks::new(title, "kernel", "MiB", all)))
}

fn memory(parts: &Parts) -> Chart {
    let last = parts.memory.iter().map(|block| block.last).max().unwrap_or(0);
    let mut used = vec![0.0; last + 1];
    for block in &parts.memory {
        used[block.first..=block.last].iter_mut().for_each(|used| *used += block.bytes as f64);
    }
    let line = used.iter().enumerate().map(|(kernel, &bytes)| (kernel as f64, bytes / f64::from(1 << 20)));
    let top = parts.memory.iter().map(|block| block.offset + block.bytes).max().unwrap_or(0);
    let peak = top as f64 / f64::from(1 << 20);
    let title = format!("Memory of intermediate values over a training step: {} MiB", number(peak));
    let chart = Chart::new(&title).x("kernel").whole_x().y("MiB");
    if parts.memory.is_empty() {
        return chart;
    }
    chart.add(Series::line("in use", line)).add(Series::dashed("taken", [(0.0, peak), (last as f64, peak)]))
}

/// The kernels that compute something of a layer, forward or backward, and their time.
fn behind(parts: &Parts, path: &str) -> String {
    let own: Vec<(usize, &dropforge::step::StepKernel)> = parts
        .kernels
        .iter()
        .enumerate()
        .filter(|(_, kernel)| kernel.layers.iter().any(|own| own == path))
        .collect();
    if own.is_empty() {
        return String::new();
    }
    let seconds: f64 = own.iter().filter_map(|(_, kernel)| kernel.seconds).sum();
    let time = if seconds > 0.0 { format!(", {} ms", number(seconds * 1e3)) } else { String::new() };
    let names: Vec<String> = own.iter().map(|(index, kernel)| format!("{index} {}", kernel.name)).collect();
    format!("; kernels{time}: {}", names.join("; "))
}

fn network(parts: &Parts) -> Option<Figure> {
    let summary = parts.summary.as_ref()?;
    let layer = |row: &dropforge::step::SummaryRow| {
        let output = row.output.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>().join("×");
        LayerBox {
            path: row.path.clone(),
            kind: row.layer.clone(),
            output,
            about: format!("{} parameters{}", number(row.parameters as f64), behind(parts, &row.path)),
            reads: row.reads.clone(),
        }
    };
    Some(Figure::Layers(Layers::new("Network", summary.rows.iter().map(layer).collect())))
}
