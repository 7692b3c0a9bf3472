//! Decoding image files, and scaling what is in them.
//!
//! No file can ask for more memory than a picture of [`MOST_PIXELS`] takes, nor for a picture that its own length
//! cannot hold. What is wrong with a file, a panic within its decoder included, is an error.

use std::io::Cursor;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::exif::Orientation;
use crate::jpeg::outline;
use crate::quiet::quietly;
use crate::{Error, Result, bmp, file, gif, webp};

/// Pixels above which a picture is refused: the largest of today's phones, 108 million, take 0.4 GB.
pub(crate) const MOST_PIXELS: usize = 1 << 27;
/// The same where a decoder holds coefficients of all pixels, or more than 8 bits of them.
pub(crate) const MOST_HELD_PIXELS: usize = 1 << 25;
/// Deflate cannot pack better than this.
const MOST_PACKED: usize = 1032;
/// File size above which a file is not read at all.
pub(crate) const MOST_BYTES: usize = 1 << 29;

/// A decoded picture, 8 bits a channel.
pub(crate) struct Picture {
    pub width: usize,
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Row by row, the channels of a pixel next to each other.
    pub bytes: Vec<u8>,
}

/// A rectangle of a picture, in pixels; may reach beyond the picture.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Picture {
    /// Decodes a file by its contents, whatever it is called. What is transparent is put on white.
    pub fn open(path: &Path) -> Result<Picture> {
        Picture::of(file::whole(path, MOST_BYTES)?, path)
    }

    /// Decodes the contents of a file; `path` is where messages say that they are from.
    pub fn of(bytes: Vec<u8>, path: &Path) -> Result<Picture> {
        let picture = match Kind::of(&bytes) {
            Some(Kind::Png) => quietly(|| decode_png(bytes)),
            Some(Kind::Jpeg) => quietly(|| decode_jpeg(&bytes)),
            Some(Kind::WebP) => quietly(|| webp::decode(&bytes)),
            Some(Kind::Gif) => quietly(|| gif::decode(&bytes)),
            Some(Kind::Bmp) => quietly(|| bmp::decode(&bytes)),
            None if bytes.is_empty() => Ok(Err("is empty".to_string())),
            None => Ok(Err(match other_kind(&bytes) {
                Some(kind) => format!("is a {kind} image; convert it to PNG or JPEG"),
                None => format!("is no image that is read ({KINDS}); remove it or copy it again"),
            })),
        };
        let gave_up = |why| Err(format!("is damaged in a way that its decoder gave up on: {why}"));
        picture.unwrap_or_else(gave_up).map_err(|reason| Error::at_file(path, reason))
    }

    /// The picture as one plane of numbers 0..1, grey by the weights of ITU-R BT.601.
    pub fn grey(&self) -> Vec<f32> {
        let mut plane = vec![0.0; self.width * self.height];
        for (y, row) in plane.chunks_exact_mut(self.width).enumerate() {
            self.grey_row(y, row);
        }
        plane
    }

    /// A row of numbers 0..1, grey by the weights of ITU-R BT.601.
    fn grey_row(&self, y: usize, out: &mut [f32]) {
        let row = &self.bytes[y * self.width * self.channels..][..self.width * self.channels];
        let pixels = out.iter_mut().zip(row.chunks_exact(self.channels));
        pixels.for_each(|(out, pixel)| {
            *out = match pixel {
                &[red, green, blue] => {
                    (0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)) / 255.0
                }
                _ => f32::from(pixel[0]) / 255.0,
            };
        });
    }

    /// One or three planes (grey, or red, green and blue) of a window, scaled as by [`scale`], without the whole
    /// picture in numbers; `out` is as long as `size` and the planes say.
    pub fn scale_into(&self, channels: usize, window: Window, size: (usize, usize), out: &mut [f32]) {
        let from = (self.width, self.height);
        match (self.channels, channels) {
            (3, 3) => scale_bytes::<3>(&self.bytes, from, window, size, out),
            (1, _) => {
                let (first, others) = out.split_at_mut(size.0 * size.1);
                scale_bytes::<1>(&self.bytes, from, window, size, first);
                others.chunks_exact_mut(size.0 * size.1).for_each(|plane| plane.copy_from_slice(first));
            }
            _ => {
                let mut row = vec![0.0; self.width];
                let grey = scale_rows(
                    |y, narrow| {
                        self.grey_row(y, &mut row);
                        narrow(&row);
                    },
                    from,
                    window,
                    size,
                    Beyond::Nothing,
                );
                out.copy_from_slice(&grey);
            }
        }
    }
}

