//! Raw inputs, brought to what a network was trained on.

use super::InputSpec;
use crate::{Error, Result, Tensor};
use dropforge_ir::{Array, DType, Data, Shape, ValueType};

/// Raw inputs: pixels, numbers or tokens, as they come from a file or a camera, with the batch as first axis or without
/// one; or only their elements, whose number says how many samples they are.
///
/// Bytes stand for 0 to 1, in steps of 1/255, and such numbers for bytes where a network takes these. Images of bytes
/// may have their channels last.
pub trait IntoRaw {
    /// The elements, and their shape if it is known.
    ///
    /// # Errors
    /// A tensor cannot be read.
    fn into_raw(self) -> Result<Raw>;
}

/// What [`IntoRaw`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    shape: Option<Shape>,
    data: Data,
}

impl IntoRaw for Array {
    fn into_raw(self) -> Result<Raw> {
        Ok(Raw { shape: Some(self.shape().clone()), data: self.into_data() })
    }
}

impl IntoRaw for &Array {
    fn into_raw(self) -> Result<Raw> {
        self.clone().into_raw()
    }
}

impl IntoRaw for &Tensor {
    fn into_raw(self) -> Result<Raw> {
        self.to_array()?.into_raw()
    }
}

macro_rules! flat {
    ($($type:ty => $data:ident),*) => {$(
        impl IntoRaw for Vec<$type> {
            fn into_raw(self) -> Result<Raw> {
                Ok(Raw { shape: None, data: Data::$data(self) })
            }
        }

        impl IntoRaw for &[$type] {
            fn into_raw(self) -> Result<Raw> {
                self.to_vec().into_raw()
            }
        }
    )*};
}
flat!(f32 => F32, u8 => U8, i32 => I32);

impl Raw {
    /// The array that the network of a run takes, whose samples are of this type.
    pub(super) fn prepare(self, inputs: &InputSpec, sample: &ValueType) -> Result<Array> {
        let len = sample.shape.elements();
        let given = self.data.dtype();
        let Raw { shape, mut data } = self;
        let batch = match &shape {
            None if len > 0 && data.len().is_multiple_of(len) => data.len() / len,
            Some(shape) if shape.get(1..) == Some(&*sample.shape) => shape[0],
            Some(shape) if *shape == sample.shape => 1,
            _ => {
                let last = shape.as_ref().and_then(|shape| channels_last(shape, sample));
                let Some((batch, bytes)) = last.and_then(|batch| Some((batch, as_bytes(&data)?))) else {
                    let what = match &shape {
                        Some(shape) => format!("{given}{shape}"),
                        None => format!("{} elements of {given}", data.len()),
                    };
                    return Err(Error::data(format!(
                        "inputs have the shape {0}, or several of them a batch in front; got {what}",
                        sample.shape
                    )));
                };
                data = Data::U8(channels_first(bytes, batch, &sample.shape));
                batch
            }
        };
        let channels = sample.shape.first().copied().unwrap_or(1).max(1);
        let data = convert(data, sample.dtype, |values| inputs.normalize(values, channels))?;
        let shape: Shape = std::iter::once(batch).chain(sample.shape.iter().copied()).collect();
        Array::new(shape, data).ok_or_else(|| Error::data("the inputs have another number of elements"))
    }
}

/// The elements as the network takes them: bytes and numbers become normalised floats, whole numbers stay as they are.
fn convert(data: Data, wanted: DType, normalize: impl Fn(&mut [f32])) -> Result<Data> {
    let given = data.dtype();
    let mut floats = match (data, wanted) {
        (data, wanted) if data.dtype() == wanted && !wanted.is_float() => return Ok(data),
        (Data::U8(bytes), DType::I32) => return Ok(Data::I32(bytes.into_iter().map(i32::from).collect())),
        (Data::U8(bytes), wanted) if wanted.is_float() => {
            bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect()
        }
        // As pictures are read, for a network that takes their bytes.
        (Data::F32(values), DType::U8) => {
            let byte = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
            return Ok(Data::U8(values.into_iter().map(byte).collect()));
        }
        (Data::F32(values), wanted) if wanted.is_float() => values,
        (Data::F16(values), wanted) if wanted.is_float() => values.iter().map(|x| x.to_f32()).collect(),
        (Data::BF16(values), wanted) if wanted.is_float() => values.iter().map(|x| x.to_f32()).collect(),
        _ => return Err(Error::data(format!("the network takes {wanted}, got {given}"))),
    };
    normalize(&mut floats);
    Ok(match wanted {
        DType::F16 => Data::F16(floats.into_iter().map(dropforge_ir::F16::from_f32).collect()),
        DType::BF16 => Data::BF16(floats.into_iter().map(dropforge_ir::BF16::from_f32).collect()),
        _ => Data::F32(floats),
    })
}

