//! Small pictures as files.

use super::InputSpec;

/// A picture as a PNG file: channels (1 or 3), height and width, and its brightness from 0 to 1, channel by channel;
/// `None` for one that cannot be written.
pub fn png(size: [usize; 3], pixels: &[f32]) -> Option<Vec<u8>> {
    let [channels, height, width] = size;
    let plane = height * width;
    let bytes: Vec<u8> = (0..plane)
        .flat_map(|pixel| (0..channels).map(move |channel| channel * plane + pixel))
        .map(|index| (pixels.get(index).copied().unwrap_or(0.0).clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width.try_into().ok()?, height.try_into().ok()?);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().ok()?.write_image_data(&bytes).ok()?;
    Some(file)
}

impl InputSpec {
    /// The brightness from 0 to 1 of an image as a network gets it, channel by channel.
    pub fn brightness(&self, input: &[f32]) -> Vec<f32> {
        let plane: usize = self.shape.iter().skip(1).product::<usize>().max(1);
        let of = |(index, value): (usize, &f32)| {
            let channel = index / plane;
            let std = self.std.get(channel).copied().unwrap_or(1.0);
            (value * std + self.mean.get(channel).copied().unwrap_or(0.0)).clamp(0.0, 1.0)
        };
        input.iter().enumerate().map(of).collect()
    }
}
