//! NVRTC, the compiler of CUDA C at run time.

use crate::library::{self, functions};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

type Program = *mut c_void;

functions! {
    /// The functions of NVRTC that are used.
    Functions {
        version = b"nvrtcVersion": fn(*mut c_int, *mut c_int) -> c_int;
        error = b"nvrtcGetErrorString": fn(c_int) -> *const c_char;
        create = b"nvrtcCreateProgram": fn(*mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> c_int;
        destroy = b"nvrtcDestroyProgram": fn(*mut Program) -> c_int;
        compile = b"nvrtcCompileProgram": fn(Program, c_int, *const *const c_char) -> c_int;
        log_size = b"nvrtcGetProgramLogSize": fn(Program, *mut usize) -> c_int;
        log = b"nvrtcGetProgramLog": fn(Program, *mut c_char) -> c_int;
        cubin_size = b"nvrtcGetCUBINSize": fn(Program, *mut usize) -> c_int;
        cubin = b"nvrtcGetCUBIN": fn(Program, *mut c_char) -> c_int;
        architecture_count = b"nvrtcGetNumSupportedArchs": fn(*mut c_int) -> c_int;
        architectures = b"nvrtcGetSupportedArchs": fn(*mut c_int) -> c_int;
    }
}

/// A compiler that was found.
pub struct Compiler {
    functions: Functions,
    /// Major and minor.
    pub version: (u32, u32),
}

impl Compiler {
    /// Looks for one that a driver of version `major` understands.
    ///
    /// # Errors
    /// One line that says what is missing and where it was looked for.
    pub fn find(major: u32) -> Result<Compiler, String> {
        let functions = Functions::of(library::find(&library::NVRTC, major)?)?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to numbers that live as long as the call.
        let status = unsafe { (functions.version)(&raw mut major, &raw mut minor) };
        if status != 0 {
            return Err(format!("{} does not say its version", functions.path.display()));
        }
        Ok(Compiler { functions, version: (major as u32, minor as u32) })
    }

    /// Where it was found.
    pub fn path(&self) -> &std::path::Path {
        &self.functions.path
    }

    /// The architectures that it compiles for, such as 90.
    pub fn architectures(&self) -> Vec<u32> {
        let mut count = 0;
        // SAFETY: the pointer is to a number that lives as long as the call.
        if unsafe { (self.functions.architecture_count)(&raw mut count) } != 0 {
            return Vec::new();
        }
        let mut found: Vec<c_int> = vec![0; count.max(0) as usize];
        // SAFETY: there is room for as many numbers as it said there are.
        if unsafe { (self.functions.architectures)(found.as_mut_ptr()) } != 0 {
            return Vec::new();
        }
        found.into_iter().map(|number| number as u32).collect()
    }

    fn describe(&self, status: c_int) -> String {
        // SAFETY: it returns a text that is never freed, for any number.
        let text = unsafe { (self.functions.error)(status) };
        if text.is_null() {
            return format!("error {status}");
        }
        // SAFETY: it is not null, and ends with a zero.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// Machine code for an architecture, such as `sm_90`.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&self, source: &str, architecture: &str) -> Result<Vec<u8>, String> {
        let source = CString::new(source).map_err(|_| "the text has a zero in it")?;
        // What a kernel does not use of the printed functions is no reason for a warning.
        let architecture = format!("--gpu-architecture={architecture}");
        let options = [architecture, "--std=c++17".into(), "--disable-warnings".into()];
        let options: Vec<CString> =
            options.into_iter().filter_map(|option| CString::new(option).ok()).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        let fail = |status: c_int| Err(self.describe(status));
        // SAFETY: the text ends with a zero and is copied; there are no headers.
        let status = unsafe {
            let (none, headers) = (std::ptr::null(), std::ptr::null());
            (self.functions.create)(
                &raw mut program,
                source.as_ptr(),
                c"kernel.cu".as_ptr(),
                0,
                none,
                headers,
            )
        };
        if status != 0 {
            return fail(status);
        }
        let result = (|| {
            // SAFETY: the program was made above and is not yet destroyed; the options end with zeros and outlive the
            // call.
            let status =
                unsafe { (self.functions.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
            if status != 0 {
                return Err(format!("{}: {}", self.describe(status), self.log(program)));
            }
            let mut size = 0;
            // SAFETY: as above; the number outlives the call.
            let status = unsafe { (self.functions.cubin_size)(program, &raw mut size) };
            if status != 0 {
                return fail(status);
            }
            let mut code = vec![0u8; size];
            // SAFETY: there is room for as many bytes as it said there are.
            let status = unsafe { (self.functions.cubin)(program, code.as_mut_ptr().cast()) };
            if status != 0 { fail(status) } else { Ok(code) }
        })();
        // SAFETY: the program was made above, and is destroyed once.
        unsafe { (self.functions.destroy)(&raw mut program) };
        result
    }

    fn log(&self, program: Program) -> String {
        let mut size = 0;
        // SAFETY: the program is alive; the number outlives the call.
        if unsafe { (self.functions.log_size)(program, &raw mut size) } != 0 {
            return String::new();
        }
        let mut log = vec![0u8; size];
        // SAFETY: there is room for as many bytes as it said there are.
        if unsafe { (self.functions.log)(program, log.as_mut_ptr().cast()) } != 0 {
            return String::new();
        }
        String::from_utf8_lossy(&log).trim_matches(['\0', '\n']).to_string()
    }
}

// SAFETY: NVRTC may be called from several threads at once; the struct holds nothing but its functions.
unsafe impl Send for Compiler {}
// SAFETY: as above.
unsafe impl Sync for Compiler {}
