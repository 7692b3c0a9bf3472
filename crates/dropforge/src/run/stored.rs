//! A network as a run holds it: what predicts and what measures, as programs for any batch size.

use super::checksums::Sums;
use super::disk;
use super::manifest::{Classes, Layer, Manifest, Measures, StoredMetric};
use super::run_dir::{CONSTANTS, EVALUATE, PREDICT};
use super::safetensors::{TensorFile, write_arrays};
use crate::step::{Network, TracedProgram};
#[cfg(feature = "onnx")]
use crate::tensor::check::is_check;
use crate::{Error, Result};
use dropforge_ir::text::Template;
use dropforge_ir::{Array, Program, ValueType};
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes that a text of a program has at most.
pub(super) const MOST_TEXT: u64 = 16 << 20;
/// Batch sizes that a network is traced at: three, so that what fits two of them by chance is found out.
pub(super) const SIZES: [usize; 3] = [2, 3, 7];
/// Bytes that one value of a program may take for a batch of 1: a program that wants more is damaged.
const MOST_VALUE: usize = 4 << 30;
/// What the names of constants of the program that measures begin with in the file of all constants.
const MEASURING: &str = "evaluate.";

/// One program for any batch size, or why there is none.
#[derive(Clone)]
pub(super) struct StoredProgram {
    pub template: std::result::Result<Template, String>,
    /// Values that it uses beside the weights.
    pub constants: BTreeMap<String, Array>,
}

/// The programs of a network, with what does not stand in their texts.
#[derive(Clone)]
pub(super) struct Stored {
    /// Runtime scalars with their values.
    pub hypers: BTreeMap<String, f64>,
    pub predict: StoredProgram,
    /// What measures; `None` in runs of earlier versions.
    pub evaluate: Option<(StoredProgram, Measures)>,
    parameters: usize,
    layers: Vec<Layer>,
}

impl StoredProgram {
    /// Why there is none.
    fn missing(reason: &Error) -> StoredProgram {
        StoredProgram { template: Err(reason.to_string()), constants: BTreeMap::new() }
    }

    fn of(traced: &[TracedProgram]) -> Result<StoredProgram> {
        let programs: Vec<(usize, &Program)> =
            SIZES.into_iter().zip(traced.iter().map(TracedProgram::program)).collect();
        let mut template = Template::of(&programs).map_err(|error| error.message().to_string());
        let constants = traced.iter().map(TracedProgram::constants).collect::<Result<Vec<_>>>()?;
        if constants.iter().any(|other| *other != constants[0]) {
            template = Err("the network uses values from outside that differ with the batch size".into());
        }
        Ok(StoredProgram { template, constants: constants.into_iter().next().unwrap_or_default() })
    }

    /// The program at two batch sizes.
    #[cfg(feature = "onnx")]
    pub fn two_sizes(&self) -> Result<[(usize, Program); 2]> {
        let template = self.template.as_ref().map_err(Error::file)?;
        // Checks of indices are a matter of whoever runs it.
        let unchecked = |size: usize| -> Result<(usize, Program)> {
            let mut program = template.instantiate(size)?;
            program.outputs.retain(|output| !is_check(&output.name));
            Ok((size, program))
        };
        Ok([unchecked(SIZES[1])?, unchecked(SIZES[2])?])
    }

    /// The program for batches of one sample, once it is known to be one that a run may hold.
    pub fn checked(&self, written: impl Fn(&str) -> bool) -> Result<(&Template, Program)> {
        let template = self.template.as_ref().map_err(|reason| Error::file(reason.as_str()))?;
        let program = template.instantiate(1)?;
        check(&program, written)?;
        Ok((template, program))
    }
}

impl Stored {
    /// The programs of a network; why there are none for any batch size is kept as well.
    pub fn of(network: &Network) -> Result<Stored> {
        let mut hypers = BTreeMap::new();
        let mut note = |program: &TracedProgram| {
            hypers.extend(program.hypers().map(|(name, value)| (name.to_string(), value)));
        };
        // A network that is made for one batch size is an error at others, and its own program opens the run.
        let traced = SIZES.map(|size| network.trace(size)).into_iter().collect::<Result<Vec<_>>>();
        let predict = match &traced {
            Ok(traced) => {
                note(&traced[0]);
                StoredProgram::of(traced)?
            }
            Err(error) => StoredProgram::missing(error),
        };
        let measuring =
            SIZES.map(|size| network.trace_measuring(size)).into_iter().collect::<Result<Vec<_>>>();
        let evaluate = match &measuring {
            Ok(measuring) => {
                note(&measuring[0]);
                Stored::measuring(network, measuring)?
            }
            Err(error) => {
                let reason = Some(error.to_string());
                let measures = Measures { own_program_only: reason, ..Measures::default() };
                (StoredProgram::missing(error), measures)
            }
        };
        Ok(Stored {
            hypers,
            predict,
            evaluate: Some(evaluate),
            parameters: network.parameter_count(),
            layers: network.summary().rows.iter().map(Layer::of).collect(),
        })
    }

    fn measuring(network: &Network, traced: &[TracedProgram]) -> Result<(StoredProgram, Measures)> {
        let mut program = StoredProgram::of(traced)?;
        let one = &traced[0];
        if traced.iter().any(|other| other.metrics().len() != one.metrics().len()) {
            program.template = Err("what is measured depends on the batch size".into());
        }
        let classes = one.classes().map(|(place, count)| {
            let field = network.field_name(place).to_string();
            Classes { field, count }
        });
        let metrics = one.metrics().iter().map(StoredMetric::of).collect();
        let own_program_only = program.template.as_ref().err().cloned();
        Ok((program, Measures { own_program_only, classes, metrics }))
    }

