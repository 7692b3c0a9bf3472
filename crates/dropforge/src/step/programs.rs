//! Loaded programs by batch size.

use super::build::Compiled;
use crate::error::Result;
use dropforge_runtime::Executable;
use std::collections::HashMap;

/// How many batch sizes a network keeps a program for, of each sort; the oldest goes first.
const KEPT_SIZES: usize = 16;

/// Loaded programs by batch size.
#[derive(Default)]
pub(super) struct Programs {
    by_size: HashMap<usize, (Compiled, u64)>,
    clock: u64,
    /// Whether kernels are timed, those of programs to come as well.
    profiling: bool,
}

impl Programs {
    pub fn get(&mut self, size: usize) -> Option<&mut Compiled> {
        self.clock += 1;
        let (compiled, used) = self.by_size.get_mut(&size)?;
        *used = self.clock;
        Some(compiled)
    }

    /// Lets go of all programs; gives the sizes there were.
    pub fn clear(&mut self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.by_size.drain().map(|(size, _)| size).collect();
        sizes.sort_unstable();
        sizes
    }

    /// Takes a program out, to be inserted again.
    pub fn take(&mut self, size: usize) -> Option<Compiled> {
        self.clock += 1;
        self.by_size.remove(&size).map(|(compiled, _)| compiled)
    }

    pub fn contains(&self, size: usize) -> bool {
        self.by_size.contains_key(&size)
    }

    pub fn insert(&mut self, size: usize, mut compiled: Compiled) {
        if self.profiling {
            compiled.executable.start_profile();
        }
        if self.by_size.len() >= KEPT_SIZES {
            let oldest = self.by_size.values().map(|(_, used)| *used).min().unwrap_or(0);
            self.by_size.retain(|_, (_, used)| *used != oldest);
        }
        self.by_size.insert(size, (compiled, self.clock));
    }

    /// Looks at the checks of all runs so far.
    pub fn look(&mut self) -> Result<()> {
        self.by_size.values_mut().try_for_each(|(compiled, _)| compiled.look(0))
    }

    /// Names of the runtime scalars of all programs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_size.values().flat_map(|(compiled, _)| compiled.hypers.iter().map(|(name, _)| name.as_str()))
    }

    pub fn explain(&self) -> Vec<(usize, String)> {
        self.listings(|executable| executable.explain())
    }

    /// What the executable for the largest batch says.
    pub fn largest<T>(&self, say: impl Fn(&Executable) -> T) -> Option<T> {
        let largest = self.by_size.iter().max_by_key(|(size, _)| **size);
        largest.map(|(_, (compiled, _))| say(&compiled.executable))
    }

    pub fn start_profile(&mut self) {
        self.profiling = true;
        for (compiled, _) in self.by_size.values_mut() {
            compiled.executable.start_profile();
        }
    }

    /// What each executable says, by batch size.
    pub fn listings(&self, text: impl Fn(&Executable) -> String) -> Vec<(usize, String)> {
        let mut listings: Vec<(usize, String)> =
            self.by_size.iter().map(|(&size, (compiled, _))| (size, text(&compiled.executable))).collect();
        listings.sort_by_key(|(size, _)| *size);
        listings
    }
}
