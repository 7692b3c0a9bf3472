//! Ctrl-C and the like: they ask for an end, which comes when everything is saved.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag that is set when the user or the system asks the process to end (SIGINT, SIGTERM). Asking twice ends it at once.
pub fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    unix::watch(&flag);
    flag
}

#[cfg(unix)]
mod unix {
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, OnceLock};

    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

    /// The same on all systems that Rust calls Unix.
    const SIGINT: c_int = 2;
    const SIGTERM: c_int = 15;
    /// What a signal does by itself.
    const DEFAULT: usize = 0;

    unsafe extern "C" {
        fn signal(number: c_int, handler: usize) -> usize;
    }

    extern "C" fn asked(number: c_int) {
        if let Some(flag) = FLAG.get() {
            flag.store(true, Ordering::SeqCst);
        }
        // SAFETY: `signal` may be called in a handler, and this one gives the signal back its usual effect.
        unsafe { signal(number, DEFAULT) };
    }

    pub fn watch(flag: &Arc<AtomicBool>) {
        if FLAG.set(flag.clone()).is_err() {
            return;
        }
        for number in [SIGINT, SIGTERM] {
            // SAFETY: the handler does nothing but load and store atomics and call `signal`, which handlers may.
            unsafe { signal(number, asked as extern "C" fn(c_int) as usize) };
        }
    }
}
