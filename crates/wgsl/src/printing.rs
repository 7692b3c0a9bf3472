//! How kernels are printed for a device, beyond its limits.

use crate::tuning::{BUSY_GROUPS, QUADS_FROM};
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
    /// Workgroups that keep the device busy; columns of reductions are split up to this.
    pub busy_groups: usize,
    /// Whether one of four neighbours can be stored while other threads store the other three. Metal's language does
    /// not say so of the parts of vectors.
    pub stores_parts: bool,
    /// Whether f16 takes 2 bytes in memory, of which shaders know the type; else a word as everything does.
    pub f16: bool,
    /// The same for bf16, which is no type of WGSL, but may be one of what that is translated into.
    pub bf16: bool,
    /// The cooperative matrices that the device multiplies, if any.
    pub matrices: Option<Matrices>,
    /// When contractions go through them.
    pub matrix_use: MatrixUse,
}

/// Cooperative matrices, which the lanes of a subgroup hold and multiply together; all are square, and their sums are
/// f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrices {
    /// Rows of matrices whose factors are f16, if there are such: 8 or 16.
    pub of_f16: Option<u32>,
    /// The same for factors of bf16.
    pub of_bf16: Option<u32>,
    /// The same for factors of f32.
    pub of_f32: Option<u32>,
    /// Lanes of a subgroup, the same number in every shader.
    pub lanes: u32,
    /// Whether they can be loaded from workgroup memory that consists of vectors, and start at zero as variables.
    /// Metal's language takes numbers only, and does not say what matrices hold at first.
    pub lenient: bool,
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
            busy_groups: BUSY_GROUPS,
            stores_parts: false,
            f16: false,
            bf16: false,
            matrices: None,
            matrix_use: MatrixUse::default(),
        }
    }
}

impl Printing {
    /// Whether elements of this type take 2 bytes in memory.
    #[must_use]
    pub fn packs(self, dtype: DType) -> bool {
        (self.f16 && dtype == DType::F16) || (self.bf16 && dtype == DType::BF16)
    }

    /// An element and a barrier at a time, to compare with.
    #[must_use]
    pub fn plain(self) -> Printing {
        Printing { subgroup: None, quads_from: usize::MAX, ..self }
    }
}
