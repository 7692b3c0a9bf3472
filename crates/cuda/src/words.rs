//! Elements on their way into memory that the device copies from; `dropforge_wgsl::words` says how they are stored.

use dropforge_ir::Data;
use dropforge_wgsl::Printing;
use dropforge_wgsl::words::words;
pub use dropforge_wgsl::words::{append, stored_bytes, to_array, width};

/// Writes elements as the device stores them into memory that is just as long.
pub fn write(data: &Data, printing: Printing, to: &mut [u8]) {
    match words(data, printing) {
        None => to.copy_from_slice(data.bytes()),
        Some((_, word)) => {
            for (index, bytes) in to.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(index).to_ne_bytes());
            }
        }
    }
}
