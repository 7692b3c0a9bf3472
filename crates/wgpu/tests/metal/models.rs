//! Training steps of the models: at the sizes of the benchmarks to be printed, and small to be run.

use crate::programs::Sample;
use dropforge::models::{self, GptOptions};
use dropforge::nn::{Layer, Scope};
use dropforge::prelude::{Adam, AdamW, Sgd, StepBuilder, cross_entropy};
use dropforge::step::Batch;
use dropforge::{Runtime, Tensor};
use dropforge_ir::interpret::Numbers;
use dropforge_ir::{Array, DType, Data, Program, Result, ValueType};
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::{Argument, Arguments, Binding, BufferRef, Choices, Device, Loaded, Options};
use std::sync::{Arc, Mutex};

/// Allowed difference of a whole step, whose rounding errors add up.
const TOLERANCE: f64 = 2e-4;

/// The interpreter, as a device that keeps the programs that are loaded, and with what they are run.
#[derive(Default)]
struct Recorder {
    programs: Mutex<Vec<Program>>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

struct Recorded {
    program: Program,
    states: Vec<BufferRef>,
    inner: Box<dyn Loaded>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

fn read(buffers: &[BufferRef]) -> Result<Vec<Array>> {
    buffers.iter().map(|buffer| buffer.read()).collect()
}

impl Device for Recorder {
    fn name(&self) -> String {
        "recorder".into()
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        ReferenceDevice.allocate(ty)
    }

    fn options(&self) -> Options {
        ReferenceDevice.options()
    }

    fn load(&self, binding: &Binding<'_>, choices: &mut Choices) -> Result<Box<dyn Loaded>> {
        let program = binding.plan().program.clone();
        self.programs.lock().unwrap().push(program.clone());
        let inner = ReferenceDevice.load(binding, choices)?;
        let samples = Arc::clone(&self.samples);
        Ok(Box::new(Recorded { program, states: binding.states().to_vec(), inner, samples }))
    }
}

impl Loaded for Recorded {
    fn run(&mut self, arguments: &Arguments<'_>) -> Result<Vec<BufferRef>> {
        let given = arguments.inputs().iter().map(|input| match input {
            Argument::Host(array) => Ok((*array).clone()),
            Argument::Device(buffer) => buffer.read(),
        });
        let given: Vec<Array> = given.collect::<Result<_>>()?;
        let states = read(&self.states)?;
        let outputs = self.inner.run(arguments)?;
        let expected = read(&outputs)?.iter().chain(&read(&self.states)?).map(Numbers::from).collect();
        let sample = Sample {
            name: self.program.name.clone(),
            program: self.program.clone(),
            inputs: given,
            hypers: arguments.hypers().to_vec(),
            states,
            expected,
            tolerance: TOLERANCE,
        };
        self.samples.lock().unwrap().push(sample);
        Ok(outputs)
    }

