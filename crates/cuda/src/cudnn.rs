//! cuDNN, NVIDIA's library of convolutions.

use crate::connection::{Connection, Outcome};
use crate::driver::{Address, Stream};
use crate::library::{self, functions};
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex};

type Handle = *mut c_void;
type Description = *mut c_void;

/// What is chosen for a convolution, as the library's headers lay it out.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Heuristic {
    algorithm: c_int,
    status: c_int,
    milliseconds: f32,
    workspace: usize,
    determinism: c_int,
    arithmetic: c_int,
    reserved: [c_int; 3],
}

functions! {
    /// The functions of cuDNN that are used.
    Functions {
        create = b"cudnnCreate": fn(*mut Handle) -> c_int;
        destroy = b"cudnnDestroy": fn(Handle) -> c_int;
        set_stream = b"cudnnSetStream": fn(Handle, Stream) -> c_int;
        images_create = b"cudnnCreateTensorDescriptor": fn(*mut Description) -> c_int;
        images_set = b"cudnnSetTensor4dDescriptor": fn(Description, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        images_destroy = b"cudnnDestroyTensorDescriptor": fn(Description) -> c_int;
        filters_create = b"cudnnCreateFilterDescriptor": fn(*mut Description) -> c_int;
        filters_set = b"cudnnSetFilter4dDescriptor": fn(Description, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        filters_destroy = b"cudnnDestroyFilterDescriptor": fn(Description) -> c_int;
        window_create = b"cudnnCreateConvolutionDescriptor": fn(*mut Description) -> c_int;
        window_set = b"cudnnSetConvolution2dDescriptor": fn(Description, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        window_set_arithmetic = b"cudnnSetConvolutionMathType": fn(Description, c_int) -> c_int;
        window_destroy = b"cudnnDestroyConvolutionDescriptor": fn(Description) -> c_int;
        choose_forward = b"cudnnGetConvolutionForwardAlgorithm_v7": fn(Handle, Description, Description, Description, Description, c_int, *mut c_int, *mut Heuristic) -> c_int;
        choose_input = b"cudnnGetConvolutionBackwardDataAlgorithm_v7": fn(Handle, Description, Description, Description, Description, c_int, *mut c_int, *mut Heuristic) -> c_int;
        choose_filter = b"cudnnGetConvolutionBackwardFilterAlgorithm_v7": fn(Handle, Description, Description, Description, Description, c_int, *mut c_int, *mut Heuristic) -> c_int;
        forward = b"cudnnConvolutionForward": fn(Handle, *const c_void, Description, Address, Description, Address, Description, c_int, Address, usize, *const c_void, Description, Address) -> c_int;
        input_gradient = b"cudnnConvolutionBackwardData": fn(Handle, *const c_void, Description, Address, Description, Address, Description, c_int, Address, usize, *const c_void, Description, Address) -> c_int;
        filter_gradient = b"cudnnConvolutionBackwardFilter": fn(Handle, *const c_void, Description, Address, Description, Address, Description, c_int, Address, usize, *const c_void, Description, Address) -> c_int;
    }
}

/// Which of the three tensors of a convolution is computed from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The output, from images and filters.
    Forward,
    /// The gradient of the images, from that of the output and the filters.
    Input,
    /// The gradient of the filters, from images and the gradient of the output.
    Filter,
}

/// Element types of the library, for all three tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    BF16,
}

impl Element {
    fn number(self) -> c_int {
        match self {
            Element::F32 => 0,
            Element::F16 => 2,
            Element::BF16 => 9,
        }
    }
}

/// A convolution with all its extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub direction: Direction,
    pub element: Element,
    /// Whether the channels of a pixel lie side by side, in images and in filters.
    pub channels_last: bool,
    /// Images, channels, height and width.
    pub x: [usize; 4],
    /// Filters, channels, height and width.
    pub filter: [usize; 4],
    /// Images, filters, height and width.
    pub output: [usize; 4],
    pub padding: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
}

/// The library, started for a device.
pub struct Library {
    functions: Functions,
    /// A handle serves one thread at a time.
    handle: Mutex<OwnHandle>,
    /// Last, so that it is dropped after what belongs to it.
    connection: Arc<Connection>,
}

