//! Rows of values that commas, semicolons or tabs separate (RFC 4180).

/// What stands most often between the names of the first line.
pub(crate) fn separator(text: &str) -> char {
    let line = text.lines().next().unwrap_or_default();
    let count = |separator: &char| line.matches(*separator).count();
    [',', ';', '\t'].into_iter().rev().max_by_key(count).unwrap_or(',')
}

/// The values of all rows with the number of the line each begins in; empty lines are passed over (RFC 4180).
pub(crate) fn split_rows(
    text: &str,
    separator: char,
) -> std::result::Result<Vec<(usize, Vec<String>)>, String> {
    let (mut rows, mut row, mut value) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut first_line) = (1, 1);
    // Within quotes; and behind the last of them, where only a separator may follow.
    let (mut quoted, mut was_quoted) = (false, false);
    let mut characters = text.chars().peekable();
    let mut end_row =
        |row: &mut Vec<String>, value: &mut String, was_quoted: &mut bool, first_line: usize| {
            if !(row.is_empty() && value.is_empty() && !*was_quoted) {
                row.push(std::mem::take(value));
                rows.push((first_line, std::mem::take(row)));
            }
            *was_quoted = false;
        };
    while let Some(character) = characters.next() {
        line += usize::from(character == '\n');
        if quoted {
            match character {
                '"' if characters.peek() == Some(&'"') => value.extend(characters.next()),
                '"' => (quoted, was_quoted) = (false, true),
                other => value.push(other),
            }
        } else if character == '"' && value.trim().is_empty() && !was_quoted {
            value.clear();
            quoted = true;
        } else if character == separator {
            row.push(std::mem::take(&mut value));
            was_quoted = false;
        } else if character == '\n' {
            end_row(&mut row, &mut value, &mut was_quoted, first_line);
            first_line = line;
        } else if character != '\r' || characters.peek() != Some(&'\n') {
            value.push(character);
        }
    }
    if quoted {
        return Err(format!("the quotes that open in the row of line {first_line} are never closed"));
    }
    end_row(&mut row, &mut value, &mut was_quoted, first_line);
    Ok(rows)
}
