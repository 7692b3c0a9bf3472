//! Memory of the device: blocks for buffers that outlive runs, and the memory of executables, under one limit.

use crate::blocks::{Block, Blocks};
use crate::gpu::{Gpu, lock};
use crate::memory::LiveBuffer;
use dropforge_ir::{Error, Result};
use dropforge_runtime::MemoryStatistics;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is held of a device's memory.
pub(crate) struct Heap {
    blocks: Blocks,
    /// The device buffer of each chunk.
    chunks: Vec<Option<wgpu::Buffer>>,
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
pub(crate) struct Piece {
    pub buffer: wgpu::Buffer,
    pub gpu: Arc<Gpu>,
    block: Block,
}

/// Device memory of its own, counted while it lives.
pub(crate) struct OwnMemory {
    pub buffer: wgpu::Buffer,
    gpu: Arc<Gpu>,
}

impl Heap {
    /// A heap of chunks of at most this many bytes.
    pub fn new(most_chunk: u64) -> Heap {
        Heap {
            blocks: Blocks::new(most_chunk),
            chunks: Vec::new(),
            executables: 0,
            peak_held: 0,
            limit: None,
            names: cfg!(debug_assertions).then(BTreeMap::new),
        }
    }

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

    /// Gives chunks without a block back to the device.
    pub fn release(&mut self) -> u64 {
        let before = self.held();
        for index in self.blocks.release_empty() {
            self.chunks[index] = None;
        }
        before - self.held()
    }

    /// A new device buffer of the first of these sizes that can be had. Before that fails, what lies idle goes back to
    /// the device.
    fn create(
        &mut self,
        gpu: &Gpu,
        what: &str,
        sizes: &[u64],
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer> {
        let fits = |heap: &Heap, bytes: u64| heap.limit.is_none_or(|limit| heap.held() + bytes <= limit);
        let mut refusal = None;
        for released in [false, true] {
            if released {
                gpu.clear_staging();
                if self.release() > 0 {
                    // Memory is free only once the device is done with it.
                    gpu.wait(None, what)?;
                }
            }
            for &bytes in sizes {
                if !fits(self, bytes) {
                    continue;
                }
                match gpu.buffer(what, bytes, usage) {
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

const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl Piece {
    /// Memory of the heap, with something in it; `what` names it in errors and reports.
    pub fn allocate(gpu: &Arc<Gpu>, what: &Arc<str>, bytes: u64) -> Result<Piece> {
        let mut heap = lock(&gpu.heap);
        if bytes > heap.blocks.most() {
            let (name, most) = (&gpu.info.name, heap.blocks.most());
            let message = format!("{what} takes {bytes} bytes, {name} lets a kernel see {most} at most");
            return Err(Error::new("allocate", message));
        }
        let taken = match heap.blocks.take(bytes) {
            Some(block) => Some(block),
            None => {
                let sizes = heap.blocks.chunk_sizes(bytes);
                let buffer = heap.create(gpu, what, &sizes, USAGE)?;
                let index = heap.blocks.add_chunk(buffer.size());
                if index == heap.chunks.len() {
                    heap.chunks.push(None);
                }
                heap.chunks[index] = Some(buffer);
                heap.has_grown();
                heap.blocks.take_new(bytes)
            }
        };
        let found = taken.and_then(|block| Some((block, heap.chunks.get(block.chunk)?.clone()?)));
        let (block, buffer) =
            found.ok_or_else(|| Error::new("allocate", format!("the heap lost its place for {what}")))?;
        if let Some(names) = &mut heap.names {
            names.insert((block.chunk, block.offset), Arc::clone(what));
        }
        Ok(Piece { buffer, gpu: Arc::clone(gpu), block })
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
        if let Some(names) = &mut lock(&self.gpu.heap).names {
            names.insert((self.block.chunk, self.block.offset), Arc::clone(what));
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // What the device still does with it comes before whatever is asked of it later.
        let mut heap = lock(&self.gpu.heap);
        if let Some(names) = &mut heap.names {
            names.remove(&(self.block.chunk, self.block.offset));
        }
        if let Some(index) = heap.blocks.free(&self.block) {
            heap.chunks[index] = None;
        }
    }
}

impl OwnMemory {
    /// A buffer that is not part of the heap, for an executable.
    pub fn new(gpu: &Arc<Gpu>, what: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<OwnMemory> {
        let mut heap = lock(&gpu.heap);
        let buffer = heap.create(gpu, what, &[bytes.max(4)], usage)?;
        heap.executables += buffer.size();
        heap.has_grown();
        Ok(OwnMemory { buffer, gpu: Arc::clone(gpu) })
    }

    /// As `new`, for kernels and copies in both directions.
    pub fn storage(gpu: &Arc<Gpu>, what: &str, bytes: u64) -> Result<OwnMemory> {
        OwnMemory::new(gpu, what, bytes, USAGE)
    }
}

impl Drop for OwnMemory {
    fn drop(&mut self) {
        lock(&self.gpu.heap).executables -= self.buffer.size();
    }
}
