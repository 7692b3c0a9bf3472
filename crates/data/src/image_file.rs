//! One image file as the input of a network.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::picture::{MOST_BYTES, Picture, Window};
use crate::{Error, Result, file};

/// Reads an image file (PNG, JPEG, WebP, GIF, BMP) as `channels × height × width` numbers from 0 to 1, row-major, not
/// normalised.
///
/// `channels` is 1 (grey, by the weights 0.299, 0.587, 0.114) or 3 (red, green, blue). The largest centred part with
/// the wanted proportions is taken and scaled, bilinear and without skipping pixels. What is transparent is put on
/// white; of animations the first frame is read. 16-bit PNG is read as 8 bits, colour profiles do not matter. A picture
/// that was noted in Exif to be turned or mirrored is set upright; what phones append behind a JPEG is passed over.
///
/// ```no_run
/// let pixels = dropforge_data::read_image("photo.jpg", 3, 64, 64)?;
/// assert_eq!(pixels.len(), 3 * 64 * 64);
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// The file is missing, no regular file, no image of these kinds, damaged, truncated or above 2^27 pixels (2^25 if it
/// is a progressive JPEG, WebP or GIF, or has more than 3 bytes a pixel); `channels` is neither 1 nor 3; or `height` or
/// `width` is 0 or above 16,384.
pub fn read_image(path: impl AsRef<Path>, channels: usize, height: usize, width: usize) -> Result<Vec<f32>> {
    check_shape(channels, height, width)?;
    let mut image = vec![0.0; channels * height * width];
    read_image_into(&Place::of_file(path), &[channels, height, width], &mut image)?;
    Ok(image)
}

/// Checks the shape that an image is to have.
pub(crate) fn check_shape(channels: usize, height: usize, width: usize) -> Result<()> {
    const MOST: usize = 1 << 14;
    if !matches!(channels, 1 | 3) {
        return Err(Error::new(format!(
            "an image of {channels} channels is asked for: use 1 (grey) or 3 (colour)"
        )));
    }
    if !(1..=MOST).contains(&height) || !(1..=MOST).contains(&width) {
        return Err(Error::new(format!(
            "an image of {height} × {width} pixels is asked for: use 1 to {MOST} for height and width"
        )));
    }
    Ok(())
}

/// Where the contents of an image file lie: in a file of their own, or in a part of another.
#[derive(Clone)]
pub(crate) struct Place {
    pub path: PathBuf,
    /// The name within an archive, and its first byte and length there.
    pub within: Option<(String, u64, u64)>,
}

impl Place {
    pub fn of_file(path: impl AsRef<Path>) -> Place {
        Place { path: path.as_ref().to_path_buf(), within: None }
    }

    /// What messages call it.
    pub fn shown(&self) -> Cow<'_, Path> {
        match &self.within {
            Some((name, ..)) => self.path.join(name).into(),
            None => self.path.as_path().into(),
        }
    }

    pub fn open(&self) -> Result<Picture> {
        match &self.within {
            Some((_, start, len)) => {
                Picture::of(file::part(&self.path, *start, *len, MOST_BYTES)?, &self.shown())
            }
            None => Picture::open(&self.path),
        }
    }

    /// The first bytes, at most `len`.
    pub fn start(&self, len: usize) -> Result<Vec<u8>> {
        match &self.within {
            Some((_, start, all)) => file::part(&self.path, *start, (len as u64).min(*all), len),
            None => file::start(&self.path, len),
        }
    }
}

/// [`read_image`] into memory that is there. The shape has been checked and `out` is as long as it says.
pub(crate) fn read_image_into(
    place: &Place,
    &[channels, height, width]: &[usize; 3],
    out: &mut [f32],
) -> Result<()> {
    let picture = place.open()?;
    picture.scale_into(channels, centred(&picture, height, width), (width, height), out);
    Ok(())
}

