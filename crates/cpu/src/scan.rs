//! Loops: the plan of a body, carried out once for each trip.
//!
//! A body is planned and prepared once, when its program is loaded. A trip sets the addresses of what changes from trip
//! to trip, slices and carried values, and runs the body's kernels. Carried values go back and forth between two
//! places. What a product multiplies by in every trip is packed once a run.
//!
//! Where the rows of a batch have nothing to do with each other, each thread takes some of them through all trips, by a
//! plan for so many rows, and threads meet at the end of the loop instead of in every kernel.

use crate::calls::Scratch;
use crate::device::Shared;
use crate::executable::{Pointer, SPARE, allocate, constants};
use crate::kernels::{Kernels, Prepared};
use crate::memory::AlignedBuffer;
use crate::pool::share;
use dropforge_ir::{Body, Program, Result, Rows};
use dropforge_plan::plan::{Place, Plan};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rows below which a part of them is not worth a thread.
const LEAST_ROWS: usize = 4;
/// Most bytes that are the same for all rows and that each thread reads in every trip: what its own cache holds beside
/// the rest. Of more, threads had better read a part each.
const MOST_COMMON_BYTES: usize = 2 << 20;

/// A loop with everything that can be decided before it runs.
pub(crate) struct Scan {
    shape: Trips,
    /// The body for each number of rows that there is among the parts.
    bodies: Vec<Planned>,
    /// What is computed side by side.
    parts: Vec<Part>,
    /// What a part is computed with, if there are several: the thread alone.
    alone: Shared,
    /// By body, what its products keep of what is the same in all trips.
    packed: Mutex<Vec<Vec<AlignedBuffer>>>,
}

/// What a loop goes through.
struct Trips {
    carries: usize,
    stacked: usize,
    count: usize,
    reverse: bool,
    /// By input and by output of the body, how far apart slices and rows lie.
    inputs: Vec<Distances>,
    outputs: Vec<Distances>,
}

/// Bytes from one slice to the next, and from one row to the next; 0 for what is the same for all rows.
#[derive(Clone, Copy)]
struct Distances {
    slice: usize,
    row: usize,
}

/// A body for some number of rows.
struct Planned {
    plan: Plan,
    /// Where each carried value lies in the places of carried values.
    carried: Vec<usize>,
    /// What such a place takes.
    carried_bytes: usize,
    keeping: Vec<Kept>,
}

/// An input that a kernel has packed.
struct Kept {
    kernel: usize,
    input: usize,
    /// Elements of it as it is packed.
    length: usize,
}

/// Some of the rows, or all that there is. Kernels keep what they need while they run, so that each part has its own.
struct Part {
    body: usize,
    first_row: usize,
    kernels: Kernels,
    memory: Mutex<Memory>,
}

/// What a part needs while it runs.
struct Memory {
    arena: AlignedBuffer,
    scratch: Scratch,
    constants: Vec<AlignedBuffer>,
    /// The carried values of even and of odd trips.
    carried: [AlignedBuffer; 2],
    /// Where each buffer of the body's plan lies in the current trip.
    pointers: Vec<Pointer>,
}

