//! Elements as the device stores them: one 32-bit word each, bytes and truth values too.

use dropforge_ir::{Array, DType, Data, ValueType};

/// Bytes of a value on the device.
pub(crate) fn stored_bytes(ty: &ValueType) -> u64 {
    ty.shape.elements() as u64 * 4
}

/// Appends elements as the device stores them.
pub(crate) fn append(data: &Data, to: &mut Vec<u8>) {
    match data {
        Data::U8(bytes) | Data::Bool(bytes) => {
            to.extend(bytes.iter().flat_map(|&byte| u32::from(byte).to_ne_bytes()));
        }
        words => to.extend_from_slice(words.bytes()),
    }
}

/// Writes elements as the device stores them into memory that is mapped for writing, which must be just as long.
pub(crate) fn write(data: &Data, mut to: wgpu::WriteOnly<'_, [u8]>) {
    match data {
        Data::U8(bytes) | Data::Bool(bytes) => {
            // Words are put together on the stack first, as mapped memory is slow to write in single bytes.
            const BLOCK: usize = 256;
            let mut words = [0u8; 4 * BLOCK];
            for (number, block) in bytes.chunks(BLOCK).enumerate() {
                for (word, &byte) in words.chunks_exact_mut(4).zip(block) {
                    word.copy_from_slice(&u32::from(byte).to_ne_bytes());
                }
                let start = 4 * BLOCK * number;
                to.slice(start..start + 4 * block.len()).copy_from_slice(&words[..4 * block.len()]);
            }
        }
        words => to.copy_from_slice(words.bytes()),
    }
}

/// The array that stored bytes stand for; `None` if there are too few.
pub(crate) fn to_array(ty: &ValueType, stored: &[u8]) -> Option<Array> {
    let stored = stored.get(..stored_bytes(ty) as usize)?;
    let data = match ty.dtype {
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
