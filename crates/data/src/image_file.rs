//! One image file as the input of a network.

use std::path::Path;

use crate::picture::{Beyond, Picture, Window, scale};
use crate::{Error, Result};

/// Reads a PNG or JPEG file as `channels × height × width` numbers from 0 to 1, row-major, not normalised.
///
/// `channels` is 1 (grey, by the weights 0.299, 0.587, 0.114) or 3 (red, green, blue). The largest centred part with
/// the wanted proportions is taken and scaled, bilinear and without skipping pixels. What is transparent is put on
/// white. 16-bit PNG is read as 8 bits; a rotation noted in EXIF is not applied.
///
/// # Errors
/// The file is missing, no PNG or JPEG, damaged, truncated or above 2^27 pixels; `channels` is neither 1 nor 3; or
/// `height` or `width` is 0 or above 16,384.
pub fn read_image(path: impl AsRef<Path>, channels: usize, height: usize, width: usize) -> Result<Vec<f32>> {
    check_shape(channels, height, width)?;
    let mut image = vec![0.0; channels * height * width];
    read_image_into(path.as_ref(), &[channels, height, width], &mut image)?;
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

/// [`read_image`] into memory that is there. The shape has been checked and `out` is as long as it says.
pub(crate) fn read_image_into(
    path: &Path,
    &[channels, height, width]: &[usize; 3],
    out: &mut [f32],
) -> Result<()> {
    let picture = Picture::open(path)?;
    let window = centred(&picture, height, width);
    for (plane, out) in picture.planes(channels).iter().zip(out.chunks_exact_mut(height * width)) {
        out.copy_from_slice(&scale(plane, picture.width, window, (width, height), Beyond::Nothing));
    }
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

    #[test]
    fn bad_files_are_named() {
        let folder = Folder::new("image-bad");
        let whole = png(20, 20, 3, &(0..1200).map(|i| (i * 7 % 251) as u8).collect::<Vec<_>>());
        let jpeg = flat_jpeg(100);
        let cases: [(&[u8], &str); 6] = [
            (b"", "is empty"),
            (b"GIF89a", "neither a PNG nor a JPEG"),
            (&whole[..whole.len() / 2], "not a readable PNG"),
            (&whole[..20], "not a readable PNG"),
            (&jpeg[..jpeg.len() - 2], "truncated JPEG"),
            (&[0xff, 0xd8, 0xff, 0xda, 0xff, 0xd9], "not a readable JPEG"),
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
