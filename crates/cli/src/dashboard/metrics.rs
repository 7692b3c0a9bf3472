//! The figures of runs as Prometheus reads them.

use crate::runs::Listed;
use std::fmt::Write as _;

/// The text format of Prometheus, version 0.0.4.
pub fn text(runs: &[Listed]) -> String {
    let mut out = String::from(
        "# HELP dropforge_training Whether a run is being trained.\n# TYPE dropforge_training gauge\n",
    );
    for run in runs {
        let _ =
            writeln!(out, "dropforge_training{{run=\"{}\"}} {}", label(&run.name), u8::from(run.training));
    }
    for (name, help, of) in [
        ("epochs", "Finished epochs.", "epochs"),
        ("steps", "Steps that have been made.", "steps"),
        ("saved_seconds", "When it was saved last, since 1970.", "saved"),
    ] {
        let _ = writeln!(out, "# HELP dropforge_{name} {help}\n# TYPE dropforge_{name} gauge");
        for (run, value) in runs.iter().filter_map(|run| Some((run, run.figure(of)?))) {
            let _ = writeln!(out, "dropforge_{name}{{run=\"{}\"}} {value}", label(&run.name));
        }
    }
    out += "# HELP dropforge_step_loss Loss of the last steps.\n# TYPE dropforge_step_loss gauge\n";
    for (run, point) in runs.iter().filter_map(|run| Some((run, run.records.points.last()?))) {
        let _ = writeln!(out, "dropforge_step_loss{{run=\"{}\"}} {}", label(&run.name), point.loss);
    }
    out += "# HELP dropforge_figure A figure of the last finished epoch.\n# TYPE dropforge_figure gauge\n";
    for run in runs {
        let Some(last) = run.epochs.last() else { continue };
        for (name, value) in
            last.names().into_iter().filter_map(|name| Some((name.clone(), last.get(&name)?)))
        {
            let value = if value.is_nan() { "NaN".to_string() } else { value.to_string() };
            let (run, name) = (label(&run.name), label(&name));
            let _ = writeln!(out, "dropforge_figure{{run=\"{run}\",name=\"{name}\"}} {value}");
        }
    }
    out
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn labels_are_quoted() {
        assert_eq!(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
