//! BMP files (Microsoft: Bitmap Storage), but for those packed by run lengths.

use crate::picture::{MOST_PIXELS, Picture, check_size, over_white};

const TRUNCATED: &str = "is a truncated BMP image: its end is missing; fetch or copy it again";

/// Numbers of a file, little-endian.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn short(&self, at: usize) -> Result<u16, String> {
        let bytes = self.0.get(at..at + 2).ok_or(TRUNCATED)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn long(&self, at: usize) -> Result<u32, String> {
        Ok(u32::from(self.short(at)?) | u32::from(self.short(at + 2)?) << 16)
    }
}

/// How the bits of a pixel make a colour.
enum Colours {
    /// A number into a list of blue, green, red.
    Palette(Vec<[u8; 3]>),
    /// Where red, green, blue and alpha lie in the number of a pixel.
    Masks([u32; 4]),
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let numbers = Numbers(bytes);
    let start = numbers.long(10)? as usize;
    let header = numbers.long(14)? as usize;
    // The oldest header has sizes of two bytes, and colours of three.
    let old = header == 12;
    let (width, signed_height, bits, packing) = if old {
        let (width, height) = (u32::from(numbers.short(18)?), i64::from(numbers.short(20)?));
        (width as usize, height, numbers.short(24)?, 0)
    } else {
        let (width, height) = (numbers.long(18)?, i64::from(numbers.long(22)? as i32));
        (width as usize, height, numbers.short(28)?, numbers.long(30)?)
    };
    let height = signed_height.unsigned_abs() as usize;
    check_size(width, height, MOST_PIXELS)?;
    let alpha_is_told = header >= 56;
    let colours = match (bits, packing) {
        (1 | 4 | 8, 0) => {
            let size = if old { 3 } else { 4 };
            let used = if old { 0 } else { numbers.long(46)? as usize };
            let most = 1usize << bits;
            let count = if (1..=most).contains(&used) { used } else { most };
            let table = bytes.get(14 + header..).unwrap_or_default();
            let colours: Vec<[u8; 3]> =
                table.chunks_exact(size).take(count).map(|c| [c[0], c[1], c[2]]).collect();
            Colours::Palette(colours)
        }
        (16, 0) => Colours::Masks([0x7c00, 0x03e0, 0x001f, 0]),
        (24 | 32, 0) => Colours::Masks([0xff_0000, 0xff00, 0xff, 0]),
        (16 | 32, 3 | 6) => {
            let alpha = if alpha_is_told || packing == 6 { numbers.long(66)? } else { 0 };
            Colours::Masks([numbers.long(54)?, numbers.long(58)?, numbers.long(62)?, alpha])
        }
        (_, 1 | 2) => {
            return Err("is a BMP image packed by run lengths; save it without packing, or as PNG".into());
        }
        _ => {
            return Err(format!(
                "is a BMP image of {bits} bits a pixel that cannot be read; convert it to PNG"
            ));
        }
    };
    let stride = (width * usize::from(bits)).div_ceil(32) * 4;
    let rows = bytes.get(start..).unwrap_or_default();
    // The last row may lack what fills it up.
    let least = stride * (height - 1) + (width * usize::from(bits)).div_ceil(8);
    if rows.len() < least {
        return Err(TRUNCATED.into());
    }
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let from = if signed_height < 0 { y } else { height - 1 - y };
        let row = &rows[from * stride..];
        for x in 0..width {
            let number = pixel(row, x, usize::from(bits));
            match &colours {
                Colours::Palette(colours) => {
                    let Some([blue, green, red]) = colours.get(number as usize) else {
                        return Err(format!("is a damaged BMP image: it has no colour {number}"));
                    };
                    pixels.extend_from_slice(&[*red, *green, *blue]);
                }
                Colours::Masks([red, green, blue, alpha]) => {
                    let opacity = if *alpha == 0 { 255 } else { masked(number, *alpha) };
                    pixels.extend([red, green, blue].map(|mask| over_white(masked(number, *mask), opacity)));
                }
            }
        }
    }
    Ok(Picture { width, height, channels: 3, bytes: pixels })
}

/// The number of a pixel in a row that is long enough.
fn pixel(row: &[u8], x: usize, bits: usize) -> u32 {
    match bits {
        1 | 4 | 8 => {
            let byte = row[x * bits / 8];
            u32::from(byte >> (8 - bits - x * bits % 8)) & ((1 << bits) - 1)
        }
        _ => row[x * bits / 8..][..bits / 8]
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u32::from(byte)),
    }
}

/// What lies under a mask, spread to 0 to 255.
fn masked(number: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let most = u64::from(mask >> mask.trailing_zeros());
    let value = u64::from((number & mask) >> mask.trailing_zeros());
    ((value * 255 + most / 2) / most) as u8
}
