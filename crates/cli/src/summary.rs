//! `dropforge summary`

use crate::args::{CLASSES, ModelArgs, Summary};
use crate::machine;
use crate::models::{self, Looked};
use crate::output::{Outcome, count, line, shape};
use dropforge::run::{ModelSpec, Trained, unnamed_parts};
use dropforge::step::SummaryRow;
use serde_json::{Value, json};
use std::path::Path;

/// Bytes of an f32.
const FLOAT: usize = 4;

pub fn run(args: &Summary) -> Outcome {
    let ModelArgs { model, input, classes } = &args.model;
    let named = match args.run.as_deref().map(|run| (run, run.to_str())) {
        // A folder goes before a built-in model of its name.
        Some((run, Some(name))) if !run.is_dir() && (models::is_list(name) || !run.is_file()) => {
            if ModelSpec::parse(name).is_err() && !models::is_list(name) {
                return Err(format!(
                    "{name}: there is no such run, and no model of that name; see `dropforge list models`"
                )
                .into());
            }
            name
        }
        Some((run, _)) if input.is_some() || classes.is_some() => {
            return Err(format!(
                "{}: a run knows its inputs and classes; leave --input and --classes out",
                run.display()
            )
            .into());
        }
        Some((run, _)) => return of_run(run, args),
        None => model,
    };
    let Looked { model, sample, summary } =
        models::look(named, input.as_deref(), classes.unwrap_or(CLASSES))?;
    let input = sample.shape.to_vec();
    if args.json {
        return line(json!({
            "model": model.name(), "input": input, "layers": layers(&summary.rows), "parameters": summary.parameters,
            "bytes": summary.bytes,
        }));
    }
    let inputs = [("input".to_string(), shape(&input))];
    table(&inputs, &summary.rows, summary.parameters, summary.bytes)
}

/// What a run is: its layers, what trained it and with what.
fn of_run(run: &Path, args: &Summary) -> Outcome {
    let trained = Trained::open(run, &machine::of_run(&args.machine, run)?)?;
    let (rows, parameters) = (trained.layers(), trained.parameter_count());
    let inputs: Vec<(String, String)> =
        trained.input_types().map(|(name, ty)| (name.to_string(), shape(&ty.shape))).collect();
    let unnamed = unnamed_parts(run)?;
    if args.json {
        let types = |all: &mut dyn Iterator<Item = (&str, String)>| -> Value {
            all.map(|(name, ty)| (name.to_string(), Value::String(ty)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let command = trained.environment().map(|environment| environment.command.clone());
        return line(json!({
            "run": run.display().to_string(), "layers": layers(rows), "parameters": parameters,
            "inputs": types(&mut trained.input_types().map(|(name, ty)| (name, ty.to_string()))),
            "outputs": types(&mut trained.output_types().map(|(name, ty)| (name, ty.to_string()))),
            "classes": trained.classes(), "data": trained.config().map(|config| config.data.clone()),
            "command": command, "unnamed": unnamed,
        }));
    }
    table(&inputs, rows, parameters, parameters * FLOAT)?;
    line("")?;
    let mut said = Vec::new();
    if !trained.classes().is_empty() {
        said.push(("classes", trained.classes().join(", ")));
    }
    if let Some(config) = trained.config() {
        said.push(("data", config.data.clone()));
        said.push(("optimizer", config.optimizer.name().to_string()));
        said.push(("loss", config.loss.as_ref().map_or("the usual", |loss| loss.name()).to_string()));
    }
    if let Some(environment) = trained.environment() {
        said.push(("trained by", environment.command.join(" ")));
        said.push(("on", format!("{}, version {}", environment.device, environment.library)));
    }
    for (what, text) in said {
        line(format_args!("{what}: {text}"))?;
    }
    unnamed.iter().try_for_each(|text| line(format_args!("without a name: {text}")))
}

fn layers(rows: &[SummaryRow]) -> Vec<Value> {
    let row = |row: &SummaryRow| {
        json!({
            "name": row.path, "layer": row.layer, "output": row.output.to_vec().get(1..).unwrap_or_default(),
            "parameters": row.parameters, "bytes": row.parameters * FLOAT,
        })
    };
    rows.iter().map(row).collect()
}

fn table(inputs: &[(String, String)], rows: &[SummaryRow], parameters: usize, bytes: usize) -> Outcome {
    let mut lines = vec![["layer", "kind", "output", "parameters", "bytes"].map(String::from)];
    for (name, shape) in inputs {
        lines.push(["".into(), name.clone(), shape.clone(), "".into(), "".into()]);
    }
    for row in rows {
        let [parameters, bytes] = match row.parameters {
            0 => ["–", "–"].map(String::from),
            n => [n, n * FLOAT].map(|n| count(n as u64)),
        };
        let output = shape(row.output.get(1..).unwrap_or_default());
        lines.push([row.path.clone(), row.layer.clone(), output, parameters, bytes]);
    }
    let [parameters, bytes] = [parameters, bytes].map(|n| count(n as u64));
    lines.push(["".into(), "total".into(), "".into(), parameters, bytes]);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
    for [path, kind, output, parameters, bytes] in &lines {
        let text = format!("{path:a$}  {kind:b$}  {output:c$}  {parameters:>d$}  {bytes:>e$}");
        line(text.trim_end())?;
    }
    Ok(())
}
