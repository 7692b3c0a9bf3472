//! Memory of the device: blocks for buffers that outlive runs, and the memory of executables, under one limit.

use crate::backend::{Backend, lock};
use crate::blocks::{Block, Blocks};
use crate::live::LiveBuffer;
use dropforge_ir::{Error, Result};
use dropforge_runtime::MemoryStatistics;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is held of a device's memory.
pub struct Heap<B: Backend> {
    blocks: Blocks,
    /// The device buffer of each chunk.
    chunks: Vec<Option<B::Memory>>,
    /// Bytes of memory that executables hold for themselves.
    executables: u64,
    /// Most bytes that were taken from the device at once.
    peak_held: u64,
    /// Most bytes to take from the device.
    limit: Option<u64>,
    /// What each live block is for, by chunk and offset; kept in debug builds only.
    names: Option<BTreeMap<(usize, u64), Arc<str>>>,
}

/// A block of the heap; freed when dropped.
pub struct Piece<B: Backend> {
    /// The memory that it is cut from.
    pub memory: B::Memory,
    /// The device that it belongs to.
    pub gpu: Arc<B>,
    block: Block,
}

/// Device memory of its own, counted while it lives.
pub struct OwnMemory<B: Backend> {
    /// The memory.
    pub memory: B::Memory,
    gpu: Arc<B>,
}

impl<B: Backend> Heap<B> {
    /// A heap of chunks of at most this many bytes.
    pub fn new(most_chunk: u64) -> Heap<B> {
        Heap {
            blocks: Blocks::new(most_chunk),
            chunks: Vec::new(),
            executables: 0,
            peak_held: 0,
            limit: None,
            names: cfg!(debug_assertions).then(BTreeMap::new),
        }
    }

    /// What is held.
    pub fn statistics(&self) -> MemoryStatistics {
        let counts = self.blocks.counts();
        let (largest_free, largest_free_sum) = self.blocks.largest_free();
        MemoryStatistics {
            buffers: counts.live,
            in_use: counts.in_use,
            requested: counts.requested,
            peak: counts.peak,
            peak_held: self.peak_held,
            cached: counts.reserved - counts.in_use,
            largest_free,
            scattered: counts.reserved - counts.in_use - largest_free_sum,
            executables: self.executables,
            limit: self.limit,
            allocations: counts.taken,
            reused: counts.reused,
        }
    }

    /// Bounds what may be taken from the device; what is held stays.
    pub fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// Buffers that are alive, equal ones counted together; nothing in release builds.
    pub fn live(&self) -> Vec<LiveBuffer> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for name in self.names.iter().flat_map(BTreeMap::values) {
            *counts.entry(name).or_default() += 1;
        }
        counts.into_iter().map(|(what, count)| LiveBuffer { what: what.to_string(), count }).collect()
    }

    fn held(&self) -> u64 {
        self.blocks.counts().reserved + self.executables
    }

    /// To be called after something was taken from the device.
    fn has_grown(&mut self) {
        self.peak_held = self.peak_held.max(self.held());
    }

    /// Gives chunks without a block back to the device; says how many bytes that were.
    pub fn release(&mut self) -> u64 {
        let before = self.held();
        for index in self.blocks.release_empty() {
            self.chunks[index] = None;
        }
        before - self.held()
    }

    /// A new device buffer of the first of these sizes that can be had. Before that fails, what lies idle goes back to
    /// the device.
    fn create(&mut self, gpu: &B, what: &str, sizes: &[u64], usage: B::Usage) -> Result<B::Memory> {
        let fits = |heap: &Heap<B>, bytes: u64| heap.limit.is_none_or(|limit| heap.held() + bytes <= limit);
        let mut refusal = None;
        for released in [false, true] {
            if released {
                gpu.release_idle();
                if self.release() > 0 {
                    // Memory is free only once the device is done with it.
                    gpu.finish(what)?;
                }
            }
            for &bytes in sizes {
                if !fits(self, bytes) {
                    continue;
                }
                match gpu.create(what, bytes, usage) {
                    Ok(buffer) => return Ok(buffer),
                    Err(error) => refusal = Some(error),
                }
                gpu.check("allocate", what)?;
            }
        }
        let asked = sizes.last().copied().unwrap_or(0);
        let why = match (&refusal, self.limit) {
            (Some(error), _) => error.message().to_string(),
            (None, Some(limit)) => {
                format!("{what} takes {asked} bytes, more than the limit of {limit} bytes leaves")
            }
            (None, None) => format!("{what} takes {asked} bytes"),
        };
        let counts = self.blocks.counts();
        let message = format!(
            "{why}; held are {} bytes by {} buffers, {} cached, {} by executables",
            counts.in_use,
            counts.live,
            counts.reserved - counts.in_use,
            self.executables
        );
        Err(Error::new("allocate", message))
    }
}

impl<B: Backend> Piece<B> {
    /// Memory of the heap, with something in it; `what` names it in errors and reports.
    ///
    /// # Errors
    /// If there is not enough memory, or no kernel could see that much.
    pub fn allocate(gpu: &Arc<B>, what: &Arc<str>, bytes: u64) -> Result<Piece<B>> {
        let mut guard = lock(gpu.heap());
        let heap = &mut *guard;
        if bytes > heap.blocks.most() {
            let (name, most) = (gpu.name(), heap.blocks.most());
            let message = format!("{what} takes {bytes} bytes, {name} lets a kernel see {most} at most");
            return Err(Error::new("allocate", message));
        }
        let taken = match heap.blocks.take(bytes) {
            Some(block) => Some(block),
            None => {
                let sizes = heap.blocks.chunk_sizes(bytes);
                let memory = heap.create(gpu, what, &sizes, B::STORAGE)?;
                let index = heap.blocks.add_chunk(B::bytes(&memory));
                if index == heap.chunks.len() {
                    heap.chunks.push(None);
                }
                heap.chunks[index] = Some(memory);
                heap.has_grown();
                heap.blocks.take_new(bytes)
            }
        };
        let found = taken.and_then(|block| Some((block, heap.chunks.get(block.chunk)?.clone()?)));
        let (block, memory) =
            found.ok_or_else(|| Error::new("allocate", format!("the heap lost its place for {what}")))?;
        if let Some(names) = &mut heap.names {
            names.insert((block.chunk, block.offset), Arc::clone(what));
        }
        Ok(Piece { memory, gpu: Arc::clone(gpu), block })
    }

