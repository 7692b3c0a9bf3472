//! NumPy's files: `.npy` holds one array, `.npz` several in a zip archive.
//!
//! The formats are those of NumPy's documentation of `numpy.lib.format` and of PKWARE's APPNOTE 6.3, without the
//! extensions for files beyond 4 GB.

use super::Tensor;
use crate::error::{Error, Result};
use crate::file::{self, FileKind};
use dropforge_ir::{Array, DType, Data, F16, Shape};
use flate2::Crc;
use std::io::Read;
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

impl Tensor {
    /// Writes the elements to an `.npy` file, which NumPy reads with `np.load`. NumPy has no bf16; it becomes f32,
    /// which holds all of its numbers.
    ///
    /// # Errors
    /// If the file cannot be written, something else has its name ([`file::write`]), or as [`Tensor::to_array`].
    pub fn save_npy(&self, path: impl AsRef<Path>) -> Result<()> {
        write(path.as_ref(), FileKind::Npy, &encode(&self.to_array()?))
    }

    /// Reads an `.npy` file. f64 is rounded to f32; integers that have no type here become i32.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, holds elements of a type that does not exist here (complex numbers,
    /// text, dates), or integers beyond i32.
    pub fn load_npy(path: impl AsRef<Path>) -> Result<Tensor> {
        let path = path.as_ref();
        decode(&read(path)?).map_err(|message| Error::file(format!("{}: {message}", path.display())))
    }

    /// Writes tensors to an `.npz` file under their names, which NumPy reads with `np.load`; not compressed.
    ///
    /// # Errors
    /// If a name is used twice, the file would be larger than 4 GB or cannot be written, or as [`Tensor::to_array`].
    pub fn save_npz(path: impl AsRef<Path>, tensors: &[(&str, &Tensor)]) -> Result<()> {
        let path = path.as_ref();
        let mut archive = Archive::default();
        for (place, (name, tensor)) in tensors.iter().enumerate() {
            if tensors[..place].iter().any(|(other, _)| other == name) {
                return Err(Error::file(format!("{}: the name {name:?} is used twice", path.display())));
            }
            let added = archive.add(&format!("{name}.npy"), &encode(&tensor.to_array()?));
            added.map_err(|message| Error::file(format!("{}: {message}", path.display())))?;
        }
        write(path, FileKind::Npz, &archive.finish())
    }

    /// Reads all arrays of an `.npz` file with their names, compressed or not, as [`Tensor::load_npy`] does.
    ///
    /// # Errors
    /// As [`Tensor::load_npy`], with the name of the array.
    pub fn load_npz(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let failed = |message: String| Error::file(format!("{}: {message}", path.display()));
        let mut tensors = Vec::new();
        for entry in entries(&bytes).map_err(failed)? {
            let name = entry.name.strip_suffix(".npy").unwrap_or(&entry.name).to_string();
            let tensor = entry.contents(&bytes).and_then(|contents| decode(&contents));
            tensors.push((name.clone(), tensor.map_err(|message| failed(format!("{name}: {message}")))?));
        }
        Ok(tensors)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io(&format!("cannot read {}", path.display()), error);
    // A pipe would wait for ever, a device may never end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::file(format!("{}: is no regular file", path.display())));
    }
    std::fs::read(path).map_err(failed)
}

fn write(path: &Path, kind: FileKind, bytes: &[u8]) -> Result<()> {
    file::write(path, kind, |out| out.write_all(bytes).map_err(|error| Error::io("cannot write it", error)))
}

/// An array as the contents of an `.npy` file.
fn encode(array: &Array) -> Vec<u8> {
    let data = match array.data() {
        Data::BF16(_) => Data::F32(array.to_f32().unwrap_or_default()),
        data => data.clone(),
    };
    let code = match data.dtype() {
        DType::F32 | DType::BF16 => "<f4",
        DType::F16 => "<f2",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::U8 => "|u1",
        DType::Bool => "|b1",
    };
    let extents: String = array.shape().iter().map(|extent| format!("{extent}, ")).collect();
    // A tuple of one keeps its comma.
    let extents = if array.shape().rank() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{code}', 'fortran_order': False, 'shape': ({extents}), }}");
    // Magic, version, length and header take a multiple of 64 bytes and end with a new line.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(little_endian(&data));
    bytes
}

fn little_endian(data: &Data) -> Vec<u8> {
    match data {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F16(v) => v.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect(),
        Data::BF16(v) => v.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U8(v) | Data::Bool(v) => v.clone(),
    }
}

