//! cuBLASLt, NVIDIA's library of products.

use crate::connection::{Connection, Memory, Outcome};
use crate::driver::{Address, Stream};
use crate::library::{self, functions};
use crate::tuning::LIBRARY_WORKSPACE_BYTES;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

type Handle = *mut c_void;
type Description = *mut c_void;
type Layout = *mut c_void;
type Preference = *mut c_void;

/// What is chosen for a product, as the library's headers lay it out.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Heuristic {
    algorithm: [u64; 8],
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

functions! {
    /// The functions of cuBLASLt that are used.
    Functions {
        create = b"cublasLtCreate": fn(*mut Handle) -> c_int;
        destroy = b"cublasLtDestroy": fn(Handle) -> c_int;
        description_create = b"cublasLtMatmulDescCreate": fn(*mut Description, c_int, c_int) -> c_int;
        description_destroy = b"cublasLtMatmulDescDestroy": fn(Description) -> c_int;
        description_set = b"cublasLtMatmulDescSetAttribute": fn(Description, c_int, *const c_void, usize) -> c_int;
        layout_create = b"cublasLtMatrixLayoutCreate": fn(*mut Layout, c_int, u64, u64, i64) -> c_int;
        layout_destroy = b"cublasLtMatrixLayoutDestroy": fn(Layout) -> c_int;
        layout_set = b"cublasLtMatrixLayoutSetAttribute": fn(Layout, c_int, *const c_void, usize) -> c_int;
        preference_create = b"cublasLtMatmulPreferenceCreate": fn(*mut Preference) -> c_int;
        preference_destroy = b"cublasLtMatmulPreferenceDestroy": fn(Preference) -> c_int;
        preference_set = b"cublasLtMatmulPreferenceSetAttribute": fn(Preference, c_int, *const c_void, usize) -> c_int;
        heuristic = b"cublasLtMatmulAlgoGetHeuristic": fn(Handle, Description, Layout, Layout, Layout, Layout, Preference, c_int, *mut Heuristic, *mut c_int) -> c_int;
        multiply = b"cublasLtMatmul": fn(Handle, Description, *const c_void, Address, Layout, Address, Layout, *const c_void, Address, Layout, Address, Layout, *const [u64; 8], Address, usize, Stream) -> c_int;
    }
}

/// Element types of the library.
pub const F32: c_int = 0;
pub const F16: c_int = 2;
pub const BF16: c_int = 14;
/// Sums of f32.
const COMPUTE_F32: c_int = 68;

/// A matrix in memory, in columns of the library: elements of a column follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    pub rows: u64,
    pub columns: u64,
    /// Elements from one column to the next.
    pub step: i64,
    /// Elements from one matrix of the batch to the next.
    pub batch_step: i64,
}

/// A product `d = op(a) op(b)` for a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub a: Matrix,
    pub b: Matrix,
    pub d: Matrix,
    /// Whether the factors are turned.
    pub turned: [bool; 2],
    pub batch: i32,
    /// Element type of the factors, and of the result.
    pub factors: c_int,
    pub result: c_int,
}

/// The library, started for a device, with the memory that it works in.
pub struct Library {
    functions: Functions,
    handle: Handle,
    workspace: Memory,
    /// Last, so that it is dropped after what belongs to it.
    connection: Arc<Connection>,
}

// SAFETY: a handle may be used from any thread, at the same time too.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

fn check(what: &str, status: c_int) -> Outcome {
    if status == 0 { Ok(()) } else { Err(format!("cuBLASLt cannot {what} (status {status})")) }
}

impl Library {
    /// Finds and starts it.
    pub fn start(connection: &Arc<Connection>) -> Outcome<Library> {
        let functions = Functions::of(library::find(&library::CUBLASLT, connection.driver.version / 1000)?)?;
        let workspace = connection.allocate(LIBRARY_WORKSPACE_BYTES)?;
        let mut handle: Handle = std::ptr::null_mut();
        connection.enter()?;
        // SAFETY: the place outlives the call, and the context is current.
        check("start", unsafe { (functions.create)(&raw mut handle) })?;
        Ok(Library { functions, handle, workspace, connection: Arc::clone(connection) })
    }

    fn layout(&self, matrix: Matrix, element: c_int, batch: i32) -> Outcome<Layout> {
        const BATCH: c_int = 5;
        const BATCH_STEP: c_int = 6;
        let mut layout: Layout = std::ptr::null_mut();
        let Matrix { rows, columns, step, batch_step } = matrix;
        // SAFETY: the place outlives the call.
        let status = unsafe { (self.functions.layout_create)(&raw mut layout, element, rows, columns, step) };
        check("describe a matrix", status)?;
        // SAFETY: the layout was made above; the numbers have the sizes that the attributes ask for and outlive the
        // calls.
        let (first, second) = unsafe {
            (
                (self.functions.layout_set)(layout, BATCH, (&raw const batch).cast(), 4),
                (self.functions.layout_set)(layout, BATCH_STEP, (&raw const batch_step).cast(), 8),
            )
        };
        check("describe a batch", first).and(check("describe a batch", second)).map(|()| layout)
    }

