//! What a printer may choose without changing what is computed, up to rounding.

use super::cooperative::Kind;
use crate::printing::MatrixUse;
use crate::tuning::{ATTENTION_TILES, AttentionTile, MATRIX_TILES, MatrixTile, TILES, Tile};
use dropforge_gpu::tune;

/// One choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The tile of a contraction, and into how many parts the sum is split.
    Contraction(Tile, usize),
    /// The same for a contraction by cooperative matrices.
    Matrices(MatrixTile, usize),
    /// The tile of an attention.
    Attention(AttentionTile),
}

impl Pick {
    /// Positions along the sum of a contraction that are in workgroup memory at once.
    pub fn depth(self) -> Option<usize> {
        match self {
            Pick::Contraction(tile, _) => Some(tile.k),
            Pick::Matrices(tile, _) => Some(tile.k),
            Pick::Attention(_) => None,
        }
    }

    /// Into how many parts the sum of a contraction is split.
    pub fn parts(self) -> Option<usize> {
        match self {
            Pick::Contraction(_, parts) | Pick::Matrices(_, parts) => Some(parts),
            Pick::Attention(_) => None,
        }
    }
}

impl tune::Pick for Pick {
    fn text(self) -> String {
        match self {
            Pick::Contraction(tile, parts) => {
                let Tile { m, n, thread_m, thread_n, k } = tile;
                format!("tile:{m}:{n}:{thread_m}:{thread_n}:{k}:{parts}")
            }
            Pick::Matrices(tile, parts) => {
                let MatrixTile { m, n, part_m, part_n, k } = tile;
                format!("matrices:{m}:{n}:{part_m}:{part_n}:{k}:{parts}")
            }
            Pick::Attention(tile) => format!("attention:{}:{}:{}", tile.rows, tile.each, tile.depth),
        }
    }

    fn parse(text: &str) -> Option<Pick> {
        let (kind, numbers) = text.split_once(':')?;
        let numbers: Vec<usize> = numbers.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        match (kind, numbers.as_slice()) {
            ("tile", &[m, n, thread_m, thread_n, k, parts]) if parts > 0 => {
                let tile = Tile { m, n, thread_m, thread_n, k };
                TILES.iter().any(|(known, _)| *known == tile).then_some(Pick::Contraction(tile, parts))
            }
            ("matrices", &[m, n, part_m, part_n, k, parts]) if parts > 0 => {
                let tile = MatrixTile { m, n, part_m, part_n, k };
                MATRIX_TILES.iter().any(|(known, _)| *known == tile).then_some(Pick::Matrices(tile, parts))
            }
            ("attention", &[rows, each, depth]) => {
                let tile = AttentionTile { rows, each, depth };
                ATTENTION_TILES.contains(&tile).then_some(Pick::Attention(tile))
            }
            _ => None,
        }
    }
}

/// What a kernel with choices may use.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// Bytes of workgroup memory.
    pub memory: u32,
    /// Threads of a workgroup.
    pub threads: u32,
    /// The cooperative matrices that fit its operands, if there are such.
    pub matrices: Option<Kind>,
    /// When it goes through them.
    pub matrix_use: MatrixUse,
}

impl Means {
    /// Whether it can use a tile of cooperative matrices.
    pub fn take(&self, tile: MatrixTile) -> bool {
        let takes = |kind: Kind| kind.takes(tile, self.threads as usize, self.memory as usize);
        self.matrix_use != MatrixUse::Never && self.matrices.is_some_and(takes)
    }
}

/// A kernel with choices.
#[derive(Clone, Debug)]
pub struct Tunable {
    /// Kernels of one class make the same choice: the operation, how its operands lie, and sizes in steps.
    pub class: String,
    /// What there is to choose from, the choice by rule first.
    pub picks: Vec<Pick>,
    /// Most parts of the sum of a contraction.
    pub most_parts: usize,
    /// What a shader may use.
    pub means: Means,
    /// Floating-point operations of the kernel.
    pub flops: f64,
}

impl tune::Tunable for Tunable {
    type Pick = Pick;

    fn class(&self) -> &str {
        &self.class
    }

    fn picks(&self) -> &[Pick] {
        &self.picks
    }

    fn flops(&self) -> f64 {
        self.flops
    }

    fn fit(&self, picked: Option<Pick>) -> Pick {
        let is_bound = self.means.matrix_use == MatrixUse::Always;
        match (self.picks[0], picked) {
            (Pick::Matrices(..), Some(Pick::Contraction(..))) if is_bound => self.picks[0],
            (Pick::Contraction(..) | Pick::Matrices(..), Some(Pick::Contraction(tile, parts)))
                if tile.memory() <= self.means.memory as usize =>
            {
                Pick::Contraction(tile, parts.min(self.most_parts))
            }
            (Pick::Contraction(..) | Pick::Matrices(..), Some(Pick::Matrices(tile, parts)))
                if self.means.take(tile) =>
            {
                Pick::Matrices(tile, parts.min(self.most_parts))
            }
            (Pick::Attention(_), Some(pick)) if self.picks.contains(&pick) => pick,
            (rule, _) => rule,
        }
    }
}

/// A size in steps of about a fifth.
pub fn step(size: usize) -> usize {
    match size.checked_ilog2() {
        Some(bits) if bits > 2 => size >> (bits - 2) << (bits - 2),
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_gpu::tune::{Pick as _, Tunable as _};

    #[test]
    fn picks_survive_their_text() {
        for pick in [
            Pick::Contraction(TILES[3].0, 7),
            Pick::Matrices(MATRIX_TILES[2].0, 3),
            Pick::Attention(ATTENTION_TILES[1]),
        ] {
            assert_eq!(Pick::parse(&pick.text()), Some(pick));
        }
        for wrong in [
            "",
            "tile:1:2:3:4:5:6",
            "tile:64:64:4:4:16:0",
            "tile:64:64:4:4:16:x",
            "attention:64",
            "matrices:1:2:3:4:5:6",
            "other:1",
        ] {
            assert_eq!(Pick::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn matrices_are_picked_only_where_they_are_offered() {
        let kind = Kind { side: 16, scalar: "f16", lanes: 32, in_quads: true, start_at_zero: true };
        let [large, small] = [MATRIX_TILES[0].0, MATRIX_TILES[8].0].map(|tile| Pick::Matrices(tile, 2));
        let tile = Pick::Contraction(TILES[0].0, 1);
        let fit = |rule, picked, matrices, matrix_use, memory| {
            let means = Means { memory, threads: 256, matrices, matrix_use };
            let class = String::new();
            Tunable { class, picks: vec![rule], most_parts: 3, means, flops: 1.0 }.fit(Some(picked))
        };
        let offered = MatrixUse::WhereFaster;
        assert_eq!(fit(tile, large, Some(kind), offered, 48 << 10), large);
        assert_eq!(fit(tile, large, Some(kind), offered, 32 << 10), tile);
        assert_eq!(fit(tile, small, Some(kind), offered, 32 << 10), small);
        assert_eq!(fit(tile, small, None, offered, 48 << 10), tile);
        assert_eq!(fit(tile, small, Some(kind), MatrixUse::Never, 48 << 10), tile);
        assert_eq!(fit(small, tile, Some(kind), offered, 48 << 10), tile);
        assert_eq!(fit(small, tile, Some(kind), MatrixUse::Always, 48 << 10), small);
    }

    #[test]
    fn sizes_come_in_steps() {
        assert_eq!([0, 3, 7, 8, 9, 100, 128, 159, 160].map(step), [0, 3, 7, 8, 8, 96, 128, 128, 160]);
    }
}
