//! The programs whose kernels are checked.

use dropforge::models;
use dropforge::nn::Scope;
use dropforge::prelude::{Adam, AdamW, Sgd, StepBuilder, cross_entropy};
use dropforge::{DType, Runtime, Tensor, ValueType};
use dropforge_ir::{Program, Result};
use dropforge_plan::{BufferRef, Device, Executable};
use std::sync::{Arc, Mutex};

/// A device that keeps what is loaded on it.
struct Recorder {
    inner: Arc<dyn Device>,
    programs: Mutex<Vec<Program>>,
}

impl Device for Recorder {
    fn name(&self) -> String {
        "recorder".into()
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        self.inner.allocate(ty)
    }

    fn load(&self, program: &Program, states: &[BufferRef]) -> Result<Box<dyn Executable>> {
        self.programs.lock().unwrap().push(program.clone());
        self.inner.load(program, states)
    }
}

pub fn model_programs() -> Vec<Program> {
    let recorder = Arc::new(Recorder {
        inner: Arc::new(dropforge_plan::reference::ReferenceDevice),
        programs: Mutex::default(),
    });
    let runtime = Runtime::new(Arc::clone(&recorder) as Arc<dyn Device>);
    let compile = |builder: StepBuilder, inputs: ValueType, targets: ValueType| {
        builder.runtime(&runtime).compile(&inputs, &targets).unwrap();
    };
    let sgd = || Sgd::new(0.01).momentum(0.9);
    let image = |batch: usize, channels: usize, size: usize| {
        ValueType::new(DType::F32, [batch, channels, size, size])
    };
    let labels = |batch: usize| ValueType::new(DType::I32, [batch]);
    compile(
        StepBuilder::new(models::tinycnn(2), cross_entropy(), Sgd::new(0.01)),
        image(32, 3, 32),
        labels(32),
    );
    compile(
        StepBuilder::new(models::mlp(10), cross_entropy(), Adam::new(1e-3)),
        ValueType::new(DType::F32, [128, 784]),
        labels(128),
    );
    compile(StepBuilder::new(models::lenet(10), cross_entropy(), sgd()), image(128, 1, 28), labels(128));
    compile(
        StepBuilder::new(models::catsdogs(2), cross_entropy(), Adam::new(1e-3)),
        image(32, 3, 64),
        labels(32),
    );
    compile(StepBuilder::new(models::resnet18(10), cross_entropy(), sgd()), image(128, 3, 32), labels(128));
    let options = models::GptOptions { vocabulary: 65, context: 256, width: 384, heads: 6, layers: 6 };
    let gpt =
        move |scope: &Scope, x: &Tensor| scope.layer("gpt", &models::gpt(options), x).permute(&[0, 2, 1]);
    let tokens = || ValueType::new(DType::I32, [64, 256]);
    compile(StepBuilder::new(gpt, cross_entropy(), AdamW::new(3e-4)), tokens(), tokens());
    std::mem::take(&mut *recorder.programs.lock().unwrap())
}
