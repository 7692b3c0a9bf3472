//! The page.

use crate::Parts;
use crate::figures::{draw, epochs, metric_names};
use crate::layers;
use crate::picture;
use crate::predictions::Remade;
use dropforge::run::StepMark;
use dropforge::train::EpochReport;
use dropforge_plot::{STYLE, escape, number};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How the page looks; charts bring their own rules.
const PAGE: &str = "\
*{box-sizing:border-box}
body{margin:0 auto;max-width:1400px;padding:24px;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:36px 0 12px}
p{color:var(--soft);margin:4px 0 12px}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:10px 16px;min-width:120px}
.tile b{display:block;font-size:20px}.tile span{color:var(--soft);font-size:13px}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:20px;align-items:start}
figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:8px;overflow-x:auto;break-inside:avoid}
figure svg{display:block;width:100%;height:auto}
.small{grid-template-columns:repeat(auto-fill,minmax(min(250px,100%),1fr));gap:12px}
.mistakes{display:flex;flex-wrap:wrap;gap:14px}.mistakes div{font-size:12px;color:var(--soft);width:112px}
.mistakes img{width:112px;height:112px;object-fit:contain;image-rendering:pixelated;background:#000;display:block}
.mistakes .row{width:auto}.row img{display:inline-block;margin-right:4px}.row p{margin:0}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:500}
.wide{overflow-x:auto}
pre{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px;overflow-x:auto;font-size:12px}
summary{cursor:pointer;color:var(--soft)}
.zoom figure{max-width:680px;max-height:900px;overflow:auto}.zoom:has(:checked) figure{max-width:none;max-height:none}
.zoom:has(:checked) svg{width:1600px}
@media print{body{max-width:none;padding:0}pre{white-space:pre-wrap}h2,h3{break-after:avoid}tr,.mistakes div{break-inside:avoid}
thead{display:table-header-group}details::details-content{content-visibility:visible;display:block;block-size:auto}
summary{display:none}.zoom label{display:none}}
";

/// A table of so many layers is open from the start, and so on paper.
const SHORT_TABLE: usize = 30;

/// A report as one HTML file, which loads nothing: readable in light and in dark, as the system has it, and on paper.
pub fn page(parts: &Parts) -> String {
    let name = escape(&parts.name);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"generator\" content=\"dropforge\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{name}</title>\n<style>\n{STYLE}{PAGE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
    );
    if let Some(config) =
        parts.config.as_ref().and_then(|text| text.parse::<dropforge::settings::Table>().ok())
    {
        let of = |key: &str| config.get(key).map(|value| value.as_str().map_or_else(|| short(value), escape));
        let said = [of("model"), of("data"), of("optimizer")].into_iter().flatten().collect::<Vec<_>>();
        let _ = writeln!(out, "<p>{}</p>", said.join(" · "));
    }
    tiles(parts, &mut out);
    for note in &parts.notes {
        let _ = writeln!(out, "<p>{}</p>", escape(note));
    }
    let metrics = metric_names(epochs(parts));
    let curves =
        ["loss"].into_iter().chain(metrics.iter().map(String::as_str)).chain(["lr", "speed", "waiting"]);
    figures(parts, "Training and validation", curves, &mut out);
    marks(parts, &mut out);
    let measured =
        ["confusion", "roc", "pr", "calibration", "scatter", "residuals", "errors", "qq", "classes"];
    figures(parts, "Predictions for samples that were not trained on", measured, &mut out);
    mistakes(parts, &mut out);
    pictures(parts, &mut out);
    figures(parts, "Layers while they were trained", ["gradients", "updates"], &mut out);
    let recorded = layers::names(parts);
    let title = "Histograms of weights and gradients over time: the darker, the more";
    small_figures(parts, title, recorded.iter().map(String::as_str), &mut out);
    network(parts, &mut out);
    figures(parts, "Time and memory of a step", ["kernels", "memory", "blocks"], &mut out);
    table_of_epochs(epochs(parts), &mut out);
    sources(parts, &mut out);
    out + "</body>\n</html>\n"
}

/// A setting in a line: the name of what it is, where it has one.
fn short(value: &dropforge::settings::Value) -> String {
    match value.get("type").and_then(|name| name.as_str()) {
        Some(name) => escape(name),
        None => escape(&value.to_string().chars().take(60).collect::<String>()),
    }
}

