//! Panics of code that is not ours, as errors.

use std::cell::Cell;
use std::sync::Once;

use crate::loader::guarded;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What a call into a decoder gives, or what it said when it panicked. Nothing is printed meanwhile by this thread: a
/// bad file is an error with its name, not a program's mistake.
pub(crate) fn quietly<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // A thread that is panicking already must not touch the hook.
    if !std::thread::panicking() {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !QUIET.get() {
                    before(info);
                }
            }));
        });
    }
    let outer = QUIET.replace(true);
    let result = guarded(call);
    QUIET.set(outer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_what_it_said() {
        assert_eq!(quietly(|| 1 + 1), Ok(2));
        let mut list = vec![0];
        list.clear();
        let message = quietly(|| list[3]).unwrap_err();
        assert!(message.contains("index is 3"), "{message}");
        assert!(!QUIET.get());
    }
}
