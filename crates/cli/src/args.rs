//! What can be said on the command line.

use crate::units::{bytes, seconds};
use clap::{Args, Parser, Subcommand};
use dropforge::step::Precision;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Trains and runs neural networks; a whole training step is one compiled program.
#[derive(Parser)]
#[command(name = "dropforge", version, arg_required_else_help = true, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a model and save the run; without options, LeNet-5 on built-in handwritten digits
    Train(Box<Train>),
    /// Write a file of settings for `train --config`, with every default and what it means
    Init(Init),
    /// Try learning rates from small to large for a few steps, and suggest one
    LrFind(Box<LrFind>),
    /// Measure a trained run on test data
    Eval(Eval),
    /// Name the class of images
    Predict(Predict),
    /// Print a table of a model's layers, or of a run's with what trained it
    Summary(Summary),
    /// List the devices of this machine
    Devices(Devices),
    /// List what a name can stand for, with its settings
    List(List),
    /// Let a network that was trained on a text write on
    Sample(Sample),
    /// List the runs of a folder, compare them, or remove some
    Runs(Runs),
    /// Train with many settings, and see which was best
    Sweep(Sweep),
    /// Show the runs of a folder in a browser, as they train
    Dashboard(Dashboard),
    /// Write a report of a run: one HTML file with everything in it
    Report(Report),
    /// Draw one chart of a run as SVG
    Plot(Plot),
    /// Measure training speed on a standard workload
    Bench(Bench),
    /// Print the compiled training step of a model, or the programs of a run: kernels, memory
    Explain(Explain),
    /// Make one file of a trained run, which `predict` and `eval` take as they take the run
    Pack(Pack),
    /// Look into files of weights, compare and convert them
    Weights(Weights),
    /// Write a trained network as an ONNX file
    #[cfg(feature = "onnx")]
    Export(Export),
    /// Make a run of an ONNX file
    #[cfg(feature = "onnx")]
    Import(Import),
}

