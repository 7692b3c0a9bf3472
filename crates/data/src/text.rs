//! The characters of a text as numbers, for character-level language models.

use std::path::Path;
use std::sync::Arc;

use crate::random::Random;
use crate::{Error, Result, file};

/// Far above what is kept in memory as one text.
const MOST_BYTES: usize = 1 << 30;

/// A text as a sequence of character numbers, with the vocabulary that they index.
///
/// The vocabulary is the distinct characters of the whole text in the order of their code points, so the same text
/// always has the same numbers. Cloning and [`split`](Corpus::split) copy nothing.
///
/// ```
/// use dropforge_data::Corpus;
///
/// let corpus = Corpus::from_text("greeting", "hello")?;
/// assert_eq!(corpus.vocabulary(), ['e', 'h', 'l', 'o']);
/// assert_eq!(corpus.tokens(), [1, 0, 2, 2, 3]);
/// assert_eq!(corpus.decode(&corpus.encode("hole")?)?, "hole");
/// assert_eq!(corpus.window(1, 3)?, (&[0, 2, 2][..], &[2, 2, 3][..]));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Corpus {
    name: Arc<str>,
    vocabulary: Arc<[char]>,
    tokens: Arc<[i32]>,
    range: std::ops::Range<usize>,
}

impl Corpus {
    /// Reads a text file in UTF-8, plain or gzip.
    ///
    /// # Errors
    /// The file is missing, empty, larger than 1 GiB, or not UTF-8 (the message names the first bad byte).
    pub fn open(path: impl AsRef<Path>) -> Result<Corpus> {
        let path = path.as_ref();
        let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_BYTES + 1)?;
        if bytes.len() > MOST_BYTES {
            return Err(Error::at_file(path, "is larger than 1 GiB; cut it into smaller texts"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|cause| {
            Error::at_file(
                path,
                format_args!("is not UTF-8 text: byte {} is wrong; convert it", cause.valid_up_to()),
            )
        })?;
        Corpus::from_text(&path.display().to_string(), text)
    }

    /// Takes the characters of `text`; `name` is for messages.
    ///
    /// # Errors
    /// The text is empty.
    pub fn from_text(name: &str, text: &str) -> Result<Corpus> {
        let vocabulary: Vec<char> =
            text.chars().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        Corpus::with_vocabulary(name, text, &vocabulary)
    }

    /// Takes the characters of `text` as numbers of a vocabulary that is given, say that of a trained model.
    ///
    /// # Errors
    /// The text is empty, it has a character that the vocabulary lacks (the message names its place), or a character
    /// stands twice in the vocabulary or out of the order of code points.
    pub fn with_vocabulary(name: &str, text: &str, vocabulary: &[char]) -> Result<Corpus> {
        if text.is_empty() {
            return Err(Error::new(format!("{name}: the text is empty")));
        }
        if !vocabulary.is_sorted_by(|a, b| a < b) {
            return Err(Error::new(format!(
                "{name}: the vocabulary must have each character once, in the order of code points"
            )));
        }
        let tokens: Arc<[i32]> = encode(name, vocabulary, text)?.into();
        let range = 0..tokens.len();
        Ok(Corpus { name: name.into(), vocabulary: vocabulary.into(), tokens, range })
    }

    /// The characters, in the order of their numbers.
    pub fn vocabulary(&self) -> &[char] {
        &self.vocabulary
    }

    /// The whole text as character numbers.
    pub fn tokens(&self) -> &[i32] {
        &self.tokens[self.range.clone()]
    }

    /// How many characters the text has.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no characters, which only a [`split`](Corpus::split) can lead to.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The numbers of the characters of `text`.
    ///
    /// # Errors
    /// A character is not in the vocabulary; the message names it and its place.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        encode(&self.name, &self.vocabulary, text)
    }

    /// The text that character numbers stand for.
    ///
    /// # Errors
    /// A number is outside the vocabulary; the message names it and its place.
    pub fn decode(&self, tokens: &[i32]) -> Result<String> {
        let character = |(place, &token): (usize, &i32)| {
            usize::try_from(token).ok().and_then(|token| self.vocabulary.get(token)).copied().ok_or_else(|| {
                Error::new(format!(
                    "{}: token {token} at place {place} is out of range: there are {} characters, numbered from 0",
                    self.name,
                    self.vocabulary.len()
                ))
            })
        };
        tokens.iter().enumerate().map(character).collect()
    }

    /// The text before place `at`, and from there on, with the same vocabulary: training and validation.
    ///
    /// # Errors
    /// `at` is beyond the end.
    pub fn split(&self, at: usize) -> Result<(Corpus, Corpus)> {
        if at > self.len() {
            return Err(Error::new(format!(
                "{}: cannot split at {at}: there are only {} characters",
                self.name,
                self.len()
            )));
        }
        let middle = self.range.start + at;
        let before = Corpus { range: self.range.start..middle, ..self.clone() };
        let after = Corpus { range: middle..self.range.end, ..self.clone() };
        Ok((before, after))
    }

