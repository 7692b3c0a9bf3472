//! Memory of the device: what is held and counted, what is given back, and that steps do not pile up.

mod support;

use dropforge_ir::{DType, ValueType};
use dropforge_runtime::{Argument, BufferRef, Device, load};
use support::{counting, device, floats, number, states};

fn vector(elements: usize) -> ValueType {
    ValueType::new(DType::F32, [elements])
}

#[test]
fn freed_buffers_serve_the_next_ones_and_are_zero_again() {
    let Some(device) = device() else { return };
    let first = device.allocate(&vector(1000)).unwrap();
    first.write(&floats(&[3.0; 1000])).unwrap();
    let held = device.memory();
    assert_eq!((held.buffers, held.requested, held.allocations, held.reused), (1, 4000, 1, 0));
    assert!(held.in_use >= 4000 && held.in_use < 4600 && held.peak == held.in_use, "{held}");
    drop(first);
    let second = device.allocate(&vector(990)).unwrap();
    assert_eq!(second.read().unwrap().as_f32().unwrap(), [0.0; 990]);
    let held = device.memory();
    assert_eq!((held.buffers, held.allocations, held.reused), (1, 2, 1));
    assert_eq!(held.hit_rate(), 0.5);
    drop(second);
    assert!(device.memory().cached > 0);
    assert!(device.trim() > 0);
    assert_eq!(device.memory().held(), 0);
}

#[test]
fn memory_does_not_grow_over_steps_and_eager_buffers() {
    let Some(device) = device() else { return };
    let program = counting();
    let counter = states(&device, &program);
    let mut step = load(&device, &program, &counter).unwrap();
    let batch = floats(&[1.0; 8]);
    let mut settled = None;
    let mut late: Option<BufferRef> = None;
    for round in 0..300 {
        let mut outputs = step.run(&[Argument::Host(&batch)], &[0.5]).unwrap();
        let eager: Vec<BufferRef> =
            (1..5).map(|part| device.allocate(&vector(1 + (round * part * 37) % 3000)).unwrap()).collect();
        if round % 50 == 0 {
            eager[0].write(&floats(&vec![1.0; eager[0].ty().shape.elements()])).unwrap();
        }
        let total = outputs.swap_remove(0);
        if let Some(before) = late.replace(total) {
            assert_eq!(number(&before), 4.0 * round as f32);
        }
        if round == 20 {
            settled = Some(device.memory());
        }
    }
    drop(late);
    let (settled, now) = (settled.unwrap(), device.memory());
    // Staging memory grows with the first step that finds two others in flight, whenever that is.
    assert!(now.held() <= settled.held() + 1024, "{settled} then {now}");
    assert!(now.peak <= settled.peak + (64 << 10), "{settled} then {now}");
    assert!(now.hit_rate() > 0.99, "{now}");
    assert_eq!(number(&counter[0]), 1200.0);
}

/// Nobody reads any output, or all of them are kept until the end: staging memory stays that of a few steps either way.
#[test]
fn steps_that_nobody_waits_for_stay_bounded() {
    let Some(device) = device() else { return };
    let program = counting();
    let counter = states(&device, &program);
    let mut step = load(&device, &program, &counter).unwrap();
    let batch = floats(&[1.0; 8]);
    let own = device.memory().executables;
    step.run(&[Argument::Host(&batch)], &[1.0]).unwrap();
    let staging_of_one = device.memory().executables - own;
    let mut kept = Vec::new();
    for _ in 0..200 {
        kept.push(step.run(&[Argument::Host(&batch)], &[1.0]).unwrap());
    }
    let now = device.memory();
    assert!(
        staging_of_one > 0 && now.executables <= own + 3 * staging_of_one,
        "{own}, {staging_of_one}: {now}"
    );
    assert_eq!(now.buffers, 1 + 2 * 200);
    // Outputs that are read long after their step are those of that step.
    for (number_of_step, outputs) in kept.iter().enumerate().rev() {
        assert_eq!(number(&outputs[0]), 8.0 * (2 + number_of_step) as f32);
        assert_eq!(number(&outputs[1]), 8.0);
        assert_eq!(number(&outputs[1]), 8.0);
    }
    drop((kept, step));
    device.synchronize().unwrap();
    assert_eq!(device.memory().executables, 0);
}

