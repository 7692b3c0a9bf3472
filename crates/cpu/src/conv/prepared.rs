//! A convolution with everything that can be decided before it runs.

use super::{
    Algorithm, Channelwise, ConvShape, Direction, Operands, columns, depthwise, depthwise_filter, direct,
    direct_filter, general, lanes, pointwise, supports, winograd,
};
use crate::pool::Pool;
use crate::simd::Level;
use std::ops::Range;

/// Filters as they come, or as [`Prepared::pack`] has left them.
#[derive(Clone, Copy)]
pub enum Filters<'a> {
    /// `[out, in / groups, height, width]`.
    Plain(&'a [f32]),
    /// In the order in which the convolution with this plan reads them.
    Packed(&'a [f32]),
}

/// The order in which filters are packed: in equal orders, equal filters are packed equally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterPacking {
    algorithm: Algorithm,
    direction: Direction,
    /// Channels out, channels in, groups, height and width.
    filters: [usize; 5],
    length: usize,
}

/// A part of a result that is finished: some rows of the planes of some channels of an image.
#[derive(Clone, Debug)]
pub struct Part {
    /// Position in the batch.
    pub image: usize,
    /// Channels of the result.
    pub channels: Range<usize>,
    /// Rows, of `width` elements each.
    pub rows: Range<usize>,
    /// Elements of a row.
    pub width: usize,
    /// Elements of a plane.
    pub plane: usize,
    /// How many channels the result has.
    pub of_channels: usize,
}

impl Part {
    /// The elements of the part, in row-major order, as few ranges as there are.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Part { image, channels, rows, width, plane, of_channels } = self.clone();
        let start = move |channel: usize| (image * of_channels + channel) * plane + rows.start * width;
        let length = rows.len() * width;
        // Whole planes follow one another.
        let whole = length == plane;
        let steps = if whole {
            channels.start..channels.start + usize::from(!channels.is_empty())
        } else {
            channels.clone()
        };
        let together = if whole { channels.len() * plane } else { length };
        steps.map(move |channel| start(channel)..start(channel) + together)
    }
}

/// What to do with finished parts, on the thread that has computed them.
pub type Finish<'a> = &'a (dyn Fn(Part) + Sync);

/// What becomes of the elements of a result.
#[derive(Clone, Copy, Default)]
pub struct Ending<'a> {
    /// What is done with each before it is written, where [`Prepared::changes_channels`] allows that.
    pub each: Option<Channelwise>,
    /// What is called with parts of the result that are written, where [`Prepared::tells_parts`] allows that.
    pub finish: Option<Finish<'a>>,
}

/// A convolution whose sizes and division among threads are settled.
pub struct Prepared {
    algorithm: Algorithm,
    direction: Direction,
    shape: ConvShape,
    level: Level,
    threads: usize,
    plan: Plan,
}

/// What an algorithm has worked out; those with nothing to keep do so when they run.
enum Plan {
    None,
    Direct(direct::Plan),
    Columns(Box<columns::Plan>),
    Depthwise(depthwise::Plan),
    DepthwiseFilter(depthwise_filter::Plan),
    Pointwise(pointwise::Plan),
    Winograd(winograd::Plan),
}