    /// Where it was found.
    pub fn path(&self) -> &std::path::Path {
        &self.functions.path
    }

    /// A product, ready to be started on any memory.
    pub fn product(self: &Arc<Self>, shape: &Shape) -> Outcome<Product> {
        const TURNED: [c_int; 2] = [3, 4];
        const WORKSPACE: c_int = 1;
        let f = &self.functions;
        let mut product = Product {
            description: std::ptr::null_mut(),
            layouts: [std::ptr::null_mut(); 3],
            algorithm: [0; 8],
            library: Arc::clone(self),
        };
        // SAFETY: the place outlives the call.
        let status = unsafe { (f.description_create)(&raw mut product.description, COMPUTE_F32, F32) };
        check("describe a product", status)?;
        for (attribute, turned) in TURNED.into_iter().zip(shape.turned) {
            let value = c_int::from(turned);
            // SAFETY: the description was made above; the number has the size that the attribute asks for.
            let status =
                unsafe { (f.description_set)(product.description, attribute, (&raw const value).cast(), 4) };
            check("turn a factor", status)?;
        }
        let matrices = [(shape.a, shape.factors), (shape.b, shape.factors), (shape.d, shape.result)];
        for (layout, (matrix, element)) in product.layouts.iter_mut().zip(matrices) {
            *layout = self.layout(matrix, element, shape.batch)?;
        }
        let mut preference: Preference = std::ptr::null_mut();
        // SAFETY: the place outlives the call.
        check("take a preference", unsafe { (f.preference_create)(&raw mut preference) })?;
        let bytes = LIBRARY_WORKSPACE_BYTES as usize;
        let mut found = Heuristic { algorithm: [0; 8], workspace: 0, state: 0, waves: 0.0, reserved: [0; 4] };
        let mut count: c_int = 0;
        let [a, b, d] = product.layouts;
        // SAFETY: all that was made above is alive; there is room for the one result that is asked for.
        let status = unsafe {
            (f.preference_set)(preference, WORKSPACE, (&raw const bytes).cast(), size_of::<usize>());
            let status = (f.heuristic)(
                self.handle,
                product.description,
                a,
                b,
                d,
                d,
                preference,
                1,
                &raw mut found,
                &raw mut count,
            );
            (f.preference_destroy)(preference);
            status
        };
        check("choose a kernel", status)?;
        check("choose a kernel", if count == 1 { found.state } else { -1 })?;
        product.algorithm = found.algorithm;
        Ok(product)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if self.connection.synchronize().is_ok() {
            // SAFETY: the handle was made, and nothing runs with it any more.
            unsafe { (self.functions.destroy)(self.handle) };
        }
    }
}

/// A product that the library computes.
pub struct Product {
    description: Description,
    /// Of both factors and the result.
    layouts: [Layout; 3],
    algorithm: [u64; 8],
    library: Arc<Library>,
}

// SAFETY: descriptions are only read once they are made.
unsafe impl Send for Product {}
// SAFETY: as above.
unsafe impl Sync for Product {}

impl Product {
    /// Starts it on memory of the device, or captures its start.
    pub fn start(&self, [a, b, d]: [Address; 3], captured: bool) -> Outcome {
        let Library { functions, handle, workspace, connection } = &*self.library;
        connection.enter()?;
        let (one, zero) = (1f32, 0f32);
        let [layout_a, layout_b, layout_d] = self.layouts;
        // SAFETY: description and layouts are alive; the memory is as long as the layouts say and alive, as for
        // launches; products of one stream use the workspace one after another.
        check("multiply", unsafe {
            (functions.multiply)(
                *handle,
                self.description,
                (&raw const one).cast(),
                a,
                layout_a,
                b,
                layout_b,
                (&raw const zero).cast(),
                d,
                layout_d,
                d,
                layout_d,
                &raw const self.algorithm,
                workspace.address(),
                LIBRARY_WORKSPACE_BYTES as usize,
                connection.stream(captured),
            )
        })
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let f = &self.library.functions;
        // SAFETY: what is not null was made once, and is destroyed once.
        unsafe {
            if !self.description.is_null() {
                (f.description_destroy)(self.description);
            }
            for layout in self.layouts {
                if !layout.is_null() {
                    (f.layout_destroy)(layout);
                }
            }
        }
    }
}