#[derive(Args, Clone)]
pub struct Machine {
    /// Where to compute; `dropforge devices` lists what there is
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Threads of the CPU [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Most memory to take of a GPU, such as 2GiB or 500MB [default: all there is]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory_limit: Option<u64>,
}

#[derive(Args)]
pub struct DataArgs {
    /// `digits`, `mnist:DIR`, `folder:DIR` with one folder of images per class, `table:FILE?target=COLUMN`; `list data`
    /// has all
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// Fetch MNIST first if its files are not there
    #[arg(long)]
    pub download: bool,
    /// Height and width of the images of a folder [default: 64]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=16384))]
    pub size: Option<u32>,
}

#[derive(Args)]
pub struct Train {
    /// A file of settings; what else is said here goes before
    #[arg(long, value_name = "FILE.toml", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// A built-in model, or a .toml or .json file that lists layers [default: lenet]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Passes over the training data [default: as the model is usually trained]
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Samples per step [default: as the model is usually trained]
    #[arg(long, value_name = "N")]
    pub batch: Option<u64>,
    /// Learning rate [default: as the model is usually trained; `dropforge init --model MODEL` writes it]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// How weights are updated, see `dropforge list optimizers` [default: as the model is usually trained]
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<String>,
    /// Part of the last change that is kept, for sgd
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// How much weights are pulled to zero
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// What is made small, see `dropforge list losses` [default: what suits the targets]
    #[arg(long, value_name = "NAME")]
    pub loss: Option<String>,
    /// How the learning rate goes down, see `dropforge list schedules` [default: as the model is usually trained]
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<String>,
    /// Epochs over which the learning rate rises first
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    pub warmup: Option<f64>,
    /// Limit of the global norm of the gradients
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    pub clip_norm: Option<f64>,
    /// Measure and save the running mean of the weights, of which this part is kept after each update, such as 0.999
    #[arg(long, value_name = "PART", allow_negative_numbers = true, conflicts_with = "swa_start")]
    pub ema: Option<f64>,
    /// Measure and save the plain mean of the weights from so many epochs on
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    pub swa_start: Option<f64>,
    /// What products, convolutions and attention compute in: f32, bf16, f16, or auto for what is fastest here [default:
    /// f32]
    #[arg(long, value_name = "NAME")]
    pub precision: Option<String>,
    /// What is measured, see `dropforge list metrics` [default: what suits the targets]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// Most steps that the whole run makes; --resume goes on with a greater number
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
    /// Stop once so many epochs are finished, as if interrupted: the schedule is that of --epochs, and --resume goes on
    #[arg(long, value_name = "N")]
    pub until_epoch: Option<u64>,
    /// Longest time that the whole run trains and validates, such as 90s, 3m or 2h; --resume goes on with a longer one
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub max_time: Option<f64>,
    /// Also validate after every so many steps within an epoch
    #[arg(long, value_name = "STEPS")]
    pub validate_every: Option<u64>,
    /// Validate after every so many epochs only, and after the last [default: 1]
    #[arg(long, value_name = "EPOCHS")]
    pub validate_epochs: Option<u64>,
    /// Random changes of the images that are trained on: `standard`, or see `dropforge list transforms`
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub augment: Vec<String>,
    /// Where they are made: while samples are read, as a part of the step, or auto: the step on a GPU [default: auto]
    #[arg(long, value_name = "PLACE", value_parser = ["host", "device", "auto"])]
    pub augment_on: Option<String>,
    /// Leave out a last batch with fewer samples
    #[arg(long)]
    pub drop_last: bool,
    /// Pass over samples that cannot be read, and count them
    #[arg(long)]
    pub skip_corrupt: bool,
    /// Keep samples in memory once they are read, up to this size, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub cache: Option<u64>,
    /// With --cache: keep them in a file in this folder in place of memory, which is gone at the end
    #[arg(long, value_name = "DIR")]
    pub cache_folder: Option<String>,
    /// Keep all samples to train on in the device's memory, where the step picks its batches: true, false, or auto for a
    /// GPU on which they fit [default: auto]
    #[arg(long, value_name = "WHETHER", value_parser = ["true", "false", "auto"], num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub data_on_device: Option<String>,
    /// Where initial weights, the order of samples and dropout come from [default: 0]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// The figure by which epochs are compared, such as val_f1: its best weights are kept for --best, and --patience
    /// watches it
    #[arg(long, value_name = "FIGURE")]
    pub monitor: Option<String>,
    /// Keep the weights of the best epoch by this figure, such as val_accuracy [default: that of --monitor, or
    /// val_loss], for --best
    #[arg(long, value_name = "FIGURE", num_args = 0..=1, default_missing_value = "")]
    pub keep_best: Option<String>,
    /// Stop when the figure of --monitor (or val_loss) has not become better for so many epochs
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<u64>,
    /// Do not train the parameters whose paths fit this pattern, such as 'backbone.*'; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub freeze: Vec<String>,
    /// With --freeze: train these too, once so many epochs are finished
    #[arg(long, value_name = "EPOCHS", requires = "freeze")]
    pub unfreeze_after: Option<u64>,
    /// Start from the weights of a file (.safetensors, .pt, .pth, .npz), an index of several, or a run
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "resume")]
    pub from: Option<PathBuf>,
    /// With --from: load what fits, and say what does not, instead of refusing
    #[arg(long, requires = "from")]
    pub partly: bool,
    /// With --from: names in the file that become others, such as 'module.*=*'; may be given several times
    #[arg(long, value_name = "PATTERN=NAME", requires = "from")]
    pub rename: Vec<String>,
    /// With --from: names in the file that are left out; may be given several times
    #[arg(long, value_name = "PATTERN", requires = "from")]
    pub ignore: Vec<String>,
    /// Any other setting, such as optimizer.betas=[0.9,0.99]; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Folder for the run [default: a new one in runs/]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in this folder from its last checkpoint
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Save and end when standard input ends, and at once if a byte came before: so a sweep leads its trials
    #[arg(long, hide = true)]
    pub led: bool,
    /// Also write a checkpoint whenever this many seconds have passed [default: 30]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub save_every: Option<f64>,
    /// Train on this part of the training samples only, such as 0.1, spread over all of them
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub limit_train: Option<f64>,
    /// Train on the samples of so many batches only, and measure on the same: a network that works learns them by heart
    #[arg(long, value_name = "N")]
    pub overfit_batches: Option<u64>,
    /// One step of training and one of validation, to see that all fits; no run is written
    #[arg(long, conflicts_with_all = ["resume", "out", "dry_run"])]
    pub fast_dev_run: bool,
    /// Print the settings as they are resolved, the layers, the memory of a step and the time that training will take;
    /// no run is written
    #[arg(long, conflicts_with_all = ["resume", "out"])]
    pub dry_run: bool,
    /// Look for numbers that are none after every step, and name the operation, layer and line that made the first;
    /// slow
    #[arg(long)]
    pub detect_anomaly: bool,
    /// Also write event files for TensorBoard, into the folder `tensorboard` of the run
    #[arg(long)]
    pub tensorboard: bool,
    /// Also record norms and histograms of weights, gradients and updates of each layer in the run, at the end of each
    /// epoch or after every so many steps; a report shows them
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "0")]
    pub record_layers: Option<u64>,
    /// Also write a trace of steps and kernels, which Chrome (chrome://tracing) and Perfetto show
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,
    /// Print at the end where the time of a step went, by kernel
    #[arg(long)]
    pub profile: bool,
    #[command(flatten)]
    pub machine: Machine,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
    /// Show curves, rates, memory and where the time goes on a full screen of the terminal; q ends training, saved
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    pub tui: bool,
}