    /// First byte in the device buffer.
    pub fn offset(&self) -> u64 {
        self.block.offset
    }

    /// Bytes from there, rounding included.
    pub fn bytes(&self) -> u64 {
        self.block.bytes
    }

    /// Whether it may have held something other than zeros when it was allocated.
    pub fn used_before(&self) -> bool {
        self.block.used_before
    }

    /// Says what it is for from now on.
    pub fn rename(&self, what: &Arc<str>) {
        if let Some(names) = &mut lock(self.gpu.heap()).names {
            names.insert((self.block.chunk, self.block.offset), Arc::clone(what));
        }
    }
}

impl<B: Backend> Drop for Piece<B> {
    fn drop(&mut self) {
        // What the device still does with it comes before whatever is asked of it later.
        let mut heap = lock(self.gpu.heap());
        if let Some(names) = &mut heap.names {
            names.remove(&(self.block.chunk, self.block.offset));
        }
        if let Some(index) = heap.blocks.free(&self.block) {
            heap.chunks[index] = None;
        }
    }
}

impl<B: Backend> OwnMemory<B> {
    /// Memory that is not part of the heap, for an executable.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(gpu: &Arc<B>, what: &str, bytes: u64, usage: B::Usage) -> Result<OwnMemory<B>> {
        let mut guard = lock(gpu.heap());
        let heap = &mut *guard;
        let memory = heap.create(gpu, what, &[bytes.max(4)], usage)?;
        heap.executables += B::bytes(&memory);
        heap.has_grown();
        Ok(OwnMemory { memory, gpu: Arc::clone(gpu) })
    }

    /// As `new`, for kernels and copies in both directions.
    ///
    /// # Errors
    /// As `new`.
    pub fn storage(gpu: &Arc<B>, what: &str, bytes: u64) -> Result<OwnMemory<B>> {
        OwnMemory::new(gpu, what, bytes, B::STORAGE)
    }
}

impl<B: Backend> Drop for OwnMemory<B> {
    fn drop(&mut self) {
        lock(self.gpu.heap()).executables -= B::bytes(&self.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A driver that has so many bytes.
    struct Driver {
        heap: Mutex<Heap<Driver>>,
        free: Arc<Mutex<u64>>,
    }

    struct Memory {
        bytes: u64,
        free: Arc<Mutex<u64>>,
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            *lock(&self.free) += self.bytes;
        }
    }

    impl Backend for Driver {
        type Memory = Arc<Memory>;
        type Usage = ();
        const STORAGE: () = ();

        fn name(&self) -> &str {
            "driver"
        }

        fn heap(&self) -> &Mutex<Heap<Driver>> {
            &self.heap
        }

        fn create(&self, what: &str, bytes: u64, _usage: ()) -> Result<Arc<Memory>> {
            let mut free = lock(&self.free);
            let refuse = || Error::new("allocate", format!("{what}: the driver has {free} bytes"));
            *free = free.checked_sub(bytes).ok_or_else(refuse)?;
            Ok(Arc::new(Memory { bytes, free: Arc::clone(&self.free) }))
        }

        fn bytes(memory: &Arc<Memory>) -> u64 {
            memory.bytes
        }

        fn finish(&self, _what: &str) -> Result<()> {
            Ok(())
        }

        fn check(&self, _operation: &str, _what: &str) -> Result<()> {
            Ok(())
        }
    }

    fn driver(bytes: u64) -> Arc<Driver> {
        Arc::new(Driver { heap: Mutex::new(Heap::new(1 << 30)), free: Arc::new(Mutex::new(bytes)) })
    }

    #[test]
    fn idle_chunks_go_back_before_memory_runs_out() {
        let gpu = driver(100 << 20);
        let what: Arc<str> = "x".into();
        let first = Piece::allocate(&gpu, &what, 60 << 20).unwrap();
        assert!(Piece::allocate(&gpu, &what, 60 << 20).is_err());
        drop(first);
        assert_eq!(lock(gpu.heap()).statistics().cached, 60 << 20);
        let second = Piece::allocate(&gpu, &what, 90 << 20).unwrap();
        assert_eq!(lock(gpu.heap()).statistics().held(), 90 << 20);
        drop(second);
        let own = OwnMemory::storage(&gpu, "own", 50 << 20).unwrap();
        assert_eq!(lock(gpu.heap()).statistics().executables, 50 << 20);
        drop(own);
        assert_eq!(*lock(&gpu.free), 100 << 20);
    }

    #[test]
    fn a_limit_holds_for_everything_together() {
        let gpu = driver(1 << 30);
        lock(gpu.heap()).set_limit(Some(40 << 20));
        let what: Arc<str> = "state w".into();
        let piece = Piece::allocate(&gpu, &what, 1000).unwrap();
        let error = OwnMemory::storage(&gpu, "the program", 30 << 20).err().unwrap().to_string();
        assert!(error.contains("the program") && error.contains("limit"), "{error}");
        assert_eq!(piece.offset() % crate::tuning::ALIGNMENT, 0);
        assert!(!piece.used_before());
    }
}
