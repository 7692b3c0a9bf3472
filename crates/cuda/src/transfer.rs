//! What goes into a step and comes out of it: inputs and hyperparameters through staging memory, outputs into buffers.

use crate::buffer::CudaBuffer;
use crate::connection::{Connection, Memory, Outcome};
use crate::gpu::Gpu;
use crate::gpu::OwnMemory;
use crate::staging::{Readback, Slot};
use crate::tuning::EARLY_READ_BYTES;
use crate::words::{self, stored_bytes};
use dropforge_gpu::{Layout, Spot, aligned};
use dropforge_ir::{Error, Program, Result, ValueType};
use dropforge_runtime::{Argument, Arguments, BufferRef, own};
use dropforge_wgsl::Printing;
use std::sync::Arc;

/// Where the elements of one step's inputs come from, and where in the executable's first chunk they go.
pub struct Uploads<'a> {
    layout: &'a Layout,
    printing: Printing,
    /// Ranges that go through staging memory, where they lie just as in the chunk: start and end.
    staged: Vec<(u64, u64)>,
    /// Inputs on the device: the buffer, the offset they go to, and their bytes.
    moved: Vec<(Arc<CudaBuffer>, u64, u64)>,
}

impl<'a> Uploads<'a> {
    /// Sorts the inputs of a step, which fit the program.
    ///
    /// # Errors
    /// If an input lies on another device.
    pub fn new(
        gpu: &Arc<Gpu>,
        program: &Program,
        layout: &'a Layout,
        arguments: &Arguments<'_>,
    ) -> Result<Uploads<'a>> {
        let mut uploads = Uploads { layout, printing: gpu.printing, staged: Vec::new(), moved: Vec::new() };
        for ((input, &offset), port) in arguments.inputs().iter().zip(&layout.inputs).zip(&program.inputs) {
            let bytes = stored_bytes(program.ty(port.value), gpu.printing);
            match input {
                Argument::Host(_) => uploads.stage(offset, bytes),
                Argument::Device(buffer) => {
                    let own = own(buffer)
                        .filter(|own: &Arc<CudaBuffer>| Arc::ptr_eq(&own.gpu, gpu))
                        .ok_or_else(|| {
                            let message = format!("input {} belongs to another device", port.name);
                            Error::new("run", message)
                        })?;
                    if bytes > 0 {
                        own.piece()?;
                        uploads.moved.push((own, offset, bytes));
                    }
                }
            }
        }
        Ok(uploads)
    }

    /// Adds a range behind the others; neighbours become one.
    fn stage(&mut self, start: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        match self.staged.last_mut() {
            Some(last) if aligned(last.1) == start => last.1 = start + bytes,
            _ => self.staged.push((start, start + bytes)),
        }
    }

    /// Fills staging memory.
    pub fn write(&self, to: &mut [u8], arguments: &Arguments<'_>) {
        for (input, &offset) in arguments.inputs().iter().zip(&self.layout.inputs) {
            if let Argument::Host(array) = input {
                let end = offset + stored_bytes(&array.ty(), self.printing);
                words::write(array.data(), self.printing, &mut to[offset as usize..end as usize]);
            }
        }
        let start = self.layout.hypers as usize;
        for (number, hyper) in arguments.hypers().iter().enumerate() {
            let at = start + 4 * number;
            to[at..at + 4].copy_from_slice(&hyper.to_ne_bytes());
        }
    }

    /// Starts the copies of inputs into the first chunk.
    pub fn start(&self, connection: &Connection, slot: &Slot, chunk: &Memory) -> Outcome {
        if let Some(staging) = slot.upload() {
            for &(start, end) in &self.staged {
                connection.copy_up((staging, start), (chunk, start), end - start, false)?;
            }
        }
        for (own, offset, bytes) in &self.moved {
            let piece = own.piece().map_err(|error| error.to_string())?;
            connection.copy_across(&piece.memory, piece.offset(), chunk, *offset, *bytes)?;
        }
        Ok(())
    }
}

/// A range of a chunk that is copied to the host with the step.
#[derive(Debug, PartialEq, Eq)]
struct Early {
    from: Spot,
    to: u64,
    bytes: u64,
}

/// The outputs of a program: each gets a buffer per step, and small ones are also copied to the host at once.
pub struct Outputs {
    /// What each is for.
    names: Vec<Arc<str>>,
    /// Where each lies in the executable's memory.
    spots: Vec<Spot>,
    /// Bytes of each.
    bytes: Vec<u64>,
    /// For each, where it begins in what is copied to the host, if it is.
    early: Vec<Option<u64>>,
    copies: Vec<Early>,
}

