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
}

impl Default for Printing {
    fn default() -> Printing {
        Printing { subgroup: None, quads_from: QUADS_FROM, stores_parts: false, f16: false }
    }
}

impl Printing {
    /// What suits an adapter whose device was opened with these features, f16 apart, which is to be tried
    /// ([`crate::halves`]).
    pub(crate) fn of(info: &wgpu::AdapterInfo, features: wgpu::Features) -> Printing {
        let least = info.subgroup_min_size;
        let has_subgroups = features.contains(wgpu::Features::SUBGROUP) && least.is_power_of_two();
        Printing {
            subgroup: has_subgroups.then_some(least),
            stores_parts: info.backend != wgpu::Backend::Metal,
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
