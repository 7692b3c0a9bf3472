//! `dropforge bench WORKLOAD --overhead`: what a step costs more with what can watch it.

use crate::args::Bench;
use crate::output::{Outcome, line};
use crate::runs::table;
use crate::train::Screen;
use crate::workloads::{Task, workload};
use dropforge::data::{Dataset, Description, ElementType, Field, Source, Values, subset};
use dropforge::metric::{self, Metric};
use dropforge::optim::{Averaged, Optimizer};
use dropforge::run::{RunConfig, RunDir, record_layers, tensorboard};
use dropforge::settings::Table;
use dropforge::step::Precision;
use dropforge::train::{
    Callback, Control, EpochReport, Phases, Trainer, TrainerBuilder, early_stopping, keep_best, lowest,
};
use dropforge::{DType, Runtime, Tensor};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Epochs of each way, in turns with those of the others. The fastest counts: what else a machine does only makes them
/// slower.
const MOST_TURNS: usize = 5;
/// All is compiled anew so often: where memory happens to lie makes small steps a tenth faster or slower.
const ROUNDS: usize = 3;
/// Steps of an epoch at least: losses are read a few steps late.
const LEAST_STEPS: usize = 6;
/// And at most.
const MOST_STEPS: usize = 20_000;
/// An early stopping that never comes.
const PATIENT: u64 = 1_000_000;
/// A norm that no gradient reaches.
const LARGE_NORM: f64 = 1e9;

/// What is beside the steps.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Nothing,
    /// What the machine does by itself is seen by that.
    Again,
    Line,
    Saved,
    Callbacks,
    Accuracy,
    TenMetrics,
    Events,
    Norms,
    Layers,
    Average,
}

impl Way {
    const ALL: [Way; 11] = [
        Way::Nothing,
        Way::Again,
        Way::Line,
        Way::Saved,
        Way::Callbacks,
        Way::Accuracy,
        Way::TenMetrics,
        Way::Events,
        Way::Norms,
        Way::Layers,
        Way::Average,
    ];

    fn name(self) -> &'static str {
        match self {
            Way::Nothing => "nothing",
            Way::Again => "nothing, once more",
            Way::Line => "progress line, what stands out",
            Way::Saved => "checkpoints, steps.jsonl",
            Way::Accuracy => "the usual metric",
            Way::TenMetrics => "ten metrics",
            Way::Callbacks => "and early stopping, keep best",
            Way::Events => "TensorBoard's files",
            Way::Norms => "norm of the gradients",
            Way::Layers => "norms by layer (--record-layers)",
            Way::Average => "average of the weights (--ema)",
        }
    }

    /// What is part of the step.
    fn build(self, trainer: TrainerBuilder, task: &Task) -> TrainerBuilder {
        match self {
            Way::Accuracy => trainer,
            Way::TenMetrics => trainer.metrics(ten(task)),
            Way::Norms => trainer.metrics([]).clip_norm(LARGE_NORM),
            Way::Layers => trainer.metrics([]).keep_gradients(),
            _ => trainer.metrics([]),
        }
    }

    /// What hears of the step; `config` is what the line is made of.
    fn callbacks<'a>(self, config: &'a RunConfig, folder: &Path) -> Vec<Box<dyn Callback + 'a>> {
        match self {
            Way::Line => vec![Box::new(Screen::only_bar(config))],
            Way::Callbacks => vec![
                Box::new(early_stopping(lowest("train_loss")).patience(PATIENT)),
                Box::new(keep_best(lowest("train_loss"))),
            ],
            Way::Events => vec![Box::new(tensorboard(folder.join("events").to_string_lossy()))],
            Way::Layers => vec![Box::new(record_layers())],
            _ => Vec::new(),
        }
    }
}

