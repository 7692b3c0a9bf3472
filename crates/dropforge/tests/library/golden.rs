//! Files of named tensors that scripts/golden_training.py writes.

use dropforge::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The tensors of one file, by name.
pub struct Golden(BTreeMap<String, Array>);

impl Golden {
    /// Reads `tests/data/<name>.txt`.
    pub fn read(name: &str) -> Golden {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.txt"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut tensors = BTreeMap::new();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks(2) {
            // A type may stand before the extents; else the elements tell it.
            let (key, ty) = pair[0].split_once(' ').unwrap();
            let (kind, extents) = ty.split_once('[').unwrap();
            let extents = extents.trim_matches(']');
            let shape: Vec<usize> =
                extents.split(',').filter(|s| !s.is_empty()).map(|s| s.trim().parse().unwrap()).collect();
            let elements = pair[1].split(' ').filter(|element| !element.is_empty());
            let floats = kind == "f32" || (kind.is_empty() && pair[1].contains(['.', 'e']));
            let data = if floats {
                dropforge::Data::F32(elements.map(|x| x.parse().unwrap()).collect())
            } else if kind == "bool" {
                dropforge::Data::Bool(elements.map(|x| x.parse().unwrap()).collect())
            } else {
                dropforge::Data::I32(elements.map(|x| x.parse().unwrap()).collect())
            };
            tensors.insert(key.to_string(), Array::new(shape, data).unwrap());
        }
        Golden(tensors)
    }

    pub fn array(&self, key: &str) -> &Array {
        &self.0[key]
    }

    pub fn floats(&self, key: &str) -> &[f32] {
        self.0[key].as_f32().unwrap()
    }

    pub fn tensor(&self, key: &str) -> Tensor {
        Tensor::from_array(self.0[key].clone())
    }

    /// The tensors whose names start with `prefix`, by the rest of their names.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Array)> {
        self.0.iter().filter_map(move |(key, array)| Some((key.strip_prefix(prefix)?, array)))
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}
