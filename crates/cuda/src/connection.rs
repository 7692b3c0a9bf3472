//! A context of the driver with its one stream: memory, copies, events and launches. Whoever holds one of these keeps
//! the connection.

use crate::driver::{
    Address, CAPTURE_THREAD_LOCAL, Context, Driver, Event, Function, GraphExec, Listed, Module, NON_BLOCKING,
    NOT_READY, Status, Stream,
};
use std::ffi::{c_uint, c_void};
use std::sync::{Arc, Mutex, OnceLock};

/// What went wrong, in the driver's words.
pub type Outcome<T = ()> = std::result::Result<T, String>;

/// A context and its stream.
pub struct Connection {
    pub driver: Driver,
    pub device: Listed,
    context: Context,
    stream: Stream,
    /// Only for captures, so that nobody else's work gets into them.
    recorder: Stream,
    /// What the device was lost by: errors of kernels stay with a context for good.
    lost: OnceLock<String>,
    /// Taken while launches are captured.
    capturing: Mutex<()>,
}

// SAFETY: contexts and streams of the driver may be used from any thread, at the same time too; each function makes the
// context current on its thread first.
unsafe impl Send for Connection {}
// SAFETY: as above.
unsafe impl Sync for Connection {}

/// Statuses after which a context is of no use any more.
const FATAL: [Status; 14] = [214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721];

impl Connection {
    /// Opens a device.
    pub fn open(driver: Driver, device: Listed) -> Outcome<Arc<Connection>> {
        let mut context: Context = std::ptr::null_mut();
        // SAFETY: the place outlives the call.
        driver.check(unsafe { (driver.functions.context_retain)(&raw mut context, device.number) })?;
        let mut connection = Connection {
            driver,
            device,
            context,
            stream: std::ptr::null_mut(),
            recorder: std::ptr::null_mut(),
            lost: OnceLock::new(),
            capturing: Mutex::new(()),
        };
        connection.enter()?;
        connection.stream = connection.new_stream()?;
        connection.recorder = connection.new_stream()?;
        Ok(Arc::new(connection))
    }

    fn new_stream(&self) -> Outcome<Stream> {
        let mut stream: Stream = std::ptr::null_mut();
        // SAFETY: the place outlives the call, and the context is current.
        let status = unsafe { (self.driver.functions.stream_create)(&raw mut stream, NON_BLOCKING) };
        self.driver.check(status).map(|()| stream)
    }

    /// Makes the context current on this thread.
    pub fn enter(&self) -> Outcome {
        // SAFETY: the context is retained as long as this lives.
        self.driver.check(unsafe { (self.driver.functions.context_set)(self.context) })
    }

    /// What a status says; remembers if the device is lost.
    fn check(&self, status: Status) -> Outcome {
        let outcome = self.driver.check(status);
        if let Err(why) = &outcome
            && FATAL.contains(&status)
        {
            let _ = self.lost.set(why.clone());
        }
        outcome
    }

    /// Why the device was lost, if it was.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Takes the device for lost, as after a fault; for tests of what follows.
    pub fn lose(&self, why: &str) {
        let _ = self.lost.set(why.into());
    }

    /// Waits until everything that was started is done.
    pub fn synchronize(&self) -> Outcome {
        self.enter()?;
        // SAFETY: the stream lives as long as this.
        self.check(unsafe { (self.driver.functions.stream_synchronize)(self.stream) })
    }

    /// Memory of the device, with anything in it.
    pub fn allocate(self: &Arc<Self>, bytes: u64) -> Outcome<Memory> {
        self.enter()?;
        let mut address: Address = 0;
        // SAFETY: the place outlives the call.
        self.check(unsafe { (self.driver.functions.memory_allocate)(&raw mut address, bytes as usize) })?;
        Ok(Memory(Arc::new(Block { address, bytes, connection: Arc::clone(self) })))
    }

