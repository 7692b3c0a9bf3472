//! A trained network, as a run has left it.

use super::checkpoint::load_model;
use super::chosen::Chosen;
use super::forward::{Forward, Stored};
use super::manifest::Manifest;
use super::raw::IntoRaw;
use super::run_dir::{CHOICES, MODEL, OPTIMIZER, has_config, read_latest};
use super::safetensors::TensorFile;
use super::{Environment, InputSpec, RunConfig};
use crate::loss::{cross_entropy, mse};
use crate::nn::Layer;
use crate::step::{Batch, Choices, Evaluation, Meter, NetworkBuilder};
use crate::train::IntoSource;
use crate::{DType, Error, Result, Runtime, Tensor};
use dropforge_data::{Loader, LoaderOptions, Source};
use dropforge_ir::ValueType;
use std::path::Path;
use std::sync::Arc;

/// A trained network, to predict and to measure: what a run holds is enough, whatever program trained it. Nothing that only
/// training needs is loaded. Several threads may use it at once; they share the weights.
///
/// ```
/// use dropforge::prelude::*;
///
/// # let run = std::env::temp_dir().join(format!("dropforge-doc-trained-{}", std::process::id()));
/// let (train, _) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), |scope: &Scope, x: &Tensor| scope.layer("head", &dense(10), x)];
/// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).batch(50).compile(&train)?;
/// trainer.epoch(&train)?;
/// trainer.save(&run)?;
/// // In another program, which knows nothing of the layers:
/// let trained = Trained::open(&run, &Runtime::shared()?)?;
/// let best = &trained.classify(vec![0u8; 28 * 28])?[0];
/// println!("{} ({:.1} %)", best.class, best.probability * 100.0);
/// # std::fs::remove_dir_all(run).unwrap();
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct Trained {
    inputs: InputSpec,
    config: Option<RunConfig>,
    environment: Option<Environment>,
    forward: Forward,
}

/// The most probable class of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// Name of the class.
    pub class: String,
    /// Its number.
    pub index: usize,
    /// How probable it is, from 0 to 1.
    pub probability: f32,
}

impl Trained {
    /// Loads the newest checkpoint of a run.
    ///
    /// # Errors
    /// The folder is no run, has no checkpoint yet, its weights do not fit its program, or its network works with some batch
    /// sizes only: then [`Trained::open_with`] opens it.
    pub fn open(run: impl AsRef<Path>, runtime: &Runtime) -> Result<Trained> {
        let run = run.as_ref();
        let newest = read_latest(run, |checkpoint| {
            let Some(manifest) = Manifest::read(checkpoint)? else { return Ok(None) };
            let stored = Stored::read(checkpoint, &manifest)?;
            let forward = stored.map(|stored| load_stored(checkpoint, stored, runtime)).transpose()?;
            Ok(Some((manifest, forward)))
        });
        match newest?.ok_or_else(|| no_checkpoint(run))? {
            Some((manifest, Some(forward))) => {
                fits(&manifest.inputs, forward.sample()).map_err(|error| error.context(run.display()))?;
                let Manifest { inputs, environment, .. } = manifest;
                Ok(Trained { inputs, config: config_of(run)?, environment: Some(environment), forward })
            }
            // Runs of the first version hold no programs; the configuration says what the layers are.
            None => {
                let config = RunConfig::open(run)?;
                let net = config.model.build(config.inputs.classes.len())?;
                let sample = ValueType::new(DType::F32, config.inputs.shape.as_slice());
                let inputs = config.inputs.clone();
                Ok(Trained {
                    config: Some(config),
                    ..Trained::with_layers(run, inputs, sample, net, runtime)?
                })
            }
            Some((manifest, None)) => {
                let reason = manifest.own_program_only.unwrap_or_default();
                Err(Error::new(format!(
                    "{}: the network has no program for all batch sizes ({reason}); open the run with \
                     Trained::open_with and the layers",
                    run.display()
                )))
            }
        }
    }

