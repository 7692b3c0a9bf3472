//! Ctrl-C and the like: they ask for an end, which comes when everything is saved.

use std::io::{self, Read};
use std::process;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What handlers set.
static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// What a process gives that Ctrl-C ends.
const INTERRUPTED: i32 = 130;

/// The flag, one for the process, that is set when the user or the system asks it to end (SIGINT, SIGTERM, and SIGHUP
/// when its terminal is gone, unless that is ignored, as by `nohup`; on Windows Ctrl-C, Ctrl-Break, and that the window
/// closes). Asking twice ends it at once.
pub fn flag() -> Arc<AtomicBool> {
    let mut is_first = false;
    let flag = FLAG.get_or_init(|| {
        is_first = true;
        Arc::default()
    });
    if is_first {
        #[cfg(unix)]
        unix::watch();
        #[cfg(windows)]
        windows::watch();
    }
    flag.clone()
}

/// Sets the flag when the process that leads this one asks for it, by a byte on standard input, or is gone, by its end.
/// If it goes after it has asked, it was itself asked twice, and this process ends at once.
pub fn follow(flag: &Arc<AtomicBool>) {
    let flag = flag.clone();
    thread::spawn(move || {
        let asked = io::stdin().read(&mut [0]);
        flag.store(true, Ordering::SeqCst);
        if matches!(asked, Ok(1)) {
            let _ = io::stdin().read(&mut [0]);
            process::exit(INTERRUPTED);
        }
    });
}

#[cfg(unix)]
mod unix {
    use super::FLAG;
    use std::ffi::c_int;
    use std::sync::atomic::Ordering;

    /// The same on all systems that Rust calls Unix.
    const SIGINT: c_int = 2;
    const SIGTERM: c_int = 15;
    const SIGHUP: c_int = 1;
    /// What a signal does by itself.
    const DEFAULT: usize = 0;
    const IGNORE: usize = 1;

    unsafe extern "C" {
        fn signal(number: c_int, handler: usize) -> usize;
    }

    extern "C" fn asked(_: c_int) {
        if let Some(flag) = FLAG.get() {
            flag.store(true, Ordering::SeqCst);
        }
        // A terminal that goes asks once; whoever ignores that goes on doing so.
        for number in [SIGINT, SIGTERM] {
            // SAFETY: `signal` may be called in a handler, and this one gives the signal back its usual effect.
            unsafe { signal(number, DEFAULT) };
        }
    }

    pub fn watch() {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            // SAFETY: the handler does nothing but load and store atomics and call `signal`, which handlers may.
            let before = unsafe { signal(number, asked as extern "C" fn(c_int) as usize) };
            if number == SIGHUP && before == IGNORE {
                // SAFETY: as above.
                unsafe { signal(number, IGNORE) };
            }
        }
    }
}

#[cfg(windows)]
mod windows {
    use super::FLAG;
    use std::sync::atomic::Ordering;
    use std::thread;
    use std::time::Duration;

    /// That the window closes, the user logs off, or the system ends: then the process ends when its handler returns.
    const CLOSE: u32 = 2;
    /// Longer than Windows waits for a handler.
    const LONG: Duration = Duration::from_secs(60);

    unsafe extern "system" {
        fn SetConsoleCtrlHandler(handler: Option<unsafe extern "system" fn(u32) -> i32>, add: i32) -> i32;
    }

    /// Says whether the event has been dealt with; if not, the handler before it ends the process. Windows calls it in
    /// a thread of its own, so that it may do what any thread may.
    unsafe extern "system" fn asked(event: u32) -> i32 {
        let Some(flag) = FLAG.get() else { return 0 };
        let first = !flag.swap(true, Ordering::SeqCst);
        if first && event >= CLOSE {
            thread::sleep(LONG);
        }
        first.into()
    }

    pub fn watch() {
        // SAFETY: the handler has the signature that Windows asks for, stays for as long as the process, and touches
        // nothing but an atomic behind a reference that is never dropped.
        unsafe { SetConsoleCtrlHandler(Some(asked), 1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_later_hears_of_it_too() {
        assert!(Arc::ptr_eq(&flag(), &flag()));
    }
}
