//! How the learning rate changes during training.

mod constant;
mod cosine;
mod cycles;
mod linear;
mod steps;

pub use constant::Constant;
pub use cosine::Cosine;
pub use cycles::{Chained, CosineRestarts, OneCycle, Triangles};
pub use linear::Linear;
pub use steps::{Exponential, InverseRoot, Milestones, Polynomial, Steps};

use crate::settings::{Context, Described, Range, SettingType, TYPE, Table, Value};
use crate::{Error, ErrorKind, Result, described};
use std::fmt;
use std::sync::Arc;

/// A moment of a training run, just before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Steps that have been made.
    pub step: u64,
    /// Epochs that have been finished.
    pub epoch: u64,
    /// Batches of this epoch that have been trained on.
    pub batch: usize,
    /// Batches in an epoch: of a stream as many as the epoch before had; 0 where nobody knows.
    pub batches: usize,
    /// Epochs that the training is to have; `None` where nobody said.
    pub planned: Option<u64>,
}

impl Moment {
    /// The moment in epochs: 2.5 is the middle of the third. Time stands still in an epoch of which nobody knows the
    /// length: the first one of a stream.
    pub fn epochs(&self) -> f64 {
        match self.batches {
            0 => self.epoch as f64,
            // A stream may have become longer since.
            batches => self.epoch as f64 + (self.batch as f64 / batches as f64).min(1.0),
        }
    }
}

/// Where a rule is asked for its factor. Lengths are in epochs, or in steps for a schedule [by
/// steps](Schedule::by_steps).
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// How much of the training is done.
    pub at: f64,
    /// Length of the warm-up, which is over.
    pub warmup: f64,
    /// Length of the whole training; `None` where nobody said.
    pub planned: Option<f64>,
    /// The moment itself.
    pub moment: Moment,
}

impl Position {
    /// The length of a rule: its own, or that of the whole training.
    pub fn length(&self, own: Option<f64>) -> f64 {
        own.or(self.planned).unwrap_or(f64::INFINITY)
    }

    /// How much of the way from the warm-up to `length` is done, from 0 to 1.
    pub fn done(&self, length: f64) -> f64 {
        let way = length - self.warmup;
        if way > 0.0 { ((self.at - self.warmup) / way).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// A rule by which the learning rate changes. Any `Fn(&Moment) -> f64` is one.
pub trait Rule: Send + Sync {
    /// What the learning rate of the optimizer is multiplied with. It depends on the position alone, so that a resumed
    /// run goes on with the rates of one that was never stopped.
    fn factor(&self, position: &Position) -> f64;

    /// Whether the rule can say nothing at this position, because nobody said how long the training is going to be.
    /// Default `false`.
    fn lacks_length(&self, position: &Position) -> bool {
        let _ = position;
        false
    }

    /// Refuses settings that a file could not have either, such as a length of 0. Default: whatever there is will do.
    ///
    /// # Errors
    /// A setting is out of its range, or NaN; the message names it.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Name and settings as a file has them.
    ///
    /// # Errors
    /// The rule cannot be written down: functions cannot.
    fn config(&self) -> Result<Table> {
        Err(Error::setting("a schedule that is a function cannot be written to a file"))
    }
}

impl<F: Fn(&Moment) -> f64 + Send + Sync> Rule for F {
    fn factor(&self, position: &Position) -> f64 {
        self(&position.moment)
    }
}

/// What the learning rate of the optimizer is multiplied with at each step: a [`Rule`], after a rise from 0.
///
/// The rate is an input of the compiled step: changing it never recompiles.
///
/// ```
/// use dropforge::schedule::{Moment, Schedule};
///
/// let schedule = Schedule::cosine(10.0).warmup(1.0);
/// let at = |epoch| schedule.factor(&Moment { step: 0, epoch, batch: 50, batches: 100, planned: None });
/// assert_eq!(at(0), 0.5);
/// assert!(at(5) < at(4));
///
/// let halve = Schedule::from(|moment: &Moment| 0.5f64.powi(moment.epoch as i32));
/// assert_eq!(halve.factor(&Moment { step: 9, epoch: 3, batch: 0, batches: 3, planned: None }), 0.125);
/// ```
#[doc(alias = "lr_scheduler")]
#[derive(Clone)]
pub struct Schedule {
    rule: Arc<dyn Rule>,
    warmup: f64,
    by_steps: bool,
    /// The length of the training, if it was given to the schedule itself.
    planned: Option<f64>,
}

/// What every schedule can say in a file, beside the settings of its rule.
pub(crate) struct Pace {
    warmup: f64,
    by: Unit,
}

described! {
    Pace = "schedule", "what every schedule can say beside the settings of its `type`";
    warmup: f64, Some(0.0), (0.0..).into(), "how long the rate rises from 0 first; the lengths of the rule count from the start all the same";
    by: Unit, Some(Unit::Epoch), Range::ANY, "what all lengths are counted in";
}

/// What the lengths of a schedule are counted in.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Epoch,
    Step,
}

impl SettingType for Unit {
    fn expects() -> String {
        "\"epoch\" or \"step\"".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Unit> {
        match value.as_str() {
            Some("epoch") => Ok(Unit::Epoch),
            Some("step") => Ok(Unit::Step),
            _ => Err(Error::setting(format!("should be {}, got {value}", Unit::expects()))),
        }
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::String(if *self == Unit::Step { "step" } else { "epoch" }.into())))
    }
}

impl Schedule {
    /// By this rule, without a warm-up.
    pub fn new(rule: impl Rule + 'static) -> Schedule {
        Schedule::of(Arc::new(rule))
    }

