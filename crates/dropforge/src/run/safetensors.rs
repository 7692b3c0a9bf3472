//! The safetensors file format: a header in JSON, then the elements of every tensor, little-endian, without gaps.
//!
//! Other tools read the files: `safetensors.torch.load_file("model.safetensors")` in Python.

use super::calls::{self, OpenFile};
use super::checksums;
use super::disk;
use crate::{Error, Result};
use dropforge_ir::{Array, DType, Data, ValueType};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Enough for the names of a hundred thousand tensors.
const MOST_HEADER_BYTES: u64 = 16 << 20;
/// Where texts stand among the tensors.
const METADATA: &str = "__metadata__";

/// Where the checksums stand among the texts: eight digits for each tensor in the order of the file, and eight for the
/// header itself, with zeros in their place.
const SUMS: &str = "dropforge.checksums";

/// Writes tensors, in this order. `elements` is asked for one after another, so that only one has to be on the host.
pub(crate) fn write(
    out: &mut dyn Write,
    tensors: &[(&str, &ValueType)],
    elements: impl FnMut(usize) -> Result<Array>,
) -> Result<()> {
    let header = header(&BTreeMap::new(), tensors, false)?;
    write_header(out, &header)?;
    write_elements(out, tensors, elements, |_| {})
}

/// As [`write`], with texts by name, which the format calls metadata, and with checksums, which whoever reads the file
/// looks at. They are known at the end, and written to their place then.
pub(super) fn write_summed(
    out: &mut dyn disk::Seekable,
    texts: &BTreeMap<String, String>,
    tensors: &[(&str, &ValueType)],
    elements: impl FnMut(usize) -> Result<Array>,
) -> Result<()> {
    let mut header = header(texts, tensors, true)?;
    write_header(out, &header)?;
    let mut sums = Vec::with_capacity(tensors.len() + 1);
    write_elements(out, tensors, elements, |bytes| sums.push(checksums::sum(bytes)))?;
    fill_sums(&mut header, sums);
    let failed = |error: std::io::Error| Error::io("cannot write", error);
    out.seek(SeekFrom::Start(0)).map_err(failed)?;
    write_header(out, &header)
}

/// As [`write_summed`], of what lies on the host already, also to where nothing can be written twice.
pub(super) fn write_arrays(
    out: &mut dyn Write,
    texts: &BTreeMap<String, String>,
    tensors: &[(&str, &ValueType)],
    arrays: &[&Array],
) -> Result<()> {
    let mut header = header(texts, tensors, true)?;
    fill_sums(&mut header, arrays.iter().map(|array| checksums::sum(array.data().bytes())).collect());
    write_header(out, &header)?;
    write_elements(out, tensors, |index| Ok(arrays[index].clone()), |_| {})
}

/// The header, with zeros for the checksums if there are to be any.
fn header(
    texts: &BTreeMap<String, String>,
    tensors: &[(&str, &ValueType)],
    is_summed: bool,
) -> Result<Vec<u8>> {
    let mut header = Map::new();
    let mut texts = texts.clone();
    if is_summed {
        texts.insert(SUMS.into(), "0".repeat(8 * (tensors.len() + 1)));
    }
    if !texts.is_empty() {
        header.insert(METADATA.into(), json!(texts));
    }
    let mut end = 0;
    for (name, ty) in tensors {
        let start = end;
        end += ty.bytes();
        let shape: Vec<usize> = ty.shape.to_vec();
        let entry = json!({ "dtype": format_name(ty.dtype), "shape": shape, "data_offsets": [start, end] });
        header.insert((*name).into(), entry);
    }
    let mut header = Value::Object(header).to_string();
    if header.len() as u64 > MOST_HEADER_BYTES {
        return Err(Error::file(format!(
            "names and texts take more than the {MOST_HEADER_BYTES} bytes that a header has"
        )));
    }
    // Tensors begin at a multiple of 8 bytes, as the format's own writer has it.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    Ok(header.into_bytes())
}

fn write_header(out: &mut (impl Write + ?Sized), header: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("cannot write", error);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    out.write_all(header).map_err(failed)
}

