//! The dropforge command-line tool: trains, measures, predicts and explains.

mod args;
mod bench;
mod confusion;
mod dashboard;
mod data;
mod devices;
mod dry_run;
mod eval;
mod explain;
#[cfg(feature = "onnx")]
mod export;
#[cfg(test)]
mod guides;
#[cfg(feature = "onnx")]
mod import;
mod init;
mod interrupt;
mod list;
mod lr_find;
mod machine;
mod models;
mod output;
mod overhead;
mod pack;
mod predict;
mod progress;
#[cfg(feature = "png")]
mod raster;
mod report;
mod runs;
mod sample;
mod shapes;
mod stop;
mod summary;
mod sweep;
mod terminal;
mod trace;
mod train;
#[cfg(feature = "tui")]
mod tui;
mod units;
mod weights;
mod workloads;

use args::{Cli, Command};
use clap::Parser;
use output::{Outcome, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(&cli.command) {
        Ok(()) | Err(Stop::Unread) => ExitCode::SUCCESS,
        Err(Stop::Said) => ExitCode::FAILURE,
        Err(Stop::Error(message)) => {
            output::error(&message);
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Outcome {
    match command {
        Command::Train(args) => train::run(args),
        Command::Init(args) => init::run(args),
        Command::LrFind(args) => lr_find::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Summary(args) => summary::run(args),
        Command::Devices(args) => devices::run(args),
        Command::List(args) => list::run(args),
        Command::Sample(args) => sample::run(args),
        Command::Runs(args) => runs::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Dashboard(args) => dashboard::run(args),
        Command::Report(args) => report::run(args),
        Command::Plot(args) => report::plot(args),
        Command::Bench(args) => bench::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Weights(args) => weights::run(args),
        Command::Pack(args) => pack::run(args),
        #[cfg(feature = "onnx")]
        Command::Export(args) => export::run(args),
        #[cfg(feature = "onnx")]
        Command::Import(args) => import::run(args),
    }
}

/// Help goes out as it is; a mistake in the arguments becomes one line.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = output::line(text.to_string().trim_end());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            output::error(&mistake(error));
            ExitCode::from(2)
        }
    }
}

/// A mistake in arguments as one line: what is wrong and what would be right; the rest of the message repeats the
/// usage.
fn mistake(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.split("\nUsage:").next().unwrap_or_default().split("\nFor more information").next();
    let paragraphs = said.unwrap_or_default().split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let paragraphs: Vec<String> = paragraphs.filter(|paragraph| !paragraph.is_empty()).collect();
    let line = paragraphs.join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).into()
}
