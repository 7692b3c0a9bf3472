//! What fails is an error value from the call that caused it, and says what it was about.

mod support;

use dropforge::Runtime;
use dropforge::prelude::*;
use dropforge_ir::text::parse;
use dropforge_ir::{DType, ValueType};
use dropforge_runtime::{Argument, BufferRef, Device, load};
use dropforge_wgpu::WgpuDevice;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{counting, device, floats, number, states};

/// Holds an error to what it must say.
fn says<T>(result: dropforge_ir::Result<T>, parts: &[&str]) {
    let error = match result {
        Ok(_) => panic!("this was to fail with {parts:?}"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn everything_fails_by_name_once_the_device_is_lost() {
    let Some(device) = device() else { return };
    let program = counting();
    let counter = states(&device, &program);
    let mut step = load(&device, &program, &counter).unwrap();
    let batch = floats(&[1.0; 8]);
    let inputs = [Argument::Host(&batch)];
    let early = step.run(&inputs, &[1.0]).unwrap();
    assert_eq!(number(&early[0]), 8.0);
    let loose = device.allocate(&ValueType::new(DType::F32, [3])).unwrap();
    let late: Vec<Vec<BufferRef>> = (0..3).map(|_| step.run(&inputs, &[1.0]).unwrap()).collect();
    device.lose();
    for _ in 0..5 {
        says(step.run(&inputs, &[1.0]), &["run: counting", "lost", "checkpoint"]);
    }
    says(counter[0].read(), &["read: state count f32[]", "lost"]);
    says(counter[0].write(&dropforge_ir::Array::scalar(1.0)), &["write: state count f32[]", "lost"]);
    says(loose.read(), &["read: f32[3]", "lost"]);
    says(device.allocate(&ValueType::new(DType::F32, [7, 5])), &["allocate: f32[7, 5]", "lost"]);
    says(load(&device, &program, &counter), &["load: counting", "lost"]);
    says(device.synchronize(), &["lost"]);
    // What had been read stays; what was on its way is either there or an error.
    assert_eq!(number(&early[0]), 8.0);
    for outputs in &late {
        if let Err(error) = outputs[0].read() {
            assert!(error.to_string().contains("read: output total f32[]"), "{error}");
        }
    }
    drop((step, counter, loose, early, late));
    says(device.close(), &["lost"]);
}

/// The loss shows only when the device is asked, in the middle of steps and while other threads read.
#[test]
fn a_loss_in_the_middle_of_steps_hangs_nobody() {
    let Some(device) = device() else { return };
    let program = counting();
    let counter = states(&device, &program);
    let mut step = load(&device, &program, &counter).unwrap();
    let batch = floats(&[1.0; 8]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| (0..1_000_000).find_map(|_| counter[0].read().err()));
        let stopper = scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            device.lose();
        });
        let failure = (0..1_000_000).find_map(|_| match step.run(&[Argument::Host(&batch)], &[1.0]) {
            Ok(outputs) => outputs[0].read().err(),
            Err(error) => Some(error),
        });
        assert!(failure.unwrap().to_string().contains("lost"));
        assert!(reader.join().unwrap().unwrap().to_string().contains("lost"));
        stopper.join().unwrap();
    });
}

