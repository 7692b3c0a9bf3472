//! Where kept samples lie: in memory, or in a file.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::scratch::ScratchFile;
use crate::{Result, Sample, Values};

/// Numbered places for samples. Whoever looks into one holds it meanwhile, so that nothing else comes into it.
pub(super) struct Store {
    places: Vec<RwLock<Held>>,
    file: Option<Scratch>,
}

/// What a place holds.
#[derive(Default)]
pub(super) enum Held {
    /// Nothing, or what could not be written.
    #[default]
    Nothing,
    /// The fields of a sample.
    Fields(Box<[Values]>),
    /// The bytes of a sample, at its place of the file.
    InFile,
}

struct Scratch {
    file: ScratchFile,
    bytes_of_one: usize,
    /// Memory for the bytes of a sample, which serves again.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Store {
    /// So many places, in memory or in a file of their own in a folder.
    ///
    /// # Errors
    /// No file can be made there.
    pub fn new(places: usize, bytes_of_one: usize, folder: Option<&Path>) -> Result<Store> {
        let file = folder.map(ScratchFile::new).transpose()?;
        let file = file.map(|file| Scratch { file, bytes_of_one, spare: Mutex::default() });
        Ok(Store { places: (0..places).map(|_| RwLock::default()).collect(), file })
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// A place, to be read.
    pub fn hold(&self, place: u32) -> RwLockReadGuard<'_, Held> {
        self.places[place as usize].read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, to be written, unless somebody reads it or writes to it.
    pub fn take(&self, place: u32) -> Option<RwLockWriteGuard<'_, Held>> {
        use std::sync::TryLockError;
        match self.places[place as usize].try_write() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Copies what a place holds into a sample; false if it holds nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get(&self, place: u32, held: &Held, sample: &mut Sample) -> io::Result<bool> {
        match (held, &self.file) {
            (Held::Fields(fields), _) => {
                fields.iter().enumerate().for_each(|(at, values)| sample.copy_at(at, values, 0));
                Ok(true)
            }
            (Held::InFile, Some(scratch)) => scratch.with_memory(|bytes| {
                bytes.resize(scratch.bytes_of_one, 0);
                scratch.file.read_at(bytes, scratch.offset(place))?;
                sample.read_bytes(bytes);
                Ok(true)
            }),
            _ => Ok(false),
        }
    }

    /// Puts a sample into a place.
    ///
    /// # Errors
    /// The file cannot be written; the place then holds nothing.
    pub fn put(&self, place: u32, held: &mut Held, sample: &Sample) -> io::Result<()> {
        *held = Held::Nothing;
        *held = match &self.file {
            None => Held::Fields(sample.to_values()),
            Some(scratch) => scratch.with_memory(|bytes| {
                bytes.clear();
                sample.write_bytes(bytes);
                scratch.file.write_at(bytes, scratch.offset(place))?;
                Ok(Held::InFile)
            })?,
        };
        Ok(())
    }
}

impl Scratch {
    fn offset(&self, place: u32) -> u64 {
        u64::from(place) * self.bytes_of_one as u64
    }

    fn with_memory<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> io::Result<T>) -> io::Result<T> {
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = spare().pop().unwrap_or_default();
        let done = work(&mut bytes);
        spare().push(bytes);
        done
    }
}
