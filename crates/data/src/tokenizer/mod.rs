//! Tokenizers as Hugging Face's `tokenizer.json` describes them: byte pairs as GPT-2 has them, word pieces as BERT has.
//!
//! What a file says beyond that is refused by its name, so that no text becomes other numbers than elsewhere.

mod byte_pairs;
mod description;
mod normal;
mod packed;
mod words;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::{Error, Result, file};
use byte_pairs::BytePairs;
use description::{Added, Model};
use normal::Normal;
use words::{Splitting, WordPieces};

/// Far above what a vocabulary of a million tokens takes.
const MOST_BYTES: usize = 256 << 20;
/// How far the numbers of tokens may go beyond how many there are: some files leave out a few.
const MOST_UNUSED: usize = 1_000_000;
/// What a run keeps with its weights is refused above 16 MiB; there is more in it than the tokenizer.
const MOST_KEPT: usize = 15 << 20;
/// Words whose tokens are remembered while a text is encoded.
const MOST_WORDS: usize = 1 << 18;

/// A tokenizer that a `tokenizer.json` describes; clones share it. Special tokens are found where a text has them, and
/// none are added.
#[derive(Clone)]
pub struct Tokenizer(Arc<Parts>);

struct Parts {
    /// The file, as it was read.
    json: String,
    /// The same as runs keep it, once it was asked for: a run is written and compared many times.
    packed: OnceLock<String>,
    normal: Normal,
    splitting: Vec<Splitting>,
    pieces: Pieces,
    added: Vec<Added>,
    /// The text of each token; none where a number stands for nothing.
    tokens: Vec<Option<String>>,
}