/// Kinds of pictures that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    WebP,
    Gif,
    Bmp,
}

/// What they are called.
pub(crate) const KINDS: &str = "PNG, JPEG, WebP, GIF, BMP";

impl Kind {
    /// By the first bytes of a file.
    pub fn of(start: &[u8]) -> Option<Kind> {
        Some(match start {
            [0x89, b'P', b'N', b'G', ..] => Kind::Png,
            [0xff, 0xd8, ..] => Kind::Jpeg,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Kind::WebP,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Kind::Gif,
            // Two letters are little: the size of the header behind them is one of a few.
            [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12 | 40 | 52 | 56 | 64 | 108 | 124, 0, ..] => {
                Kind::Bmp
            }
            _ => return None,
        })
    }

    /// Whether the name of a file ends as those of pictures do.
    pub fn is_ending(ending: &str) -> bool {
        matches!(
            ending.to_ascii_lowercase().as_str(),
            "png" | "jpg" | "jpeg" | "jpe" | "jfif" | "jif" | "webp" | "gif" | "bmp" | "dib"
        )
    }
}

/// The kind of a picture that is not read, as far as its first 16 bytes tell.
pub(crate) fn other_kind(start: &[u8]) -> Option<&'static str> {
    let brand = start.get(4..12).unwrap_or_default();
    Some(match start {
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "TIFF",
        _ if brand.starts_with(b"ftypavif") => "AVIF",
        _ if brand.starts_with(b"ftyphei") || brand.starts_with(b"ftypmif1") => "HEIC",
        _ => return None,
    })
}

/// Refuses a picture without pixels, or with more than so many.
pub(crate) fn check_size(width: usize, height: usize, most: usize) -> std::result::Result<(), String> {
    match width.checked_mul(height) {
        Some(0) | None => Err(format!("is {width} × {height} pixels, there is nothing to read")),
        Some(pixels) if pixels > most => {
            Err(format!("is {width} × {height} pixels, more than {most}; make it smaller first"))
        }
        Some(_) => Ok(()),
    }
}

/// A colour of this opacity in front of white.
pub(crate) fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

fn decode_png(bytes: Vec<u8>) -> std::result::Result<Picture, String> {
    let damaged = |cause: png::DecodingError| format!("is not a readable PNG image: {cause}");
    let packed = bytes.len();
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(damaged)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    check_size(width, height, if info.bytes_per_pixel() > 3 { MOST_HELD_PIXELS } else { MOST_PIXELS })?;
    // A row has its own first byte, and pixels of less than 8 bits share one.
    if info.raw_bytes().div_ceil(MOST_PACKED) > packed {
        return Err(format!(
            "is a truncated PNG image: {packed} bytes cannot hold {width} × {height} pixels"
        ));
    }
    let turned = info.exif_metadata.as_deref().map_or_else(Orientation::default, Orientation::find);
    let size = reader.output_buffer_size().ok_or("is too large for memory")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(damaged)?;
    pixels.truncate(frame.buffer_size());
    let (channels, bytes) = match frame.color_type {
        png::ColorType::Grayscale => (1, pixels),
        png::ColorType::Rgb => (3, pixels),
        png::ColorType::GrayscaleAlpha => {
            (1, pixels.chunks_exact(2).map(|p| over_white(p[0], p[1])).collect())
        }
        png::ColorType::Rgba => {
            (3, pixels.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|c| over_white(p[c], p[3]))).collect())
        }
        png::ColorType::Indexed => return Err("is a PNG image with a palette that cannot be read".into()),
    };
    if bytes.len() != width * height * channels {
        return Err("is a PNG image of which a part is missing; fetch or copy it again".into());
    }
    let (bytes, width, height) = turned.apply(bytes, channels, width, height);
    Ok(Picture { width, height, channels, bytes })
}