    fn of(rule: Arc<dyn Rule>) -> Schedule {
        Schedule { rule, warmup: 0.0, by_steps: false, planned: None }
    }

    /// Always 1.
    pub fn constant() -> Schedule {
        Schedule::new(Constant {})
    }

    /// From 1 down to 0 along half a cosine over this many epochs, warm-up included
    /// (Loshchilov and Hutter: SGDR, 2017, without restarts).
    pub fn cosine(epochs: f64) -> Schedule {
        Schedule::new(Cosine { length: Some(epochs), floor: 0.0 })
    }

    /// From 1 down to 0 along a line over this many epochs, warm-up included.
    pub fn linear(epochs: f64) -> Schedule {
        Schedule::new(Linear { length: Some(epochs), floor: 0.0 })
    }

    /// The same schedule after a rise from 0 over the first `length` epochs (or steps).
    #[must_use]
    pub fn warmup(mut self, length: f64) -> Schedule {
        self.warmup = length;
        self
    }

    /// All lengths of the schedule are numbers of steps, not of epochs.
    #[must_use]
    pub fn by_steps(mut self) -> Schedule {
        self.by_steps = true;
        self
    }

    /// How long the training is going to be, in epochs or steps: the length of rules that have none of their own. By
    /// default it is what [`Fit::epochs`](crate::train::Fit::epochs) says.
    #[must_use]
    pub fn over(mut self, planned: f64) -> Schedule {
        self.planned = Some(planned);
        self
    }

    /// Refuses lengths and factors that no schedule of a file could have.
    ///
    /// # Errors
    /// A setting of the rule, the warm-up or the length of the training is out of its range, or NaN; the message names
    /// it.
    pub fn validate(&self) -> Result<()> {
        self.rule.validate()?;
        let lengths =
            [("warmup", Some(self.warmup), Range::from(0.0..)), ("over", self.planned, Range::above(0.0))];
        for (name, length, range) in lengths {
            if let Some(length) = length.filter(|&length| !range.contains(length)) {
                return Err(Error::setting(format!("`{name}` is {length}, it must be {range}")));
            }
        }
        Ok(())
    }

    /// Refuses a schedule that lasts for the whole training where nobody says how long that is.
    ///
    /// # Errors
    /// A rule has no length of its own, and the moment knows no plan in its unit.
    pub fn check(&self, moment: &Moment) -> Result<()> {
        let (at, planned) = (0.0, self.planned_at(moment));
        if !self.rule.lacks_length(&Position { at, warmup: self.warmup, planned, moment: *moment }) {
            return Ok(());
        }
        let unit = if self.by_steps { "steps" } else { "epochs" };
        Err(Error::of(
            ErrorKind::Setting,
            format!("{self:?} lasts for the whole training, and nobody says how many {unit} that has"),
        )
        .advice(
            "give it a `length`, or train by `fit` with a number of epochs",
            format!("say so with --set schedule.length={}", unit.to_uppercase()),
        ))
    }

    /// The length of the whole training in the schedule's unit.
    fn planned_at(&self, moment: &Moment) -> Option<f64> {
        self.planned.or_else(|| match (self.by_steps, moment.batches) {
            (false, _) => Some(moment.planned? as f64),
            (true, 0) => None,
            (true, batches) => Some(moment.planned? as f64 * batches as f64),
        })
    }

    /// Whether its lengths are numbers of steps.
    pub fn is_by_steps(&self) -> bool {
        self.by_steps
    }

    /// How long the rise from 0 takes at the start, in epochs or steps.
    pub fn warmup_length(&self) -> f64 {
        self.warmup
    }

