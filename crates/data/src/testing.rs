//! Helpers for the tests of this crate.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder of its own for one test, removed afterwards.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dropforge-data-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A Parquet file of the golden ones, which lie as text.
#[cfg(feature = "parquet")]
pub(crate) fn parquet(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet").join(format!("{name}.hex"));
    let digits: String = std::fs::read_to_string(path).unwrap().split_whitespace().collect();
    let byte = |place: usize| u8::from_str_radix(&digits[place..place + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|extent| file.extend_from_slice(&extent.to_be_bytes()));
    file.extend_from_slice(data);
    file
}

/// A folder of the real data sets, where the checkout has one beside it.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    path.exists().then_some(path)
}

/// The message of the error that there should be.
pub(crate) fn message<T>(result: crate::Result<T>) -> String {
    let message = result.err().expect("should be refused").to_string();
    assert!(!message.contains('\n'), "an error is one line: {message}");
    message
}

/// A PNG file of 8 bits a channel: 1 grey, 3 colour, 4 colour with transparency.
pub(crate) fn png(width: u32, height: u32, channels: usize, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

/// The smallest JPEG file there is: 8×8 grey pixels of one value, 192 to 255 or 1 to 64.
///
/// One block whose only coefficient is the mean. With a quantiser of 8 it is the value less 128; the code tables have
/// one code each, a single zero bit: "a coefficient of 7 bits follows" and "no more coefficients".
pub(crate) fn flat_jpeg(value: u8) -> Vec<u8> {
    let mean = i32::from(value) - 128;
    // Negative coefficients are stored as what they are above the least one.
    let bits = if mean < 0 { mean + 127 } else { mean } as u32;
    let scan = (bits << 8 | 0x7f) as u16;
    let mut file = vec![0xff, 0xd8];
    let mut segment = |marker: u8, body: &[u8]| {
        file.extend_from_slice(&[0xff, marker, 0, body.len() as u8 + 2]);
        file.extend_from_slice(body);
    };
    let one_code = |class: u8, symbol: u8| [&[class, 1][..], &[0; 15], &[symbol]].concat();
    segment(0xdb, &[&[0][..], &[8; 64]].concat());
    segment(0xc0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    segment(0xc4, &one_code(0x00, 7));
    segment(0xc4, &one_code(0x10, 0));
    segment(0xda, &[1, 1, 0, 0, 63, 0]);
    file.extend_from_slice(&scan.to_be_bytes());
    file.extend_from_slice(&[0xff, 0xd9]);
    file
}
