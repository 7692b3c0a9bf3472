//! The functions of `include/dropforge.h`, which documents them.
//!
//! Every function catches panics, which must not unwind into C, and leaves a message for the thread.

use dropforge::run::{IntoRaw, Trained};
use dropforge::{Error, Result, Runtime};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};
use std::slice;

/// A trained network, with its names as C takes them.
pub struct Model {
    trained: Trained,
    classes: Vec<CString>,
    shape: Vec<usize>,
    inputs: usize,
    outputs: usize,
}

/// Threads share a model, as the header promises.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Model>();
};

thread_local! {
    static ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// Text for C, up to its first zero byte.
fn text(text: &str) -> CString {
    let whole = text.split('\0').next().unwrap_or_default();
    CString::new(whole).unwrap_or_default()
}

/// What `work` gives; without a value it leaves the message for the thread.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Option<T> {
    let message = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "dropforge has failed in a way that is a fault of its own; please report it".into(),
    };
    // A thread that is about to end has no place for it any more.
    let _ = ERROR.try_with(|error| *error.borrow_mut() = text(&message));
    None
}

/// The model behind a pointer.
///
/// # Safety
/// `model` is null, or comes from [`dropforge_open`] and has not been closed.
unsafe fn opened<'a>(model: *const Model) -> Result<&'a Model> {
    // SAFETY: the caller promises that it is null or points to a model that lives.
    unsafe { model.as_ref() }.ok_or_else(|| Error::new("the model is NULL: was it opened?"))
}

/// The text behind a pointer.
///
/// # Safety
/// `pointer` is null, or points to bytes that end with a zero and do not change.
unsafe fn path<'a>(pointer: *const c_char) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(Error::new("the path is NULL"));
    }
    // SAFETY: it is not null, and the caller promises the rest.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map_err(|_| Error::new("the path is no UTF-8"))
}

impl Model {
    fn open(path: &str) -> Result<Model> {
        let trained = Trained::open(path, &Runtime::shared()?)?;
        let classes: Vec<CString> = trained.classes().iter().map(|name| text(name)).collect();
        let types: Vec<_> = trained.input_types().collect();
        let shape = match types.as_slice() {
            [(_, sample)] => sample.shape.to_vec(),
            _ => {
                let names: Vec<&str> = types.iter().map(|(name, _)| *name).collect();
                let message =
                    format!("the network has the inputs {}, and C can give one only", names.join(", "));
                return Err(Error::new(message));
            }
        };
        let outputs = match classes.len() {
            0 => trained.output_types().next().map_or(0, |(_, sample)| sample.shape.elements()),
            count => count,
        };
        let inputs = shape.iter().product();
        Ok(Model { trained, classes, shape, inputs, outputs })
    }

    /// Predicts what raw inputs hold, into rows. Memory from C may never have been written, so nothing refers to it as numbers.
    ///
    /// # Safety
    /// `into` has room for `samples` rows, which nothing else uses meanwhile.
    unsafe fn predict(&self, raw: impl IntoRaw, samples: usize, into: *mut f32) -> Result<()> {
        let rows = self.trained.rows_of(&self.trained.predict(raw)?)?;
        if rows.len() != samples || rows.iter().any(|row| row.len() != self.outputs) {
            return Err(Error::new(format!(
                "the network gives {} rows of {} numbers, not {samples} of {}",
                rows.len(),
                rows.first().map_or(0, Vec::len),
                self.outputs
            )));
        }
        for (index, row) in rows.iter().enumerate() {
            // SAFETY: there are `samples` rows of `outputs` numbers each, as was checked, for which the caller has room; they are
            // this function's own.
            unsafe { into.add(index * self.outputs).copy_from_nonoverlapping(row.as_ptr(), row.len()) };
        }
        Ok(())
    }
}