#[derive(Args)]
pub struct LrFind {
    /// SVG file for the chart of the loss over the rate: the same as --out
    #[arg(long = "chart", value_name = "FILE.svg", conflicts_with = "out")]
    pub chart: Option<PathBuf>,
    // `--out` is the file for the chart here, since no run is written.
    #[command(flatten)]
    pub train: Train,
    /// How many steps to make
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub steps: usize,
    /// The first rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-6, allow_negative_numbers = true)]
    pub from_rate: f64,
    /// The last rate
    #[arg(long, value_name = "RATE", default_value_t = 1.0, allow_negative_numbers = true)]
    pub to_rate: f64,
}

#[derive(Args)]
pub struct Init {
    /// File to write
    #[arg(value_name = "FILE.toml", default_value = "dropforge.toml")]
    pub file: PathBuf,
    /// A built-in model, or a .toml or .json file that lists layers
    #[arg(long, value_name = "MODEL", default_value = "lenet")]
    pub model: String,
}

#[derive(Args)]
pub struct Sample {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Take the best weights, which training with --keep-best has kept, instead of the last
    #[arg(long)]
    pub best: bool,
    /// What to go on from
    #[arg(long, value_name = "TEXT", default_value = "\n")]
    pub prompt: String,
    /// How many tokens to write
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub tokens: usize,
    /// How freely: 0 takes the best token each time, 1 draws by probability
    #[arg(long, value_name = "NUMBER", default_value_t = 0.8, allow_negative_numbers = true)]
    pub temperature: f64,
    /// What the draws come from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub machine: Machine,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct List {
    /// layers, losses, optimizers, schedules, initialisers, models, metrics, callbacks, data, transforms, or settings;
    /// all without it
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
    /// The one of them to tell all about, such as `dropforge list models resnet18`
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Runs {
    #[command(subcommand)]
    pub action: Option<RunsAction>,
    /// Folder that holds runs
    #[arg(value_name = "DIR", default_value = "runs")]
    pub folder: PathBuf,
    /// What to sort by: name, status, saved, epochs, steps, seconds, a figure such as val_accuracy, or a setting such
    /// as optimizer.lr; a `-` in front turns the order around
    #[arg(long, value_name = "COLUMN", default_value = "name", allow_hyphen_values = true)]
    pub sort: String,
    /// Only runs whose setting has this value, such as optimizer.type=adam, or status=finished; may be given several
    /// times
    #[arg(long, value_name = "SETTING=VALUE")]
    pub filter: Vec<String>,
    /// Also print the settings in which the runs differ, side by side
    #[arg(long)]
    pub compare: bool,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum RunsAction {
    /// Remove runs; what no run has written stays
    Rm {
        /// Folders of runs
        #[arg(value_name = "RUN", required = true)]
        runs: Vec<PathBuf>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Remove all runs of a folder but the newest, or the best by a figure; one that is being trained stays
    Prune {
        /// Folder that holds runs
        #[arg(value_name = "DIR", default_value = "runs")]
        folder: PathBuf,
        /// How many stay
        #[arg(long, value_name = "N")]
        keep: usize,
        /// The best by this figure stay, such as val_accuracy, instead of the newest
        #[arg(long, value_name = "FIGURE")]
        by: Option<String>,
        /// Only remove what was saved last before so much time, such as 30d
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        older: Option<f64>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct Sweep {
    /// File that says what is tried: `args`, words for `dropforge train`; `monitor`, what is best; `[space]`, settings
    /// with a list of values, or a range { low, high, log }
    #[arg(value_name = "SPACE.toml")]
    pub space: PathBuf,
    /// So many trials with values that are drawn, instead of all combinations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub random: Option<u64>,
    /// So many trials that go by what those before have measured: a tree-structured Parzen estimator
    #[arg(long, value_name = "N", conflicts_with = "random", value_parser = clap::value_parser!(u64).range(1..))]
    pub tpe: Option<u64>,
    /// Successive halving: train all for so many epochs first, the best third of them three times as long, and so on
    #[arg(long, value_name = "EPOCHS", num_args = 0..=1, default_missing_value = "1", conflicts_with = "tpe", value_parser = clap::value_parser!(u64).range(1..))]
    pub halving: Option<u64>,
    /// SVG file for a chart with a line for each trial over all settings and what came of them
    #[arg(long, value_name = "FILE.svg")]
    pub chart: Option<PathBuf>,
    /// Where the draws come from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Folder for the runs; trials that are finished there are not repeated
    #[arg(long, value_name = "DIR", default_value_os_t = crate::sweep::usual_folder())]
    pub out: PathBuf,
    /// How many train at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Print one JSON object per trial instead of text, the best first
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Dashboard {
    /// Folder that holds runs
    #[arg(value_name = "DIR", default_value = "runs")]
    pub folder: PathBuf,
    /// Address to listen on; one that others reach is only answered to who has the token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// What others have to say, as `?token=` of the first address or `Authorization: Bearer` [default: drawn, where
    /// others may ask]
    #[arg(long, value_name = "TEXT")]
    pub token: Option<String>,
    /// Port; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 6060)]
    pub port: u16,
}

#[derive(Args)]
pub struct Report {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Where to write it [default: report.html in the folder of the run]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub machine: Machine,
}

#[derive(Args)]
pub struct Plot {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// loss, lr, speed, waiting, confusion, roc, pr, calibration, scatter, residuals, errors, qq, classes, network,
    /// kernels, memory, blocks, a metric; of recorded layers gradients, updates, weights:NAME and gradients:NAME
    #[arg(long, value_name = "FIGURE")]
    pub what: String,
    /// SVG file to write, or PNG where the command is built with --features png [default: SVG on standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub machine: Machine,
}

#[derive(Args)]
pub struct Eval {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    /// Take the best weights, which training with --keep-best has kept, instead of the last
    #[arg(long)]
    pub best: bool,
    /// Pass over samples that cannot be read, and count them [default: as in training]
    #[arg(long)]
    pub skip_corrupt: bool,
    /// Measure by this loss, see `dropforge list losses` [default: that of the training; of an imported network what
    /// suits the targets]
    #[arg(long, value_name = "NAME")]
    pub loss: Option<String>,
    /// Measure these, see `dropforge list metrics` [default: those of the training, or what suits the targets]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// Samples at a time
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub batch: usize,
    #[command(flatten)]
    pub machine: Machine,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Predict {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Image files, or folders of them
    #[arg(value_name = "IMAGE", required_unless_present = "data")]
    pub images: Vec<PathBuf>,
    /// Take the best weights, which training with --keep-best has kept, instead of the last
    #[arg(long)]
    pub best: bool,
    /// The samples of a data set instead, those for testing where it has such a part of its own: a row of all
    /// probabilities for each, by its file or number, as CSV or, with --json, as JSON lines
    #[arg(long, value_name = "DATA", conflicts_with = "images")]
    pub data: Option<String>,
    #[command(flatten)]
    pub machine: Machine,
    /// Print all probabilities as a table, comma-separated
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Pack {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct Weights {
    #[command(subcommand)]
    pub what: WeightsCommand,
}

#[derive(Subcommand)]
pub enum WeightsCommand {
    /// List the tensors of a file: safetensors, .pt, .pth, .npz, an index of parts, or a run
    Show {
        /// The file or folder
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object per line instead of text
        #[arg(long)]
        json: bool,
    },
    /// Say what differs between two files
    Diff {
        /// A file or folder
        #[arg(value_name = "FILE")]
        first: PathBuf,
        /// Another one
        #[arg(value_name = "OTHER")]
        second: PathBuf,
        /// Print one JSON object per line instead of text
        #[arg(long)]
        json: bool,
    },
    /// Write the tensors of a file as safetensors, or as .npz by the name
    Convert {
        /// The file or folder
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[cfg(feature = "onnx")]
#[derive(Args)]
pub struct Export {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub onnx: PathBuf,
    /// Version of the operators, 18 to 23
    #[arg(long, value_name = "N", default_value_t = 18)]
    pub opset: i64,
    /// Let the file do what is done with inputs first: it takes `floats` from 0 to 1, or `bytes`
    #[arg(long, value_name = "FORM", value_parser = ["floats", "bytes"])]
    pub preprocess: Option<String>,
    #[command(flatten)]
    pub machine: Machine,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[cfg(feature = "onnx")]
#[derive(Args)]
pub struct Import {
    /// The ONNX file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Folder for the run
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Names of the classes [default: those that the file says]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// What is taken off inputs, for each channel or once, such as 0.485,0.456,0.406 [default: what the file says]
    #[arg(
        long,
        value_name = "NUMBER,...",
        value_delimiter = ',',
        requires = "std",
        allow_negative_numbers = true
    )]
    pub mean: Vec<f32>,
    /// What they are divided by then
    #[arg(long, value_name = "NUMBER,...", value_delimiter = ',', requires = "mean")]
    pub std: Vec<f32>,
    /// The output that is the prediction [default: the first]
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// The extent of an axis that the file names, such as time=128; may be given several times [default: 1]
    #[arg(long, value_name = "AXIS=N", value_parser = extent)]
    pub extent: Vec<(String, usize)>,
    #[command(flatten)]
    pub machine: Machine,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `NAME=N`
#[cfg(feature = "onnx")]
fn extent(text: &str) -> Result<(String, usize), String> {
    let wrong = || "give a name and a number, such as time=128".to_string();
    let (name, number) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_string(), number.parse().map_err(|_| wrong())?))
}

/// How many classes a model is looked at with.
pub const CLASSES: usize = 10;

#[derive(Args)]
pub struct ModelArgs {
    /// A built-in model, or a .toml or .json file that lists layers
    #[arg(long, value_name = "MODEL", default_value = "lenet")]
    pub model: String,
    /// Shape of one input, such as 1x28x28 [default: that of the model]
    #[arg(long, value_name = "SHAPE")]
    pub input: Option<String>,
    /// How many classes there are [default: 10]
    #[arg(long, value_name = "N")]
    pub classes: Option<usize>,
}

#[derive(Args)]
pub struct Summary {
    /// Folder of a run, a packed one, or a model as for --model
    #[arg(value_name = "RUN or MODEL", conflicts_with = "model")]
    pub run: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub machine: Machine,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Devices {
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Bench {
    /// Name of the workload
    #[arg(value_name = "WORKLOAD")]
    pub workload: String,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub seconds: f64,
    /// What products, convolutions and attention compute in: f32, bf16, f16, or auto
    #[arg(long, value_name = "NAME", default_value = "f32", alias = "precision")]
    pub dtype: Precision,
    #[command(flatten)]
    pub machine: Machine,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,
    /// Samples in a batch [default: the workload's]
    #[arg(long, value_name = "N")]
    pub batch: Option<NonZeroUsize>,
    /// Measure predictions instead of training steps
    #[arg(long)]
    pub inference: bool,
    /// Afterwards, take the time of each kernel and print it
    #[arg(long, conflicts_with = "json")]
    pub profile: bool,
    /// Afterwards, take the time of each kernel and write it as a trace, which Chrome (chrome://tracing) and Perfetto
    /// show
    #[arg(long, value_name = "FILE.json", conflicts_with = "inference")]
    pub trace: Option<PathBuf>,
    /// Scale gradients so that their global norm is at most this
    #[arg(long, value_name = "LIMIT", conflicts_with = "inference")]
    pub clip_norm: Option<f64>,
    /// Measure instead what a step takes longer with what can watch it: metrics, callbacks, event files; each way takes
    /// its --seconds
    #[arg(long, conflicts_with_all = ["inference", "profile", "trace", "clip_norm"])]
    pub overhead: bool,
}

#[derive(Args)]
pub struct Explain {
    /// A built-in model, a .toml or .json file that lists layers, or a run, packed or not: then its prediction is
    /// printed
    #[arg(value_name = "MODEL or RUN", default_value = "lenet")]
    pub model: String,
    /// Of a run: print its evaluation, with loss and metrics, instead of its prediction
    #[arg(long)]
    pub evaluation: bool,
    /// Shape of one input, such as 1x28x28 [default: that of the model]
    #[arg(long, value_name = "SHAPE")]
    pub input: Option<String>,
    /// How many classes there are
    #[arg(long, value_name = "N", default_value_t = CLASSES)]
    pub classes: usize,
    /// Samples per step
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub batch: usize,
    /// Scale gradients so that their global norm is at most this
    #[arg(long, value_name = "LIMIT")]
    pub clip_norm: Option<f64>,
    /// What products, convolutions and attention compute in: f32, bf16, f16, or auto
    #[arg(long, value_name = "NAME", default_value = "f32")]
    pub precision: Precision,
    #[command(flatten)]
    pub machine: Machine,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;
    use dropforge::run::RunConfig;
    use dropforge::settings::Described;

    /// Defaults that help states in words are those of the settings.
    #[test]
    fn defaults_in_help_are_those_of_the_settings() {
        let command = Cli::command();
        let train = command.find_subcommand("train").unwrap();
        let mut stated = 0;
        for arg in train.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let Some(said) = help.split("[default: ").nth(1).and_then(|rest| rest.split(']').next()) else {
                continue;
            };
            let Ok(setting) = RunConfig::declaration().setting(arg.get_id().as_str()).cloned() else {
                continue;
            };
            if let Ok(number) = said.parse::<f64>() {
                let default = setting.default.as_ref();
                let default = default
                    .and_then(|value| value.as_float().or(value.as_integer().map(|whole| whole as f64)));
                // Some are what leaving them out means.
                assert!(default == Some(number) || setting.help.contains(said), "--{}: {said}", arg.get_id());
                stated += 1;
            }
        }
        assert!(stated >= 3, "{stated}");
    }
}