    /// How many windows of `length` characters have a next character each: every `start` below this number can be
    /// given to [`window`](Corpus::window).
    pub fn windows(&self, length: usize) -> usize {
        self.len().saturating_sub(length)
    }

    /// `length` characters from place `start`, and the same moved on by one: inputs and what is to be predicted.
    ///
    /// # Errors
    /// The window reaches beyond the text.
    pub fn window(&self, start: usize, length: usize) -> Result<(&[i32], &[i32])> {
        if start >= self.windows(length) {
            return Err(Error::new(format!(
                "{}: a window of {length} characters and the one after it, from place {start}, reaches beyond the {} \
                 there are",
                self.name,
                self.len()
            )));
        }
        let tokens = self.tokens();
        Ok((&tokens[start..start + length], &tokens[start + 1..start + length + 1]))
    }

    /// `batch` windows at random places: inputs and targets, each `batch × length` row by row, in `inputs` and
    /// `targets`, whose old contents are dropped and whose memory is used again. The places depend on `seed` and `step`
    /// alone, so a resumed run sees what it would have seen.
    ///
    /// # Errors
    /// The text is not longer than `length`.
    pub fn batch(
        &self,
        batch: usize,
        length: usize,
        seed: u64,
        step: u64,
        inputs: &mut Vec<i32>,
        targets: &mut Vec<i32>,
    ) -> Result<()> {
        inputs.clear();
        targets.clear();
        let mut random = Random::new(&[seed, WINDOW_STREAM, step]);
        for _ in 0..batch {
            let (input, target) = self.window(random.below(self.windows(length)), length)?;
            inputs.extend_from_slice(input);
            targets.extend_from_slice(target);
        }
        Ok(())
    }
}

/// Keeps the stream of window places apart from other streams of the same seed.
const WINDOW_STREAM: u64 = 0x7769_6e64_6f77_0001;

fn encode(name: &str, vocabulary: &[char], text: &str) -> Result<Vec<i32>> {
    let number = |(place, character): (usize, char)| {
        vocabulary.binary_search(&character).map(|number| number as i32).map_err(|_| {
            Error::new(format!(
                "{name}: character {character:?} at place {place} is not in the vocabulary; leave it out"
            ))
        })
    };
    text.chars().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, gzip, message, shared};

    #[test]
    fn reads_splits_and_refuses() {
        let folder = Folder::new("text");
        let corpus = Corpus::open(folder.write("t.txt", "añb\nb".as_bytes())).unwrap();
        assert_eq!(corpus.vocabulary(), ['\n', 'a', 'b', 'ñ']);
        assert_eq!(corpus.tokens(), [1, 3, 2, 0, 2]);
        assert_eq!(
            Corpus::open(folder.write("t.gz", &gzip("añb\nb".as_bytes()))).unwrap().tokens(),
            corpus.tokens()
        );
        let (front, back) = corpus.split(3).unwrap();
        assert_eq!(
            (front.tokens(), back.tokens(), back.vocabulary().len()),
            (&[1, 3, 2][..], &[0, 2][..], 4)
        );
        assert_eq!(back.window(0, 1).unwrap(), (&[0][..], &[2][..]));
        assert!(message(back.window(0, 2)).contains("beyond the 2"));
        assert!(message(corpus.window(usize::MAX, 1)).contains("beyond"));
        assert!(message(corpus.split(6)).contains("only 5"));
        assert!(message(corpus.encode("ax")).contains("'x' at place 1"));
        assert!(message(corpus.decode(&[0, -1])).contains("token -1 at place 1"));
        assert!(message(corpus.decode(&[4])).contains("out of range"));
        assert!(message(Corpus::open(folder.write("bad", b"ab\xff"))).contains("byte 2 is wrong"));
        assert!(message(Corpus::open(folder.write("empty", b""))).contains("empty"));
        assert!(message(Corpus::open(folder.path().join("none"))).contains("cannot open"));
        assert!(message(Corpus::with_vocabulary("t", "a", &['b', 'a'])).contains("order of code points"));
    }

    #[test]
    fn random_windows_depend_on_seed_and_step() {
        let text: String = ('a'..='z').collect();
        let corpus = Corpus::from_text("abc", &text).unwrap();
        let draw = |seed, step| {
            let (mut inputs, mut targets) = (vec![9], Vec::new());
            corpus.batch(8, 5, seed, step, &mut inputs, &mut targets).unwrap();
            assert!(inputs.len() == 40 && inputs.iter().zip(&targets).all(|(a, b)| a + 1 == *b));
            inputs
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
        assert!(corpus.batch(1, 26, 0, 0, &mut Vec::new(), &mut Vec::new()).is_err());
    }

    #[test]
    fn the_real_file() {
        let Some(path) = shared("tinyshakespeare.txt") else { return };
        let corpus = Corpus::open(path).unwrap();
        assert_eq!((corpus.len(), corpus.vocabulary().len()), (1_115_394, 65));
        assert!(corpus.decode(&corpus.tokens()[..14]).unwrap().starts_with("First Citizen:"));
    }
}
