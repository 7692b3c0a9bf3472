//! Views: how the value of a chain of reshapes, permutations, broadcasts, slices and flips lies in the memory of the
//! value at its root.

use dropforge_ir::{Op, Program, Shape, Value};

/// Element `c` of the viewed value is element `offset + Σ strides[i]·c[i]` of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// A value with memory of its own, or one that is computed where it is used.
    pub root: Value,
    /// Position of the first element, in elements of the root.
    pub offset: i64,
    /// Step along each axis, in elements of the root.
    pub strides: Vec<i64>,
}

impl View {
    /// The value itself, row-major in its own memory.
    pub fn whole(program: &Program, value: Value) -> View {
        let strides = program.shape(value).strides().into_iter().map(|stride| stride as i64).collect();
        View { root: value, offset: 0, strides }
    }

    /// A counting operation without memory: its element is its position along one axis, as if the root held 0, 1, 2, …
    fn counting(value: Value, shape: &Shape, axis: usize) -> View {
        View { root: value, offset: 0, strides: (0..shape.rank()).map(|i| i64::from(i == axis)).collect() }
    }

    /// Whether elements lie in row-major order from the root's first element on.
    pub fn is_contiguous(&self, shape: &Shape) -> bool {
        self.offset == 0 && is_row_major(&self.strides, shape)
    }

    /// The view of `op` applied to this view of a value of shape `from`; `None` if it has no such form.
    fn apply(&self, op: &Op, from: &Shape) -> Option<View> {
        let mut view = self.clone();
        match op {
            Op::Permute { order } => view.strides = order.iter().map(|&axis| self.strides[axis]).collect(),
            Op::Broadcast { shape, axes } => {
                view.strides = vec![0; shape.rank()];
                for (&axis, &stride) in axes.iter().zip(&self.strides) {
                    view.strides[axis] = stride;
                }
            }
            Op::Slice { start, step, .. } => {
                for axis in 0..from.rank() {
                    view.offset += start[axis] as i64 * self.strides[axis];
                    view.strides[axis] *= step[axis] as i64;
                }
            }
            Op::Flip { axes } => {
                for &axis in axes {
                    view.offset += (from[axis] as i64 - 1).max(0) * self.strides[axis];
                    view.strides[axis] = -self.strides[axis];
                }
            }
            Op::Reshape { shape } => view.strides = reshape_strides(&self.strides, from, shape)?,
            _ => return None,
        }
        Some(view)
    }
}

/// Whether an operation only rearranges its argument.
pub fn is_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape { .. } | Op::Permute { .. } | Op::Broadcast { .. } | Op::Slice { .. } | Op::Flip { .. }
    )
}

/// Whether strides are those of row-major order; axes of extent 1 may have any.
pub fn is_row_major(strides: &[i64], shape: &[usize]) -> bool {
    let mut expected = 1;
    for (&stride, &extent) in strides.iter().zip(shape).rev() {
        if extent != 1 && stride != expected {
            return false;
        }
        expected *= extent as i64;
    }
    true
}

/// The views of all values. A rearrangement that has no strided form stands on a copy of its argument: the argument is
/// then listed in `copies`, and roots views itself.
pub struct Views {
    views: Vec<View>,
    /// Rearranged values that must be copied into memory of their own.
    pub copies: Vec<bool>,
}

impl Views {
    /// The views of a program's values; `copies` says which rearranged values get memory of their own already.
    pub fn new(program: &Program) -> Views {
        let mut views = Views { views: Vec::new(), copies: vec![false; program.value_count()] };
        for index in 0..program.value_count() {
            let value = Value(index as u32);
            views.views.push(View::whole(program, value));
            views.derive(program, value);
        }
        views
    }