    /// The program of a network that comes from elsewhere: weights are all that it has, and nothing measures it.
    #[cfg(feature = "onnx")]
    pub fn imported(template: Template) -> Stored {
        let predict = StoredProgram { template: Ok(template), constants: BTreeMap::new() };
        Stored { hypers: BTreeMap::new(), predict, evaluate: None, parameters: 0, layers: Vec::new() }
    }

    /// Notes in the manifest what does not stand in the text of a program.
    pub fn describe(&self, manifest: &mut Manifest) {
        manifest.hyperparameters.clone_from(&self.hypers);
        manifest.own_program_only = self.predict.template.as_ref().err().cloned();
        manifest.evaluation = self.evaluate.as_ref().map(|(_, measures)| measures.clone());
        manifest.parameters = self.parameters;
        manifest.layers.clone_from(&self.layers);
    }

    /// Writes the programs into a checkpoint.
    pub fn write(&self, checkpoint: &Path, sums: &mut Sums) -> Result<()> {
        let mut constants: Vec<(String, &Array)> = Vec::new();
        if let Ok(template) = &self.predict.template {
            constants.extend(self.predict.constants.iter().map(|(name, array)| (name.clone(), array)));
            sums.write(checkpoint, PREDICT, &template.to_string())?;
        }
        if let Some((StoredProgram { template: Ok(template), constants: more }, _)) = &self.evaluate {
            constants.extend(more.iter().map(|(name, array)| (format!("{MEASURING}{name}"), array)));
            sums.write(checkpoint, EVALUATE, &template.to_string())?;
        }
        if constants.is_empty() {
            return Ok(());
        }
        let types: Vec<ValueType> = constants.iter().map(|(_, array)| array.ty()).collect();
        let tensors: Vec<(&str, &ValueType)> =
            constants.iter().map(|(name, _)| name.as_str()).zip(&types).collect();
        let arrays: Vec<&Array> = constants.iter().map(|(_, array)| *array).collect();
        disk::write_file(&checkpoint.join(CONSTANTS), &mut |out| {
            write_arrays(out, &BTreeMap::new(), &tensors, &arrays)
        })
    }

    /// Reads the programs of a checkpoint; `None` where it has none that predicts.
    pub fn read(checkpoint: &Path, manifest: &Manifest) -> Result<Option<Stored>> {
        let template = |name: &str| {
            let path = checkpoint.join(name);
            let Some(text) = disk::read_text_if_any(&path, MOST_TEXT)? else { return Ok(None) };
            let template = Template::parse(&text);
            template.map(Some).map_err(|error| Error::from(error).context(path.display()))
        };
        let Some(predict) = template(PREDICT)? else { return Ok(None) };
        let all = match TensorFile::open_if_any(&checkpoint.join(CONSTANTS))? {
            None => BTreeMap::new(),
            Some(mut file) => file.read_all()?,
        };
        Ok(Some(Stored::assemble(manifest, predict, template(EVALUATE)?, all)))
    }

    /// From the parts that a run is stored in.
    pub fn assemble(
        manifest: &Manifest,
        predict: Template,
        evaluate: Option<Template>,
        constants: BTreeMap<String, Array>,
    ) -> Stored {
        let (measuring, constants): (BTreeMap<String, Array>, _) =
            constants.into_iter().partition(|(name, _)| name.starts_with(MEASURING));
        let missing = || "its program is missing".to_string();
        let evaluate = manifest.evaluation.as_ref().map(|measures| {
            let reason = measures.own_program_only.clone().unwrap_or_else(missing);
            let named =
                measuring.into_iter().map(|(name, array)| (name[MEASURING.len()..].to_string(), array));
            let constants = named.collect();
            (StoredProgram { template: evaluate.ok_or(reason), constants }, measures.clone())
        });
        Stored {
            hypers: manifest.hyperparameters.clone(),
            predict: StoredProgram { template: Ok(predict), constants },
            evaluate,
            parameters: manifest.parameters,
            layers: manifest.layers.clone(),
        }
    }
}

/// The program of a network that predicts, with the values of its runtime scalars.
pub(super) fn predicting(network: &Network) -> Result<(StoredProgram, BTreeMap<String, f64>)> {
    let traced = SIZES.map(|size| network.trace(size)).into_iter().collect::<Result<Vec<_>>>()?;
    let hypers = traced[0].hypers().map(|(name, value)| (name.to_string(), value)).collect();
    Ok((StoredProgram::of(&traced)?, hypers))
}

/// A network's prediction in text form, for any batch size, as runs hold it.
///
/// # Errors
/// The network depends on the batch in another way than by multiples of it; the message shows where.
pub fn program_text(network: &Network) -> Result<String> {
    let (program, _) = predicting(network)?;
    program.template.map(|template| template.to_string()).map_err(Error::file)
}

/// Refuses programs that change what they must not, or want more memory than any network.
fn check(program: &Program, written: impl Fn(&str) -> bool) -> Result<()> {
    if let Some(state) = program.states.iter().find(|state| state.write.is_some() && !written(&state.name)) {
        return Err(Error::file(format!("the program changes {}, which it must not", state.name)));
    }
    for node in program.nodes() {
        if let Some(&value) = node.results.iter().find(|&&value| program.ty(value).bytes() > MOST_VALUE) {
            return Err(Error::file(format!(
                "{value} of the program is {}, which is too large for one sample",
                program.ty(value)
            )));
        }
    }
    Ok(())
}
