//! How the domain of a kernel is cut into blocks of lanes.

use super::tuning;
use dropforge_plan::kernel::{Affine, Domain, Instruction, Level, LoopKernel, Reduction};

/// Axes a position may have; the emitter merges axes, so that real kernels stay far below.
pub(super) const MAX_AXES: usize = 16;

/// What a lane of a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An element; there are no columns, and row values belong to elements.
    Elementwise,
    /// An element, with all columns of one or several rows in a block.
    Packed,
    /// A column; a row takes several blocks, one after another.
    Streamed,
    /// A row; the columns come one after another.
    Rowwise,
}

/// The cut of one domain. A *unit* is what is computed from beginning to end by one thread; an *iteration* of a stage
/// is one block of lanes.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub kind: Kind,
    /// Extents of the leading row axes, of which a unit has one position.
    pub outer: Vec<usize>,
    /// Extents of the other row axes.
    pub rows: Vec<usize>,
    pub columns: Vec<usize>,
    /// Most lanes in a block.
    pub block: usize,
    /// Most rows in a block of a packed layout.
    pub rows_per_block: usize,
}

/// Whether every value of the kernel belongs to an element, so that rows and columns are the same thing.
fn is_elementwise(kernel: &LoopKernel) -> bool {
    kernel.column_axes == 0
        || (kernel.registers.iter().all(|register| register.level == Level::Domain)
            && kernel.stages.iter().all(|stage| stage.reductions.is_empty() && stage.row.is_empty()))
}

fn product(extents: &[usize]) -> usize {
    extents.iter().product()
}

impl Layout {
    /// The fastest layout by estimate. `registers` is the number of block registers that are live at once.
    pub fn choose(kernel: &LoopKernel, domain: &Domain, registers: usize) -> Layout {
        if is_elementwise(kernel) {
            return Layout::elementwise(domain, registers);
        }
        let columnwise = Layout::columnwise(domain, registers);
        let rowwise = Layout::rowwise(domain, registers);
        if columnwise.estimate(kernel) <= rowwise.estimate(kernel) { columnwise } else { rowwise }
    }

    /// Every layout that can run the kernel, for tests.
    #[cfg(test)]
    pub fn all(kernel: &LoopKernel, domain: &Domain, registers: usize) -> Vec<Layout> {
        if is_elementwise(kernel) {
            let mut packed = Layout::elementwise(domain, registers);
            let extents: Vec<usize> = packed.outer.drain(..).chain(packed.rows.drain(..)).collect();
            let mut aligned = packed.clone();
            packed.rows = extents.clone();
            let inner = extents.len().saturating_sub(1);
            aligned.outer = extents[..inner].to_vec();
            aligned.rows = extents[inner..].to_vec();
            return vec![packed, aligned];
        }
        let columns = domain.column_count();
        let mut layouts = vec![Layout::rowwise(domain, registers)];
        let mut streamed = Layout::columnwise(domain, registers);
        (streamed.kind, streamed.outer, streamed.rows) = (Kind::Streamed, domain.rows.clone(), Vec::new());
        streamed.block = tuning::LEAST_BLOCK.min(columns.next_multiple_of(16)).max(16);
        layouts.push(streamed);
        let packed = Layout::columnwise(domain, registers);
        if packed.kind == Kind::Packed {
            layouts.push(packed);
        }
        layouts
    }

    fn elementwise(domain: &Domain, registers: usize) -> Layout {
        let Domain { rows, columns } = domain;
        let extents: Vec<usize> = rows.iter().chain(columns).copied().collect();
        let block = block_size(registers, tuning::ELEMENTWISE_BLOCK);
        let aligned = extents.len() > 1 && extents.last().is_some_and(|&last| last >= tuning::ALIGNED_RUN);
        let outer = if aligned { extents.len() - 1 } else { 0 };
        Layout {
            kind: Kind::Elementwise,
            outer: extents[..outer].to_vec(),
            rows: extents[outer..].to_vec(),
            columns: Vec::new(),
            block,
            rows_per_block: 0,
        }
    }

