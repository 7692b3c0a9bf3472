//! Orthogonal matrices, whole ones and sparse ones: starts that keep or thin out what passes.

use super::{Draw, Initializer};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// A matrix `[out, the rest]` whose shorter side's vectors are orthonormal, times the gain: PyTorch's
/// `init.orthogonal_`. Saxe et al., arXiv:1312.6120. Of two axes at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orthogonal {
    /// Length of the vectors.
    pub gain: f32,
}

described! {
    Orthogonal = "orthogonal", "a matrix with orthonormal rows or columns" like "init.orthogonal_";
    gain: f32, Some(1.0), Range::above(0.0), "length of the rows or columns";
}

impl Initializer for Orthogonal {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let [rows, rest @ ..] = &shape[..] else { return None };
        if rest.is_empty() {
            return None;
        }
        let columns: usize = rest.iter().product();
        let (count, length) = (*rows.min(&columns), *rows.max(&columns));
        let numbers = draw.normal(rows * columns, 0.0, 1.0);
        let mut vectors: Vec<Vec<f64>> = (0..count)
            .map(|i| numbers[i * length..(i + 1) * length].iter().map(|&x| f64::from(x)).collect())
            .collect();
        // Gram and Schmidt's method, twice, which is as good as it gets.
        for next in 0..count {
            let (done, rest) = vectors.split_at_mut(next);
            let vector = &mut rest[0];
            for _ in 0..2 {
                for other in done.iter() {
                    let along: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                    vector.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
                }
            }
            let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|x| *x /= norm);
        }
        let gain = f64::from(self.gain);
        let is_wide = count == *rows;
        let element = |row: usize, column: usize| {
            let x = if is_wide { vectors[row][column] } else { vectors[column][row] };
            (gain * x) as f32
        };
        Some((0..rows * columns).map(|i| element(i / columns, i % columns)).collect())
    }

    super::config!();
}

/// Ones on the diagonal of a matrix, zeros elsewhere; of filters `[out, in, ..]` ones in the middle, so that each
/// channel passes as it is. PyTorch's `init.eye_` and `init.dirac_`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Identity {
    /// What stands in place of the ones.
    pub gain: f32,
}

described! {
    Identity = "identity", "each channel passes as it is" like "init.eye_, init.dirac_";
    gain: f32, Some(1.0), Range::ANY, "what stands in place of the ones";
}

impl Initializer for Identity {
    fn elements(&self, _: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let [rows, columns, rest @ ..] = &shape[..] else { return None };
        let taps: usize = rest.iter().product();
        let middle = rest.iter().fold(0, |place, &extent| place * extent + extent / 2);
        let mut elements = vec![0.0; rows * columns * taps];
        if taps > 0 {
            for i in 0..*rows.min(columns) {
                elements[(i * columns + i) * taps + middle] = self.gain;
            }
        }
        Some(elements)
    }

    super::config!();
}

/// Normally distributed, with a share of each column of a matrix `[out, in]` zero: PyTorch's `init.sparse_`. Martens,
/// ICML 2010.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparse {
    /// Share of each column that is zero.
    pub sparsity: f32,
    /// Standard deviation of the others.
    pub deviation: f32,
}

described! {
    Sparse = "sparse", "normally distributed, with a share of each column zero" like "init.sparse_";
    sparsity: f32, Some(0.1), (0.0..=1.0).into(), "share of each column that is zero";
    deviation: f32, Some(0.01), (0.0..).into(), "standard deviation of the others";
}

impl Initializer for Sparse {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let [rows, columns] = shape[..] else { return None };
        // The share as it is written: of 50 rows 0.3 are 15, though the f32 nearest to it is a little more.
        let sparsity = self.sparsity.to_string().parse().unwrap_or(f64::from(self.sparsity));
        let zeros = (sparsity * rows as f64).ceil() as usize;
        let mut elements = draw.normal(rows * columns, 0.0, f64::from(self.deviation));
        // Other numbers decide where the zeros stand: those of the next name.
        let name = format!("{}.zeros", draw.name);
        let keys = Draw { name: &name, ..draw }.fractions(rows * columns);
        for column in 0..columns {
            let mut order: Vec<usize> = (0..rows).collect();
            order.sort_by(|&a, &b| keys[a * columns + column].total_cmp(&keys[b * columns + column]));
            for row in order.into_iter().take(zeros) {
                elements[row * columns + column] = 0.0;
            }
        }
        Some(elements)
    }

    super::config!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw() -> Draw<'static> {
        Draw { seed: 3, name: "w" }
    }

    #[test]
    fn the_shorter_side_is_orthonormal() {
        for shape in [[5, 9], [9, 5], [6, 6]] {
            let [rows, columns] = shape;
            let x = Orthogonal { gain: 2.0 }.elements(draw(), &shape.into()).unwrap();
            let count = rows.min(columns);
            let at = |vector: usize, i: usize| {
                if rows <= columns { x[vector * columns + i] } else { x[i * columns + vector] }
            };
            for a in 0..count {
                for b in 0..count {
                    let product: f32 = (0..rows.max(columns)).map(|i| at(a, i) * at(b, i)).sum();
                    let expected = if a == b { 4.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-5, "{shape:?} {a} {b}: {product}");
                }
            }
        }
        let filters = Orthogonal { gain: 1.0 }.elements(draw(), &[4, 2, 3, 3].into()).unwrap();
        let length: f32 = filters[..18].iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
        assert!(Orthogonal { gain: 1.0 }.elements(draw(), &[4].into()).is_none());
    }

    #[test]
    fn identities_pass_channels() {
        let eye = Identity { gain: 1.5 }.elements(draw(), &[2, 3].into()).unwrap();
        assert_eq!(eye, [1.5, 0.0, 0.0, 0.0, 1.5, 0.0]);
        let filters = Identity { gain: 1.0 }.elements(draw(), &[2, 2, 3, 3].into()).unwrap();
        let ones: Vec<usize> = (0..filters.len()).filter(|&i| filters[i] == 1.0).collect();
        assert_eq!(ones, [4, 3 * 9 + 4]);
        assert_eq!(Identity { gain: 1.0 }.elements(draw(), &[2, 2, 0].into()).unwrap(), [0.0; 0]);
    }

    #[test]
    fn each_column_has_its_share_of_zeros() {
        let x = Sparse { sparsity: 0.3, deviation: 1.0 }.elements(draw(), &[10, 6].into()).unwrap();
        for column in 0..6 {
            assert_eq!((0..10).filter(|row| x[row * 6 + column] == 0.0).count(), 3);
        }
        let places = |column: usize| (0..10).filter(|row| x[row * 6 + column] == 0.0).collect::<Vec<_>>();
        assert!(
            (1..6).any(|column| places(column) != places(0)),
            "zeros stand in other rows of other columns"
        );
    }
}
