//! Runs programs through their printed kernels, and compares with what is expected.

use crate::clang::{Clang, folder, joined};
use crate::limits;
use crate::programs::Sample;
use crate::translate::{Kernel, Parameter, translate};
use dropforge_conformance::compare;
use dropforge_ir::interpret::Numbers;
use dropforge_ir::{Array, BF16, DType, Data, F16, Program, ValueType};
use dropforge_runtime::Choices;
use dropforge_wgpu::{Printing, ShaderPlace, Shaders, shaders_with};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Words between buffers, which nobody may write.
const GUARD: usize = 64;

/// What memory holds before somebody writes, as in `run.h`: a NaN.
const UNWRITTEN: u32 = 0x7fc0_dead;

/// Memory and dispatches of several programs, with the kernels that they share.
#[derive(Default)]
struct Job {
    memory: Vec<u32>,
    steps: Vec<u32>,
    kernels: Vec<Kernel>,
    /// Position of each kernel by its WGSL.
    known: HashMap<String, usize>,
    /// First word of every guard.
    guards: Vec<usize>,
}

/// Where the results of a program lie in the memory of a job.
struct Running {
    /// Whether f16 takes 2 bytes there.
    f16: bool,
    results: Vec<usize>,
}

/// For what machine kernels are printed, and on what machine they run.
#[derive(Clone, Copy)]
pub struct Machine {
    pub printing: Printing,
    /// Threads of a subgroup.
    pub subgroup: u32,
    /// What every contraction through matrices picks, if it is not to go by rule.
    pub pick: Option<&'static str>,
}

impl Machine {
    /// What it runs for a program.
    pub fn shaders(&self, program: &Program) -> dropforge_ir::Result<Shaders> {
        let mut choices = Choices::new();
        let by_rule = shaders_with(program, &limits(), &self.printing, &mut choices)?;
        let Some(pick) = self.pick else { return Ok(by_rule) };
        for choice in choices.values_mut().filter(|choice| choice.starts_with("matrices:")) {
            *choice = pick.to_string();
        }
        shaders_with(program, &limits(), &self.printing, &mut choices)
    }
}

/// What is done to the text of a kernel before it is compiled.
type Change = fn(String) -> String;

/// What was run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub programs: usize,
    pub kernels: usize,
    pub dispatches: usize,
}

/// Compiles the kernels of these programs, runs them, and gives a line for each program that does not give what it
/// should.
pub fn run(clang: Clang, name: &str, samples: &[Sample], machine: Machine) -> (Count, Vec<String>) {
    run_with(clang, name, samples, machine, |text| text)
}

/// As [`run`], with kernels that are changed before.
pub fn run_with(
    clang: Clang,
    name: &str,
    samples: &[Sample],
    machine: Machine,
    change: Change,
) -> (Count, Vec<String>) {
    // As many parts as the machine has cores, each with kernels of its own.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = cores.min(samples.len()).clamp(1, 8);
    let mut parts: Vec<Vec<&Sample>> = vec![Vec::new(); count];
    for (number, sample) in samples.iter().enumerate() {
        parts[number % count].push(sample);
    }
    let mut count = Count::default();
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(number, part)| {
                scope.spawn(move || run_part(clang, &format!("{name}-{number}"), part, machine, change))
            })
            .collect();
        for thread in threads {
            let (part, failed) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            count.programs += part.programs;
            count.kernels += part.kernels;
            count.dispatches += part.dispatches;
            failures.extend(failed);
        }
    });
    (count, failures)
}

fn run_part(
    clang: Clang,
    name: &str,
    samples: &[&Sample],
    machine: Machine,
    change: Change,
) -> (Count, Vec<String>) {
    let mut job = Job::default();
    let mut count = Count { programs: samples.len(), ..Count::default() };
    let mut failures = Vec::new();
    let mut running = Vec::new();
    for sample in samples {
        match machine.shaders(&sample.program).map_err(|error| error.to_string()) {
            Ok(shaders) => {
                count.dispatches += shaders.dispatches.len();
                running.push((*sample, job.add(sample, &shaders, machine, change)));
            }
            Err(error) => failures.push(format!("{}: {error}", sample.name)),
        }
    }
    count.kernels = job.kernels.len();
    match job.run(clang, &folder(name), machine.subgroup) {
        Ok(()) => {
            let wrong = running.iter().filter_map(|(sample, running)| job.check(sample, running));
            failures.extend(wrong);
        }
        Err(message) => failures.push(message),
    }
    (count, failures)
}