    fn derive(&mut self, program: &Program, value: Value) {
        let node = program.definition(value);
        if self.copies[value.index()] || !is_view(&node.op) {
            self.views[value.index()] = match &node.op {
                Op::Iota { shape, axis } if !self.copies[value.index()] => {
                    View::counting(value, shape, *axis)
                }
                _ => View::whole(program, value),
            };
            return;
        }
        let arg = node.args[0];
        let view = match self.views[arg.index()].apply(&node.op, program.shape(arg)) {
            Some(view) => view,
            None => {
                self.copies[arg.index()] = true;
                self.views[arg.index()] = View::whole(program, arg);
                self.views[arg.index()]
                    .apply(&node.op, program.shape(arg))
                    .expect("a whole value can be rearranged")
            }
        };
        self.views[value.index()] = view;
    }

    /// Gives a rearranged (or counted) value memory of its own, and lets later values stand on it.
    pub fn copy(&mut self, program: &Program, value: Value) {
        let op = &program.definition(value).op;
        let has_memory = !is_view(op) && !matches!(op, Op::Iota { .. });
        if has_memory || std::mem::replace(&mut self.copies[value.index()], true) {
            return;
        }
        for index in value.index()..program.value_count() {
            self.derive(program, Value(index as u32));
        }
    }

    /// Gives a counting operation memory of its own.
    pub fn copy_if_counting(&mut self, program: &Program, value: Value) {
        if matches!(program.definition(value).op, Op::Iota { .. }) {
            self.copy(program, value);
        }
    }

    /// What a copied value copies: how it looks from the view of its argument, or its count.
    pub fn source(&self, program: &Program, value: Value) -> View {
        let node = program.definition(value);
        match &node.op {
            Op::Iota { shape, axis } => View::counting(value, shape, *axis),
            op => self.views[node.args[0].index()]
                .apply(op, program.shape(node.args[0]))
                .expect("the argument of a rearrangement without strided form was copied"),
        }
    }

    /// How a value lies in its root.
    pub fn view(&self, value: Value) -> &View {
        &self.views[value.index()]
    }
}

/// Strides of the same elements under another shape, if the order of the elements has such a form.
pub fn reshape_strides(strides: &[i64], from: &[usize], to: &[usize]) -> Option<Vec<i64>> {
    if from.iter().product::<usize>() == 0 {
        return Some(Shape::from(to).strides().into_iter().map(|stride| stride as i64).collect());
    }
    // Runs of axes that step as one, longer than 1, outermost first.
    let mut runs: Vec<(usize, i64)> = Vec::new();
    for (&extent, &stride) in from.iter().zip(strides).filter(|(extent, _)| **extent != 1) {
        match runs.last_mut() {
            Some((length, last)) if *last == stride * extent as i64 => {
                *length *= extent;
                *last = stride;
            }
            _ => runs.push((extent, stride)),
        }
    }
    let mut result = vec![0; to.len()];
    let mut axis = to.len();
    for &(length, stride) in runs.iter().rev() {
        let (mut rest, mut step) = (length, stride);
        while rest > 1 {
            axis = axis.checked_sub(1)?;
            result[axis] = step;
            if to[axis] == 1 {
                continue;
            }
            if !rest.is_multiple_of(to[axis]) {
                return None;
            }
            rest /= to[axis];
            step *= to[axis] as i64;
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_split_and_merge_runs() {
        assert_eq!(reshape_strides(&[12, 4, 1], &[2, 3, 4], &[6, 4]), Some(vec![4, 1]));
        assert_eq!(reshape_strides(&[4, 1], &[6, 4], &[2, 3, 2, 2]), Some(vec![12, 4, 2, 1]));
        assert_eq!(reshape_strides(&[1, 6], &[6, 4], &[24]), None);
        assert_eq!(reshape_strides(&[1, 6], &[6, 4], &[2, 3, 4]), Some(vec![3, 1, 6]));
        assert_eq!(reshape_strides(&[0, 1], &[5, 4], &[5, 1, 2, 2]), Some(vec![0, 0, 2, 1]));
        assert_eq!(reshape_strides(&[0], &[6], &[2, 3]), Some(vec![0, 0]));
    }
}
