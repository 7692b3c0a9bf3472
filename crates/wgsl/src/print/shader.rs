//! A shader in the making: its bindings, its parameters and its text.

use super::functions;
use crate::printing::Printing;
use crate::words;
use dropforge_ir::{DType, Error, Result, ValueType};
use std::fmt::Write;

/// A buffer that an executable binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferId {
    /// Memory of the executable, by chunk.
    Own(usize),
    /// Memory of states, by position in the executable's table.
    State(usize),
    /// Memory that a kernel's dispatches hand each other.
    Scratch,
}

/// Where a value lies, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Where {
    /// In which buffer.
    pub buffer: BufferId,
    /// At which element, all elements before it counted as wide as those of the value.
    pub first: u32,
    /// The type of its elements.
    pub dtype: DType,
    /// Whether these are halves in 2 bytes, rather than a word each.
    pub is_packed: bool,
}

impl Where {
    /// The type of halves in 2 bytes, as shaders name it. WGSL knows f16 only; what it is translated into may know bf16
    /// too.
    pub fn packed(&self) -> Option<&'static str> {
        self.is_packed.then_some(if self.dtype == DType::BF16 { "bf16" } else { "f16" })
    }

    /// The type of what lies in memory.
    pub fn stored(&self) -> &'static str {
        self.packed().unwrap_or("u32")
    }

    /// Elements of a word each, from a word on.
    pub const fn of_words(buffer: BufferId, first: u32, dtype: DType) -> Where {
        Where { buffer, first, dtype, is_packed: false }
    }

    /// The first value of a buffer, as a device with this printing stores it.
    pub fn first_of(buffer: BufferId, dtype: DType, printing: Printing) -> Where {
        Where { buffer, first: 0, dtype, is_packed: printing.packs(dtype) }
    }

    /// A value that begins at a byte.
    ///
    /// # Errors
    /// If no index reaches that far.
    pub fn at(buffer: BufferId, byte: u64, ty: &ValueType, printing: Printing) -> Result<Where> {
        let first = u32::try_from(byte / words::width(ty.dtype, printing))
            .map_err(|_| Error::new("load", format!("{ty} lies beyond 2^32 elements of a buffer")))?;
        Ok(Where { first, ..Where::first_of(buffer, ty.dtype, printing) })
    }
}

/// One dispatch of one shader.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// For errors and profiles.
    pub label: String,
    /// WGSL; equal text means equal pipelines.
    pub source: String,
    /// The storage buffers of bindings 1, 2, …, and whether they are written.
    pub bindings: Vec<(BufferId, bool)>,
    /// Words of the uniform buffer of binding 0.
    pub params: Vec<u32>,
    /// Size of the grid.
    pub workgroups: [u32; 3],
}

impl Dispatch {
    /// Whether each of the storage buffers is written.
    pub fn writable(&self) -> Vec<bool> {
        self.bindings.iter().map(|(_, written)| *written).collect()
    }
}

/// An operand of a shader.
#[derive(Clone, Debug)]
pub struct Slot {
    binding: usize,
    /// Whether the binding holds quads of elements.
    quads: bool,
    /// Expression of the first element.
    offset: String,
    dtype: DType,
    /// The type of halves in 2 bytes.
    packed: Option<&'static str>,
}

impl Slot {
    /// What is stored at an index, as the operand of an assignment or an expression: a word, or an f16.
    pub fn stored(&self, index: &str) -> String {
        let at = self.at(index);
        if self.quads {
            return format!("b{}[({at}) >> 2u][({at}) & 3u]", self.binding);
        }
        format!("b{}[{at}]", self.binding)
    }

    fn at(&self, index: &str) -> String {
        if index == "0u" { self.offset.clone() } else { format!("{} + {index}", self.offset) }
    }

    /// The four that are stored from an index on, where the binding holds quads and the index is that of the first of
    /// one.
    pub fn stored_four(&self, index: &str) -> String {
        format!("b{}[({}) >> 2u]", self.binding, self.at(index))
    }

    /// An operand that no shader reaches.
    pub fn none() -> Slot {
        Slot { binding: 0, quads: false, offset: String::new(), dtype: DType::F32, packed: None }
    }

    /// Whether [`Slot::stored_four`] works, for indices that are multiples of four.
    pub fn has_quads(&self) -> bool {
        self.quads
    }

    /// What is stored, in the type of registers.
    pub fn value_of(&self, stored: &str) -> String {
        if self.packed.is_some() { format!("f32({stored})") } else { from_word(self.dtype, stored) }
    }

    /// As what a value of the type of registers is stored.
    fn stored_as(&self, value: &str) -> String {
        match self.packed {
            Some(half) => format!("f_to_{half}({value})"),
            None => to_word(self.dtype, value),
        }
    }

