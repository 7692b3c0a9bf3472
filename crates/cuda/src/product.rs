//! Which products of a plan the library computes, and how it is told about them.

use crate::cublaslt::{BF16, F16, F32, Matrix, Shape};
use crate::tuning::LEAST_LIBRARY_WORK;
use dropforge_ir::{DType, Op};
use dropforge_plan::plan::{Argument, Kernel, Place, Plan, Work};
use dropforge_wgsl::Printing;
use std::ffi::c_int;

/// Axes that step as one: how many positions, and the step from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    extent: usize,
    step: i64,
}

/// The axes of an argument as one run, if they are one.
fn run(argument: &Argument, axes: &[usize]) -> Option<Run> {
    let mut whole = Run { extent: 1, step: 0 };
    for &axis in axes {
        let (extent, step) = (argument.ty.shape[axis], argument.strides[axis]);
        match () {
            () if extent == 1 => {}
            () if whole.extent == 1 => whole = Run { extent, step },
            () if whole.step == step * extent as i64 => whole = Run { extent: whole.extent * extent, step },
            () => return None,
        }
    }
    Some(whole)
}

/// A factor with the rows and columns of the mathematics, as the library sees it: the matrix, and whether it is turned.
fn factor(rows: Run, columns: Run, batch: Run) -> Option<(Matrix, bool)> {
    let one = |run: Run| run.extent == 1 || run.step == 1;
    let stored = |rows: Run, columns: Run| {
        let step = if columns.extent == 1 { rows.extent as i64 } else { columns.step };
        let matrix = Matrix {
            rows: rows.extent as u64,
            columns: columns.extent as u64,
            step,
            batch_step: if batch.extent == 1 { 0 } else { batch.step },
        };
        (one(rows) && step >= rows.extent as i64 && matrix.batch_step >= 0).then_some(matrix)
    };
    match stored(rows, columns) {
        Some(matrix) => Some((matrix, false)),
        None => stored(columns, rows).map(|matrix| (matrix, true)),
    }
}

/// How the library computes a kernel of a plan, if it can, and there is enough to do. Its arguments come in the order
/// of the library: what the plan calls the right factor is its first.
pub fn shape(plan: &Plan, kernel: &Kernel, printing: Printing) -> Option<Shape> {
    let Work::Call { op: Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract }, args, results } =
        &kernel.work
    else {
        return None;
    };
    let [lhs, rhs] = &args[..] else { return None };
    let info = &plan.buffers[*results.first()?];
    if matches!(info.place, Place::State(_)) {
        return None;
    }
    let element = |dtype: DType| -> Option<c_int> {
        match dtype {
            DType::F32 => Some(F32),
            DType::F16 if printing.packs(dtype) => Some(F16),
            DType::BF16 if printing.packs(dtype) => Some(BF16),
            _ => None,
        }
    };
    let (factors, result) = (element(lhs.ty.dtype)?, element(info.ty.dtype)?);
    let is_known = lhs.ty.dtype == rhs.ty.dtype && (factors == result || result == F32);
    let free = |argument: &Argument, batch: &[usize], contract: &[usize]| -> Vec<usize> {
        (0..argument.ty.shape.rank())
            .filter(|axis| !batch.contains(axis) && !contract.contains(axis))
            .collect()
    };
    let m = run(lhs, &free(lhs, lhs_batch, lhs_contract))?;
    let n = run(rhs, &free(rhs, rhs_batch, rhs_contract))?;
    let (left_k, right_k) = (run(lhs, lhs_contract)?, run(rhs, rhs_contract)?);
    let (left_z, right_z) = (run(lhs, lhs_batch)?, run(rhs, rhs_batch)?);
    let (k, z) = (left_k.extent, left_z.extent);
    let work = 2.0 * m.extent as f64 * n.extent as f64 * k as f64 * z as f64;
    if !is_known || work < LEAST_LIBRARY_WORK {
        return None;
    }
    // The result lies in rows; the library sees its columns.
    let (a, turned_a) = factor(n, right_k, right_z)?;
    let (b, turned_b) = factor(left_k, m, left_z)?;
    let d = Matrix {
        rows: n.extent as u64,
        columns: m.extent as u64,
        step: n.extent as i64,
        batch_step: (m.extent * n.extent) as i64,
    };
    Some(Shape { a, b, d, turned: [turned_a, turned_b], batch: i32::try_from(z).ok()?, factors, result })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::text::parse;

    fn shapes(body: &str) -> Vec<Option<Shape>> {
        let text = format!("program p {{\n{body}\n}}");
        let plan = dropforge_plan::plan(&parse(&text).unwrap()).unwrap();
        let printing = Printing { f16: true, bf16: true, ..Printing::default() };
        let is_call = |kernel: &&Kernel| matches!(kernel.work, Work::Call { .. });
        plan.kernels.iter().filter(is_call).map(|kernel| shape(&plan, kernel, printing)).collect()
    }

    #[test]
    fn products_are_told_in_columns() {
        let found = shapes(
            "  %a: f32[2, 512, 300] = input \"a\"
  %b: f32[2, 300, 640] = input \"b\"
  %x = dot %a, %b {lhs_batch=[0], rhs_batch=[0], lhs_contract=[2], rhs_contract=[1]}
  output \"x\" = %x",
        );
        let a = Matrix { rows: 640, columns: 300, step: 640, batch_step: 300 * 640 };
        let b = Matrix { rows: 300, columns: 512, step: 300, batch_step: 512 * 300 };
        let d = Matrix { rows: 640, columns: 512, step: 640, batch_step: 512 * 640 };
        let expected = Shape { a, b, d, turned: [false, false], batch: 2, factors: F32, result: F32 };
        assert_eq!(found, [Some(expected)]);
    }

    #[test]
    fn factors_are_turned_where_they_lie_otherwise() {
        let found = shapes(
            "  %a: bf16[700, 512] = input \"a\"
  %b: bf16[640, 700] = input \"b\"
  %x = dot %a, %b {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[1]}
  output \"x\" = %x",
        );
        let shape = found[0].unwrap();
        assert_eq!((shape.turned, shape.factors, shape.result), ([true, true], BF16, BF16));
        assert_eq!((shape.a.rows, shape.a.columns, shape.a.step), (700, 640, 700));
        assert_eq!((shape.b.rows, shape.b.columns, shape.b.step), (512, 700, 512));
    }

    #[test]
    fn small_products_are_left_to_kernels() {
        let found = shapes(
            "  %a: f32[8, 8] = input \"a\"
  %x = dot %a, %a {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
  output \"x\" = %x",
        );
        assert_eq!(found, [None]);
    }
}
