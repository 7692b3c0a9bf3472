//! Words as bytes, of which pairs become one token after another, as GPT-2 has it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use unicode_general_category::{GeneralCategory as Category, get_general_category as category};

use crate::{Error, Result};

/// The letters that stand for bytes in the texts of tokens: printable ones for themselves, others for the numbers from
/// 256 on.
fn letters() -> [char; 256] {
    let mut next = 256;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) {
            return char::from(byte);
        }
        let letter = char::from_u32(next).unwrap_or_default();
        next += 1;
        letter
    })
}

/// The text that the texts of tokens stand for.
pub(super) fn decode(texts: &[&str]) -> String {
    let letters = letters();
    let numbers: HashMap<char, u8> =
        letters.iter().zip(0..=255).map(|(&letter, byte)| (letter, byte)).collect();
    let mut bytes = Vec::new();
    for text in texts {
        // Added tokens may have letters that stand for no byte.
        match text.chars().map(|letter| numbers.get(&letter).copied()).collect::<Option<Vec<u8>>>() {
            Some(these) => bytes.extend(these),
            None => bytes.extend_from_slice(text.as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Which pairs of tokens become one, and in which order.
pub(super) struct BytePairs {
    vocabulary: HashMap<String, i32>,
    /// The token of each byte, where there is one.
    bytes: [Option<i32>; 256],
    /// For two tokens the rank of their pair, and the token that they become.
    merges: HashMap<(i32, i32), (u32, i32)>,
    unknown: Option<i32>,
    /// Whether a word that is a token is that, whatever the pairs say.
    ignore_merges: bool,
    letters: [char; 256],
}

impl BytePairs {
    pub fn new(
        vocabulary: HashMap<String, i32>,
        pairs: &[(String, String)],
        unknown: Option<&str>,
        ignore_merges: bool,
    ) -> Result<BytePairs> {
        let number = |what: &str, text: &str| {
            let missing = || Error::new(format!("{what} {text:?} is not in the vocabulary"));
            vocabulary.get(text).copied().ok_or_else(missing)
        };
        let mut merges = HashMap::with_capacity(pairs.len());
        for (rank, (left, right)) in (0..).zip(pairs) {
            let whole = number("a merge makes", &format!("{left}{right}"))?;
            let pair = (number("a merge takes", left)?, number("a merge takes", right)?);
            merges.entry(pair).or_insert((rank, whole));
        }
        let unknown = unknown.map(|text| number("`unk_token`", text)).transpose()?;
        let letters = letters();
        let mut text = [0; 4];
        let bytes = letters.map(|letter| vocabulary.get(&*letter.encode_utf8(&mut text)).copied());
        Ok(BytePairs { vocabulary, bytes, merges, unknown, ignore_merges, letters })
    }

    /// Appends the tokens of a word.
    ///
    /// # Errors
    /// A byte has no token, and there is none for what is unknown.
    pub fn encode(&self, word: &str, tokens: &mut Vec<i32>) -> Result<()> {
        if self.ignore_merges {
            let text: String = word.bytes().map(|byte| self.letters[byte as usize]).collect();
            if let Some(&whole) = self.vocabulary.get(&text) {
                tokens.push(whole);
                return Ok(());
            }
        }
        let mut parts = Vec::with_capacity(word.len());
        for byte in word.bytes() {
            parts.push(self.bytes[byte as usize].or(self.unknown).ok_or_else(|| {
                Error::new(format!("the tokenizer has no token for byte {byte:#04x}, which is in {word:?}"))
            })?);
        }
        self.merge(&parts, tokens);
        Ok(())
    }

    /// Merges the pair of the least rank, the first one of several, as long as there is one: by a queue, since a word
    /// may be as long as a text.
    fn merge(&self, parts: &[i32], tokens: &mut Vec<i32>) {
        /// No part.
        const NONE: usize = usize::MAX;
        let mut parts = parts.to_vec();
        let mut before: Vec<usize> = (0..parts.len()).map(|at| at.wrapping_sub(1)).collect();
        let mut after: Vec<usize> =
            (0..parts.len()).map(|at| if at + 1 < parts.len() { at + 1 } else { NONE }).collect();
        let mut gone = vec![false; parts.len()];
        let mut queue = BinaryHeap::new();
        let candidate = |parts: &[i32], left: usize, right: usize| {
            let &(rank, whole) = self.merges.get(&(parts[left], parts[right]))?;
            Some(Reverse((rank, left, right, parts[left], parts[right], whole)))
        };
        queue.extend((1..parts.len()).filter_map(|right| candidate(&parts, right - 1, right)));
        while let Some(Reverse((_, left, right, was_left, was_right, whole))) = queue.pop() {
            // Either may have become part of another meanwhile.
            let is_still = !gone[left] && !gone[right] && after[left] == right;
            if !is_still || (parts[left], parts[right]) != (was_left, was_right) {
                continue;
            }
            parts[left] = whole;
            gone[right] = true;
            after[left] = after[right];
            if after[right] != NONE {
                before[after[right]] = left;
                queue.extend(candidate(&parts, left, after[right]));
            }
            if before[left] != NONE {
                queue.extend(candidate(&parts, before[left], left));
            }
        }
        tokens.extend(parts.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(part, _)| *part));
    }
}

/// What letters are to GPT-2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

fn class(c: char) -> Class {
    use Category::*;
    if c.is_ascii_alphabetic() {
        return Class::Letter;
    }
    if c.is_whitespace() {
        return Class::Space;
    }
    match category(c) {
        UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter => Class::Letter,
        DecimalNumber | LetterNumber | OtherNumber => Class::Number,
        _ => Class::Other,
    }
}

/// The length of the first word of a text, in bytes: what GPT-2's expression finds,
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
pub(super) fn next_word(text: &str) -> usize {
    const ENDINGS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    if let Some(ending) = ENDINGS.iter().find(|&&ending| text.starts_with(ending)) {
        return ending.len();
    }
    let run = |text: &str, of: Class| text.find(|c| class(c) != of).unwrap_or(text.len());
    let (space, rest) = text.strip_prefix(' ').map_or((0, text), |rest| (1, rest));
    if let Some(first) = rest.chars().next().map(class).filter(|&first| first != Class::Space) {
        return space + run(rest, first);
    }
    let spaces = run(text, Class::Space);
    let last = text[..spaces].chars().next_back().map_or(0, char::len_utf8);
    // The last one belongs to the word behind it.
    if spaces < text.len() && spaces > last { spaces - last } else { spaces }
}
