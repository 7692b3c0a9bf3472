//! Filters of convolutions and weights of products as these pack them, kept from run to run while nobody writes the states
//! that they come from.

use crate::calls::Call;
use crate::device::{CpuBuffer, Shared};
use crate::memory::AlignedBuffer;
use dropforge_plan::Plan;
use dropforge_plan::plan::Place;
use std::sync::Arc;

/// The packed filters of one convolution, or weights of one product.
pub(crate) struct PackedFilters {
    /// The state that the filters are.
    state: usize,
    /// That state's version when they were packed; none before the first time.
    version: Option<u64>,
    memory: AlignedBuffer,
}

impl PackedFilters {
    /// Room for the filters of a call, if it packs such and the program does not change them; `filters`
    /// is their position in the plan's table of buffers.
    pub(crate) fn new(call: &Call, filters: usize, plan: &Plan) -> Option<PackedFilters> {
        let length = call.packed_len();
        let Place::State(state) = plan.buffers[filters].place else { return None };
        if length == 0 || plan.program.states[state].write.is_some() {
            return None;
        }
        // Where there is no room for the copy, they are packed in each run.
        AlignedBuffer::try_new(length).map(|memory| PackedFilters { state, version: None, memory })
    }

    /// Packs the filters again if they have been written. The device's lock is held.
    pub(crate) fn renew(&mut self, call: &Call, states: &[Arc<CpuBuffer>], shared: &Shared) {
        let state = &states[self.state];
        if self.version != Some(state.version()) {
            // SAFETY: the state holds the filters of this call, and nobody writes it while the lock is held.
            unsafe { call.pack(state.pointer().cast::<f32>().cast_const(), &mut self.memory, shared) };
            self.version = Some(state.version());
        }
    }

    /// The filters.
    pub(crate) fn elements(&self) -> &[f32] {
        &self.memory
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.memory.as_bytes().len()
    }
}