fn write_elements(
    out: &mut (impl Write + ?Sized),
    tensors: &[(&str, &ValueType)],
    mut elements: impl FnMut(usize) -> Result<Array>,
    mut each: impl FnMut(&[u8]),
) -> Result<()> {
    for (index, (name, ty)) in tensors.iter().enumerate() {
        let array = elements(index)?;
        if array.ty() != **ty {
            return Err(Error::file(format!("{name} should be {ty}, got {}", array.ty())));
        }
        let bytes = array.data().bytes();
        out.write_all(bytes).map_err(|error| Error::io("cannot write", error))?;
        each(bytes);
    }
    Ok(())
}

/// Where the digits of the checksums stand in a header, if it has any.
fn place_of_sums(header: &[u8]) -> Option<Range<usize>> {
    let begin = format!("\"{SUMS}\":\"");
    let start = header.windows(begin.len()).position(|window| window == begin.as_bytes())? + begin.len();
    let length = header[start..].iter().position(|byte| !byte.is_ascii_hexdigit())?;
    Some(start..start + length)
}

/// Puts the checksums of the tensors, and that of the header, where zeros stand.
fn fill_sums(header: &mut [u8], mut sums: Vec<u32>) {
    sums.push(checksums::sum(header));
    if let Some(place) = place_of_sums(header) {
        let digits: String = sums.iter().map(|sum| format!("{sum:08x}")).collect();
        header[place].copy_from_slice(digits.as_bytes());
    }
}

/// The checksums of the tensors that a header has, in the order of the file, if it has any and is whole.
fn read_sums(header: &mut [u8], tensors: usize) -> Result<Option<Vec<u32>>> {
    let Some(place) = place_of_sums(header) else { return Ok(None) };
    let digits = std::str::from_utf8(&header[place.clone()]).unwrap_or_default().to_string();
    let sums = digits.as_bytes().chunks(8).map(|digits| {
        std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok())
    });
    let mut sums: Vec<u32> = sums.collect::<Option<_>>().unwrap_or_default();
    header[place].fill(b'0');
    match digits.len() == 8 * (tensors + 1) && sums.pop() == Some(checksums::sum(header)) {
        true => Ok(Some(sums)),
        false => Err(checksums::differs()),
    }
}

/// Reads all tensors of a file. 64-bit numbers are narrowed to 32 bits, which is what the library computes in.
///
/// # Errors
/// The file is missing, damaged, truncated, larger than the memory of this machine, or has a tensor of a type that
/// cannot be read; the message names the file.
#[doc(alias = "torch.load")]
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>> {
    TensorFile::open(path.as_ref())?.read_all()
}

/// A file whose header has been read, and whose tensors can be: what is in it is known before memory is taken for it.
pub(crate) struct TensorFile {
    path: PathBuf,
    file: OpenFile,
    /// Where the first tensor begins.
    start: u64,
    entries: BTreeMap<String, Entry>,
    texts: BTreeMap<String, Value>,
}

impl TensorFile {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<TensorFile> {
        let missing = || Error::file(format!("{}: there is no such file", path.display()));
        TensorFile::open_if_any(path)?.ok_or_else(missing)
    }