    /// As [`Trained::open`], with the layers that were trained instead of the programs that the run holds.
    ///
    /// # Errors
    /// As [`Trained::open`], and the layers are others.
    pub fn open_with(run: impl AsRef<Path>, net: impl Layer + 'static, runtime: &Runtime) -> Result<Trained> {
        let run = run.as_ref();
        let manifest = read_latest(run, Manifest::read)?.ok_or_else(|| no_checkpoint(run))?;
        let (inputs, sample, environment) = match manifest {
            Some(manifest) => (manifest.inputs.clone(), manifest.sample()?, Some(manifest.environment)),
            None => {
                let inputs = RunConfig::open(run)?.inputs;
                let sample = ValueType::new(DType::F32, inputs.shape.as_slice());
                (inputs, sample, None)
            }
        };
        let trained = Trained::with_layers(run, inputs, sample, Box::new(net), runtime)?;
        Ok(Trained { environment, ..trained })
    }

    fn with_layers(
        run: &Path,
        inputs: InputSpec,
        sample: ValueType,
        net: Box<dyn Layer>,
        runtime: &Runtime,
    ) -> Result<Trained> {
        let net: Arc<dyn Layer> = net.into();
        let mut network = NetworkBuilder::new(net.clone()).runtime(runtime).compile(sample)?;
        load_model(run, &mut network)?;
        let choices = network.choices().clone();
        let forward = Forward::from_layers(net, &network, choices)?;
        Ok(Trained { inputs, config: None, environment: None, forward })
    }

    /// What the run was started with; `None` if a program of its own trained it.
    pub fn config(&self) -> Option<&RunConfig> {
        self.config.as_ref()
    }

    /// What trained it; `None` in runs of the first version.
    pub fn environment(&self) -> Option<&Environment> {
        self.environment.as_ref()
    }

    /// What inputs look like, and what outputs mean.
    pub fn inputs(&self) -> &InputSpec {
        &self.inputs
    }

    /// Names of the classes, in the order of the outputs; empty for a regression.
    pub fn classes(&self) -> &[String] {
        &self.inputs.classes
    }

    /// What the network gives for raw inputs, which are normalised as those that it was trained on.
    ///
    /// # Errors
    /// The inputs have another shape or type, or the device fails.
    pub fn predict(&self, inputs: impl IntoRaw) -> Result<Tensor> {
        let array = inputs.into_raw()?.prepare(&self.inputs, self.forward.sample())?;
        Ok(Tensor::from_array(self.forward.run(&array)?))
    }

    /// The probability of each class for each raw input.
    ///
    /// # Errors
    /// As [`Trained::predict`], or the network gives no score per class.
    pub fn probabilities(&self, inputs: impl IntoRaw) -> Result<Vec<Vec<f32>>> {
        self.softmax(&self.predict(inputs)?)
    }

    /// The most probable class of each raw input.
    ///
    /// # Errors
    /// As [`Trained::probabilities`], or the run has no classes.
    pub fn classify(&self, inputs: impl IntoRaw) -> Result<Vec<Classified>> {
        let rows = self.probabilities(inputs)?;
        rows.into_iter().map(|row| self.best(&row)).collect()
    }

    /// The most probable class of one row of [`Trained::probabilities`].
    ///
    /// # Errors
    /// The run has no classes.
    pub fn best(&self, probabilities: &[f32]) -> Result<Classified> {
        let all = self.classes().iter().zip(probabilities).enumerate();
        let best = all.max_by(|(_, a), (_, b)| a.1.total_cmp(b.1));
        let (index, (class, &probability)) =
            best.ok_or_else(|| Error::new("the run has no classes to choose from"))?;
        Ok(Classified { class: class.clone(), index, probability })
    }

    fn softmax(&self, scores: &Tensor) -> Result<Vec<Vec<f32>>> {
        let (&[_, classes], DType::F32) = (scores.shape().iter().as_slice(), scores.dtype()) else {
            return Err(Error::new(format!("the model gives {}, not one score per class", scores.ty())));
        };
        if classes == 0 {
            return Err(Error::new("the model gives no scores"));
        }
        let probabilities = |scores: &[f32]| -> Vec<f32> {
            let largest = scores.iter().fold(f32::NEG_INFINITY, |largest, &score| largest.max(score));
            let parts: Vec<f64> = scores.iter().map(|&score| f64::from(score - largest).exp()).collect();
            let sum: f64 = parts.iter().sum();
            parts.into_iter().map(|part| (part / sum) as f32).collect()
        };
        Ok(scores.to_vec::<f32>()?.chunks(classes).map(probabilities).collect())
    }