    /// The element at an index, in the type of registers.
    pub fn load(&self, index: &str) -> String {
        self.value_of(&self.stored(index))
    }

    /// The statement that stores a value of the type of registers, rounded to the type of the operand.
    pub fn store(&self, index: &str, value: &str) -> String {
        format!("{} = {};", self.stored(index), self.stored_as(value))
    }

    /// The float at an index, of type [`Slot::fetched`]: an f16 as it is, to be converted when it is needed.
    pub fn fetch(&self, index: &str) -> String {
        if self.packed.is_some() { self.stored(index) } else { self.load(index) }
    }

    /// The same for four from an index on, where [`Slot::stored_four`] works.
    pub fn fetch_four(&self, index: &str) -> String {
        let four = self.stored_four(index);
        if self.packed.is_some() { four } else { format!("bitcast<vec4<f32>>({four})") }
    }

    /// The type of what is fetched, or of an element of it.
    pub fn fetched(&self) -> &'static str {
        self.packed.unwrap_or("f32")
    }

    /// The statement that stores four values of the type of registers, from an index on, where [`Slot::stored_four`]
    /// works.
    pub fn store_four(&self, index: &str, values: &[String; 4]) -> String {
        let ty = self.packed.unwrap_or("u32");
        let four = values.each_ref().map(|value| self.stored_as(value)).join(", ");
        format!("{} = vec4<{ty}>({four});", self.stored_four(index))
    }

    /// The same for a vector of four f32.
    pub fn store_vector(&self, index: &str, vector: &str) -> String {
        match self.dtype {
            DType::F32 => format!("{} = bitcast<vec4<u32>>({vector});", self.stored_four(index)),
            _ if self.packed.is_some() => {
                format!("{} = vec4<{}>({vector});", self.stored_four(index), self.fetched())
            }
            _ => {
                self.store_four(index, &["x", "y", "z", "w"].map(|component| format!("{vector}.{component}")))
            }
        }
    }
}

/// The element that is stored as a word, in the type of registers.
fn from_word(dtype: DType, word: &str) -> String {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => format!("bitcast<f32>({word})"),
        DType::I32 => format!("bitcast<i32>({word})"),
        DType::U32 | DType::U8 => word.into(),
        DType::Bool => format!("({word} != 0u)"),
    }
}

/// The word as which a value of the type of registers is stored.
fn to_word(dtype: DType, value: &str) -> String {
    match dtype {
        DType::F32 | DType::I32 => format!("bitcast<u32>({value})"),
        DType::F16 | DType::BF16 => format!("bitcast<u32>({})", rounded(dtype, value)),
        DType::U32 => value.into(),
        DType::U8 => format!("{value} & 255u"),
        DType::Bool => format!("select(0u, 1u, {value})"),
    }
}

/// A float rounded to a half type.
pub fn rounded(dtype: DType, value: &str) -> String {
    match dtype {
        DType::F16 => format!("f_round_to_f16({value})"),
        DType::BF16 => format!("f_round_to_bf16({value})"),
        _ => value.into(),
    }
}

/// The WGSL type of registers of an element type.
pub fn wgsl_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => "f32",
        DType::I32 => "i32",
        DType::U32 | DType::U8 => "u32",
        DType::Bool => "bool",
    }
}

/// A buffer as a shader sees it. One that holds packed elements beside words is bound twice: every element is reached
/// through one of the two bindings only, so that they need not know of each other.
struct Binding {
    buffer: BufferId,
    /// The type of what lies there.
    stored: &'static str,
    written: bool,
}

/// Collects what a shader consists of.
#[derive(Default)]
pub struct Shader {
    bindings: Vec<Binding>,
    /// What is bound as quads: buffers, and the type of what lies there.
    quads: Vec<(BufferId, &'static str)>,
    params: Vec<u32>,
    /// Whether threads are numbered along subgroups.
    by_subgroups: bool,
    /// Parts of the language that it asks for.
    enabled: Vec<&'static str>,
    /// Declarations and functions of the module.
    pub head: String,
    /// Statements of the entry point.
    pub body: String,
}

impl Shader {
    /// The number of the binding through which a value is reached, which is made if need be.
    fn binding(&mut self, place: Where, written: bool) -> usize {
        let (buffer, stored) = (place.buffer, place.stored());
        let same = |other: &Binding| other.buffer == buffer && other.stored == stored;
        let index = self.bindings.iter().position(same).unwrap_or_else(|| {
            self.bindings.push(Binding { buffer, stored, written: false });
            self.bindings.len() - 1
        });
        self.bindings[index].written |= written;
        index + 1
    }

    /// Binds what values like this lie in as quads, so that four neighbours are loaded at once; before any operand in
    /// it is made.
    pub fn bind_as_quads(&mut self, place: Where) {
        self.quads.push((place.buffer, place.stored()));
    }

