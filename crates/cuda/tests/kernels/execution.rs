//! Runs programs through their translated kernels as C++ on the CPU, and compares with what is expected.

use crate::programs::Sample;
use dropforge_conformance::compare;
use dropforge_cuda::{
    ATTENTION_THREADS, Attention, Element, Operand, PRELUDE, TURNING_THREADS, Turn, limits, translate,
};
use dropforge_ir::interpret::Numbers;
use dropforge_ir::{BF16, DType, F16};
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

/// Runs samples, and gives a line for each that does not give what it should; `pick` is what every contraction through
/// matrices picks, if it is not to go by rule.
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

/// Turns matrices, and gives a line for each that does not come out turned.
pub fn turn(compiler: &str, name: &str, turns: &[Turn]) -> Vec<String> {
    let number = |turn: &Turn, index: usize| -> u16 {
        let number = (index * 7919 % 2003) as f32 / 250.0 - 4.0;
        if turn.widened == Some(Element::F16) {
            F16::from_f32(number).to_bits()
        } else {
            BF16::from_f32(number).to_bits()
        }
    };
    let elements = |turn: &Turn| turn.batch * turn.rows * turn.columns;
    let mut job = Job::default();
    let mut targets = Vec::new();
    for turn in turns {
        job.guard();
        let from = job.memory.len();
        let halves: Vec<u16> = (0..elements(turn).next_multiple_of(2)).map(|i| number(turn, i)).collect();
        job.memory.extend(halves.chunks_exact(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16));
        job.guard();
        let to = job.memory.len();
        job.memory.resize(to + elements(turn), UNWRITTEN);
        job.guard();
        let (parameters, grid) = turn.launch();
        let kernel = dropforge_cuda::Translated {
            source: turn.source(),
            threads: TURNING_THREADS,
            parameters: parameters.len(),
            uses_matrices: false,
        };
        job.steps.push(job.kernels.len() as u32);
        job.kernels.push(("turn".into(), kernel, 2));
        job.steps.extend(grid);
        job.steps.push(parameters.len() as u32);
        job.steps.extend(parameters);
        job.steps.extend([2, from as u32, to as u32]);
        targets.push(to);
    }
    if let Err(message) = job.run(compiler, &folder(name)) {
        return vec![message];
    }
    let check = |(turn, &to): (&Turn, &usize)| {
        let found = |index: usize| match turn.widened {
            Some(_) => job.memory[to + index],
            None => job.memory[to + index / 2] >> (index % 2 * 16) & 0xffff,
        };
        let expected = |index: usize| match turn.widened {
            Some(Element::F16) => F16::from_bits(number(turn, index)).to_f32().to_bits(),
            Some(_) => BF16::from_bits(number(turn, index)).to_f32().to_bits(),
            None => number(turn, index).into(),
        };
        let matrix = turn.rows * turn.columns;
        let source = |index: usize| {
            let (z, rest) = (index / matrix, index % matrix);
            z * matrix + rest % turn.rows * turn.columns + rest / turn.rows
        };
        let wrong = (0..elements(turn)).find(|&index| found(index) != expected(source(index)))?;
        Some(format!("{turn:?}: element {wrong} is {:x}", found(wrong)))
    };
    turns.iter().zip(&targets).filter_map(check).collect()
}

