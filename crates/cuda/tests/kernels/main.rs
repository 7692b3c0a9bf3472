//! Kernels without a GPU: every kernel of workloads, cases and random programs is translated to CUDA C and compiled by
//! NVRTC for the architectures in use; and kernels run as C++ on the CPU against the interpreter.
//!
//! NVRTC is a package of PyPI (`pip install nvidia-cuda-nvrtc-cu12`), clang or g++ runs kernels; a line says what was
//! not checked for want of them. `DROPFORGE_NVRTC=required` makes the want of NVRTC a failure.

#[path = "../../../wgpu/tests/support/attention.rs"]
mod attention;
mod execution;
#[path = "../../../wgpu/tests/metal/models.rs"]
mod models;
#[path = "../../../wgpu/tests/metal/programs.rs"]
mod programs;
#[path = "../../../wgpu/tests/support/shapes.rs"]
mod shapes;

use dropforge_conformance::{generate, thinned};
use dropforge_cuda::{Attention, Compiler, Element, Turn, limits, printing_of, text, with_prelude};
use dropforge_ir::{DType, Program};
use dropforge_wgsl::{MatrixUse, Printing, shaders};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// As for a GPU, with four neighbours taken at once wherever that works.
fn printing() -> Printing {
    Printing { quads_from: 0, ..printing_of(90) }
}

fn of_matrices() -> Printing {
    Printing { matrix_use: MatrixUse::Always, ..printing() }
}

/// Kernels by their WGSL, with their labels.
type Kernels = BTreeMap<String, String>;

fn add<'a>(kernels: &mut Kernels, programs: impl IntoIterator<Item = &'a Program>, printing: Printing) {
    for program in programs {
        let shaders = shaders(program, &limits(), &printing)
            .unwrap_or_else(|error| panic!("{}: {error}", program.name));
        for dispatch in shaders.dispatches {
            kernels.entry(dispatch.source).or_insert(dispatch.label);
        }
    }
}

/// Compiles all of some kernels for some architectures, on all cores.
fn compile(name: &str, kernels: &Kernels, architectures: &[u32]) {
    let compiler = match Compiler::find(u32::MAX) {
        Ok(compiler) => compiler,
        Err(error) if std::env::var("DROPFORGE_NVRTC").as_deref() == Ok("required") => panic!("{error}"),
        Err(error) => return println!("{name}: not compiled here: {error}"),
    };
    let start = Instant::now();
    let known = compiler.architectures();
    let known = architectures.iter().filter(|architecture| known.contains(architecture));
    // Where checks are thinned, each architecture takes its share.
    let jobs: Vec<(u32, &String, &String)> = known
        .enumerate()
        .flat_map(|(way, &architecture)| {
            thinned(kernels, way).into_iter().map(move |(source, label)| (architecture, source, label))
        })
        .collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((architecture, source, label)) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let made = text(source)
                        .and_then(|(text, _)| compiler.compile(&text, &format!("sm_{architecture}")));
                    if let Err(error) = made {
                        let lines: Vec<&str> = error.lines().take(4).collect();
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("{label}, sm_{architecture}: {}", lines.join("\n")));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let first = failures.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {} fail:\n{first}", failures.len(), jobs.len());
    let (major, minor) = compiler.version;
    println!("{name}: NVRTC {major}.{minor} compiles {} kernels ({:.1?})", jobs.len(), start.elapsed());
}

/// Those of every form once.
#[test]
fn kernels_of_every_form_compile() {
    let mut kernels = Kernels::new();
    let (tiled, halves) = (programs::tiled(), programs::in_halves());
    add(&mut kernels, tiled.iter().chain(&halves).map(|sample| &sample.program), printing());
    compile("forms", &kernels, &[90]);
    let mut kernels = Kernels::new();
    add(&mut kernels, programs::matrices().iter().map(|sample| &sample.program), of_matrices());
    compile("matrices", &kernels, &[80, 90, 100]);
}

#[test]
fn kernels_of_workloads_compile() {
    let mut kernels = Kernels::new();
    add(&mut kernels, &models::full(), printing_of(90));
    compile("workloads", &kernels, &[80, 90, 100]);
}