fn tiles(parts: &Parts, out: &mut String) {
    let mut all: Vec<(String, String)> = Vec::new();
    if let Some(last) = epochs(parts).last() {
        let validation = last.validation.as_ref();
        let (values, loss) = validation.map_or((&last.metrics, last.loss), |v| (&v.metrics, v.loss));
        let of = if validation.is_some() { "validation" } else { "training" };
        for value in values.shown() {
            let figure = value.to_string();
            all.push((figure[value.name.len()..].trim().into(), format!("{of} {}", value.name)));
        }
        all.push((number(loss), format!("{of} loss")));
        all.push((number(last.epoch as f64), "epochs".into()));
        all.push((number(last.step as f64), "steps".into()));
        let seconds =
            epochs(parts).iter().map(|report| report.seconds).fold(0.0, |sum, seconds| sum + seconds);
        all.push((format!("{} s", number(seconds)), "time of training".into()));
    }
    if let Some(summary) = &parts.summary {
        all.push((number(summary.parameters as f64), "parameters".into()));
    }
    *out += "<div class=\"tiles\">\n";
    for (figure, of) in all {
        let (figure, of) = (escape(&figure), escape(&of));
        let _ = writeln!(out, "<div class=\"tile\"><b>{figure}</b><span>{of}</span></div>");
    }
    *out += "</div>\n";
}

/// A headed part with those of these figures that can be drawn.
fn figures<'a>(parts: &Parts, title: &str, names: impl IntoIterator<Item = &'a str>, out: &mut String) {
    grid(parts, title, "grid", names, out);
}

/// As [`figures`], for small ones.
fn small_figures<'a>(parts: &Parts, title: &str, names: impl IntoIterator<Item = &'a str>, out: &mut String) {
    grid(parts, title, "grid small", names, out);
}

fn grid<'a>(
    parts: &Parts,
    title: &str,
    class: &str,
    names: impl IntoIterator<Item = &'a str>,
    out: &mut String,
) {
    let drawn: Vec<String> =
        names.into_iter().filter_map(|name| draw(parts, name)).map(|figure| figure.inline()).collect();
    if drawn.is_empty() {
        return;
    }
    let _ = writeln!(out, "<h2>{}</h2>\n<div class=\"{class}\">", escape(title));
    for svg in drawn {
        let _ = writeln!(out, "<figure>\n{svg}</figure>");
    }
    *out += "</div>\n";
}

/// The network, which can be made larger: a box that is checked, no script.
fn network(parts: &Parts, out: &mut String) {
    let Some(figure) = draw(parts, "network") else { return };
    let _ = writeln!(
        out,
        "<h2>Network</h2>\n<p>Point at a layer for its parameters and the kernels behind it.</p>\n<div class=\"zoom\">\
         <label><input type=\"checkbox\"> larger</label>\n<figure>\n{}</figure>\n</div>",
        figure.inline()
    );
    let Some(summary) = &parts.summary else { return };
    let open = if summary.rows.len() <= SHORT_TABLE { " open" } else { "" };
    let _ = writeln!(
        out,
        "<details{open}><summary>as a table</summary>\n<div class=\"wide\"><table>\n\
         <tr><th>layer</th><th>kind</th><th>output</th><th>parameters</th></tr>"
    );
    for row in &summary.rows {
        let output = row.output.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>().join("×");
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{output}</td><td>{}</td></tr>",
            escape(&row.path),
            escape(&row.layer),
            row.parameters
        );
    }
    let _ = writeln!(
        out,
        "<tr><td>total</td><td></td><td></td><td>{}</td></tr>\n</table></div></details>",
        summary.parameters
    );
}

fn mistakes(parts: &Parts, out: &mut String) {
    let Some(predictions) = parts.predictions.as_ref().filter(|predictions| !predictions.worst.is_empty())
    else {
        return;
    };
    *out += "<h2>The worst mistakes</h2>\n<div class=\"mistakes\">\n";
    let name =
        |class: usize| predictions.classes.get(class).map_or_else(|| class.to_string(), |name| escape(name));
    for mistake in &predictions.worst {
        let Some(address) = picture::address(mistake.shape, &mistake.pixels) else { continue };
        let (truth, said) = (name(mistake.truth), name(mistake.said));
        let _ = writeln!(
            out,
            "<div><img alt=\"{truth}, taken for {said}\" src=\"{address}\">{truth}, taken for {said} ({:.0}\u{a0}%)</div>",
            mistake.probability * 100.0
        );
    }
    *out += "</div>\n";
}

