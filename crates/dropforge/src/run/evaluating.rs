//! Measuring trained networks on data.

use super::{InputSpec, Trained};
use crate::loss::{Loss, bce, bce_with_logits, cross_entropy, mse, nll};
use crate::metric::Metric;
use crate::step::{Batch, Evaluation, Meter};
use crate::train::IntoSource;
use crate::train::alike::{map_classes, no_class, some};
use crate::{DType, Error, Result, Tensor};
use dropforge_data::{Description, ElementType, Loader, LoaderOptions, Source, TARGET};
use dropforge_ir::{Array, Data};
use std::sync::Arc;

/// What a network gives for a batch of samples: see [`Trained::each_batch`].
#[derive(Clone, Copy)]
pub struct Predicted<'a> {
    /// The first field that the network takes, normalised as those trained on.
    pub inputs: &'a Array,
    /// What the network gives: scores of the classes, or numbers.
    pub scores: &'a Tensor,
    /// What it should give.
    pub targets: &'a Tensor,
    /// How many samples there are.
    pub samples: usize,
}

impl Trained {
    /// Measures the network on samples like those trained on, so many at a time: by the loss and the metrics of its own
    /// training, whatever these are, which are in the run as a program. Classes are told by their names: their order
    /// may be another one.
    ///
    /// A metric of a program's own that is no [quotient](Metric::is_quotient) is left out unless it is
    /// [known](Trained::know).
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// # let run = std::env::temp_dir().join(format!("dropforge-doc-evaluate-{}", std::process::id()));
    /// let (train, test) = datasets::digits(200, 50, 1);
    /// // A loss that no file can name.
    /// let own_loss = |scores: &Tensor, classes: &Tensor| cross_entropy().loss(&(scores * 2.0), classes);
    /// let net = seq![flatten(), dense(10)];
    /// let mut trainer = Trainer::new(net, own_loss, Adam::new(1e-2)).batch(50).compile(&train)?;
    /// trainer.epoch(&train)?;
    /// trainer.save(&run)?;
    /// let measured = Trained::open(&run, &Runtime::shared()?)?.evaluate(&test, 50)?;
    /// assert!((measured.loss - trainer.evaluate(&test)?.loss).abs() < 1e-5);
    /// # std::fs::remove_dir_all(run).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// The samples have another shape or a class that the run does not know, or cannot be read; or the run does not say
    /// how it is measured, as those of earlier versions that a program of its own trained: see
    /// [`evaluate_by`](Trained::evaluate_by). A network of an ONNX file is measured by what suits the targets.
    pub fn evaluate(&self, test: &impl IntoSource, batch: usize) -> Result<Evaluation> {
        let source = test.source();
        let Some(measuring) = self.measuring() else {
            return self.evaluate_by(test, batch, self.meter(&*source)?);
        };
        let names: Vec<&str> = measuring.fields().iter().map(|(name, _)| name.as_str()).collect();
        let order = self.check(&*source)?;
        let batches = batches(source, batch, &names)?;
        measuring.measure(batches.map(|batch| {
            let (samples, mut fields) = batch?;
            if let (Some(order), Some(place)) = (&order, names.iter().position(|name| *name == TARGET)) {
                fields[place] = named(&fields[place], order)?;
            }
            Ok((samples, fields))
        }))
    }

    /// As [`Trained::evaluate`], by this loss and these metrics instead of the run's own, which compare the first
    /// output with the field `target`.
    ///
    /// # Errors
    /// As [`Trained::evaluate`], or prediction and target do not fit the loss or a metric.
    pub fn evaluate_by(&self, test: &impl IntoSource, batch: usize, mut meter: Meter) -> Result<Evaluation> {
        let target = self.inputs().description.as_ref().and_then(|about| about.target());
        if let Some(units) = target.and_then(|target| target.preparation.normalization()) {
            meter = meter.units(units.clone());
        }
        let target = test.source().description().target().map(|target| target.dtype);
        if self.gives_probabilities_of(target == Some(ElementType::I32)) {
            meter = meter.probabilities();
        }
        self.each_batch(test, batch, |predicted| {
            meter.add(predicted.scores, predicted.targets, predicted.samples)
        })?;
        Ok(meter.finish())
    }