/// Elements as the device stores them; `f16` says whether that takes 2 bytes.
fn words(data: &Data, f16: bool) -> Vec<u32> {
    match data {
        Data::F16(values) if f16 => {
            let bits = |value: Option<&F16>| value.map_or(0, |half| u32::from(half.to_bits()));
            values.chunks(2).map(|pair| bits(pair.first()) | bits(pair.get(1)) << 16).collect()
        }
        Data::F32(values) => values.iter().map(|x| x.to_bits()).collect(),
        Data::F16(values) => values.iter().map(|x| x.to_f32().to_bits()).collect(),
        Data::BF16(values) => values.iter().map(|x| x.to_f32().to_bits()).collect(),
        Data::I32(values) => values.iter().map(|&x| x as u32).collect(),
        Data::U32(values) => values.clone(),
        Data::U8(values) | Data::Bool(values) => values.iter().map(|&x| u32::from(x)).collect(),
    }
}

/// The array that starts with these words.
fn array(ty: &ValueType, words: &[u32], f16: bool) -> Array {
    let count = ty.shape.elements();
    let is_packed = f16 && ty.dtype == DType::F16;
    let words = &words[..if is_packed { count.div_ceil(2) } else { count }];
    let data = match ty.dtype {
        DType::F16 if f16 => {
            let halves = words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16]);
            Data::F16(halves.take(count).map(F16::from_bits).collect())
        }
        DType::F32 => Data::F32(words.iter().map(|&x| f32::from_bits(x)).collect()),
        DType::F16 => Data::F16(words.iter().map(|&x| F16::from_f32(f32::from_bits(x))).collect()),
        DType::BF16 => Data::BF16(words.iter().map(|&x| BF16::from_f32(f32::from_bits(x))).collect()),
        DType::I32 => Data::I32(words.iter().map(|&x| x as i32).collect()),
        DType::U32 => Data::U32(words.to_vec()),
        DType::U8 => Data::U8(words.iter().map(|&x| x as u8).collect()),
        DType::Bool => Data::Bool(words.iter().map(|&x| x as u8).collect()),
    };
    Array::new(ty.shape.clone(), data).unwrap()
}