    /// The probabilities of all samples of a source, so many at a time: `row` is given the number of each and its
    /// probabilities, or what a regression gives.
    ///
    /// # Errors
    /// As [`Trained::evaluate`], or what `row` returned.
    pub fn predict_all(
        &self,
        source: &impl IntoSource,
        batch: usize,
        mut row: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut number = 0;
        self.batches(source, batch, |scores, _, _| {
            let rows = match self.classes().is_empty() {
                false => self.softmax(scores)?,
                true => {
                    let width =
                        scores.ty().shape.elements() / scores.shape().first().copied().unwrap_or(1).max(1);
                    scores.to_vec::<f32>()?.chunks(width.max(1)).map(<[f32]>::to_vec).collect()
                }
            };
            rows.iter().try_for_each(|values| {
                number += 1;
                row(number - 1, values)
            })
        })
    }

    /// Measures the network on samples like those trained on, so many at a time. Classes are told by their names: their order
    /// may be another one.
    ///
    /// # Errors
    /// The samples have another shape or a class that the run does not know, or cannot be read.
    pub fn evaluate(&self, test: &impl IntoSource, batch: usize) -> Result<Evaluation> {
        let source = test.source();
        let order = self.class_order(&*source)?;
        let mut meter = match &order {
            None => Meter::new(mse()),
            Some(_) => Meter::new(cross_entropy()),
        };
        self.batches(test, batch, |scores, targets, len| {
            let Some(order) = &order else { return meter.add(scores, targets, len) };
            let named = targets.to_vec::<i32>()?.into_iter().map(|class| {
                let outside = || Error::new(format!("there is no class {class}; they go to {}", order.len()));
                usize::try_from(class).ok().and_then(|class| order.get(class).copied()).ok_or_else(outside)
            });
            let targets = Tensor::from_vec(named.collect::<Result<Vec<i32>>>()?, targets.shape().to_vec());
            meter.add(scores, &targets, len)
        })?;
        Ok(meter.finish())
    }

    /// What the network gives for a source, batch after batch, with the targets.
    fn batches(
        &self,
        source: &impl IntoSource,
        batch: usize,
        mut each: impl FnMut(&Tensor, &Tensor, usize) -> Result<()>,
    ) -> Result<()> {
        let source = source.source();
        let description = source.description().clone();
        let given = InputSpec::of(&*source);
        let InputSpec { shape, mean, std, .. } = &self.inputs;
        if given.shape != *shape {
            let (name, given) = (&description.name, &given.shape);
            return Err(Error::new(format!(
                "{name} has inputs of shape {given:?}, the run was trained on {shape:?}"
            )));
        }
        if (&given.mean, &given.std) != (mean, std) {
            return Err(Error::new(format!(
                "{} is normalised by mean {:?} and deviation {:?}, the run was trained with {mean:?} and {std:?}; use \
                 those",
                description.name, given.mean, given.std
            )));
        }
        let options = LoaderOptions { batch, shuffle: false, ..LoaderOptions::default() };
        for batch in Loader::new(source, options)?.epoch(0, 0) {
            let batch = Batch::from(batch?);
            let scores = Tensor::from_array(self.forward.run(&batch.get("input").to_array()?)?);
            each(&scores, &batch.get("target"), batch.samples()?)?;
        }
        Ok(())
    }

