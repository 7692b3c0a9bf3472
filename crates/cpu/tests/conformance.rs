//! The CPU device against PyTorch and against random programs, on one thread and on several.

use dropforge_conformance::{
    Exception, Verdict, check_all, check_geometries, check_random, check_random_mixed, seeds_from_environment,
};
use dropforge_cpu::CpuDevice;
use dropforge_ir::DType;

/// Winograd's F(4×4, 3×3) trades products for an error of up to 3e-5 of the largest element.
const EXCEPTIONS: &[Exception] = &[Exception {
    case: "ops/convolution/many_channels*",
    verdict: Verdict::Tolerance(3e-5),
    because: "computed by Winograd's F(4×4, 3×3), whose intermediate sums are larger than its results",
}];

#[test]
fn one_thread_agrees_with_pytorch() {
    check_all(&CpuDevice::new(1).unwrap(), EXCEPTIONS);
}

#[test]
fn several_threads_agree_with_pytorch() {
    check_all(&CpuDevice::new(3).unwrap(), EXCEPTIONS);
}

#[test]
fn random_programs() {
    check_random(&CpuDevice::new(2).unwrap(), seeds_from_environment(0..300));
}

/// Products by way of f32, and by pairs.
#[test]
fn random_programs_in_mixed_precision() {
    let seeds = || seeds_from_environment(0..200);
    for half in [DType::BF16, DType::F16] {
        assert!(check_random_mixed(&CpuDevice::new(2).unwrap(), half, seeds()) > 0);
    }
    let pairs = CpuDevice::with_portable_pairs(2).unwrap();
    assert!(check_random_mixed(&pairs, DType::BF16, seeds()) > 0);
}

/// `cargo test --profile checked -p dropforge-cpu --test conformance geometries` runs it with overflow checks in the
/// kernels.
#[test]
fn geometries() {
    let met = check_geometries(&CpuDevice::new(2).unwrap(), seeds_from_environment(0..4000));
    assert!(met.computed > 1000 && met.huge > 150, "{met:?}");
}
