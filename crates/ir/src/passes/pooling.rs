//! Work next to a max-pool moves to its smaller side.
//!
//! Maximum and a monotone function commute, so a ReLU or a bias that comes before a max-pool can come after it, on as
//! many elements as the pool leaves. Backwards, a ReLU's mask and a bias's sum are taken before the gradient is spread
//! out.

use crate::error::Result;
use crate::op::{BinaryKind, CompareKind, Op, ReduceKind, UnaryKind};
use crate::program::{Node, NodeId, Program, Value};

/// Applies masks and sums to the gradients of max-pools before these are spread over the planes.
///
/// The mask `y ≤ 0` of the pooled values `y` is read at the position that won each window, where it is the mask of the
/// window's result; everywhere else the spread gradient is zero.
///
/// # Errors
/// Never for a valid program.
pub fn mask_before_spreading(program: &Program) -> Result<Program> {
    program.rebuild(
        |_| true,
        |new, node, args| {
            let moved = match &node.op {
                Op::Select {} => mask(new, args)?,
                Op::Reduce { kind: ReduceKind::Sum, axes } => sum(new, axes, args[0])?,
                _ => None,
            };
            match moved {
                Some(value) => Ok(vec![value]),
                None => new.copy_node(node, args),
            }
        },
    )
}

fn mask(p: &mut Program, args: &[Value]) -> Result<Option<Value>> {
    let (condition, spread) = (p.definition(args[0]).clone(), p.definition(args[2]).clone());
    if condition.op != (Op::Compare { kind: CompareKind::LessEqual })
        || p.splat(condition.args[1]) != Some(0.0)
        || p.splat(args[1]) != Some(0.0)
        || !matches!(spread.op, Op::MaxPoolGradient { .. })
    {
        return Ok(None);
    }
    let pool = p.definition(spread.args[1]).clone();
    if !matches!(pool.op, Op::MaxPool { .. }) || pool.args[0] != condition.args[0] {
        return Ok(None);
    }
    let zero = p.splat_like(0.0, spread.args[0])?;
    let off = p.compare(CompareKind::LessEqual, pool.results[0], zero)?;
    let masked = p.apply(Op::Select {}, &[off, zero, spread.args[0]])?;
    Ok(Some(p.apply(spread.op, &[masked, spread.args[1]])?))
}

fn sum(p: &mut Program, axes: &[usize], x: Value) -> Result<Option<Value>> {
    let spread = p.definition(x).clone();
    let whole_planes = axes.contains(&2) && axes.contains(&3);
    let is_spread = matches!(spread.op, Op::MaxPoolGradient { .. })
        && matches!(p.definition(spread.args[1]).op, Op::MaxPool { .. });
    if !whole_planes || !is_spread {
        return Ok(None);
    }
    Ok(Some(p.reduce(ReduceKind::Sum, spread.args[0], axes)?))
}

/// Pools before a ReLU or the addition of one number per channel, where nothing else needs what comes in between.
///
/// Behind a ReLU the winning position of a window without positive elements is another one; that is only allowed where
/// every gradient through it is masked to zero. Adding a bias may round different elements to one, whose gradient then
/// goes to the larger of them.
///
/// # Errors
/// Never for a valid program.
pub fn pool_before_activation(program: &Program) -> Result<Program> {
    let mut uses: Vec<Vec<NodeId>> = vec![Vec::new(); program.value_count()];
    for (index, node) in program.nodes().iter().enumerate() {
        for arg in &node.args {
            uses[arg.index()].push(NodeId(index as u32));
        }
    }
    let mut is_result = vec![false; program.value_count()];
    for value in
        program.outputs.iter().map(|port| port.value).chain(program.states.iter().filter_map(|s| s.write))
    {
        is_result[value.index()] = true;
    }
    let facts = Facts { program, uses, is_result };
    program.rebuild(
        |_| true,
        |new, node, args| match &node.op {
            Op::MaxPool { .. } => facts.pool_first(new, node, args),
            _ => new.copy_node(node, args),
        },
    )
}

struct Facts<'a> {
    program: &'a Program,
    uses: Vec<Vec<NodeId>>,
    is_result: Vec<bool>,
}

impl Facts<'_> {
    fn pool_first(&self, new: &mut Program, pool: &Node, args: &[Value]) -> Result<Vec<Value>> {
        let x = pool.args[0];
        let only_here = self.uses[x.index()].len() == 1 && !self.is_result[x.index()];
        let inner = new.definition(args[0]).clone();
        if !only_here || !self.spreads_only(pool.results[1]) {
            return new.copy_node(pool, args);
        }
        match inner.op {
            Op::Unary { kind: UnaryKind::Relu } if self.all_masked(pool) => {
                let pooled = new.push(pool.op.clone(), &[inner.args[0]])?;
                Ok(vec![new.unary(UnaryKind::Relu, pooled[0])?, pooled[1]])
            }
            Op::Binary { kind: BinaryKind::Add } => {
                let bias = new.definition(inner.args[1]).clone();
                let Op::Broadcast { axes, .. } = &bias.op else { return new.copy_node(pool, args) };
                if axes.as_slice() != [1] {
                    return new.copy_node(pool, args);
                }
                let pooled = new.push(pool.op.clone(), &[inner.args[0]])?;
                let shape = new.shape(pooled[0]).clone();
                let bias = new.apply(Op::Broadcast { shape, axes: vec![1] }, &[bias.args[0]])?;
                Ok(vec![new.binary(BinaryKind::Add, pooled[0], bias)?, pooled[1]])
            }
            _ => new.copy_node(pool, args),
        }
    }

    /// Whether positions are only used to spread gradients.
    fn spreads_only(&self, positions: Value) -> bool {
        !self.is_result[positions.index()]
            && self.uses[positions.index()]
                .iter()
                .all(|&id| matches!(self.program.node(id).op, Op::MaxPoolGradient { .. }))
    }

    /// Whether every gradient that is spread to the positions is zero where the pooled value is not positive.
    fn all_masked(&self, pool: &Node) -> bool {
        self.uses[pool.results[1].index()].iter().all(|&id| {
            let gradient = self.program.definition(self.program.node(id).args[0]);
            let is_mask =
                matches!(gradient.op, Op::Select {}) && self.program.splat(gradient.args[1]) == Some(0.0);
            if !is_mask {
                return false;
            }
            let condition = self.program.definition(gradient.args[0]);
            condition.op == (Op::Compare { kind: CompareKind::LessEqual })
                && condition.args[0] == pool.results[0]
                && self.program.splat(condition.args[1]) == Some(0.0)
        })
    }
}
