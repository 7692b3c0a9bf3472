//! The safetensors file format: a header in JSON, then the elements of every tensor, little-endian, without gaps.
//!
//! Other tools read the files: `safetensors.torch.load_file("model.safetensors")` in Python.

use crate::{Error, Result};
use dropforge_ir::{Array, DType, Data, Shape, ValueType};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

/// The bound that the format's own reader has.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Writes tensors, in this order. `elements` is asked for one after another, so that only one has to be on the host.
pub(crate) fn write(
    out: &mut dyn Write,
    tensors: &[(&str, &ValueType)],
    mut elements: impl FnMut(usize) -> Result<Array>,
) -> Result<()> {
    let mut header = Map::new();
    let mut end = 0;
    for (name, ty) in tensors {
        let start = end;
        end += ty.bytes();
        let shape: Vec<usize> = ty.shape.to_vec();
        let entry = json!({ "dtype": format_name(ty.dtype), "shape": shape, "data_offsets": [start, end] });
        header.insert((*name).into(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // Tensors begin at a multiple of 8 bytes, as the format's own writer has it.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let failed = |error: std::io::Error| Error::new(format!("cannot write: {error}"));
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    out.write_all(header.as_bytes()).map_err(failed)?;
    for (index, (name, ty)) in tensors.iter().enumerate() {
        let array = elements(index)?;
        if array.ty() != **ty {
            return Err(Error::new(format!("{name} should be {ty}, got {}", array.ty())));
        }
        out.write_all(array.data().bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Reads all tensors of a file. 64-bit numbers are narrowed to 32 bits, which is what the library computes in.
///
/// # Errors
/// The file is missing, damaged, truncated, or has a tensor of a type that cannot be read; the message names the file.
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>> {
    let path = path.as_ref();
    read_file(path).map_err(|error| error.context(path.display()))
}

fn read_file(path: &Path) -> Result<BTreeMap<String, Array>> {
    let failed = |error: std::io::Error| Error::new(format!("cannot read: {error}"));
    let file = File::open(path).map_err(|error| Error::new(format!("cannot open: {error}")))?;
    let size = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::new(file);
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| Error::new("no safetensors file: it is too short"))?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MOST_HEADER_BYTES || header_bytes + 8 > size {
        return Err(Error::new("no safetensors file, or truncated: its header does not fit into it"));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header).map_err(failed)?;
    let header: Map<String, Value> = serde_json::from_slice(&header)
        .map_err(|error| Error::new(format!("no safetensors file: its header is not JSON ({error})")))?;
    let mut entries = header
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| Entry::parse(entry).map(|entry| (name, entry)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            Error::new("no safetensors file: an entry of its header lacks type, shape or place")
        })?;
    entries.sort_by_key(|(_, entry)| (entry.start, entry.end));
    let mut tensors = BTreeMap::new();
    let mut at = 0;
    for (name, entry) in entries {
        if entry.start != at || entry.end > size - 8 - header_bytes {
            return Err(Error::new(format!("truncated or damaged: {name} is not where the header says")));
        }
        at = entry.end;
        let mut bytes = vec![0; (entry.end - entry.start) as usize];
        file.read_exact(&mut bytes).map_err(failed)?;
        tensors.insert(name.clone(), entry.array(&bytes).map_err(|error| error.context(name))?);
    }
    if at != size - 8 - header_bytes {
        return Err(Error::new("damaged: there are bytes after the last tensor"));
    }
    Ok(tensors)
}

struct Entry {
    dtype: String,
    shape: Vec<usize>,
    start: u64,
    end: u64,
}

impl Entry {
    fn parse(entry: &Value) -> Option<Entry> {
        let shape = entry.get("shape")?.as_array()?;
        let shape =
            shape.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect::<Option<Vec<usize>>>()?;
        let [start, end] = entry.get("data_offsets")?.as_array()?.as_slice() else { return None };
        let (start, end) = (start.as_u64()?, end.as_u64()?);
        let dtype = entry.get("dtype")?.as_str()?.to_owned();
        (start <= end).then_some(Entry { dtype, shape, start, end })
    }

    fn array(&self, bytes: &[u8]) -> Result<Array> {
        let wide = || bytes.chunks_exact(8).map(|c| <[u8; 8]>::try_from(c).unwrap_or_default());
        let data = match self.dtype.as_str() {
            "F64" => Some(Data::F32(wide().map(|c| f64::from_le_bytes(c) as f32).collect())),
            "I64" => {
                let narrow = wide().map(|c| i32::try_from(i64::from_le_bytes(c)).ok());
                let narrow: Option<Vec<i32>> = narrow.collect();
                Some(Data::I32(narrow.ok_or_else(|| Error::new("has a number above 32 bits"))?))
            }
            name => {
                let dtype = DType::ALL.into_iter().find(|&dtype| format_name(dtype) == name);
                let unknown = || Error::new(format!("has the type {name}, which cannot be read"));
                Data::from_bytes(dtype.ok_or_else(unknown)?, bytes)
            }
        };
        let elements = self.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let fits = |data: &Data| elements == Some(data.len());
        data.filter(fits)
            .and_then(|data| Array::new(Shape::from(self.shape.clone()), data))
            .ok_or_else(|| Error::new(format!("has {} bytes for the shape {:?}", bytes.len(), self.shape)))
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
    use dropforge_ir::{BF16, F16};

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