/// How words become tokens.
enum Pieces {
    Bytes(Box<BytePairs>),
    Words(WordPieces),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer of {} tokens", self.len())
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Tokenizer) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.json == other.0.json
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, plain or gzip.
    ///
    /// # Errors
    /// The file is missing, no JSON, larger than 256 MiB, or describes a tokenizer of another kind (the message names
    /// the part).
    pub fn open(path: impl AsRef<Path>) -> Result<Tokenizer> {
        let path = path.as_ref();
        let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_BYTES + 1)?;
        if bytes.len() > MOST_BYTES {
            return Err(Error::at_file(path, "is larger than 256 MiB, which no tokenizer is"));
        }
        let text = String::from_utf8(bytes).map_err(|_| Error::at_file(path, "is not UTF-8 text"))?;
        Tokenizer::parse(&text).map_err(|error| Error::at_file(path, error))
    }

    /// The tokenizer that the text of such a file describes.
    ///
    /// # Errors
    /// As for [`Tokenizer::open`].
    pub fn parse(json: &str) -> Result<Tokenizer> {
        let description::Parsed { normal, splitting, model, added } = description::parse(json)?;
        let vocabulary = match &model {
            Model::BytePairs { vocabulary, .. } | Model::WordPieces { vocabulary, .. } => vocabulary,
        };
        let last =
            vocabulary.values().map(|&number| number as usize).chain(added.iter().map(|token| token.number));
        let (last, count) = (last.max().unwrap_or(0), vocabulary.len() + added.len());
        if last > count + MOST_UNUSED {
            return Err(Error::new(format!(
                "a token has the number {last}, of {count} tokens, which is a mistake"
            )));
        }
        let mut tokens = texts(vocabulary)?;
        let pieces = match model {
            Model::BytePairs { vocabulary, merges, unknown, ignore_merges } => {
                let pairs = BytePairs::new(vocabulary, &merges, unknown.as_deref(), ignore_merges)?;
                Pieces::Bytes(Box::new(pairs))
            }
            Model::WordPieces { vocabulary, unknown, prefix, most_characters } => {
                Pieces::Words(WordPieces::new(vocabulary, &unknown, prefix, most_characters)?)
            }
        };
        for token in &added {
            if tokens.len() <= token.number {
                tokens.resize(token.number + 1, None);
            }
            put(&mut tokens, token.number, &token.content)?;
        }
        if i32::try_from(tokens.len()).is_err() || tokens.is_empty() {
            return Err(Error::new(format!("a vocabulary of {} tokens is none", tokens.len())));
        }
        let parts =
            Parts { json: json.into(), packed: OnceLock::new(), normal, splitting, pieces, added, tokens };
        Ok(Tokenizer(Arc::new(parts)))
    }

    /// The text of the file that describes it.
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// How many tokens there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always a token")]
    pub fn len(&self) -> usize {
        self.0.tokens.len()
    }

    /// The numbers of a text.
    ///
    /// # Errors
    /// Something in it has no token, and the tokenizer none for what is unknown; the message names it.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        let mut encoding = Encoding { parts: &self.0, words: HashMap::new(), tokens: Vec::new() };
        encoding.text(text)?;
        Ok(encoding.tokens)
    }

    /// The text that numbers stand for, those of special tokens included. Bytes that are no UTF-8 become the
    /// replacement character; of word pieces it is the words, not the text that they came from.
    ///
    /// # Errors
    /// A number stands for no token; the message names it and its place.
    pub fn decode(&self, tokens: &[i32]) -> Result<String> {
        let text = |(place, &token): (usize, &i32)| {
            let known = usize::try_from(token).ok().and_then(|token| self.0.tokens.get(token)?.as_deref());
            known.ok_or_else(|| {
                Error::new(format!(
                    "token {token} at place {place} is out of range: there are {}, numbered from 0",
                    self.len()
                ))
            })
        };
        let texts = tokens.iter().enumerate().map(text).collect::<Result<Vec<&str>>>()?;
        Ok(match &self.0.pieces {
            Pieces::Bytes(_) => byte_pairs::decode(&texts),
            Pieces::Words(words) => words.decode(&texts),
        })
    }

    /// Whether a run can keep it, which it does with its weights.
    ///
    /// # Errors
    /// It takes more than 15 MiB as it is packed; the message says how much.
    pub fn check_kept(&self) -> Result<()> {
        self.check_fits(MOST_KEPT)
    }

    fn check_fits(&self, most: usize) -> Result<()> {
        // What cannot be packed at all takes a third more; packing takes long where there is much.
        if self.0.json.len() <= most / 2 {
            return Ok(());
        }
        let packed = self.to_packed().len();
        if packed <= most {
            return Ok(());
        }
        Err(Error::new(format!(
            "the tokenizer takes {packed} bytes packed, more than the {most} that a run keeps with its weights; take one of \
             fewer tokens"
        )))
    }

    /// The file in letters and digits, packed: how a run keeps it.
    pub(crate) fn to_packed(&self) -> &str {
        self.0.packed.get_or_init(|| packed::pack(&self.0.json))
    }

    /// The tokenizer of a file that was packed.
    pub(crate) fn from_packed(packed: &str) -> Result<Tokenizer> {
        let tokenizer = Tokenizer::parse(&packed::unpack(packed, MOST_BYTES)?)?;
        // Fails only where it is set already.
        let _ = tokenizer.0.packed.set(packed.into());
        Ok(tokenizer)
    }
}

/// Gives a number to a token, which no other one has.
fn put(tokens: &mut [Option<String>], number: usize, text: &str) -> Result<()> {
    match &tokens[number] {
        Some(other) if other != text => {
            // The same message whichever came first.
            let (first, second) =
                if other.as_str() < text { (other.as_str(), text) } else { (text, other.as_str()) };
            Err(Error::new(format!("the tokens {first:?} and {second:?} both have the number {number}")))
        }
        _ => {
            tokens[number] = Some(text.into());
            Ok(())
        }
    }
}