/// Ten metrics of a classifier; what there is for numbers.
fn ten(task: &Task) -> Vec<Arc<dyn Metric>> {
    match task {
        Task::Reconstruct { .. } => vec![
            Arc::new(metric::mean_absolute_error()),
            Arc::new(metric::mean_of_squares()),
            Arc::new(metric::root_mean_of_squares()),
            Arc::new(metric::mean_percentage_error()),
            Arc::new(metric::r2()),
            Arc::new(metric::pearson_correlation()),
        ],
        _ => vec![
            Arc::new(metric::accuracy()),
            Arc::new(metric::top_k(2)),
            Arc::new(metric::precision()),
            Arc::new(metric::recall()),
            Arc::new(metric::f1()),
            Arc::new(metric::balanced_accuracy()),
            Arc::new(metric::kappa()),
            Arc::new(metric::mcc()),
            Arc::new(metric::log_loss()),
            Arc::new(metric::confusion_matrix()),
        ],
    }
}

/// What an epoch took.
#[derive(Default)]
struct Clock {
    phases: Phases,
    /// When the last step was over, which what comes at the end of an epoch is not part of.
    stepped: Option<Instant>,
}

impl Callback for Clock {
    fn name(&self) -> String {
        "clock".into()
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    fn on_step_end(&mut self, _: &mut Control<'_>) -> dropforge::Result<()> {
        self.stepped = Some(Instant::now());
        Ok(())
    }

    fn on_epoch_end(&mut self, _: &EpochReport, control: &mut Control<'_>) -> dropforge::Result<()> {
        self.phases = control.progress().phases;
        Ok(())
    }
}

/// What was measured of a way: seconds.
#[derive(Clone, Copy)]
struct Cost {
    step: f64,
    /// The part of a step that callbacks took.
    callbacks: f64,
    /// What comes once, at the end of an epoch.
    epoch: f64,
}

impl Cost {
    const NONE: Cost = Cost { step: f64::INFINITY, callbacks: f64::INFINITY, epoch: f64::INFINITY };

    fn and(self, other: Cost) -> Cost {
        Cost {
            step: self.step.min(other.step),
            callbacks: self.callbacks.min(other.callbacks),
            epoch: self.epoch.min(other.epoch),
        }
    }
}

/// A folder for what is written meanwhile.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn run(args: &Bench, precision: Precision, samples: usize, runtime: &Runtime) -> Outcome {
    let folder = Scratch(std::env::temp_dir().join(format!("dropforge-overhead-{}", std::process::id())));
    let config = RunConfig::new(&Table::new())?;
    let open = || workload(&args.workload, runtime.device().is_gpu()).ok_or("the workload is gone");
    let batch = one_batch(&open()?.task, samples)?;
    let trainer = |way: Way, folder: &Path| -> Outcome<Trainer> {
        let workload = open()?;
        let optimizer: Box<dyn Optimizer> = match way {
            Way::Average => Box::new(Averaged::exponential(0.999, workload.optimizer)),
            _ => workload.optimizer,
        };
        let trainer = Trainer::new(workload.net, workload.task.loss(), optimizer).batch(samples);
        let trainer = trainer.shuffle(false).runtime(runtime).precision(precision);
        let mut trainer = way.build(trainer, &workload.task).compile(&repeated(&batch, LEAST_STEPS)?)?;
        // What keeps the best weights keeps them in a run.
        if [Way::Saved, Way::Callbacks].contains(&way) {
            trainer.autosave(RunDir::open(folder.join(way.name()))?, Duration::MAX);
        }
        Ok(trainer)
    };
    // An epoch to see how many steps there is time for, behind one that warms up.
    let (mut first, few) = (trainer(Way::Nothing, &folder.0)?, repeated(&batch, LEAST_STEPS)?);
    measure(&mut first, Way::Nothing, &few, &config, &folder.0)?;
    let step = measure(&mut first, Way::Nothing, &few, &config, &folder.0)?.step;
    let all = (args.seconds / step.max(1e-9)) as usize;
    let turns = (all / ROUNDS / LEAST_STEPS).clamp(1, MOST_TURNS);
    let steps = (all / ROUNDS / turns).clamp(LEAST_STEPS, MOST_STEPS);
    let source = repeated(&batch, steps)?;
    let mut costs = [Cost::NONE; Way::ALL.len()];
    for round in 0..ROUNDS {
        let folder = folder.0.join(round.to_string());
        let mut trainers = Vec::new();
        for way in Way::ALL {
            trainers.push(trainer(way, &folder)?);
        }
        for turn in 0..=turns {
            for ((way, trainer), cost) in Way::ALL.into_iter().zip(&mut trainers).zip(&mut costs) {
                let measured = measure(trainer, way, &source, &config, &folder)?;
                // The first turn warms up.
                if turn > 0 {
                    *cost = cost.and(measured);
                }
            }
        }
    }
    print(args, ROUNDS * turns, steps, &costs)
}

