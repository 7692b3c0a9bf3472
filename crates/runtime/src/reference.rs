//! The reference device: programs run by the plain interpreter, one operation at a time.
//!
//! Slow and simple. Other devices are compared with it, and the layers above can be developed on it.

use crate::binding::{Arguments, Binding};
use crate::device::{Argument, Buffer, BufferRef, Choices, Device, Loaded};
use crate::pipeline::Options;
use dropforge_ir::interpret::run_arrays;
use dropforge_ir::{Array, Error, Result, ValueType};
use dropforge_plan::Plan;
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The device of the plain interpreter. Passes are not applied: the program runs as it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceDevice;

struct ReferenceBuffer {
    ty: ValueType,
    array: Mutex<Array>,
}

impl ReferenceBuffer {
    fn lock(&self) -> MutexGuard<'_, Array> {
        // An array is replaced as a whole, so that it is whole even after a panic elsewhere.
        self.array.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn buffer(array: Array) -> BufferRef {
    Arc::new(ReferenceBuffer { ty: array.ty(), array: Mutex::new(array) })
}

impl Buffer for ReferenceBuffer {
    fn ty(&self) -> &ValueType {
        &self.ty
    }

    fn read(&self) -> Result<Array> {
        Ok(self.lock().clone())
    }

    fn write(&self, array: &Array) -> Result<()> {
        if array.ty() != self.ty {
            return Err(Error::new("write", format!("the buffer is {}, got {}", self.ty, array.ty())));
        }
        *self.lock() = array.clone();
        Ok(())
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// How a plan gets from inputs, states and hyperparameters to outputs and new states.
type Method = fn(&Plan, &[Array], &[Array], &[f32]) -> Result<(Vec<Array>, Vec<Array>)>;

/// A plan over states on the host.
pub(crate) struct ReferenceExecutable {
    plan: Arc<Plan>,
    states: Vec<Arc<ReferenceBuffer>>,
    method: Method,
    peak_bytes: usize,
    remark: &'static str,
}

impl ReferenceExecutable {
    /// Kernel by kernel, in planned memory.
    pub fn planned(binding: &Binding<'_>, method: Method) -> Result<ReferenceExecutable> {
        let plan = Arc::clone(binding.plan());
        let peak_bytes = plan.arena_bytes;
        Ok(ReferenceExecutable {
            plan,
            states: binding.own_states(|_| true)?,
            method,
            peak_bytes,
            remark: "",
        })
    }

    /// One operation of the program after another, whatever the plan made of them.
    fn interpreted(binding: &Binding<'_>) -> Result<ReferenceExecutable> {
        let program = &binding.plan().program;
        // Every value is kept until the end of the step.
        let values = program.nodes().iter().flat_map(|node| &node.results);
        let peak_bytes = values.map(|&value| program.ty(value).bytes()).sum();
        let remark = "interpreted, one operation of the program at a time\n";
        let method: Method = |plan, inputs, states, hypers| run_arrays(&plan.program, inputs, states, hypers);
        Ok(ReferenceExecutable { peak_bytes, remark, ..ReferenceExecutable::planned(binding, method)? })
    }
}

impl Loaded for ReferenceExecutable {
    fn run(&mut self, arguments: &Arguments<'_>) -> Result<Vec<BufferRef>> {
        let read = |input: &Argument<'_>| match input {
            Argument::Host(array) => Ok((*array).clone()),
            Argument::Device(buffer) => buffer.read(),
        };
        let inputs: Vec<Array> = arguments.inputs().iter().map(read).collect::<Result<_>>()?;
        let states: Vec<Array> = self.states.iter().map(|state| state.lock().clone()).collect();
        let (outputs, states) = (self.method)(&self.plan, &inputs, &states, arguments.hypers())?;
        for ((buffer, port), array) in self.states.iter().zip(&self.plan.program.states).zip(&states) {
            if port.write.is_some() {
                buffer.write(array)?;
            }
        }
        Ok(outputs.into_iter().map(buffer).collect())
    }

    fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    fn remark(&self) -> String {
        self.remark.into()
    }
}

impl Device for ReferenceDevice {
    fn name(&self) -> String {
        "reference (plain interpreter)".into()
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        // Asked for first, since there is no error from what makes the zeros.
        Vec::<u8>::new()
            .try_reserve_exact(ty.bytes())
            .map_err(|_| Error::new("allocate", format!("no memory for {ty}, {} bytes", ty.bytes())))?;
        Ok(buffer(Array::zeros(ty)))
    }

    fn options(&self) -> Options {
        Options::as_written()
    }

    fn load(&self, binding: &Binding<'_>, _choices: &mut Choices) -> Result<Box<dyn Loaded>> {
        Ok(Box::new(ReferenceExecutable::interpreted(binding)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;
    use dropforge_ir::{BinaryKind, DType, Data, Program};

    #[test]
    fn a_step_reads_and_writes_states() {
        let ty = ValueType::new(DType::F32, [2]);
        let mut program = Program::new("step");
        let x = program.input("x", ty.clone());
        let w = program.state("w", ty.clone());
        let rate = program.hyper("rate");
        let rate = program.expand(rate, &ty.shape, &[0]).unwrap();
        let change = program.binary(BinaryKind::Multiply, x, rate).unwrap();
        let sum = program.binary(BinaryKind::Add, w, change).unwrap();
        program.write(0, sum).unwrap();
        program.output("before", w);

        let device = ReferenceDevice;
        let state = device.allocate(&ty).unwrap();
        let mut executable = load(&device, &program, std::slice::from_ref(&state)).unwrap();
        let x = Array::new([2], Data::F32(vec![1.0, 2.0])).unwrap();
        for step in 0..3 {
            let outputs = executable.run(&[Argument::Host(&x)], &[0.5]).unwrap();
            let expected = [0.5 * step as f32, step as f32];
            assert_eq!(outputs[0].read().unwrap().as_f32().unwrap(), expected);
        }
        assert_eq!(state.read().unwrap().as_f32().unwrap(), [1.5, 3.0]);
        let outputs = executable.run(&[Argument::Device(&state)], &[1.0]).unwrap();
        assert_eq!(outputs[0].read().unwrap().as_f32().unwrap(), [1.5, 3.0]);
        assert_eq!(state.read().unwrap().as_f32().unwrap(), [3.0, 6.0]);
    }
}