fn decode_jpeg(bytes: &[u8]) -> std::result::Result<Picture, String> {
    let outline = outline(bytes)?;
    let bytes = &bytes[..outline.len];
    let turned = outline.exif.map_or_else(Orientation::default, |exif| Orientation::find(&bytes[exif]));
    // The decoder is strict, because otherwise it fills up what is missing with grey, which must not be trained on;
    // except about bytes between segments, which every other decoder passes over.
    let strict = match decode_jpeg_with(bytes, outline.progressive, true) {
        Err(reason) if reason.contains("Extra bytes between headers") => {
            decode_jpeg_with(bytes, outline.progressive, false)?
        }
        strict => strict?,
    };
    let Picture { width, height, channels, bytes } = strict;
    let (bytes, width, height) = turned.apply(bytes, channels, width, height);
    Ok(Picture { width, height, channels, bytes })
}

fn decode_jpeg_with(bytes: &[u8], progressive: bool, strict: bool) -> std::result::Result<Picture, String> {
    let damaged = |cause: &dyn std::fmt::Debug| format!("is not a readable JPEG image: {cause:?}");
    let options = DecoderOptions::default().set_strict_mode(strict);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|cause| damaged(&cause))?;
    let (width, height) = decoder.dimensions().ok_or("is a JPEG image without a size")?;
    check_size(width, height, if progressive { MOST_HELD_PIXELS } else { MOST_PIXELS })?;
    // Each block of 8 × 8 pixels takes a bit at least.
    if width.div_ceil(8) * height.div_ceil(8) > bytes.len() * 8 {
        let len = bytes.len();
        return Err(format!("is a truncated JPEG image: {len} bytes cannot hold {width} × {height} pixels"));
    }
    let (space, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let bytes = decoder.decode().map_err(|cause| damaged(&cause))?;
    if bytes.len() != width * height * channels {
        return Err("is a JPEG image in colours that cannot be read; convert it to RGB".into());
    }
    Ok(Picture { width, height, channels, bytes })
}

/// What lies beyond the edge of a picture when a window or the filter reaches there.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Beyond {
    /// Nothing: the pixels inside count alone.
    Nothing,
    /// Zeros.
    Zeros,
}

/// Scales a window of a plane `width` wide to `out_width × out_height`: bilinear when enlarging, and with a triangle as
/// wide as the output pixels when shrinking, so that nothing is skipped.
pub(crate) fn scale(
    plane: &[f32],
    width: usize,
    window: Window,
    (out_width, out_height): (usize, usize),
    beyond: Beyond,
) -> Vec<f32> {
    let height = plane.len() / width;
    let row = |y: usize, narrow: &mut dyn FnMut(&[f32])| narrow(&plane[y * width..][..width]);
    scale_rows(row, (width, height), window, (out_width, out_height), beyond)
}

/// [`scale`] where a function hands over the rows that are needed, in order.
fn scale_rows(
    mut row: impl FnMut(usize, &mut dyn FnMut(&[f32])),
    (width, height): (usize, usize),
    window: Window,
    (out_width, out_height): (usize, usize),
    beyond: Beyond,
) -> Vec<f32> {
    let columns = Filter::new(window.left, window.width, width, out_width, beyond);
    let rows = Filter::new(window.top, window.height, height, out_height, beyond);
    // Only rows that some output row needs.
    let needed = rows.span();
    let mut narrow = vec![0.0; needed.len() * out_width];
    for (y, out) in needed.clone().zip(narrow.chunks_exact_mut(out_width)) {
        row(y, &mut |row| {
            for (x, out) in out.iter_mut().enumerate() {
                let (first, weights) = columns.of(x);
                *out = weights.iter().zip(&row[first..]).map(|(weight, x)| weight * x).sum();
            }
        });
    }
    let mut scaled = vec![0.0; out_width * out_height];
    for (y, out) in scaled.chunks_exact_mut(out_width).enumerate() {
        let (first, weights) = rows.of(y);
        for (i, weight) in weights.iter().enumerate() {
            let row = &narrow[(first + i - needed.start) * out_width..][..out_width];
            out.iter_mut().zip(row).for_each(|(out, x)| *out += weight * x);
        }
    }
    scaled
}