    fn peak_bytes(&self) -> usize {
        self.inner.peak_bytes()
    }
}

/// A model with its optimizer, and what it is trained on.
struct Workload {
    name: &'static str,
    builder: StepBuilder,
    inputs: ValueType,
    targets: ValueType,
    /// Targets and tokens are below.
    classes: usize,
}

fn images(name: &'static str, builder: StepBuilder, shape: &[usize], classes: usize) -> Workload {
    Workload {
        name,
        builder,
        inputs: ValueType::new(DType::F32, shape),
        targets: ValueType::new(DType::I32, [shape[0]]),
        classes,
    }
}

fn text(builder: StepBuilder, batch: usize, options: GptOptions) -> Workload {
    let tokens = ValueType::new(DType::I32, [batch, options.context]);
    Workload { name: "gpt", builder, inputs: tokens.clone(), targets: tokens, classes: options.vocabulary }
}

/// Scores of a transformer with the classes where losses expect them.
fn gpt(options: GptOptions) -> impl Layer + 'static {
    move |scope: &Scope, x: &Tensor| scope.layer("gpt", &models::gpt(options), x).permute(&[0, 2, 1])
}

fn momentum(net: impl Layer + 'static) -> StepBuilder {
    StepBuilder::new(net, cross_entropy(), Sgd::new(0.05).momentum(0.9))
}

fn adam(net: impl Layer + 'static) -> StepBuilder {
    StepBuilder::new(net, cross_entropy(), Adam::new(1e-3))
}

fn adamw(net: impl Layer + 'static) -> StepBuilder {
    StepBuilder::new(net, cross_entropy(), AdamW::new(1e-3)).clip_norm(1.0)
}

/// Training steps of every built-in model at the sizes of the benchmarks.
pub fn full() -> Vec<Program> {
    let options = GptOptions { vocabulary: 65, context: 256, width: 384, heads: 6, layers: 6 };
    let recorder = Arc::new(Recorder::default());
    for workload in [
        images("tinycnn", momentum(models::tinycnn(2)), &[32, 3, 32, 32], 2),
        images("mlp", adam(models::mlp(10)), &[128, 784], 10),
        images("lenet", momentum(models::lenet(10)), &[128, 1, 28, 28], 10),
        images("catsdogs", adam(models::catsdogs(2)), &[32, 3, 64, 64], 2),
        images("resnet18", momentum(models::resnet18(10)), &[128, 3, 32, 32], 10),
        text(adamw(gpt(options)), 64, options),
    ] {
        compile(&recorder, workload);
    }
    std::mem::take(&mut *recorder.programs.lock().unwrap())
}

/// One training step of each kind of model, small, and what the interpreter makes of it.
pub fn small() -> Vec<Sample> {
    let options = GptOptions { vocabulary: 11, context: 12, width: 16, heads: 2, layers: 2 };
    let mut samples = Vec::new();
    for workload in [
        images("tinycnn", momentum(models::tinycnn(2)), &[4, 3, 16, 16], 2),
        images("mlp", adam(models::mlp(10)), &[6, 20], 10),
        images("lenet", momentum(models::lenet(10)), &[2, 1, 28, 28], 10),
        images("catsdogs", adam(models::catsdogs(2)), &[2, 3, 32, 32], 2),
        images("resnet", momentum(models::resnet(4, [1, 1, 1, 1], 10)), &[4, 3, 16, 16], 10),
        text(adamw(gpt(options)), 3, options),
    ] {
        samples.push(train(workload));
    }
    samples
}

fn compile(recorder: &Arc<Recorder>, workload: Workload) -> dropforge::step::Step {
    let runtime = Runtime::new(Arc::clone(recorder) as Arc<dyn Device>);
    let step = workload.builder.runtime(&runtime).compile(&workload.inputs, &workload.targets);
    step.unwrap_or_else(|error| panic!("{}: {error}", workload.name))
}

fn train(workload: Workload) -> Sample {
    let recorder = Arc::new(Recorder::default());
    let (inputs, targets) = (workload.inputs.clone(), workload.targets.clone());
    let (name, classes) = (workload.name, workload.classes);
    let mut step = compile(&recorder, workload);
    let array = |ty: ValueType| {
        let numbers = 0..ty.shape.elements();
        let data = match ty.dtype {
            DType::F32 => {
                Data::F32(numbers.map(|i| ((i * 2_654_435_761) % 2003) as f32 / 1000.0 - 1.0).collect())
            }
            _ => Data::I32(numbers.map(|i| ((i * 40_503 + 7) % classes) as i32).collect()),
        };
        Array::new(ty.shape, data).unwrap()
    };
    let batch = Batch::from((array(inputs), array(targets)));
    // The second step has momenta that are not zero.
    for _ in 0..2 {
        step.run(&batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut sample = recorder.samples.lock().unwrap().pop().unwrap();
    sample.name = format!("training step of {name}");
    sample
}