    fn columnwise(domain: &Domain, registers: usize) -> Layout {
        let Domain { rows, columns: extents } = domain;
        let columns = product(extents);
        let most = block_size(registers, tuning::LARGEST_BLOCK);
        if columns > 0 && columns <= tuning::LEAST_BLOCK {
            let target = most.min(tuning::ELEMENTWISE_BLOCK);
            let rows_per_block = (target / columns).min(product(rows).max(1));
            return Layout {
                kind: Kind::Packed,
                outer: Vec::new(),
                rows: rows.to_vec(),
                columns: extents.clone(),
                block: rows_per_block * columns,
                rows_per_block,
            };
        }
        let most = if columns <= most { columns } else { most.min(2 * tuning::ELEMENTWISE_BLOCK) }.max(1);
        let block = columns.div_ceil(columns.div_ceil(most).max(1)).next_multiple_of(16).max(16);
        Layout {
            kind: Kind::Streamed,
            outer: rows.to_vec(),
            rows: Vec::new(),
            columns: extents.clone(),
            block,
            rows_per_block: 0,
        }
    }

    fn rowwise(domain: &Domain, registers: usize) -> Layout {
        let Domain { rows, columns } = domain;
        let aligned = rows.len() > 1 && rows.last().is_some_and(|&last| last >= tuning::ALIGNED_RUN);
        let outer = if aligned { rows.len() - 1 } else { 0 };
        let most = block_size(registers, tuning::ELEMENTWISE_BLOCK);
        let lanes = product(&rows[outer..]).max(1);
        Layout {
            kind: Kind::Rowwise,
            outer: rows[..outer].to_vec(),
            rows: rows[outer..].to_vec(),
            columns: columns.clone(),
            block: lanes.div_ceil(lanes.div_ceil(most)).next_multiple_of(16),
            rows_per_block: 0,
        }
    }

    /// Estimated nanoseconds on one thread.
    pub fn estimate(&self, kernel: &LoopKernel) -> f64 {
        let columns = product(&self.columns) as f64;
        let rows = (product(&self.outer) * product(&self.rows)) as f64;
        let elements = rows * columns;
        let lanes = match self.kind {
            Kind::Elementwise | Kind::Rowwise => self.block.min(product(&self.rows)).max(1),
            Kind::Packed => self.block,
            Kind::Streamed => self.block.min(product(&self.columns)).max(1),
        } as f64;
        let mut cost = 0.0;
        for stage in &kernel.stages {
            for instruction in &stage.domain {
                let per_lane = match instruction {
                    Instruction::Load { access, .. } | Instruction::Store { access, .. } => {
                        self.access_cost(&access.index)
                    }
                    Instruction::Unary { kind, .. } if super::is_expensive(*kind) => {
                        tuning::LANE * tuning::FUNCTION
                    }
                    Instruction::RandomBits { .. } => tuning::LANE * tuning::FUNCTION,
                    _ => tuning::LANE,
                };
                cost += elements * (per_lane + tuning::STEP / lanes);
            }
            for reduce in &stage.reductions {
                let weight = match reduce.kind {
                    Reduction::LogSumExp => tuning::FUNCTION,
                    Reduction::MeanVariance | Reduction::ArgMax => 2.0,
                    _ => 1.0,
                };
                cost += elements * (tuning::LANE * weight + tuning::STEP / lanes);
                if self.kind != Kind::Rowwise {
                    cost += rows * tuning::ROW;
                }
            }
            let row_lanes = match self.kind {
                Kind::Elementwise | Kind::Rowwise => lanes,
                Kind::Packed => self.rows_per_block as f64,
                Kind::Streamed => 1.0,
            };
            cost += stage.row.len() as f64 * rows * (tuning::LANE + tuning::STEP / row_lanes);
        }
        cost
    }

