//! Texts as words, and words as pieces of a vocabulary.

use std::collections::HashMap;

use unicode_general_category::{GeneralCategory as Category, get_general_category as category};

use super::byte_pairs::next_word;
use crate::{Error, Result};

/// A way to split a text into words, of which several may follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Splitting {
    /// Words with the space before them, digits and the rest apart, as GPT-2 does; or, if it does not split, nothing
    /// but that a space may be added in front.
    Bytes { adds_space: bool, splits: bool },
    /// At white space, which goes, and each punctuation mark apart, as BERT does.
    Bert,
    /// At white space, which goes.
    WhiteSpace,
}

impl Splitting {
    pub fn is_by_bytes(&self) -> bool {
        matches!(self, Splitting::Bytes { .. })
    }
}

/// Hands on the words of a text.
pub(super) fn split(
    text: &str,
    splitting: &[Splitting],
    hand_on: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let Some((first, rest)) = splitting.split_first() else { return hand_on(text) };
    match *first {
        Splitting::Bytes { adds_space, splits } => {
            let spaced;
            let mut left = text;
            if adds_space && !text.starts_with(' ') {
                spaced = format!(" {text}");
                left = &spaced;
            }
            if !splits {
                return split(left, rest, hand_on);
            }
            while !left.is_empty() {
                let (word, behind) = left.split_at(next_word(left));
                split(word, rest, hand_on)?;
                left = behind;
            }
            Ok(())
        }
        Splitting::Bert => {
            for mut word in text.split_whitespace() {
                while let Some(first) = word.chars().next() {
                    let end = match is_punctuation(first) {
                        true => first.len_utf8(),
                        false => word.find(is_punctuation).unwrap_or(word.len()),
                    };
                    let (piece, behind) = word.split_at(end);
                    split(piece, rest, hand_on)?;
                    word = behind;
                }
            }
            Ok(())
        }
        Splitting::WhiteSpace => text.split_whitespace().try_for_each(|word| split(word, rest, hand_on)),
    }
}

fn is_punctuation(c: char) -> bool {
    use Category::*;
    c.is_ascii_punctuation()
        || matches!(
            category(c),
            ConnectorPunctuation
                | DashPunctuation
                | OpenPunctuation
                | ClosePunctuation
                | InitialPunctuation
                | FinalPunctuation
                | OtherPunctuation
        )
}

/// Words as their longest known beginnings, one after another.
pub(super) struct WordPieces {
    beginnings: HashMap<String, i32>,
    /// Pieces behind others, without the mark that they have in front.
    others: HashMap<String, i32>,
    prefix: String,
    unknown: i32,
    most_characters: usize,
    /// Bytes of the longest token: no piece is looked for that is longer.
    longest: usize,
}

impl WordPieces {
    pub fn new(
        vocabulary: HashMap<String, i32>,
        unknown: &str,
        prefix: String,
        most_characters: usize,
    ) -> Result<WordPieces> {
        let Some(&unknown) = vocabulary.get(unknown) else {
            return Err(Error::new(format!("`unk_token` is {unknown:?}, which is not in the vocabulary")));
        };
        let others = vocabulary
            .iter()
            .filter_map(|(text, &number)| Some((text.strip_prefix(prefix.as_str())?.to_string(), number)));
        let others = others.collect();
        let longest = vocabulary.keys().map(String::len).max().unwrap_or(0);
        Ok(WordPieces { beginnings: vocabulary, others, prefix, unknown, most_characters, longest })
    }

    /// Appends the tokens of a word.
    pub fn encode(&self, word: &str, tokens: &mut Vec<i32>) {
        let start = tokens.len();
        if word.chars().count() > self.most_characters {
            return tokens.push(self.unknown);
        }
        let mut rest = word;
        while !rest.is_empty() {
            let known = if rest.len() == word.len() { &self.beginnings } else { &self.others };
            let longest = (0..=self.longest.min(rest.len())).rev().find(|&end| rest.is_char_boundary(end));
            let ends = rest[..longest.unwrap_or(0)].char_indices().map(|(at, c)| at + c.len_utf8()).rev();
            let found = ends.into_iter().find_map(|end| Some((end, *known.get(&rest[..end])?)));
            let Some((end, number)) = found else {
                // One part that is unknown makes the word unknown.
                tokens.truncate(start);
                return tokens.push(self.unknown);
            };
            tokens.push(number);
            rest = &rest[end..];
        }
    }

    /// Words with spaces between them, as English has them around marks.
    pub fn decode(&self, texts: &[&str]) -> String {
        const TIGHTER: [(&str, &str); 11] = [
            (" .", "."),
            (" ?", "?"),
            (" !", "!"),
            (" ,", ","),
            (" ' ", "'"),
            (" n't", "n't"),
            (" 'm", "'m"),
            (" do not", " don't"),
            (" 's", "'s"),
            (" 've", "'ve"),
            (" 're", "'re"),
        ];
        let mut all = String::new();
        for (place, text) in texts.iter().enumerate() {
            let piece = match text.strip_prefix(self.prefix.as_str()) {
                Some(piece) if place > 0 => piece.to_string(),
                _ if place > 0 => format!(" {text}"),
                _ => text.to_string(),
            };
            all += &TIGHTER.iter().fold(piece, |piece, (from, to)| piece.replace(from, to));
        }
        all
    }
}