/// Contents do not survive a run, so that a panic leaves nothing behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scan {
    /// Plans a body.
    ///
    /// # Errors
    /// If there is no memory for its intermediate values.
    pub(crate) fn new(
        body: &Body,
        [carries, stacked, count]: [usize; 3],
        reverse: bool,
        shared: &Shared,
    ) -> Result<Scan> {
        let body = body.program();
        let sliced = carries + stacked;
        let alone = Shared::new(1, shared.level);
        let rows = Rows::of(body, sliced).filter(|rows| common_bytes(body, rows) <= MOST_COMMON_BYTES);
        let threads = shared.pool.threads();
        let parts = rows.as_ref().map_or(1, |rows| threads.min(rows.count() / LEAST_ROWS).max(1));
        let distances = |port: &dropforge_ir::program::Port| {
            let slice = body.ty(port.value).bytes();
            let count = rows.as_ref().filter(|rows| rows.axis(port.value).is_some()).map(Rows::count);
            Distances { slice, row: count.map_or(0, |count| slice / count.max(1)) }
        };
        let shape = Trips {
            carries,
            stacked,
            count,
            reverse,
            inputs: body.inputs.iter().map(distances).collect(),
            outputs: body.outputs.iter().map(distances).collect(),
        };
        let (mut bodies, mut made): (Vec<Planned>, Vec<Part>) = (Vec::new(), Vec::new());
        let mut sizes: Vec<usize> = Vec::new();
        for part in 0..parts {
            let (range, program) = match &rows {
                Some(rows) if parts > 1 => {
                    let range = share(rows.count(), parts, part);
                    (range.clone(), Some(rows.part(body, range.len())?))
                }
                _ => (0..0, None),
            };
            let number = sizes.iter().position(|size| *size == range.len()).unwrap_or(sizes.len());
            if number == sizes.len() {
                bodies.push(Planned::new(program.as_ref().unwrap_or(body), &shape)?);
                sizes.push(range.len());
            }
            let shared = if parts > 1 { &alone } else { shared };
            let kernels = bodies[number].kernels(&shape, shared)?;
            let memory = Mutex::new(bodies[number].memory(&kernels)?);
            made.push(Part { body: number, first_row: range.start, kernels, memory });
        }
        for (number, body) in bodies.iter_mut().enumerate() {
            let part = made.iter().find(|part| part.body == number);
            body.keeping = part.map(|part| body.keeping(&shape, &part.kernels)).unwrap_or_default();
        }
        let packed = bodies.iter().map(Planned::room_for_packed).collect::<Result<_>>()?;
        Ok(Scan { shape, bodies, parts: made, alone, packed: Mutex::new(packed) })
    }

    /// Memory that the loop keeps, in bytes.
    pub(crate) fn own_bytes(&self) -> usize {
        let packed = lock(&self.packed).iter().flatten().map(|memory| memory.as_bytes().len()).sum::<usize>();
        let part = |part: &Part| {
            let memory = lock(&part.memory);
            let carried: usize = memory.carried.iter().map(|place| place.as_bytes().len()).sum();
            memory.arena.as_bytes().len() + memory.scratch.bytes() + carried + part.kernels.own_bytes()
        };
        packed + self.parts.iter().map(part).sum::<usize>()
    }

    /// For listings.
    pub(crate) fn describe(&self) -> String {
        let parts = match self.parts.len() {
            1 => String::new(),
            parts => format!(", {parts} parts of the rows"),
        };
        format!("{} trips of {} kernels{parts}", self.shape.count, self.bodies[0].plan.kernels.len())
    }

    /// Runs all trips.
    ///
    /// # Safety
    /// `arg` and `result` give memory of the sizes that the operation's types say; results overlap nothing; nobody else
    /// uses the memory.
    pub(crate) unsafe fn run(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        shared: &Shared,
    ) {
        let Trips { carries, count, inputs, outputs, .. } = &self.shape;
        if *count == 0 {
            for (port, distances) in inputs.iter().enumerate().take(*carries) {
                // SAFETY: argument and result have the same type and do not overlap.
                unsafe { std::ptr::copy_nonoverlapping(arg(port), result(port), distances.slice) };
            }
            return;
        }
        let args: Vec<Pointer> = (0..inputs.len()).map(|port| Pointer(arg(port))).collect();
        let results: Vec<Pointer> = (0..outputs.len()).map(|port| Pointer(result(port))).collect();
        let mut packed = lock(&self.packed);
        for (number, (body, packed)) in self.bodies.iter().zip(packed.iter_mut()).enumerate() {
            // Other parts of the same body keep the same.
            let Some(part) = self.parts.iter().find(|part| part.body == number) else { continue };
            for (kept, memory) in body.keeping.iter().zip(packed) {
                let Prepared::Call { call, .. } = &part.kernels.prepared[kept.kernel] else { continue };
                let (from, to) = (args[kept.input], Pointer(memory.as_bytes_mut().as_mut_ptr()));
                let parts = shared.pool.threads();
                shared.pool.run(|part| {
                    let (from, to) = (&from, &to);
                    // SAFETY: the memory has room for what the call says; threads write different parts of it.
                    unsafe { call.pack_right(from.0, to.0.cast(), part, parts) };
                });
            }
        }
        let packed = &*packed;
        if let [part] = &self.parts[..] {
            // SAFETY: the caller's promise.
            unsafe { self.run_part(part, &args, &results, packed, shared) };
            return;
        }
        shared.pool.split(self.parts.len(), 1, |_, range| {
            for part in &self.parts[range] {
                // SAFETY: the caller's promise; parts write rows of their own.
                unsafe { self.run_part(part, &args, &results, packed, &self.alone) };
            }
        });
    }

    /// Takes a part of the rows through all trips.
    ///
    /// # Safety
    /// As for [`Scan::run`], for these rows.
    unsafe fn run_part(
        &self,
        part: &Part,
        args: &[Pointer],
        results: &[Pointer],
        packed: &[Vec<AlignedBuffer>],
        shared: &Shared,
    ) {
        let Trips { carries, stacked, count, reverse, inputs, outputs } = &self.shape;
        let (body, packed) = (&self.bodies[part.body], &packed[part.body]);
        let Memory { arena, scratch, constants, carried, pointers } = &mut *lock(&part.memory);
        let mut packed_of = vec![None; part.kernels.prepared.len()];
        for (kept, memory) in body.keeping.iter().zip(packed) {
            packed_of[kept.kernel] = Some(&**memory);
        }
        let at = |whole: Pointer, distances: Distances, slice: usize| {
            // SAFETY: stacked arrays have a slice for each trip, and these rows in each slice.
            unsafe { whole.0.add(slice * distances.slice + part.first_row * distances.row) }
        };
        for trip in 0..*count {
            let slice = if *reverse { count - 1 - trip } else { trip };
            for (pointer, info) in pointers.iter_mut().zip(&body.plan.buffers) {
                let mut place = |trip: usize, port: usize| {
                    carried[trip % 2].as_bytes_mut()[body.carried[port]..].as_mut_ptr()
                };
                *pointer = Pointer(match info.place {
                    Place::Input(port) if port < *carries && trip > 0 => place(trip - 1, port),
                    Place::Input(port) => {
                        let is_stacked = (*carries..carries + stacked).contains(&port);
                        at(args[port], inputs[port], if is_stacked { slice } else { 0 })
                    }
                    Place::Output(port) if port < *carries && trip + 1 < *count => place(trip, port),
                    Place::Output(port) => {
                        at(results[port], outputs[port], if port < *carries { 0 } else { slice })
                    }
                    Place::Arena(offset) => arena.as_bytes_mut()[offset..].as_mut_ptr(),
                    Place::Constant(number) => constants[number].as_bytes_mut().as_mut_ptr(),
                    Place::State(_) | Place::Hyper(_) => {
                        unreachable!("the shape rule takes no body with states or hyperparameters")
                    }
                });
            }
            for (kernel, packed) in packed_of.iter().enumerate() {
                // SAFETY: slices and the two places of carried values are apart from each other and from the arena;
                // results overlap nothing by the caller's promise. The scratch space is as large as the kernels ask
                // for.
                unsafe { part.kernels.run(kernel, pointers, *packed, scratch, shared) };
            }
        }
    }
}

