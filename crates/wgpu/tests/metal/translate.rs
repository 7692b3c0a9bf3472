//! From WGSL to the Metal shading language, with the options that wgpu takes on a Mac.

use naga::back::msl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// The language of macOS 14. Newer ones change nothing of what is printed for kernels.
const LANGUAGE: (u8, u8) = (3, 1);

/// What the entry point of a kernel takes, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The position of the workgroup in the grid.
    Workgroup,
    /// The position of the thread in its workgroup.
    Thread,
    /// The position of the thread's subgroup in its workgroup.
    Subgroup,
    /// The position of the thread in its subgroup.
    SubgroupThread,
    /// The number of threads of a subgroup.
    SubgroupSize,
    /// The buffer of a slot. The first holds the parameters, the last the sizes of the others.
    Buffer(usize),
    /// Memory of the workgroup, from a byte on.
    Shared(usize),
}

/// A kernel as Metal gets it.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub label: String,
    pub source: String,
    pub entry: String,
    pub parameters: Vec<Parameter>,
    /// Threads of a workgroup.
    pub threads: u32,
    /// Bytes of workgroup memory.
    pub shared_bytes: usize,
}

impl Kernel {
    /// Whether its threads wait for each other.
    pub fn waits(&self) -> bool {
        self.source.contains("_barrier(") || self.source.contains("simd_")
    }
}

/// Translates a shader whose storage buffers, bindings 1, 2, …, are written or only read.
pub fn translate(label: &str, source: &str, written: &[bool]) -> Result<Kernel, String> {
    let fail = |what: String| format!("{label}: {what}\n{source}");
    let module = naga::front::wgsl::parse_str(source).map_err(|error| fail(error.emit_to_string(source)))?;
    // What the device asks for.
    let able = Capabilities::SHADER_FLOAT16
        | Capabilities::SUBGROUP
        | Capabilities::SUBGROUP_BARRIER
        | Capabilities::COOPERATIVE_MATRIX;
    let mut validator = Validator::new(ValidationFlags::all(), able);
    validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).map_err(|error| fail(error.emit_to_string(source)))?;

    let slots = written.len() + 1;
    let mut resources = msl::EntryPointResources::default();
    for slot in 0..slots {
        let binding = naga::ResourceBinding { group: 0, binding: slot as u32 };
        let mutable = slot > 0 && written[slot - 1];
        let target = msl::BindTarget { buffer: Some(slot as u8), mutable, ..Default::default() };
        resources.resources.insert(binding, target);
    }
    resources.sizes_buffer = Some(slots as u8);
    let options = msl::Options {
        lang_version: LANGUAGE,
        per_entry_point_map: [("main".to_string(), resources)].into_iter().collect(),
        fake_missing_bindings: false,
        // The device compiles its shaders as trusted, and leaves workgroup memory as it is.
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Unchecked,
            buffer: BoundsCheckPolicy::Unchecked,
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((naga::ShaderStage::Compute, "main".into())),
        vertex_pulling_transform: true,
        ..Default::default()
    };
    let (text, names) =
        msl::write_string(&module, &info, &options, &pipeline).map_err(|error| fail(error.to_string()))?;
    let entry = names.entry_point_names[0].clone().map_err(|error| fail(error.to_string()))?;
    let mut parameters = Vec::new();
    let mut shared_bytes = 0usize;
    let used = info.get_entry_point(0);
    let mut shared = module.global_variables.iter().filter(|(handle, variable)| {
        variable.space == naga::AddressSpace::WorkGroup && !used[*handle].is_empty()
    });
    for declared in signature(&text, &entry).ok_or_else(|| fail(format!("no entry point in\n{text}")))? {
        let parameter = if declared.contains("[[threadgroup_position_in_grid]]") {
            Parameter::Workgroup
        } else if declared.contains("[[thread_index_in_threadgroup]]") {
            Parameter::Thread
        } else if declared.contains("[[simdgroup_index_in_threadgroup]]") {
            Parameter::Subgroup
        } else if declared.contains("[[thread_index_in_simdgroup]]") {
            Parameter::SubgroupThread
        } else if declared.contains("[[threads_per_simdgroup]]") {
            Parameter::SubgroupSize
        } else if let Some(slot) = buffer_slot(&declared) {
            Parameter::Buffer(slot)
        } else if declared.starts_with("threadgroup ") {
            let (_, variable) = shared.next().ok_or_else(|| fail(format!("surprising {declared}")))?;
            let start = shared_bytes.next_multiple_of(16);
            shared_bytes = start + module.types[variable.ty].inner.size(module.to_ctx()) as usize;
            Parameter::Shared(start)
        } else {
            return Err(fail(format!("the entry point takes {declared}, which is not known here")));
        };
        parameters.push(parameter);
    }
    let threads = module.entry_points[0].workgroup_size[0];
    Ok(Kernel { label: label.into(), source: text, entry, parameters, threads, shared_bytes })
}

/// The parameters of the entry point as they are written; they end at `) {` of a line by itself.
fn signature(text: &str, entry: &str) -> Option<Vec<String>> {
    let start = text.find(&format!("kernel void {entry}("))?;
    let open = start + text[start..].find('(')? + 1;
    let close = open + text[open..].find("\n)")?;
    let parameters = text[open..close].split('\n').map(|line| line.trim_matches([' ', ',']));
    Some(parameters.filter(|line| !line.is_empty()).map(String::from).collect())
}

fn buffer_slot(declared: &str) -> Option<usize> {
    let digits = declared.split_once("[[buffer(")?.1.split_once(')')?.0;
    digits.parse().ok()
}
