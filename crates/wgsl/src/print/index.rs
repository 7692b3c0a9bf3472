//! Positions as expressions. Arithmetic is on u32 and wraps, so that negative steps work.

/// The position `Σ strides[i]·c[i]` where the coordinates `c` number `extents` in row-major order and `number` is an
/// expression of that number.
pub fn position(number: &str, extents: &[usize], strides: &[i64]) -> String {
    let mut runs: Vec<(usize, i64)> = Vec::new();
    for (&extent, &stride) in extents.iter().zip(strides).filter(|(extent, _)| **extent != 1) {
        match runs.last_mut() {
            Some((length, last)) if *last == stride * extent as i64 => {
                *length *= extent;
                *last = stride;
            }
            _ => runs.push((extent, stride)),
        }
    }
    let mut terms = Vec::new();
    let mut inner = 1;
    for (index, &(length, stride)) in runs.iter().enumerate().rev() {
        let coordinate = match (inner, index) {
            (1, 0) => number.to_string(),
            (1, _) => format!("({number} % {length}u)"),
            (_, 0) => format!("({number} / {inner}u)"),
            _ => format!("(({number} / {inner}u) % {length}u)"),
        };
        match stride {
            0 => {}
            1 => terms.push(coordinate),
            stride => terms.push(format!("{coordinate} * {}u", stride as u32)),
        }
        inner *= length;
    }
    sum(&terms)
}

/// A sum of terms, zeros left out.
pub fn sum(terms: &[String]) -> String {
    let terms: Vec<&str> = terms.iter().map(String::as_str).filter(|term| *term != "0u").collect();
    match terms.as_slice() {
        [] => "0u".into(),
        [one] => (*one).into(),
        _ => format!("({})", terms.join(" + ")),
    }
}

/// A constant that may be negative.
pub fn constant(value: i64) -> String {
    format!("{}u", value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_axes_are_one_where_they_step_as_one() {
        assert_eq!(position("r", &[2, 3, 4], &[12, 4, 1]), "r");
        assert_eq!(position("r", &[2, 3, 4], &[0, 4, 1]), "(r % 12u)");
        assert_eq!(position("r", &[2, 3], &[1, 2]), "((r % 3u) * 2u + (r / 3u))");
        assert_eq!(position("r", &[5], &[-1]), "r * 4294967295u");
        assert_eq!(position("r", &[1, 1], &[7, 7]), "0u");
        assert_eq!(position("r", &[4, 3], &[0, 0]), "0u");
    }
}
