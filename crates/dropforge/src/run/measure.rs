//! Measuring a trained network by the program of its own loss and metrics that its run holds.

use super::forward::{Buffers, KEPT_SIZES, Weights, place};
use super::manifest::{Measures, StoredMetric};
use super::registry::build;
use crate::metric::{Better, Figure, Figures, Metric, Slot, SumState, Unit, finish, numbers};
use crate::settings;
use crate::step::{Evaluation, verify};
use crate::tensor::check::IndexCheck;
use crate::{Error, Result};
use dropforge_ir::text::Template;
use dropforge_ir::{Array, Program, ValueType};
use dropforge_runtime::{Argument, Executable};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How many evaluations at once keep their memory.
const KEPT_COPIES: usize = 8;

impl StoredMetric {
    /// What is to be kept of a metric and its sums.
    pub fn of(slot: &Slot) -> StoredMetric {
        let metric = &slot.metric;
        let config = metric.config().ok();
        // The mean loss is one, too.
        let is_quotient = config.is_none() && (metric.is_quotient() || metric.name() == "loss");
        let unit = is_quotient.then(|| metric.compute(&[vec![1.0], vec![2.0]]));
        StoredMetric {
            name: metric.name(),
            sums: slot.states.iter().map(|state| state.sum.clone()).collect(),
            rests: slot.states.iter().map(|state| state.rest.clone()).collect(),
            kept: slot.kept.iter().map(|(name, _)| name.clone()).collect(),
            quotient: unit.and_then(|values| values.iter().next().map(|value| value.unit)),
            better: metric.better().filter(|_| config.is_none()),
            metric: config,
        }
    }
}

/// How sums become numbers.
enum Finish {
    Quotient(Unit, Option<Better>),
    Metric(Arc<dyn Metric>),
    /// Only the program that trained the run knows.
    Unknown,
}

struct StoredFigure {
    name: String,
    sums: Vec<(String, String)>,
    /// What it keeps of every batch, by the name of the output.
    kept: Vec<String>,
    finish: Finish,
}

/// The program of a run that measures, over the weights that predictions have, too. Several threads may use it at once.
pub(super) struct Measuring {
    template: Template,
    constants: Buffers,
    weights: Arc<Weights>,
    /// Names of the fields that it takes, and what one sample of each is.
    fields: Vec<(String, ValueType)>,
    /// The field with class indices, and how many classes there are.
    classes: Option<(String, usize)>,
    /// The mean loss first.
    figures: Vec<StoredFigure>,
    /// The types of the states that it adds to.
    sums: Vec<(String, ValueType)>,
    /// What outputs say whether it holds, by their places.
    checks: Vec<(usize, IndexCheck)>,
    idle: Mutex<Vec<Session>>,
}

/// The sums of one evaluation, with the programs that add to them.
struct Session {
    buffers: Buffers,
    programs: HashMap<usize, (Executable, Vec<f32>)>,
    /// What is kept of the batches so far.
    kept: BTreeMap<String, Vec<f64>>,
}

/// Names of all states that a program of these measures adds to.
pub(super) fn sums_of(measures: &Measures) -> HashSet<&str> {
    let names = measures.metrics.iter().flat_map(|metric| metric.sums.iter().chain(&metric.rests));
    names.map(String::as_str).collect()
}