    /// The factor for the step that comes next.
    pub fn factor(&self, moment: &Moment) -> f64 {
        let (at, half_a_step) = match self.by_steps {
            true => (moment.step as f64, 0.5),
            false => (moment.epochs(), 0.5 / moment.batches.max(1) as f64),
        };
        if at < self.warmup {
            // A warm-up of less than half a step is over at once.
            return (at.max(half_a_step) / self.warmup).min(1.0);
        }
        let (warmup, planned) = (self.warmup, self.planned_at(moment));
        self.rule.factor(&Position { at, warmup, planned, moment: *moment })
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule::constant()
    }
}

impl<F: Fn(&Moment) -> f64 + Send + Sync + 'static> From<F> for Schedule {
    fn from(factor: F) -> Schedule {
        Schedule::new(factor)
    }
}

/// The name of a rule, or a table with `type`, its settings, and perhaps `warmup` and `by`.
impl SettingType for Schedule {
    fn expects() -> String {
        "a schedule such as \"cosine\" or { type = \"linear\", warmup = 1.0 }".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Schedule> {
        let (mut rule, mut pace) = (value.clone(), Table::new());
        if let Value::Table(rule) = &mut rule {
            for setting in Pace::declaration().settings {
                if let Some(value) = rule.remove(setting.name) {
                    pace.insert(setting.name.into(), value);
                }
            }
        }
        let rule: Box<dyn Rule> = context.build("schedule", &rule)?;
        let Pace { warmup, by } = Pace::read(&pace, context)?;
        Ok(Schedule { warmup, by_steps: by == Unit::Step, ..Schedule::of(Arc::from(rule)) })
    }

    fn kind() -> Option<&'static str> {
        Some("schedule")
    }

    fn write(&self) -> Result<Option<Value>> {
        let mut table = self.rule.config()?;
        let by = if self.by_steps { Unit::Step } else { Unit::Epoch };
        table.extend(Pace { warmup: self.warmup, by }.write()?);
        Ok(Some(Value::Table(table)))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule.config().ok().and_then(|table| Some(table.get(TYPE)?.as_str()?.to_string()));
        let rule = rule.unwrap_or_else(|| "a function".into());
        let unit = if self.by_steps { "steps" } else { "epochs" };
        write!(f, "Schedule({rule}, warm-up of {} {unit})", self.warmup)
    }
}

