//! What the shared parts ask of a device.

use crate::heap::Heap;
use dropforge_ir::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A connection to one GPU, as far as memory goes.
pub trait Backend: Send + Sync + Sized + 'static {
    /// A piece of device memory; clones share it, and it goes back to the driver with the last of them.
    type Memory: Clone + Send + Sync;
    /// What memory may be used for.
    type Usage: Copy;
    /// The usage of memory that kernels work on, and that is copied in both directions.
    const STORAGE: Self::Usage;

    /// Name for people.
    fn name(&self) -> &str;

    /// The memory that is shared by everything on the device.
    fn heap(&self) -> &Mutex<Heap<Self>>;

    /// Memory from the driver, zeroed; `what` names it in errors.
    ///
    /// # Errors
    /// If the driver refuses.
    fn create(&self, what: &str, bytes: u64, usage: Self::Usage) -> Result<Self::Memory>;

    /// Bytes of a piece of memory, those that the driver added included.
    fn bytes(memory: &Self::Memory) -> u64;

    /// Lets go of memory that is kept outside of the heap without need, such as staging memory for reads.
    fn release_idle(&self) {}

    /// Waits until everything that was started is done, after which memory that was let go of is free.
    ///
    /// # Errors
    /// If the device fails.
    fn finish(&self, what: &str) -> Result<()>;

    /// The error of an operation on `what`, if the device was lost or failed since it was last asked.
    ///
    /// # Errors
    /// That error.
    fn check(&self, operation: &str, what: &str) -> Result<()>;
}

/// Locks what is changed in single steps, so that it is whole even after a panic elsewhere.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
