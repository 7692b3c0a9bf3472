//! Whether what a device gave is what was expected.

use dropforge_ir::interpret::Numbers;

/// What is different between `got` and `expected`, or nothing. An element may differ by `tolerance` times the larger of
/// 1 and the expected value; infinities and NaN have to be the same, the sign of zero is not looked at.
pub fn compare(expected: &Numbers, got: &Numbers, tolerance: f64) -> Option<String> {
    if expected.ty() != got.ty() {
        return Some(format!("is {}, expected {}", got.ty(), expected.ty()));
    }
    let allowed = |want: f64| tolerance * want.abs().max(1.0);
    report(expected, got, allowed)
}

/// As [`compare`], with the allowed difference of each element given by its expected value.
pub fn report(expected: &Numbers, got: &Numbers, allowed: impl Fn(f64) -> f64) -> Option<String> {
    let wrong = |want: f64, x: f64| {
        if want.is_finite() && x.is_finite() { (want - x).abs() > allowed(want) } else { !same(want, x) }
    };
    let pairs = || expected.elements().iter().copied().zip(got.elements().iter().copied()).enumerate();
    let count = pairs().filter(|&(_, (want, x))| wrong(want, x)).count();
    let (first, (want, x)) = pairs().find(|&(_, (want, x))| wrong(want, x))?;
    let excess =
        |want: f64, x: f64| if x.is_finite() && want.is_finite() { (want - x).abs() } else { f64::INFINITY };
    let worst = pairs().map(|(_, (want, x))| excess(want, x)).filter(|x| x.is_finite()).fold(0.0, f64::max);
    Some(format!(
        "{count} of {} elements of {} differ, first element {first}: got {x:?}, expected {want:?} (± {:.1e}); largest difference {worst:.1e}",
        expected.elements().len(),
        expected.ty(),
        if want.is_finite() { allowed(want) } else { 0.0 },
    ))
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::{DType, ValueType};

    #[track_caller]
    fn check(expected: &[f64], got: &[f64], fits: bool) {
        let numbers = |x: &[f64]| Numbers::new(ValueType::new(DType::F32, [x.len()]), x.to_vec()).unwrap();
        assert_eq!(compare(&numbers(expected), &numbers(got), 0.1).is_none(), fits);
    }

    #[test]
    fn tolerance_is_absolute_below_one_and_relative_above() {
        check(&[0.0, 100.0], &[0.09, 109.0], true);
        check(&[0.0], &[0.11], false);
        check(&[100.0], &[111.0], false);
        check(&[f64::NAN, f64::INFINITY, 0.0], &[f64::NAN, f64::INFINITY, -0.0], true);
        check(&[f64::NAN], &[0.0], false);
        check(&[1.0], &[f64::NAN], false);
        check(&[f64::INFINITY], &[f64::NEG_INFINITY], false);
        check(&[f64::INFINITY], &[1e30], false);
        check(&[1.0], &[1.0, 1.0], false);
    }
}
