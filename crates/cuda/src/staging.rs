//! How a step's inputs get to the device and its small outputs back, while other steps are in flight.
//!
//! Each step in flight has a *slot*: pinned memory into which the inputs are written, pinned memory into which small
//! outputs are copied, a graph of the step with both copies, and a mark in the stream behind it. There are a few slots;
//! when all are in flight, the oldest is waited for, which also bounds how far the host runs ahead of the device.

use crate::connection::{Mark, Outcome, Pinned, Replay};
use crate::gpu::{Gpu, lock};
use dropforge_gpu::InFlight;
use dropforge_ir::Result;
use std::sync::{Arc, Mutex};

/// Small outputs of one step, on their way to the host or there.
pub struct Readback {
    state: Mutex<Arrival>,
}

enum Arrival {
    /// In pinned memory, once the mark is passed.
    Staged(Arc<Pinned>, Arc<Mark>),
    Arrived(Box<[u8]>),
}

impl Readback {
    /// Waits until the outputs are there and hands them to `take`.
    pub fn read<T>(&self, take: impl FnOnce(&[u8]) -> T) -> Outcome<T> {
        let mut state = lock(&self.state);
        if let Arrival::Staged(pinned, mark) = &*state {
            mark.wait()?;
            *state = Arrival::Arrived(pinned.read().into());
        }
        match &*state {
            Arrival::Arrived(bytes) => Ok(take(bytes)),
            Arrival::Staged(..) => Err("it could not be copied to the host".into()),
        }
    }
}

/// The staging memory of one step in flight.
pub struct Slot {
    /// What is started for the step.
    pub replay: Option<Replay>,
    upload: Option<Pinned>,
    download: Option<Arc<Pinned>>,
    mark: Arc<Mark>,
    started: bool,
    readback: Option<Arc<Readback>>,
}

impl Slot {
    /// Memory for one more step, of so many bytes in both directions.
    pub fn new(gpu: &Arc<Gpu>, what: &str, upload: u64, download: u64) -> Result<Slot> {
        let memory = |bytes: u64| match bytes {
            0 => Ok(None),
            bytes => gpu
                .told("allocate", &format!("staging memory of {what}"), gpu.connection.pinned(bytes))
                .map(Some),
        };
        Ok(Slot {
            replay: None,
            upload: memory(upload)?,
            download: memory(download)?.map(Arc::new),
            mark: Arc::new(gpu.told("allocate", what, gpu.connection.event(false))?),
            started: false,
            readback: None,
        })
    }

    /// What inputs are copied from.
    pub fn upload(&self) -> Option<&Pinned> {
        self.upload.as_ref()
    }

    /// The same, to be written.
    pub fn upload_mut(&mut self) -> Option<&mut Pinned> {
        self.upload.as_mut()
    }

    /// What small outputs are to be copied to.
    pub fn download(&self) -> Option<&Pinned> {
        self.download.as_deref()
    }

    /// Marks the end of the step, all of which was started; gives the outputs that are copied with it.
    pub fn launch(&mut self) -> Outcome<Option<Arc<Readback>>> {
        self.started = true;
        self.mark.record()?;
        self.readback = self.download.as_ref().map(|pinned| {
            let state = Arrival::Staged(Arc::clone(pinned), Arc::clone(&self.mark));
            Arc::new(Readback { state: Mutex::new(state) })
        });
        Ok(self.readback.clone())
    }
}

impl InFlight for Slot {
    type Gpu = Arc<Gpu>;

    fn has_landed(&self) -> bool {
        !self.started || self.mark.is_passed().unwrap_or(false)
    }

    fn poll(_gpu: &Arc<Gpu>, _what: &str) -> Result<()> {
        Ok(())
    }

    fn land(&mut self, gpu: &Arc<Gpu>, what: &str) -> Result<bool> {
        if self.started {
            gpu.told("run", what, self.mark.wait())?;
            self.started = false;
        }
        if let Some(readback) = self.readback.take()
            && Arc::strong_count(&readback) > 1
        {
            gpu.told("run", what, readback.read(|_| ()))?;
        }
        Ok(true)
    }
}
