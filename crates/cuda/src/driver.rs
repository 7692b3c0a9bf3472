//! The functions of the driver that are used, with the types of its headers.

use crate::library::{self, functions};
use dropforge_ir::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// What every function returns; 0 is success.
pub type Status = c_int;
pub type Context = *mut c_void;
pub type Stream = *mut c_void;
pub type Event = *mut c_void;
pub type Module = *mut c_void;
pub type Function = *mut c_void;
pub type Graph = *mut c_void;
pub type GraphExec = *mut c_void;
/// An address on the device.
pub type Address = u64;

pub const NOT_READY: Status = 600;
/// A stream that does not wait for the default one.
pub const NON_BLOCKING: c_uint = 1;
/// Captures what this thread launches.
pub const CAPTURE_THREAD_LOCAL: c_int = 1;

/// Attributes of devices.
pub const MULTIPROCESSORS: c_int = 16;
pub const MAJOR: c_int = 75;
pub const MINOR: c_int = 76;

functions! {
    /// The functions of the driver that are used.
    Functions {
        error_name = b"cuGetErrorName": fn(Status, *mut *const c_char) -> Status;
        error_string = b"cuGetErrorString": fn(Status, *mut *const c_char) -> Status;
        init = b"cuInit": fn(c_uint) -> Status;
        driver_version = b"cuDriverGetVersion": fn(*mut c_int) -> Status;
        device_count = b"cuDeviceGetCount": fn(*mut c_int) -> Status;
        device_get = b"cuDeviceGet": fn(*mut c_int, c_int) -> Status;
        device_name = b"cuDeviceGetName": fn(*mut c_char, c_int, c_int) -> Status;
        device_memory = b"cuDeviceTotalMem_v2": fn(*mut usize, c_int) -> Status;
        device_attribute = b"cuDeviceGetAttribute": fn(*mut c_int, c_int, c_int) -> Status;
        context_retain = b"cuDevicePrimaryCtxRetain": fn(*mut Context, c_int) -> Status;
        context_release = b"cuDevicePrimaryCtxRelease_v2": fn(c_int) -> Status;
        context_set = b"cuCtxSetCurrent": fn(Context) -> Status;
        stream_create = b"cuStreamCreate": fn(*mut Stream, c_uint) -> Status;
        stream_destroy = b"cuStreamDestroy_v2": fn(Stream) -> Status;
        stream_synchronize = b"cuStreamSynchronize": fn(Stream) -> Status;
        capture_begin = b"cuStreamBeginCapture_v2": fn(Stream, c_int) -> Status;
        capture_end = b"cuStreamEndCapture": fn(Stream, *mut Graph) -> Status;
        graph_instantiate = b"cuGraphInstantiateWithFlags": fn(*mut GraphExec, Graph, u64) -> Status;
        graph_launch = b"cuGraphLaunch": fn(GraphExec, Stream) -> Status;
        graph_destroy = b"cuGraphDestroy": fn(Graph) -> Status;
        graph_exec_destroy = b"cuGraphExecDestroy": fn(GraphExec) -> Status;
        event_create = b"cuEventCreate": fn(*mut Event, c_uint) -> Status;
        event_record = b"cuEventRecord": fn(Event, Stream) -> Status;
        event_query = b"cuEventQuery": fn(Event) -> Status;
        event_synchronize = b"cuEventSynchronize": fn(Event) -> Status;
        event_elapsed = b"cuEventElapsedTime": fn(*mut f32, Event, Event) -> Status;
        event_destroy = b"cuEventDestroy_v2": fn(Event) -> Status;
        memory_allocate = b"cuMemAlloc_v2": fn(*mut Address, usize) -> Status;
        memory_free = b"cuMemFree_v2": fn(Address) -> Status;
        host_allocate = b"cuMemHostAlloc": fn(*mut *mut c_void, usize, c_uint) -> Status;
        host_free = b"cuMemFreeHost": fn(*mut c_void) -> Status;
        copy_up = b"cuMemcpyHtoDAsync_v2": fn(Address, *const c_void, usize, Stream) -> Status;
        copy_down = b"cuMemcpyDtoHAsync_v2": fn(*mut c_void, Address, usize, Stream) -> Status;
        copy_across = b"cuMemcpyDtoDAsync_v2": fn(Address, Address, usize, Stream) -> Status;
        fill = b"cuMemsetD8Async": fn(Address, u8, usize, Stream) -> Status;
        module_load = b"cuModuleLoadData": fn(*mut Module, *const c_void) -> Status;
        module_unload = b"cuModuleUnload": fn(Module) -> Status;
        module_function = b"cuModuleGetFunction": fn(*mut Function, Module, *const c_char) -> Status;
        launch = b"cuLaunchKernel": fn(Function, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Stream, *mut *mut c_void, *mut *mut c_void) -> Status;
    }
}