    /// Zeroes memory, in the order of the stream.
    pub fn clear(&self, memory: &Memory, offset: u64, bytes: u64) -> Outcome {
        let address = memory.range(offset, bytes)?;
        self.enter()?;
        // SAFETY: the range lies in memory of the device that is alive; it is freed only after a wait for the stream.
        self.check(unsafe { (self.driver.functions.fill)(address, 0, bytes as usize, self.stream) })
    }

    /// Copies to the device, in the order of the stream; or captures that.
    pub fn copy_up(&self, from: (&Pinned, u64), to: (&Memory, u64), bytes: u64, captured: bool) -> Outcome {
        let (source, target) = (from.0.range(from.1, bytes)?, to.0.range(to.1, bytes)?);
        self.enter()?;
        let stream = self.stream(captured);
        // SAFETY: both ranges are alive until an event behind the copy, which whoever uses `from` again waits for; and
        // as long as a graph that this is captured for.
        self.check(unsafe { (self.driver.functions.copy_up)(target, source, bytes as usize, stream) })
    }

    /// Copies to the host, in the order of the stream; or captures that.
    pub fn copy_down(&self, from: (&Memory, u64), to: (&Pinned, u64), bytes: u64, captured: bool) -> Outcome {
        let (source, target) = (from.0.range(from.1, bytes)?, to.0.range(to.1, bytes)?);
        self.enter()?;
        let stream = self.stream(captured);
        // SAFETY: as for copies to the device.
        self.check(unsafe { (self.driver.functions.copy_down)(target, source, bytes as usize, stream) })
    }

    /// The stream, or the one that is captured.
    pub fn stream(&self, captured: bool) -> Stream {
        if captured { self.recorder } else { self.stream }
    }

    /// Copies on the device, in the order of the stream.
    pub fn copy_across(
        &self,
        from: &Memory,
        from_offset: u64,
        to: &Memory,
        offset: u64,
        bytes: u64,
    ) -> Outcome {
        let (source, target) = (from.range(from_offset, bytes)?, to.range(offset, bytes)?);
        self.enter()?;
        // SAFETY: both ranges lie in memory of the device that is alive; it is freed only after a wait for the stream.
        self.check(unsafe {
            (self.driver.functions.copy_across)(target, source, bytes as usize, self.stream)
        })
    }

    /// Loads machine code and finds the function in it.
    pub fn load(self: &Arc<Self>, code: &[u8], name: &std::ffi::CStr, threads: u32) -> Outcome<Kernel> {
        self.enter()?;
        let f = &self.driver.functions;
        let mut module: Module = std::ptr::null_mut();
        // SAFETY: the code is a whole image, as the compiler made it; the driver copies it.
        self.check(unsafe { (f.module_load)(&raw mut module, code.as_ptr().cast()) })?;
        let mut kernel =
            Kernel { module, function: std::ptr::null_mut(), threads, connection: Arc::clone(self) };
        // SAFETY: the module is loaded, and the name ends with a zero.
        self.check(unsafe { (f.module_function)(&raw mut kernel.function, module, name.as_ptr()) })?;
        Ok(kernel)
    }

