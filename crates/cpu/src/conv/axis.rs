//! Which source positions a target position meets, forward and in the input gradient, along one axis.
//!
//! A strided input gradient falls into phases: the target positions of one phase see the same taps at the same
//! distances, as in a convolution without stride.

use super::ConvShape;

/// The target positions along one axis that see the same taps at the same distances.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub first: usize,
    pub count: usize,
    /// Taps, and where they lie in the padded source for the first position.
    pub taps: Vec<(usize, usize)>,
}

/// How target positions meet source positions along one axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub phases: Vec<Phase>,
    /// Zeros before the source, and its length with zeros before and after.
    pub low: usize,
    pub padded: usize,
    /// Source positions from one position of a phase to the next.
    pub source_step: usize,
    /// Target positions from one position of a phase to the next.
    pub target_step: usize,
}

impl Axis {
    pub fn forward(shape: &ConvShape, axis: usize) -> Axis {
        let taps = (0..shape.kernel[axis]).map(|tap| (tap, tap * shape.dilation[axis])).collect();
        Axis {
            phases: vec![Phase { first: 0, count: shape.output_along(axis), taps }],
            low: shape.pad_low[axis],
            padded: shape.padded()[axis],
            source_step: shape.stride[axis],
            target_step: 1,
        }
    }

    /// Target position `stride * i + phase` gets from source position `i + distance` by the taps with
    /// `phase + pad - tap * dilation = stride * distance`.
    pub fn input_gradient(shape: &ConvShape, axis: usize) -> Axis {
        let (stride, target, source) = (shape.stride[axis], shape.input[axis], shape.output_along(axis));
        let distances = |phase: usize| {
            (0..shape.kernel[axis]).filter_map(move |tap| {
                let from = (phase + shape.pad_low[axis]) as isize - (tap * shape.dilation[axis]) as isize;
                (from % stride as isize == 0).then_some((tap, from / stride as isize))
            })
        };
        let phases = 0..stride.min(target);
        let low = phases.clone().flat_map(distances).map(|(_, distance)| -distance).max().unwrap_or(0).max(0);
        let phases: Vec<Phase> = phases
            .map(|first| Phase {
                first,
                count: (target - first).div_ceil(stride),
                taps: distances(first).map(|(tap, distance)| (tap, (distance + low) as usize)).collect(),
            })
            .collect();
        let reach =
            phases.iter().flat_map(|phase| phase.taps.iter().map(|(_, place)| place + phase.count)).max();
        let padded = reach.unwrap_or(0).max(low as usize + source);
        Axis { phases, low: low as usize, padded, source_step: 1, target_step: stride }
    }

    /// The phase of a target position, and its number in it.
    pub fn phase(&self, position: usize) -> (usize, usize) {
        (position % self.target_step, position / self.target_step)
    }
}