/// What became of pictures.
fn pictures(parts: &Parts, out: &mut String) {
    let pictures = parts.predictions.iter().flat_map(|predictions| &predictions.pictures);
    let pictures: Vec<&Remade> = pictures.collect();
    let Some(first) = pictures.first() else { return };
    let right = if first.target.is_some() { ", and what that should be" } else { "" };
    let _ = writeln!(
        out,
        "<h2>Inputs, what the network makes of them{right}, the worst first</h2>\n<div class=\"mistakes\">"
    );
    for picture in pictures {
        let all = [("input", Some(&picture.input)), ("output", Some(&picture.output))];
        let all = all.into_iter().chain([("target", picture.target.as_ref())]);
        *out += "<div class=\"row\">";
        for (what, pixels) in all {
            let address = pixels.and_then(|pixels| picture::address(picture.shape, pixels));
            if let Some(address) = address {
                let _ = write!(out, "<img alt=\"{what}\" src=\"{address}\">");
            }
        }
        let _ = writeln!(out, "<p>mean squared difference {}</p></div>", number(picture.difference));
    }
    *out += "</div>\n";
}

/// What stood out while training, by figure and epoch.
fn marks(parts: &Parts, out: &mut String) {
    const MOST: usize = 50;
    let mut lines: BTreeMap<(u64, &str), (&StepMark, u64)> = BTreeMap::new();
    for mark in &parts.steps.marks {
        let line = lines.entry((mark.epoch, &mark.figure)).or_insert((mark, 0));
        line.1 = line.1.max(mark.count);
    }
    if lines.is_empty() {
        return;
    }
    *out += "<h2>What stood out</h2>\n<div class=\"wide\"><table>\n\
             <tr><th>epoch</th><th>step</th><th>times</th><th>what, the first time</th></tr>\n";
    for (mark, times) in lines.values().take(MOST) {
        let (epoch, step, text) = (mark.epoch, mark.step, escape(&mark.text));
        let _ = writeln!(out, "<tr><td>{epoch}</td><td>{step}</td><td>{times}</td><td>{text}</td></tr>");
    }
    *out += "</table></div>\n";
    if lines.len() > MOST {
        let _ = writeln!(out, "<p>and {} more</p>", lines.len() - MOST);
    }
}

fn table_of_epochs(epochs: &[EpochReport], out: &mut String) {
    if epochs.is_empty() {
        return;
    }
    let mut names = vec!["train_loss".to_string(), "val_loss".into()];
    for metric in metric_names(epochs) {
        names.extend([format!("train_{metric}"), format!("val_{metric}")]);
    }
    names.push("lr".into());
    names.retain(|name| epochs.iter().any(|report| report.get(name).is_some()));
    *out += "<h2>Epochs</h2>\n<div class=\"wide\"><table>\n<tr><th>epoch</th>";
    names.iter().for_each(|name| *out += &format!("<th>{}</th>", escape(name)));
    *out += "<th>seconds</th></tr>\n";
    for report in epochs {
        let _ = write!(out, "<tr><td>{}</td>", report.epoch);
        for name in &names {
            let _ = write!(out, "<td>{}</td>", report.get(name).map(number).unwrap_or_default());
        }
        let _ = writeln!(out, "<td>{}</td></tr>", number(report.seconds));
    }
    *out += "</table></div>\n";
}

/// What it came from: the command, the environment, the settings, the kernels.
fn sources(parts: &Parts, out: &mut String) {
    if let Some(environment) = &parts.environment {
        *out += "<h2>Where it was made</h2>\n<table>\n";
        let commit = environment.commit.as_ref().map(ToString::to_string).unwrap_or_default();
        let threads = environment.threads().map(|threads| threads.to_string()).unwrap_or_default();
        let memory = environment.memory.map(|bytes| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64));
        let (memory, date) = (memory.unwrap_or_default(), environment.saved_on());
        let rows = [
            ("saved", &date),
            ("dropforge", &environment.library),
            ("commit", &commit),
            ("device", &environment.device),
            ("system", &environment.system),
            ("processor", &environment.processor),
            ("threads", &threads),
            ("memory", &memory),
        ];
        for (of, said) in rows.into_iter().filter(|(_, said)| !said.is_empty()) {
            let _ = writeln!(out, "<tr><td>{of}</td><td>{}</td></tr>", escape(said));
        }
        *out += "</table>\n";
        if !environment.command.is_empty() {
            let words: Vec<String> = environment.command.iter().map(|word| quoted(word)).collect();
            let _ = writeln!(out, "<h2>The command</h2>\n<pre>{}</pre>", escape(&words.join(" ")));
        }
    }
    let hidden = [
        ("Settings", &parts.config),
        ("Profile: time of each kernel", &parts.profile),
        ("Kernels of the training step", &parts.listing),
    ];
    for (title, text) in hidden {
        if let Some(text) = text {
            let _ = writeln!(
                out,
                "<h2>{title}</h2>\n<details><summary>show</summary><pre>{}</pre></details>",
                escape(text)
            );
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