impl InputSpec {
    /// Takes off the mean of each channel and divides by its deviation, sample after sample: the same arithmetic as
    /// while training.
    fn normalize(&self, values: &mut [f32], channels: usize) {
        let per_sample: usize = self.shape.iter().product();
        let plane = (per_sample / channels).max(1);
        if self.mean.is_empty() {
            return;
        }
        for (index, plane) in values.chunks_mut(plane).enumerate() {
            let at = |of: &[f32]| of.get(index % channels).or(of.first()).copied();
            let (mean, std) = (at(&self.mean).unwrap_or(0.0), at(&self.std).unwrap_or(1.0));
            plane.iter_mut().for_each(|x| *x = (*x - mean) / std);
        }
    }
}

/// How many images a shape is, if it is that of images with their channels last.
fn channels_last(shape: &Shape, sample: &ValueType) -> Option<usize> {
    let &[channels, height, width] = &*sample.shape else { return None };
    match **shape {
        [h, w, c] if [c, h, w] == [channels, height, width] => Some(1),
        [batch, h, w, c] if [c, h, w] == [channels, height, width] => Some(batch),
        _ => None,
    }
}

fn as_bytes(data: &Data) -> Option<&[u8]> {
    if let Data::U8(bytes) = data { Some(bytes) } else { None }
}

fn channels_first(bytes: &[u8], batch: usize, sample: &Shape) -> Vec<u8> {
    let (channels, pixels) = (sample[0], sample[1] * sample[2]);
    let mut planes = Vec::with_capacity(bytes.len());
    for image in 0..batch {
        let image = &bytes[image * channels * pixels..];
        for channel in 0..channels {
            planes.extend((0..pixels).map(|pixel| image[pixel * channels + channel]));
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> InputSpec {
        InputSpec { shape: vec![2, 1, 2], mean: vec![0.5, 0.25], std: vec![0.5, 2.0], ..InputSpec::default() }
    }

    fn prepare(raw: impl IntoRaw) -> Result<Vec<f32>> {
        let sample = ValueType::new(DType::F32, [2, 1, 2]);
        Ok(raw.into_raw()?.prepare(&spec(), &sample)?.as_f32().unwrap().to_vec())
    }

    #[test]
    fn bytes_and_numbers_become_what_the_network_was_trained_on() {
        let expected = [-1.0, 1.0, (0.2 - 0.25) / 2.0, (0.4 - 0.25) / 2.0];
        assert_eq!(prepare(vec![0u8, 255, 51, 102]).unwrap(), expected);
        assert_eq!(prepare(vec![0.0f32, 1.0, 0.2, 0.4]).unwrap(), expected);
        // One sample without a batch, and the same with its channels last.
        let one = Array::new([2, 1, 2], Data::U8(vec![0, 255, 51, 102])).unwrap();
        assert_eq!(prepare(one).unwrap(), expected);
        let last = Array::new([2, 1, 2, 2], Data::U8(vec![0, 51, 255, 102, 0, 51, 255, 102])).unwrap();
        assert_eq!(prepare(&last).unwrap(), [expected, expected].concat());
        let message = prepare(vec![1.0f32; 5]).unwrap_err().to_string();
        assert!(message.contains("[2, 1, 2]") && message.contains("5 elements of f32"), "{message}");
        let message = prepare(vec![1i32; 4]).unwrap_err().to_string();
        assert!(message.contains("takes f32, got i32"), "{message}");
    }

    #[test]
    fn numbers_become_bytes_where_a_network_takes_these() {
        let sample = ValueType::new(DType::U8, [4]);
        let inputs = InputSpec { shape: vec![4], ..InputSpec::default() };
        let array = vec![0.0f32, 0.2, 1.0, 1.7].into_raw().unwrap().prepare(&inputs, &sample).unwrap();
        assert_eq!(array.into_data(), Data::U8(vec![0, 51, 255, 255]));
    }

    #[test]
    fn tokens_stay_as_they_are() {
        let sample = ValueType::new(DType::I32, [3]);
        let inputs = InputSpec { shape: vec![3], ..InputSpec::default() };
        let array = vec![1i32, 2, 3, 4, 5, 6].into_raw().unwrap().prepare(&inputs, &sample).unwrap();
        assert_eq!((array.shape().to_vec(), array.as_i32()), (vec![2, 3], Some(&[1, 2, 3, 4, 5, 6][..])));
        assert!(vec![1.0f32, 2.0, 3.0].into_raw().unwrap().prepare(&inputs, &sample).is_err());
    }
}
