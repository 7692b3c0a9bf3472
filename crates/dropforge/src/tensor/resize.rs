//! Images of other sizes: shuffled pixels, repeated and interpolated ones.

use super::Tensor;
use super::node::{apply, fail};
use dropforge_ir::Op;

impl Tensor {
    /// The extents of `[batch, channels, height, width]`.
    #[track_caller]
    fn image(&self, name: &str) -> Result<[usize; 4], Tensor> {
        let extents = self.shape().to_vec().try_into();
        extents.map_err(|_| {
            let message = format!("needs [batch, channels, height, width], got {}", self.shape());
            fail(name, message, &[self])
        })
    }

    /// Channels become pixels: `[b, c·r², h, w]` becomes `[b, c, h·r, w·r]`. PyTorch's `pixel_shuffle`; Shi et al.,
    /// arXiv:1609.05158.
    #[track_caller]
    pub fn pixel_shuffle(&self, factor: usize) -> Tensor {
        let [batch, channels, height, width] = match self.image("pixel_shuffle") {
            Ok(extents) => extents,
            Err(failed) => return failed,
        };
        let square = factor.saturating_mul(factor);
        if square == 0 || channels % square != 0 {
            let message = format!("{channels} channels do not become pixels {factor} by {factor}");
            return fail("pixel_shuffle", message, &[self]);
        }
        let parts = self.reshape(vec![batch, channels / square, factor, factor, height, width]);
        let order = vec![0, 1, 4, 2, 5, 3];
        let turned = apply("pixel_shuffle", Op::Permute { order }, &[&parts]);
        turned.reshape(vec![batch, channels / square, height * factor, width * factor])
    }

    /// Pixels become channels: `[b, c, h·r, w·r]` becomes `[b, c·r², h, w]`, the inverse of [`Tensor::pixel_shuffle`].
    #[track_caller]
    pub fn pixel_unshuffle(&self, factor: usize) -> Tensor {
        let [batch, channels, height, width] = match self.image("pixel_unshuffle") {
            Ok(extents) => extents,
            Err(failed) => return failed,
        };
        if factor == 0 || height % factor != 0 || width % factor != 0 {
            let message = format!("{height} by {width} pixels do not divide into {factor} by {factor}");
            return fail("pixel_unshuffle", message, &[self]);
        }
        let (height, width) = (height / factor, width / factor);
        let parts = self.reshape(vec![batch, channels, height, factor, width, factor]);
        let order = vec![0, 1, 3, 5, 2, 4];
        let turned = apply("pixel_unshuffle", Op::Permute { order }, &[&parts]);
        turned.reshape(vec![batch, channels * factor * factor, height, width])
    }

    /// Each pixel repeated in both directions: PyTorch's `interpolate(mode="nearest")` by a whole factor.
    #[doc(alias = "interpolate")]
    #[track_caller]
    pub fn upsample_nearest(&self, factor: usize) -> Tensor {
        match self.image("upsample_nearest") {
            Ok(_) => self.repeat_interleave(factor, 2).repeat_interleave(factor, 3),
            Err(failed) => failed,
        }
    }

    /// An image of another height and width, each pixel between its four nearest: PyTorch's
    /// `interpolate(mode="bilinear")`. With `align_corners` the outermost pixels stay the outermost ones, else pixels
    /// are areas and corners are those of the image.
    #[doc(alias = "interpolate")]
    #[track_caller]
    pub fn resize_bilinear(&self, height: usize, width: usize, align_corners: bool) -> Tensor {
        let [_, _, rows, columns] = match self.image("resize_bilinear") {
            Ok(extents) => extents,
            Err(failed) => return failed,
        };
        if rows == 0 || columns == 0 {
            return fail("resize_bilinear", format!("there are no pixels in {}", self.shape()), &[self]);
        }
        let x = match self.floats("resize_bilinear") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        // A sum over each axis with the weights of its positions.
        let (down, across) = (weights(rows, height, align_corners), weights(columns, width, align_corners));
        let wide = x.matmul(&Tensor::from_vec(across, [width, columns]).t());
        let high = wide.transpose(2, 3).matmul(&Tensor::from_vec(down, [height, rows]).t());
        high.transpose(2, 3).cast(self.dtype())
    }
}

/// How much each of `from` positions counts in each of `to`, row by row.
fn weights(from: usize, to: usize, align_corners: bool) -> Vec<f32> {
    let mut all = vec![0.0; from.saturating_mul(to)];
    for place in 0..to {
        let source = if !align_corners {
            ((place as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0)
        } else if to > 1 {
            place as f64 * (from - 1) as f64 / (to - 1) as f64
        } else {
            0.0
        };
        let low = (source as usize).min(from - 1);
        let share = (source - low as f64) as f32;
        all[place * from + low] += 1.0 - share;
        all[place * from + (low + 1).min(from - 1)] += share;
    }
    all
}
