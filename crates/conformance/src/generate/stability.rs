//! Which operations give nearly the same on nearly the same arguments.

use crate::dice::Dice;
use dropforge_ir::interpret::{Numbers, Rounding, apply};
use dropforge_ir::{BinaryKind, DType, Op, ReduceKind, UnaryKind};

/// Whether an operation, and its gradient, are smooth around these arguments. Elements further apart than `gap` are not
/// mixed up by rounding errors.
pub fn is_stable(op: &Op, args: &[&Numbers], exact: bool, gap: f64, dice: &mut Dice) -> bool {
    let all = |test: &dyn Fn(f64) -> bool| args[0].elements().iter().all(|&x| test(x));
    let pairs = |test: &dyn Fn(f64, f64) -> bool| {
        args[0].elements().iter().zip(args[1].elements()).all(|(&a, &b)| test(a, b))
    };
    let apart = |a: f64, b: f64| (a - b).abs() > gap * (1.0 + a.abs());
    let off_whole = |x: f64| apart(x, x.round());
    let float = args.first().is_some_and(|arg| arg.ty().dtype.is_float());
    match op {
        Op::Unary { kind } if float => match kind {
            UnaryKind::Exp | UnaryKind::ExpMinusOne => all(&|x| x < 6.0),
            UnaryKind::Log | UnaryKind::SquareRoot | UnaryKind::ReciprocalSquareRoot => all(&|x| x > 0.05),
            UnaryKind::LogOnePlus => all(&|x| x > -0.9),
            UnaryKind::Reciprocal => all(&|x| x.abs() > 0.1),
            UnaryKind::Sin | UnaryKind::Cos => all(&|x| x.abs() < 20.0),
            UnaryKind::Absolute | UnaryKind::Relu | UnaryKind::Sign => exact || all(&|x| apart(x, 0.0)),
            UnaryKind::Floor | UnaryKind::Ceil => exact || all(&off_whole),
            UnaryKind::Round => exact || all(&|x| off_whole(x + 0.5)),
            _ => true,
        },
        Op::Binary { kind } if float => match kind {
            BinaryKind::Divide => pairs(&|_, b| b.abs() > 0.1),
            BinaryKind::Power => pairs(&|a, b| a > 0.1 && a < 10.0 && b.abs() < 4.0),
            BinaryKind::Maximum | BinaryKind::Minimum => exact || pairs(&apart),
            BinaryKind::Remainder => pairs(&|a, b| b.abs() > 0.1 && off_whole(a / b)),
            _ => true,
        },
        Op::Compare { .. } if float => exact || pairs(&apart),
        Op::Cast { to: DType::Bool } if float => exact || all(&|x| apart(x, 0.0)),
        Op::Cast { to: DType::I32 } if float => all(&|x| exact || off_whole(x)),
        Op::Cast { to: DType::U32 } if float => all(&|x| x >= 0.0 && (exact || off_whole(x))),
        Op::Cast { to: DType::U8 } if float => all(&|x| (0.0..255.0).contains(&x) && (exact || off_whole(x))),
        Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. } if float => {
            exact || same_choice(op, args[0], gap, dice)
        }
        Op::ArgMax { .. } | Op::ArgSort { .. } | Op::MaxPool { .. } => {
            exact || same_choice(op, args[0], gap, dice)
        }
        _ => true,
    }
}

/// Whether an extreme stays where it is when the elements move a little. Two elements that are both the extreme do not.
fn same_choice(op: &Op, x: &Numbers, gap: f64, dice: &mut Dice) -> bool {
    let Op::Reduce { kind, axes } = op else {
        let Ok(before) = apply(op, &[x], Rounding::Double) else { return false };
        return (0..3).all(|_| {
            let moved = x.elements().iter().map(|x| x + gap * (1.0 + x.abs()) * dice.uniform(-1.0, 1.0)).collect();
            let moved = Numbers::new(x.ty().clone(), moved).map(|moved| apply(op, &[&moved], Rounding::Double));
            // The last result of both operations are the positions.
            matches!(moved, Some(Ok(after)) if after.last().map(Numbers::elements) == before.last().map(Numbers::elements))
        });
    };
    let sign = if *kind == ReduceKind::Max { 1.0 } else { -1.0 };
    // Σ e^((x − m) / gap) counts the elements within reach of the extreme m: it is below 2 if there is but one.
    let scaled = x.elements().iter().map(|x| sign * x / (gap / 5.0)).collect();
    let Some(scaled) = Numbers::new(x.ty().clone(), scaled) else { return false };
    let largest =
        apply(&Op::Reduce { kind: ReduceKind::Max, axes: axes.clone() }, &[&scaled], Rounding::Double);
    let total = apply(&Op::LogSumExp { axes: axes.clone() }, &[&scaled], Rounding::Double);
    let (Ok(largest), Ok(total)) = (largest, total) else { return false };
    largest[0].elements().iter().zip(total[0].elements()).all(|(largest, total)| total - largest < 0.02)
}

/// Whether whole numbers stay whole and every device computes them exactly.
pub fn keeps_whole_numbers(op: &Op) -> bool {
    match op {
        Op::Unary { kind } => matches!(
            kind,
            UnaryKind::Negate
                | UnaryKind::Absolute
                | UnaryKind::Sign
                | UnaryKind::Relu
                | UnaryKind::Floor
                | UnaryKind::Ceil
                | UnaryKind::Round
                | UnaryKind::Not
        ),
        Op::Binary { kind } => {
            !matches!(kind, BinaryKind::Divide | BinaryKind::Power | BinaryKind::Remainder)
        }
        Op::Reduce { kind, .. } => *kind != ReduceKind::Product,
        Op::Compare { .. } | Op::Select {} | Op::Cast { .. } => true,
        Op::Reshape { .. } | Op::Permute { .. } | Op::Broadcast { .. } | Op::Slice { .. } => true,
        Op::Pad { .. } | Op::Flip { .. } | Op::Concat { .. } | Op::Gather { .. } => true,
        Op::MaxPool { .. } => true,
        _ => false,
    }
}
