//! States that take each other's place on the device: averages of the weights, for as long as something is measured by
//! them.

use super::states::States;
use crate::error::{Error, Result};
use crate::tensor::Runtime;
use dropforge_ir::Program;
use dropforge_runtime::{BufferRef, Executable, load};

/// A program that exchanges the elements of pairs of states; carried out twice, it has changed nothing.
pub(super) struct Exchange(Executable);

impl Exchange {
    /// Of these pairs of names.
    ///
    /// # Errors
    /// There is no such state, the types of a pair differ, or the device lacks memory.
    pub fn new(pairs: &[(String, String)], states: &States, runtime: &Runtime) -> Result<Exchange> {
        let mut program = Program::new("exchange");
        let mut buffers: Vec<BufferRef> = Vec::new();
        for (one, other) in pairs {
            let mut declare = |name: &str| -> Result<_> {
                let state = states.get(name);
                let state = state.ok_or_else(|| Error::program(format!("there is no state named {name}")))?;
                buffers.push(state.buffer());
                Ok(program.state(name, state.ty().clone()))
            };
            let (one, other) = (declare(one)?, declare(other)?);
            let place = program.states.len() - 2;
            program.write(place, other)?;
            program.write(place + 1, one)?;
        }
        Ok(Exchange(load(&**runtime.device(), &program, &buffers)?))
    }

    /// Exchanges them, behind everything that was started before.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&mut self) -> Result<()> {
        self.0.run(&[], &[])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Averaged;
    use crate::prelude::*;

    #[test]
    fn twice_is_not_at_all() {
        let (x, y) = (Tensor::ones([4, 300]), Tensor::zeros([4, 7]));
        let optimizer = Averaged::exponential(0.9, Sgd::new(0.1));
        let mut step = compile(seq![dense(200), dense(7)], mse(), optimizer, (&x, &y)).unwrap();
        (0..3).for_each(|_| drop(step.run((&x, &y)).unwrap()));
        let read =
            |step: &Step| -> Vec<Array> { step.states().iter().map(|state| state.read().unwrap()).collect() };
        let before = read(&step);
        let averages = step.states().averages().unwrap();
        let pairs: Vec<(String, String)> = averages
            .into_iter()
            .map(|(average, parameter)| (average.name().to_string(), parameter))
            .collect();
        let runtime = step.runtime().clone();
        let mut exchange = Exchange::new(&pairs, step.states(), &runtime).unwrap();
        exchange.run().unwrap();
        for (average, parameter) in &pairs {
            let place = |name: &str| step.states().iter().position(|state| state.name() == name).unwrap();
            assert_eq!(step.states().read(parameter).unwrap(), before[place(average)]);
            assert_eq!(step.states().read(average).unwrap(), before[place(parameter)]);
        }
        exchange.run().unwrap();
        assert_eq!(read(&step), before);
        let wrong = Exchange::new(&[("no".into(), "none".into())], step.states(), &runtime);
        assert!(wrong.err().unwrap().to_string().contains("no state named no"));
    }
}