#[test]
fn kernels_of_cases_and_random_programs_compile() {
    let mut kernels = Kernels::new();
    add(&mut kernels, programs::cases().iter().map(|sample| &sample.program), printing());
    add(&mut kernels, &(0..20).map(|seed| generate(seed).program).collect::<Vec<_>>(), printing());
    compile("cases", &kernels, &[90]);
}

fn check(name: &str, samples: &[programs::Sample], printing: Printing, pick: Option<&str>) {
    let Some(compiler) = execution::compiler() else {
        return println!("{name}: not run here, as neither clang++ nor g++ is there");
    };
    let start = Instant::now();
    let failures = execution::run(compiler, name, samples, printing, pick);
    let first = failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {} fail:\n{first}", failures.len(), samples.len());
    println!("{name}: {} programs ({:.1?})", samples.len(), start.elapsed());
}

#[test]
fn cases_agree_with_pytorch() {
    check("run-cases", &thinned(programs::cases(), 1), printing(), None);
}

#[test]
fn training_steps_agree_with_the_interpreter() {
    check("run-models", &models::small(), printing(), None);
}

#[test]
fn tiled_kernels_agree_with_the_interpreter() {
    check("run-tiled", &programs::tiled(), printing(), None);
    check("run-halves", &programs::in_halves(), printing(), None);
}

#[test]
fn matrices_agree_with_the_interpreter() {
    check("run-matrices", &programs::matrices(), of_matrices(), None);
    check("run-matrices-split", &programs::matrices(), of_matrices(), Some("matrices:32:32:16:16:32:3"));
}

/// What brings channels side by side for cuDNN, and its results back.
#[test]
fn channels_come_side_by_side_and_back() {
    let turn = |batch, rows, columns, widened| Turn { batch, rows, columns, widened };
    let turns = [
        turn(3, 64, 100, None),
        turn(2, 130, 70, None),
        turn(5, 16, 24, None),
        turn(3, 40, 16, None),
        turn(2, 12, 300, None),
        turn(4, 33, 9, None),
        turn(2, 9, 35, Some(Element::BF16)),
        turn(1, 1, 1000, Some(Element::F16)),
        turn(2, 70, 66, Some(Element::F16)),
    ];
    match execution::compiler() {
        Some(compiler) => assert_eq!(execution::turn(compiler, "run-turns", &turns), Vec::<String>::new()),
        None => println!("turns: not run here, as neither clang++ nor g++ is there"),
    }
    let Ok(compiler) = Compiler::find(u32::MAX) else { return println!("turns: not compiled here") };
    for turn in turns {
        compiler.compile(&with_prelude(&turn.source()), "sm_90").unwrap();
    }
}

/// Attention on tensor cores, with its gradients.
#[test]
fn attention_agrees_with_sums_written_out() {
    let attention = |heads, queries: usize, keys: usize, width, half, causal| Attention {
        gradient: false,
        half,
        heads,
        heads_each: 2,
        // Row by row as they come out of one product; but values, which are plain.
        steps: [
            [queries * 2 * width, width, 2 * width],
            [keys * 6 * width, width, 6 * width],
            [2 * keys * width, keys * width, width],
            [queries * 2 * width, width, 2 * width],
        ],
        queries,
        keys,
        width,
        causal,
        scale: 0.3,
    };
    let attentions = [
        attention(2, 70, 70, 32, DType::BF16, true),
        attention(2, 40, 90, 16, DType::F16, true),
        attention(4, 90, 33, 16, DType::F16, true),
        attention(2, 66, 130, 48, DType::F16, false),
    ];
    match execution::compiler() {
        Some(compiler) => {
            assert_eq!(execution::attend(compiler, "run-attention", &attentions), Vec::<String>::new());
        }
        None => println!("attention: not run here, as neither clang++ nor g++ is there"),
    }
    let Ok(compiler) = Compiler::find(u32::MAX) else { return println!("attention: not compiled here") };
    for (width, half) in [(64, DType::BF16), (128, DType::F16)] {
        let all =
            [false, true].map(|gradient| Attention { gradient, ..attention(1, 1, 1, width, half, true) });
        for launch in all.iter().flat_map(Attention::launches) {
            for architecture in ["sm_80", "sm_90"] {
                compiler.compile(&with_prelude(&launch.source), architecture).unwrap();
            }
        }
    }
}