impl Measuring {
    /// From the text of a run and its program for a batch of one.
    pub fn from_text(
        template: Template,
        program: &Program,
        constants: BTreeMap<String, Array>,
        measures: &Measures,
        weights: Arc<Weights>,
    ) -> Result<Measuring> {
        let sums = program.states.iter().filter(|port| port.write.is_some());
        let sums: Vec<(String, ValueType)> =
            sums.map(|port| (port.name.clone(), program.ty(port.value).clone())).collect();
        let named = sums_of(measures);
        if sums.len() != named.len() || !sums.iter().all(|(name, _)| named.contains(name.as_str())) {
            return Err(Error::file("its metrics and the program that measures do not belong together"));
        }
        let figures = measures.metrics.iter().map(StoredFigure::of).collect::<Result<Vec<_>>>()?;
        if figures.first().is_none_or(|loss| loss.sums.len() != 2) {
            return Err(Error::file("its metrics do not begin with the loss"));
        }
        let sample = |ty: &ValueType| ValueType::new(ty.dtype, ty.shape.get(1..).unwrap_or_default());
        let fields = program.inputs.iter().map(|input| (input.name.clone(), sample(program.ty(input.value))));
        let outputs = program.outputs.iter().enumerate();
        let checks =
            outputs.filter_map(|(place, output)| Some((place, IndexCheck::of_output(&output.name)?)));
        Ok(Measuring {
            constants: place(constants, &weights.runtime)?,
            fields: fields.collect(),
            classes: measures.classes.as_ref().map(|classes| (classes.field.clone(), classes.count)),
            template,
            weights,
            figures,
            sums,
            checks: checks.collect(),
            idle: Mutex::default(),
        })
    }

    /// Names of the fields that it takes, and element type and shape of one sample of each.
    pub fn fields(&self) -> &[(String, ValueType)] {
        &self.fields
    }

    /// Names of the metrics of which only the sums are known.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let unknown = self.figures.iter().filter(|figure| matches!(figure.finish, Finish::Unknown));
        unknown.map(|figure| figure.name.as_str())
    }

    /// Has the sums of the metric of this name become numbers by the metric itself.
    pub fn know(&mut self, metric: Arc<dyn Metric>) -> Result<()> {
        let name = metric.name();
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.finish = Finish::Metric(metric),
            None => {
                let known: Vec<&str> = self.figures.iter().map(|figure| figure.name.as_str()).collect();
                let known = known.join(", ");
                return Err(Error::file(format!("{name} was not measured in this run; there are {known}")));
            }
        }
        Ok(())
    }

    /// A listing of the kernels and the memory for a batch of this size.
    pub fn explain(&self, batch: usize) -> Result<String> {
        let own = self.session()?.buffers.into_iter().chain(self.constants.clone()).collect();
        let (executable, _) =
            self.weights.load(&self.template.instantiate(batch)?, &own, &BTreeMap::new())?;
        Ok(executable.explain())
    }

    /// Loss and metrics over batches, each with its number of samples and the fields in the order of their names.
    pub fn measure(
        &self,
        batches: impl IntoIterator<Item = Result<(usize, Vec<Array>)>>,
    ) -> Result<Evaluation> {
        let started = Instant::now();
        let mut session = match self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(session) => session,
            None => self.session()?,
        };
        session.kept.clear();
        session.buffers.values().try_for_each(|buffer| buffer.write(&Array::zeros(buffer.ty())))?;
        for batch in batches {
            let (samples, fields) = batch?;
            if samples > 0 {
                self.add(&mut session, samples, &fields)?;
            }
        }
        let mut measured = self.read(&session)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_COPIES {
            idle.push(session);
        }
        measured.seconds = started.elapsed().as_secs_f64();
        Ok(measured)
    }

    fn session(&self) -> Result<Session> {
        let buffer = |(name, ty): &(String, ValueType)| {
            Ok((name.clone(), self.weights.runtime.device().allocate(ty)?))
        };
        let buffers = self.sums.iter().map(buffer).collect::<Result<Buffers>>()?;
        Ok(Session { buffers, programs: HashMap::new(), kept: BTreeMap::new() })
    }

    fn add(&self, session: &mut Session, samples: usize, fields: &[Array]) -> Result<()> {
        for ((name, wanted), array) in self.fields.iter().zip(fields) {
            let ty = array.ty();
            if ty.dtype != wanted.dtype || ty.shape.get(1..) != Some(&*wanted.shape) {
                return Err(Error::data(format!("\"{name}\" has samples of {wanted}, got {ty}")));
            }
            if let Some((_, count)) = self.classes.as_ref().filter(|(field, _)| field == name)
                && let Some(&outside) = array.as_i32().and_then(|all| {
                    all.iter().find(|class| !usize::try_from(**class).is_ok_and(|class| class < *count))
                })
            {
                return Err(Error::data(crate::train::alike::no_class(outside, *count)));
            }
        }
        if !session.programs.contains_key(&samples) {
            if session.programs.len() >= KEPT_SIZES {
                session.programs.clear();
            }
            let own = session.buffers.clone().into_iter().chain(self.constants.clone()).collect();
            let program = self.template.instantiate(samples)?;
            session.programs.insert(samples, self.weights.load(&program, &own, &BTreeMap::new())?);
        }
        if let Some((executable, hypers)) = session.programs.get_mut(&samples) {
            let arguments: Vec<Argument<'_>> = fields.iter().map(Argument::Host).collect();
            let outputs = executable.run(&arguments, hypers)?;
            verify(self.checks.iter().filter_map(|(place, check)| Some((check, outputs.get(*place)?))))?;
            for (port, output) in executable.plan().program.outputs.iter().zip(outputs) {
                if self.figures.iter().any(|figure| figure.kept.contains(&port.name)) {
                    session.kept.entry(port.name.clone()).or_default().extend(numbers(&output.read()?));
                }
            }
        }
        Ok(())
    }

    fn read(&self, session: &Session) -> Result<Evaluation> {
        let array = |name: &String| match session.buffers.get(name) {
            Some(buffer) => Ok(buffer.read()?),
            None => Err(Error::file(format!("the program adds up no {name}"))),
        };
        let mut evaluation =
            Evaluation { loss: f64::NAN, samples: 0, seconds: 0.0, metrics: Figures::default() };
        for (index, figure) in self.figures.iter().enumerate() {
            let sums = figure.sums.iter().map(|(sum, rest)| Ok(SumState::value(&array(sum)?, &array(rest)?)));
            let mut sums = sums.collect::<Result<Vec<Vec<f64>>>>()?;
            sums.extend(figure.kept.iter().map(|name| session.kept.get(name).cloned().unwrap_or_default()));
            if index == 0 {
                let of = |sum: usize| sums[sum].first().copied().unwrap_or(0.0);
                (evaluation.loss, evaluation.samples) = (of(0) / of(1), of(1) as u64);
                continue;
            }
            evaluation.metrics = evaluation.metrics.and(figure.values(&sums));
        }
        Ok(evaluation)
    }
}