struct OwnHandle(Handle);

// SAFETY: a handle may be used from any thread, by one at a time, which its mutex sees to.
unsafe impl Send for OwnHandle {}

fn check(what: &str, status: c_int) -> Outcome {
    if status == 0 { Ok(()) } else { Err(format!("cuDNN cannot {what} (status {status})")) }
}

impl Library {
    /// Finds and starts it.
    pub fn start(connection: &Arc<Connection>) -> Outcome<Library> {
        let functions = Functions::of(library::find(&library::CUDNN, connection.driver.version / 1000)?)?;
        let mut handle: Handle = std::ptr::null_mut();
        connection.enter()?;
        // SAFETY: the place outlives the call, and the context is current.
        check("start", unsafe { (functions.create)(&raw mut handle) })?;
        Ok(Library { functions, handle: Mutex::new(OwnHandle(handle)), connection: Arc::clone(connection) })
    }

    /// Where it was found.
    pub fn path(&self) -> &std::path::Path {
        &self.functions.path
    }

    /// A convolution that takes up to so many bytes to work in, ready to be started on any memory. Of the ways that
    /// give the same bits each time, the one that the library takes for the fastest.
    pub fn convolution(self: &Arc<Self>, shape: &Shape, most_bytes: usize) -> Outcome<Convolution> {
        self.connection.enter()?;
        let mut convolution = Convolution {
            x: std::ptr::null_mut(),
            filter: std::ptr::null_mut(),
            output: std::ptr::null_mut(),
            window: std::ptr::null_mut(),
            direction: shape.direction,
            algorithm: 0,
            workspace: 0,
            library: Arc::clone(self),
        };
        convolution.describe(shape)?;
        convolution.choose(most_bytes)?;
        Ok(convolution)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if self.connection.synchronize().is_ok() {
            let handle = crate::gpu::lock(&self.handle);
            // SAFETY: the handle was made, and nothing runs with it any more.
            unsafe { (self.functions.destroy)(handle.0) };
        }
    }
}

/// A convolution that the library computes.
pub struct Convolution {
    x: Description,
    filter: Description,
    output: Description,
    window: Description,
    direction: Direction,
    algorithm: c_int,
    /// Bytes that it works in.
    pub workspace: usize,
    library: Arc<Library>,
}

// SAFETY: descriptions are only read once they are made.
unsafe impl Send for Convolution {}
// SAFETY: as above.
unsafe impl Sync for Convolution {}

/// Whole numbers as the library takes them.
fn numbers<const N: usize>(extents: [usize; N]) -> Outcome<[c_int; N]> {
    let mut found = [0; N];
    for (number, extent) in found.iter_mut().zip(extents) {
        *number = c_int::try_from(extent).map_err(|_| format!("{extent} is more than cuDNN counts"))?;
    }
    Ok(found)
}

impl Convolution {
    fn describe(&mut self, shape: &Shape) -> Outcome {
        const CROSS_CORRELATION: c_int = 1;
        const ON_TENSOR_CORES: c_int = 1;
        const FUSED_MULTIPLY_ADD: c_int = 3;
        let f = &self.library.functions;
        let (format, element) = (c_int::from(shape.channels_last), shape.element.number());
        for (place, extents) in [(&mut self.x, shape.x), (&mut self.output, shape.output)] {
            let [n, c, h, w] = numbers(extents)?;
            // SAFETY: the place outlives the call; what was made is described before anything reads it.
            unsafe {
                check("describe images", (f.images_create)(&raw mut *place))?;
                check("describe images", (f.images_set)(*place, format, element, n, c, h, w))?;
            }
        }
        let [k, c, h, w] = numbers(shape.filter)?;
        let [low_y, low_x, step_y, step_x, apart_y, apart_x] = numbers([
            shape.padding[0],
            shape.padding[1],
            shape.stride[0],
            shape.stride[1],
            shape.dilation[0],
            shape.dilation[1],
        ])?;
        // f32 is not rounded to what tensor cores take.
        let arithmetic = if shape.element == Element::F32 { FUSED_MULTIPLY_ADD } else { ON_TENSOR_CORES };
        // SAFETY: as above; sums are of f32.
        unsafe {
            check("describe filters", (f.filters_create)(&raw mut self.filter))?;
            check("describe filters", (f.filters_set)(self.filter, element, format, k, c, h, w))?;
            check("describe a window", (f.window_create)(&raw mut self.window))?;
            let (mode, sums) = (CROSS_CORRELATION, Element::F32.number());
            let status =
                (f.window_set)(self.window, low_y, low_x, step_y, step_x, apart_y, apart_x, mode, sums);
            check("describe a window", status)?;
            check("choose its arithmetic", (f.window_set_arithmetic)(self.window, arithmetic))
        }
    }

