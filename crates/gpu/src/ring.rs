//! Steps in flight: the host runs ahead of the device, by a few steps at most.

use crate::tuning::STEPS_IN_FLIGHT;
use dropforge_ir::{Error, Result};
use std::collections::VecDeque;

/// The staging memory of one step: what its inputs go through and its small outputs come back in.
pub trait InFlight: Sized {
    /// The device.
    type Gpu: ?Sized;

    /// Whether the device is known to be done with the step.
    fn has_landed(&self) -> bool;

    /// Looks at what the device has done meanwhile, without waiting; then steps may have landed.
    ///
    /// # Errors
    /// If the device fails.
    fn poll(gpu: &Self::Gpu, what: &str) -> Result<()>;

    /// Waits until the device is done with the step, if it was started, and frees the memory for the next one; outputs
    /// that somebody may still read move to the host. Gives whether the memory can be used again.
    ///
    /// # Errors
    /// If the device fails.
    fn land(&mut self, gpu: &Self::Gpu, what: &str) -> Result<bool>;
}

/// The slots of an executable, the longest in flight first.
pub struct Ring<S> {
    slots: VecDeque<S>,
}

impl<S> Default for Ring<S> {
    fn default() -> Ring<S> {
        Ring { slots: VecDeque::new() }
    }
}

impl<S: InFlight> Ring<S> {
    /// A slot that is ready to be written; `what` names the program in errors, `make` makes another one. Slots are made
    /// when all others are in flight, so that a program that is always waited for has only one; when there are as many
    /// as may be, the oldest is waited for.
    ///
    /// # Errors
    /// If the device fails, or there is no memory for a slot.
    pub fn acquire(&mut self, gpu: &S::Gpu, what: &str, make: impl Fn() -> Result<S>) -> Result<S> {
        let landed = |slots: &VecDeque<S>| slots.front().is_some_and(S::has_landed);
        if !landed(&self.slots) && !self.slots.is_empty() {
            S::poll(gpu, what)?;
        }
        if !landed(&self.slots) && self.slots.len() < STEPS_IN_FLIGHT {
            return make();
        }
        let empty = || Error::new("run", format!("{what}: there is no staging memory"));
        let mut slot = self.slots.pop_front().ok_or_else(empty)?;
        if slot.land(gpu, what)? { Ok(slot) } else { make() }
    }

    /// Takes a slot back whose step was started.
    pub fn give_back(&mut self, slot: S) {
        self.slots.push_back(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Steps land in order, one with each look at the device.
    struct Step {
        number: usize,
        done: std::rc::Rc<Cell<usize>>,
        broken: bool,
    }

    impl InFlight for Step {
        type Gpu = Cell<usize>;

        fn has_landed(&self) -> bool {
            self.number < self.done.get()
        }

        fn poll(gpu: &Cell<usize>, _what: &str) -> Result<()> {
            gpu.set(gpu.get() + 1);
            Ok(())
        }

        fn land(&mut self, _gpu: &Cell<usize>, _what: &str) -> Result<bool> {
            self.done.set(self.done.get().max(self.number + 1));
            Ok(!self.broken)
        }
    }

    #[test]
    fn slots_are_made_only_while_all_are_in_flight() {
        let (polls, done, made) = (Cell::new(0), std::rc::Rc::new(Cell::new(0)), Cell::new(0));
        let make = || {
            made.set(made.get() + 1);
            Ok(Step { number: 0, done: std::rc::Rc::clone(&done), broken: false })
        };
        let mut ring = Ring::default();
        for number in 0..10 {
            let mut slot: Step = ring.acquire(&polls, "p", make).unwrap();
            slot.number = number;
            ring.give_back(slot);
        }
        assert_eq!((made.get(), done.get()), (STEPS_IN_FLIGHT, 10 - STEPS_IN_FLIGHT));
        // Whoever waits for every step gets the same slot again.
        for number in 10..20 {
            done.set(number);
            let mut slot = ring.acquire(&polls, "p", make).unwrap();
            slot.number = number;
            ring.give_back(slot);
        }
        assert_eq!(made.get(), STEPS_IN_FLIGHT);
        // Memory that cannot be used again is replaced.
        let mut slot = ring.acquire(&polls, "p", make).unwrap();
        slot.broken = true;
        ring.slots.clear();
        ring.slots.extend([slot]);
        done.set(100);
        assert!(!ring.acquire(&polls, "p", make).unwrap().broken);
    }
}
