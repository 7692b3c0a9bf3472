//! The CPU as a device: its threads, its buffers, and the lock that lets one of its programs run at a time.

use crate::executable::CpuExecutable;
use crate::memory::AlignedBuffer;
use crate::packed::PackedOperands;
use crate::pairs::Pairs;
use crate::peak;
use crate::pool::Pool;
use crate::simd::Level;
use dropforge_ir::{Array, DType, Data, Error, Result, ValueType};
use dropforge_runtime::profile::Peak;
use dropforge_runtime::{Binding, Buffer, BufferRef, Choices, Device, Loaded, wrong_size};
use std::any::Any;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Most threads a device may have; far above any machine, low enough that a typing error is noticed.
const MAX_THREADS: usize = 1024;

/// The CPU of this machine.
pub struct CpuDevice {
    shared: Arc<Shared>,
}

/// What a device, its buffers and its executables share.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) level: Level,
    /// How products of bf16 are computed; by way of f32 if `None`.
    pub(crate) pairs: Option<Pairs>,
    /// Held by whoever touches the contents of any buffer.
    running: Mutex<()>,
    /// What these threads reach at best, measured when it is first asked for.
    peak: OnceLock<Option<Peak>>,
}

impl Shared {
    pub(crate) fn new(threads: usize, level: Level) -> Shared {
        let pairs = Pairs::detect().filter(|_| level == Level::detect());
        Shared { pool: Pool::new(threads), level, pairs, running: Mutex::new(()), peak: OnceLock::new() }
    }

    /// What these threads reach at best; `None` where there is no memory to measure it. Call it while nothing runs.
    pub(crate) fn peak(&self) -> Option<&Peak> {
        self.peak.get_or_init(|| peak::measure(&self.pool, self.level)).as_ref()
    }

    /// Waits until nobody touches any buffer.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        // A panic while a program ran leaves numbers behind, not broken memory.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CpuDevice {
    /// The CPU with this many threads, the calling one included; results are the same bits for the same number.
    ///
    /// # Errors
    /// If the number is 0 or above 1024.
    pub fn new(threads: usize) -> Result<CpuDevice> {
        CpuDevice::with_level(threads, Level::detect())
    }

    /// The CPU with all its cores.
    pub fn all_cores() -> CpuDevice {
        let cores = std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
        CpuDevice { shared: Arc::new(Shared::new(cores, Level::detect())) }
    }

    /// The CPU restricted to an instruction set, for tests and comparisons.
    ///
    /// # Errors
    /// If the number of threads is 0 or above 1024.
    pub fn with_level(threads: usize, level: Level) -> Result<CpuDevice> {
        if !(1..=MAX_THREADS).contains(&threads) {
            let message = format!("a CPU device takes 1 to {MAX_THREADS} threads, got {threads}");
            return Err(Error::new("device", message));
        }
        Ok(CpuDevice { shared: Arc::new(Shared::new(threads, level)) })
    }

    /// The CPU with products of bf16 as its instructions for them compute, if it has some, but without these: for
    /// tests.
    ///
    /// # Errors
    /// As [`CpuDevice::new`].
    #[doc(hidden)]
    pub fn with_portable_pairs(threads: usize) -> Result<CpuDevice> {
        CpuDevice::new(threads)?;
        let shared = Shared { pairs: Some(Pairs::Portable), ..Shared::new(threads, Level::detect()) };
        Ok(CpuDevice { shared: Arc::new(shared) })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.shared.pool.threads()
    }

    /// The instruction set that kernels use.
    pub fn level(&self) -> Level {
        self.shared.level
    }
}

impl Device for CpuDevice {
    fn name(&self) -> String {
        format!("cpu ({} threads, {})", self.threads(), self.shared.level.name())
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        Ok(CpuBuffer::zeroed(&self.shared, ty)?)
    }

