//! A trained network, as a run has left it.

use super::checkpoint::load_model;
use super::{InputSpec, RunConfig};
use crate::loss::{cross_entropy, mse};
use crate::step::{Batch, Evaluation, Meter, Network, NetworkBuilder};
use crate::train::IntoSource;
use crate::{Error, Result, Runtime, Tensor};
use dropforge_data::{Loader, LoaderOptions};
use std::path::Path;

/// A trained network with its configuration, to predict and to measure. Nothing that only training needs is loaded.
pub struct Trained {
    config: RunConfig,
    network: Network,
}

impl Trained {
    /// Loads the newest checkpoint of a run.
    ///
    /// # Errors
    /// The folder is no run, has no checkpoint yet, or its weights do not fit its model.
    pub fn open(run: impl AsRef<Path>, runtime: &Runtime) -> Result<Trained> {
        let run = run.as_ref();
        let config = RunConfig::open(run)?;
        let net = config.model.build(config.inputs.classes.len())?;
        let mut network =
            NetworkBuilder::new(net).runtime(runtime).compile(config.inputs.shape.as_slice())?;
        load_model(run, &mut network)?;
        Ok(Trained { config, network })
    }

    /// What the run was started with.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The network with its weights.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// The probability of each class for each sample, all samples row-major one after another.
    ///
    /// # Errors
    /// The numbers are no whole number of samples, or the device fails.
    pub fn probabilities(&mut self, samples: Vec<f32>) -> Result<Vec<Vec<f32>>> {
        let shape = &self.config.inputs.shape;
        let len: usize = shape.iter().product();
        if len == 0 || !samples.len().is_multiple_of(len) {
            let count = samples.len();
            return Err(Error::new(format!(
                "{count} numbers are no whole number of samples of shape {shape:?}"
            )));
        }
        let mut batch = vec![samples.len() / len];
        batch.extend(shape);
        let scores = self.network.predict(&Tensor::from_vec(samples, batch))?;
        if scores.rank() != 2 {
            return Err(Error::new(format!("the model gives {}, not one score per class", scores.ty())));
        }
        let classes = scores.shape()[1];
        let probabilities = scores.softmax(1).to_vec::<f32>()?;
        Ok(probabilities.chunks(classes.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// Measures the network on samples like those trained on, so many at a time.
    ///
    /// # Errors
    /// The samples have another shape or other classes than those trained on, or cannot be read.
    pub fn evaluate(&mut self, test: &impl IntoSource, batch: usize) -> Result<Evaluation> {
        let source = test.source();
        let description = source.description().clone();
        let InputSpec { shape, classes, .. } = &self.config.inputs;
        let given = description.input().map_or(&[][..], |field| &field.shape);
        if given != *shape {
            let name = &description.name;
            return Err(Error::new(format!(
                "{name} has inputs of shape {given:?}, the run was trained on {shape:?}"
            )));
        }
        if description.class_count().unwrap_or(0) != classes.len() {
            let (name, given) = (&description.name, description.class_count().unwrap_or(0));
            return Err(Error::new(format!(
                "{name} has {given} classes, the run was trained on {}",
                classes.len()
            )));
        }
        let options = LoaderOptions { batch, shuffle: false, ..LoaderOptions::default() };
        let mut meter = match classes.is_empty() {
            true => Meter::new(mse()),
            false => Meter::new(cross_entropy()),
        };
        for batch in Loader::new(source, options)?.epoch(0, 0) {
            let batch = Batch::from(batch?);
            let scores = self.network.predict(batch.get("input"))?;
            meter.add(&scores, &batch.get("target"), batch.samples()?)?;
        }
        Ok(meter.finish())
    }
}
