//! Whether devices can be opened, used and closed by many threads at once, again and again.
//!
//! `opening [threads] [rounds]`: 8 threads and 40 rounds each unless told otherwise; on the best adapter, or on a
//! software renderer with `DROPFORGE_GPU=software`. Says what each thread is doing, and fails, when nothing has moved
//! for half a minute.

use dropforge_ir::text::parse;
use dropforge_ir::{Array, Data};
use dropforge_runtime::{Argument, BufferRef, Device, load};
use dropforge_wgpu::{Choice, WgpuDevice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(30);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const STEP: &str = "program step {
  %x: f32[8, 8] = input \"x\"
  %s: f32[8, 8] = state \"s\"
  %y = dot %x, %s {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
  %t = tanh %y
  %m = reduce_sum %t {axes=[0, 1]}
  write \"s\" = %t
  output \"sum\" = %m
}";

/// Opens a device, takes some steps on it, and closes it.
fn round(choice: Choice, doing: &dyn Fn(&'static str)) -> Outcome<()> {
    doing("opening");
    let device = WgpuDevice::new(choice)?;
    doing("allocating");
    let program = parse(STEP)?;
    let states: Vec<BufferRef> = program
        .states
        .iter()
        .map(|port| device.allocate(program.ty(port.value)))
        .collect::<Result<_, _>>()?;
    let ones = Array::new([8, 8], Data::F32(vec![0.1; 64])).ok_or("sizes")?;
    states[0].write(&ones)?;
    doing("loading");
    let mut step = load(&device, &program, &states)?;
    doing("running");
    for _ in 0..20 {
        step.run(&[Argument::Host(&ones)], &[])?;
    }
    doing("reading");
    let outputs = step.run(&[Argument::Host(&ones)], &[])?;
    let sum = outputs[0].read()?;
    if !sum.as_f32().is_some_and(|sum| sum[0].is_finite()) {
        return Err("a step went wrong".into());
    }
    doing("dropping");
    drop((outputs, step, states));
    doing("closing");
    drop(device);
    doing("between rounds");
    Ok(())
}

fn main() -> Outcome<()> {
    let number = |position: usize, otherwise: usize| {
        std::env::args().nth(position).map_or(Ok(otherwise), |text| text.parse())
    };
    let (threads, rounds) = (number(1, 8)?, number(2, 40)?);
    let software = std::env::var("DROPFORGE_GPU").as_deref() == Ok("software");
    let choice = if software { Choice::Software } else { Choice::Best };
    let doing: Vec<Mutex<&'static str>> = (0..threads).map(|_| Mutex::new("starting")).collect();
    let moves = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = doing
            .iter()
            .map(|mine| {
                let moves = &moves;
                let note = move |what: &'static str| {
                    *mine.lock().expect("nobody panics with it") = what;
                    moves.fetch_add(1, Ordering::Relaxed);
                };
                scope.spawn(move || {
                    (0..rounds).try_for_each(|_| round(choice, &note)).map_err(|error| error.to_string())
                })
            })
            .collect();
        let (mut seen, mut since) = (0, Instant::now());
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            let now = moves.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                for (thread, what) in doing.iter().enumerate() {
                    eprintln!("thread {thread}: {}", what.lock().expect("nobody panics with it"));
                }
                eprintln!("hung after {seen} moves");
                std::process::exit(1);
            }
        }
        for worker in workers {
            worker.join().map_err(|_| "a thread panicked")??;
        }
        Outcome::Ok(())
    })?;
    println!("{threads} threads, {rounds} rounds each: {:.1?}", start.elapsed());
    Ok(())
}
