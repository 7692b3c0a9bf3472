//! Grainy images.

use super::{Image, Transform};
use crate::random::Random;

/// Adds a random number to each, nearly normal with this deviation; what leaves 0 to 1 is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Of what is added to numbers from 0 to 1.
    pub deviation: f32,
}

impl Transform for Noise {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        image.pixels.iter_mut().for_each(|x| *x = (*x + self.deviation * random.normal()).clamp(0.0, 1.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn of_the_deviation_that_is_asked_for() {
        let plain: Vec<f32> = (0..3072).map(|i| i as f32 / 3072.0).collect();
        let noisy = changed(&Noise { deviation: 0.05 }, [3, 32, 32], 4);
        let inner = noisy.iter().zip(&plain).filter(|(_, x)| (0.2..0.8).contains(*x));
        let squares: Vec<f32> = inner.map(|(a, b)| (a - b).powi(2)).collect();
        let deviation = (squares.iter().sum::<f32>() / squares.len() as f32).sqrt();
        assert!((0.045..0.055).contains(&deviation), "{deviation}");
        assert!(noisy.iter().all(|x| (0.0..=1.0).contains(x)));
        assert_eq!(changed(&Noise { deviation: 0.0 }, [3, 32, 32], 4), plain);
    }
}
