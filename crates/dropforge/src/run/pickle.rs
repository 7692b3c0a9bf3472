//! Weights that PyTorch has saved: a zip archive of tensors' elements and a pickle that says which tensors they are.
//!
//! A pickle is a program that may call anything. This reader builds numbers, texts, lists, dictionaries and tensors,
//! and refuses everything else: nothing of the file is run. Source of the format: CPython's `Lib/pickletools.py` and
//! PyTorch's `torch/serialization.py`.

use crate::tensor::npy;
use crate::{Error, Result};
use dropforge_ir::{Array, DType, Data, Shape};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// Values that a pickle may make.
const MOST_VALUES: usize = 1 << 22;
/// How many dictionaries are looked into.
const MOST_SEEN: usize = 256;
/// Arguments of what is called.
const MOST_ARGUMENTS: usize = 16;
/// Elements of one tensor.
const MOST_ELEMENTS: usize = 1 << 32;
/// Names under which checkpoints keep the weights beside other things.
const USUAL: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "module"];

/// What a pickle is made of.
#[derive(Clone)]
enum Item {
    None,
    Integer(i64),
    Text(Rc<str>),
    /// Something that weights do not need.
    Other,
    /// A container by its number: they may hold one another in any depth, or themselves.
    Tuple(usize),
    List(usize),
    /// Keys and values in turns.
    Dict(usize),
    /// A name of Python: what could be called.
    Global(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
}

struct Storage {
    kind: Rc<str>,
    key: Rc<str>,
}

struct Tensor {
    storage: Rc<Storage>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

fn damaged() -> Error {
    Error::file("no weights of PyTorch, or damaged")
}

/// The tensors of a file by name: of the dictionary that it holds, or of the one that it holds among other things.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Array>> {
    if !bytes.starts_with(b"PK") {
        return Err(Error::file(
            "is no zip archive; files from before PyTorch 1.6 have to be saved again by a newer version",
        ));
    }
    let entries = npy::entries(bytes).map_err(Error::new)?;
    let pickle = entries.iter().find(|entry| entry.name.ends_with("/data.pkl") || entry.name == "data.pkl");
    let pickle = pickle.ok_or_else(|| Error::file("holds no data.pkl: it is no file of torch.save"))?;
    let folder = pickle.name.trim_end_matches("data.pkl");
    let big = entries.iter().find(|entry| entry.name == format!("{folder}byteorder"));
    if let Some(order) = big
        && order.contents(bytes).map_err(Error::new)? == b"big"
    {
        return Err(Error::file("was saved on a machine of big-endian numbers"));
    }
    let pickle = pickle.contents(bytes).map_err(Error::new)?;
    let mut machine = Machine::new(&pickle);
    let root = machine.run()?;
    let mut found = Vec::new();
    weights(&machine.containers, &root, &mut HashSet::new(), &mut found);
    let places: HashMap<&str, &npy::Entry> = entries
        .iter()
        .filter_map(|entry| Some((entry.name.strip_prefix(folder)?.strip_prefix("data/")?, entry)))
        .collect();
    let mut storages: HashMap<Rc<str>, Vec<u8>> = HashMap::new();
    let mut all = BTreeMap::new();
    for (name, tensor) in found {
        let key = &tensor.storage.key;
        if !storages.contains_key(key) {
            let entry =
                places.get(&**key).ok_or_else(|| Error::file(format!("{name}: its elements are missing")))?;
            let contents = entry.contents(bytes).map_err(|error| Error::file(format!("{name}: {error}")))?;
            storages.insert(key.clone(), contents);
        }
        let array = array(&tensor, &storages[key]).map_err(|error| error.context(&name))?;
        all.insert(name, array);
    }
    match all.is_empty() {
        true => Err(Error::file("holds no dictionary of tensors; save model.state_dict()")),
        false => Ok(all),
    }
}

/// The tensors of a dictionary; if it has none, those of a dictionary in it, one with a usual name first.
fn weights(all: &[Vec<Item>], item: &Item, seen: &mut HashSet<usize>, found: &mut Vec<(String, Rc<Tensor>)>) {
    let Item::Dict(number) = item else { return };
    if seen.len() == MOST_SEEN || !seen.insert(*number) {
        return;
    }
    let entries = || all[*number].chunks_exact(2).map(|pair| (&pair[0], &pair[1]));
    let place = |key: &Item| match key {
        Item::Text(name) => USUAL.iter().position(|usual| **usual == **name),
        _ => None,
    };
    let mut inner: Vec<(&Item, &Item)> =
        entries().filter(|(_, value)| matches!(value, Item::Dict(_))).collect();
    inner.sort_by_key(|(key, _)| place(key).unwrap_or(USUAL.len()));
    // The weights of a checkpoint come before single tensors that stand beside them, and those before anything else.
    let (usual, others): (Vec<_>, Vec<_>) = inner.into_iter().partition(|(key, _)| place(key).is_some());
    for (_, value) in usual {
        weights(all, value, seen, found);
        if !found.is_empty() {
            return;
        }
    }
    for (key, value) in entries() {
        if let (Item::Text(name), Item::Tensor(tensor)) = (key, value) {
            found.push((name.to_string(), tensor.clone()));
        }
    }
    for (_, value) in others {
        if !found.is_empty() {
            return;
        }
        weights(all, value, seen, found);
    }
}

/// The elements of a tensor, in order.
fn array(tensor: &Tensor, bytes: &[u8]) -> Result<Array> {
    let (dtype, size) = match &*tensor.storage.kind {
        "FloatStorage" => (DType::F32, 4),
        "DoubleStorage" => (DType::F32, 8),
        "HalfStorage" => (DType::F16, 2),
        "BFloat16Storage" => (DType::BF16, 2),
        "LongStorage" => (DType::I32, 8),
        "IntStorage" => (DType::I32, 4),
        "ByteStorage" => (DType::U8, 1),
        "BoolStorage" => (DType::Bool, 1),
        other => return Err(Error::file(format!("elements of a {other} cannot be read"))),
    };
    let shape = Shape::from(tensor.shape.as_slice());
    shape.check().map_err(Error::new)?;
    let count = shape.elements();
    if count > MOST_ELEMENTS {
        return Err(Error::file(format!("a shape of {shape} is too large")));
    }
    // Where the last element lies says whether all are there.
    let last = tensor.shape.iter().zip(&tensor.strides).try_fold(tensor.offset, |at, (&extent, &stride)| {
        at.checked_add(extent.checked_sub(1)?.checked_mul(stride)?)
    });
    let inside =
        last.and_then(|last| last.checked_add(1)?.checked_mul(size)).is_some_and(|end| end <= bytes.len());
    if count > 0 && !inside {
        return Err(Error::file("its elements lie outside of the file"));
    }
    // Elements may repeat, so that many come of few: as many as the file could hold are enough.
    if count.saturating_mul(size) > bytes.len().saturating_mul(64).max(1 << 20) {
        return Err(Error::file(format!("a shape of {shape} repeats few elements too often")));
    }
    let mut picked = Vec::with_capacity(count * size);
    let mut index = vec![0; tensor.shape.len()];
    for _ in 0..count {
        let at = index.iter().zip(&tensor.strides).fold(tensor.offset, |at, (&i, &stride)| at + i * stride);
        picked.extend_from_slice(&bytes[at * size..(at + 1) * size]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < tensor.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    let wide = || picked.chunks_exact(8).map(|c| <[u8; 8]>::try_from(c).unwrap_or_default());
    let data = match (dtype, size) {
        (DType::F32, 8) => Some(Data::F32(wide().map(|c| f64::from_le_bytes(c) as f32).collect())),
        (DType::I32, 8) => {
            let narrow = wide().map(|c| i32::try_from(i64::from_le_bytes(c)).ok());
            let all: Option<Vec<i32>> = narrow.collect();
            Some(Data::I32(all.ok_or_else(|| Error::file("has a number above 32 bits"))?))
        }
        _ => Data::from_bytes(dtype, &picked),
    };
    data.and_then(|data| Array::new(shape, data)).ok_or_else(damaged)
}

/// Reads a pickle: a stack, what was put on it after marks, and what is remembered by number.
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Item>,
    marks: Vec<usize>,
    memo: HashMap<u32, Item>,
    made: usize,
    containers: Vec<Vec<Item>>,
}

impl<'a> Machine<'a> {
    fn new(pickle: &'a [u8]) -> Machine<'a> {
        Machine {
            rest: pickle,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            made: 0,
            containers: Vec::new(),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        if count > self.rest.len() {
            return Err(damaged());
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn text(&mut self, length: u64) -> Result<Item> {
        let bytes = self.take(usize::try_from(length).map_err(|_| damaged())?)?;
        Ok(Item::Text(std::str::from_utf8(bytes).map_err(|_| damaged())?.into()))
    }

    fn line(&mut self) -> Result<&'a str> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(damaged)?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| damaged())
    }

    fn push(&mut self, item: Item) -> Result<()> {
        self.made += 1;
        if self.made > MOST_VALUES {
            return Err(Error::file(format!("has more than {MOST_VALUES} values")));
        }
        self.stack.push(item);
        Ok(())
    }

    fn pop(&mut self) -> Result<Item> {
        self.stack.pop().ok_or_else(damaged)
    }

    fn since_mark(&mut self) -> Result<Vec<Item>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or_else(damaged)?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let start = self.stack.len().checked_sub(count).ok_or_else(damaged)?;
        let items = self.stack.split_off(start);
        let number = self.container(items);
        self.push(Item::Tuple(number))
    }

    fn container(&mut self, items: Vec<Item>) -> usize {
        self.containers.push(items);
        self.containers.len() - 1
    }

    fn append(&mut self, items: Vec<Item>) -> Result<()> {
        match self.stack.last() {
            Some(&Item::List(number)) => self.containers[number].extend(items),
            Some(Item::Other) => {}
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Item>) -> Result<()> {
        match self.stack.last() {
            Some(&Item::Dict(number)) if items.len().is_multiple_of(2) => {
                self.containers[number].extend(items);
            }
            Some(Item::Other) => {}
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Item> {
        loop {
            let operation = self.take(1)?[0];
            match operation {
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.push(Item::None)?,
                0x88 | 0x89 => self.push(Item::Integer(i64::from(operation == 0x88)))?,
                b'K' => {
                    let number = self.number(1)?;
                    self.push(Item::Integer(number as i64))?;
                }
                b'M' => {
                    let number = self.number(2)?;
                    self.push(Item::Integer(number as i64))?;
                }
                b'J' => {
                    let number = self.number(4)? as u32 as i32;
                    self.push(Item::Integer(number.into()))?;
                }
                0x8a => {
                    let count = self.number(1)? as usize;
                    let bytes = self.take(count)?;
                    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                    let start = if negative { -1i64 } else { 0 };
                    let number =
                        bytes.iter().rev().fold(start, |number, &byte| number << 8 | i64::from(byte));
                    self.push(if count <= 8 { Item::Integer(number) } else { Item::Other })?;
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Item::Other)?;
                }
                b'X' | 0x8c | 0x8d => {
                    let length = self.number(if operation == b'X' {
                        4
                    } else if operation == 0x8c {
                        1
                    } else {
                        8
                    })?;
                    let text = self.text(length)?;
                    self.push(text)?;
                }
                b'U' | b'T' | b'C' | b'B' => {
                    let length = self.number(if matches!(operation, b'U' | b'C') { 1 } else { 4 })?;
                    self.take(usize::try_from(length).map_err(|_| damaged())?)?;
                    self.push(Item::Other)?;
                }
                b']' | b'}' | b')' => {
                    let number = self.container(Vec::new());
                    self.push(match operation {
                        b']' => Item::List(number),
                        b'}' => Item::Dict(number),
                        _ => Item::Tuple(number),
                    })?;
                }
                0x8f => self.push(Item::Other)?,
                b't' | b'l' => {
                    let items = self.since_mark()?;
                    let number = self.container(items);
                    self.push(if operation == b't' { Item::Tuple(number) } else { Item::List(number) })?;
                }
                0x85..=0x87 => self.tuple(usize::from(operation - 0x84))?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(items)?;
                }
                0x90 => drop(self.since_mark()?),
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(items)?;
                }
                b'q' | b'r' => {
                    let index = self.number(if operation == b'q' { 1 } else { 4 })? as u32;
                    let item = self.stack.last().cloned().ok_or_else(damaged)?;
                    self.memo.insert(index, item);
                }
                0x94 => {
                    let item = self.stack.last().cloned().ok_or_else(damaged)?;
                    self.memo.insert(self.memo.len() as u32, item);
                }
                b'h' | b'j' => {
                    let index = self.number(if operation == b'h' { 1 } else { 4 })? as u32;
                    let item = self.memo.get(&index).cloned().ok_or_else(damaged)?;
                    self.push(item)?;
                }
                b'c' => {
                    let name = format!("{}.{}", self.line()?, self.line()?);
                    self.push(Item::Global(name.into()))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Item::Text(name), Item::Text(module)) = (name, module) else {
                        return Err(damaged());
                    };
                    self.push(Item::Global(format!("{module}.{name}").into()))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(&id)?;
                    self.push(storage)?;
                }
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let made = self.called(&function, &arguments)?;
                    self.push(made)?;
                }
                // Attributes of an object, such as those of an OrderedDict, say nothing of the weights.
                b'b' => drop(self.pop()?),
                other => {
                    return Err(Error::file(format!(
                        "its pickle has the operation {other:#04x}, which is not known"
                    )));
                }
            }
        }
    }

    fn storage(&self, id: &Item) -> Result<Item> {
        let Item::Tuple(number) = id else { return Err(damaged()) };
        let [Item::Text(tag), Item::Global(kind), Item::Text(key), ..] = self.containers[*number].as_slice()
        else {
            return Err(damaged());
        };
        if &**tag != "storage" {
            return Err(damaged());
        }
        let kind = kind.strip_prefix("torch.").unwrap_or(kind);
        Ok(Item::Storage(Rc::new(Storage { kind: kind.into(), key: key.clone() })))
    }

    /// What a call makes; there are no others than these.
    fn called(&mut self, function: &Item, arguments: &Item) -> Result<Item> {
        let (Item::Global(name), &Item::Tuple(number)) = (function, arguments) else { return Err(damaged()) };
        if self.containers[number].len() > MOST_ARGUMENTS {
            return Err(damaged());
        }
        let arguments = self.containers[number].clone();
        let sizes = |item: Option<&Item>| -> Result<Vec<usize>> {
            let Some(Item::Tuple(number)) = item else { return Err(damaged()) };
            self.containers[*number]
                .iter()
                .map(|item| match item {
                    Item::Integer(number) => usize::try_from(*number).map_err(|_| damaged()),
                    _ => Err(damaged()),
                })
                .collect()
        };
        match &**name {
            "collections.OrderedDict" | "builtins.dict" => {
                let mut entries = Vec::new();
                if let Some(&Item::List(pairs)) = arguments.first() {
                    for pair in &self.containers[pairs] {
                        match pair {
                            &Item::Tuple(pair) | &Item::List(pair) if self.containers[pair].len() == 2 => {
                                entries.extend(self.containers[pair].iter().cloned());
                            }
                            _ => return Err(damaged()),
                        }
                    }
                }
                self.made += entries.len();
                Ok(Item::Dict(self.container(entries)))
            }
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
                let (Some(Item::Storage(storage)), Some(Item::Integer(offset))) =
                    (arguments.first(), arguments.get(1))
                else {
                    return Err(damaged());
                };
                let (shape, strides) = (sizes(arguments.get(2))?, sizes(arguments.get(3))?);
                if shape.len() != strides.len() {
                    return Err(damaged());
                }
                let offset = usize::try_from(*offset).map_err(|_| damaged())?;
                Ok(Item::Tensor(Rc::new(Tensor { storage: storage.clone(), offset, shape, strides })))
            }
            "torch._utils._rebuild_parameter" => arguments.first().cloned().ok_or_else(damaged),
            "torch.Size" => arguments.first().cloned().ok_or_else(damaged),
            "torch.device" | "builtins.set" | "collections.defaultdict" => Ok(Item::Other),
            other => Err(Error::file(format!(
                "wants to call {other}; only tensors, lists and dictionaries are read: save model.state_dict()"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dictionary {"w": tensor [2, 3] with strides [1, 2], "n": 7} as torch.save writes it.
    fn pickle() -> Vec<u8> {
        let mut p =
            b"\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
                .to_vec();
        p.extend(b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x01K\x02\x86");
        p.extend(b"\x89ccollections\nOrderedDict\n)RtRX\x01\x00\x00\x00nK\x07u.");
        p
    }

    #[test]
    fn tensors_are_built_and_nothing_is_called() {
        let bytes = pickle();
        let mut machine = Machine::new(&bytes);
        let root = machine.run().unwrap();
        let mut found = Vec::new();
        weights(&machine.containers, &root, &mut HashSet::new(), &mut found);
        let [(name, tensor)] = found.as_slice() else { panic!("{} tensors", found.len()) };
        assert_eq!(name, "w");
        let bytes: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let array = array(tensor, &bytes).unwrap();
        assert_eq!(
            (array.shape().to_vec(), array.as_f32().unwrap()),
            (vec![2, 3], &[0.0, 2.0, 4.0, 1.0, 3.0, 5.0][..])
        );
        assert!(super::array(tensor, &bytes[..23]).is_err());
        let evil = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.";
        let message = Machine::new(evil).run().err().unwrap().to_string();
        assert!(message.contains("wants to call os.system"), "{message}");
    }

    /// {"mean": tensor, "model": {"w": tensor}}: the weights are under the usual name.
    #[test]
    fn weights_of_a_checkpoint_come_first() {
        let whole = pickle();
        // The part that makes the tensor, from its function to the call.
        let start = whole.windows(6).position(|part| part == b"ctorch").unwrap();
        let end = whole.len() - b"X\x01\x00\x00\x00nK\x07u.".len();
        let tensor = &whole[start..end];
        let mut bytes = b"\x80\x02}(X\x04\x00\x00\x00mean".to_vec();
        bytes.extend(tensor);
        bytes.extend(b"X\x05\x00\x00\x00model}X\x01\x00\x00\x00w");
        bytes.extend(tensor);
        bytes.extend(b"su.");
        let mut machine = Machine::new(&bytes);
        let root = machine.run().unwrap();
        let mut found = Vec::new();
        weights(&machine.containers, &root, &mut HashSet::new(), &mut found);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["w"]);
    }

    #[test]
    fn damaged_pickles_are_errors_or_tensors() {
        let whole = pickle();
        let bytes = [0u8; 24];
        for at in 0..whole.len() {
            for change in [0x00, 0x01, 0x29, 0x52, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = change;
                let mut machine = Machine::new(&damaged);
                let Ok(root) = machine.run() else { continue };
                let mut found = Vec::new();
                weights(&machine.containers, &root, &mut HashSet::new(), &mut found);
                for (_, tensor) in found {
                    let _ = array(&tensor, &bytes);
                }
            }
            assert!(Machine::new(&whole[..at]).run().is_err(), "{at}");
        }
    }
}