impl Planned {
    fn new(program: &Program, shape: &Trips) -> Result<Planned> {
        let plan = dropforge_plan::plan(program)?;
        let mut carried = Vec::new();
        let mut end = 0usize;
        for input in &program.inputs[..shape.carries] {
            carried.push(end);
            end = end.saturating_add(program.ty(input.value).bytes()).next_multiple_of(SPARE);
        }
        Ok(Planned { plan, carried, carried_bytes: end, keeping: Vec::new() })
    }

    /// The input that a buffer is, if it is the same in all trips and for all rows.
    fn common(&self, shape: &Trips, buffer: usize) -> Option<usize> {
        match self.plan.buffers[buffer].place {
            Place::Input(port) => {
                (port >= shape.carries + shape.stacked && shape.inputs[port].row == 0).then_some(port)
            }
            _ => None,
        }
    }

    fn kernels(&self, shape: &Trips, shared: &Shared) -> Result<Kernels> {
        Kernels::new(&self.plan, shared, &|buffer| self.common(shape, buffer).is_some())
    }

    fn keeping(&self, shape: &Trips, kernels: &Kernels) -> Vec<Kept> {
        let kept = |(kernel, step): (usize, &Prepared)| match step {
            Prepared::Call { call, args, .. } if call.packed_right_len() > 0 => {
                let input = self.common(shape, args[1])?;
                Some(Kept { kernel, input, length: call.packed_right_len() })
            }
            _ => None,
        };
        kernels.prepared.iter().enumerate().filter_map(kept).collect()
    }

    fn memory(&self, kernels: &Kernels) -> Result<Memory> {
        let place = || allocate(self.carried_bytes.saturating_add(SPARE), "carried values");
        Ok(Memory {
            arena: allocate(self.plan.arena_bytes + SPARE, "intermediate values of a loop")?,
            scratch: Scratch::new(allocate(kernels.scratch_bytes, "scratch space")?),
            constants: constants(&self.plan)?,
            carried: [place()?, place()?],
            pointers: vec![Pointer(std::ptr::null_mut()); self.plan.buffers.len()],
        })
    }

    fn room_for_packed(&self) -> Result<Vec<AlignedBuffer>> {
        let room = |kept: &Kept| allocate(kept.length * size_of::<f32>(), "the packed sides of products");
        self.keeping.iter().map(room).collect()
    }
}

/// Bytes of what a body is given that is the same for all rows.
fn common_bytes(body: &Program, rows: &Rows) -> usize {
    let common = body.inputs.iter().filter(|port| rows.axis(port.value).is_none());
    common.map(|port| body.ty(port.value).bytes()).sum()
}