impl StoredFigure {
    fn of(stored: &StoredMetric) -> Result<StoredFigure> {
        let StoredMetric { name, sums, rests, kept, quotient, better, metric } = stored.clone();
        if sums.len() != rests.len() || (quotient.is_some() && sums.len() != 2) {
            return Err(Error::file(format!("the sums of {name} are not whole")));
        }
        let finish = match (quotient, metric) {
            (Some(unit), _) => Finish::Quotient(unit, better),
            (None, Some(table)) => {
                Finish::Metric(build::<dyn Metric>(&settings::Value::Table(table))?.into())
            }
            (None, None) => Finish::Unknown,
        };
        Ok(StoredFigure { name, sums: sums.into_iter().zip(rests).collect(), kept, finish })
    }

    fn values(&self, sums: &[Vec<f64>]) -> Figures {
        match &self.finish {
            Finish::Metric(metric) => finish(&**metric, sums),
            Finish::Quotient(unit, better) => {
                let of = |sum: usize| sums.get(sum).and_then(|sum| sum.first()).copied().unwrap_or(f64::NAN);
                let value = of(0) / of(1);
                Figures::of(Figure { name: self.name.clone(), value, unit: *unit, better: *better })
            }
            Finish::Unknown => Figures::default(),
        }
    }
}
