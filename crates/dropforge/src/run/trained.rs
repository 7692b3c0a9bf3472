//! A trained network, as a run has left it.

use super::calls;
use super::checkpoint::load_model;
use super::checksums;
use super::chosen::Chosen;
use super::evaluating::batches;
use super::forward::{Forward, Weights, no_inputs};
use super::manifest::{self, Manifest, Yes};
use super::measure::{Measuring, sums_of};
use super::packed::Packed;
use super::program_config::unnamed_parts;
use super::raw::{IntoRaw, Raw};
use super::run_dir::{
    BEST, CHOICES, EVALUATE, MODEL, OPTIMIZER, PREDICT, no_checkpoint, read_config_if_any, read_latest,
};
use super::safetensors::TensorFile;
use super::stored::Stored;
use super::{Environment, InputSpec, RunConfig};
use crate::nn::Layer;
use crate::step::{Choices, NetworkBuilder, PREDICTION, SummaryRow};
use crate::train::IntoSource;
use crate::{DType, Error, Result, Runtime, Tensor};
use dropforge_ir::{Array, ValueType};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A trained network, to predict and to measure: what a run holds is enough, whatever program trained it. Nothing that
/// only training needs is loaded. Several threads may use it at once; they share the weights.
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
    /// What measures it; why there is nothing that does.
    measuring: std::result::Result<Measuring, String>,
    parameters: usize,
    layers: Vec<SummaryRow>,
    /// How an output says how probable a yes is, where the loss is of yes and no.
    yes: Option<Yes>,
    /// Whether it comes from a file of others, which says nothing of a loss.
    imported: bool,
}

