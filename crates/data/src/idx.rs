//! The IDX format of the MNIST files: a magic number, the extents, then the bytes.

use std::path::Path;

use crate::{Error, Result, file};

/// An array of unsigned bytes from an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    /// The extents, outermost first: `[60000, 28, 28]` for images.
    pub shape: Vec<usize>,
    /// The elements, row-major; as many as the product of the extents.
    pub data: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes, plain or gzip (told by its first bytes, not by its name).
///
/// Format: two zero bytes, a type byte (8 is unsigned byte, the only one read here), the number of extents, then each
/// extent as a big-endian `u32`, then the elements.
///
/// # Errors
/// The file is missing, has another magic number or element type, has extents whose product overflows, or holds fewer
/// or more bytes than its extents say.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let mut reader = file::open(path)?;
    let magic = file::read_up_to(path, &mut reader, 4)?;
    let &[zero0, zero1, kind, rank] = magic.as_slice() else {
        return Err(Error::at_file(path, "is truncated: an IDX file has at least 4 bytes"));
    };
    if zero0 != 0 || zero1 != 0 || !(0x08..=0x0e).contains(&kind) || rank == 0 {
        return Err(Error::at_file(
            path,
            format_args!(
                "is not an IDX file: it starts with {magic:02x?}, expected [00, 00, 08, number of extents]"
            ),
        ));
    }
    if kind != 0x08 {
        return Err(Error::at_file(
            path,
            format_args!("has IDX element type {kind:#04x}; only unsigned bytes (0x08) are read"),
        ));
    }
    let extents = file::read_up_to(path, &mut reader, 4 * rank as usize)?;
    if extents.len() < 4 * rank as usize {
        return Err(Error::at_file(
            path,
            format_args!("is truncated: the header ends within its {rank} extents; fetch or copy it again"),
        ));
    }
    let shape: Vec<usize> =
        extents.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let count = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    let Some(count) = count.filter(|&count| count < isize::MAX as usize) else {
        return Err(Error::at_file(path, format_args!("has extents {shape:?}, too large to be true")));
    };
    // One byte more than there should be: finds trailing bytes, and lets gzip check its own checksum at the end.
    // Memory grows with what is there, so a header that lies about its size costs nothing.
    let data = file::read_up_to(path, &mut reader, count + 1)?;
    if data.len() < count {
        return Err(Error::at_file(
            path,
            format_args!(
                "is truncated: {} of the {count} bytes of shape {shape:?} are there; fetch or copy it again",
                data.len()
            ),
        ));
    }
    if data.len() > count {
        return Err(Error::at_file(
            path,
            format_args!("has bytes after the {count} of shape {shape:?}; it is damaged or something else"),
        ));
    }
    Ok(Idx { shape, data })
}