/// The text of each token by its number.
fn texts(vocabulary: &HashMap<String, i32>) -> Result<Vec<Option<String>>> {
    let len = vocabulary.values().max().map_or(0, |&last| last as usize + 1);
    let mut tokens = vec![None; len];
    for (text, &number) in vocabulary {
        put(&mut tokens, number as usize, text)?;
    }
    Ok(tokens)
}

/// A text while it is encoded.
struct Encoding<'a> {
    parts: &'a Parts,
    /// The tokens of words that were met before.
    words: HashMap<String, Box<[i32]>>,
    tokens: Vec<i32>,
}

impl Encoding<'_> {
    /// Added tokens stand as they are in the text, or in the text as it is normalised; what is between them is words.
    fn text(&mut self, text: &str) -> Result<()> {
        let parts = self.parts;
        let raw: Vec<&Added> = parts.added.iter().filter(|token| !token.is_normalized).collect();
        let normalized: Vec<(String, &Added)> = parts
            .added
            .iter()
            .filter(|token| token.is_normalized)
            .map(|token| (parts.normal.apply(&token.content).into_owned(), token))
            .collect();
        let raw: Vec<(&str, &Added)> = raw.iter().map(|token| (token.content.as_str(), *token)).collect();
        let normalized: Vec<(&str, &Added)> =
            normalized.iter().map(|(content, token)| (content.as_str(), *token)).collect();
        split(text, &raw, |part| match part {
            Part::Token(token) => {
                self.tokens.push(token.number as i32);
                Ok(())
            }
            Part::Text(text) => {
                let text = parts.normal.apply(text);
                split(&text, &normalized, |part| match part {
                    Part::Token(token) => {
                        self.tokens.push(token.number as i32);
                        Ok(())
                    }
                    Part::Text(text) => words::split(text, &parts.splitting, &mut |word| self.word(word)),
                })
            }
        })
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if let Some(known) = self.words.get(word) {
            self.tokens.extend_from_slice(known);
            return Ok(());
        }
        let start = self.tokens.len();
        match &self.parts.pieces {
            Pieces::Bytes(pairs) => pairs.encode(word, &mut self.tokens)?,
            Pieces::Words(pieces) => pieces.encode(word, &mut self.tokens),
        }
        if self.words.len() < MOST_WORDS {
            self.words.insert(word.into(), self.tokens[start..].into());
        }
        Ok(())
    }
}

/// A part of a text that has been looked through for added tokens.
enum Part<'a> {
    Text(&'a str),
    Token(&'a Added),
}

/// Hands on the parts of a text, of which those that are an added token are that: of several the one that begins first,
/// and of those the longest.
fn split<'a>(
    text: &'a str,
    added: &[(&str, &'a Added)],
    mut hand_on: impl FnMut(Part<'a>) -> Result<()>,
) -> Result<()> {
    // The next place of each token; it is looked for again only behind what was taken meanwhile, so that a text is gone
    // through once for each token, however often others are in it.
    let next = |index: usize, from: usize| {
        let content = added[index].0;
        Some(Reverse((from + text[from..].find(content)?, Reverse(content.len()), index)))
    };
    let is_there = |&index: &usize| !added[index].0.is_empty();
    let mut places: BinaryHeap<_> =
        (0..added.len()).filter(is_there).filter_map(|index| next(index, 0)).collect();
    let mut taken = 0;
    while let Some(Reverse((at, Reverse(len), index))) = places.pop() {
        if at < taken {
            places.extend(next(index, taken));
            continue;
        }
        let token = added[index].1;
        let (mut before, mut after) = (&text[taken..at], &text[at + len..]);
        if token.strips_left {
            before = before.trim_end();
        }
        if token.strips_right {
            after = after.trim_start();
        }
        if !before.is_empty() {
            hand_on(Part::Text(before))?;
        }
        hand_on(Part::Token(token))?;
        taken = text.len() - after.len();
        places.extend(next(index, taken));
    }
    if taken == text.len() { Ok(()) } else { hand_on(Part::Text(&text[taken..])) }
}

#[cfg(test)]
mod tests;
