//! Attention of halves on tensor cores, by kernels of this device's own (`attention.cu`).

use crate::convolution::is_plain;
use crate::tuning::LEAST_ATTENTION_WORK;
use dropforge_ir::{DType, Op};
use dropforge_plan::plan::{Argument, Kernel, Plan, Work};
use dropforge_wgsl::Printing;

/// An attention, or its gradient, with all its extents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Whether it is the gradient.
    pub gradient: bool,
    /// The type of all but the logsumexp: f16 or bf16.
    pub half: DType,
    /// Batch times heads.
    pub heads: usize,
    /// Heads of one of the batch.
    pub heads_each: usize,
    /// Of queries, keys, values and the output's gradient, the steps from one of the batch, one head and one row to the
    /// next.
    pub steps: [[usize; 3]; 4],
    /// Queries of a head.
    pub queries: usize,
    /// Keys of a head.
    pub keys: usize,
    /// Numbers of a query.
    pub width: usize,
    /// Whether a query sees no key beyond its own place.
    pub causal: bool,
    /// Factor on the scores.
    pub scale: f32,
}

/// Where a kernel finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// An argument of the operation, or behind these a result.
    Of(usize),
    /// Scratch memory, from its start.
    Scratch,
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Text in CUDA C, after the prelude.
    pub source: String,
    /// Words of its first argument.
    pub parameters: Vec<u32>,
    /// Its other arguments.
    pub operands: Vec<Operand>,
    /// Blocks of [`ATTENTION_THREADS`].
    pub blocks: u32,
}

/// Threads of a block.
pub const ATTENTION_THREADS: u32 = 128;

/// Rows of a block.
const ROWS: usize = 64;

/// Most numbers of a query: more do not fit into registers.
const MOST_WIDTH: usize = 128;

const TEXT: &str = include_str!("attention.cu");

/// The attention that a kernel of a plan is, if tensor cores can compute it, and there is enough to do.
pub fn attention(plan: &Plan, kernel: &Kernel, printing: Printing) -> Option<Attention> {
    let Work::Call { op, args, results } = &kernel.work else { return None };
    let (gradient, causal, scale) = match op {
        Op::Attention { causal, scale } => (false, *causal, scale.0),
        Op::AttentionGradient { causal, scale } => (true, *causal, scale.0),
        _ => return None,
    };
    const LOG_SUM_EXP: usize = 4;
    // Queries, keys, values and the gradient of the output.
    const STRIDED: [usize; 4] = [0, 1, 2, 5];
    let half = args.first()?.ty.dtype;
    let of_arguments = args.iter().enumerate().all(|(number, argument)| {
        argument.ty.dtype == if number == LOG_SUM_EXP { DType::F32 } else { half }
            && (STRIDED.contains(&number) || is_plain(argument))
    });
    let of_results = results.iter().enumerate().all(|(number, &result)| {
        plan.buffers[result].ty.dtype == if !gradient && number == 1 { DType::F32 } else { half }
    });
    let (q, k) = (&args[0].ty.shape, &args[1].ty.shape);
    let mut steps = [[0; 3]; 4];
    for (steps, number) in steps.iter_mut().zip(STRIDED).take(if gradient { 4 } else { 3 }) {
        *steps = row_steps(&args[number])?;
    }
    let attention = Attention {
        gradient,
        half,
        heads: q[0] * q[1],
        heads_each: q[1],
        steps,
        queries: q[2],
        keys: k[2],
        width: q[3],
        causal: causal != 0,
        scale: scale as f32,
    };
    let Attention { heads, queries, keys, width, .. } = attention;
    let work = 4.0 * heads as f64 * queries as f64 * keys as f64 * width as f64;
    let fits = width.is_multiple_of(16) && (16..=MOST_WIDTH).contains(&width);
    let has_cores = printing.matrices.is_some() && printing.packs(half);
    (has_cores && of_arguments && of_results && fits && work >= LEAST_ATTENTION_WORK).then_some(attention)
}

/// The steps along the first three axes of an argument, if each row is one piece and begins where tensor cores can load
/// from.
fn row_steps(argument: &Argument) -> Option<[usize; 3]> {
    let whole = |step: i64| usize::try_from(step).ok().filter(|step| step.is_multiple_of(8));
    let [batch, head, row, one] = argument.strides[..] else { return None };
    let fits = one == 1 && argument.offset % 8 == 0;
    fits.then_some([whole(batch)?, whole(head)?, whole(row)?])
}

impl Attention {
    /// Its launches, one after another.
    pub fn launches(&self) -> Vec<Launch> {
        use Operand::{Of, Scratch};
        let Attention { heads, queries, keys, .. } = *self;
        let launch = |part: usize, blocks: usize, operands: &[Operand]| Launch {
            source: self.source(part),
            parameters: self.parameters(),
            operands: operands.to_vec(),
            blocks: blocks as u32,
        };
        let [of_queries, of_keys] = [queries, keys].map(|rows| heads * rows.div_ceil(ROWS));
        if !self.gradient {
            return vec![launch(0, of_queries, &[0, 1, 2, 3, 4].map(Of))];
        }
        // Arguments q, k, v, output, logsumexp, output gradient; results for q, k, v.
        vec![
            launch(1, (heads * queries).div_ceil(4), &[Of(3), Of(5), Scratch]),
            launch(2, of_queries, &[Of(0), Of(1), Of(2), Of(4), Of(5), Scratch, Of(6)]),
            launch(3, of_keys, &[Of(0), Of(1), Of(2), Of(4), Of(5), Scratch, Of(7), Of(8)]),
        ]
    }

    fn parameters(&self) -> Vec<u32> {
        let Attention { heads, queries, keys, scale, heads_each, steps, .. } = *self;
        let mut words = vec![heads as u32, queries as u32, keys as u32, scale.to_bits(), heads_each as u32];
        words.extend(steps.as_flattened().iter().map(|&step| step as u32));
        words.resize(words.len().next_multiple_of(4), 0);
        words
    }

    /// Words of scratch memory.
    pub fn scratch_words(&self) -> usize {
        if self.gradient { self.heads * self.queries } else { 0 }
    }

    fn source(&self, part: usize) -> String {
        let (half, causal) = (self.half, u32::from(self.causal));
        let width = self.width;
        format!(
            "#define PART {part}\n#define HALF {half}\n#define HALF_NAME \"{half}\"\n#define WIDTH {width}u\n\
             #define CAUSAL {causal}\n{TEXT}"
        )
    }
}
