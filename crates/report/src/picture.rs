//! Small pictures within a page.

use dropforge::run::png;

/// A picture as a PNG file within an address; `None` for one that cannot be written.
pub fn address(shape: [usize; 3], pixels: &[f32]) -> Option<String> {
    let file = png(shape, pixels)?;
    Some(format!("data:image/png;base64,{}", base64(&file)))
}

/// Bytes in the 64 letters of RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let all = part.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for letter in 0..4 {
            let index = (all >> (18 - 6 * letter)) & 63;
            text.push(if letter <= part.len() { LETTERS[index as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_the_standard() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
