//! A file with one handwritten digit, brought to the form that digits are trained in.

use std::path::Path;

use crate::picture::{Beyond, Picture, Window, scale};
use crate::{Error, Result};

/// Height and width of the image, in pixels.
const SIDE: usize = 28;
/// Pixels that the longer side of the digit takes.
const DIGIT: f32 = 20.0;
/// Least difference between ink and background, of 1.
const LEAST_CONTRAST: f32 = 0.1;
/// Part of the full ink above which a pixel belongs to the digit.
const INK: f32 = 0.2;

/// Reads a PNG or JPEG file with one digit as `28 × 28` numbers, 0 for background to 1 for full ink, row-major.
///
/// The digit may be dark on light or light on dark, of any size and in any place. As in MNIST, its longer side becomes
/// 20 pixels and its centre of mass comes to the middle. The result is not normalised: before a network trained on
/// [`mnist`](crate::mnist()) or [`digits`](crate::digits), apply
/// [`Normalization::mnist`](crate::Normalization::mnist), or what the network was saved with.
///
/// # Errors
/// The file is missing, no PNG or JPEG, or damaged, or it shows nothing but background.
pub fn read_digit_image(path: impl AsRef<Path>) -> Result<Vec<f32>> {
    let path = path.as_ref();
    let picture = Picture::open(path)?;
    let (width, height) = (picture.width, picture.height);
    let mut ink = picture.grey();
    let blank = || Error::at_file(path, "shows no digit: it is all background; give one with more contrast");
    if !separate_ink(&mut ink, width, height) {
        return Err(blank());
    }

    let (mut left, mut right, mut top, mut bottom) = (width, 0, height, 0);
    let (mut mass, mut mass_x, mut mass_y) = (0f64, 0f64, 0f64);
    for (y, row) in ink.chunks_exact(width).enumerate() {
        for (x, &value) in row.iter().enumerate().filter(|(_, value)| **value > INK) {
            (left, right) = (left.min(x), right.max(x + 1));
            (top, bottom) = (top.min(y), bottom.max(y + 1));
            mass += f64::from(value);
            mass_x += f64::from(value) * (x as f64 + 0.5);
            mass_y += f64::from(value) * (y as f64 + 0.5);
        }
    }
    if mass <= 0.0 {
        return Err(blank());
    }
    let pixel = (right - left).max(bottom - top) as f32 / DIGIT;
    let side = SIDE as f32 * pixel;
    let window = Window {
        left: (mass_x / mass) as f32 - side / 2.0,
        top: (mass_y / mass) as f32 - side / 2.0,
        width: side,
        height: side,
    };
    let mut image = scale(&ink, width, window, (SIDE, SIDE), Beyond::Zeros);
    // Shrinking thin strokes dilutes their ink; training images have strokes of full ink.
    let most = image.iter().fold(0f32, |most, &x| most.max(x));
    image.iter_mut().for_each(|x| *x = (*x / most.max(1e-6)).clamp(0.0, 1.0));
    Ok(image)
}

/// Makes the background 0 and the strongest ink 1, whichever of them is light. The edge of the picture shows what the
/// background is. Returns whether there is any ink.
fn separate_ink(plane: &mut [f32], width: usize, height: usize) -> bool {
    let mut edge: Vec<f32> = (0..width).flat_map(|x| [plane[x], plane[(height - 1) * width + x]]).collect();
    edge.extend((0..height).flat_map(|y| [plane[y * width], plane[y * width + width - 1]]));
    edge.sort_by(f32::total_cmp);
    let background = edge[edge.len() / 2];
    let sign = if background > 0.5 { -1.0 } else { 1.0 };
    let most = plane.iter().fold(0f32, |most, &x| most.max(sign * (x - background)));
    if most < LEAST_CONTRAST {
        return false;
    }
    plane.iter_mut().for_each(|x| *x = (sign * (*x - background) / most).max(0.0));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits;
    use crate::testing::{Folder, message, png};

    fn centre(image: &[f32]) -> (f32, f32) {
        let mass: f32 = image.iter().sum();
        let along = |pick: fn(usize) -> usize| {
            image.iter().enumerate().map(|(i, x)| x * (pick(i) as f32 + 0.5)).sum::<f32>() / mass
        };
        (along(|i| i % SIDE), along(|i| i / SIDE))
    }

    /// A digit enlarged `times` and put into the corner of a page.
    fn page(digit: &[u8], times: usize, dark_on_light: bool) -> Vec<u8> {
        let side = SIDE * times + 30;
        let pixel = |x: usize, y: usize| {
            let inside = x / times < SIDE && y / times < SIDE;
            let ink = if inside { digit[y / times * SIDE + x / times] } else { 0 };
            if dark_on_light { 240 - (u16::from(ink) * 200 / 255) as u8 } else { ink }
        };
        let bytes: Vec<u8> = (0..side * side).map(|i| pixel(i % side, i / side)).collect();
        png(side as u32, side as u32, 1, &bytes)
    }

    #[test]
    fn any_size_place_and_ink_gives_the_same_digit() {
        let folder = Folder::new("digit");
        let (data, _) = digits(20, 0, 5);
        for i in 0..20 {
            let digit = data.bytes(i).unwrap();
            let small = read_digit_image(folder.write("a.png", &page(digit, 3, false))).unwrap();
            let large = read_digit_image(folder.write("b.png", &page(digit, 8, true))).unwrap();
            let (x, y) = centre(&large);
            assert!((x - 14.0).abs() < 0.3 && (y - 14.0).abs() < 0.3, "digit {i}: centre {x}, {y}");
            let difference = small.iter().zip(&large).map(|(a, b)| (a - b).abs()).sum::<f32>() / SIDE as f32;
            assert!(difference < 1.0, "digit {i}: {difference}");
            let columns = (0..SIDE).filter(|x| (0..SIDE).any(|y| large[y * SIDE + x] > 0.4)).count();
            let rows = (0..SIDE).filter(|y| (0..SIDE).any(|x| large[y * SIDE + x] > 0.4)).count();
            assert!((18..=21).contains(&columns.max(rows)), "digit {i}: {columns} × {rows}");
        }
    }

    #[test]
    fn an_empty_page_is_an_error() {
        let folder = Folder::new("digit-blank");
        for value in [0, 127, 255] {
            let path = folder.write("blank.png", &png(9, 5, 1, &[value; 45]));
            assert!(message(read_digit_image(path)).contains("blank.png: shows no digit"));
        }
    }
}