/// The largest centred part of a picture with the proportions of `height × width`.
fn centred(picture: &Picture, height: usize, width: usize) -> Window {
    let (full_width, full_height) = (picture.width as f32, picture.height as f32);
    let pixel = (full_width / width as f32).min(full_height / height as f32);
    let (part_width, part_height) = (pixel * width as f32, pixel * height as f32);
    Window {
        left: (full_width - part_width) / 2.0,
        top: (full_height - part_height) / 2.0,
        width: part_width,
        height: part_height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, flat_jpeg, message, png, shared};

    #[test]
    fn colours_and_grey() {
        let folder = Folder::new("image");
        let red_blue = png(2, 1, 3, &[255, 0, 0, 0, 0, 255]);
        let path = folder.write("a.png", &red_blue);
        assert_eq!(read_image(&path, 3, 1, 2).unwrap(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(read_image(&path, 1, 1, 2).unwrap(), [0.299, 0.114]);
        let grey = folder.write("grey.png", &png(1, 1, 1, &[51]));
        assert_eq!(read_image(&grey, 3, 1, 1).unwrap(), [0.2; 3]);
        let clear = folder.write("clear.png", &png(1, 1, 4, &[0, 0, 0, 0]));
        assert_eq!(read_image(&clear, 1, 1, 1).unwrap(), [1.0]);
    }

    #[test]
    fn jpeg_whatever_it_is_called() {
        let folder = Folder::new("image-jpeg");
        let path = folder.write("a.png", &flat_jpeg(228));
        let image = read_image(&path, 1, 4, 4).unwrap();
        assert!(image.iter().all(|x| (x - 228.0 / 255.0).abs() < 0.005), "{image:?}");
    }

    #[test]
    fn the_middle_part_is_taken() {
        let folder = Folder::new("image-middle");
        let path = folder.write("wide.png", &png(4, 2, 1, &[0, 255, 255, 0, 0, 255, 255, 0]));
        let image = read_image(&path, 1, 2, 2).unwrap();
        assert_eq!(image, [1.0; 4]);
    }

    /// A PNG whose palette is not a whole number of colours.
    fn bad_palette() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(vec![7; 10]);
        encoder.write_header().unwrap().write_image_data(&[3; 64]).unwrap();
        bytes
    }

    #[test]
    fn a_picture_stands_as_the_camera_was_held() {
        let folder = Folder::new("image-exif");
        let pixels = [0, 64, 128, 255];
        let mut bytes = Vec::new();
        let mut info = png::Info::with_size(2, 2);
        info.color_type = png::ColorType::Grayscale;
        info.bit_depth = png::BitDepth::Eight;
        info.exif_metadata = Some(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0"[..].into());
        let encoder = png::Encoder::with_info(&mut bytes, info).unwrap();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        let image = read_image(folder.write("turned.png", &bytes), 1, 2, 2).unwrap();
        assert_eq!(image, [255, 128, 64, 0].map(|x: u8| f32::from(x) / 255.0));
    }

    #[test]
    fn a_header_cannot_ask_for_more_than_the_file_can_hold() {
        let folder = Folder::new("image-bomb");
        let mut jpeg = flat_jpeg(200);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x2d, 0x41, 0x2d, 0x41]);
        let error = message(read_image(folder.write("large.jpg", &jpeg), 1, 8, 8));
        assert!(
            error.contains("large.jpg: is a truncated JPEG") && error.contains("11585 × 11585"),
            "{error}"
        );
        // A few blocks are missing, not most of them.
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0, 64, 0, 64]);
        let error = message(read_image(folder.write("short.jpg", &jpeg), 1, 8, 8));
        assert!(error.contains("not a readable JPEG"), "{error}");
        let mut png = png(20, 20, 1, &[9; 400]);
        png[16..24].copy_from_slice(&[0, 0, 0x2d, 0x41, 0, 0, 0x2d, 0x41]);
        let crc = crc(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = message(read_image(folder.write("large.png", &png), 1, 8, 8));
        assert!(error.contains("is a truncated PNG"), "{error}");
    }

    /// The check sum of PNG chunks.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0xedb8_8320))
        })
    }

    #[test]
    fn bad_files_are_named() {
        let folder = Folder::new("image-bad");
        let whole = png(20, 20, 3, &(0..1200).map(|i| (i * 7 % 251) as u8).collect::<Vec<_>>());
        let jpeg = flat_jpeg(100);
        let panics = bad_palette();
        let cases: [(&[u8], &str); 7] = [
            (&panics, "damaged in a way that its decoder gave up on"),
            (b"", "is empty"),
            (b"II*\0....", "is a TIFF image; convert it"),
            (&whole[..whole.len() / 2], "not a readable PNG"),
            (&whole[..20], "not a readable PNG"),
            (&jpeg[..jpeg.len() - 2], "truncated JPEG"),
            (&[0xff, 0xd8, 0xff, 0xda, 0, 2, 0xff, 0xd9], "not a readable JPEG"),
        ];
        for (i, (bytes, expected)) in cases.into_iter().enumerate() {
            let name = format!("case-{i}.png");
            let message = message(read_image(folder.write(&name, bytes), 1, 8, 8));
            assert!(message.contains(expected) && message.contains(&name), "case {i}: {message}");
        }
        let good = folder.write("good.png", &whole);
        assert!(message(read_image(&good, 2, 8, 8)).contains("2 channels"));
        assert!(message(read_image(&good, 1, 0, 8)).contains("0 × 8"));
        assert!(
            message(read_image(folder.path().join("none.png"), 1, 8, 8)).contains("none.png: cannot open")
        );
    }

    #[test]
    fn a_real_photograph() {
        let Some(path) = shared("cats-dogs/cat/Abyssinian_63.jpg") else { return };
        let image = read_image(&path, 3, 64, 64).unwrap();
        let mean = image.iter().sum::<f32>() / image.len() as f32;
        assert!((0.1..0.9).contains(&mean) && image.iter().all(|x| (0.0..=1.0).contains(x)));
        let bytes = std::fs::read(path).unwrap();
        let folder = Folder::new("image-real");
        let half = folder.write("half.jpg", &bytes[..bytes.len() / 2]);
        assert!(message(read_image(half, 3, 64, 64)).contains("truncated"));
    }
}
