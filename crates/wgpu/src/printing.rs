//! How kernels are printed for an adapter, and what they may use of it.

pub use dropforge_wgsl::{Limits, Matrices, MatrixUse, Printing};

/// What suits an adapter whose device was opened with these features, and that multiplies these matrices; f16 apart,
/// which is to be tried ([`crate::halves`]).
pub(crate) fn printing_of(
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    matrices: &[wgpu::CooperativeMatrixProperties],
) -> Printing {
    let least = info.subgroup_min_size;
    let has_subgroups = features.contains(wgpu::Features::SUBGROUP) && least.is_power_of_two();
    Printing {
        subgroup: has_subgroups.then_some(least),
        stores_parts: info.backend != wgpu::Backend::Metal,
        // Software renderers go by rule, and the rule knows nothing of them.
        matrix_use: match info.device_type {
            wgpu::DeviceType::Cpu => MatrixUse::Never,
            _ => MatrixUse::WhereFaster,
        },
        matrices: matrices_of(info, features, matrices),
        ..Printing::default()
    }
}

/// What kernels may use of a device with these limits.
#[must_use]
pub fn limits_of(limits: &wgpu::Limits) -> Limits {
    Limits {
        buffer_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        buffers: limits.max_storage_buffers_per_shader_stage as usize,
        parameter_bytes: limits.max_uniform_buffer_binding_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        workgroup_threads: limits.max_compute_invocations_per_workgroup,
    }
}

/// The cooperative matrices of an adapter, if it has any that kernels can use.
fn matrices_of(
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    properties: &[wgpu::CooperativeMatrixProperties],
) -> Option<Matrices> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let needed = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP;
    let is_metal = info.backend == wgpu::Backend::Metal;
    let lanes = match info.subgroup_min_size {
        least if least == info.subgroup_max_size => least,
        // Metal does not tell; Apple's GPUs have 32. Others that it knows have no such matrices, whatever is said.
        _ if is_metal && info.name.starts_with("Apple") => 32,
        _ => return None,
    };
    let side = |factors: wgpu::CooperativeScalarType| {
        let fits = |one: &&wgpu::CooperativeMatrixProperties| {
            let is_square = one.m_size == one.n_size && one.n_size == one.k_size;
            one.ab_type == factors && one.cr_type == F32 && is_square
        };
        properties.iter().filter(fits).map(|one| one.m_size).max()
    };
    let of_f16 = side(F16).filter(|_| features.contains(wgpu::Features::SHADER_F16));
    let found = Matrices { of_f16, of_bf16: None, of_f32: side(F32), lanes, lenient: !is_metal };
    (features.contains(needed) && (found.of_f16.is_some() || found.of_f32.is_some())).then_some(found)
}