/// What the contents of an `.npy` file hold.
fn decode(bytes: &[u8]) -> std::result::Result<Tensor, String> {
    let damaged = || "the header is damaged".to_string();
    let rest = bytes.strip_prefix(MAGIC).ok_or("it is no .npy file")?;
    let (&version, rest) = (rest.first().ok_or_else(damaged)?, rest.get(2..).ok_or_else(damaged)?);
    let (length, rest) = if version == 1 {
        let length = rest.get(..2).ok_or_else(damaged)?;
        (usize::from(u16::from_le_bytes([length[0], length[1]])), &rest[2..])
    } else {
        let length = rest.get(..4).ok_or_else(damaged)?;
        (u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize, &rest[4..])
    };
    let header = std::str::from_utf8(rest.get(..length).ok_or_else(damaged)?).map_err(|_| damaged())?;
    let elements = &rest[length..];
    let code = field(header, "descr").ok_or_else(damaged)?.trim_matches(['\'', '"']);
    let is_reversed = field(header, "fortran_order").ok_or_else(damaged)?.starts_with("True");
    let extents = header.split_once("'shape'").and_then(|(_, rest)| rest.split_once('(')?.1.split_once(')'));
    let mut extents: Vec<usize> = extents
        .ok_or_else(damaged)?
        .0
        .split(',')
        .filter(|extent| !extent.trim().is_empty())
        .map(|extent| extent.trim().trim_end_matches('L').parse().map_err(|_| damaged()))
        .collect::<std::result::Result<_, _>>()?;
    let rank = extents.len();
    if is_reversed {
        extents.reverse();
    }
    let shape = Shape::from(extents);
    let data = elements_of(code, elements, shape.elements())?;
    let array = Array::new(shape, data).ok_or_else(damaged)?;
    let tensor = Tensor::from_array(array);
    Ok(if is_reversed { tensor.permute(&(0..rank).rev().collect::<Vec<_>>()) } else { tensor })
}

/// The text of a field of the header up to the next comma.
fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{name}'"))?;
    Some(rest.trim_start_matches([':', ' ']).split_once([',', '}'])?.0.trim())
}

/// `count` elements of a type as NumPy writes it: order of bytes, kind, size.
fn elements_of(code: &str, bytes: &[u8], count: usize) -> std::result::Result<Data, String> {
    let unknown = || format!("elements of type {code:?} have no counterpart here");
    let (order, kind) = (code.get(..1).ok_or_else(unknown)?, code.get(1..2).ok_or_else(unknown)?);
    let size: usize = code.get(2..).and_then(|size| size.parse().ok()).ok_or_else(unknown)?;
    if !matches!(size, 1 | 2 | 4 | 8) {
        return Err(unknown());
    }
    let needed = count.checked_mul(size).filter(|&needed| needed <= bytes.len());
    let needed = needed.ok_or_else(|| format!("{count} elements of {size} bytes are missing in part"))?;
    // Each element with its lowest byte first, in 8 bytes.
    let words = bytes[..needed].chunks_exact(size).map(|chunk| {
        let mut word = [0; 8];
        word[..size].copy_from_slice(chunk);
        if order == ">" {
            word[..size].reverse();
        }
        u64::from_le_bytes(word)
    });
    let integer = |number: i64| {
        i32::try_from(number).map_err(|_| format!("{number} is no i32, which integers are read as"))
    };
    Ok(match (kind, size) {
        ("f", 4) => Data::F32(words.map(|word| f32::from_bits(word as u32)).collect()),
        ("f", 2) => Data::F16(words.map(|word| F16::from_bits(word as u16)).collect()),
        ("f", 8) => Data::F32(words.map(|word| f64::from_bits(word) as f32).collect()),
        ("b", 1) => Data::Bool(words.map(|word| u8::from(word != 0)).collect()),
        ("u", 1) => Data::U8(words.map(|word| word as u8).collect()),
        ("u", 4) => Data::U32(words.map(|word| word as u32).collect()),
        ("i", 4) => Data::I32(words.map(|word| word as u32 as i32).collect()),
        ("i", _) => {
            let unused = 64 - 8 * size as u32;
            let numbers = words.map(|word| integer((word << unused) as i64 >> unused));
            Data::I32(numbers.collect::<std::result::Result<_, _>>()?)
        }
        ("u", _) => {
            let numbers = words.map(|word| integer(i64::try_from(word).unwrap_or(i64::MAX)));
            Data::I32(numbers.collect::<std::result::Result<_, _>>()?)
        }
        _ => return Err(unknown()),
    })
}

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// The first of January 1980, the earliest day that the format knows: files with equal contents are equal.
const DAY: u16 = 0x21;