    /// What the network gives for the samples of a source, so many at a time, with the field `target`: for figures of
    /// your own. Classes are numbered as the run numbers them.
    ///
    /// # Errors
    /// As [`Trained::evaluate`], or what `each` returned.
    pub fn each_batch(
        &self,
        source: &impl IntoSource,
        batch: usize,
        mut each: impl FnMut(&Predicted<'_>) -> Result<()>,
    ) -> Result<()> {
        let source = source.source();
        let order = self.check(&*source)?;
        let inputs: Vec<&str> = self.input_types().map(|(name, _)| name).collect();
        let names: Vec<&str> = inputs.iter().copied().chain([TARGET]).collect();
        for batch in batches(source, batch, &names)? {
            let (samples, mut fields) = batch?;
            let target = fields.pop().ok_or_else(|| Error::data("there is no target"))?;
            let target = order.as_ref().map_or_else(|| Ok(target.clone()), |order| named(&target, order))?;
            let scores = Tensor::from_array(self.first(&fields)?);
            let targets = Tensor::from_array(target);
            let inputs = fields.first().ok_or_else(|| Error::program("the network takes no field"))?;
            each(&Predicted { inputs, scores: &scores, targets: &targets, samples })?;
        }
        Ok(())
    }

    /// Gives a metric of the training's own, which only the program that trained can compute from its sums, so that
    /// [`Trained::evaluate`] has it, too: one with the same name and the same sums.
    ///
    /// # Errors
    /// The run has no such metric, or does not say how it is measured.
    pub fn know(mut self, metric: impl Metric + 'static) -> Result<Trained> {
        match self.measuring_mut() {
            Some(measuring) => measuring.know(Arc::new(metric))?,
            None => return Err(self.no_measures()),
        }
        Ok(self)
    }

    /// Names of the run's metrics that [`Trained::evaluate`] leaves out, because they have not been made
    /// [known](Trained::know).
    pub fn unknown_metrics(&self) -> Vec<&str> {
        self.measuring().map_or_else(Vec::new, |measuring| measuring.unknown().collect())
    }

    /// Loss and metrics of the run's configuration, to measure it by [`Trained::evaluate_by`]; of a network of an ONNX
    /// file those that suit the targets: cross-entropy for classes and tokens, by what the network ends in (binary of
    /// one output), else the mean squared error.
    ///
    /// # Errors
    /// The run has no configuration, because a program trained it with parts that have no names.
    pub fn meter(&self, source: &dyn Source) -> Result<Meter> {
        let usual: fn(bool) -> Box<dyn Loss> =
            |classes| if classes { Box::new(cross_entropy()) } else { Box::new(mse()) };
        let Some(config) = self.config() else {
            if !self.is_imported() {
                return Err(self.no_measures());
            }
            let target = source.description().field(TARGET);
            let classes = target.is_some_and(|target| target.dtype == ElementType::I32);
            let numbers = self.output_types().next().and_then(|(_, ty)| ty.shape.get(1).copied());
            return Ok(Meter::new(
                match (classes, numbers == Some(1), self.gives_probabilities_of(classes)) {
                    (true, true, true) => Box::new(bce()) as Box<dyn Loss>,
                    (true, true, false) => Box::new(bce_with_logits()),
                    (true, false, true) => Box::new(of_probabilities),
                    (classes, _, _) => usual(classes),
                },
            ));
        };
        let has_classes = !self.classes().is_empty() || self.inputs().vocabulary().is_some();
        let loss = config.loss.as_ref().map_or_else(|| Ok(usual(has_classes)), |loss| loss.build())?;
        let meter = Meter::new(loss);
        Ok(match &config.metrics {
            None => meter,
            Some(metrics) => {
                let metrics = metrics.iter().map(|metric| Ok(metric.build()?.into()));
                meter.metrics(metrics.collect::<Result<Vec<Arc<dyn Metric>>>>()?)
            }
        })
    }

    /// Refuses samples unlike those trained on; gives the run's number of each class, if there are classes.
    fn check(&self, source: &dyn Source) -> Result<Option<Vec<i32>>> {
        let given = InputSpec::of(source);
        let (name, inputs) = (&source.description().name, self.inputs());
        if given.shape != inputs.shape {
            let (given, shape) = (&given.shape, &inputs.shape);
            return Err(Error::data(format!(
                "{name} has inputs of shape {given:?}, the run was trained on {shape:?}"
            )));
        }
        let (mean, std) = (&inputs.mean, &inputs.std);
        if (&given.mean, &given.std) != (mean, std) {
            if self.is_imported() && mean.is_empty() {
                return Err(Error::data(format!(
                    "{name} is normalised by mean {:?} and deviation {:?}, and the ONNX file said nothing of that; if the network \
                     was trained so, import it again with them (`import --mean {} --std {}`)",
                    given.mean,
                    given.std,
                    listed(&given.mean),
                    listed(&given.std)
                )));
            }
            return Err(Error::data(format!(
                "{name} is normalised by mean {:?} and deviation {:?}, the run was trained with {mean:?} and {std:?}; use \
                 those",
                given.mean, given.std
            )));
        }
        if inputs.description.as_ref().is_some_and(|about| about.target().is_some())
            && source.description().target().is_none()
        {
            return Err(Error::data(format!(
                "{name} has no target to compare predictions with; name its column, or add it"
            )));
        }
        let fields = |inputs: &InputSpec| inputs.description.as_ref().map(|about| about.fields.clone());
        if let (Some(then), Some(now)) = (fields(inputs), fields(&given))
            && then != now
        {
            return Err(Error::data(format!(
                "{name} has other columns, other statistics of them or another vocabulary than the run was trained on; \
                 prepare it as the run's data were"
            )));
        }
        self.class_order(given, source.description())
    }

    /// The run's number of each class of a source; `None` for a regression, and where one of both has no names for its
    /// classes, which then are as the other numbers them.
    fn class_order(&self, given: InputSpec, about: &Description) -> Result<Option<Vec<i32>>> {
        let (given, name) = (given.classes, about.name.as_str());
        if given.is_empty() == self.classes().is_empty() {
            let order = (!given.is_empty()).then(|| map_classes(&given, self.classes())).transpose();
            return order.map_err(|error| error.context(name));
        }
        let is_numbered = match given.is_empty() {
            true => about.target().is_some_and(|target| target.dtype == ElementType::I32),
            false => self.measuring().is_some_and(|measuring| {
                measuring.fields().iter().any(|(name, ty)| name == TARGET && ty.dtype == DType::I32)
            }),
        };
        if is_numbered {
            return Ok(None);
        }
        if self.is_imported() {
            return self.unnamed_classes(given.len(), name);
        }
        let what = |classes: bool| if classes { "classes" } else { "values" };
        Err(Error::data(format!(
            "{name} has {} as targets, the run was trained on {}",
            what(!given.is_empty()),
            what(given.is_empty())
        )))
    }

    /// Where an ONNX file has said nothing of classes: those of the data are taken in their order, if there are as
    /// many.
    fn unnamed_classes(&self, given: usize, name: &str) -> Result<Option<Vec<i32>>> {
        let numbers = self.output_types().next().and_then(|(_, ty)| ty.shape.get(1).copied()).unwrap_or(1);
        match (given, self.classes().is_empty()) {
            (0, _) => Err(Error::data(format!(
                "{name} has values as targets, and the ONNX file was imported with the classes {}",
                some(self.classes().iter().map(String::as_str))
            ))),
            (_, true) if given == numbers || (given, numbers) == (2, 1) => Ok(None),
            _ => Err(Error::data(format!(
                "{name} has {given} classes, and the network gives {numbers} numbers for each sample; import it with the \
                 names of its classes in the order of its outputs (`import --classes`), so that those of the data are known"
            ))),
        }
    }
}

/// The cross-entropy of probabilities with classes.
fn of_probabilities(given: &Tensor, classes: &Tensor) -> Tensor {
    nll().loss(&given.widened().maximum(f32::MIN_POSITIVE).log(), classes)
}

/// Numbers as they stand on the command line.
fn listed(numbers: &[f32]) -> String {
    numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(",")
}

/// The fields of these names of all samples, batch after batch, with how many samples each has.
pub(super) fn batches(
    source: Arc<dyn Source>,
    batch: usize,
    names: &[&str],
) -> Result<impl Iterator<Item = Result<(usize, Vec<Array>)>>> {
    let description = source.description();
    if let Some(missing) = names.iter().find(|name| description.field(name).is_none()) {
        let there: Vec<&str> = description.fields.iter().map(|field| field.name.as_str()).collect();
        return Err(Error::data(format!(
            "{} has no field \"{missing}\", which the run needs; it has {}",
            description.name,
            there.join(", ")
        )));
    }
    let options = LoaderOptions { batch, shuffle: false, ..LoaderOptions::default() };
    let epoch = Loader::new(source, options)?.epoch(0, 0);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Ok(epoch.map(move |batch| {
        let batch = Batch::from(batch?);
        let fields = names.iter().map(|name| batch.get(name).to_array());
        Ok((batch.samples()?, fields.collect::<Result<_>>()?))
    }))
}

/// Classes by the numbers of the run.
fn named(targets: &Array, order: &[i32]) -> Result<Array> {
    let number = |&class: &i32| {
        let outside = || Error::data(no_class(class, order.len()));
        usize::try_from(class).ok().and_then(|class| order.get(class).copied()).ok_or_else(outside)
    };
    let Some(classes) = targets.as_i32() else { return Ok(targets.clone()) };
    let classes = classes.iter().map(number).collect::<Result<Vec<i32>>>()?;
    Array::new(targets.shape().clone(), Data::I32(classes)).ok_or_else(|| Error::data("a target is missing"))
}
