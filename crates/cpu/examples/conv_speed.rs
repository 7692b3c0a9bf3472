//! The speed of convolutions: effective GFLOP/s (operations of the plain loops per second) of each direction.
//!
//! `cargo run --release --example conv_speed -- [threads] [level] [algorithm] [part of a name]`

use dropforge_cpu::conv::{Algorithm, ConvShape, Direction, choose, run, scratch_len, supports};
use dropforge_cpu::memory::AlignedBuffer;
use dropforge_cpu::pool::Pool;
use dropforge_cpu::simd::Level;
use std::time::{Duration, Instant};

/// How long each case is repeated; the best time counts.
const MEASURE_FOR: Duration = Duration::from_millis(150);

fn filled(length: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(length);
    for (i, value) in buffer.iter_mut().enumerate() {
        *value = (i * 7919 % 1013) as f32 / 1013.0 - 0.5;
    }
    buffer
}

fn best_seconds(mut body: impl FnMut()) -> f64 {
    body();
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < MEASURE_FOR {
        let before = Instant::now();
        body();
        best = best.min(before.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map_or(2, |threads| threads.parse().expect("a number of threads"));
    let level = arguments
        .next()
        .map_or(Level::detect(), |name| Level::named(&name).expect("a level of this machine"));
    let forced = arguments.next().filter(|name| name != "any").map(|name| {
        let named = |algorithm: &&Algorithm| format!("{algorithm:?}").eq_ignore_ascii_case(&name);
        *Algorithm::ALL.iter().find(named).expect("the name of an algorithm")
    });
    let wanted = arguments.next().unwrap_or_default();
    let pool = Pool::new(threads);
    let strided = |in_channels, out_channels, size, kernel, pad| ConvShape {
        stride: [2; 2],
        ..ConvShape::square(32, in_channels, out_channels, size, kernel, pad)
    };
    let cases = [
        ("LeNet 1→6, 5×5, 28²", ConvShape::square(128, 1, 6, 28, 5, 2)),
        ("LeNet 6→16, 5×5, 14²", ConvShape::square(128, 6, 16, 14, 5, 0)),
        ("tiny 3→8, 32²", ConvShape::square(32, 3, 8, 32, 3, 1)),
        ("3→16, 64²", ConvShape::square(32, 3, 16, 64, 3, 1)),
        ("16→32, 64²", ConvShape::square(32, 16, 32, 64, 3, 1)),
        ("32→64, 64²", ConvShape::square(32, 32, 64, 64, 3, 1)),
        ("3→64, 32²", ConvShape::square(32, 3, 64, 32, 3, 1)),
        ("64→64, 32²", ConvShape::square(32, 64, 64, 32, 3, 1)),
        ("128→128, 16²", ConvShape::square(32, 128, 128, 16, 3, 1)),
        ("256→256, 8²", ConvShape::square(32, 256, 256, 8, 3, 1)),
        ("512→512, 4²", ConvShape::square(32, 512, 512, 4, 3, 1)),
        ("64→128, 32², stride 2", strided(64, 128, 32, 3, 1)),
        ("128→256, 16², stride 2", strided(128, 256, 16, 3, 1)),
        ("256→512, 8², stride 2", strided(256, 512, 8, 3, 1)),
        ("64→128, 1×1, 32², stride 2", strided(64, 128, 32, 1, 0)),
        ("128→256, 1×1, 16², stride 2", strided(128, 256, 16, 1, 0)),
        ("256→512, 1×1, 8², stride 2", strided(256, 512, 8, 1, 0)),
        ("128→128, 32 groups, 16²", ConvShape { groups: 32, ..ConvShape::square(32, 128, 128, 16, 3, 1) }),
        ("128→128, depthwise, 16²", ConvShape { groups: 128, ..ConvShape::square(32, 128, 128, 16, 3, 1) }),
        ("32→32, depthwise, 32²", ConvShape { groups: 32, ..ConvShape::square(32, 32, 32, 32, 3, 1) }),
        ("64→64, depthwise, 32², stride 2", ConvShape { groups: 64, ..strided(64, 64, 32, 3, 1) }),
        ("256→256, depthwise, 8²", ConvShape { groups: 256, ..ConvShape::square(32, 256, 256, 8, 3, 1) }),
        ("512→512, depthwise, 4²", ConvShape { groups: 512, ..ConvShape::square(32, 512, 512, 4, 3, 1) }),
        ("64→64, depthwise, 7×7, 16²", ConvShape { groups: 64, ..ConvShape::square(32, 64, 64, 16, 7, 3) }),
        ("128→128, 4 groups, 16²", ConvShape { groups: 4, ..ConvShape::square(32, 128, 128, 16, 3, 1) }),
        ("256→256, 1×1, 8²", ConvShape::square(32, 256, 256, 8, 1, 0)),
        ("32→64, 1×1, 32²", ConvShape::square(32, 32, 64, 32, 1, 0)),
        ("64→128, 1×1, 16²", ConvShape::square(32, 64, 128, 16, 1, 0)),
        ("128→128, 1×1, 16²", ConvShape::square(32, 128, 128, 16, 1, 0)),
        ("128→256, 1×1, 8²", ConvShape::square(32, 128, 256, 8, 1, 0)),
        ("256→512, 1×1, 4²", ConvShape::square(32, 256, 512, 4, 1, 0)),
        ("512→512, 1×1, 4²", ConvShape::square(32, 512, 512, 4, 1, 0)),
        ("256→256, 14², one image", ConvShape::square(1, 256, 256, 14, 3, 1)),
        ("512→512, 7², one image", ConvShape::square(1, 512, 512, 7, 3, 1)),
        ("1024→256, 1×1, 14², one image", ConvShape::square(1, 1024, 256, 14, 1, 0)),
        ("2048→512, 1×1, 7², one image", ConvShape::square(1, 2048, 512, 7, 1, 0)),
        ("64→256, 1×1, 56², one image", ConvShape::square(1, 64, 256, 56, 1, 0)),
    ];
    println!("{threads} threads, {}; GFLOP/s (µs), algorithm", level.name());
    for (name, shape) in cases.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        print!("{name:28}");
        for direction in Direction::ALL {
            let algorithm = forced.unwrap_or_else(|| choose(&shape, direction, level, threads));
            if !supports(algorithm, direction, &shape) {
                print!(" | {:27}", "-");
                continue;
            }
            let (input, filter, output) =
                (filled(shape.input_len()), filled(shape.filter_len()), filled(shape.output_len()));
            let (a, b, length) = match direction {
                Direction::Forward => (&input, &filter, output.len()),
                Direction::InputGradient => (&output, &filter, input.len()),
                Direction::FilterGradient => (&input, &output, filter.len()),
            };
            let mut out = AlignedBuffer::new(length);
            let mut scratch = AlignedBuffer::new(scratch_len(algorithm, direction, &shape, level, threads));
            let seconds = best_seconds(|| {
                run(algorithm, direction, &shape, a, b, &mut out, &mut scratch, &pool, level);
            });
            print!(" | {:6.0} ({:6.0}) {algorithm:<11?}", shape.flops() / seconds / 1e9, seconds * 1e6);
        }
        println!();
    }
}
