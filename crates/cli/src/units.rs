//! Sizes and times as they stand on the command line.

/// A size in bytes: a number with or without a unit.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let unit = |&&(name, _): &&(&str, u64)| {
        let start = text.len().checked_sub(name.len());
        start.and_then(|start| text.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(name))
    };
    let (number, factor) = match UNITS.iter().find(unit) {
        Some((name, factor)) => (&text[..text.len() - name.len()], *factor),
        None => (text, 1),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number >= 0.0 && number * factor as f64 <= u64::MAX as f64 => {
            Ok((number * factor as f64) as u64)
        }
        _ => Err("give a size such as 2GiB, 500MB or 1000000".into()),
    }
}

/// A time in seconds: a number with or without a unit.
pub fn seconds(text: &str) -> Result<f64, String> {
    let units = [("min", 60.0), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
    let unit = units.iter().find_map(|(name, factor)| Some((text.strip_suffix(name)?, *factor)));
    let (number, factor) = unit.unwrap_or((text, 1.0));
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && (number * factor).is_finite() => Ok(number * factor),
        _ => Err("give a time above 0 such as 90s, 3m or 2h".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let times = ["90", "90s", "1.5m", "2 h", "1min", "1d"].map(|text| seconds(text).unwrap());
        assert_eq!(times, [90.0, 90.0, 90.0, 7200.0, 60.0, 86_400.0]);
        for wrong in ["", "s", "-1s", "0", "nan", "inf", "1e999h", "3 weeks"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let sizes = ["0", "17", "2GiB", "1.5 KiB", "500mb", "3B", "1TB"].map(|text| bytes(text).unwrap());
        assert_eq!(sizes, [0, 17, 2 << 30, 1536, 500_000_000, 3, 1_000_000_000_000]);
        for wrong in ["", "GiB", "-1", "1 parsec", "nan", "1e99", "inf", "2GiBs", "é"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