/// An epoch of a way.
fn measure(
    trainer: &mut Trainer,
    way: Way,
    source: &Arc<dyn Source>,
    config: &RunConfig,
    folder: &Path,
) -> Outcome<Cost> {
    let (mut clock, mut callbacks) = (Clock::default(), way.callbacks(config, folder));
    let epochs = trainer.epochs() + 1;
    let fit = trainer.fit(source).epochs(epochs);
    let fit = callbacks.iter_mut().fold(fit, |fit, callback| fit.callback(&mut **callback));
    fit.callback(&mut clock).run()?;
    let Phases { steps, callbacks, .. } = clock.phases;
    let of_step = |seconds: f64| seconds / steps.max(1) as f64;
    let epoch = clock.stepped.map_or(0.0, |at| at.elapsed().as_secs_f64());
    Ok(Cost { step: of_step(clock.phases.seconds()), callbacks: of_step(callbacks), epoch })
}

fn print(args: &Bench, turns: usize, steps: usize, costs: &[Cost]) -> Outcome {
    let base = costs[0];
    let over = |cost: &Cost| 100.0 * (cost.step / base.step - 1.0);
    let called = |cost: &Cost| 100.0 * (cost.callbacks - base.callbacks) / base.step;
    if args.json {
        return Way::ALL.into_iter().zip(costs).try_for_each(|(way, cost)| {
            line(json!({
                "workload": args.workload, "beside": way.name(), "steps": steps, "step_us": cost.step * 1e6,
                "over_percent": over(cost), "callbacks_percent": called(cost), "epoch_ms": cost.epoch * 1e3,
            }))
        });
    }
    line(format_args!(
        "{}: epochs of {steps} steps, the fastest of {turns} turns; what a step takes more than with nothing beside it",
        args.workload
    ))?;
    let head = ["beside the steps", "µs a step", "more", "of it in callbacks", "ms at an epoch's end"];
    let mut lines = vec![head.map(String::from).to_vec()];
    lines.extend(Way::ALL.into_iter().zip(costs).map(|(way, cost)| {
        vec![
            way.name().into(),
            format!("{:.2}", cost.step * 1e6),
            format!("{:+.2} %", over(cost)),
            format!("{:+.2} %", called(cost)),
            format!("{:.2}", cost.epoch * 1e3),
        ]
    }));
    table(&lines)
}

/// One batch of a workload, as samples.
fn one_batch(task: &Task, samples: usize) -> Outcome<Dataset> {
    let (inputs, targets) = task.data(samples);
    let field = |name: &str, tensor: &Tensor| -> Outcome<(Field, Values)> {
        let shape = &tensor.shape().to_vec()[1..];
        Ok(match tensor.dtype() {
            DType::I32 => (Field::numbers(name, ElementType::I32, shape), tensor.to_vec::<i32>()?.into()),
            _ => (Field::numbers(name, ElementType::F32, shape), tensor.to_vec::<f32>()?.into()),
        })
    };
    let (input, inputs) = field("input", &inputs)?;
    let (mut target, targets) = field("target", &targets)?;
    if let Task::Classify { classes, .. } = task {
        target = Field::class("target", (0..*classes).map(|class| class.to_string()));
    }
    let description = Description::new("one batch").with(input).with(target);
    Ok(Dataset::new(description, vec![inputs, targets]).map_err(dropforge::Error::from)?)
}

/// So many batches that are all this one.
fn repeated(batch: &Dataset, steps: usize) -> Outcome<Arc<dyn Source>> {
    let samples = Source::len(batch).unwrap_or(0);
    let indices: Vec<usize> = (0..steps * samples).map(|index| index % samples.max(1)).collect();
    Ok(Arc::new(subset(Arc::new(batch.clone()), indices).map_err(dropforge::Error::from)?))
}
