//! How a camera was held, from the Exif data of a picture.

/// One of the eight ways in which the stored picture is turned or mirrored (TIFF 6.0, tag 274).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Orientation {
    /// Rows and columns change places, before the others.
    pub transposed: bool,
    /// Left and right change places.
    pub mirrored: bool,
    /// Above and below change places.
    pub flipped: bool,
}

impl Orientation {
    /// From Exif data, which begin with a TIFF header; upright if they say nothing or are damaged.
    pub fn find(tiff: &[u8]) -> Orientation {
        match orientation_tag(tiff) {
            Some(2) => Orientation { mirrored: true, ..Default::default() },
            Some(3) => Orientation { mirrored: true, flipped: true, transposed: false },
            Some(4) => Orientation { flipped: true, ..Default::default() },
            Some(5) => Orientation { transposed: true, ..Default::default() },
            Some(6) => Orientation { transposed: true, mirrored: true, flipped: false },
            Some(7) => Orientation { transposed: true, mirrored: true, flipped: true },
            Some(8) => Orientation { transposed: true, flipped: true, mirrored: false },
            _ => Orientation::default(),
        }
    }

    /// The pixels of a picture as it is meant to be seen, `channels` bytes each, and its width and height.
    pub fn apply(
        self,
        bytes: Vec<u8>,
        channels: usize,
        width: usize,
        height: usize,
    ) -> (Vec<u8>, usize, usize) {
        let Orientation { transposed, mirrored, flipped } = self;
        if self == Orientation::default() {
            return (bytes, width, height);
        }
        let (to_width, to_height) = if transposed { (height, width) } else { (width, height) };
        let mut turned = Vec::with_capacity(bytes.len());
        for y in 0..to_height {
            let y = if flipped { to_height - 1 - y } else { y };
            for x in 0..to_width {
                let x = if mirrored { to_width - 1 - x } else { x };
                let (from_x, from_y) = if transposed { (y, x) } else { (x, y) };
                let at = (from_y * width + from_x) * channels;
                turned.extend_from_slice(&bytes[at..at + channels]);
            }
        }
        (turned, to_width, to_height)
    }
}

fn orientation_tag(tiff: &[u8]) -> Option<u16> {
    let big = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = [*tiff.get(at)?, *tiff.get(at.checked_add(1)?)?];
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |at: usize| {
        let (first, second) = (u32::from(short(at)?), u32::from(short(at + 2)?));
        Some(if big { first << 16 | second } else { second << 16 | first })
    };
    // The first directory: a count, then entries of tag, type (3 is a 16-bit number), count and value.
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries).map(|i| directory + 2 + 12 * i).find(|&at| short(at) == Some(0x0112))?;
    (short(entry + 2)? == 3).then(|| short(entry + 8))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiff(value: u8, big: bool) -> Vec<u8> {
        match big {
            true => [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[value, 0, 0]].concat(),
            false => [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[value, 0, 0, 0]].concat(),
        }
    }

    #[test]
    fn all_eight() {
        // The picture 1 2 3 / 4 5 6, as Pillow's `ImageOps.exif_transpose` turns it.
        let expected: [(&[u8], usize); 8] = [
            (&[1, 2, 3, 4, 5, 6], 3),
            (&[3, 2, 1, 6, 5, 4], 3),
            (&[6, 5, 4, 3, 2, 1], 3),
            (&[4, 5, 6, 1, 2, 3], 3),
            (&[1, 4, 2, 5, 3, 6], 2),
            (&[4, 1, 5, 2, 6, 3], 2),
            (&[6, 3, 5, 2, 4, 1], 2),
            (&[3, 6, 2, 5, 1, 4], 2),
        ];
        for (value, (pixels, width)) in (1..).zip(expected) {
            for big in [false, true] {
                let orientation = Orientation::find(&tiff(value, big));
                let (turned, to_width, _) = orientation.apply(vec![1, 2, 3, 4, 5, 6], 1, 3, 2);
                assert_eq!((turned.as_slice(), to_width), (pixels, width), "orientation {value}");
            }
        }
    }

    #[test]
    fn damaged_data_say_nothing() {
        let whole = tiff(3, true);
        for len in 0..whole.len() - 3 {
            assert_eq!(Orientation::find(&whole[..len]), Orientation::default());
        }
        assert_eq!(Orientation::find(b"II*\0\xff\xff\xff\xff"), Orientation::default());
        assert_eq!(Orientation::find(&tiff(9, false)), Orientation::default());
    }
}
