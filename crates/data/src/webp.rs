//! WebP files, of which the first frame is read.

use std::io::Cursor;

use image_webp::WebPDecoder;

use crate::exif::Orientation;
use crate::picture::{MOST_HELD_PIXELS, Picture, check_size, over_white};

pub(crate) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |cause: image_webp::DecodingError| format!("is not a readable WebP image: {cause}");
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height, MOST_HELD_PIXELS)?;
    let exif = decoder.exif_metadata().map_err(damaged)?.unwrap_or_default();
    let turned = Orientation::find(exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif));
    let mut pixels = vec![0; decoder.output_buffer_size().ok_or("is too large for memory")?];
    decoder.read_image(&mut pixels).map_err(damaged)?;
    if decoder.has_alpha() {
        pixels = pixels.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|c| over_white(p[c], p[3]))).collect();
    }
    if pixels.len() != width * height * 3 {
        return Err("is a WebP image of which a part is missing; fetch or copy it again".into());
    }
    let (bytes, width, height) = turned.apply(pixels, 3, width, height);
    Ok(Picture { width, height, channels: 3, bytes })
}
