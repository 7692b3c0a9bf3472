//! A small counter-based random generator whose numbers are the same on every machine.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
///
/// A stream is keyed by a few numbers, so that the random numbers of image 7 or of epoch 3 do not depend on what
/// was drawn before them, nor on the number of threads.
#[derive(Clone, Debug)]
pub struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The stream with this key.
    pub fn new(key: &[u64]) -> Random {
        Random(
            key.iter()
                .fold(STEP, |state, &part| mix(state.wrapping_add(STEP) ^ mix(part.wrapping_add(STEP)))),
        )
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform in 0..n without bias worth speaking of (n far below 2^64); 0 when n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Nearly normal with mean 0 and deviation 1: the sum of four uniform numbers, so never beyond ±3.5. Uses
    /// additions alone, because `ln` and `cos` differ in their last bits between platforms.
    pub fn normal(&mut self) -> f32 {
        let (a, b) = (self.bits(), self.bits());
        let parts = [a >> 32, a & 0xffff_ffff, b >> 32, b & 0xffff_ffff];
        let sum: u64 = parts.iter().sum();
        // The variance of a uniform number on [0, 1) is 1/12, so that of four is 1/3.
        (sum as f64 / (1u64 << 32) as f64 - 2.0) as f32 * 1.732_050_8
    }

    /// Puts the items into random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        // The published sequence for state 1234567.
        let mut random = Random(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn moments_and_ranges() {
        let mut random = Random::new(&[1, 2]);
        let n = 100_000;
        let normal: Vec<f64> = (0..n).map(|_| f64::from(random.normal())).collect();
        let mean = normal.iter().sum::<f64>() / n as f64;
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!((0..n).all(|_| (2.0..3.0).contains(&random.between(2.0, 3.0)) && random.below(7) < 7));
        assert_ne!(Random::new(&[1, 2]).bits(), Random::new(&[2, 1]).bits());
    }
}
