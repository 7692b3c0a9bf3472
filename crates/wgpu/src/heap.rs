//! Device memory for buffers that outlive runs: pieces of larger chunks, first fit, merged again when freed.
//!
//! Buffers that share a chunk share a binding, so that one kernel can reach the parameters of a whole network.

use crate::gpu::Gpu;
use crate::gpu::lock;
use crate::tuning::{ALIGNMENT, CHUNK_BYTES};
use dropforge_ir::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The chunks of a device.
pub(crate) struct Heap {
    chunks: Vec<Option<Chunk>>,
    limit: u64,
    in_use: u64,
    peak: u64,
}

struct Chunk {
    buffer: wgpu::Buffer,
    /// Free ranges: start and length.
    free: BTreeMap<u64, u64>,
    /// From here on nothing was ever used, so that it is still zero.
    fresh: u64,
}

/// What a heap holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapStatistics {
    /// Held by buffers.
    pub in_use: u64,
    /// Most that buffers held at once.
    pub peak: u64,
    /// Taken from the device, for buffers now and later.
    pub reserved: u64,
    /// The largest piece that is free in what was taken.
    pub largest_free: u64,
}

/// A piece of a chunk; freed when dropped.
pub(crate) struct Piece {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
    pub bytes: u64,
    /// Whether it may hold something other than zeros.
    pub used_before: bool,
    chunk: usize,
    pub gpu: Arc<Gpu>,
}

impl Heap {
    pub fn new(limit: u64) -> Heap {
        Heap { chunks: Vec::new(), limit, in_use: 0, peak: 0 }
    }

    pub fn statistics(&self) -> HeapStatistics {
        let chunks = || self.chunks.iter().flatten();
        HeapStatistics {
            in_use: self.in_use,
            peak: self.peak,
            reserved: chunks().map(|chunk| chunk.buffer.size()).sum(),
            largest_free: chunks().flat_map(|chunk| chunk.free.values().copied()).max().unwrap_or(0),
        }
    }

    /// The smallest free range that holds this many bytes.
    fn find(&self, bytes: u64) -> Option<(usize, u64)> {
        let ranges =
            self.chunks.iter().enumerate().filter_map(|(index, chunk)| Some((index, chunk.as_ref()?)));
        ranges
            .flat_map(|(index, chunk)| chunk.free.iter().map(move |(&start, &length)| (length, index, start)))
            .filter(|&(length, ..)| length >= bytes)
            .min()
            .map(|(_, index, start)| (index, start))
    }

    fn take(&mut self, chunk_index: usize, start: u64, bytes: u64) -> Option<(wgpu::Buffer, bool)> {
        let chunk = self.chunks.get_mut(chunk_index)?.as_mut()?;
        let length = chunk.free.remove(&start)?;
        if length > bytes {
            chunk.free.insert(start + bytes, length - bytes);
        }
        let used_before = start < chunk.fresh;
        chunk.fresh = chunk.fresh.max(start + bytes);
        self.in_use += bytes;
        self.peak = self.peak.max(self.in_use);
        Some((chunk.buffer.clone(), used_before))
    }

    fn free(&mut self, chunk_index: usize, start: u64, bytes: u64) {
        self.in_use -= bytes;
        let Some(Some(chunk)) = self.chunks.get_mut(chunk_index) else { return };
        let (mut start, mut bytes) = (start, bytes);
        if let Some(after) = chunk.free.remove(&(start + bytes)) {
            bytes += after;
        }
        if let Some((&before, &length)) = chunk.free.range(..start).next_back()
            && before + length == start
        {
            chunk.free.remove(&before);
            start = before;
            bytes += length;
        }
        chunk.free.insert(start, bytes);
        // A chunk made for one large buffer goes back with it.
        let size = chunk.buffer.size();
        if bytes == size && size > CHUNK_BYTES {
            self.chunks[chunk_index] = None;
        }
    }
}

impl Piece {
    /// Memory from the heap; `what` names it in errors.
    pub fn allocate(gpu: &Arc<Gpu>, what: &str, bytes: u64) -> Result<Piece> {
        let bytes = bytes.max(1).next_multiple_of(ALIGNMENT);
        let mut heap = lock(&gpu.heap);
        if bytes > heap.limit {
            let message = format!(
                "{what} takes {bytes} bytes, {} lets a kernel see {} at most",
                gpu.info.name, heap.limit
            );
            return Err(Error::new("allocate", message));
        }
        let (chunk, start) = match heap.find(bytes) {
            Some(found) => found,
            None => {
                let size = bytes.max(CHUNK_BYTES.min(heap.limit));
                let usage =
                    wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
                let buffer = gpu.buffer(what, size, usage).map_err(|error| {
                    let held = heap.statistics();
                    let message = format!("{}; {} bytes are held", error.message(), held.reserved);
                    Error::new("allocate", message)
                })?;
                let chunk = Chunk { buffer, free: BTreeMap::from([(0, size)]), fresh: 0 };
                let index = heap.chunks.iter().position(Option::is_none).unwrap_or(heap.chunks.len());
                if index == heap.chunks.len() {
                    heap.chunks.push(None);
                }
                heap.chunks[index] = Some(chunk);
                (index, 0)
            }
        };
        let (buffer, used_before) = heap
            .take(chunk, start, bytes)
            .ok_or_else(|| Error::new("allocate", format!("the heap lost its place for {what}")))?;
        Ok(Piece { buffer, offset: start, bytes, used_before, chunk, gpu: Arc::clone(gpu) })
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // What the device still does with it comes before whatever is asked of it later.
        lock(&self.gpu.heap).free(self.chunk, self.offset, self.bytes);
    }
}
