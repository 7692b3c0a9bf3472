//! Random choices, the same for a seed on every machine.

use dropforge_ir::random::philox;

/// A source of random choices.
pub struct Dice {
    seed: u64,
    counter: u32,
    stream: u32,
}

impl Dice {
    /// A source that depends on nothing but its arguments.
    pub fn new(seed: u64, stream: u32) -> Dice {
        Dice { seed, counter: 0, stream }
    }

    fn word(&mut self) -> u32 {
        self.counter += 1;
        philox([self.seed as u32, (self.seed >> 32) as u32], [self.counter, self.stream, 0, 0])[0]
    }

    /// A number below `count`, which is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        self.word() as usize % count
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of several, of which there is at least one.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// An f32 from `low` to `high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        f64::from((low + (high - low) * f64::from(self.word() >> 8) / 16_777_216.0) as f32)
    }

    /// An order of `count` things.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }

    /// Some of `count` things, increasing.
    pub fn subset(&mut self, count: usize) -> Vec<usize> {
        (0..count).filter(|_| self.percent(50)).collect()
    }
}