    /// Starts a kernel, or captures its start: its first argument is `parameters`, the others are `addresses`.
    pub fn launch(
        &self,
        kernel: &Kernel,
        grid: [u32; 3],
        parameters: &[u32],
        addresses: &[Address],
        captured: bool,
    ) -> Outcome {
        self.enter()?;
        let stream = self.stream(captured);
        let mut arguments: Vec<*mut c_void> = Vec::with_capacity(1 + addresses.len());
        arguments.push(parameters.as_ptr().cast_mut().cast());
        arguments
            .extend(addresses.iter().map(|address| std::ptr::from_ref(address).cast_mut().cast::<c_void>()));
        let [x, y, z] = grid;
        // SAFETY: the function takes as many arguments of these sizes, which the driver copies during the call; what
        // addresses mean is alive as long as the launch, which is what executables keep their memory for.
        self.check(unsafe {
            (self.driver.functions.launch)(
                kernel.function,
                x,
                y,
                z,
                kernel.threads,
                1,
                1,
                0,
                stream,
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }

    /// Captures what `work` launches to be captured, as a graph.
    pub fn capture(self: &Arc<Self>, work: impl FnOnce() -> Outcome) -> Outcome<Replay> {
        let _alone = self.capturing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.enter()?;
        let f = &self.driver.functions;
        // SAFETY: the stream lives as long as this.
        self.check(unsafe { (f.capture_begin)(self.recorder, CAPTURE_THREAD_LOCAL) })?;
        let outcome = work();
        let mut graph = std::ptr::null_mut();
        // SAFETY: the capture was begun above; the place outlives the call.
        let ended = self.check(unsafe { (f.capture_end)(self.recorder, &raw mut graph) });
        let mut replay: GraphExec = std::ptr::null_mut();
        let made = outcome.and(ended).and_then(|()| {
            // SAFETY: the graph was captured; the place outlives the call.
            self.check(unsafe { (f.graph_instantiate)(&raw mut replay, graph, 0) })
        });
        if !graph.is_null() {
            // SAFETY: the graph was captured, and what was made of it does not need it.
            unsafe { (f.graph_destroy)(graph) };
        }
        made.map(|()| Replay { graph: replay, connection: Arc::clone(self) })
    }

    /// Starts a captured graph.
    pub fn replay(&self, replay: &Replay) -> Outcome {
        self.enter()?;
        // SAFETY: the graph is alive, and so is the memory of the executable that it belongs to.
        self.check(unsafe { (self.driver.functions.graph_launch)(replay.graph, self.stream) })
    }

    /// An event; one that takes the time if `timed`.
    pub fn event(self: &Arc<Self>, timed: bool) -> Outcome<Mark> {
        self.enter()?;
        const WITHOUT_TIME: c_uint = 2;
        let mut event: Event = std::ptr::null_mut();
        let flags = if timed { 0 } else { WITHOUT_TIME };
        // SAFETY: the place outlives the call.
        self.check(unsafe { (self.driver.functions.event_create)(&raw mut event, flags) })?;
        Ok(Mark { event, connection: Arc::clone(self) })
    }

    /// Memory of the host that the device copies from and to.
    pub fn pinned(self: &Arc<Self>, bytes: u64) -> Outcome<Pinned> {
        self.enter()?;
        let mut start: *mut c_void = std::ptr::null_mut();
        // SAFETY: the place outlives the call.
        self.check(unsafe {
            (self.driver.functions.host_allocate)(&raw mut start, bytes.max(4) as usize, 0)
        })?;
        Ok(Pinned { start: start.cast(), bytes: bytes.max(4), connection: Arc::clone(self) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.enter().is_ok() {
            // SAFETY: nothing of the context is left: all of it keeps the connection.
            unsafe {
                for stream in [self.stream, self.recorder] {
                    if !stream.is_null() {
                        (self.driver.functions.stream_destroy)(stream);
                    }
                }
                (self.driver.functions.context_release)(self.device.number);
            }
        }
    }
}

/// Memory of the device; clones share it.
#[derive(Clone)]
pub struct Memory(Arc<Block>);

struct Block {
    address: Address,
    bytes: u64,
    connection: Arc<Connection>,
}

impl Memory {
    /// Its first byte, on the device.
    pub fn address(&self) -> Address {
        self.0.address
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// Whether both are the same memory.
    pub fn is(&self, other: &Memory) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn range(&self, offset: u64, bytes: u64) -> Outcome<Address> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.0.bytes => Ok(self.0.address + offset),
            _ => Err(format!("{bytes} bytes from {offset} on are not in memory of {}", self.0.bytes)),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Freeing waits for what the device still does with it.
        if self.connection.synchronize().is_ok() {
            // SAFETY: the address was allocated, and nobody else has it.
            unsafe { (self.connection.driver.functions.memory_free)(self.address) };
        }
    }
}

/// Memory of the host that the device copies from and to.
pub struct Pinned {
    start: *mut u8,
    bytes: u64,
    connection: Arc<Connection>,
}

// SAFETY: it is plain memory; that device and host take turns is what its users see to.
unsafe impl Send for Pinned {}
// SAFETY: as above; through a shared reference it is only read.
unsafe impl Sync for Pinned {}

impl Pinned {
    fn range(&self, offset: u64, bytes: u64) -> Outcome<*mut c_void> {
        match offset.checked_add(bytes) {
            // SAFETY: the offset lies within the memory.
            Some(end) if end <= self.bytes => Ok(unsafe { self.start.add(offset as usize) }.cast()),
            _ => Err(format!("{bytes} bytes from {offset} on are not in memory of {}", self.bytes)),
        }
    }

    /// The bytes. The device must be done with copies to it.
    pub fn read(&self) -> &[u8] {
        // SAFETY: the memory is alive and as long; the driver zeroed or filled it.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes as usize) }
    }

    /// The bytes, to be written. The device must be done with copies from it.
    pub fn write(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes as usize) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.connection.synchronize().is_ok() {
            // SAFETY: the memory was allocated so, and nobody else has it.
            unsafe { (self.connection.driver.functions.host_free)(self.start.cast()) };
        }
    }
}

/// A function on the device.
pub struct Kernel {
    module: Module,
    function: Function,
    threads: u32,
    connection: Arc<Connection>,
}

// SAFETY: functions of the driver may be launched from any thread.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.connection.enter().is_ok() {
            // SAFETY: the module was loaded, and what runs of it keeps the kernel.
            unsafe { (self.connection.driver.functions.module_unload)(self.module) };
        }
    }
}

/// A captured graph.
pub struct Replay {
    graph: GraphExec,
    connection: Arc<Connection>,
}

// SAFETY: graphs may be launched from any thread, by one at a time; their executable is not shared.
unsafe impl Send for Replay {}

impl Drop for Replay {
    fn drop(&mut self) {
        if self.connection.synchronize().is_ok() {
            // SAFETY: the graph was instantiated, and does not run any more.
            unsafe { (self.connection.driver.functions.graph_exec_destroy)(self.graph) };
        }
    }
}

/// A mark in the stream.
pub struct Mark {
    event: Event,
    connection: Arc<Connection>,
}

// SAFETY: events may be used from any thread.
unsafe impl Send for Mark {}
// SAFETY: as above.
unsafe impl Sync for Mark {}

impl Mark {
    /// Puts it behind everything that was started.
    pub fn record(&self) -> Outcome {
        self.connection.enter()?;
        // SAFETY: event and stream are alive.
        self.connection.check(unsafe {
            (self.connection.driver.functions.event_record)(self.event, self.connection.stream)
        })
    }

