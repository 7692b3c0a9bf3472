//! How kernels are printed for a device, beyond its limits.

use crate::tuning::QUADS_FROM;
use dropforge_ir::DType;

/// What printed kernels use.
///
/// [`Printing::default`] needs nothing of a device. Another choice may round reductions differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printing {
    /// Fewest lanes of a subgroup, a power of two, if lanes are to exchange values without workgroup memory.
    pub subgroup: Option<u32>,
    /// From how many elements on threads take four neighbours at once; `usize::MAX` for never.
    pub quads_from: usize,
    /// Whether one of four neighbours can be stored while other threads store the other three. Metal's language does not
    /// say so of the parts of vectors.
    pub stores_parts: bool,
    /// Whether f16 takes 2 bytes in memory, of which shaders know the type; else a word as everything does.
    pub f16: bool,
    /// The cooperative matrices that the device multiplies, if any.
    pub matrices: Option<Matrices>,
    /// When contractions go through them.
    pub matrix_use: MatrixUse,
}

/// Cooperative matrices, which the lanes of a subgroup hold and multiply together; all are square, and their sums are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrices {
    /// Rows of matrices whose factors are f16, if there are such: 8 or 16.
    pub of_f16: Option<u32>,
    /// The same for factors of f32.
    pub of_f32: Option<u32>,
    /// Lanes of a subgroup, the same number in every shader.
    pub lanes: u32,
    /// Whether they can be loaded from workgroup memory that consists of vectors, and start at zero as variables. Metal's language
    /// takes numbers only, and does not say what matrices hold at first.
    pub lenient: bool,
}

impl Matrices {
    fn of(
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
        let found = Matrices { of_f16, of_f32: side(F32), lanes, lenient: !is_metal };
        (features.contains(needed) && (found.of_f16.is_some() || found.of_f32.is_some())).then_some(found)
    }
}

/// When contractions go through cooperative matrices, where these fit their types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatrixUse {
    /// Never.
    Never,
    /// Where that is faster, by timing or by rule.
    #[default]
    WhereFaster,
    /// Wherever they can, for tests.
    Always,
}

impl Default for Printing {
    fn default() -> Printing {
        Printing {
            subgroup: None,
            quads_from: QUADS_FROM,
            stores_parts: false,
            f16: false,
            matrices: None,
            matrix_use: MatrixUse::default(),
        }
    }
}

impl Printing {
    /// What suits an adapter whose device was opened with these features, and that multiplies these matrices; f16 apart,
    /// which is to be tried ([`crate::halves`]).
    pub(crate) fn of(
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
            matrices: Matrices::of(info, features, matrices),
            ..Printing::default()
        }
    }

    /// Whether elements of this type take 2 bytes in memory.
    pub(crate) fn packs(self, dtype: DType) -> bool {
        self.f16 && dtype == DType::F16
    }

    /// An element and a barrier at a time, to compare with.
    #[must_use]
    pub fn plain(self) -> Printing {
        Printing { subgroup: None, quads_from: usize::MAX, ..self }
    }
}
