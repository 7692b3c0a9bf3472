/// Pseudo-random numbers (SplitMix64), the same each time.
pub struct Generator {
    state: u64,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number above 0 and at most 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Numbers of mean 0 and variance 1, by Box and Muller.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        let mut normal = || {
            let radius = (-2.0 * self.unit().ln()).sqrt();
            (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
        };
        (0..count).map(|_| normal()).collect()
    }

    /// Numbers from 0 to `end`, which is not among them.
    pub fn integers(&mut self, count: usize, end: usize) -> Vec<i32> {
        (0..count).map(|_| (self.next() % end as u64) as i32).collect()
    }
}
