//! A file in the file of a run: packed, and in letters and digits, since runs are written as text.

use std::io::{Read, Write};

use crate::{Error, Result};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A text as gzip in base64 (RFC 4648), without padding.
pub(super) fn pack(text: &str) -> String {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let packed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    // Memory can always be written to.
    let packed = packed.unwrap_or_default();
    let mut letters = String::with_capacity(packed.len().div_ceil(3) * 4);
    for three in packed.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
        letters.extend((0..=three.len()).map(digit));
    }
    letters
}

/// The text again, which takes so many bytes at most.
///
/// # Errors
/// It is none that was packed.
pub(super) fn unpack(letters: &str, most_bytes: usize) -> Result<String> {
    let damaged = || Error::new("a tokenizer that a run keeps is damaged; restore the run from a copy");
    let mut packed = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    for four in letters.as_bytes().chunks(4) {
        let digit = |letter: &u8| DIGITS.iter().position(|known| known == letter).ok_or_else(damaged);
        let digits = four.iter().map(digit).collect::<Result<Vec<usize>>>()?;
        let bits = digits.iter().fold(0, |bits, &digit| bits << 6 | digit as u32) << (6 * (4 - digits.len()));
        packed.extend_from_slice(&bits.to_be_bytes()[1..digits.len().max(1)]);
    }
    let mut text = String::new();
    let limit = most_bytes as u64 + 1;
    flate2::read::GzDecoder::new(&packed[..]).take(limit).read_to_string(&mut text).map_err(|_| damaged())?;
    if text.len() > most_bytes { Err(damaged()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    #[test]
    fn what_is_packed_comes_back() {
        for text in ["", "a", "ab", "{\"ä\": [1, 2, 3]}", &"long and the same ".repeat(1000)] {
            let packed = pack(text);
            assert!(packed.bytes().all(|letter| DIGITS.contains(&letter)));
            assert_eq!(unpack(&packed, 1 << 20).unwrap(), text);
            assert!(text.len() < 100 || packed.len() * 20 < text.len());
        }
        let packed = pack("a text");
        for damaged in ["?", "", &packed[..packed.len() - 9], &packed.replace('A', "B")] {
            assert!(message(unpack(damaged, 100)).contains("is damaged"), "{damaged}");
        }
        assert!(message(unpack(&packed, 3)).contains("is damaged"));
    }
}