    /// As [`TensorFile::open`]; `None` where there is no file.
    pub fn open_if_any(path: &Path) -> Result<Option<TensorFile>> {
        let mut file = match calls::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| disk::cannot("read", path, &error))?,
        };
        let header = read_header(&mut file).map_err(|error| error.context(path.display()))?;
        let (start, Header { entries, texts }) = header;
        Ok(Some(TensorFile { path: path.into(), file, start, entries, texts }))
    }

    /// A text of the file.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name)?.as_str()
    }

    /// Gives tensors other names, unless others have those.
    pub fn rename(&mut self, name: impl Fn(&str) -> Option<String>) {
        for old in self.entries.keys().cloned().collect::<Vec<_>>() {
            let Some(new) = name(&old).filter(|new| !self.entries.contains_key(new)) else { continue };
            if let Some(entry) = self.entries.remove(&old) {
                self.entries.insert(new, entry);
            }
        }
    }

    /// The tensors by name, with what they are when they are read; an error for those that cannot be.
    pub fn types(&self) -> impl Iterator<Item = (&str, Result<ValueType>)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.ty()))
    }

    /// What a tensor is when it is read; `None` if there is no such tensor.
    pub fn ty(&self, name: &str) -> Option<Result<ValueType>> {
        self.entries.get(name).map(Entry::ty)
    }

    /// Reads one tensor.
    pub fn read(&mut self, name: &str) -> Result<Array> {
        let TensorFile { path, file, start, entries, .. } = self;
        let missing = || Error::file(format!("has no tensor {name}"));
        let mut read = || {
            let entry = entries.get(name).ok_or_else(missing)?;
            entry.ty()?;
            let failed = |error: std::io::Error| Error::io("cannot read", error);
            file.seek(SeekFrom::Start(*start + entry.start)).map_err(failed)?;
            let len = entry.end - entry.start;
            let mut bytes = Vec::new();
            let room = usize::try_from(len).is_ok_and(|len| bytes.try_reserve_exact(len).is_ok());
            if !room {
                return Err(Error::file(format!("there is no memory for its {len} bytes")));
            }
            Read::by_ref(file).take(len).read_to_end(&mut bytes).map_err(failed)?;
            if entry.sum.is_some_and(|sum| sum != checksums::sum(&bytes)) {
                return Err(checksums::differs());
            }
            entry.array(&bytes)
        };
        read().map_err(|error| error.context(format_args!("{}: {name}", path.display())))
    }

    /// Refuses a file of which a tensor has another checksum than it should; without checksums nothing is read.
    pub fn check(&mut self) -> Result<()> {
        let summed = self.entries.iter().filter(|(_, entry)| entry.sum.is_some());
        let names: Vec<String> = summed.map(|(name, _)| name.clone()).collect();
        names.iter().try_for_each(|name| self.read(name).map(drop))
    }

    /// Reads all tensors.
    pub fn read_all(&mut self) -> Result<BTreeMap<String, Array>> {
        let bytes: u64 = self.entries.values().map(|entry| entry.end - entry.start).sum();
        if let Some(memory) = crate::devices::host_memory().filter(|&memory| bytes > memory) {
            return Err(Error::file(format!(
                "{}: has {bytes} bytes of tensors, more than the {memory} of memory",
                self.path.display()
            )));
        }
        let names: Vec<String> = self.entries.keys().cloned().collect();
        names.into_iter().map(|name| self.read(&name).map(|array| (name, array))).collect()
    }
}

/// Where the first tensor begins, and all of them.
fn read_header(file: &mut OpenFile) -> Result<(u64, Header)> {
    let failed = |error: std::io::Error| Error::io("cannot read", error);
    let size = file.len().map_err(failed)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| Error::file("no safetensors file: it is too short"))?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MOST_HEADER_BYTES || header_bytes + 8 > size {
        return Err(Error::file("no safetensors file, or truncated: its header does not fit into it"));
    }
    let mut bytes = vec![0; header_bytes as usize];
    file.read_exact(&mut bytes).map_err(failed)?;
    let mut header: Header = serde_json::from_slice(&bytes)
        .map_err(|error| Error::file(format!("no safetensors file: its header is no such JSON ({error})")))?;
    let start = header_bytes + 8;
    let sums = read_sums(&mut bytes, header.entries.len())?;
    let mut in_order: Vec<(&String, &mut Entry)> = header.entries.iter_mut().collect();
    in_order.sort_by_key(|(_, entry)| (entry.start, entry.end));
    let mut at = 0;
    for (number, (name, entry)) in in_order.into_iter().enumerate() {
        if entry.start != at || entry.end < entry.start || entry.end > size - start {
            return Err(Error::file(format!("truncated or damaged: {name} is not where the header says")));
        }
        at = entry.end;
        entry.sum = sums.as_ref().and_then(|sums| sums.get(number).copied());
    }
    if at != size - start {
        return Err(Error::file("damaged: there are bytes after the last tensor"));
    }
    Ok((start, header))
}