impl Outputs {
    pub fn new(program: &Program, layout: &Layout, printing: Printing) -> Outputs {
        let bytes: Vec<u64> =
            program.outputs.iter().map(|port| stored_bytes(program.ty(port.value), printing)).collect();
        let (early, copies) = early_copies(&bytes, &layout.outputs);
        Outputs {
            names: program.outputs.iter().map(|port| format!("output {}", port.name).into()).collect(),
            spots: layout.outputs.clone(),
            bytes,
            early,
            copies,
        }
    }

    /// Bytes that are copied to the host with each step.
    pub fn early_bytes(&self) -> u64 {
        self.copies.last().map_or(0, |last| last.to + last.bytes)
    }

    /// Buffers for the outputs of one step.
    pub fn allocate(&self, gpu: &Arc<Gpu>, program: &Program) -> Result<Vec<CudaBuffer>> {
        let ports = program.outputs.iter().zip(&self.names).zip(&self.early);
        let make = |ty: &ValueType, name: &Arc<str>, is_early: bool| match is_early {
            true => Ok(CudaBuffer::early(gpu, ty, name)),
            false => CudaBuffer::output(gpu, ty, name),
        };
        ports.map(|((port, name), early)| make(program.ty(port.value), name, early.is_some())).collect()
    }

    /// Starts the copies of large outputs into their buffers.
    pub fn start(&self, connection: &Connection, chunks: &[OwnMemory], outputs: &[CudaBuffer]) -> Outcome {
        let places = self.spots.iter().zip(&self.bytes).zip(&self.early);
        for (output, ((spot, &bytes), early)) in outputs.iter().zip(places) {
            if bytes > 0 && early.is_none() {
                let from = &chunks[spot.chunk].memory;
                let piece = output.piece().map_err(|error| error.to_string())?;
                connection.copy_across(from, spot.offset, &piece.memory, piece.offset(), bytes)?;
            }
        }
        Ok(())
    }

    /// Starts the copies of small outputs to the host, or captures that.
    pub fn start_early(
        &self,
        connection: &Connection,
        slot: &Slot,
        chunks: &[OwnMemory],
        captured: bool,
    ) -> Outcome {
        if let Some(staging) = slot.download() {
            for Early { from, to, bytes } in &self.copies {
                let chunk = &chunks[from.chunk].memory;
                connection.copy_down((chunk, from.offset), (staging, *to), *bytes, captured)?;
            }
        }
        Ok(())
    }

    /// The outputs of a step that was started.
    pub fn finish(&self, outputs: Vec<CudaBuffer>, readback: Option<&Arc<Readback>>) -> Vec<BufferRef> {
        let finish = |(mut output, early): (CudaBuffer, &Option<u64>)| -> BufferRef {
            if let (Some(readback), Some(offset)) = (readback, early) {
                output.set_early(Arc::clone(readback), *offset);
            }
            Arc::new(output)
        };
        outputs.into_iter().zip(&self.early).map(finish).collect()
    }
}

/// Where small outputs begin in what is copied to the host, and the fewest copies that bring them there.
fn early_copies(bytes: &[u64], spots: &[Spot]) -> (Vec<Option<u64>>, Vec<Early>) {
    let mut copies: Vec<Early> = Vec::new();
    let mut early = Vec::new();
    let mut end = 0;
    for (&bytes, &from) in bytes.iter().zip(spots) {
        if bytes == 0 || bytes > EARLY_READ_BYTES {
            early.push(None);
            continue;
        }
        let to = if end == 0 { 0 } else { aligned(end) };
        early.push(Some(to));
        end = to + bytes;
        match copies.last_mut() {
            // Their distance is the same on both sides.
            Some(last)
                if last.from.chunk == from.chunk
                    && from.offset.checked_sub(last.from.offset) == Some(to - last.to) =>
            {
                last.bytes = end - last.to;
            }
            _ => copies.push(Early { from, to, bytes }),
        }
    }
    (early, copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_come_back_in_one_copy() {
        let at = |chunk, offset| Spot { chunk, offset };
        let bytes = [4, 0, 300, EARLY_READ_BYTES + 4, 8, 8];
        let spots = [at(0, 0), at(0, 256), at(0, 256), at(0, 1024), at(0, 9 << 20), at(1, 0)];
        let (early, copies) = early_copies(&bytes, &spots);
        assert_eq!(early, [Some(0), None, Some(256), None, Some(768), Some(1024)]);
        assert_eq!(
            copies,
            [
                Early { from: at(0, 0), to: 0, bytes: 556 },
                Early { from: at(0, 9 << 20), to: 768, bytes: 8 },
                Early { from: at(1, 0), to: 1024, bytes: 8 },
            ]
        );
    }
}