/// A program without inputs and outputs has no staging memory, but is bounded just the same.
#[test]
fn programs_without_inputs_run_in_order() {
    let Some(device) = device() else { return };
    let program = dropforge_ir::text::parse(
        "program doubling {
  %c: f32[2] = state \"c\"
  %n = add %c, %c
  write \"c\" = %n
}",
    )
    .unwrap();
    let buffers = states(&device, &program);
    buffers[0].write(&floats(&[1.0, -1.0])).unwrap();
    let mut step = load(&device, &program, &buffers).unwrap();
    for _ in 0..40 {
        assert!(step.run(&[], &[]).unwrap().is_empty());
    }
    assert_eq!(buffers[0].read().unwrap().as_f32().unwrap(), [2f32.powi(40), -2f32.powi(40)]);
}

/// Writes outside of steps are sent in parts; all of them arrive, in order.
#[test]
fn many_writes_arrive_in_order() {
    let Some(device) = device() else { return };
    let buffers: Vec<BufferRef> = (0..3).map(|_| device.allocate(&vector(4)).unwrap()).collect();
    for round in 0..1500 {
        buffers[round % 3].write(&floats(&[round as f32; 4])).unwrap();
        drop(device.allocate(&vector(4)).unwrap());
    }
    let found: Vec<f32> = buffers.iter().map(number).collect();
    assert_eq!(found, [1497.0, 1498.0, 1499.0]);
}

/// An output may become an input, or a state that later steps change after it went to the host.
#[test]
fn outputs_serve_as_inputs_and_states() {
    let Some(device) = device() else { return };
    let program = counting();
    let mut step = load(&device, &program, &states(&device, &program)).unwrap();
    let batch = floats(&[1.0; 8]);
    let total = step.run(&[Argument::Host(&batch)], &[1.0]).unwrap().swap_remove(0);
    let on_device = device.allocate(&vector(8)).unwrap();
    on_device.write(&floats(&[2.0; 8])).unwrap();
    let mut second = load(&device, &program, std::slice::from_ref(&total)).unwrap();
    second.run(&[Argument::Device(&on_device)], &[1.0]).unwrap();
    assert_eq!(number(&total), 24.0);
    total.write(&dropforge_ir::Array::scalar(5.0)).unwrap();
    second.run(&[Argument::Device(&on_device)], &[-1.0]).unwrap();
    assert_eq!(number(&total), -11.0);
}

#[test]
fn what_is_alive_is_named() {
    let Some(device) = device() else { return };
    let program = counting();
    let counter = states(&device, &program);
    let loose = [device.allocate(&vector(3)).unwrap(), device.allocate(&vector(3)).unwrap()];
    let mut step = load(&device, &program, &counter).unwrap();
    let outputs = step.run(&[Argument::Host(&floats(&[1.0; 8]))], &[1.0]).unwrap();
    let live: Vec<String> = device.live_buffers().iter().map(ToString::to_string).collect();
    if cfg!(debug_assertions) {
        assert_eq!(live, ["2 × f32[3]", "output total", "output twice", "state count"]);
    } else {
        assert!(live.is_empty());
    }
    drop((step, loose));
    let error = device.close().unwrap_err().to_string();
    assert!(error.contains("3 buffers") && error.contains("executables of 0 bytes"), "{error}");
    assert_eq!(error.contains("state count"), cfg!(debug_assertions), "{error}");
    // They stay good for as long as somebody has them.
    assert_eq!(number(&outputs[0]), 8.0);
}

#[test]
fn a_device_closes_once_nothing_is_left() {
    let Some(device) = device() else { return };
    let program = counting();
    let mut step = load(&device, &program, &states(&device, &program)).unwrap();
    step.run(&[Argument::Host(&floats(&[1.0; 8]))], &[1.0]).unwrap();
    drop(step);
    device.close().unwrap();
}
