//! Comparison of numbers with a message that says where they differ.

/// Asserts that numbers agree within `tolerance`, relative to the larger of 1 and the expected one.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: number of elements");
    for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let distance = (got - expected).abs() / expected.abs().max(1.0);
        assert!(distance <= tolerance, "{what}[{index}]: {got}, expected {expected}");
    }
}
