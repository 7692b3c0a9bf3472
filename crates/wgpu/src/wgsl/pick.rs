//! What a printer may choose without changing what is computed, up to rounding.

use crate::tuning::{ATTENTION_TILES, AttentionTile, TILES, Tile};

/// One choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The tile of a contraction, and into how many parts the sum is split.
    Contraction(Tile, usize),
    /// The tile of an attention.
    Attention(AttentionTile),
}

impl Pick {
    /// As a word of a file.
    pub fn text(self) -> String {
        match self {
            Pick::Contraction(tile, parts) => {
                let Tile { m, n, thread_m, thread_n, k } = tile;
                format!("tile:{m}:{n}:{thread_m}:{thread_n}:{k}:{parts}")
            }
            Pick::Attention(tile) => format!("attention:{}:{}:{}", tile.rows, tile.each, tile.depth),
        }
    }

    /// From such a word; nothing if it names no choice of the tables.
    pub fn parse(text: &str) -> Option<Pick> {
        let (kind, numbers) = text.split_once(':')?;
        let numbers: Vec<usize> = numbers.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        match (kind, numbers.as_slice()) {
            ("tile", &[m, n, thread_m, thread_n, k, parts]) if parts > 0 => {
                let tile = Tile { m, n, thread_m, thread_n, k };
                TILES.iter().any(|(known, _)| *known == tile).then_some(Pick::Contraction(tile, parts))
            }
            ("attention", &[rows, each, depth]) => {
                let tile = AttentionTile { rows, each, depth };
                ATTENTION_TILES.contains(&tile).then_some(Pick::Attention(tile))
            }
            _ => None,
        }
    }
}

/// A kernel with choices.
#[derive(Clone, Debug)]
pub(crate) struct Tunable {
    /// Kernels of one class make the same choice: the operation, how its operands lie, and sizes in steps.
    pub class: String,
    /// What there is to choose from, the choice by rule first.
    pub picks: Vec<Pick>,
    /// Most parts of the sum of a contraction.
    pub most_parts: usize,
    /// Bytes of workgroup memory that a shader may use.
    pub memory: u32,
    /// Floating-point operations of the kernel.
    pub flops: f64,
}

impl Tunable {
    /// What was picked for this class, if it can be done here, or else the choice by rule.
    pub fn pick(&self, picked: &dyn Fn(&str) -> Option<Pick>) -> Pick {
        match (self.picks[0], picked(&self.class)) {
            (Pick::Contraction(..), Some(Pick::Contraction(tile, parts)))
                if tile.memory() <= self.memory as usize =>
            {
                Pick::Contraction(tile, parts.min(self.most_parts))
            }
            (Pick::Attention(_), Some(pick)) if self.picks.contains(&pick) => pick,
            (rule, _) => rule,
        }
    }
}

/// A size in steps of about a fifth.
pub(crate) fn step(size: usize) -> usize {
    match size.checked_ilog2() {
        Some(bits) if bits > 2 => size >> (bits - 2) << (bits - 2),
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_survive_their_text() {
        for pick in [Pick::Contraction(TILES[3].0, 7), Pick::Attention(ATTENTION_TILES[1])] {
            assert_eq!(Pick::parse(&pick.text()), Some(pick));
        }
        for wrong in
            ["", "tile:1:2:3:4:5:6", "tile:64:64:4:4:16:0", "tile:64:64:4:4:16:x", "attention:64", "other:1"]
        {
            assert_eq!(Pick::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_come_in_steps() {
        assert_eq!([0, 3, 7, 8, 9, 100, 128, 159, 160].map(step), [0, 3, 7, 8, 8, 96, 128, 128, 160]);
    }
}
