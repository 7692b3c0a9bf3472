//! Errors for names that do not exist, with the nearest one that does.

use crate::{Error, ErrorKind};

/// Longest part of a wrong name that a message repeats, in characters.
const SHOWN: usize = 60;

/// An error for an unknown name: `{what} `nam`; did you mean `name`? {list}`. `what` ends where the name follows, such
/// as `unknown layer` or `adam has no setting`; `list` introduces the known names.
pub fn unknown(what: &str, name: &str, list: &str, known: &[&str]) -> Error {
    let guess =
        nearest(name, known).map(|nearest| format!("; did you mean `{nearest}`? ")).unwrap_or("; ".into());
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let list = match (known.is_empty(), guess.ends_with("? ")) {
        (true, _) => "there are none".to_string(),
        (false, true) => format!("{}{} {}", list[..1].to_uppercase(), &list[1..], names.join(", ")),
        (false, false) => format!("{list} {}", names.join(", ")),
    };
    let shown: String = name.chars().take(SHOWN).collect();
    let more = if shown.len() < name.len() { "…" } else { "" };
    Error::of(ErrorKind::Setting, format!("{what} `{shown}{more}`{guess}{list}"))
}

/// Letters from which on the start of a name is taken for the whole.
const LEAST_START: usize = 3;

/// The shortest known name that begins so, else the one that differs least, if it differs in less than half of its
/// letters.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.chars().count() > SHOWN {
        return None;
    }
    let simple = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let name = simple(name);
    let begins = |known: &&&str| name.chars().count() >= LEAST_START && simple(known).starts_with(&name);
    if let Some(whole) = known.iter().filter(begins).min_by_key(|known| known.len()) {
        return Some(whole);
    }
    let distances = known.iter().map(|known| (distance(&name, &simple(known)), *known));
    distances
        .filter(|(distance, known)| *distance <= known.len().max(2) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many letters have to be put in, left out, replaced or swapped with the next (Damerau, 1964).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // The row above, and that above it with the letter that led to the row above.
    let mut before: Option<(char, Vec<usize>)> = None;
    for (i, left) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(left != *right);
            let mut least = replaced.min(next[j] + 1).min(row[j + 1] + 1);
            if let (Some((letter, above)), Some(other)) = (&before, j.checked_sub(1))
                && (*letter, b[other]) == (*right, left)
            {
                least = least.min(above[other] + 1);
            }
            next.push(least);
        }
        before = Some((left, std::mem::replace(&mut row, next)));
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["dense", "conv", "max_pool", "batch_norm"];
        for (wrong, right) in
            [("dens", "dense"), ("maxpool", "max_pool"), ("BatchNorm", "batch_norm"), ("cov", "conv")]
        {
            assert_eq!(nearest(wrong, &known), Some(right));
        }
        assert_eq!(nearest("sdg", &["sam", "sgd", "adam"]), Some("sgd"));
        assert_eq!(nearest("acc", &["auc", "mae", "balanced_accuracy", "accuracy"]), Some("accuracy"));
        assert_eq!(nearest("val_acc", &["val_auc", "val_loss", "val_accuracy"]), Some("val_accuracy"));
        assert_eq!(nearest("transformer", &known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
        let error = unknown("unknown layer", &"é".repeat(1000), "known are", &known).to_string();
        assert!(error.len() < 300 && error.contains("…`; known are `dense`"), "{error}");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
