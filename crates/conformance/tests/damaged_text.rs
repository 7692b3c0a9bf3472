//! The parser and the shape rules on damaged programs: an error or a valid program, never a panic.

use dropforge_conformance::{Dice, all_cases};
use dropforge_ir::text::parse;
use dropforge_ir::verify::verify;

const NUMBERS: [&str; 8] = ["0", "1", "2", "7", "-1", "4294967296", "1099511627776", "18446744073709551615"];
const WORDS: [&str; 12] = ["f32", "u8", "bool", "[", "]", "{", "}", ",", "\"", "=", "%0", "reduce_sum"];

/// The text with one thing changed.
fn damage(text: &str, dice: &mut Dice) -> String {
    let is_digit = |i: usize| text.as_bytes()[i].is_ascii_digit();
    match dice.below(8) {
        0..5 => {
            // Another number in the place of one.
            let starts: Vec<usize> = (1..text.len()).filter(|&i| is_digit(i) && !is_digit(i - 1)).collect();
            let start = dice.pick(&starts);
            let end = (start..text.len()).find(|&i| !is_digit(i)).unwrap_or(text.len());
            format!("{}{}{}", &text[..start], dice.pick(&NUMBERS), &text[end..])
        }
        5 => {
            let at = dice.below(text.len());
            format!("{}{}", &text[..at], &text[at + 1..])
        }
        6 => {
            let at = dice.below(text.len());
            format!("{}{}{}", &text[..at], dice.pick(&WORDS), &text[at..])
        }
        _ => {
            let mut lines: Vec<&str> = text.lines().collect();
            let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
            lines.swap(a, b);
            lines.join("\n")
        }
    }
}

#[test]
fn damaged_programs_are_errors_or_valid() {
    let mut dice = Dice::new(1, 0);
    let (mut errors, mut valid) = (0, 0);
    for case in all_cases().unwrap() {
        let text = case.program.to_string();
        assert!(text.is_ascii());
        for _ in 0..60 {
            let damaged = damage(&text, &mut dice);
            let parsed = std::panic::catch_unwind(|| {
                parse(&damaged).map(|program| verify(&program).expect("what parses is valid"))
            });
            match parsed {
                Ok(Ok(())) => valid += 1,
                Ok(Err(_)) => errors += 1,
                Err(_) => panic!("this text panics:\n{damaged}"),
            }
        }
    }
    assert!(errors > 1000 && valid > 1000, "{errors} errors, {valid} valid");
}