/// A zip archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Archive {
    fn add(&mut self, name: &str, contents: &[u8]) -> std::result::Result<(), String> {
        let too_large = || "an .npz file beyond 4 GB cannot be written; use several".to_string();
        let start = u32::try_from(self.bytes.len()).map_err(|_| too_large())?;
        let length = u32::try_from(contents.len()).map_err(|_| too_large())?;
        let name_length = u16::try_from(name.len()).map_err(|_| format!("the name {name:?} is too long"))?;
        let mut check = Crc::new();
        check.update(contents);
        // Version 2.0, names in UTF-8, stored as they are.
        let mut common = Vec::new();
        for field in [20, 1 << 11, 0, 0, DAY] {
            common.extend(u16::to_le_bytes(field));
        }
        for field in [check.sum(), length, length] {
            common.extend(field.to_le_bytes());
        }
        common.extend(name_length.to_le_bytes());
        common.extend([0, 0]);
        self.bytes.extend(LOCAL.to_le_bytes());
        self.bytes.extend(&common);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(contents);
        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(20u16.to_le_bytes());
        self.directory.extend(&common);
        // No comment, first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(start.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count = self.count.checked_add(1).ok_or("an .npz file holds at most 65,535 arrays")?;
        u32::try_from(self.bytes.len()).map(|_| ()).map_err(|_| too_large())
    }

    fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len() as u32;
        let length = self.directory.len() as u32;
        self.bytes.append(&mut self.directory);
        self.bytes.extend(END.to_le_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes
    }
}

/// A file in an archive.
pub(crate) struct Entry {
    /// Its path in the archive.
    pub name: String,
    method: u16,
    check: u32,
    packed: usize,
    start: usize,
}

fn half_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The files of an archive, from the directory at its end.
pub(crate) fn entries(bytes: &[u8]) -> std::result::Result<Vec<Entry>, String> {
    // A comment of up to 65,535 bytes may stand behind the end record of 22.
    let last = bytes.len().checked_sub(22).ok_or("it is cut off, or no zip archive")?;
    let end = (last.saturating_sub(65_535)..=last)
        .rev()
        .find(|&at| word_at(bytes, at) == Some(END))
        .ok_or("its end is missing: it is cut off, or no zip archive")?;
    let damaged = || "the directory is damaged".to_string();
    let count = half_at(bytes, end + 10).ok_or_else(damaged)?;
    let mut at = word_at(bytes, end + 16).ok_or_else(damaged)? as usize;
    let mut all = Vec::new();
    for _ in 0..count {
        if word_at(bytes, at) != Some(CENTRAL) {
            return Err(damaged());
        }
        let half = |offset: usize| half_at(bytes, at + offset).ok_or_else(damaged);
        let word = |offset: usize| word_at(bytes, at + offset).ok_or_else(damaged);
        let (name, extra, comment) = (half(28)? as usize, half(30)? as usize, half(32)? as usize);
        let text = bytes.get(at + 46..at + 46 + name).ok_or_else(damaged)?;
        all.push(Entry {
            name: String::from_utf8(text.to_vec()).map_err(|_| damaged())?,
            method: half(10)?,
            check: word(16)?,
            packed: word(20)? as usize,
            start: word(42)? as usize,
        });
        at += 46 + name + extra + comment;
    }
    Ok(all)
}