    /// The run's number of each class of a source; `None` for a regression.
    fn class_order(&self, source: &dyn Source) -> Result<Option<Vec<i32>>> {
        let (given, name) = (InputSpec::of(source).classes, &source.description().name);
        if given.is_empty() == self.classes().is_empty() {
            let order = (!given.is_empty()).then(|| map_classes(&given, self.classes())).transpose();
            return order.map_err(|error| error.context(name));
        }
        let what = |classes: bool| if classes { "classes" } else { "values" };
        Err(Error::new(format!(
            "{name} has {} as targets, the run was trained on {}",
            what(!given.is_empty()),
            what(given.is_empty())
        )))
    }

    pub(super) fn forward(&self) -> &Forward {
        &self.forward
    }
}

/// For each class the number that the run has for it.
fn map_classes(names: &[String], known: &[String]) -> Result<Vec<i32>> {
    let number = |name: &String| known.iter().position(|known| known == name);
    let unknown: Vec<&str> = names.iter().filter(|name| number(name).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(Error::new(format!(
            "the run was trained on the classes {}; it does not know {}: give the folders those names",
            some(known.iter().map(String::as_str)),
            some(unknown.into_iter())
        )));
    }
    Ok(names.iter().filter_map(|name| number(name).map(|number| number as i32)).collect())
}

/// The first of some names.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = names.take(SHOWN).collect();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn fits(inputs: &InputSpec, sample: &ValueType) -> Result<()> {
    if *sample.shape == *inputs.shape.as_slice() {
        return Ok(());
    }
    Err(Error::new(format!(
        "its program takes samples of {}, its inputs are {:?}",
        sample.shape, inputs.shape
    )))
}

/// The configuration of a run; `None` if a program of its own trained it.
///
/// # Errors
/// The folder is no run, or the configuration is damaged.
pub fn config_of(run: impl AsRef<Path>) -> Result<Option<RunConfig>> {
    let run = run.as_ref();
    if has_config(run)? || read_latest(run, |_| Ok(()))?.is_none() {
        return RunConfig::open(run).map(Some);
    }
    Ok(None)
}

fn no_checkpoint(run: &Path) -> Error {
    Error::new(format!("{}: the run has no checkpoint yet", run.display()))
}

/// Reads the weights of a checkpoint for the programs that it holds.
fn load_stored(checkpoint: &Path, stored: Stored, runtime: &Runtime) -> Result<Forward> {
    let device = runtime.device().name();
    let mut model = TensorFile::open(&checkpoint.join(MODEL))?;
    let mut others = None;
    let choices = Chosen::read(&checkpoint.join(CHOICES))?;
    let choices = choices.and_then(|chosen| chosen.for_device(&device).cloned()).unwrap_or_else(Choices::new);
    let weights = |name: &str, ty: &ValueType| {
        let file = match (model.ty(name), &mut others) {
            (Some(_), _) => &mut model,
            // What random numbers come from, where a prediction draws some.
            (None, Some(others)) => others,
            (None, none) => none.insert(TensorFile::open(&checkpoint.join(OPTIMIZER))?),
        };
        match file.ty(name) {
            None => Err(Error::new(format!("{name} is in the program, but not among the weights"))),
            Some(Err(error)) => Err(error.context(name)),
            Some(Ok(here)) if here != *ty => {
                Err(Error::new(format!("{name} is {here} in the weights, but {ty} in the program")))
            }
            Some(Ok(_)) => file.read(name),
        }
    };
    Forward::from_text(stored, runtime, choices, weights).map_err(|error| error.context(checkpoint.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn classes_are_told_by_their_names() {
        let known = names(&["blue", "red", "green"]);
        assert_eq!(map_classes(&names(&["blue", "red", "green"]), &known).unwrap(), [0, 1, 2]);
        assert_eq!(map_classes(&names(&["green", "blue"]), &known).unwrap(), [2, 0]);
        let message = map_classes(&names(&["Red", "blue"]), &known).unwrap_err().to_string();
        assert!(message.contains("blue, red, green") && message.contains("does not know Red"), "{message}");
        let many: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let message = map_classes(&names(&["x"]), &many).unwrap_err().to_string();
        assert!(message.contains("7 and 12 more"), "{message}");
    }

    #[test]
    fn threads_share_it() {
        fn shared<T: Send + Sync>() {}
        shared::<Trained>();
    }
}
