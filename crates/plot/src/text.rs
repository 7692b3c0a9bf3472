//! Text in SVG and HTML, and numbers that people read.

/// Text as it stands between tags or in an attribute. What XML does not allow at all is left out.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() && c != '\n' && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

/// A number in at most four digits, with a letter or an exponent where it is far from 1: `0.25`, `12.5k`, `3e-5`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let (value, unit) = match size {
        _ if !value.is_finite() || value == 0.0 => (value, ""),
        _ if !(1e-3..1e15).contains(&size) => return shorten(&format!("{value:.3e}")),
        _ if size >= 1e12 => (value / 1e12, "T"),
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let places = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 1.0 => 3,
        _ => 4,
    };
    shorten(&format!("{value:.places$}")) + unit
}

/// Without zeros at the end of the fraction.
fn shorten(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').map_or((text, None), |(digits, e)| (digits, Some(e)));
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    exponent.map_or_else(|| digits.to_string(), |exponent| format!("{digits}e{exponent}"))
}

/// A coordinate: a tenth of a unit is finer than anybody sees.
pub(crate) fn at(value: f64) -> String {
    shorten(&format!("{value:.1}"))
}

/// At most so many characters, the rest as three dots.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_string();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let numbers = [0.0, 0.25, -1.0, 12.5, 1234.0, 12_500.0, 3e-5, 2.5e6, 1e20, 0.001];
        let expected = ["0", "0.25", "-1", "12.5", "1234", "12.5k", "3e-5", "2.5M", "1e20", "0.001"];
        assert_eq!(numbers.map(number), expected);
        assert_eq!(number(f64::NAN), "NaN");
    }

    #[test]
    fn text_is_safe() {
        assert_eq!(escape("<b a='\"'>&\u{0}"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        assert_eq!(cut("a long name", 6), "a lon…");
    }
}