impl Prepared {
    /// Prepares a convolution for pools of `threads` threads.
    ///
    /// # Panics
    /// Where the algorithm does not support the case.
    pub fn new(
        algorithm: Algorithm,
        direction: Direction,
        shape: &ConvShape,
        level: Level,
        threads: usize,
    ) -> Prepared {
        shape.check();
        assert!(
            supports(algorithm, direction, shape),
            "{algorithm:?} cannot compute {direction:?} of {shape:?}"
        );
        let is_filter = direction == Direction::FilterGradient;
        let plan = match algorithm {
            Algorithm::Direct if !is_filter => {
                Plan::Direct(direct::Plan::new(direction, shape, level, threads))
            }
            Algorithm::Columns => {
                Plan::Columns(Box::new(columns::Plan::new(direction, shape, level, threads)))
            }
            Algorithm::Depthwise if is_filter => {
                Plan::DepthwiseFilter(depthwise_filter::Plan::new(shape, level, threads))
            }
            Algorithm::Depthwise => Plan::Depthwise(depthwise::Plan::new(direction, shape, level, threads)),
            Algorithm::Pointwise => Plan::Pointwise(pointwise::Plan::new(direction, shape, level, threads)),
            Algorithm::Winograd => Plan::Winograd(winograd::Plan::new(direction, shape, level, threads)),
            Algorithm::General | Algorithm::Direct | Algorithm::Lanes => Plan::None,
        };
        Prepared { algorithm, direction, shape: *shape, level, threads, plan }
    }

    /// How it is computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What is computed.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// The scratch memory that a run needs, in `f32` elements.
    pub fn scratch_len(&self) -> usize {
        match &self.plan {
            Plan::None => match self.algorithm {
                Algorithm::Lanes => self.lanes().scratch_len(),
                Algorithm::Direct => self.direct_filter().scratch_len(),
                _ => 0,
            },
            Plan::Direct(plan) => plan.scratch_len(),
            Plan::Columns(plan) => plan.scratch_len(),
            Plan::Depthwise(plan) => plan.scratch_len(),
            Plan::DepthwiseFilter(plan) => plan.scratch_len(),
            Plan::Pointwise(plan) => plan.scratch_len(),
            Plan::Winograd(plan) => plan.scratch_len(),
        }
    }

    /// The memory for packed filters, in `f32` elements; 0 where filters are read as they come.
    pub fn packed_len(&self) -> usize {
        match &self.plan {
            Plan::Direct(plan) => plan.packed_len(),
            Plan::Depthwise(plan) => plan.packed_len(),
            Plan::Winograd(plan) => plan.packed_len(),
            _ => 0,
        }
    }

    /// The order in which [`Prepared::pack`] packs filters, which neither the batch nor the planes have a part in.
    pub fn packing(&self) -> FilterPacking {
        let ConvShape { in_channels, out_channels, groups, kernel: [height, width], .. } = self.shape;
        FilterPacking {
            algorithm: self.algorithm,
            direction: self.direction,
            filters: [out_channels, in_channels, groups, height, width],
            length: self.packed_len(),
        }
    }

    /// Packs filters for any number of runs.
    ///
    /// # Panics
    /// Where a slice does not have the size that the shape and [`Prepared::packed_len`] give it.
    pub fn pack(&self, filters: &[f32], packed: &mut [f32], pool: &Pool) {
        assert_eq!(filters.len(), self.shape.filter_len(), "filters of {:?}", self.shape);
        assert!(packed.len() >= self.packed_len(), "{} elements for packed filters", packed.len());
        // What keeps no filters has no memory for them.
        if filters.is_empty() || self.packed_len() == 0 {
            return;
        }
        match &self.plan {
            Plan::Direct(plan) => plan.pack(filters, packed, pool),
            Plan::Depthwise(plan) => plan.pack(filters, packed, pool),
            Plan::Winograd(plan) => plan.pack(filters, packed, pool),
            _ => {}
        }
    }

    /// Whether [`Prepared::run`] can tell when parts of the result are finished.
    pub fn tells_parts(&self) -> bool {
        let is_convolution = self.direction != Direction::FilterGradient;
        is_convolution
            && matches!(
                self.plan,
                Plan::Direct(_) | Plan::Depthwise(_) | Plan::Pointwise(_) | Plan::Winograd(_)
            )
    }

