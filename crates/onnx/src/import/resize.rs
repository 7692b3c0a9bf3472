//! Resizing: along each axis a matrix of weights, or positions for the nearest neighbour.

use super::builder::axis_of;
use super::elementwise::one;
use super::movement::extents;
use super::{Call, Importer, Item};
use crate::{Result, element, failed};
use dropforge_ir::{Array, DType, Data, Op, Value};

type Results = Result<Vec<Item>>;

/// Weights of an axis.
const MOST_WEIGHTS: usize = 1 << 24;

/// How positions of the result become positions of the input along one axis.
struct Axis<'c> {
    mode: &'c str,
    coordinates: &'c str,
    rounding: &'c str,
    cubic: f64,
    antialias: bool,
    exclude_outside: bool,
    input: usize,
    output: usize,
    scale: f64,
    roi: [f64; 2],
}

impl Axis<'_> {
    fn source(&self, x: usize) -> Result<f64> {
        let (x, input, output) = (x as f64, self.input as f64, self.output as f64);
        Ok(match self.coordinates {
            "half_pixel" => (x + 0.5) / self.scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = output / (self.scale * input);
                let offset = input / 2.0 * (1.0 - adjustment);
                offset + (x + 0.5) / self.scale - 0.5
            }
            "pytorch_half_pixel" if self.output > 1 => (x + 0.5) / self.scale - 0.5,
            "pytorch_half_pixel" => -0.5,
            "align_corners" if self.output > 1 => x * (input - 1.0) / (self.scale * input - 1.0),
            "align_corners" => 0.0,
            "asymmetric" => x / self.scale,
            "tf_crop_and_resize" => {
                let [start, end] = self.roi;
                match self.output > 1 {
                    true => start * (input - 1.0) + x * (end - start) * (input - 1.0) / (output - 1.0),
                    false => 0.5 * (start + end) * (input - 1.0),
                }
            }
            other => return Err(failed(format!("{other} is no transformation of coordinates"))),
        })
    }

    fn nearest(&self, source: f64) -> usize {
        let place = match self.rounding {
            "round_prefer_ceil" => (source + 0.5).floor(),
            "floor" => source.floor(),
            "ceil" => source.ceil(),
            _ => (source - 0.5).ceil(),
        };
        place.clamp(0.0, self.input as f64 - 1.0) as usize
    }

    /// The weight of a neighbour at this distance.
    fn weight(&self, distance: f64) -> f64 {
        let x = distance.abs();
        if self.mode == "linear" {
            return (1.0 - x).max(0.0);
        }
        let a = self.cubic;
        if x <= 1.0 {
            ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
        } else {
            0.0
        }
    }

    /// `[output, input]`
    fn weights(&self) -> Result<Vec<f32>> {
        let mut all = vec![0f32; self.output * self.input];
        let stretch = if self.antialias { self.scale.min(1.0) } else { 1.0 };
        let reach = if self.mode == "linear" { 1.0 } else { 2.0 } / stretch;
        for (x, row) in all.chunks_mut(self.input).enumerate() {
            let source = self.source(x)?;
            let (first, last) = ((source - reach).floor() as i64, (source + reach).ceil() as i64);
            let inside = |place: i64| (0..self.input as i64).contains(&place);
            let taps = (first..=last).map(|place| (place, self.weight((place as f64 - source) * stretch)));
            let taps: Vec<(i64, f64)> =
                taps.filter(|(place, _)| !self.exclude_outside || inside(*place)).collect();
            let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
            for (place, weight) in taps {
                row[place.clamp(0, self.input as i64 - 1) as usize] += (weight / total) as f32;
            }
        }
        Ok(all)
    }
}

pub(super) fn resize<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let old = call.opset < 11;
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let scales = call.optional(if old { 1 } else { 2 });
    let scales = match scales {
        Some(scales) => m.b.numbers(scales.value, "scales")?.elements().to_vec(),
        None => Vec::new(),
    };
    let sizes = match call.optional(3).filter(|_| !old) {
        Some(sizes) => extents(m, sizes.value, "sizes")?,
        None => Vec::new(),
    };
    resized(m, call, x.value, &shape, (scales, sizes), if old { "asymmetric" } else { "half_pixel" })
}

pub(super) fn upsample<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let scales = match call.optional(1) {
        Some(scales) => m.b.numbers(scales.value, "scales")?.elements().to_vec(),
        None => {
            let scales = call.attribute("scales").map(|scales| scales.floats.clone()).unwrap_or_default();
            scales.into_iter().map(f64::from).collect()
        }
    };
    resized(m, call, x.value, &shape, (scales, Vec::new()), "asymmetric")
}