#[test]
fn a_full_memory_says_what_was_asked_for_and_what_is_held() {
    let Some(device) = device() else { return };
    let ty = ValueType::new(DType::F32, [1 << 20]);
    device.set_memory_limit(Some(40 << 20));
    let mut held: Vec<BufferRef> = Vec::new();
    let error = loop {
        match device.allocate(&ty) {
            Ok(buffer) => held.push(buffer),
            Err(error) => break error.to_string(),
        }
    };
    assert!(held.len() >= 8 && held.len() <= 10, "{} buffers fit", held.len());
    for part in ["allocate: f32[1048576]", "4194304 bytes", "limit of 41943040", "by 10 buffers"] {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert_eq!(device.memory().limit, Some(40 << 20));
    assert!(device.memory().held() <= 40 << 20);
    // Programs are under the same limit, and are named.
    says(load(&device, &counting(), &held[..1]), &["load: state count"]);
    let program = parse("program big {\n  %x: f32[4194304] = input \"x\"\n  output \"y\" = %x\n}").unwrap();
    says(load(&device, &program, &[]), &["allocate", "big", "limit", "held are"]);
    // What is given back serves others.
    held.truncate(5);
    device.allocate(&ty).unwrap();
    drop(held);
    let large = device.allocate(&ValueType::new(DType::F32, [9 << 20])).unwrap();
    assert_eq!(device.memory().buffers, 1);
    drop(large);
    device.set_memory_limit(None);
    device.allocate(&ValueType::new(DType::F32, [11 << 20])).unwrap();
}

/// Idle memory of other shapes makes way before an allocation fails.
#[test]
fn idle_memory_goes_back_under_pressure() {
    let Some(device) = device() else { return };
    device.set_memory_limit(Some(64 << 20));
    for mebibytes in [20, 40, 30, 60, 25, 50] {
        let buffer = device.allocate(&ValueType::new(DType::F32, [mebibytes << 18])).unwrap();
        assert!(device.memory().held() <= 64 << 20);
        drop(buffer);
    }
}

#[test]
fn values_beyond_what_a_kernel_sees_are_refused_by_name() {
    let Some(device) = device() else { return };
    let most = device.largest_value();
    let elements = usize::try_from(most / 4 + 64).unwrap();
    let ty = ValueType::new(DType::F32, [elements]);
    says(device.allocate(&ty), &[&format!("allocate: {ty} takes"), "at most"]);
    let program =
        parse(&format!("program wide {{\n  %x: f32[{elements}] = input \"pixels\"\n  output \"y\" = %x\n}}"))
            .unwrap();
    says(load(&device, &program, &[]), &["load: ", "pixels", "at most"]);
    // The device goes on.
    let program = counting();
    let mut step = load(&device, &program, &states(&device, &program)).unwrap();
    assert_eq!(number(&step.run(&[Argument::Host(&floats(&[1.0; 8]))], &[2.0]).unwrap()[0]), 16.0);
}

/// Arguments that do not fit are refused before anything changes.
#[test]
fn wrong_arguments_change_nothing() {
    let Some(device) = device() else { return };
    let Some(other) = support::device() else { return };
    let program = counting();
    let counter = states(&device, &program);
    let mut step = load(&device, &program, &counter).unwrap();
    let (batch, short) = (floats(&[1.0; 8]), floats(&[1.0; 7]));
    says(step.run(&[Argument::Host(&short)], &[1.0]), &["input x is f32[8], got f32[7]"]);
    says(step.run(&[], &[1.0]), &["counting takes 1 inputs, got 0"]);
    says(step.run(&[Argument::Host(&batch)], &[]), &["counting takes 1 hyperparameters"]);
    let foreign = other.allocate(&ValueType::new(DType::F32, [8])).unwrap();
    says(step.run(&[Argument::Device(&foreign)], &[1.0]), &["input x belongs to another device"]);
    says(load(&device, &program, &states(&other, &program)), &["state count", "another device"]);
    says(counter[0].write(&batch), &["state count f32[], got f32[8]"]);
    for _ in 0..5 {
        step.run(&[Argument::Host(&batch)], &[1.0]).unwrap();
    }
    assert_eq!(number(&counter[0]), 40.0);
}

/// Every file below a folder, with its contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_lost_device_leaves_the_checkpoint_whole() {
    let Some(device) = device() else { return };
    let Some(next) = support::device() else { return };
    let folder = std::env::temp_dir().join(format!("dropforge-lost-{}", std::process::id()));
    let (data, _) = datasets::digits(40, 1, 4);
    let trainer = |device: &Arc<WgpuDevice>| {
        let net = seq![flatten(), dense(12), relu(), dense(10)];
        let runtime = Runtime::new(Arc::clone(device) as Arc<dyn Device>);
        Trainer::new(net, cross_entropy(), Adam::new(1e-3))
            .batch(16)
            .runtime(&runtime)
            .compile(&data)
            .unwrap()
    };
    let device = Arc::new(device);
    let mut training = trainer(&device);
    training.epoch(&data).unwrap();
    training.save(&folder).unwrap();
    let whole = files(&folder);
    training.epoch(&data).unwrap();
    device.lose();
    let lost = |error: String| assert!(error.contains("lost") && error.contains("checkpoint"), "{error}");
    lost(training.epoch(&data).unwrap_err().to_string());
    lost(training.save(&folder).unwrap_err().to_string());
    drop(training);
    assert!(files(&folder) == whole, "the checkpoint changed");
    let mut resumed = trainer(&Arc::new(next));
    assert!(resumed.resume(&folder).unwrap());
    assert_eq!(resumed.epochs(), 1);
    resumed.epoch(&data).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}
