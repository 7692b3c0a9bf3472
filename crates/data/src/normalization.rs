//! Per-channel normalisation, PyTorch's `Normalize`.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Source, read_one};

/// Per-channel `(x − mean) / std`, applied when a sample is read.
///
/// The channel is the first axis of a sample: the colour planes of `[3, 32, 32]`, each feature of `[13]`. One entry
/// alone serves every channel. Byte features are divided by 255 first, so mean and std are in units of 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Statistics")]
pub struct Normalization {
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// What stands in a file, not checked yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statistics {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl TryFrom<Statistics> for Normalization {
    type Error = Error;
    fn try_from(statistics: Statistics) -> Result<Normalization> {
        Normalization::new(&statistics.mean, &statistics.std)
    }
}

impl Normalization {
    /// Checks and keeps the statistics. `mean` and `std` have one entry, or one per channel.
    ///
    /// # Errors
    /// The lengths differ or are zero, a number is not finite, or a standard deviation is not above zero.
    pub fn new(mean: &[f32], std: &[f32]) -> Result<Normalization> {
        if mean.is_empty() || mean.len() != std.len() {
            return Err(Error::new(format!(
                "normalisation has {} means and {} standard deviations: give one of each, or one of each per channel",
                mean.len(),
                std.len()
            )));
        }
        for (channel, (&mean, &std)) in mean.iter().zip(std).enumerate() {
            if !mean.is_finite() || !std.is_finite() || std <= 0.0 {
                return Err(Error::new(format!(
                    "normalisation of channel {channel}: mean {mean} and standard deviation {std} must be finite and \
                     the deviation above 0; drop a constant feature or give it a deviation of 1"
                )));
            }
        }
        Ok(Normalization { mean: mean.to_vec(), std: std.to_vec() })
    }

    /// Leaves values as they are: mean 0, std 1.
    pub fn identity() -> Normalization {
        Normalization { mean: vec![0.0], std: vec![1.0] }
    }

    /// The usual numbers for MNIST (mean 0.1307, std 0.3081), also used for the built-in digits.
    pub fn mnist() -> Normalization {
        Normalization { mean: vec![0.1307], std: vec![0.3081] }
    }

    /// The usual numbers for CIFAR-10, red, green, blue.
    pub fn cifar10() -> Normalization {
        Normalization { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2470, 0.2435, 0.2616] }
    }

    /// The means, one or one per channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The standard deviations, one or one per channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Normalises one sample in place, `channels` equal runs of values. A sample image prepared by hand, say for a
    /// prediction, takes the same numbers as training did this way.
    ///
    /// # Errors
    /// `sample` cannot be cut into `channels` runs, or the statistics are for another number of channels.
    pub fn apply(&self, sample: &mut [f32], channels: usize) -> Result<()> {
        self.check_channels(channels)?;
        if channels == 0 || !sample.len().is_multiple_of(channels) {
            return Err(Error::new(format!("{} values are not {channels} equal channels", sample.len())));
        }
        let run = (sample.len() / channels).max(1);
        for (channel, values) in sample.chunks_mut(run).enumerate() {
            let (mean, std) = self.channel(channel);
            values.iter_mut().for_each(|x| *x = (*x - mean) / std);
        }
        Ok(())
    }

    pub(crate) fn check_channels(&self, channels: usize) -> Result<()> {
        if self.mean.len() != 1 && self.mean.len() != channels {
            return Err(Error::new(format!(
                "normalisation has {} channels, a sample has {channels}: give one mean, or one per channel",
                self.mean.len()
            )));
        }
        Ok(())
    }

    /// Mean and std of a channel; one entry alone serves all.
    pub(crate) fn channel(&self, channel: usize) -> (f32, f32) {
        let i = if self.mean.len() == 1 { 0 } else { channel };
        (self.mean[i], self.std[i])
    }
}

/// Mean and deviation of each channel of the input (its first extent, if it has several) over samples that are spread
/// evenly among all of a source, `most` at most, as they are read: for [`Normalization`] of what is not normalised yet.
/// A channel without any deviation has 1.
///
/// ```
/// use dropforge_data::{from_records, statistics};
///
/// let data = from_records([([[0.0f32, 2.0], [5.0, 5.0]], 0), ([[4.0, 2.0], [5.0, 5.0]], 1)])?;
/// let found = statistics(&data, 1000)?;
/// assert_eq!((found.mean(), found.std()), (&[2.0, 5.0][..], &[2.0f32.sqrt(), 1.0][..]));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// The source is empty or a stream, a sample cannot be read, or the input does not hold f32.
pub fn statistics(source: &dyn Source, most: usize) -> Result<Normalization> {
    let description = source.description();
    let failed = |reason: &str| Error::new(format!("{}: {reason}", description.name));
    let len = source.len().filter(|&len| len > 0 && most > 0);
    let len = len.ok_or_else(|| failed("has no samples whose mean could be found"))?;
    let field = description.input().ok_or_else(|| failed("has no input"))?;
    let channels = if field.shape.len() > 1 { field.channels() } else { 1 };
    let (mut sums, mut squares, mut count) = (vec![0.0f64; channels], vec![0.0f64; channels], 0u64);
    let wanted = most.min(len);
    for place in 0..wanted {
        let sample = read_one(source, (place as u128 * len as u128 / wanted as u128) as usize)?;
        let values = sample.get(&field.name).and_then(|values| values.slice::<f32>());
        let values = values.ok_or_else(|| failed("has an input that does not hold f32"))?;
        let plane = values.len() / channels;
        for (channel, values) in values.chunks_exact(plane).enumerate() {
            sums[channel] += values.iter().map(|&x| f64::from(x)).sum::<f64>();
            squares[channel] += values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        }
        count += plane as u64;
    }
    let mean: Vec<f64> = sums.iter().map(|sum| sum / count as f64).collect();
    let std = squares.iter().zip(&mean).map(|(square, mean)| {
        let deviation = (square / count as f64 - mean * mean).max(0.0).sqrt();
        if deviation > 1e-6 * mean.abs().max(1e-30) { deviation as f32 } else { 1.0 }
    });
    let std: Vec<f32> = std.collect();
    Normalization::new(&mean.iter().map(|&mean| mean as f32).collect::<Vec<_>>(), &std)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_per_channel() {
        let n = Normalization::new(&[1.0, 2.0], &[2.0, 4.0]).unwrap();
        let mut x = [1.0, 3.0, 2.0, 6.0];
        n.apply(&mut x, 2).unwrap();
        assert_eq!(x, [0.0, 1.0, 0.0, 1.0]);
        assert!(n.apply(&mut x, 4).unwrap_err().to_string().contains("2 channels, a sample has 4"));
        assert!(n.apply(&mut x[..3], 2).is_err());
    }

    #[test]
    fn refuses_bad_statistics() {
        assert!(Normalization::new(&[], &[]).is_err());
        assert!(Normalization::new(&[0.0], &[1.0, 1.0]).is_err());
        assert!(Normalization::new(&[0.0, 0.0], &[1.0, 0.0]).unwrap_err().to_string().contains("channel 1"));
        assert!(Normalization::new(&[f32::NAN], &[1.0]).is_err());
    }
}
