//! The functions of `functions.wgsl`, each with what it calls.

use std::collections::BTreeMap;
use std::sync::OnceLock;

const SOURCE: &str = include_str!("functions.wgsl");

/// Text by name.
fn table() -> &'static BTreeMap<&'static str, &'static str> {
    static TABLE: OnceLock<BTreeMap<&'static str, &'static str>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let name = |block: &'static str| {
            let start = block.find("fn ")? + 3;
            let end = block[start..].find('(')?;
            let function = block[start - 3..].trim_end();
            Some((&block[start..start + end], function))
        };
        SOURCE.split("\n\n").filter_map(name).collect()
    })
}

/// Whether `name` occurs in `text` as a call.
fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let is_start = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        is_start && text[at + name.len()..].starts_with('(')
    })
}

/// The library functions that a shader calls, directly or through others.
pub fn needed_by(shader: &str) -> String {
    let mut chosen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = vec![shader];
    while let Some(text) = waiting.pop() {
        for (&name, &function) in table() {
            let body = if chosen.contains_key(name) { continue } else { function };
            if calls(text, name) {
                chosen.insert(name, body);
                waiting.push(body);
            }
        }
    }
    chosen.values().flat_map(|function| [*function, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_come_with_what_they_call() {
        let text = needed_by("let y = f_sigmoid(x);");
        for name in ["fn f_sigmoid(", "fn f_exp(", "fn f_nan(", "fn f_scale("] {
            assert!(text.contains(name), "{name} is missing in\n{text}");
        }
        assert!(!text.contains("fn f_log("));
        assert_eq!(needed_by("my_f_log(x); f_log + 1"), "");
    }
}
