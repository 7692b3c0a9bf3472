//! Built-in digits in the manner of handwriting, drawn by the program: something to train on without fetching files.

use crate::pen::{SIDE, Style, draw};
use crate::random::Random;
use crate::strokes::{Variant, variants};
use crate::{Dataset, Description, Normalization, Preparation};

/// Training images in the usual set of built-in digits.
pub const DIGITS_TRAIN: usize = 12_000;
/// Test images in the usual set of built-in digits.
pub const DIGITS_TEST: usize = 2_000;

/// The seed of the digits that are called by a name.
pub const DIGITS_SEED: u64 = 1;

/// How many digits are for testing where so many are for training, unless a program says otherwise.
pub fn digits_for_testing(train: usize) -> usize {
    if train == DIGITS_TRAIN { DIGITS_TEST } else { (train / 6).max(10) }
}

/// How the digits vary. Chosen so that a linear classifier is clearly worse than a small convolutional net.
const STYLE: Style = Style {
    jitter: 0.018,
    elastic: 0.03,
    half_turn: 0.11,
    shear: (-0.15, 0.4),
    height: (16.0, 21.5),
    aspect: (0.6, 0.95),
    shift: 3.0,
    pen: (0.85, 1.5),
    soft: (0.8, 1.6),
    ink: (0.8, 1.15),
    grain: 0.12,
};

/// Draws `train` and `test` digits, grey, `[1, 28, 28]`, classes 0 to 9 in equal parts and random order, normalised
/// like MNIST: `(x / 255 − 0.1307) / 0.3081`.
///
/// The usual sizes are [`DIGITS_TRAIN`] and [`DIGITS_TEST`]. With these, logistic regression reaches 89 to 90 % on the
/// test images and LeNet-5 98.8 to 99.8 % after five epochs (SGD, momentum 0.9, learning rate 0.05, batch 128; two
/// seeds of digits, five of weights); one LeNet-5 of each seed of digits read 84.5 and 88.3 % of the real MNIST test
/// images. Images depend on the seed and on their place alone: they are the same on every platform and whatever the
/// number of threads, a smaller set is the beginning of a larger one, and the test images are never those of training.
/// The images are drawn on all cores, in a few microseconds each.
///
/// # Panics
/// Only when so many images are asked for (784 bytes each) that they do not fit in memory.
///
/// ```
/// let (train, test) = dropforge_data::digits(60, 10, 1);
/// assert_eq!((train.count(), test.count()), (60, 10));
/// ```
pub fn digits(train: usize, test: usize, seed: u64) -> (Dataset, Dataset) {
    let (first, second) = (part("digits", train, seed, 0), part("digits test", test, seed, 1));
    let first = match (seed, train) {
        (DIGITS_SEED, DIGITS_TRAIN) if test == DIGITS_TEST => first.called("digits"),
        (DIGITS_SEED, _) if train >= 10 && test == digits_for_testing(train) => {
            first.called(&format!("digits:{train}"))
        }
        _ => first,
    };
    (first, second)
}

fn part(name: &str, count: usize, seed: u64, part: u64) -> Dataset {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(8);
    let (pixels, labels) = draw_all(count, seed, part, threads);
    let description = Description::classes(name, &[1, SIDE, SIDE], ('0'..='9').map(String::from));
    Dataset::from_u8(description, pixels, labels)
        .and_then(|data| data.normalized(Normalization::mnist()))
        .map(|data| data.prepared_as(Preparation::Digit { normalization: Normalization::mnist() }))
        .expect("drawn digits are a valid data set")
}

fn draw_all(count: usize, seed: u64, part: u64, threads: usize) -> (Vec<u8>, Vec<i32>) {
    let mut pixels = vec![0u8; count * SIDE * SIDE];
    let mut labels = vec![0i32; count];
    let per_thread = count.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let parts = pixels.chunks_mut(per_thread * SIDE * SIDE).zip(labels.chunks_mut(per_thread));
        for (chunk, (pixels, labels)) in parts.enumerate() {
            scope.spawn(move || {
                let (images, _) = pixels.as_chunks_mut::<{ SIDE * SIDE }>();
                for (i, (image, label)) in images.iter_mut().zip(labels).enumerate() {
                    let index = chunk * per_thread + i;
                    let digit = digit_at(seed, part, index);
                    *label = digit as i32;
                    let mut random = Random::new(&[seed, part, 1, index as u64]);
                    draw(choose(variants(digit), &mut random).strokes, &STYLE, &mut random, image);
                }
            });
        }
    });
    (pixels, labels)
}

/// Every ten places in a row hold each digit once, in random order.
fn digit_at(seed: u64, part: u64, index: usize) -> usize {
    let mut order: [usize; 10] = std::array::from_fn(|digit| digit);
    Random::new(&[seed, part, 0, index as u64 / 10]).shuffle(&mut order);
    order[index % 10]
}

fn choose(variants: &'static [Variant], random: &mut Random) -> &'static Variant {
    let mut left = random.below(variants.iter().map(|variant| variant.weight).sum());
    for variant in variants {
        if left < variant.weight {
            return variant;
        }
        left -= variant.weight;
    }
    &variants[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_on_every_platform_and_for_every_thread_count() {
        let (pixels, labels) = draw_all(200, 7, 0, 1);
        assert_eq!((&pixels, &labels), (&draw_all(200, 7, 0, 3).0, &draw_all(200, 7, 0, 3).1));
        // FNV-1a over all bytes.
        let hash = pixels.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        assert_eq!(hash, 0x1a38_1907_562f_3083, "{hash:#018x}");
    }

    #[test]
    fn varied_balanced_and_apart() {
        let (train, test) = digits(200, 50, 3);
        let (longer, _) = digits(300, 0, 3);
        let (other, _) = digits(200, 0, 4);
        let mut counts = [0; 10];
        train.classes().unwrap().iter().for_each(|&class| counts[class as usize] += 1);
        assert_eq!(counts, [20; 10]);
        assert_eq!((test.count(), longer.count()), (50, 300));
        let images: std::collections::HashSet<&[u8]> = (0..200)
            .map(|i| train.bytes(i).unwrap())
            .chain((0..50).map(|i| test.bytes(i).unwrap()))
            .collect();
        assert_eq!(images.len(), 250);
        for i in 0..200 {
            assert_eq!(train.bytes(i), longer.bytes(i));
            assert_ne!(train.bytes(i), other.bytes(i));
            let image = train.bytes(i).unwrap();
            let ink = image.iter().filter(|&&pixel| pixel > 100).count();
            assert!((20..300).contains(&ink), "image {i} has {ink} dark pixels");
        }
    }
}
