//! Elements as the device stores them: one 32-bit word each, bytes and truth values too, halves as the f32 that they
//! are. Where shaders have the type f16, that takes 2 bytes; an odd one at the end is followed by 2 bytes that mean
//! nothing.

use crate::printing::Printing;
use dropforge_ir::{Array, BF16, DType, Data, F16, ValueType};

/// Bytes of an element on the device.
pub fn width(dtype: DType, printing: Printing) -> u64 {
    if printing.packs(dtype) { 2 } else { 4 }
}

/// Bytes of a value on the device.
pub fn stored_bytes(ty: &ValueType, printing: Printing) -> u64 {
    dropforge_gpu::stored_bytes(ty, &|dtype| width(dtype, printing))
}

/// Appends elements as the device stores them.
pub fn append(data: &Data, printing: Printing, to: &mut Vec<u8>) {
    match words(data, printing) {
        None => to.extend_from_slice(data.bytes()),
        Some((count, word)) => to.extend((0..count).flat_map(|index| word(index).to_ne_bytes())),
    }
}

/// A word by its number.
pub type Word<'a> = Box<dyn Fn(usize) -> u32 + 'a>;

/// The words of elements, and how many they are, if they are not just the bytes of the elements.
#[must_use]
pub fn words(data: &Data, printing: Printing) -> Option<(usize, Word<'_>)> {
    let word: Word<'_> = match data {
        Data::F16(halves) if printing.f16 => return packed(halves, F16::to_bits),
        Data::BF16(halves) if printing.bf16 => return packed(halves, BF16::to_bits),
        Data::F16(halves) => Box::new(|index| halves[index].to_f32().to_bits()),
        Data::BF16(halves) => Box::new(|index| halves[index].to_f32().to_bits()),
        Data::U8(bytes) | Data::Bool(bytes) => Box::new(|index| bytes[index].into()),
        Data::F32(_) | Data::I32(_) | Data::U32(_) => return None,
    };
    Some((data.len(), word))
}

/// The words of halves that lie in pairs, if they are not just the bytes of these.
fn packed<H: Copy>(halves: &[H], bits: fn(H) -> u16) -> Option<(usize, Word<'_>)> {
    if halves.len().is_multiple_of(2) {
        return None;
    }
    let bytes = move |index: usize| halves.get(index).map_or(0, |&half| bits(half)).to_ne_bytes();
    let word = move |index: usize| {
        let (first, second) = (bytes(2 * index), bytes(2 * index + 1));
        u32::from_ne_bytes([first[0], first[1], second[0], second[1]])
    };
    Some((halves.len().div_ceil(2), Box::new(word)))
}

/// The array that stored bytes stand for; `None` if there are too few.
pub fn to_array(ty: &ValueType, printing: Printing, stored: &[u8]) -> Option<Array> {
    let stored = stored.get(..ty.shape.elements() * width(ty.dtype, printing) as usize)?;
    let numbers = || stored.chunks_exact(4).map(|c| f32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
    let data = match ty.dtype {
        DType::F16 if !printing.f16 => Data::F16(numbers().map(F16::from_f32).collect()),
        DType::BF16 if !printing.bf16 => Data::BF16(numbers().map(BF16::from_f32).collect()),
        DType::U8 | DType::Bool => {
            let word = |c: &[u8]| u32::from_ne_bytes([c[0], c[1], c[2], c[3]]) as u8;
            Data::from_bytes(ty.dtype, &stored.chunks_exact(4).map(word).collect::<Vec<u8>>())?
        }
        dtype => Data::from_bytes(dtype, stored)?,
    };
    Array::new(ty.shape.clone(), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_survive_the_way_there_and_back() {
        for data in [
            Data::F32(vec![1.5, f32::NAN.copysign(-1.0)]),
            Data::F16([0x3555, 0x8001, 0x7bff, 0xfc00].map(F16::from_bits).to_vec()),
            Data::F16((0..701).map(|i| F16::from_bits(i * 43)).collect()),
            Data::BF16((0..701).map(|i| BF16::from_bits(i * 47 % 0x7f80)).collect()),
            Data::I32(vec![-1, 7]),
            Data::U32(vec![u32::MAX, 0]),
            Data::U8(vec![255, 3]),
            Data::Bool(vec![1, 0]),
            Data::U8((0..1000).map(|i| (i % 251) as u8).collect()),
        ] {
            let array = Array::new([data.len()], data).unwrap();
            for f16 in [false, true] {
                let printing = Printing { f16, bf16: f16, ..Printing::default() };
                let mut stored = Vec::new();
                append(array.data(), printing, &mut stored);
                assert_eq!(stored.len() as u64, stored_bytes(&array.ty(), printing));
                let back = to_array(&array.ty(), printing, &stored).unwrap();
                assert_eq!(back.data().bytes(), array.data().bytes());
                let needed = array.data().len() * width(array.data().dtype(), printing) as usize;
                assert!(to_array(&array.ty(), printing, &stored[..needed - 1]).is_none());
            }
        }
    }
}
