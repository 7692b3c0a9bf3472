//! How a step's inputs get to the device and its small outputs back, while other steps are in flight.
//!
//! Each step in flight has a *slot*: a buffer that is mapped ahead, into which the inputs are written, and a buffer
//! into which small outputs are copied. Both are asked to be mapped again right after the step was submitted, so that
//! by the time the slot is needed again nobody has to wait. There are a few slots; when all are in flight, the oldest
//! is waited for, which also bounds how far the host runs ahead of the device.

use crate::gpu::OwnMemory;
use crate::gpu::{Gpu, lock};
use dropforge_gpu::InFlight;
use dropforge_ir::Result;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a step still has to do until its slot can be used again.
#[derive(Default)]
struct Flight {
    /// Answers of the device that are still to come.
    outstanding: AtomicU32,
    /// Whether one of the answers was an error.
    failed: AtomicBool,
}

impl Flight {
    fn landed(&self) -> bool {
        self.outstanding.load(Ordering::Acquire) == 0
    }

    /// Something that the device is to call when one of the answers is there.
    fn answer<E>(self: &Arc<Flight>) -> impl FnOnce(std::result::Result<(), E>) + Send + use<E> {
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        let flight = Arc::clone(self);
        move |result| {
            if result.is_err() {
                flight.failed.store(true, Ordering::Release);
            }
            flight.outstanding.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits for a submission and for the device's answers to it.
    fn land(&self, gpu: &Gpu, submission: &wgpu::SubmissionIndex, what: &str) -> Result<()> {
        if !self.landed() {
            gpu.wait(Some(submission.clone()), what)?;
        }
        // Another thread may be about to pass the answers on.
        const PATIENCE: Duration = Duration::from_secs(10);
        let start = Instant::now();
        while !self.landed() {
            if start.elapsed() > PATIENCE {
                return Err(gpu.error("wait", what, "the device gave no answer"));
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// Small outputs of one step, on their way to the host or there.
pub(crate) struct Readback {
    state: Mutex<Arrival>,
    flight: Arc<Flight>,
    submission: wgpu::SubmissionIndex,
    /// Last, so that it is dropped after what belongs to it.
    gpu: Arc<Gpu>,
}

enum Arrival {
    /// In staging memory, of which this many bytes count.
    Staged(wgpu::Buffer, u64),
    Arrived(Box<[u8]>),
    /// The device failed meanwhile, or nobody was there to read.
    Missing,
}

impl Readback {
    /// Takes the bytes out of staging memory, which is unmapped then. The step must have landed.
    fn settle(&self, wanted: bool) {
        let mut state = lock(&self.state);
        if let Arrival::Staged(staging, bytes) = &*state {
            // Not the flight says whether this worked: it also fails when the executable was dropped meanwhile.
            let wanted = wanted && !self.gpu.is_lost();
            let view = wanted.then(|| staging.slice(..*bytes).get_mapped_range().ok()).flatten();
            let arrived = view.map(|view| Box::from(&*view));
            staging.unmap();
            *state = arrived.map_or(Arrival::Missing, Arrival::Arrived);
        }
    }

    /// Waits until the outputs are there and hands them to `take`; `what` names them in errors.
    pub fn read<T>(&self, what: &str, take: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let staged = || matches!(*lock(&self.state), Arrival::Staged(..));
        if staged() {
            self.flight.land(&self.gpu, &self.submission, what).map_err(|error| error.named("read"))?;
            self.settle(true);
        }
        match &*lock(&self.state) {
            Arrival::Arrived(bytes) => Ok(take(bytes)),
            _ => {
                self.gpu.check("read", what)?;
                Err(self.gpu.error("read", what, "it could not be copied to the host"))
            }
        }
    }
}

/// The staging memory of one step in flight.
pub(crate) struct Slot {
    upload: Option<OwnMemory>,
    download: Option<OwnMemory>,
    flight: Arc<Flight>,
    submission: Option<wgpu::SubmissionIndex>,
    readback: Option<Arc<Readback>>,
}

impl Slot {
    /// Memory for one more step; `what` names the program in errors.
    pub fn new(gpu: &Arc<Gpu>, what: &str, sizes: SlotSizes) -> Result<Slot> {
        let memory = |bytes: u64, usage| match bytes {
            0 => Ok(None),
            bytes => OwnMemory::new(gpu, &format!("staging memory of {what}"), bytes, usage).map(Some),
        };
        let slot = Slot {
            upload: memory(sizes.upload, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC)?,
            download: memory(sizes.download, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?,
            flight: Arc::default(),
            submission: None,
            readback: None,
        };
        if let Some(upload) = &slot.upload {
            upload.memory.map_async(wgpu::MapMode::Write, .., slot.flight.answer());
            // Nothing uses the buffer yet, so that one look is enough.
            gpu.poll(wgpu::PollType::Poll, what)?;
        }
        Ok(slot)
    }

    /// The buffer that inputs are copied from, once `write` is done.
    pub fn upload(&self) -> Option<&wgpu::Buffer> {
        self.upload.as_ref().map(|memory| &memory.memory)
    }

    /// The buffer that small outputs are to be copied to.
    pub fn download(&self) -> Option<&wgpu::Buffer> {
        self.download.as_ref().map(|memory| &memory.memory)
    }

    /// Lets `write` fill the memory that inputs are copied from; the device can read it then.
    pub fn write(&self, write: impl FnOnce(&mut wgpu::BufferViewMut)) -> std::result::Result<(), String> {
        let Some(upload) = &self.upload else { return Ok(()) };
        let mut view = upload.memory.slice(..).get_mapped_range_mut().map_err(|error| error.to_string())?;
        write(&mut view);
        drop(view);
        upload.memory.unmap();
        Ok(())
    }

    /// Asks for the memory back once a submission is done; gives the outputs that were copied with it.
    pub fn launch(&mut self, gpu: &Arc<Gpu>, submission: wgpu::SubmissionIndex) -> Option<Arc<Readback>> {
        let flight = Arc::new(Flight::default());
        self.flight = Arc::clone(&flight);
        self.submission = Some(submission.clone());
        if let Some(upload) = &self.upload {
            upload.memory.map_async(wgpu::MapMode::Write, .., flight.answer());
        }
        if let Some(download) = &self.download {
            download.memory.map_async(wgpu::MapMode::Read, .., flight.answer());
        }
        if self.upload.is_none() && self.download.is_none() {
            let done = flight.answer::<()>();
            gpu.queue.on_submitted_work_done(move || done(Ok(())));
        }
        self.readback = self.download.as_ref().map(|download| {
            let bytes = download.memory.size();
            Arc::new(Readback {
                gpu: Arc::clone(gpu),
                state: Mutex::new(Arrival::Staged(download.memory.clone(), bytes)),
                flight,
                submission,
            })
        });
        self.readback.clone()
    }
}

impl InFlight for Slot {
    type Gpu = Arc<Gpu>;

    fn has_landed(&self) -> bool {
        self.flight.landed()
    }

    fn poll(gpu: &Arc<Gpu>, what: &str) -> Result<()> {
        gpu.poll(wgpu::PollType::Poll, what)
    }

    fn land(&mut self, gpu: &Arc<Gpu>, what: &str) -> Result<bool> {
        if let Some(submission) = self.submission.take() {
            self.flight.land(gpu, &submission, what)?;
        }
        if let Some(readback) = self.readback.take() {
            readback.settle(Arc::strong_count(&readback) > 1);
        }
        let failed = self.flight.failed.load(Ordering::Acquire);
        if failed {
            gpu.check("run", what)?;
        }
        Ok(!failed)
    }
}

/// Bytes that one step sends to the device and gets back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotSizes {
    upload: u64,
    download: u64,
}

impl SlotSizes {
    pub fn new(upload: u64, download: u64) -> SlotSizes {
        SlotSizes { upload: upload.next_multiple_of(4), download: download.next_multiple_of(4) }
    }
}