/// Attentions of halves against sums written out, and their gradients; gives a line for each result that differs.
pub fn attend(compiler: &str, name: &str, attentions: &[Attention]) -> Vec<String> {
    let mut job = Job::default();
    let mut checks = Vec::new();
    for attention in attentions {
        let forward = Attention { gradient: false, ..*attention };
        let backward = Attention { gradient: true, ..*attention };
        let Attention { heads, queries, keys, width, half, .. } = *attention;
        let bits = |x: f32| {
            if half == DType::F16 { F16::from_f32(x).to_bits() } else { BF16::from_f32(x).to_bits() }
        };
        let number = |seed: usize, i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        let (of_q, of_k) = (heads * queries * width, heads * keys * width);
        let mut place = |words: usize| {
            job.guard();
            let start = job.memory.len().next_multiple_of(4);
            job.memory.resize(start + words, UNWRITTEN);
            start
        };
        // q, k, v and the gradient of the output; the output, the logsumexp; the results and what they share.
        let rows = [queries, keys, keys, queries];
        let batch = heads / attention.heads_each;
        let given =
            [0, 1, 2, 3].map(|which| place((batch * attention.steps[which][0]).max(of_q.max(of_k)) / 2 + 4));
        let output = place(of_q / 2);
        let total = place(heads * queries);
        let gradients = [of_q, of_k, of_k].map(|count| place(count / 2));
        let scratch = place(heads * queries);
        job.guard();
        for (which, (&start, rows)) in given.iter().zip(rows).enumerate() {
            let [of_batch, of_head, of_row] = attention.steps[which];
            for index in 0..heads * rows * width / 2 {
                let (head, row, column) =
                    (index * 2 / (rows * width), index * 2 / width % rows, index * 2 % width);
                let (outer, inner) = (head / attention.heads_each, head % attention.heads_each);
                let at = outer * of_batch + inner * of_head + row * of_row + column;
                let [low, high] = [0, 1].map(|part| u32::from(bits(number(which, index * 2 + part))));
                job.memory[start + at / 2] = low | high << 16;
            }
        }
        let [q, k, v, change] = given;
        let mut launch = |attention: Attention, operands: &[usize]| {
            for launch in attention.launches() {
                job.steps.push(job.kernels.len() as u32);
                let kernel = dropforge_cuda::Translated {
                    source: launch.source,
                    threads: ATTENTION_THREADS,
                    parameters: launch.parameters.len(),
                    uses_matrices: false,
                };
                job.kernels.push(("attention".into(), kernel, launch.operands.len()));
                job.steps.extend([launch.blocks, 1, 1, launch.parameters.len() as u32]);
                job.steps.extend(launch.parameters);
                job.steps.push(launch.operands.len() as u32);
                job.steps.extend(launch.operands.iter().map(|operand| match operand {
                    Operand::Of(number) => operands[*number] as u32,
                    Operand::Scratch => scratch as u32,
                }));
            }
        };
        launch(forward, &[q, k, v, output, total]);
        let [dq, dk, dv] = gradients;
        launch(backward, &[q, k, v, output, total, change, dq, dk, dv]);
        checks.push((*attention, output, total, gradients));
    }
    if let Err(message) = job.run(compiler, &folder(name)) {
        return vec![message];
    }
    let mut failures = Vec::new();
    for (attention, output, total, gradients) in checks {
        let half = |start: usize, index: usize| {
            let bits = (job.memory[start + index / 2] >> (index % 2 * 16)) as u16;
            if attention.half == DType::F16 {
                F16::from_bits(bits).to_f32()
            } else {
                BF16::from_bits(bits).to_f32()
            }
        };
        let expected = attended(&attention);
        let tolerance = if attention.half == DType::F16 { 4e-3 } else { 3e-2 };
        let halves = [output, gradients[0], gradients[1], gradients[2]];
        for (name, (start, expected)) in
            ["output", "q", "k", "v"].iter().zip(halves.iter().zip(&expected[1..]))
        {
            let far = |index: &usize| (f64::from(half(*start, *index)) - expected[*index]).abs() > tolerance;
            if let Some(index) = (0..expected.len()).find(far) {
                let found = half(*start, index);
                failures.push(format!("{attention:?}: {name} {index} is {found}, not {}", expected[index]));
            }
        }
        for (index, expected) in expected[0].iter().enumerate() {
            let found = f64::from(f32::from_bits(job.memory[total + index]));
            // A NaN is close to nothing.
            let close = found == *expected || (found - expected).abs() < 1e-4;
            if !close {
                failures.push(format!("{attention:?}: logsumexp {index} is {found}, not {expected}"));
                break;
            }
        }
    }
    failures
}

/// The logsumexp, the output, and the gradients of q, k and v, of what [`attend`] gives.
fn attended(attention: &Attention) -> [Vec<f64>; 5] {
    let Attention { heads, queries, keys, width, half, causal, scale, .. } = *attention;
    let number = |seed: usize, i: usize| {
        let number = ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        let rounded =
            if half == DType::F16 { F16::from_f32(number).to_f32() } else { BF16::from_f32(number).to_f32() };
        f64::from(rounded)
    };
    let (of_q, of_k) = (heads * queries * width, heads * keys * width);
    let mut all = [heads * queries, of_q, of_q, of_k, of_k].map(|count| vec![0.0; count]);
    let [totals, output, dq, dk, dv] = &mut all;
    let seen = |t: usize, s: usize| !causal || (s as i64) <= t as i64 + keys as i64 - queries as i64;
    let scale = f64::from(scale);
    for head in 0..heads {
        for t in 0..queries {
            let row = (head * queries + t) * width;
            let dot = |left: usize, at: usize, right: usize, other: usize| -> f64 {
                (0..width).map(|i| number(left, at + i) * number(right, other + i)).sum()
            };
            let key = |s: usize| (head * keys + s) * width;
            let visible: Vec<usize> = (0..keys).filter(|&s| seen(t, s)).collect();
            let scores: Vec<f64> = visible.iter().map(|&s| dot(0, row, 1, key(s)) * scale).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total = top + scores.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
            totals[head * queries + t] = if visible.is_empty() { f64::NEG_INFINITY } else { total };
            let weights: Vec<f64> = scores.iter().map(|x| (x - total).exp()).collect();
            for (&s, weight) in visible.iter().zip(&weights) {
                (0..width).for_each(|i| output[row + i] += weight * number(2, key(s) + i));
            }
            let part: f64 = (0..width).map(|i| output[row + i] * number(3, row + i)).sum();
            for (&s, weight) in visible.iter().zip(&weights) {
                let pull = weight * (dot(3, row, 2, key(s)) - part) * scale;
                for i in 0..width {
                    dq[row + i] += pull * number(1, key(s) + i);
                    dk[key(s) + i] += pull * number(0, row + i);
                    dv[key(s) + i] += weight * number(3, row + i);
                }
            }
        }
    }
    all
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
        let mut text =
            format!("#include \"run.h\"\n{PRELUDE}\n#include \"matrices.h\"\n#include \"warps.h\"\n");
        let mut table = String::new();
        for (number, (label, kernel, buffers)) in self.kernels.iter().enumerate() {
            let label =
                label.replace(|c: char| !c.is_ascii() || c.is_control() || c == '"' || c == '\\', "?");
            // Kernels of this crate's own define what they are.
            let defines = [
                "PART",
                "HALF",
                "HALF_NAME",
                "WIDTH",
                "CAUSAL",
                "STRIDE",
                "COLUMNS",
                "STEPS",
                "BLOCKS",
                "THREADS",
            ];
            let undefined: String = defines.iter().map(|name| format!("#undef {name}\n")).collect();
            let source = undefined + &kernel.source.replace("extern \"C\" ", "static ");
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
