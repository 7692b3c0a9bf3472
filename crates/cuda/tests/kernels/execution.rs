//! Runs programs through their translated kernels as C++ on the CPU, and compares with what is expected.

use crate::programs::Sample;
use dropforge_conformance::compare;
use dropforge_cuda::{PRELUDE, limits, translate};
use dropforge_ir::interpret::Numbers;
use dropforge_runtime::Choices;
use dropforge_wgsl::words::{append, to_array};
use dropforge_wgsl::{Printing, ShaderPlace, Shaders, shaders_with};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Words between buffers, which nobody may write.
const GUARD: usize = 64;

/// What memory holds before somebody writes: a NaN.
const UNWRITTEN: u32 = 0x7fc0_dead;

/// A compiler of C++, if there is one.
pub fn compiler() -> Option<&'static str> {
    let is_there =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    ["clang++", "g++"].into_iter().find(is_there)
}

/// Memory and launches of several programs, with the kernels that they share.
#[derive(Default)]
struct Job {
    memory: Vec<u32>,
    steps: Vec<u32>,
    /// Each with its label, its buffers and parameters.
    kernels: Vec<(String, dropforge_cuda::Translated, usize)>,
    /// Position of each kernel by its WGSL.
    known: HashMap<String, usize>,
    /// First word of every guard.
    guards: Vec<usize>,
}

/// Where the files of a check lie; emptied first.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs samples, and gives a line for each that does not give what it should; `pick` is what every contraction through matrices
/// picks, if it is not to go by rule.
pub fn run(
    compiler: &str,
    name: &str,
    samples: &[Sample],
    printing: Printing,
    pick: Option<&str>,
) -> Vec<String> {
    // As many parts as the machine has cores, each with kernels of its own.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = cores.min(samples.len()).clamp(1, 8);
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..parts)
            .map(|part| {
                let samples = samples.iter().skip(part).step_by(parts);
                let name = format!("{name}-{part}");
                scope.spawn(move || run_part(compiler, &name, samples, printing, pick))
            })
            .collect();
        for thread in threads {
            failures.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    failures
}

fn run_part<'a>(
    compiler: &str,
    name: &str,
    samples: impl Iterator<Item = &'a Sample>,
    printing: Printing,
    pick: Option<&str>,
) -> Vec<String> {
    let mut job = Job::default();
    let mut failures = Vec::new();
    let mut running = Vec::new();
    for sample in samples {
        let mut choices = Choices::new();
        let mut made = shaders_with(&sample.program, &limits(), &printing, &mut choices);
        if let Some(pick) = pick {
            let is_of_matrices = |text: &str| text.starts_with("matrices");
            choices.values_mut().filter(|text| is_of_matrices(text)).for_each(|text| *text = pick.into());
            made = shaders_with(&sample.program, &limits(), &printing, &mut choices);
        }
        match made {
            Ok(shaders) => running.push((sample, job.add(sample, &shaders, printing))),
            Err(error) => failures.push(format!("{}: {error}", sample.name)),
        }
    }
    match job.run(compiler, &folder(name)) {
        Ok(()) => {
            failures
                .extend(running.iter().filter_map(|(sample, results)| job.check(sample, results, printing)));
        }
        Err(message) => failures.push(message),
    }
    failures
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|c| u32::from_ne_bytes([c[0], c[1], c[2], c[3]])).collect()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

impl Job {
    /// Gives a program its memory, filled with what it is given, and appends its launches; gives where its results lie.
    fn add(&mut self, sample: &Sample, shaders: &Shaders, printing: Printing) -> Vec<usize> {
        let mut starts = Vec::new();
        for &bytes in &shaders.buffers {
            self.guard();
            starts.push(self.memory.len());
            let end = self.memory.len() + (bytes as usize / 4).next_multiple_of(GUARD);
            self.memory.resize(end, UNWRITTEN);
        }
        self.guard();
        let at = |place: &ShaderPlace| starts[place.buffer] + place.word;
        let memory = &mut self.memory;
        let mut put = |place: &ShaderPlace, words: &[u32]| {
            memory[at(place)..at(place) + words.len()].copy_from_slice(words);
        };
        let stored = |array: &dropforge_ir::Array| {
            let mut bytes = Vec::new();
            append(array.data(), printing, &mut bytes);
            words(&bytes)
        };
        let given =
            shaders.inputs.iter().zip(&sample.inputs).chain(shaders.states.iter().zip(&sample.states));
        given.for_each(|(place, array)| put(place, &stored(array)));
        shaders.hypers.iter().zip(&sample.hypers).for_each(|(place, hyper)| put(place, &[hyper.to_bits()]));
        shaders.constants.iter().for_each(|(place, words)| put(place, words));
        for dispatch in &shaders.dispatches {
            let kernel = self.known.get(&dispatch.source).copied().unwrap_or_else(|| {
                let translated =
                    translate(&dispatch.source).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
                self.kernels.push((dispatch.label.clone(), translated, dispatch.bindings.len()));
                self.known.insert(dispatch.source.clone(), self.kernels.len() - 1);
                self.kernels.len() - 1
            });
            self.steps.push(kernel as u32);
            self.steps.extend(dispatch.workgroups);
            self.steps.push(dispatch.params.len() as u32);
            self.steps.extend(&dispatch.params);
            self.steps.push(dispatch.bindings.len() as u32);
            self.steps.extend(dispatch.bindings.iter().map(|&(buffer, _)| starts[buffer] as u32));
        }
        shaders.outputs.iter().chain(&shaders.states).map(at).collect()
    }

