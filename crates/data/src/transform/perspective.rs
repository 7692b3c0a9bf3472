//! Images seen from the side.

use super::{Image, Transform};
use crate::random::Random;

/// Moves each corner inwards by a random part of up to `distortion` of half the image, with this probability, as
/// torchvision's `RandomPerspective`; bilinear, what comes in is black.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perspective {
    /// From 0 to 1.
    pub distortion: f32,
    /// Of each image, from 0 to 1.
    pub probability: f32,
}

impl Transform for Perspective {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        if random.unit() >= self.probability {
            return;
        }
        let (width, height) = (image.width as f64, image.height as f64);
        let mut inwards = |extent: f64| f64::from(self.distortion * random.unit()) * extent / 2.0;
        let corners = corners(image).map(|(x, y)| {
            let (right, down) = (inwards(width), inwards(height));
            (if x > 0.0 { x - right } else { right }, if y > 0.0 { y - down } else { down })
        });
        see(image, corners);
    }
}

/// The corners of an image from above left, clockwise, as torchvision counts them.
pub(super) fn corners(image: &Image) -> [(f64, f64); 4] {
    let (right, below) = ((image.width - 1) as f64, (image.height - 1) as f64);
    [(0.0, 0.0), (right, 0.0), (right, below), (0.0, below)]
}

/// Moves the corners there.
pub(super) fn see(image: &mut Image, to: [(f64, f64); 4]) {
    let from = corners(image);
    // `x' = (a·x + b·y + c) / (g·x + h·y + 1)` and the same for y', from the new corners to the old ones.
    let mut rows = [[0.0f64; 9]; 8];
    for (i, ((x, y), (old_x, old_y))) in to.into_iter().zip(from).enumerate() {
        rows[2 * i] = [x, y, 1.0, 0.0, 0.0, 0.0, -old_x * x, -old_x * y, old_x];
        rows[2 * i + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -old_y * x, -old_y * y, old_y];
    }
    let Some([a, b, c, d, e, f, g, h]) = solve(rows) else { return };
    let [a, b, c, d, e, f, g, h] = [a, b, c, d, e, f, g, h].map(|number| number as f32);
    image.sample_from(|x, y| {
        let over = g * x + h * y + 1.0;
        ((a * x + b * y + c) / over, (d * x + e * y + f) / over)
    });
}

/// The solution of eight equations, whose last column is the right side (Gauss, with pivots); `None` where there is not
/// one.
fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot = (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        let top = rows[column];
        if top[column].abs() < 1e-9 {
            return None;
        }
        for (number, row) in rows.iter_mut().enumerate() {
            if number != column {
                let factor = row[column] / top[column];
                row.iter_mut().zip(top).for_each(|(x, above)| *x -= factor * above);
            }
        }
    }
    Some(std::array::from_fn(|i| rows[i][8] / rows[i][i]))
}