/// The header: tensors by name, and texts.
struct Header {
    entries: BTreeMap<String, Entry>,
    texts: BTreeMap<String, Value>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Header, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let (mut entries, mut texts) = (BTreeMap::new(), BTreeMap::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        texts = map.next_value()?;
                        continue;
                    }
                    let stored: StoredEntry = map.next_value()?;
                    let [start, end] = stored.data_offsets;
                    let entry = Entry { dtype: stored.dtype, shape: stored.shape, start, end, sum: None };
                    if entries.insert(name.clone(), entry).is_some() {
                        return Err(serde::de::Error::custom(format!("{name} stands there twice")));
                    }
                }
                Ok(Header { entries, texts })
            }
        }
        from.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct StoredEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// A tensor of a file: bytes from `start` to `end`, counted from the first tensor.
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    start: u64,
    end: u64,
    /// The checksum of its bytes, where the file has any.
    sum: Option<u32>,
}

impl Entry {
    /// Element type and shape of what is read.
    fn ty(&self) -> Result<ValueType> {
        let (dtype, size) = match self.dtype.as_str() {
            "F64" => (DType::F32, 8),
            "I64" => (DType::I32, 8),
            name => {
                let dtype = DType::ALL.into_iter().find(|&dtype| format_name(dtype) == name);
                let unknown = || Error::file(format!("has the type {name}, which cannot be read"));
                dtype.map(|dtype| (dtype, dtype.size())).ok_or_else(unknown)?
            }
        };
        let bytes = self.shape.iter().try_fold(size, |product, &extent| product.checked_mul(extent));
        if bytes.map(|bytes| bytes as u64) != Some(self.end - self.start) {
            let (bytes, shape) = (self.end - self.start, &self.shape);
            return Err(Error::file(format!("has {bytes} bytes for {} of the shape {shape:?}", self.dtype)));
        }
        Ok(ValueType::new(dtype, self.shape.as_slice()))
    }

    fn array(&self, bytes: &[u8]) -> Result<Array> {
        let wide = || bytes.chunks_exact(8).map(|c| <[u8; 8]>::try_from(c).unwrap_or_default());
        let ty = self.ty()?;
        let data = match self.dtype.as_str() {
            "F64" => Some(Data::F32(wide().map(|c| f64::from_le_bytes(c) as f32).collect())),
            "I64" => {
                let narrow = wide().map(|c| i32::try_from(i64::from_le_bytes(c)).ok());
                let narrow: Option<Vec<i32>> = narrow.collect();
                Some(Data::I32(narrow.ok_or_else(|| Error::file("has a number above 32 bits"))?))
            }
            _ => Data::from_bytes(ty.dtype, bytes),
        };
        let whole = data.and_then(|data| Array::new(ty.shape, data));
        whole.ok_or_else(|| Error::file("ended before its last element, or holds what no element can be"))
    }
}

