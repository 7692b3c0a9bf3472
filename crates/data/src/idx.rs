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

/// More is hardly one of these data sets; EMNIST, the largest, has half of it.
const MOST_BYTES: usize = 1 << 30;

/// Reads an IDX file of unsigned bytes, plain or gzip (told by its first bytes, not by its name).
///
/// Format: two zero bytes, a type byte (8 is unsigned byte, the only one read here), the number of extents, then each
/// extent as a big-endian `u32`, then the elements.
///
/// # Errors
/// The file is missing, has another magic number or element type, has extents of more than 1 GiB, or holds fewer or
/// more bytes than its extents say.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Idx> {
    read_idx_of(path.as_ref(), |_| Ok(()))
}

/// [`read_idx`] where the extents are looked at before anything else is read.
pub(crate) fn read_idx_of(path: &Path, check: impl FnOnce(&[usize]) -> Result<()>) -> Result<Idx> {
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
    let Some(count) = count.filter(|&count| count <= MOST_BYTES) else {
        return Err(Error::at_file(path, format_args!("has extents {shape:?}, which is more than 1 GiB")));
    };
    check(&shape)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, gzip, idx, message};

    #[test]
    fn plain_and_packed_alike() {
        let folder = Folder::new("idx");
        let bytes = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = Idx { shape: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(read_idx(folder.write("plain.gz", &bytes)).unwrap(), expected);
        assert_eq!(read_idx(folder.write("packed", &gzip(&bytes))).unwrap(), expected);
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let folder = Folder::new("idx-bad");
        let good = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let packed = gzip(&good);
        let mut corrupt = packed.clone();
        let at = corrupt.len() - 6; // in the checksum at the end
        corrupt[at] ^= 1;
        let mut long = good.clone();
        long.push(0);
        let cases: [(&[u8], &str); 12] = [
            (&[], "at least 4 bytes"),
            (&good[..3], "at least 4 bytes"),
            (&good[..9], "within its 2 extents"),
            (&good[..17], "5 of the 6 bytes of shape [2, 3]"),
            (&long, "bytes after the 6"),
            (b"\x89PNG\r\n", "not an IDX file: it starts with [89, 50, 4e, 47]"),
            (&[0, 0, 8, 0], "not an IDX file"),
            (&[0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0], "element type 0x0d"),
            (&idx(&[u32::MAX; 3], &[]), "more than 1 GiB"),
            (&idx(&[1 << 30], &[]), "0 of the 1073741824 bytes"),
            (&packed[..packed.len() - 4], "truncated"),
            (&corrupt, "cannot read it"),
        ];
        for (i, (bytes, expected)) in cases.into_iter().enumerate() {
            let name = format!("case-{i}");
            let message = message(read_idx(folder.write(&name, bytes)));
            assert!(message.contains(expected) && message.contains(&name), "case {i}: {message}");
        }
        assert!(message(read_idx(folder.path().join("missing"))).contains("cannot open it"));
        assert!(message(read_idx(folder.path())).contains("is a folder"));
    }
}