/// What a rule declared with [`described!`](crate::described) says of itself.
macro_rules! config {
    () => {
        fn validate(&self) -> crate::Result<()> {
            use crate::settings::{Context, Described};
            // Reading looks at all ranges.
            let settings = Described::write(self)?;
            <Self as Described>::read(&settings, &Context::NONE).map(drop)
        }

        fn config(&self) -> crate::Result<crate::settings::Table> {
            crate::settings::Described::write_named(self)
        }
    };
}
use config;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(schedule: &Schedule, epoch: u64, batch: usize) -> f64 {
        schedule.factor(&Moment { step: epoch * 10 + batch as u64, epoch, batch, batches: 10, planned: None })
    }

    #[test]
    fn shapes() {
        let cosine = Schedule::cosine(4.0);
        assert_eq!([at(&cosine, 0, 0), at(&cosine, 4, 0), at(&cosine, 9, 0)], [1.0, 0.0, 0.0]);
        assert!((at(&cosine, 2, 0) - 0.5).abs() < 1e-12);
        let linear = Schedule::linear(3.0).warmup(1.0);
        assert_eq!([at(&linear, 0, 5), at(&linear, 1, 0), at(&linear, 2, 0)], [0.5, 1.0, 0.5]);
        assert!(at(&linear, 0, 0) > 0.0, "the first step trains");
        assert_eq!(at(&Schedule::constant(), 77, 3), 1.0);
        assert_eq!(at(&Schedule::linear(1.0).warmup(1.0), 1, 0), 0.0);
    }

    #[test]
    fn lengths_are_steps_or_the_whole_training() {
        let by_steps = Schedule::linear(30.0).warmup(10.0).by_steps();
        assert_eq!([at(&by_steps, 0, 5), at(&by_steps, 1, 0), at(&by_steps, 2, 0)], [0.5, 1.0, 0.5]);
        let whole = Schedule::new(Cosine { length: None, floor: 0.0 }).over(4.0);
        assert!((at(&whole, 2, 0) - 0.5).abs() < 1e-12);
        let moment = |epoch, planned| Moment { step: epoch * 10, epoch, batch: 0, batches: 10, planned };
        let whole = || Schedule::new(Cosine { length: None, floor: 0.0 });
        assert!((whole().factor(&moment(2, Some(4))) - 0.5).abs() < 1e-12);
        assert!((whole().by_steps().factor(&moment(2, Some(4))) - 0.5).abs() < 1e-12);
        let chained = Schedule::new(Chained { schedules: vec![whole(), Schedule::constant()] });
        assert!((chained.factor(&moment(2, Some(4))) - 0.5).abs() < 1e-12);
        for schedule in [whole(), whole().by_steps(), chained] {
            assert!(schedule.check(&moment(0, Some(4))).is_ok());
            let error = schedule.check(&moment(0, None)).unwrap_err().to_string();
            assert!(error.contains("`length`"), "{error}");
        }
        assert!(Schedule::cosine(3.0).check(&moment(0, None)).is_ok());
        let floor = Schedule::new(Linear { length: Some(2.0), floor: 0.2 });
        assert!((at(&floor, 1, 0) - 0.6).abs() < 1e-12 && (at(&floor, 5, 0) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn a_warm_up_shorter_than_a_step_is_no_rise_above_1() {
        let schedule = Schedule::constant().warmup(0.2);
        let only = |epoch| Moment { step: epoch, epoch, batch: 0, batches: 1, planned: None };
        assert_eq!([schedule.factor(&only(0)), schedule.factor(&only(1))], [1.0, 1.0]);
    }

    #[test]
    fn time_goes_by_epochs_where_their_length_is_unknown() {
        let first = Moment { step: 70, epoch: 0, batch: 70, batches: 0, planned: None };
        assert_eq!(Schedule::cosine(10.0).factor(&first), 1.0);
        let longer = Moment { step: 170, epoch: 1, batch: 100, batches: 70, planned: None };
        assert_eq!(longer.epochs(), 2.0);
    }

    /// The factors of a rule at the starts of epochs.
    fn factors(rule: impl Rule + 'static, epochs: u64) -> Vec<f64> {
        let schedule = Schedule::new(rule);
        (0..epochs).map(|epoch| at(&schedule, epoch, 0)).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(found.len() == expected.len() && close, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn rates_fall_as_those_of_pytorch() {
        assert_close(&factors(Steps { every: 2.0, gamma: 0.5 }, 6), &[1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
        let milestones = Milestones { at: vec![1.0, 4.0], gamma: 0.1 };
        assert_close(&factors(milestones, 5), &[1.0, 0.1, 0.1, 0.1, 0.01]);
        assert_close(&factors(Exponential { gamma: 0.5 }, 4), &[1.0, 0.5, 0.25, 0.125]);
        let polynomial = Polynomial { length: Some(4.0), power: 2.0, floor: 0.0 };
        assert_close(&factors(polynomial, 6), &[1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]);
        let restarts = CosineRestarts { first: 2.0, growth: 2.0, floor: 0.0 };
        let quarter = std::f64::consts::FRAC_PI_4.cos();
        let long = [1.0, 0.5 + 0.5 * quarter, 0.5, 0.5 - 0.5 * quarter];
        assert_close(&factors(restarts, 7), &[&[1.0, 0.5], &long[..], &[1.0]].concat());
        let triangles = Triangles { rise: 2.0, fall: Some(1.0), floor: 0.1 };
        assert_close(&factors(triangles, 5), &[0.1, 0.55, 1.0, 0.1, 0.55]);
        let root = Schedule::new(InverseRoot {}).warmup(4.0);
        assert_close(&[at(&root, 2, 0), at(&root, 4, 0), at(&root, 16, 0)], &[0.5, 1.0, 0.5]);
        assert_close(&factors(InverseRoot {}, 5)[..2], &[1.0, 1.0]);
    }

    #[test]
    fn one_cycle_rises_and_falls_further() {
        let cycle = Schedule::new(OneCycle { length: Some(10.0), rise: 0.4, start: 10.0, end: 5.0 });
        let expected = [0.1, 0.55, 1.0, 0.51, 0.02, 0.02];
        assert_close(&[0, 2, 4, 7, 10, 20].map(|epoch| at(&cycle, epoch, 0)), &expected);
        let falls_only = Schedule::new(OneCycle { length: Some(10.0), rise: 0.0, start: 10.0, end: 5.0 });
        assert_close(&[at(&falls_only, 0, 0), at(&falls_only, 10, 0)], &[1.0, 0.02]);
    }

    #[test]
    fn chained_schedules_multiply() {
        let parts = vec![Schedule::linear(4.0), Schedule::new(Exponential { gamma: 0.5 })];
        assert_close(&factors(Chained { schedules: parts }, 3), &[1.0, 0.375, 0.125]);
    }
}
