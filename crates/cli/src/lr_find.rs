//! `dropforge lr-find`

use crate::args::LrFind;
use crate::output::{Outcome, OutputFile, line};
use crate::train::{Training, resolve};
use dropforge::file::FileKind;
use dropforge::plot::{Chart, Series};
use serde_json::json;

pub fn run(args: &LrFind) -> Outcome {
    if args.train.resume.is_some() {
        return Err("--resume: rates are tried from the beginning of a training; give the settings, or --config RUN/config.toml".into());
    }
    let chart = args.chart.as_ref().or(args.train.out.as_ref());
    let is_svg =
        |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("svg"));
    if let Some(path) = chart.filter(|path| !is_svg(path)) {
        let path = path.display();
        return Err(format!("{path}: the chart is written as SVG; give a file that ends in .svg").into());
    }
    let chart = chart.map(|path| OutputFile::new(path, FileKind::Chart)).transpose()?;
    let (Training { mut trainer, train, .. }, _) = Training::new(&resolve(&args.train)?, &args.train)?;
    let sweep = trainer.find_rate(&train, args.from_rate, args.to_rate, args.steps)?;
    if let Some(file) = &chart {
        let chart = Chart::new("Loss over the learning rate").x("learning rate").y("loss").log_x();
        let mut chart = chart.add(Series::line("loss", sweep.points.iter().copied()));
        if let Some(rate) = sweep.suggestion {
            let ends = sweep.points.iter().map(|point| point.1);
            let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), loss| {
                (low.min(loss), high.max(loss))
            });
            chart = chart.add(Series::dashed(&format!("suggested {rate:.2e}"), [(rate, low), (rate, high)]));
        }
        file.write(chart.svg())?;
    }
    if args.train.json {
        let points: Vec<_> = sweep.points.iter().map(|(rate, loss)| json!([rate, loss])).collect();
        return line(json!({ "event": "lr_find", "suggestion": sweep.suggestion, "points": points }));
    }
    match sweep.suggestion {
        Some(rate) => line(format_args!(
            "the loss fell fastest at a learning rate of {rate:.2e}: train with --lr {rate:.1e} (after {} steps)",
            sweep.points.len()
        )),
        None => line(
            "the loss never fell; look at the data and the model, or try other rates with --from-rate and --to-rate",
        ),
    }
}
