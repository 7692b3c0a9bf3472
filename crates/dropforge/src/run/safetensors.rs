//! The safetensors file format: a header in JSON, then the elements of every tensor, little-endian, without gaps.
//!
//! Other tools read the files: `safetensors.torch.load_file("model.safetensors")` in Python.

use super::calls::{self, OpenFile};
use super::disk;
use crate::{Error, Result};
use dropforge_ir::{Array, DType, Data, ValueType};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Enough for the names of a hundred thousand tensors.
const MOST_HEADER_BYTES: u64 = 16 << 20;
/// Where texts stand among the tensors.
const METADATA: &str = "__metadata__";

/// Writes tensors, in this order. `elements` is asked for one after another, so that only one has to be on the host.
pub(crate) fn write(
    out: &mut dyn Write,
    tensors: &[(&str, &ValueType)],
    elements: impl FnMut(usize) -> Result<Array>,
) -> Result<()> {
    write_with(out, &BTreeMap::new(), tensors, elements)
}

/// As [`write`], with texts by name, which the format calls metadata.
pub(crate) fn write_with(
    out: &mut dyn Write,
    texts: &BTreeMap<String, String>,
    tensors: &[(&str, &ValueType)],
    mut elements: impl FnMut(usize) -> Result<Array>,
) -> Result<()> {
    let mut header = Map::new();
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
    let failed = |error: std::io::Error| Error::io("cannot write", error);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    out.write_all(header.as_bytes()).map_err(failed)?;
    for (index, (name, ty)) in tensors.iter().enumerate() {
        let array = elements(index)?;
        if array.ty() != **ty {
            return Err(Error::file(format!("{name} should be {ty}, got {}", array.ty())));
        }
        out.write_all(array.data().bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Reads all tensors of a file. 64-bit numbers are narrowed to 32 bits, which is what the library computes in.
///
/// # Errors
/// The file is missing, damaged, truncated, larger than the memory of this machine, or has a tensor of a type that cannot be
/// read; the message names the file.
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
            entry.array(&bytes)
        };
        read().map_err(|error| error.context(format_args!("{}: {name}", path.display())))
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
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header).map_err(failed)?;
    let header: Header = serde_json::from_slice(&header)
        .map_err(|error| Error::file(format!("no safetensors file: its header is no such JSON ({error})")))?;
    let start = header_bytes + 8;
    let mut in_order: Vec<(&String, &Entry)> = header.entries.iter().collect();
    in_order.sort_by_key(|(_, entry)| (entry.start, entry.end));
    let mut at = 0;
    for (name, entry) in in_order {
        if entry.start != at || entry.end < entry.start || entry.end > size - start {
            return Err(Error::file(format!("truncated or damaged: {name} is not where the header says")));
        }
        at = entry.end;
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
                    let entry = Entry { dtype: stored.dtype, shape: stored.shape, start, end };
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
