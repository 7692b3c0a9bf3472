//! Opening and closing devices, one thread of the process at a time.
//!
//! Drivers take many locks of their own while a device is opened or closed, and while they are loaded and unloaded with
//! the first and the last instance; threads that do so at once have been seen to wait for each other forever. So
//! whoever opens, closes or lists devices has a [`Turn`], and there is one instance, which stays.

use crate::gpu::lock;
use std::sync::{Condvar, Mutex, PoisonError};

/// The right to open or close devices; the next one in this process gets it when it is dropped.
///
/// Not a guard of a mutex, since whoever drops a device may be on another thread than whoever opened it.
pub(crate) struct Turn(());

static TAKEN: Mutex<bool> = Mutex::new(false);
static GIVEN_BACK: Condvar = Condvar::new();
static INSTANCE: Mutex<Option<wgpu::Instance>> = Mutex::new(None);

impl Turn {
    /// Waits until nobody else has it.
    pub fn take() -> Turn {
        let mut taken = lock(&TAKEN);
        while *taken {
            taken = GIVEN_BACK.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Turn(())
    }

    /// The instance of this process.
    pub fn instance(&self) -> wgpu::Instance {
        let new = || {
            wgpu::Instance::new(wgpu::InstanceDescriptor {
                backends: wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12,
                ..wgpu::InstanceDescriptor::new_without_display_handle()
            })
        };
        lock(&INSTANCE).get_or_insert_with(new).clone()
    }

    /// Lets go of the instance, so that whoever comes next starts anew: after a crash of a driver the old one may know
    /// only devices that are gone.
    pub fn forget_instance(&self) {
        lock(&INSTANCE).take();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&TAKEN) = false;
        GIVEN_BACK.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn turns_do_not_overlap_even_after_a_panic() {
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let inside = &inside;
                let worker = scope.spawn(move || {
                    for _ in 0..200 {
                        let _turn = Turn::take();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                    let _turn = Turn::take();
                    assert!(thread != 3, "this one panics on purpose");
                });
                if thread == 3 {
                    assert!(worker.join().is_err());
                }
            }
        });
        drop(Turn::take());
    }
}