    /// Whether the device has come past it.
    pub fn is_passed(&self) -> Outcome<bool> {
        self.connection.enter()?;
        // SAFETY: the event is alive.
        match unsafe { (self.connection.driver.functions.event_query)(self.event) } {
            NOT_READY => Ok(false),
            status => self.connection.check(status).map(|()| true),
        }
    }

    /// Waits until the device has come past it.
    pub fn wait(&self) -> Outcome {
        self.connection.enter()?;
        // SAFETY: the event is alive.
        self.connection.check(unsafe { (self.connection.driver.functions.event_synchronize)(self.event) })
    }

    /// Seconds from an earlier mark to this one, both of which were passed.
    pub fn seconds_since(&self, start: &Mark) -> Outcome<f64> {
        self.connection.enter()?;
        let mut milliseconds = 0f32;
        // SAFETY: both events are alive; the number outlives the call.
        let status = unsafe {
            (self.connection.driver.functions.event_elapsed)(&raw mut milliseconds, start.event, self.event)
        };
        self.connection.check(status).map(|()| f64::from(milliseconds) / 1e3)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if self.connection.enter().is_ok() {
            // SAFETY: the event was made, and the driver keeps what it still needs of it.
            unsafe { (self.connection.driver.functions.event_destroy)(self.event) };
        }
    }
}