/// Why nothing measures an imported network.
const FROM_FILE: &str = "it comes from an ONNX file, which says nothing of a loss";

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
    /// Loads the newest checkpoint of a run, or a run that [`pack`](crate::run::pack) has made one file of.
    ///
    /// # Errors
    /// The folder is no run, has no checkpoint yet, its weights do not fit its program, or its network works with some
    /// batch sizes only: then [`Trained::open_with`] opens it.
    pub fn open(run: impl AsRef<Path>, runtime: &Runtime) -> Result<Trained> {
        let run = run.as_ref();
        if calls::is_file(run) {
            return Trained::open_packed(run, runtime);
        }
        Trained::open_weights(run, None, runtime)
    }

    /// From one file.
    fn open_packed(file: &Path, runtime: &Runtime) -> Result<Trained> {
        let Packed { manifest, stored, mut tensors } = Packed::read(file)?;
        let elements = |name: &str, ty: &ValueType| fitting(&mut tensors, name, ty);
        let opened = load_programs(stored, runtime, Choices::new(), elements)
            .and_then(|opened| fits(&manifest.inputs, &opened.0).map(|()| opened));
        let (forward, measuring) = opened.map_err(|error| error.context(file.display()))?;
        Ok(Trained::opened(manifest, None, forward, measuring))
    }

    fn opened(
        manifest: Manifest,
        config: Option<RunConfig>,
        forward: Forward,
        measuring: std::result::Result<Measuring, String>,
    ) -> Trained {
        let imported = manifest.is_imported();
        let measuring = measuring.map_err(|reason| if imported { FROM_FILE.into() } else { reason });
        let Manifest { inputs, environment, layers, parameters, yes, .. } = manifest;
        let layers = layers.into_iter().map(manifest::Layer::row).collect();
        let environment = Some(environment);
        Trained { inputs, config, environment, forward, measuring, parameters, layers, yes, imported }
    }

    /// Loads the best weights of a run whose training kept them: see [`keep_best`](crate::train::keep_best).
    ///
    /// # Errors
    /// As [`Trained::open`], or the run has not kept any.
    pub fn open_best(run: impl AsRef<Path>, runtime: &Runtime) -> Result<Trained> {
        let run = run.as_ref();
        let best = run.join(BEST);
        if calls::is_file(run) {
            let path = run.display();
            return Err(Error::file(format!(
                "{path}: one file holds one set of weights; open the folder of the run"
            )));
        }
        if latest_exists(run)? && !calls::is_file(&best) {
            return Err(Error::file(format!("{}: has no best weights", run.display())).advice(
                "train with the callback keep_best, or take the last weights",
                "train with --keep-best, or leave out --best",
            ));
        }
        Trained::open_weights(run, Some(best), runtime)
    }

    /// With the weights of the newest checkpoint, or of another file.
    fn open_weights(run: &Path, weights: Option<PathBuf>, runtime: &Runtime) -> Result<Trained> {
        let newest = read_latest(run, |checkpoint| {
            checksums::check(checkpoint)?;
            let Some(manifest) = Manifest::read(checkpoint)? else { return Ok(None) };
            let stored = Stored::read(checkpoint, &manifest)?;
            let model = weights.clone().unwrap_or_else(|| checkpoint.join(MODEL));
            let opened = stored.map(|stored| load_stored(checkpoint, &model, stored, runtime)).transpose()?;
            Ok(Some((manifest, opened)))
        });
        match newest?.ok_or_else(|| no_checkpoint(run))? {
            Some((manifest, Some((forward, measuring)))) => {
                fits(&manifest.inputs, &forward).map_err(|error| error.context(run.display()))?;
                Ok(Trained::opened(manifest, config_of(run)?, forward, measuring))
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
                Err(Error::file(format!(
                    "{}: the network has no program for all batch sizes ({reason})",
                    run.display()
                ))
                .advice(
                    "open the run with Trained::open_with and the layers",
                    "only a program that makes its layers can open it",
                ))
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
        let yes = manifest.as_ref().and_then(|manifest| manifest.yes);
        let (inputs, sample, environment) = match manifest {
            Some(manifest) => (manifest.inputs.clone(), manifest.sample()?, Some(manifest.environment)),
            None => {
                let inputs = RunConfig::open(run)?.inputs;
                let sample = ValueType::new(DType::F32, inputs.shape.as_slice());
                (inputs, sample, None)
            }
        };
        let trained = Trained::with_layers(run, inputs, sample, Box::new(net), runtime)?;
        Ok(Trained { environment, yes, ..trained })
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
        let layers = network.summary().rows.clone();
        let measuring = Err("the layers that it was opened with have no loss".into());
        let parameters = network.parameter_count();
        let imported = false;
        Ok(Trained {
            inputs,
            config: None,
            environment: None,
            forward,
            measuring,
            parameters,
            layers,
            yes: None,
            imported,
        })
    }

    /// What the run was started with; `None` if a program made it of parts that files have no names for.
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

    /// What the network predicts for raw inputs, which are normalised as those that it was trained on: not those of a
    /// data set, which are normalised already and go to [`Trainer::predict`](crate::train::Trainer::predict). A row of a
    /// table goes through [`Field::prepare_row`](crate::data::Field::prepare_row) first. A network of several inputs is
    /// asked by [`Trained::outputs`].
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// # let run = std::env::temp_dir().join(format!("dropforge-doc-predict-{}", std::process::id()));
    /// let (train, test) = datasets::digits(200, 50, 1);
    /// let net = seq![flatten(), dense(10)];
    /// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).compile(&train)?;
    /// trainer.epoch(&train)?;
    /// trainer.save(&run)?;
    /// let trained = Trained::open(&run, &Runtime::shared()?)?;
    /// // Two images, as they come from a file: brightness from 0 to 1.
    /// let pixels = vec![0.5f32; 2 * 28 * 28];
    /// let scores = trained.predict(&Tensor::from_slice(&pixels, [2, 1, 28, 28]))?;
    /// assert_eq!(scores.shape().to_vec(), [2, 10]);
    /// let probabilities = trained.probabilities(pixels)?;
    /// assert!((probabilities[1].iter().sum::<f32>() - 1.0).abs() < 1e-5);
    /// println!("it is a {}", trained.best(&probabilities[1])?.class);
    /// # std::fs::remove_dir_all(run).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// The inputs have another shape or type, there are several, or the device fails.
    pub fn predict(&self, inputs: impl IntoRaw) -> Result<Tensor> {
        let [(name, sample)] = self.forward.inputs() else {
            if self.forward.outputs().is_empty() {
                return Err(no_prediction());
            }
            if self.forward.inputs().is_empty() {
                return Err(no_inputs());
            }
            let names: Vec<&str> = self.input_types().map(|(name, _)| name).collect();
            let names = names.join(", ");
            return Err(Error::data(format!("the network has the inputs {names}"))
                .advice("give them to Trained::outputs", "give data that have them with --data"));
        };
        let array = inputs.into_raw()?.prepare(&self.spec(name), sample)?;
        Ok(Tensor::from_array(self.first(&[array])?))
    }

    /// All outputs of the network by name, the prediction first, for raw inputs by name.
    ///
    /// ```
    /// use dropforge::data::from_named_records;
    /// use dropforge::prelude::*;
    /// use dropforge::step::{Batch, Objective};
    ///
    /// // Two inputs, two outputs.
    /// fn net(scope: &Scope, batch: &Batch) -> Objective {
    ///     let left = scope.layer("left", &dense(4), &batch.get("left"));
    ///     let right = scope.layer("right", &dense(4), &batch.get("right"));
    ///     let score = scope.layer("head", &dense(1), &(&left + &right).relu());
    ///     let loss = (&score - batch.get("target")).square().mean(..);
    ///     Objective::new(loss).prediction(&score).output("left code", &left)
    /// }
    ///
    /// # let run = std::env::temp_dir().join(format!("dropforge-doc-outputs-{}", std::process::id()));
    /// let records = (0..64).map(|i| {
    ///     let x = i as f32 / 64.0;
    ///     ([x, 1.0], [x * x, 0.0, 1.0], [2.0 * x])
    /// });
    /// let data = from_named_records(&["left", "right", "target"], records)?;
    /// let mut trainer = Trainer::of(net, Adam::new(1e-2)).batch(8).compile(&data)?;
    /// trainer.epoch(&data)?;
    /// trainer.save(&run)?;
    /// let trained = Trained::open(&run, &Runtime::shared()?)?;
    /// let outputs = trained.outputs([("left", vec![0.5, 1.0]), ("right", vec![0.25, 0.0, 1.0])])?;
    /// assert_eq!(outputs[0].0, "prediction");
    /// assert_eq!((outputs[1].0.as_str(), outputs[1].1.shape().to_vec()), ("left code", vec![1, 4]));
    /// # std::fs::remove_dir_all(run).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// An input is missing, unknown, or of another shape, type or number of samples; or the device fails.
    pub fn outputs<N: AsRef<str>, R: IntoRaw>(
        &self,
        inputs: impl IntoIterator<Item = (N, R)>,
    ) -> Result<Vec<(String, Tensor)>> {
        let known = self.forward.inputs();
        let mut given: Vec<Option<Raw>> = known.iter().map(|_| None).collect();
        let names = || self.input_types().map(|(name, _)| name).collect::<Vec<&str>>().join(", ");
        for (name, raw) in inputs {
            let name = name.as_ref();
            let place = known.iter().position(|(known, _)| known == name);
            let place = place.ok_or_else(|| {
                Error::data(format!("the network has no input \"{name}\"; it has {}", names()))
            })?;
            given[place] = Some(raw.into_raw()?);
        }
        let arrays = known.iter().zip(given).map(|((name, sample), raw)| {
            let raw = raw.ok_or_else(|| {
                Error::data(format!("the input \"{name}\" is missing; the network has {}", names()))
            })?;
            raw.prepare(&self.spec(name), sample).map_err(|error| error.context(format_args!("\"{name}\"")))
        });
        let arrays = arrays.collect::<Result<Vec<Array>>>()?;
        let outputs = self.forward.run(&arrays.iter().collect::<Vec<_>>())?;
        let names = self.forward.outputs().iter().map(|(name, _)| name.clone());
        Ok(names.zip(outputs.into_iter().map(Tensor::from_array)).collect())
    }

    /// Names of the inputs, with element type and shape of one sample of each.
    pub fn input_types(&self) -> impl Iterator<Item = (&str, &ValueType)> {
        self.forward.inputs().iter().map(|(name, ty)| (name.as_str(), ty))
    }

    /// Names of the outputs, the prediction first, with element type and shape of each for a batch of one.
    pub fn output_types(&self) -> impl Iterator<Item = (&str, &ValueType)> {
        self.forward.outputs().iter().map(|(name, ty)| (name.as_str(), ty))
    }

    /// The layers in the order in which values pass them, with what they give for a batch of one; none in runs of
    /// earlier versions.
    pub fn layers(&self) -> &[SummaryRow] {
        &self.layers
    }

    /// How many numbers all parameters are; running statistics count as well in runs of earlier versions.
    pub fn parameter_count(&self) -> usize {
        match self.parameters {
            0 => self.weight_types().map(|(_, ty)| ty.shape.elements()).sum(),
            known => known,
        }
    }

    /// Names and types of all parameters and running statistics.
    pub fn weight_types(&self) -> impl Iterator<Item = (&str, &ValueType)> {
        self.forward.weights().all().into_iter().map(|(name, buffer)| (name, buffer.ty()))
    }

    /// A listing for people of the kernels and the memory of a prediction for so many samples.
    ///
    /// # Errors
    /// The program cannot be loaded.
    pub fn explain(&self, batch: usize) -> Result<String> {
        self.forward.explain(batch)
    }

    /// As [`Trained::explain`], of an evaluation.
    ///
    /// # Errors
    /// The program cannot be loaded, or the run has none.
    pub fn explain_evaluation(&self, batch: usize) -> Result<String> {
        self.measuring().ok_or_else(|| self.no_measures())?.explain(batch)
    }

    /// What a field looks like.
    fn spec(&self, name: &str) -> InputSpec {
        let field = self.inputs.description.as_ref().and_then(|about| about.field(name));
        field.map_or_else(|| self.inputs.clone(), InputSpec::of_field)
    }

    /// What the network predicts for prepared inputs, in the order of their names.
    pub(super) fn first(&self, inputs: &[Array]) -> Result<Array> {
        let place = self.forward.outputs().iter().position(|(name, _)| name == PREDICTION);
        let outputs = self.forward.run(&inputs.iter().collect::<Vec<_>>())?;
        place.and_then(|place| outputs.into_iter().nth(place)).ok_or_else(no_prediction)
    }

    pub(super) fn measuring(&self) -> Option<&Measuring> {
        self.measuring.as_ref().ok()
    }

    pub(super) fn measuring_mut(&mut self) -> Option<&mut Measuring> {
        self.measuring.as_mut().ok()
    }

    /// Why there is nothing that measures.
    pub(super) fn no_measures(&self) -> Error {
        let reason = self.measuring.as_ref().err().map_or("", String::as_str);
        Error::data(format!("the run does not hold how it is measured ({reason})")).advice(
            "give loss and metrics to Trained::evaluate_by",
            "say a loss with --loss, and what to measure with --metrics",
        )
    }

    /// The probability of each class for each raw input. [`Trained::predict`] has an example.
    ///
    /// # Errors
    /// As [`Trained::predict`], the network gives no score per class, or scores that are no numbers.
    pub fn probabilities(&self, inputs: impl IntoRaw) -> Result<Vec<Vec<f32>>> {
        self.probabilities_of(&self.predict(inputs)?)
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
            best.ok_or_else(|| Error::data("the run has no classes to choose from"))?;
        Ok(Classified { class: class.clone(), index, probability })
    }

    /// Whether what the network predicts are probabilities: its last layer is a softmax over axis 1 or a sigmoid, or its
    /// loss takes them. Of several classes that exclude one another a sigmoid makes none: its numbers are scores.
    pub fn gives_probabilities(&self) -> bool {
        self.gives_probabilities_of(!self.classes().is_empty())
    }

    /// As [`Trained::gives_probabilities`], where a sample is of one of several classes, or else where each number says
    /// a yes.
    pub(super) fn gives_probabilities_of(&self, classes: bool) -> bool {
        let width = self.output_types().next().and_then(|(_, ty)| ty.shape.get(1).copied());
        let exclusive = classes && width != Some(1);
        let ending = || self.forward.ending().is_some_and(|ending| ending.gives_probabilities(exclusive));
        self.yes.map_or_else(ending, |yes| yes == Yes::Probability)
    }

    /// How probable a yes is where the network predicts this, if it was trained by a loss of yes and no.
    pub fn probability(&self, output: f32) -> Option<f32> {
        self.yes.map(|yes| yes.probability(output))
    }

    /// The probability of each class from what the network predicts, `[samples, classes]`, or one output that tells the
    /// second of two classes from the first: the softmax or sigmoid of it, unless it is
    /// [probabilities](Trained::gives_probabilities) already. Where the loss is of yes and no, such as
    /// `bce_with_logits`, and there are no such classes, each output is a question of its own, and what is given is how
    /// probable its yes is.
    ///
    /// # Errors
    /// The network gives no score per class.
    pub fn probabilities_of(&self, scores: &Tensor) -> Result<Vec<Vec<f32>>> {
        let (&[_, classes], DType::F32) = (scores.shape().iter().as_slice(), scores.dtype()) else {
            return Err(Error::data(format!("the model gives {}, not one score per class", scores.ty())));
        };
        if classes == 0 {
            return Err(Error::data("the model gives no scores"));
        }
        if classes == 1 && self.classes().len() == 2 {
            let usual = if self.gives_probabilities() { Yes::Probability } else { Yes::Logit };
            let yes = self.yes.unwrap_or(usual);
            let yes: Vec<f32> =
                scores.to_vec::<f32>()?.into_iter().map(|output| yes.probability(output)).collect();
            self.check_numbers(&yes)?;
            return Ok(yes.into_iter().map(|yes| vec![1.0 - yes, yes]).collect());
        }
        if let Some(yes) = self.yes {
            let all: Vec<f32> =
                scores.to_vec::<f32>()?.into_iter().map(|output| yes.probability(output)).collect();
            self.check_numbers(&all)?;
            return Ok(all.chunks(classes).map(<[f32]>::to_vec).collect());
        }
        let is_given = self.gives_probabilities();
        let probabilities = |scores: &[f32]| -> Vec<f32> {
            if is_given {
                return scores.to_vec();
            }
            let largest = scores.iter().fold(f32::NEG_INFINITY, |largest, &score| largest.max(score));
            let parts: Vec<f64> = scores.iter().map(|&score| f64::from(score - largest).exp()).collect();
            let sum: f64 = parts.iter().sum();
            parts.into_iter().map(|part| (part / sum) as f32).collect()
        };
        let rows: Vec<Vec<f32>> = scores.to_vec::<f32>()?.chunks(classes).map(probabilities).collect();
        // Infinite scores have no probabilities, either.
        rows.iter().try_for_each(|row| self.check_numbers(row))?;
        Ok(rows)
    }

    #[cfg(feature = "onnx")]
    pub(super) fn yes(&self) -> Option<Yes> {
        self.yes
    }

    /// Refuses what a network gives if some of it is NaN, from which nothing can be told.
    ///
    /// # Errors
    /// One of the outputs is NaN; the message says whether the weights hold some.
    pub fn check_numbers(&self, outputs: &[f32]) -> Result<()> {
        if !outputs.iter().any(|output| output.is_nan()) {
            return Ok(());
        }
        let mut why = "the inputs or sums of them are too large, or no numbers".to_string();
        for (name, buffer) in self.forward.weights().all() {
            let holds_nan = buffer.read()?.to_f32().is_some_and(|numbers| numbers.iter().any(|x| x.is_nan()));
            if holds_nan {
                why = format!("the weights of the run hold NaN ({name}); train again with a lower rate");
                break;
            }
        }
        Err(Error::data(format!("the outputs are no numbers: {why}")))
    }

    /// What there is to say of each sample, from what the network predicts: the probability of each class; where there
    /// are none, how probable each yes is, if the loss is of yes and no, else what a regression gives, in the units of
    /// the target.
    ///
    /// # Errors
    /// The network gives no score per class, or numbers that are none.
    pub fn rows_of(&self, scores: &Tensor) -> Result<Vec<Vec<f32>>> {
        if !self.classes().is_empty() {
            return self.probabilities_of(scores);
        }
        let samples = scores.shape().first().copied().unwrap_or(1).max(1);
        let width = scores.ty().shape.elements() / samples;
        let mut values = scores.to_vec::<f32>()?;
        self.check_numbers(&values)?;
        match self.yes {
            Some(yes) => values.iter_mut().for_each(|value| *value = yes.probability(*value)),
            None => self.restore(&mut values),
        }
        Ok(values.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// The probabilities of all samples of a source, so many at a time: `row` is given the number of each and its
    /// probabilities, or what a regression gives, in the units of the target; where the loss is of yes and no and there
    /// are no classes, how probable a yes is.
    ///
    /// # Errors
    /// As [`Trained::evaluate`], or what `row` returned.
    pub fn predict_all(
        &self,
        source: &impl IntoSource,
        batch: usize,
        mut row: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let names: Vec<&str> = self.input_types().map(|(name, _)| name).collect();
        let mut number = 0;
        for batch in batches(source.source(), batch, &names)? {
            let scores = Tensor::from_array(self.first(&batch?.1)?);
            let rows = self.rows_of(&scores)?;
            for values in &rows {
                row(number, values)?;
                number += 1;
            }
        }
        Ok(())
    }

    /// Brings what the network predicts to the units of the target in a table: while training it is standardised. Of
    /// other data nothing changes.
    pub fn restore(&self, predicted: &mut [f32]) {
        let target = self.inputs.description.as_ref().and_then(|about| about.target());
        if let Some(target) = target {
            target.restore(predicted);
        }
    }

    #[cfg(feature = "onnx")]
    pub(super) fn of(inputs: InputSpec, forward: Forward, yes: Option<Yes>) -> Trained {
        let measuring = Err(FROM_FILE.into());
        Trained {
            inputs,
            config: None,
            environment: None,
            forward,
            measuring,
            parameters: 0,
            layers: Vec::new(),
            yes,
            imported: true,
        }
    }

    /// Whether the network comes from an ONNX file: then nothing is known of a loss, and perhaps not what its outputs
    /// mean.
    pub fn is_imported(&self) -> bool {
        self.imported
    }

    pub(super) fn forward(&self) -> &Forward {
        &self.forward
    }
}

pub(super) fn fits(inputs: &InputSpec, forward: &Forward) -> Result<()> {
    match forward.inputs() {
        [(_, sample)] if inputs.description.is_none() && *sample.shape != *inputs.shape.as_slice() => {
            Err(Error::file(format!(
                "its program takes samples of {}, its inputs are {:?}",
                sample.shape, inputs.shape
            )))
        }
        _ => Ok(()),
    }
}

/// The configuration of a run; `None` if a program made it of parts that files have no names for.
///
/// # Errors
/// The folder is no run, or the configuration is damaged.
pub fn config_of(run: impl AsRef<Path>) -> Result<Option<RunConfig>> {
    let run = run.as_ref();
    if calls::is_file(run) {
        return Ok(None);
    }
    let has_config = read_config_if_any(run)?.is_some();
    if has_config && !unnamed_parts(run)?.is_empty() || !has_config && latest_exists(run)? {
        return Ok(None);
    }
    RunConfig::open(run).map(Some)
}

fn no_prediction() -> Error {
    Error::file(
        "the network gives no prediction; its function should return Objective::new(loss).prediction(&prediction)",
    )
}

fn latest_exists(run: &Path) -> Result<bool> {
    Ok(read_latest(run, |_| Ok(()))?.is_some())
}

/// What predicts and what measures.
type Opened = (Forward, std::result::Result<Measuring, String>);

/// Reads weights for the programs of a checkpoint.
fn load_stored(checkpoint: &Path, model: &Path, stored: Stored, runtime: &Runtime) -> Result<Opened> {
    let device = runtime.device().name();
    let mut model = TensorFile::open(model)?;
    let mut others = None;
    let choices = Chosen::read(&checkpoint.join(CHOICES))?;
    let choices = choices.and_then(|chosen| chosen.for_device(&device).cloned()).unwrap_or_else(Choices::new);
    let elements = |name: &str, ty: &ValueType| {
        let file = match (model.ty(name), &mut others) {
            (Some(_), _) => &mut model,
            // What random numbers come from, where a prediction draws some.
            (None, Some(others)) => others,
            (None, none) => none.insert(TensorFile::open(&checkpoint.join(OPTIMIZER))?),
        };
        fitting(file, name, ty)
    };
    load_programs(stored, runtime, choices, elements).map_err(|error| error.context(checkpoint.display()))
}

/// A tensor that is what a program takes it for.
fn fitting(file: &mut TensorFile, name: &str, ty: &ValueType) -> Result<Array> {
    match file.ty(name) {
        None => Err(Error::file(format!("{name} is in the program, but not among the weights"))),
        Some(Err(error)) => Err(error.context(name)),
        Some(Ok(here)) if here != *ty => {
            Err(Error::file(format!("{name} is {here} in the weights, but {ty} in the program")))
        }
        Some(Ok(_)) => file.read(name),
    }
}

/// Makes ready what a run holds; `elements` gives the weights by name and type.
pub(super) fn load_programs(
    stored: Stored,
    runtime: &Runtime,
    choices: Choices,
    elements: impl FnMut(&str, &ValueType) -> Result<Array>,
) -> Result<Opened> {
    let Stored { hypers, predict, evaluate, .. } = stored;
    let (template, program) = predict.checked(|_| false).map_err(|error| error.context(PREDICT))?;
    let measures = match &evaluate {
        None => Err("it was saved by an earlier version".to_string()),
        Some((program, _)) if program.template.is_err() => {
            Err(program.template.clone().err().unwrap_or_default())
        }
        Some((stored, measures)) => {
            let sums = sums_of(measures);
            let checked = stored.checked(|name| sums.contains(name));
            Ok((checked.map_err(|error| error.context(EVALUATE))?, stored, measures))
        }
    };
    let mut programs = vec![(&program, &predict)];
    if let Ok(((_, program), stored, _)) = &measures {
        programs.push((program, stored));
    }
    let weights = Arc::new(Weights::of(&programs, hypers, runtime, choices, elements)?);
    let forward = Forward::from_text(template.clone(), &program, predict.constants.clone(), weights.clone())?;
    let measuring = match measures {
        Err(reason) => Err(reason),
        Ok(((template, program), stored, measures)) => {
            let constants = stored.constants.clone();
            Ok(Measuring::from_text(template.clone(), &program, constants, measures, weights)?)
        }
    };
    Ok((forward, measuring))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_it() {
        fn shared<T: Send + Sync>() {}
        shared::<Trained>();
    }
}
