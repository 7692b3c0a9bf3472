//! The reference device: programs run by the plain interpreter, one operation at a time.
//!
//! Slow and simple. Other devices are compared with it, and the layers above can be developed on it.

use crate::device::{Argument, Buffer, BufferRef, Device, Executable};
use crate::plan::Plan;
use crate::simulate::run_plan;
use dropforge_ir::interpret::run_arrays;
use dropforge_ir::verify::verify;
use dropforge_ir::{Array, Error, Program, Result, ValueType};
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

fn own(buffer: &BufferRef) -> Result<&ReferenceBuffer> {
    let foreign = || Error::new("reference", "the buffer belongs to another device");
    buffer.as_any().downcast_ref().ok_or_else(foreign)
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

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// How an executable gets from inputs, states and hyperparameters to outputs and new states.
enum Method {
    /// One operation after another.
    Interpret,
    /// Kernel by kernel, in planned memory.
    Simulate(Box<Plan>),
}

struct ReferenceExecutable {
    program: Program,
    states: Vec<BufferRef>,
    method: Method,
}

/// An executable that carries out a plan literally.
pub(crate) fn planned_executable(plan: Plan, states: &[BufferRef]) -> Result<Box<dyn Executable>> {
    check_states(&plan.program, states)?;
    let program = plan.program.clone();
    Ok(Box::new(ReferenceExecutable {
        program,
        states: states.to_vec(),
        method: Method::Simulate(Box::new(plan)),
    }))
}

fn check_states(program: &Program, states: &[BufferRef]) -> Result<()> {
    let fail = |message: String| Err(Error::new("load", message));
    let (expected, given) = (program.states.len(), states.len());
    if given != expected {
        return fail(format!("{} needs {expected} states, got {given}", program.name));
    }
    for (port, buffer) in program.states.iter().zip(states) {
        let expected = program.ty(port.value);
        if own(buffer)?.ty != *expected {
            return fail(format!("state {} is {expected}, its buffer is {}", port.name, buffer.ty()));
        }
    }
    Ok(())
}

impl Executable for ReferenceExecutable {
    fn run(&mut self, inputs: &[Argument<'_>], hypers: &[f32]) -> Result<Vec<BufferRef>> {
        let read = |input: &Argument<'_>| match input {
            Argument::Host(array) => Ok((*array).clone()),
            Argument::Device(buffer) => own(buffer)?.read(),
        };
        let inputs: Vec<Array> = inputs.iter().map(read).collect::<Result<_>>()?;
        let states: Vec<Array> = self.states.iter().map(|state| state.read()).collect::<Result<_>>()?;
        let (outputs, states) = match &self.method {
            Method::Interpret => run_arrays(&self.program, &inputs, &states, hypers)?,
            Method::Simulate(plan) => run_plan(plan, &inputs, &states, hypers)?,
        };
        for ((buffer, port), array) in self.states.iter().zip(&self.program.states).zip(&states) {
            if port.write.is_some() {
                buffer.write(array)?;
            }
        }
        Ok(outputs.into_iter().map(buffer).collect())
    }

    fn peak_bytes(&self) -> usize {
        if let Method::Simulate(plan) = &self.method {
            return plan.arena_bytes;
        }
        // Every value is kept until the end of the step.
        self.program
            .nodes()
            .iter()
            .flat_map(|node| &node.results)
            .map(|&value| self.program.ty(value).bytes())
            .sum()
    }

    fn explain(&self) -> String {
        if let Method::Simulate(plan) = &self.method {
            return crate::explain::explain(plan, |_| String::new());
        }
        format!("interpreted, one operation at a time:\n{}", self.program)
    }
}

impl Device for ReferenceDevice {
    fn name(&self) -> String {
        "reference (plain interpreter)".into()
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        Ok(buffer(Array::zeros(ty)))
    }

    fn load(&self, program: &Program, states: &[BufferRef]) -> Result<Box<dyn Executable>> {
        verify(program)?;
        check_states(program, states)?;
        Ok(Box::new(ReferenceExecutable {
            program: program.clone(),
            states: states.to_vec(),
            method: Method::Interpret,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::{BinaryKind, DType, Data};

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
        let mut executable = device.load(&program, std::slice::from_ref(&state)).unwrap();
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

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut program = Program::new("p");
        program.state("w", ValueType::new(DType::F32, [2]));
        let device = ReferenceDevice;
        let wrong = device.allocate(&ValueType::new(DType::F32, [3])).unwrap();
        let error = device.load(&program, &[wrong]).err().unwrap();
        assert_eq!(error.to_string(), "load: state w is f32[2], its buffer is f32[3]");
        assert_eq!(device.load(&program, &[]).err().unwrap().message(), "p needs 1 states, got 0");
    }
}