/// [`scale`] of bytes with their channels next to each other to planes of numbers from 0 to 1. Rows come first: whole
/// runs of bytes, whatever the channels, so that little is left to do column by column.
fn scale_bytes<const CHANNELS: usize>(
    bytes: &[u8],
    (width, height): (usize, usize),
    window: Window,
    (out_width, out_height): (usize, usize),
    out: &mut [f32],
) {
    let columns = Filter::new(window.left, window.width, width, out_width, Beyond::Nothing);
    let rows = Filter::new(window.top, window.height, height, out_height, Beyond::Nothing);
    let needed = columns.span();
    let mut line = vec![0.0f32; needed.len() * CHANNELS];
    for y in 0..out_height {
        let (first, weights) = rows.of(y);
        line.fill(0.0);
        for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let row = &bytes[((first + i) * width + needed.start) * CHANNELS..][..line.len()];
            line.iter_mut().zip(row).for_each(|(sum, &byte)| *sum += weight * f32::from(byte));
        }
        for x in 0..out_width {
            let (first, weights) = columns.of(x);
            let mut sums = [0.0f32; CHANNELS];
            let pixels = line[(first - needed.start) * CHANNELS..].chunks_exact(CHANNELS);
            for (weight, pixel) in weights.iter().zip(pixels) {
                sums.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += weight * x);
            }
            for (channel, sum) in sums.into_iter().enumerate() {
                out[(channel * out_height + y) * out_width + x] = sum / 255.0;
            }
        }
    }
}

/// The pixels that make each output pixel along one axis, with their weights: as many for each.
struct Filter {
    size: usize,
    count: usize,
    firsts: Vec<usize>,
    weights: Vec<f32>,
}

impl Filter {
    fn new(start: f32, extent: f32, size: usize, out_size: usize, beyond: Beyond) -> Filter {
        let step = extent / out_size as f32;
        let reach = step.max(1.0);
        let centre = |i: usize| start + (i as f32 + 0.5) * step;
        let ends = |i: usize| ((centre(i) - reach).floor() as isize, (centre(i) + reach).ceil() as isize);
        let inside = |at: isize| at.clamp(0, size as isize);
        let spans = (0..out_size).map(ends).map(|(low, high)| inside(high) - inside(low));
        let count = spans.max().unwrap_or(0) as usize;
        let (mut firsts, mut weights) = (Vec::with_capacity(out_size), vec![0.0; out_size * count]);
        for i in 0..out_size {
            let centre = centre(i);
            let weight = |j: isize| (1.0 - (j as f32 + 0.5 - centre).abs() / reach).max(0.0);
            let (low, high) = ends(i);
            let (from, to) = (inside(low), inside(high));
            let sum: f32 = if beyond == Beyond::Zeros { low..high } else { from..to }.map(weight).sum();
            // All have room for the most.
            let first = (from as usize).min(size - count);
            for j in from..to {
                weights[i * count + j as usize - first] = weight(j) / sum.max(1e-6);
            }
            firsts.push(first);
        }
        Filter { size, count, firsts, weights }
    }

    /// The first pixel of an output pixel, and the weights from there on.
    fn of(&self, i: usize) -> (usize, &[f32]) {
        (self.firsts[i], &self.weights[i * self.count..][..self.count])
    }

