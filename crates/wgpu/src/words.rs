//! Elements as the device stores them: one 32-bit word each, bytes and truth values too, halves as the f32 that they are.

use dropforge_ir::{Array, BF16, DType, Data, F16, ValueType};

/// Bytes of a value on the device.
pub(crate) fn stored_bytes(ty: &ValueType) -> u64 {
    ty.shape.elements() as u64 * 4
}

/// Appends elements as the device stores them.
pub(crate) fn append(data: &Data, to: &mut Vec<u8>) {
    match widened(data) {
        None => to.extend_from_slice(data.bytes()),
        Some(word) => to.extend((0..data.len()).flat_map(|index| word(index).to_ne_bytes())),
    }
}

/// The word of each element of a type that is narrower than a word.
fn widened(data: &Data) -> Option<Box<dyn Fn(usize) -> u32 + '_>> {
    match data {
        Data::F16(halves) => Some(Box::new(|index| halves[index].to_f32().to_bits())),
        Data::BF16(halves) => Some(Box::new(|index| halves[index].to_f32().to_bits())),
        Data::U8(bytes) | Data::Bool(bytes) => Some(Box::new(|index| bytes[index].into())),
        Data::F32(_) | Data::I32(_) | Data::U32(_) => None,
    }
}

/// Writes elements as the device stores them into memory that is mapped for writing, which must be just as long.
pub(crate) fn write(data: &Data, mut to: wgpu::WriteOnly<'_, [u8]>) {
    let Some(word) = widened(data) else { return to.copy_from_slice(data.bytes()) };
    // Words are put together on the stack first, as mapped memory is slow to write in single bytes.
    const BLOCK: usize = 256;
    let mut words = [0u8; 4 * BLOCK];
    for start in (0..data.len()).step_by(BLOCK) {
        let count = (data.len() - start).min(BLOCK);
        for (bytes, index) in words.chunks_exact_mut(4).zip(start..start + count) {
            bytes.copy_from_slice(&word(index).to_ne_bytes());
        }
        to.slice(4 * start..4 * (start + count)).copy_from_slice(&words[..4 * count]);
    }
}

/// The array that stored bytes stand for; `None` if there are too few.
pub(crate) fn to_array(ty: &ValueType, stored: &[u8]) -> Option<Array> {
    let stored = stored.get(..stored_bytes(ty) as usize)?;
    let numbers = || stored.chunks_exact(4).map(|c| f32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
    let data = match ty.dtype {
        DType::F16 => Data::F16(numbers().map(F16::from_f32).collect()),
        DType::BF16 => Data::BF16(numbers().map(BF16::from_f32).collect()),
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
            Data::BF16((0..700).map(|i| BF16::from_bits(i * 47 % 0x7f80)).collect()),
            Data::I32(vec![-1, 7]),
            Data::U32(vec![u32::MAX, 0]),
            Data::U8(vec![255, 3]),
            Data::Bool(vec![1, 0]),
            Data::U8((0..1000).map(|i| (i % 251) as u8).collect()),
        ] {
            let array = Array::new([data.len()], data).unwrap();
            let mut stored = Vec::new();
            append(array.data(), &mut stored);
            assert_eq!(stored.len() as u64, stored_bytes(&array.ty()));
            let mut written = vec![7; stored.len()];
            write(array.data(), wgpu::WriteOnly::from_mut(written.as_mut_slice()));
            assert_eq!(written, stored);
            let back = to_array(&array.ty(), &stored).unwrap();
            assert_eq!(back.data().bytes(), array.data().bytes());
            assert!(to_array(&array.ty(), &stored[1..]).is_none());
        }
    }
}