    /// Whether [`Prepared::run`] can do something with each channel of the result.
    pub fn changes_channels(&self) -> bool {
        let ConvShape { in_channels, .. } = self.shape;
        let is_empty = self.shape.input_len().min(self.shape.output_len()).min(in_channels) == 0;
        self.direction == Direction::Forward
            && !is_empty
            && match self.plan {
                Plan::Direct(_) | Plan::Winograd(_) => true,
                // A vector of several outputs for each input channel is not one of neighbours.
                Plan::Depthwise(_) => self.shape.out_channels == in_channels,
                _ => false,
            }
    }

    /// Computes the convolution; see the [module](super) for what `a`, `b` and `out` are. `out` is overwritten. The
    /// parts that `ending` is told cover the result once.
    ///
    /// # Panics
    /// Where a slice does not have the size that the shape gives it, `scratch` is shorter than
    /// [`Prepared::scratch_len`], or this convolution cannot end so.
    pub fn run(
        &self,
        a: &[f32],
        b: Filters,
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
        ending: Ending,
    ) {
        let finish = ending.finish;
        assert!(ending.each.is_none() || self.changes_channels(), "{:?} changes no channels", self.algorithm);
        let Prepared { direction, shape, .. } = self;
        let (input, filter, output) = (shape.input_len(), shape.filter_len(), shape.output_len());
        let lengths = match direction {
            Direction::Forward => [input, filter, output],
            Direction::InputGradient => [output, filter, input],
            Direction::FilterGradient => [input, output, filter],
        };
        let plain = match b {
            Filters::Plain(b) => b,
            Filters::Packed(packed) => {
                assert!(
                    packed.len() >= self.packed_len() && self.packed_len() > 0,
                    "packed filters of {shape:?}"
                );
                &[]
            }
        };
        let b_len = if matches!(b, Filters::Plain(_)) { plain.len() } else { lengths[1] };
        assert_eq!([a.len(), b_len, out.len()], lengths, "operands of {direction:?} of {shape:?}");
        let needed = self.scratch_len();
        assert!(scratch.len() >= needed, "scratch of {} elements where {needed} are needed", scratch.len());
        assert!(finish.is_none() || self.tells_parts(), "{:?} tells no parts", self.algorithm);
        if input == 0 || filter == 0 || output == 0 {
            out.fill(0.0);
            if let Some(finish) = finish {
                self.finish_all(finish);
            }
            return;
        }
        match &self.plan {
            Plan::Direct(plan) => plan.run(a, b, out, scratch, pool, ending),
            Plan::Columns(plan) => plan.run(a, plain, out, scratch, pool),
            Plan::Depthwise(plan) => plan.run(a, b, out, scratch, pool, ending),
            Plan::DepthwiseFilter(plan) => plan.run(a, plain, out, scratch, pool),
            Plan::Pointwise(plan) => plan.run(a, plain, out, scratch, pool, finish),
            Plan::Winograd(plan) => plan.run(a, b, out, scratch, pool, ending),
            Plan::None => match self.algorithm {
                Algorithm::Lanes => {
                    let operands = Operands { a, b: plain, positions: &[], out, out_positions: &mut [] };
                    self.lanes().run(operands, scratch, pool);
                }
                Algorithm::Direct => self.direct_filter().run(a, plain, out, scratch, pool),
                _ => general::run(*direction, shape, a, plain, out, pool, self.level),
            },
        }
    }

    fn lanes(&self) -> lanes::Plan<'_> {
        lanes::Plan::new(self.direction, &self.shape, false, self.level, self.threads)
    }

    fn direct_filter(&self) -> direct_filter::Plan<'_> {
        direct_filter::Plan::new(&self.shape, self.level, self.threads)
    }

    /// Finishes a result that needed no computing.
    fn finish_all(&self, finish: Finish) {
        let (of_channels, [height, width]) = match self.direction {
            Direction::InputGradient => (self.shape.in_channels, self.shape.input),
            _ => (self.shape.out_channels, self.shape.output()),
        };
        for image in 0..self.shape.batch {
            let (channels, plane) = (0..of_channels, height * width);
            finish(Part { image, channels, rows: 0..height, width, plane, of_channels });
        }
    }
}
