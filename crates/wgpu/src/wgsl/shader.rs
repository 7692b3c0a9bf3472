//! A shader in the making: its bindings, its parameters and its text.

use super::functions;
use dropforge_ir::DType;
use std::fmt::Write;

/// A buffer that an executable binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BufferId {
    /// Memory of the executable, by chunk.
    Own(usize),
    /// Memory of states, by position in the executable's table.
    State(usize),
    /// Memory that a kernel's dispatches hand each other.
    Scratch,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Where {
    /// In which buffer.
    pub buffer: BufferId,
    /// At which word.
    pub word: u32,
}

/// One dispatch of one shader.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
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
pub(crate) struct Slot {
    binding: usize,
    /// Whether the binding holds quads of words.
    quads: bool,
    /// Expression of the first word.
    offset: String,
}

impl Slot {
    /// The word at an index, an expression of type u32.
    pub fn word(&self, index: &str) -> String {
        let at = self.at(index);
        if self.quads {
            return format!("b{}[({at}) >> 2u][({at}) & 3u]", self.binding);
        }
        format!("b{}[{at}]", self.binding)
    }

    fn at(&self, index: &str) -> String {
        if index == "0u" { self.offset.clone() } else { format!("{} + {index}", self.offset) }
    }

    /// The four words from an index on, where the binding holds quads and the word is the first of one.
    pub fn quad(&self, index: &str) -> String {
        format!("b{}[({}) >> 2u]", self.binding, self.at(index))
    }

    /// An operand that no shader reaches.
    pub fn none() -> Slot {
        Slot { binding: 0, quads: false, offset: String::new() }
    }

    /// Whether [`Slot::quad`] works, for indices that are multiples of four.
    pub fn has_quads(&self) -> bool {
        self.quads
    }

    /// The element at an index, in the type of registers.
    pub fn load(&self, dtype: DType, index: &str) -> String {
        from_word(dtype, &self.word(index))
    }

    /// The statement that stores a value of the type of registers.
    pub fn store(&self, dtype: DType, index: &str, value: &str) -> String {
        format!("{} = {};", self.word(index), to_word(dtype, value))
    }
}

/// The element that is stored as a word, in the type of registers.
pub(crate) fn from_word(dtype: DType, word: &str) -> String {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => format!("bitcast<f32>({word})"),
        DType::I32 => format!("bitcast<i32>({word})"),
        DType::U32 | DType::U8 => word.into(),
        DType::Bool => format!("({word} != 0u)"),
    }
}

/// The word as which a value of the type of registers is stored.
pub(crate) fn to_word(dtype: DType, value: &str) -> String {
    match dtype {
        DType::F32 | DType::I32 => format!("bitcast<u32>({value})"),
        DType::F16 | DType::BF16 => format!("bitcast<u32>({})", rounded(dtype, value)),
        DType::U32 => value.into(),
        DType::U8 => format!("{value} & 255u"),
        DType::Bool => format!("select(0u, 1u, {value})"),
    }
}

/// A float rounded to a half type.
pub(crate) fn rounded(dtype: DType, value: &str) -> String {
    match dtype {
        DType::F16 => format!("f_round_to_f16({value})"),
        DType::BF16 => format!("f_round_to_bf16({value})"),
        _ => value.into(),
    }
}

/// The WGSL type of registers of an element type.
pub(crate) fn wgsl_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => "f32",
        DType::I32 => "i32",
        DType::U32 | DType::U8 => "u32",
        DType::Bool => "bool",
    }
}

/// Collects what a shader consists of.
#[derive(Default)]
pub(crate) struct Shader {
    bindings: Vec<(BufferId, bool)>,
    /// Buffers that are bound as quads of words.
    quads: Vec<BufferId>,
    params: Vec<u32>,
    /// Whether threads are numbered along subgroups.
    by_subgroups: bool,
    /// Declarations and functions of the module.
    pub head: String,
    /// Statements of the entry point.
    pub body: String,
}

impl Shader {
    /// The number of the binding of a buffer, which is made if need be.
    pub fn binding(&mut self, buffer: BufferId, written: bool) -> usize {
        let position = self.bindings.iter().position(|(other, _)| *other == buffer);
        let index = position.unwrap_or_else(|| {
            self.bindings.push((buffer, false));
            self.bindings.len() - 1
        });
        self.bindings[index].1 |= written;
        index + 1
    }

    /// Binds a buffer as quads of words, so that four neighbours are loaded at once; before any operand in it is made.
    pub fn bind_as_quads(&mut self, buffer: BufferId) {
        self.quads.push(buffer);
    }

    /// An operand whose first word is a parameter.
    pub fn operand(&mut self, place: Where, written: bool) -> Slot {
        let offset = self.param(place.word);
        self.operand_at(place.buffer, written, offset)
    }

    /// An operand whose first word is a variable of the entry point.
    pub fn operand_at(&mut self, buffer: BufferId, written: bool, offset: String) -> Slot {
        Slot { binding: self.binding(buffer, written), quads: self.quads.contains(&buffer), offset }
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

    /// Numbers threads so that those of a subgroup follow one another, of which the entry point then knows `subgroup_lanes`,
    /// the number of its lanes, and `subgroup_lane`, this thread's.
    pub fn number_by_subgroups(&mut self) {
        self.by_subgroups = true;
    }

    /// The dispatch of `groups` workgroups of `threads` threads. The entry point knows `wg`, its workgroup, and `lid`, its
    /// thread; workgroups beyond `groups` do nothing.
    pub fn finish(mut self, label: &str, threads: usize, groups: usize) -> Dispatch {
        const WIDEST: usize = 32768;
        let width = groups.clamp(1, WIDEST);
        let height = groups.div_ceil(width);
        let mut text = String::new();
        while self.params.is_empty() || !self.params.len().is_multiple_of(4) {
            self.params.push(0);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "@group(0) @binding(0) var<uniform> P: array<vec4<u32>, {}>;",
            self.params.len() / 4
        );
        for (index, (buffer, written)) in self.bindings.iter().enumerate() {
            let access = if *written { "read_write" } else { "read" };
            let element = if self.quads.contains(buffer) { "vec4<u32>" } else { "u32" };
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
            bindings: self.bindings,
            params: self.params,
            workgroups: [width as u32, height as u32, 1],
        }
    }
}