/// Predicts elements of any type behind a pointer.
///
/// # Safety
/// As the header says: `inputs` holds `samples` samples, and `outputs` has room for as many rows.
unsafe fn predict<T: Copy>(model: *const Model, inputs: *const T, samples: usize, outputs: *mut f32) -> c_int
where
    Vec<T>: IntoRaw,
{
    let done = guarded(|| {
        // SAFETY: the caller promises that it is null or a model that lives.
        let model = unsafe { opened(model) }?;
        if samples == 0 {
            return Ok(());
        }
        if inputs.is_null() || outputs.is_null() {
            return Err(Error::new("inputs or outputs are NULL"));
        }
        let bytes = |each: usize, size: usize| {
            each.checked_mul(samples)?.checked_mul(size).filter(|&all| all <= isize::MAX as usize)
        };
        if bytes(model.inputs, size_of::<T>()).is_none() || bytes(model.outputs, size_of::<f32>()).is_none() {
            return Err(Error::new(format!("{samples} samples are more than memory can hold")));
        }
        // SAFETY: it is not null, the size was checked, and the caller promises so many elements.
        let inputs = unsafe { slice::from_raw_parts(inputs, model.inputs * samples) };
        // SAFETY: it is not null, its size was checked, and the caller promises room for so many rows.
        unsafe { model.predict(inputs.to_vec(), samples, outputs) }
    });
    if done.is_some() { 0 } else { -1 }
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn dropforge_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn dropforge_error() -> *const c_char {
    ERROR.try_with(|error| error.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// See the header.
///
/// # Safety
/// `file` is null or a text that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_open(file: *const c_char) -> *mut Model {
    // SAFETY: the caller promises what `path` asks for.
    let opened = guarded(|| Model::open(unsafe { path(file) }?));
    opened.map_or(null_mut(), |model| Box::into_raw(Box::new(model)))
}

/// See the header.
///
/// # Safety
/// `model` is null, or comes from [`dropforge_open`], and no call with it goes on or follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_close(model: *mut Model) {
    if !model.is_null() {
        guarded(|| {
            // SAFETY: `dropforge_open` made it from a box, and the caller gives it back once.
            drop(unsafe { Box::from_raw(model) });
            Ok(())
        });
    }
}

/// See the header.
///
/// # Safety
/// `model` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_inputs(model: *const Model) -> usize {
    // SAFETY: the caller promises it.
    guarded(|| Ok(unsafe { opened(model) }?.inputs)).unwrap_or(0)
}

/// See the header.
///
/// # Safety
/// `model` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_outputs(model: *const Model) -> usize {
    // SAFETY: the caller promises it.
    guarded(|| Ok(unsafe { opened(model) }?.outputs)).unwrap_or(0)
}

/// See the header.
///
/// # Safety
/// `model` is null or open, and `shape` has room for `capacity` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_shape(model: *const Model, shape: *mut usize, capacity: usize) -> usize {
    // SAFETY: the caller promises it.
    let Some(model) = guarded(|| unsafe { opened(model) }) else { return 0 };
    if !shape.is_null() {
        for (place, &extent) in model.shape.iter().enumerate().take(capacity) {
            // SAFETY: `place` is less than `capacity`, for which the caller has room.
            unsafe { shape.add(place).write(extent) };
        }
    }
    model.shape.len()
}

/// See the header.
///
/// # Safety
/// `model` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_class_count(model: *const Model) -> usize {
    // SAFETY: the caller promises it.
    guarded(|| Ok(unsafe { opened(model) }?.classes.len())).unwrap_or(0)
}

/// See the header.
///
/// # Safety
/// `model` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_class(model: *const Model, index: usize) -> *const c_char {
    // SAFETY: the caller promises it.
    let name = guarded(|| Ok(unsafe { opened(model) }?.classes.get(index).map(|name| name.as_ptr())));
    name.flatten().unwrap_or(null())
}

/// See the header.
///
/// # Safety
/// `model` is null or open, `inputs` holds `samples` samples, and `outputs` has room for as many rows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_predict(
    model: *const Model,
    inputs: *const f32,
    samples: usize,
    outputs: *mut f32,
) -> c_int {
    // SAFETY: the caller promises it.
    unsafe { predict(model, inputs, samples, outputs) }
}

/// See the header.
///
/// # Safety
/// As [`dropforge_predict`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_predict_bytes(
    model: *const Model,
    inputs: *const u8,
    samples: usize,
    outputs: *mut f32,
) -> c_int {
    // SAFETY: the caller promises it.
    unsafe { predict(model, inputs, samples, outputs) }
}

/// See the header.
///
/// # Safety
/// As [`dropforge_predict`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_predict_tokens(
    model: *const Model,
    inputs: *const i32,
    samples: usize,
    outputs: *mut f32,
) -> c_int {
    // SAFETY: the caller promises it.
    unsafe { predict(model, inputs, samples, outputs) }
}

/// See the header.
///
/// # Safety
/// `model` is null or open, `file` is null or a text that ends with a zero, and `outputs` has room for a row.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dropforge_predict_image(
    model: *const Model,
    file: *const c_char,
    outputs: *mut f32,
) -> c_int {
    let done = guarded(|| {
        // SAFETY: the caller promises it.
        let (model, file) = unsafe { (opened(model)?, path(file)?) };
        if outputs.is_null() {
            return Err(Error::new("outputs are NULL"));
        }
        let picture = model.trained.inputs().read_image(file)?;
        // SAFETY: it is not null, and the caller promises room for a row.
        unsafe { model.predict(picture, 1, outputs) }
    });
    if done.is_some() { 0 } else { -1 }
}
