//! Operands as convolutions and products pack them: filters (a few also transformed for Winograd) and right sides, kept
//! from run to run while nobody writes the states that they come from.
//!
//! A packed operand lives beside the state's buffer, so that all programs over one set of weights, of whatever batch
//! size, share it; it goes with the last program that reads it.

use crate::calls::Call;
use crate::conv;
use crate::device::{CpuBuffer, Shared};
use crate::matmul;
use crate::memory::AlignedBuffer;
use dropforge_plan::Plan;
use dropforge_plan::plan::Place;
use std::cell::UnsafeCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The order in which an operand is packed. What is packed from the same state in equal orders is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// The filters of a convolution.
    Filters(conv::FilterPacking),
    /// The right side of a product, and its first element in the state.
    Right(matmul::RightPacking, isize),
}

/// A state in the order in which a convolution or product reads it.
pub(crate) struct PackedOperand {
    packing: Packing,
    /// Elements that the memory holds, for those who may not look at it.
    length: usize,
    contents: UnsafeCell<Contents>,
}

struct Contents {
    /// The state's version when it was packed; none before the first time.
    version: Option<u64>,
    memory: AlignedBuffer,
}

// SAFETY: the contents are only touched while the device's lock is held, and written only before the kernels of a run
// start.
unsafe impl Sync for PackedOperand {}

impl PackedOperand {
    /// # Safety
    /// The lock of the state's device is held, and the reference is gone before that is given back or the operand
    /// renewed.
    unsafe fn elements(&self) -> &[f32] {
        // SAFETY: the caller's promise.
        unsafe { &(*self.contents.get()).memory }
    }
}

/// What is packed of one state, for as long as a program keeps it.
#[derive(Default)]
pub(crate) struct PackedOperands(Mutex<Vec<Weak<PackedOperand>>>);

impl PackedOperands {
    /// The operand in this order, with room for `length` elements if it is new; `None` where there is no memory.
    fn get(&self, packing: Packing, length: usize) -> Option<Arc<PackedOperand>> {
        // The list is whole at every moment.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|operand| operand.strong_count() > 0);
        if let Some(there) = all.iter().filter_map(Weak::upgrade).find(|there| there.packing == packing) {
            return Some(there);
        }
        let contents = UnsafeCell::new(Contents { version: None, memory: AlignedBuffer::try_new(length)? });
        let operand = Arc::new(PackedOperand { packing, length, contents });
        all.push(Arc::downgrade(&operand));
        Some(operand)
    }
}

/// The packed operand of a kernel.
pub(crate) struct Kept {
    /// The state that is packed.
    buffer: Arc<CpuBuffer>,
    operand: Arc<PackedOperand>,
}

impl Kept {
    /// What a call keeps of the buffer with this position in the plan's table: something if it packs such an operand,
    /// and the buffer is a state that the program does not change.
    pub(crate) fn new(call: &Call, buffer: usize, plan: &Plan, states: &[Arc<CpuBuffer>]) -> Option<Kept> {
        let Place::State(state) = plan.buffers[buffer].place else { return None };
        if plan.program.states[state].write.is_some() {
            return None;
        }
        let buffer = Arc::clone(&states[state]);
        // Where there is no room for the copy, it is packed in each run.
        let operand = buffer.packed().get(call.packing()?, call.packed_len())?;
        Some(Kept { buffer, operand })
    }

    /// Packs the operand again if the state has been written.
    ///
    /// # Safety
    /// The device's lock is held, and nobody has a reference from [`Kept::elements`].
    pub(crate) unsafe fn renew(&self, call: &Call, shared: &Shared) {
        // SAFETY: the caller's promise.
        let contents = unsafe { &mut *self.operand.contents.get() };
        let version = self.buffer.version();
        if contents.version != Some(version) {
            contents.version = None;
            let state = self.buffer.pointer().cast::<f32>().cast_const();
            // SAFETY: the state is an operand of this call, and nobody writes it while the lock is held.
            unsafe { call.pack(state, &mut contents.memory, shared) };
            contents.version = Some(version);
        }
    }

    /// The operand as it is packed.
    ///
    /// # Safety
    /// The device's lock is held, and the reference is gone before that is given back or the operand renewed.
    pub(crate) unsafe fn elements(&self) -> &[f32] {
        // SAFETY: the caller's promise.
        unsafe { self.operand.elements() }
    }

    /// What it takes, and where, so that what several kernels share counts once.
    pub(crate) fn place_and_bytes(&self) -> (*const (), usize) {
        let bytes = self.operand.length * size_of::<f32>();
        (Arc::as_ptr(&self.operand).cast(), bytes)
    }
}