    fn guard(&mut self) {
        self.guards.push(self.memory.len());
        self.memory.resize(self.memory.len() + GUARD, UNWRITTEN);
    }

    /// The kernels, a function that calls each, and the table of them.
    fn source(&self) -> String {
        let mut text = format!("#include \"run.h\"\n{PRELUDE}\n#include \"matrices.h\"\n");
        let mut table = String::new();
        for (number, (label, kernel, buffers)) in self.kernels.iter().enumerate() {
            let label =
                label.replace(|c: char| !c.is_ascii() || c.is_control() || c == '"' || c == '\\', "?");
            let source = kernel.source.replace("extern \"C\" ", "static ");
            let buffers: String =
                (0..*buffers).map(|slot| format!(", Slot{{buffers[{}]}}", slot + 1)).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "// {label}\nnamespace kernel_{number} {{\n{source}}}\nstatic void call_{number}(void** buffers) {{ \
                 kernel_{number}::dropforge(parameters<Parameters<{}u>>(buffers[0]){buffers}); }}",
                kernel.parameters / 4
            );
            let _ = writeln!(table, "{{\"{label}\", call_{number}, {}}},", kernel.threads);
        }
        let count = self.kernels.len();
        text + &format!("const Kernel kernels[] = {{\n{table}}};\nconst unsigned kernel_count = {count};\n")
    }

    fn run(&mut self, compiler: &str, folder: &Path) -> Result<(), String> {
        if self.kernels.is_empty() {
            return Ok(());
        }
        let [source, program, memory, steps] =
            ["kernels.cpp", "run", "memory", "steps"].map(|name| folder.join(name));
        std::fs::write(&source, self.source()).unwrap();
        std::fs::write(&memory, bytes(&self.memory)).unwrap();
        std::fs::write(&steps, bytes(&self.steps)).unwrap();
        let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/shim");
        let compiled = Command::new(compiler)
            .args([
                "-std=c++17",
                "-O1",
                "-w",
                "-fwrapv",
                "-ffp-contract=off",
                "-fno-strict-aliasing",
                "-U_FORTIFY_SOURCE",
                "-I",
            ])
            .args([&shim, &source])
            .arg("-o")
            .arg(&program)
            .output()
            .unwrap();
        if !compiled.status.success() {
            let said = String::from_utf8_lossy(&compiled.stderr);
            let errors: Vec<&str> = said.lines().filter(|line| line.contains("error")).take(8).collect();
            return Err(format!("{} does not compile:\n{}", source.display(), errors.join("\n")));
        }
        let output = Command::new(&program).arg(&memory).arg(&steps).output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the kernels of {} end with {}: {said}", source.display(), output.status));
        }
        self.memory = words(&std::fs::read(&memory).unwrap());
        match self.guards.iter().find(|&&start| self.memory[start..start + GUARD] != [UNWRITTEN; GUARD]) {
            Some(start) => Err(format!("a kernel writes beyond a buffer, at word {start} of the memory")),
            None => Ok(()),
        }
    }

    /// What is wrong with the results of a program.
    fn check(&self, sample: &Sample, results: &[usize], printing: Printing) -> Option<String> {
        let program = &sample.program;
        let outputs = program.outputs.iter().map(|port| (&port.name, port.value));
        let ports = outputs.chain(program.states.iter().map(|port| (&port.name, port.value)));
        for (((port, value), &start), expected) in ports.zip(results).zip(&sample.expected) {
            let ty = program.ty(value);
            let end = start + ty.shape.elements();
            let got = to_array(ty, printing, &bytes(&self.memory[start..end])).unwrap();
            if let Some(message) = compare(expected, &Numbers::from(&got), sample.tolerance) {
                return Some(format!("{}: {port} {message}", sample.name));
            }
        }
        None
    }
}