    fn faster_half(&self) -> (Option<DType>, String) {
        match self.shared.pairs {
            Some(pairs) if pairs != Pairs::Portable => {
                let why = format!("this CPU multiplies halves of bf16 faster than f32 ({})", pairs.name());
                (Some(DType::BF16), why)
            }
            _ => {
                let why =
                    "this CPU has no instructions that multiply halves faster than f32 (AMX, AVX-512 BF16)";
                (None, why.into())
            }
        }
    }

    fn load(&self, binding: &Binding<'_>, _choices: &mut Choices) -> Result<Box<dyn Loaded>> {
        Ok(Box::new(CpuExecutable::new(&self.shared, binding)?))
    }
}

/// Elements in host memory, in this machine's byte order.
pub(crate) struct CpuBuffer {
    ty: ValueType,
    memory: UnsafeCell<AlignedBuffer>,
    /// How often the contents were replaced, for who keeps something that follows from them.
    version: AtomicU64,
    /// What programs have packed of the contents.
    packed: PackedOperands,
    shared: Arc<Shared>,
}

// SAFETY: the memory is only touched by `read` and `write`, which hold the device's lock, and by executables, which
// hold it for the whole run.
unsafe impl Sync for CpuBuffer {}

impl CpuBuffer {
    pub(crate) fn zeroed(shared: &Arc<Shared>, ty: &ValueType) -> Result<Arc<CpuBuffer>> {
        let memory = AlignedBuffer::try_new(ty.bytes().div_ceil(size_of::<f32>()))
            .ok_or_else(|| Error::new("allocate", format!("no memory for {ty}, {} bytes", ty.bytes())))?;
        Ok(Arc::new(CpuBuffer {
            ty: ty.clone(),
            memory: UnsafeCell::new(memory),
            version: AtomicU64::new(0),
            packed: PackedOperands::default(),
            shared: Arc::clone(shared),
        }))
    }

    /// The first byte. Contents may be touched through it only while the device's lock is held.
    pub(crate) fn pointer(&self) -> *mut u8 {
        // SAFETY: no reference to the buffer exists outside the lock; this makes a pointer without touching contents.
        unsafe { (*self.memory.get()).as_mut_ptr().cast() }
    }

    /// A number that is another one after the contents were replaced. Contents and version change while the device's
    /// lock is held.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// What programs have packed of the contents.
    pub(crate) fn packed(&self) -> &PackedOperands {
        &self.packed
    }

    /// Says that the contents are replaced.
    pub(crate) fn renew_version(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the buffer belongs to the device that shares this.
    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }
}

impl Buffer for CpuBuffer {
    fn ty(&self) -> &ValueType {
        &self.ty
    }

    fn read(&self) -> Result<Array> {
        let _guard = self.shared.lock();
        // SAFETY: the lock is held, so nobody writes.
        let bytes = unsafe { &(&*self.memory.get()).as_bytes()[..self.ty.bytes()] };
        Data::from_bytes(self.ty.dtype, bytes)
            .and_then(|data| Array::new(self.ty.shape.clone(), data))
            .ok_or_else(|| Error::new("read", format!("the buffer does not hold {}", self.ty)))
    }

    fn read_into(&self, bytes: &mut [u8]) -> Result<()> {
        if bytes.len() != self.ty.bytes() {
            return Err(wrong_size(self.ty.bytes(), bytes.len()));
        }
        let _guard = self.shared.lock();
        // SAFETY: the lock is held, so nobody writes.
        bytes.copy_from_slice(unsafe { &(&*self.memory.get()).as_bytes()[..self.ty.bytes()] });
        Ok(())
    }

    fn write(&self, array: &Array) -> Result<()> {
        if array.ty() != self.ty {
            return Err(Error::new("write", format!("the buffer is {}, got {}", self.ty, array.ty())));
        }
        let _guard = self.shared.lock();
        // SAFETY: the lock is held, so nobody else reads or writes.
        let bytes = unsafe { &mut (&mut *self.memory.get()).as_bytes_mut()[..self.ty.bytes()] };
        bytes.copy_from_slice(array.data().bytes());
        self.renew_version();
        Ok(())
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
