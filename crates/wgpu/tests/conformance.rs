//! The portable GPU against PyTorch and the interpreter.
//!
//! Runs on a software renderer, so that every machine gives the same answers; `DROPFORGE_GPU=best` takes the GPU
//! instead. A machine without either fails, unless `DROPFORGE_NO_GPU=1` says that none is expected.

use dropforge_conformance::{
    check_all, check_geometries, check_random, check_random_mixed, check_share, seeds_from_environment,
};
use dropforge_ir::DType;
use dropforge_wgpu::{Choice, Printing, WgpuDevice};

fn device(change: impl FnOnce(Printing) -> Printing) -> Option<WgpuDevice> {
    let choice = match std::env::var("DROPFORGE_GPU").as_deref() {
        Ok("best") => Choice::Best,
        _ => Choice::Software,
    };
    match WgpuDevice::printing(choice, change) {
        Ok(device) => Some(device),
        Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => None,
        Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
    }
}

/// As kernels with many elements are printed.
fn quads(printing: Printing) -> Printing {
    Printing { quads_from: 0, ..printing }
}

#[test]
fn cases_agree_with_pytorch() {
    let Some(device) = device(|printing| printing) else { return };
    check_all(&device, &[]);
}

#[test]
fn cases_agree_with_pytorch_in_quads() {
    let Some(device) = device(quads) else { return };
    check_share(&device, 0);
}

#[test]
fn cases_agree_with_pytorch_without_subgroups() {
    let Some(device) = device(Printing::plain) else { return };
    check_share(&device, 1);
}

#[test]
fn cases_agree_with_pytorch_with_f16_in_words() {
    let Some(device) = device(|printing| Printing { f16: false, ..printing }) else { return };
    check_share(&device, 2);
}

#[test]
fn random_programs_agree_with_the_interpreter() {
    let Some(device) = device(|printing| printing) else { return };
    check_random(&device, seeds_from_environment(0..60));
}

#[test]
fn random_programs_agree_with_the_interpreter_in_quads() {
    let Some(device) = device(quads) else { return };
    check_random(&device, seeds_from_environment(0..60));
}

#[test]
fn random_programs_in_mixed_precision() {
    let Some(device) = device(|printing| printing) else { return };
    for half in [DType::F16, DType::BF16] {
        assert!(check_random_mixed(&device, half, seeds_from_environment(0..60)) > 0);
    }
}

#[test]
fn geometries() {
    let Some(device) = device(|printing| printing) else { return };
    let seeds = seeds_from_environment(0..400);
    let asked = (seeds.end - seeds.start) as usize;
    let met = check_geometries(&device, seeds);
    assert!(met.computed > asked / 4 && met.declined < asked / 4, "{met:?}");
}