fn resized<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    x: Value,
    shape: &[usize],
    (scales, sizes): (Vec<f64>, Vec<usize>),
    usual: &str,
) -> Results {
    let axes = match call.integers("axes") {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, shape.len())).collect::<Result<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    let by_scale = sizes.is_empty();
    if (if by_scale { scales.len() } else { sizes.len() }) != axes.len() {
        return Err(failed(format!("gives no size for each axis of {shape:?}")));
    }
    let mode = call.text("mode", "nearest");
    let coordinates = call.text("coordinate_transformation_mode", usual);
    let rounding = if usual == "asymmetric" { "floor" } else { "round_prefer_floor" };
    let rounding = call.text("nearest_mode", rounding);
    let policy = call.text("keep_aspect_ratio_policy", "stretch");
    let ratios = axes.iter().zip(&sizes).map(|(&axis, &size)| size as f64 / shape[axis] as f64);
    let common = match policy.as_str() {
        "stretch" => None,
        "not_larger" => Some(ratios.fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(ratios.fold(0.0, f64::max)),
        other => return Err(failed(format!("{other} is no policy"))),
    };
    let roi = match call.optional(1).filter(|_| coordinates == "tf_crop_and_resize") {
        Some(roi) => m.b.numbers(roi.value, "roi")?.elements().to_vec(),
        None => Vec::new(),
    };
    let mut y = x;
    let mut inside: Option<Value> = None;
    for (index, &axis) in axes.iter().enumerate() {
        let input = shape[axis];
        let (output, scale) = match common {
            _ if by_scale => ((input as f64 * scales[index]).floor() as usize, scales[index]),
            Some(ratio) => ((ratio * input as f64 + 0.5).floor() as usize, ratio),
            None => (sizes[index], sizes[index] as f64 / input as f64),
        };
        if input == 0 || !(scale.is_finite() && scale > 0.0) || output.saturating_mul(input) > MOST_WEIGHTS {
            return Err(failed(format!("{input} cannot become {output}")));
        }
        let at = |place: usize| roi.get(place).copied();
        let this = Axis {
            mode: &mode,
            coordinates: &coordinates,
            rounding: &rounding,
            cubic: call.float("cubic_coeff_a", -0.75),
            antialias: call.flag("antialias"),
            exclude_outside: call.flag("exclude_outside"),
            input,
            output,
            scale,
            roi: [at(index).unwrap_or(0.0), at(index + axes.len()).unwrap_or(1.0)],
        };
        if coordinates == "tf_crop_and_resize" {
            let mut flags = Vec::new();
            for place in 0..output {
                let source = this.source(place)?;
                flags.push(u8::from((0.0..=input as f64 - 1.0).contains(&source)));
            }
            let array = Array::new([output], Data::Bool(flags)).ok_or_else(|| failed("a mask is damaged"))?;
            let mask = m.b.constant_array(&array)?;
            let mut along = vec![1; shape.len()];
            along[axis] = output;
            let mask = m.b.reshape(mask, &along)?;
            inside = Some(match inside {
                Some(inside) => m.b.binary(dropforge_ir::BinaryKind::And, inside, mask)?,
                None => mask,
            });
        }
        if output == input && scale == 1.0 && coordinates != "tf_crop_and_resize" {
            continue;
        }
        if mode == "nearest" {
            let places: Vec<i64> =
                (0..output).map(|x| Ok(this.nearest(this.source(x)?) as i64)).collect::<Result<_>>()?;
            let places = m.b.list(&places)?;
            y = m.b.gather(y, places, axis)?;
            continue;
        }
        if mode != "linear" && mode != "cubic" {
            return Err(failed(format!("{mode} is no way to resize")));
        }
        let array = Array::new([output, input], Data::F32(this.weights()?));
        let weights = m.b.constant_array(&array.ok_or_else(|| failed("weights are damaged"))?)?;
        let dot =
            Op::Dot { lhs_batch: vec![], rhs_batch: vec![], lhs_contract: vec![axis], rhs_contract: vec![1] };
        let value = m.b.cast(y, DType::F32)?;
        let sums = m.b.op(dot, &[value, weights])?;
        // The new axis stands last.
        let rank = shape.len();
        let mut order: Vec<usize> = (0..rank - 1).collect();
        order.insert(axis, rank - 1);
        y = m.b.permute(sums, &order)?;
    }
    if let Some(inside) = inside {
        let outside = m.b.scalar(m.b.dtype(y), call.float("extrapolation_value", 0.0));
        y = m.b.select(inside, y, outside)?;
    }
    let element = call.tensor(0)?.element;
    let y = m.b.cast(y, element::computed(element)?)?;
    one(y, element)
}