    /// An operand whose first element is a parameter.
    pub fn operand(&mut self, place: Where, written: bool) -> Slot {
        let offset = self.param(place.first);
        self.operand_at(place, written, offset)
    }

    /// An operand like that at a place, whose first element is a variable of the entry point.
    pub fn operand_at(&mut self, place: Where, written: bool, offset: String) -> Slot {
        let quads = self.quads.contains(&(place.buffer, place.stored()));
        let (dtype, packed) = (place.dtype, place.packed());
        Slot { binding: self.binding(place, written), quads, offset, dtype, packed }
    }

    /// A parameter, as the expression that reads it.
    pub fn param(&mut self, value: u32) -> String {
        let index = self.params.len();
        self.params.push(value);
        format!("P[{}].{}", index / 4, ["x", "y", "z", "w"][index % 4])
    }

    /// Parameters that are read by position: `param_at(i)` gives the i-th. A shader has either these or single ones.
    pub fn param_table(&mut self, values: &[u32]) {
        self.params.extend_from_slice(values);
        self.line_head("fn param_at(i: u32) -> u32 { return P[i >> 2u][i & 3u]; }");
    }

    /// Adds a line to the module.
    pub fn line_head(&mut self, line: &str) {
        self.head.push_str(line);
        self.head.push('\n');
    }

    /// Adds a line to the entry point.
    pub fn line(&mut self, line: &str) {
        self.body.push_str("    ");
        self.body.push_str(line);
        self.body.push('\n');
    }

    /// Numbers threads so that those of a subgroup follow one another, of which the entry point then knows
    /// `subgroup_lanes`, the number of its lanes, and `subgroup_lane`, this thread's.
    pub fn number_by_subgroups(&mut self) {
        self.by_subgroups = true;
    }

    /// Asks for a part of the language that not every device has.
    pub fn enable(&mut self, extension: &'static str) {
        self.enabled.push(extension);
    }

    /// The dispatch of `groups` workgroups of `threads` threads. The entry point knows `wg`, its workgroup, and `lid`,
    /// its thread; workgroups beyond `groups` do nothing.
    pub fn finish(mut self, label: &str, threads: usize, groups: usize) -> Dispatch {
        const WIDEST: usize = 32768;
        let width = groups.clamp(1, WIDEST);
        let height = groups.div_ceil(width);
        let mut text = String::new();
        let has_f16 =
            self.bindings.iter().any(|binding| binding.stored == "f16") || self.enabled.contains(&"f16");
        if has_f16 {
            text.push_str("enable f16;\n");
        }
        for extension in self.enabled.iter().filter(|extension| **extension != "f16") {
            let _ = writeln!(text, "enable {extension};");
        }
        while self.params.is_empty() || !self.params.len().is_multiple_of(4) {
            self.params.push(0);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "@group(0) @binding(0) var<uniform> P: array<vec4<u32>, {}>;",
            self.params.len() / 4
        );
        // Within a dispatch a buffer is either written or read, in all of its bindings.
        let is_written =
            |buffer: BufferId| self.bindings.iter().any(|other| other.buffer == buffer && other.written);
        let bindings: Vec<(BufferId, bool)> =
            self.bindings.iter().map(|binding| (binding.buffer, is_written(binding.buffer))).collect();
        for (index, (Binding { buffer, stored, .. }, (_, written))) in
            self.bindings.iter().zip(&bindings).enumerate()
        {
            let access = if *written { "read_write" } else { "read" };
            let element = match self.quads.contains(&(*buffer, *stored)) {
                true => format!("vec4<{stored}>"),
                false => stored.to_string(),
            };
            let number = index + 1;
            let _ = writeln!(
                text,
                "@group(0) @binding({number}) var<storage, {access}> b{number}: array<{element}>;"
            );
        }
        let beyond =
            if height > 1 { format!("    if (wg >= {groups}u) {{ return; }}\n") } else { String::new() };
        let (thread, number) = if self.by_subgroups {
            (
                "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) subgroup_lanes: u32, \
                 @builtin(subgroup_invocation_id) subgroup_lane: u32",
                "    let lid = subgroup * subgroup_lanes + subgroup_lane;\n",
            )
        } else {
            ("@builtin(local_invocation_index) lid: u32", "")
        };
        let main = format!(
            "@compute @workgroup_size({threads}) fn main(@builtin(workgroup_id) wid: vec3<u32>, {thread}) {{\n\
             {number}    let wg = wid.x + {width}u * wid.y;\n{beyond}{}}}\n",
            self.body
        );
        text.push_str(&functions::needed_by(&format!("{}{main}", self.head)));
        text.push_str(&self.head);
        text.push_str(&main);
        Dispatch {
            label: label.into(),
            source: text,
            bindings,
            params: self.params,
            workgroups: [width as u32, height as u32, 1],
        }
    }
}