    /// Nanoseconds for an element of an access, by how its lanes lie in memory.
    fn access_cost(&self, index: &Affine) -> f64 {
        let lanes = self.lane_axes(index, Level::Domain);
        match lanes.last() {
            None | Some((_, 0)) if lanes.len() < 2 => 0.0,
            Some(&(run, 0 | 1)) => {
                tuning::CONTIGUOUS + if lanes.len() > 1 { tuning::RUN / run as f64 } else { 0.0 }
            }
            _ => tuning::STRIDED,
        }
    }

    /// Extents and steps of the lanes of a position, outermost first, merged where they can be.
    pub fn lane_axes(&self, index: &Affine, level: Level) -> Vec<(usize, i64)> {
        let all: Vec<i64> = index.rows.iter().chain(&index.columns).copied().collect();
        let mut extents = self.rows.clone();
        let strides = match (self.kind, level) {
            (Kind::Elementwise, _) => &all[self.outer.len()..],
            (Kind::Rowwise, _) => &all[self.outer.len()..index.rows.len()],
            (Kind::Packed, Level::Row) => &all[..index.rows.len()],
            (Kind::Packed, Level::Domain) => {
                extents.extend(&self.columns);
                &all[..]
            }
            (Kind::Streamed, Level::Row) => &[],
            (Kind::Streamed, Level::Domain) => {
                extents.clone_from(&self.columns);
                &all[index.rows.len()..]
            }
        };
        let mut axes: Vec<(usize, i64)> = Vec::new();
        for (&extent, &stride) in extents.iter().zip(strides).rev() {
            match axes.last_mut() {
                _ if extent == 1 => {}
                Some((inner, step)) if stride == *step * *inner as i64 => *inner *= extent,
                _ => axes.push((extent, stride)),
            }
        }
        axes.reverse();
        axes
    }

    /// Steps of a position along the outer axes of units.
    pub fn outer_strides(&self, index: &Affine) -> Vec<i64> {
        index.rows.iter().chain(&index.columns).take(self.outer.len()).copied().collect()
    }

    /// Steps of a position along the columns that a rowwise layout visits one after another.
    pub fn looped_strides<'a>(&self, index: &'a Affine) -> &'a [i64] {
        if self.kind == Kind::Rowwise { &index.columns } else { &[] }
    }

    /// The number of units.
    pub fn units(&self) -> usize {
        let rows = product(&self.rows);
        match self.kind {
            Kind::Streamed => product(&self.outer),
            Kind::Packed => rows.div_ceil(self.rows_per_block),
            Kind::Elementwise | Kind::Rowwise => product(&self.outer) * rows.div_ceil(self.block),
        }
    }

    /// Whether a unit is one block of lanes, so that stages find what earlier ones computed.
    pub fn is_single_pass(&self) -> bool {
        match self.kind {
            Kind::Packed | Kind::Elementwise => true,
            Kind::Streamed => product(&self.columns) <= self.block,
            Kind::Rowwise => false,
        }
    }

    /// Whether the lanes at a position are the same in every unit.
    pub fn repeats(&self, index: &Affine) -> bool {
        let rows = self.outer.iter().chain(&self.rows);
        let is_fixed = |(&stride, &extent): (&i64, &usize)| stride == 0 || extent == 1;
        matches!(self.kind, Kind::Packed | Kind::Streamed)
            && self.is_single_pass()
            && index.rows.iter().zip(rows).all(is_fixed)
    }

    /// Iterations of a stage within a unit.
    pub fn iterations(&self) -> usize {
        match self.kind {
            Kind::Streamed => product(&self.columns).div_ceil(self.block),
            Kind::Rowwise => product(&self.columns),
            Kind::Packed | Kind::Elementwise => 1,
        }
    }
}

/// Lanes for so many block registers, a power of two.
fn block_size(registers: usize, most: usize) -> usize {
    let fitting = tuning::REGISTER_BYTES / 4 / registers.max(1);
    let power = if fitting.is_power_of_two() { fitting } else { fitting.next_power_of_two() / 2 };
    power.clamp(tuning::LEAST_BLOCK, most)
}
