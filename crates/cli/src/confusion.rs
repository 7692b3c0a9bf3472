//! The matrix of a measurement with the metric `confusion_matrix`, as a table of text.

use crate::output::{Outcome, line};
use crate::runs::table;
use dropforge::metric::Figures;

/// Classes of which a table still fits onto a screen.
const MOST_CLASSES: usize = 20;

/// Prints how often each class was taken for each, if that was measured, and a table for the screen can hold it.
pub fn print(measured: &Figures, names: &[String]) -> Outcome {
    let Some(lines) = lines(measured, names) else { return Ok(()) };
    line("what each class (a line) was taken for:")?;
    table(&lines)
}

fn lines(measured: &Figures, names: &[String]) -> Option<Vec<Vec<String>>> {
    let cell = |truth: usize, said: usize| measured.get(&format!("confusion_{truth}_{said}"));
    let classes = (0..=MOST_CLASSES).take_while(|&class| cell(class, class).is_some()).count();
    if classes == 0 || classes > MOST_CLASSES {
        return None;
    }
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let mut all = vec![std::iter::once(String::new()).chain((0..classes).map(name)).collect::<Vec<_>>()];
    for truth in 0..classes {
        let counts = (0..classes).map(|said| format!("{:.0}", cell(truth, said).unwrap_or(0.0)));
        all.push(std::iter::once(name(truth)).chain(counts).collect());
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_the_names_of_classes() {
        let cells = [("0_0", 7.0), ("0_1", 1.0), ("1_0", 0.0), ("1_1", 12.0)];
        let cells = cells.map(|(cell, count)| Figures::detail(format!("confusion_{cell}"), count));
        let measured = cells.into_iter().fold(Figures::default(), Figures::and);
        let expected = [["", "cat", "1"], ["cat", "7", "1"], ["1", "0", "12"]];
        assert_eq!(lines(&measured, &["cat".into()]).unwrap(), expected);
        assert!(lines(&Figures::number("accuracy", 1.0), &[]).is_none());
    }
}
