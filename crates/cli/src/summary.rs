//! `dropforge summary`

use crate::args::Summary;
use crate::output::{Outcome, count, line, shape};
use crate::shapes;
use dropforge::run::ModelSpec;
use dropforge::step::NetworkBuilder;
use serde_json::json;

/// Bytes of an f32.
const FLOAT: usize = 4;

pub fn run(args: &Summary) -> Outcome {
    let model = ModelSpec::parse(&args.model.model)?;
    let input = match &args.model.input {
        Some(text) => shapes::parse(text)?,
        None => model.usual_input(),
    };
    let net = model.build(args.model.classes)?;
    let summary = NetworkBuilder::new(net).summary(input.as_slice())?;
    if args.json {
        let layers: Vec<_> = summary
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.path, "layer": row.layer, "output": row.output.to_vec()[1..],
                    "parameters": row.parameters, "bytes": row.parameters * FLOAT,
                })
            })
            .collect();
        return line(json!({
            "model": model.name(), "input": input, "layers": layers, "parameters": summary.parameters,
            "bytes": summary.bytes,
        }));
    }
    let mut lines = vec![["layer", "kind", "output", "parameters", "bytes"].map(String::from)];
    lines.push(["".into(), "input".into(), shape(&input), "".into(), "".into()]);
    for row in &summary.rows {
        let [parameters, bytes] = match row.parameters {
            0 => ["–", "–"].map(String::from),
            n => [n, n * FLOAT].map(|n| count(n as u64)),
        };
        let output = shape(row.output.get(1..).unwrap_or_default());
        lines.push([row.path.clone(), row.layer.clone(), output, parameters, bytes]);
    }
    let [parameters, bytes] = [summary.parameters, summary.bytes].map(|n| count(n as u64));
    lines.push(["".into(), "total".into(), "".into(), parameters, bytes]);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
    for [path, kind, output, parameters, bytes] in &lines {
        let text = format!("{path:a$}  {kind:b$}  {output:c$}  {parameters:>d$}  {bytes:>e$}");
        line(text.trim_end())?;
    }
    Ok(())
}