impl Job {
    /// Gives a program its memory, filled with what it is given, and appends its dispatches.
    fn add(&mut self, sample: &Sample, shaders: &Shaders, machine: Machine, change: Change) -> Running {
        let f16 = machine.printing.f16;
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
            let start = at(place);
            memory[start..start + words.len()].copy_from_slice(words);
        };
        for (place, array) in shaders.inputs.iter().zip(&sample.inputs) {
            put(place, &words(array.data(), f16));
        }
        for (place, array) in shaders.states.iter().zip(&sample.states) {
            put(place, &words(array.data(), f16));
        }
        for (place, hyper) in shaders.hypers.iter().zip(&sample.hypers) {
            put(place, &[hyper.to_bits()]);
        }
        for (place, words) in &shaders.constants {
            put(place, words);
        }
        for dispatch in &shaders.dispatches {
            let kernel = self.known.get(&dispatch.source).copied().unwrap_or_else(|| {
                let written: Vec<bool> = dispatch.bindings.iter().map(|&(_, written)| written).collect();
                let mut kernel = translate(&dispatch.label, &dispatch.source, &written)
                    .unwrap_or_else(|message| panic!("{}: {message}", sample.name));
                kernel.source = change(kernel.source);
                self.kernels.push(kernel);
                self.known.insert(dispatch.source.clone(), self.kernels.len() - 1);
                self.kernels.len() - 1
            });
            self.steps.push(kernel as u32);
            self.steps.extend(dispatch.workgroups);
            self.steps.push(dispatch.params.len() as u32);
            self.steps.extend(&dispatch.params);
            self.steps.push(dispatch.bindings.len() as u32);
            for &(buffer, _) in &dispatch.bindings {
                self.steps.extend([starts[buffer] as u32, shaders.buffers[buffer] as u32]);
            }
        }
        Running { f16, results: shaders.outputs.iter().chain(&shaders.states).map(at).collect() }
    }

    fn guard(&mut self) {
        self.guards.push(self.memory.len());
        self.memory.resize(self.memory.len() + GUARD, UNWRITTEN);
    }

    /// The kernels, a function that calls each, and the table of them.
    fn source(&self, subgroup: u32) -> String {
        let mut text = format!("#define SUBGROUP {subgroup}u\n#include <run.h>\n{}", joined(&self.kernels));
        let mut table = String::new();
        for (number, kernel) in self.kernels.iter().enumerate() {
            let Kernel { entry, threads, shared_bytes, .. } = kernel;
            let arguments: Vec<String> = kernel.parameters.iter().map(argument).collect();
            let arguments = arguments.join(", ");
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "static void call_{number}(metal::uint3 workgroup, metal::uint lane, void** buffers, char* shared) {{ \
                 kernel_{number}::{entry}({arguments}); }}"
            );
            let _ = writeln!(
                table,
                "{{{:?}, call_{number}, {threads}, {shared_bytes}, {}}},",
                kernel.label.replace(|c: char| !c.is_ascii() || c.is_control(), "?"),
                kernel.waits()
            );
        }
        let count = self.kernels.len();
        text + &format!("const Kernel kernels[] = {{\n{table}}};\nconst unsigned kernel_count = {count};\n")
    }

    fn run(&mut self, clang: Clang, folder: &Path, subgroup: u32) -> Result<(), String> {
        if self.kernels.is_empty() {
            return Ok(());
        }
        let [source, program, memory, steps] =
            ["kernels.cpp", "run", "memory", "steps"].map(|name| folder.join(name));
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        std::fs::write(&source, self.source(subgroup)).unwrap();
        std::fs::write(&memory, bytes(&self.memory)).unwrap();
        std::fs::write(&steps, bytes(&self.steps)).unwrap();
        clang.compile(&source, &program)?;
        let output = Command::new(&program).arg(&memory).arg(&steps).output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the kernels of {} end with {}: {said}", source.display(), output.status));
        }
        let bytes = std::fs::read(&memory).unwrap();
        self.memory = bytes.chunks_exact(4).map(|c| u32::from_ne_bytes([c[0], c[1], c[2], c[3]])).collect();
        match self.guards.iter().find(|&&start| self.memory[start..start + GUARD] != [UNWRITTEN; GUARD]) {
            Some(start) => Err(format!("a kernel writes beyond a buffer, at word {start} of the memory")),
            None => Ok(()),
        }
    }

    /// What is wrong with the results of a program.
    fn check(&self, sample: &Sample, running: &Running) -> Option<String> {
        let program = &sample.program;
        let outputs = program.outputs.iter().map(|port| (&port.name, port.value));
        let ports = outputs.chain(program.states.iter().map(|port| (&port.name, port.value)));
        for (((port, value), &start), expected) in ports.zip(&running.results).zip(&sample.expected) {
            let ty = program.ty(value);
            let got = array(ty, &self.memory[start..], running.f16);
            if let Some(message) = compare(expected, &Numbers::from(&got), sample.tolerance) {
                return Some(format!("{}: {port} {message}", sample.name));
            }
        }
        None
    }
}

/// What the entry point gets.
fn argument(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Workgroup => "workgroup".into(),
        Parameter::Thread => "lane".into(),
        Parameter::Subgroup => "lane / SUBGROUP".into(),
        Parameter::SubgroupThread => "lane % SUBGROUP".into(),
        Parameter::SubgroupSize => "SUBGROUP".into(),
        Parameter::Buffer(slot) => format!("Slot{{buffers[{slot}]}}"),
        Parameter::Shared(start) => format!("Slot{{shared + {start}}}"),
    }
}