    /// All pixels that are needed.
    fn span(&self) -> std::ops::Range<usize> {
        let first = self.firsts.iter().copied().min().unwrap_or(0);
        let last = self.firsts.iter().copied().max().unwrap_or(0);
        first..(last + self.count).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    /// What Pillow sees in small files of every kind (`scripts/golden_pictures.py`): a name, the file, width, height,
    /// channels and pixels.
    const GOLDEN: &str = include_str!("../tests/data/pictures.txt");

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
        (0..hexadecimal.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn every_kind_of_file_is_seen_as_pillow_sees_it() {
        let folder = Folder::new("picture-golden");
        for line in GOLDEN.lines() {
            let [name, file, width, height, channels, pixels] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let file = bytes(file);
            // What a file is called does not matter.
            let picture = Picture::open(&folder.write("picture.txt", &file)).unwrap();
            let size = [picture.width, picture.height, picture.channels];
            assert_eq!(
                size,
                [width, height, channels].map(|number| number.parse::<usize>().unwrap()),
                "{name}"
            );
            // Decoders of lossy kinds round otherwise, and spread colours of fewer pixels otherwise.
            let most = match name {
                "jpeg_subsampled" | "jpeg_cmyk" | "jpeg_restarts" | "webp" => 8,
                name if name.starts_with("jpeg") => 2,
                name if name.contains("clear") => 1,
                _ => 0,
            };
            let pairs = picture.bytes.iter().zip(bytes(pixels));
            let (at, farthest) =
                pairs.map(|(a, b)| a.abs_diff(b)).enumerate().max_by_key(|(_, far)| *far).unwrap();
            assert!(farthest <= most, "{name}: byte {at} is {farthest} away");
            // A part of a file is none, and says so.
            let half = folder.write("half.txt", &file[..file.len() / 3]);
            let message = Picture::open(&half).err().map(|error| error.to_string());
            assert!(message.is_some_and(|message| message.contains("half.txt")), "{name}");
        }
    }

    #[test]
    fn scaling_by_one_changes_nothing_and_by_half_keeps_the_mean() {
        let plane: Vec<f32> = (0..48).map(|i| (i * i % 17) as f32).collect();
        let whole = Window { left: 0.0, top: 0.0, width: 8.0, height: 6.0 };
        assert_eq!(scale(&plane, 8, whole, (8, 6), Beyond::Nothing), plane);
        let flat = scale(&[0.5; 48], 8, whole, (3, 2), Beyond::Nothing);
        assert!(flat.iter().all(|x| (x - 0.5).abs() < 1e-6));
        // A ramp stays a ramp away from the edges.
        let ramp: Vec<f32> = (0..64).map(|i| (i % 16) as f32).collect();
        let window = Window { left: 0.0, top: 0.0, width: 16.0, height: 4.0 };
        let small = scale(&ramp, 16, window, (8, 2), Beyond::Nothing);
        assert!((small[3] - 6.5).abs() < 1e-5, "{small:?}");
    }

    #[test]
    fn bytes_are_scaled_as_planes_are() {
        let bytes: Vec<u8> = (0..13 * 9 * 3).map(|i| (i * i * 7 % 251) as u8).collect();
        let colour = Picture { width: 13, height: 9, channels: 3, bytes: bytes.clone() };
        let grey = Picture { width: 13, height: 9, channels: 1, bytes: bytes[..117].to_vec() };
        let window = Window { left: 1.7, top: 0.4, width: 10.9, height: 8.2 };
        for size in [(4, 3), (13, 9), (20, 31), (1, 1)] {
            let plane = |picture: &Picture, channel: usize| {
                let numbers = picture.bytes.iter().skip(channel).step_by(picture.channels);
                let plane: Vec<f32> = numbers.map(|&byte| f32::from(byte) / 255.0).collect();
                scale(&plane, 13, window, size, Beyond::Nothing)
            };
            for picture in [&colour, &grey] {
                let mut out = vec![0.0; 3 * size.0 * size.1];
                picture.scale_into(3, window, size, &mut out);
                let expected: Vec<f32> =
                    (0..3).flat_map(|channel| plane(picture, channel % picture.channels)).collect();
                assert!(out.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{size:?}");
            }
        }
    }

    #[test]
    fn beyond_the_edge_is_zero_when_asked() {
        let window = Window { left: -4.0, top: 0.0, width: 8.0, height: 4.0 };
        let out = scale(&[1.0; 16], 4, window, (8, 4), Beyond::Zeros);
        assert_eq!(&out[..8], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
