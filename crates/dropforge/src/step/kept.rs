//! What metrics keep of the batches of an evaluation.

use super::build::{Compiled, LOSS};
use crate::error::Result;
use crate::metric::numbers;
use dropforge_runtime::BufferRef;
use std::collections::BTreeMap;

/// Numbers of all batches so far, by the name of the output.
#[derive(Default)]
pub(super) struct Kept {
    read: BTreeMap<String, Vec<f64>>,
    /// Those of the last batch, which the device may still be computing.
    last: Vec<(String, BufferRef)>,
}

impl Kept {
    /// Takes the outputs of a program that evaluates. Those of the batch before are read while the device computes.
    pub fn add(&mut self, compiled: &Compiled, outputs: &mut Vec<BufferRef>) -> Result<()> {
        let named = compiled.outputs.iter().zip(outputs.drain(..)).filter(|(name, _)| *name != LOSS);
        let now = named.map(|(name, buffer)| (name.clone(), buffer)).collect();
        for (name, buffer) in std::mem::replace(&mut self.last, now) {
            self.read.entry(name).or_default().extend(numbers(&buffer.read()?));
        }
        Ok(())
    }

    /// The numbers of an output over all batches.
    pub fn read(&self, name: &str) -> Result<Vec<f64>> {
        let mut all = self.read.get(name).cloned().unwrap_or_default();
        for (_, buffer) in self.last.iter().filter(|(last, _)| last == name) {
            all.extend(numbers(&buffer.read()?));
        }
        Ok(all)
    }
}