impl Entry {
    /// What is in the file.
    pub fn contents(&self, bytes: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let damaged = || "the file is damaged".to_string();
        if word_at(bytes, self.start) != Some(LOCAL) {
            return Err(damaged());
        }
        let name = half_at(bytes, self.start + 26).ok_or_else(damaged)? as usize;
        let extra = half_at(bytes, self.start + 28).ok_or_else(damaged)? as usize;
        let first = self.start + 30 + name + extra;
        let packed = bytes.get(first..first.saturating_add(self.packed)).ok_or_else(damaged)?;
        let contents = match self.method {
            0 => packed.to_vec(),
            8 => {
                let mut contents = Vec::new();
                let read = flate2::read::DeflateDecoder::new(packed).read_to_end(&mut contents);
                read.map_err(|error| format!("the file is damaged: {error}"))?;
                contents
            }
            other => return Err(format!("it is packed by method {other}, which is not known here")),
        };
        let mut check = Crc::new();
        check.update(&contents);
        if check.sum() == self.check { Ok(contents) } else { Err(damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("dropforge-npy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    /// The contents of a file as NumPy writes it.
    fn numpy(code: &str, order: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{code}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), elements].concat()
    }

    #[test]
    fn every_type_reads_back() {
        let tensors = [
            Tensor::from([[1.5, -0.0], [f32::INFINITY, 1e-40]]),
            Tensor::from([1.5, 2.0]).cast(DType::F16),
            Tensor::from([i32::MIN, 7]),
            Tensor::from([u32::MAX, 7]),
            Tensor::from([255u8, 7]),
            Tensor::from([true, false]),
            Tensor::from(3.0),
            Tensor::zeros([2, 0, 3]),
        ];
        let path = file("one.npy");
        for tensor in &tensors {
            tensor.save_npy(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let data = tensor.ty().bytes();
            assert!((bytes.len() - data).is_multiple_of(64), "the elements start at a multiple of 64 bytes");
            assert_eq!(Tensor::load_npy(&path).unwrap().to_array().unwrap(), tensor.to_array().unwrap());
        }
        let half = Tensor::from([1.5, 2.0]).cast(DType::BF16);
        half.save_npy(&path).unwrap();
        assert_eq!(Tensor::load_npy(&path).unwrap().to_vec::<f32>().unwrap(), [1.5, 2.0]);
        let names: Vec<String> = (0..tensors.len()).map(|number| format!("layer.{number}")).collect();
        let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&tensors).collect();
        let path = file("all.npz");
        Tensor::save_npz(&path, &named).unwrap();
        let read = Tensor::load_npz(&path).unwrap();
        assert_eq!(read.len(), named.len());
        for ((name, tensor), (expected, original)) in read.iter().zip(named) {
            assert_eq!(name, expected);
            assert_eq!(tensor.to_array().unwrap(), original.to_array().unwrap());
        }
    }

    #[test]
    fn foreign_types_and_orders_are_converted() {
        let doubles: Vec<u8> =
            [1.0f64, 2.0, 3.0, 4.0, 5.0, 0.1].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = decode(&numpy("<f8", "True", "(2, 3)", &doubles)).unwrap();
        assert_eq!(tensor.to_vec::<f32>().unwrap(), [1.0, 3.0, 5.0, 2.0, 4.0, 0.1]);
        let big: Vec<u8> = [-1i64, 1 << 30].iter().flat_map(|x| x.to_be_bytes()).collect();
        assert_eq!(
            decode(&numpy(">i8", "False", "(2,)", &big)).unwrap().to_vec::<i32>().unwrap(),
            [-1, 1 << 30]
        );
        assert_eq!(
            decode(&numpy("|i1", "False", "(2,)", &[255, 3])).unwrap().to_vec::<i32>().unwrap(),
            [-1, 3]
        );
        assert_eq!(decode(&numpy("<u2", "False", "()", &[1, 2])).unwrap().to_vec::<i32>().unwrap(), [513]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let error = |bytes: &[u8]| decode(bytes).err().unwrap();
        assert_eq!(error(b"PK"), "it is no .npy file");
        let large = (1i64 << 40).to_le_bytes();
        let message = format!("{} is no i32, which integers are read as", 1i64 << 40);
        assert_eq!(error(&numpy("<i8", "False", "(1,)", &large)), message);
        assert_eq!(
            error(&numpy("<c8", "False", "(1,)", &large)),
            "elements of type \"<c8\" have no counterpart here"
        );
        assert_eq!(
            error(&numpy("<f4", "False", "(5,)", &large)),
            "5 elements of 4 bytes are missing in part"
        );
        let whole = numpy("<f4", "False", "(2,)", &large);
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length} bytes are not the whole file");
        }
        let huge = numpy("<f4", "False", "(18446744073709551615, 2)", &large);
        assert!(decode(&huge).is_err());
        let missing = Tensor::load_npy(file("missing.npy")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read "), "{missing}");
    }

    #[test]
    fn packed_archives_are_read_and_damage_is_found() {
        let contents = encode(&Tensor::arange(0, 100).to_array().unwrap());
        let mut archive = Archive::default();
        archive.add("a.npy", &contents).unwrap();
        let stored = archive.finish();
        // The same entry packed: method 8, and the packed bytes in place of the stored ones.
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(&contents).unwrap();
        let packed = packer.finish().unwrap();
        let header = 30 + "a.npy".len();
        let mut bytes = [&stored[..header], &packed, &stored[header + contents.len()..]].concat();
        let directory = header + packed.len();
        bytes[8] = 8;
        bytes[directory + 10] = 8;
        bytes[directory + 20..directory + 24].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        let end = bytes.len() - 22;
        bytes[end + 16..end + 20].copy_from_slice(&(directory as u32).to_le_bytes());
        let path = file("packed.npz");
        std::fs::write(&path, &bytes).unwrap();
        let read = Tensor::load_npz(&path).unwrap();
        assert_eq!(read[0].1.to_vec::<i32>().unwrap(), (0..100).collect::<Vec<i32>>());
        let mut damaged = stored.clone();
        damaged[header + contents.len() - 1] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = Tensor::load_npz(&path).unwrap_err().to_string();
        assert!(error.ends_with("a: the file is damaged"), "{error}");
        for length in 0..stored.len() {
            std::fs::write(&path, &stored[..length]).unwrap();
            assert!(Tensor::load_npz(&path).is_err(), "{length} bytes are not the whole archive");
        }
        let twice = Tensor::save_npz(&path, &[("a", &Tensor::from(1.0)), ("a", &Tensor::from(1.0))]);
        assert!(twice.unwrap_err().to_string().ends_with("the name \"a\" is used twice"));
    }
}
