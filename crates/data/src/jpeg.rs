//! The segments of a JPEG file: where the picture ends, how it is turned, how it is coded.

/// What the markers of a file say, without decoding it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outline {
    /// Bytes up to and with the end marker. What follows is not part of the picture: phones append films there.
    pub len: usize,
    /// The contents of the first Exif segment, from its TIFF header on.
    pub exif: Option<std::ops::Range<usize>>,
    /// Whether it is coded in several passes over all pixels, which a decoder has to hold as coefficients.
    pub progressive: bool,
}

const TRUNCATED: &str = "is a truncated JPEG image: its end is missing; fetch or copy it again";

/// Walks over the segments from the start to the first end marker. Thumbnails and other pictures lie within segments or
/// behind the end, so that their markers are never met.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline, String> {
    let mut outline = Outline::default();
    let mut at = 2;
    loop {
        // What lies before the next marker are coded pixels, in which FF is followed by 00 or a restart marker.
        at += bytes[at.min(bytes.len())..].iter().position(|&byte| byte == 0xff).ok_or(TRUNCATED)?;
        let marker = *bytes.get(at + 1).ok_or(TRUNCATED)?;
        match marker {
            // FF before a marker is filling.
            0xff => at += 1,
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            0xd9 => {
                outline.len = at + 2;
                return Ok(outline);
            }
            _ => {
                let &[high, low] = bytes.get(at + 2..at + 4).ok_or(TRUNCATED)? else {
                    return Err(TRUNCATED.into());
                };
                let len = usize::from(high) << 8 | usize::from(low);
                let segment = at + 4..at + 2 + len.max(2);
                let contents = bytes.get(segment.clone()).ok_or(TRUNCATED)?;
                match marker {
                    0xe1 if outline.exif.is_none() && contents.starts_with(b"Exif\0\0") => {
                        outline.exif = Some(segment.start + 6..segment.end);
                    }
                    0xc2 | 0xc6 | 0xca | 0xce => outline.progressive = true,
                    _ => {}
                }
                at = segment.end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::flat_jpeg;

    #[test]
    fn what_follows_the_end_does_not_matter() {
        let jpeg = flat_jpeg(200);
        for tail in
            [&b""[..], b"\xff\xda\xff", b"\0\0\0\x18ftypmp42\xff\xda\0\x0c\xff\xd8\xff\xd9\xff\xda", &jpeg]
        {
            let file = [&jpeg[..], tail].concat();
            assert_eq!(outline(&file).unwrap(), Outline { len: jpeg.len(), exif: None, progressive: false });
        }
    }

    #[test]
    fn markers_within_segments_do_not_matter() {
        let jpeg = flat_jpeg(200);
        // A thumbnail with an end of its own.
        let thumbnail = [&b"\xff\xe1\0\x0eExif\0\0\xff\xd8\xff\xd9\xff\xda"[..], &jpeg[2..]].concat();
        let file = [&jpeg[..2], &thumbnail].concat();
        let found = outline(&file).unwrap();
        assert_eq!((found.len, found.exif), (file.len(), Some(12..18)));
    }

    #[test]
    fn every_shorter_file_is_truncated() {
        let jpeg = flat_jpeg(200);
        for len in 2..jpeg.len() {
            assert!(outline(&jpeg[..len]).is_err(), "{len} bytes");
        }
    }
}
