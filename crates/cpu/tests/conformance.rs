//! The CPU device against PyTorch and against random programs, on one thread and on several.

use dropforge_conformance::{check_all, check_random, seeds_from_environment};
use dropforge_cpu::CpuDevice;

#[test]
fn one_thread_agrees_with_pytorch() {
    check_all(&CpuDevice::new(1).unwrap(), &[]);
}

#[test]
fn several_threads_agree_with_pytorch() {
    check_all(&CpuDevice::new(3).unwrap(), &[]);
}

#[test]
fn random_programs() {
    check_random(&CpuDevice::new(2).unwrap(), seeds_from_environment(0..300));
}
