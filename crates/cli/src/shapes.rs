//! Shapes as they stand on the command line.

use crate::output::Outcome;

/// `1x28x28` as extents.
pub fn parse(text: &str) -> Outcome<Vec<usize>> {
    let extents: Option<Vec<usize>> =
        text.split(['x', '×', ',']).map(|part| part.trim().parse().ok().filter(|&n| n > 0)).collect();
    extents.ok_or_else(|| format!("`{text}` is no shape; write one like 1x28x28").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(parse("1x28x28").unwrap(), [1, 28, 28]);
        assert_eq!(parse("13").unwrap(), [13]);
        for text in ["", "1x", "0x3", "axb", "1 2"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