    fn choose(&mut self, most_bytes: usize) -> Outcome {
        const DETERMINISTIC: c_int = 1;
        const MOST: usize = 10;
        let Library { functions: f, handle, .. } = &*self.library;
        let handle = crate::gpu::lock(handle);
        let mut found = [Heuristic::default(); MOST];
        let mut count: c_int = 0;
        let (choose, [first, second, result]) = match self.direction {
            Direction::Forward => (f.choose_forward, [self.x, self.filter, self.output]),
            Direction::Input => (f.choose_input, [self.filter, self.output, self.x]),
            Direction::Filter => (f.choose_filter, [self.x, self.output, self.filter]),
        };
        // SAFETY: the descriptions are made; there is room for as many results as are asked for.
        let status = unsafe {
            choose(
                handle.0,
                first,
                second,
                self.window,
                result,
                MOST as c_int,
                &raw mut count,
                found.as_mut_ptr(),
            )
        };
        check("choose a kernel", status)?;
        let best = found.iter().take(count.max(0) as usize).find(|found| {
            found.status == 0 && found.determinism == DETERMINISTIC && found.workspace <= most_bytes
        });
        let best = best.ok_or("cuDNN has no kernel that gives the same bits each time")?;
        (self.algorithm, self.workspace) = (best.algorithm, best.workspace);
        Ok(())
    }

    /// What it is, for listings.
    pub fn note(&self) -> String {
        format!("cuDNN, way {}, works in {} MiB", self.algorithm, self.workspace >> 20)
    }

    /// Starts it on the two arguments in the operation's order, or captures its start.
    pub fn start(
        &self,
        [first, second, result]: [Address; 3],
        workspace: Address,
        captured: bool,
    ) -> Outcome {
        let Library { functions: f, handle, connection } = &*self.library;
        connection.enter()?;
        let handle = crate::gpu::lock(handle);
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = ((&raw const one).cast(), (&raw const zero).cast());
        let (bytes, way) = (self.workspace, self.algorithm);
        let Convolution { x, filter, output, window, .. } = *self;
        // SAFETY: the stream lives as long as the connection.
        check("take a stream", unsafe { (f.set_stream)(handle.0, connection.stream(captured)) })?;
        // SAFETY: the descriptions are alive; the memory is as long as they say and alive, as for launches, and so is
        // the memory to work in, which what is started on one stream uses one after another.
        let status = unsafe {
            match self.direction {
                Direction::Forward => (f.forward)(
                    handle.0, one, x, first, filter, second, window, way, workspace, bytes, zero, output,
                    result,
                ),
                Direction::Input => (f.input_gradient)(
                    handle.0, one, filter, second, output, first, window, way, workspace, bytes, zero, x,
                    result,
                ),
                Direction::Filter => (f.filter_gradient)(
                    handle.0, one, x, first, output, second, window, way, workspace, bytes, zero, filter,
                    result,
                ),
            }
        };
        check("convolve", status)
    }
}

impl Drop for Convolution {
    fn drop(&mut self) {
        let f = &self.library.functions;
        let made = [
            (self.x, f.images_destroy),
            (self.output, f.images_destroy),
            (self.filter, f.filters_destroy),
            (self.window, f.window_destroy),
        ];
        for (description, destroy) in made.into_iter().filter(|(description, _)| !description.is_null()) {
            // SAFETY: it was made once, and is destroyed once.
            unsafe { destroy(description) };
        }
    }
}