/// A text that a function gives.
fn text_of(get: impl FnOnce(*mut *const c_char) -> Status) -> Option<String> {
    let mut text: *const c_char = std::ptr::null();
    if get(&raw mut text) != 0 || text.is_null() {
        return None;
    }
    // SAFETY: the driver gave a text that ends with a zero and is never freed.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A GPU as the driver lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// Such as 90 for compute capability 9.0.
    pub architecture: u32,
    pub multiprocessors: u32,
    pub number: c_int,
}

/// A driver that was started.
pub struct Driver {
    pub functions: Functions,
    /// Such as 12080.
    pub version: u32,
}

impl Driver {
    /// Opens and starts it.
    ///
    /// # Errors
    /// One line that says what is missing, or what the driver says.
    pub fn start() -> Result<Driver> {
        let fail = |message: String| Error::new("device", message);
        let functions = library::driver().and_then(Functions::of).map_err(fail)?;
        let mut driver = Driver { functions, version: 0 };
        // SAFETY: it takes no pointers.
        let status = unsafe { (driver.functions.init)(0) };
        driver.check(status).map_err(|why| fail(format!("the NVIDIA driver does not start: {why}")))?;
        let mut version = 0;
        // SAFETY: the number outlives the call.
        let status = unsafe { (driver.functions.driver_version)(&raw mut version) };
        driver.check(status).map_err(fail)?;
        driver.version = version as u32;
        Ok(driver)
    }

    /// What a status says, if it is no success.
    pub fn check(&self, status: Status) -> std::result::Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        let f = &self.functions;
        // SAFETY: the pointers are to places that outlive the calls.
        let name = text_of(|to| unsafe { (f.error_name)(status, to) });
        // SAFETY: as above.
        let text = text_of(|to| unsafe { (f.error_string)(status, to) });
        Err(format!(
            "{} ({})",
            text.unwrap_or_else(|| "an error".into()),
            name.unwrap_or_else(|| status.to_string())
        ))
    }

    /// The GPUs of this machine.
    ///
    /// # Errors
    /// What the driver says.
    pub fn devices(&self) -> std::result::Result<Vec<Listed>, String> {
        let f = &self.functions;
        let mut count = 0;
        // SAFETY: the number outlives the call.
        self.check(unsafe { (f.device_count)(&raw mut count) })?;
        (0..count).map(|position| self.device(position)).collect()
    }

    fn device(&self, position: c_int) -> std::result::Result<Listed, String> {
        let f = &self.functions;
        let mut number = 0;
        // SAFETY: the number outlives the call.
        self.check(unsafe { (f.device_get)(&raw mut number, position) })?;
        let mut name = [0u8; 256];
        // SAFETY: there is room for as many bytes as is said, of which the driver ends the text with a zero.
        self.check(unsafe { (f.device_name)(name.as_mut_ptr().cast(), name.len() as c_int, number) })?;
        let mut memory = 0;
        // SAFETY: the number outlives the call.
        self.check(unsafe { (f.device_memory)(&raw mut memory, number) })?;
        let attribute = |which: c_int| {
            let mut value = 0;
            // SAFETY: the number outlives the call.
            let status = unsafe { (f.device_attribute)(&raw mut value, which, number) };
            self.check(status).map(|()| value as u32)
        };
        Ok(Listed {
            name: CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy().into_owned(),
            memory: memory as u64,
            architecture: attribute(MAJOR)? * 10 + attribute(MINOR)?,
            multiprocessors: attribute(MULTIPROCESSORS)?,
            number,
        })
    }
}
