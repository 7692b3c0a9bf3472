//! What went wrong on the device, and which call is told.

use crate::gpu::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::ThreadId;

/// Errors that the device raised outside of any error scope.
#[derive(Default)]
pub(crate) struct Faults {
    /// Whether there is anything to look at; keeps the usual case to one load.
    any: AtomicBool,
    /// Why the device was lost; nothing works from then on.
    lost: OnceLock<String>,
    /// Other errors, by the thread whose call raised them: the device raises an error inside that call.
    raised: Mutex<Vec<(ThreadId, String)>>,
}

/// Errors of threads that never asked; older ones are dropped.
const MOST_RAISED: usize = 64;

impl Faults {
    pub fn lose(&self, why: &str) {
        // The first reason stays.
        let _ = self.lost.set(why.to_string());
        self.any.store(true, Ordering::Release);
    }

    pub fn raise(&self, message: String) {
        let mut raised = lock(&self.raised);
        if raised.len() >= MOST_RAISED {
            raised.remove(0);
        }
        raised.push((std::thread::current().id(), message));
        self.any.store(true, Ordering::Release);
    }

    /// Why the device was lost, if it was.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// What the calls of this thread raised since it last asked; the loss of the device stays forever.
    pub fn take(&self) -> Option<String> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        if let Some(why) = self.lost.get() {
            return Some(why.clone());
        }
        let mut raised = lock(&self.raised);
        let own = std::thread::current().id();
        let first = raised.iter().find(|(thread, _)| *thread == own).map(|(_, message)| message.clone());
        raised.retain(|(thread, _)| *thread != own);
        if raised.is_empty() {
            self.any.store(false, Ordering::Release);
            // The device may have been lost just before that.
            self.any.store(self.lost.get().is_some(), Ordering::Release);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_once_to_the_thread_that_caused_it() {
        let faults = Faults::default();
        std::thread::scope(|scope| {
            scope.spawn(|| faults.raise("theirs".into()));
        });
        assert_eq!(faults.take(), None);
        faults.raise("first".into());
        faults.raise("second".into());
        assert_eq!(faults.take().as_deref(), Some("first"));
        assert_eq!(faults.take(), None);
        faults.lose("unplugged");
        faults.lose("later");
        assert_eq!(faults.take().as_deref(), Some("unplugged"));
        assert_eq!(faults.take().as_deref(), Some("unplugged"));
    }
}