fn format_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::I32 => "I32",
        DType::U32 => "U32",
        DType::U8 => "U8",
        DType::Bool => "BOOL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::{BF16, F16, Shape};

    fn file(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("dropforge-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn example() -> (Vec<u8>, Vec<Array>) {
        let arrays = vec![
            Array::new([2, 3], Data::F32(vec![1.0, -2.0, f32::MIN_POSITIVE, 0.1, 5.0, f32::MAX])).unwrap(),
            Array::new(Shape::scalar(), Data::U32(vec![7])).unwrap(),
            Array::new([0, 4], Data::I32(Vec::new())).unwrap(),
            Array::new([3], Data::F16([1.5, -65504.0, 6e-8].map(F16::from_f32).to_vec())).unwrap(),
            Array::new([2], Data::BF16([3e38, -0.0].map(BF16::from_f32).to_vec())).unwrap(),
        ];
        let types: Vec<ValueType> = arrays.iter().map(Array::ty).collect();
        let tensors: Vec<(&str, &ValueType)> =
            ["fc.weight", "step", "a", "f16", "bf16"].into_iter().zip(&types).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &tensors, |i| Ok(arrays[i].clone())).unwrap();
        (bytes, arrays)
    }

    #[test]
    fn what_is_written_reads_back() {
        let (bytes, arrays) = example();
        let path = file("safetensors-round-trip", &bytes);
        let read = read_safetensors(&path).unwrap();
        assert_eq!(read["fc.weight"], arrays[0]);
        assert_eq!(read["step"], arrays[1]);
        assert_eq!(read["a"], arrays[2]);
        assert_eq!(read["f16"], arrays[3]);
        assert_eq!(read["bf16"], arrays[4]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_byte_that_has_changed_is_noticed() {
        let (plain, arrays) = example();
        let types: Vec<ValueType> = arrays.iter().map(Array::ty).collect();
        let names = ["fc.weight", "step", "a", "f16", "bf16"];
        let tensors: Vec<(&str, &ValueType)> = names.into_iter().zip(&types).collect();
        let texts = BTreeMap::from([("note".to_string(), format!("\"{SUMS}\":\"12\""))]);
        let mut summed = std::io::Cursor::new(Vec::new());
        write_summed(&mut summed, &texts, &tensors, |i| Ok(arrays[i].clone())).unwrap();
        let (summed, mut same) = (summed.into_inner(), Vec::new());
        write_arrays(&mut same, &texts, &tensors, &arrays.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(summed, same);
        let read = |bytes: &[u8]| {
            let path = file("safetensors-summed", bytes);
            let all = TensorFile::open(&path).and_then(|mut file| {
                let text = file.text("note").map(String::from);
                Ok((text, file.read_all()?))
            });
            std::fs::remove_file(path).unwrap();
            all
        };
        let whole = read(&summed).unwrap();
        assert_eq!((whole.0.as_ref(), &whole.1), (texts.get("note"), &read(&plain).unwrap().1));
        // Of the name of the checksums nothing is left to look at; all else is as it was or refused.
        let mut refused = 0;
        for at in 0..summed.len() {
            let mut bytes = summed.clone();
            bytes[at] ^= 1 << (at % 8);
            match read(&bytes) {
                Ok(all) => assert_eq!(all, whole, "{at}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused + SUMS.len() >= summed.len() - 60, "{refused} of {}", summed.len());
        let mut bytes = summed.clone();
        *bytes.last_mut().unwrap() ^= 4;
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains("bf16") && error.contains("its checksum is another one"), "{error}");
    }

    #[test]
    fn what_a_header_says_takes_no_memory_before_it_is_checked() {
        let say = |header: &str, room: u64| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(header.as_bytes());
            let path = file("safetensors-says", &bytes);
            std::fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(bytes.len() as u64 + room)
                .unwrap();
            let result = read_safetensors(&path).map(|_| ());
            std::fs::remove_file(path).unwrap();
            result.unwrap_err().to_string()
        };
        // A file with holes takes no room on the disk.
        let large = 1u64 << 42;
        for (header, room, part) in [
            (
                format!(r#"{{"a":{{"dtype":"U8","shape":[{large}],"data_offsets":[0,{large}]}}}}"#),
                large,
                "memory",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#.into(),
                8,
                "for F32",
            ),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#.into(), 8, "not where"),
            (r#"{"a":{"dtype":"F8","shape":[8],"data_offsets":[0,8]}}"#.into(), 8, "type F8"),
            (r#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8,9]}}"#.into(), 8, "JSON"),
            (r#"{"a":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}}"#.into(), 8, "JSON"),
            ("[".repeat(100_000), 8, "JSON"),
        ] {
            let message = say(&header, room);
            assert!(message.contains(part) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let (bytes, _) = example();
        let longer = [&bytes[..], &[0]].concat();
        let huge = [&u64::MAX.to_le_bytes()[..], &bytes[8..]].concat();
        for cut in [&bytes[..0], &bytes[..5], &bytes[..30], &bytes[..bytes.len() - 1], &longer, &huge] {
            let path = file("safetensors-damaged", cut);
            let error = read_safetensors(&path).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(!error.contains('\n'), "{error}");
            std::fs::remove_file(path).unwrap();
        }
    }
}
