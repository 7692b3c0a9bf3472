//! Elements on their way into mapped memory; [`dropforge_wgsl::words`] says how they are stored.

use crate::printing::Printing;
use dropforge_ir::Data;
use dropforge_wgsl::words::words;
pub(crate) use dropforge_wgsl::words::{append, stored_bytes, to_array, width};

/// Writes elements as the device stores them into memory that is mapped for writing, which must be just as long.
pub(crate) fn write(data: &Data, printing: Printing, mut to: wgpu::WriteOnly<'_, [u8]>) {
    let Some((total, word)) = words(data, printing) else { return to.copy_from_slice(data.bytes()) };
    // Words are put together on the stack first, as mapped memory is slow to write in single bytes.
    const BLOCK: usize = 256;
    let mut words = [0u8; 4 * BLOCK];
    for start in (0..total).step_by(BLOCK) {
        let count = (total - start).min(BLOCK);
        for (bytes, index) in words.chunks_exact_mut(4).zip(start..start + count) {
            bytes.copy_from_slice(&word(index).to_ne_bytes());
        }
        to.slice(4 * start..4 * (start + count)).copy_from_slice(&words[..4 * count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::F16;

    #[test]
    fn what_is_written_is_what_is_appended() {
        for data in [
            Data::F32(vec![1.5, f32::NAN.copysign(-1.0)]),
            Data::F16((0..701).map(|i| F16::from_bits(i * 43)).collect()),
            Data::U8((0..1000).map(|i| (i % 251) as u8).collect()),
        ] {
            for f16 in [false, true] {
                let printing = Printing { f16, ..Printing::default() };
                let mut stored = Vec::new();
                append(&data, printing, &mut stored);
                let mut written = vec![7; stored.len()];
                write(&data, printing, wgpu::WriteOnly::from_mut(written.as_mut_slice()));
                assert_eq!(written, stored);
            }
        }
    }
}
