//! Telling one source from another.

use super::batch::read_one;
use super::source::Source;
use super::values::Values;

/// What tells the samples of a source from others: how many there are, and a hash of the first one, the middle one and
/// the last. `None` where that cannot be told: of streams, and where one of the three cannot be read.
pub fn digest(source: &dyn Source) -> Option<String> {
    let len = source.len()?;
    // FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut places = vec![0, len / 2, len.saturating_sub(1)];
    places.dedup();
    for place in places.into_iter().filter(|&place| place < len) {
        let sample = read_one(source, place).ok()?;
        for (name, values) in sample.iter() {
            name.bytes().for_each(&mut add);
            bytes(values, &mut add);
        }
    }
    Some(format!("{len} samples, {hash:016x}"))
}

fn bytes(values: &Values, add: &mut impl FnMut(u8)) {
    match values {
        Values::F32(all) => all.iter().flat_map(|x| x.to_bits().to_le_bytes()).for_each(add),
        Values::F16(all) => all.iter().flat_map(|x| x.to_le_bytes()).for_each(add),
        Values::I32(all) => all.iter().flat_map(|x| x.to_le_bytes()).for_each(add),
        Values::U32(all) => all.iter().flat_map(|x| x.to_le_bytes()).for_each(add),
        Values::U8(all) => all.iter().copied().for_each(add),
        Values::Bool(all) => all.iter().map(|x| u8::from(*x)).for_each(add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, Description};

    fn points(numbers: [f32; 6]) -> Dataset {
        let description = Description::classes("points", &[2], ["a", "b"]);
        Dataset::from_f32(description, numbers.to_vec(), vec![0, 1, 0]).unwrap()
    }

    #[test]
    fn other_samples_have_another_digest() {
        let of = |numbers| digest(&points(numbers)).unwrap();
        let one = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(of(one), of(one));
        assert!(of(one).starts_with("3 samples, "));
        for place in 0..6 {
            let mut other = one;
            other[place] = -7.0;
            assert_ne!(of(one), of(other), "{place}");
        }
    }
}
