//! Texts as numbers, for language models.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::random::Random;
use crate::{
    Description, Error, Field, INPUT, Preparation, Request, Result, Sample, Source, TARGET, Vocabulary, file,
};

/// Far above what is kept in memory as one text.
const MOST_BYTES: usize = 1 << 30;

/// A text as a sequence of token numbers, with the vocabulary that they index.
///
/// The vocabulary is the distinct characters of the whole text in the order of their code points, so the same text
/// always has the same numbers. Cloning and [`split`](Corpus::split) copy nothing.
///
/// ```
/// use dropforge_data::Corpus;
///
/// let corpus = Corpus::from_text("greeting", "hello")?;
/// assert_eq!(corpus.vocabulary().len(), 4);
/// assert_eq!(corpus.tokens(), [1, 0, 2, 2, 3]);
/// assert_eq!(corpus.decode(&corpus.encode("hole")?)?, "hole");
/// assert_eq!(corpus.window(1, 3)?, (&[0, 2, 2][..], &[2, 2, 3][..]));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Corpus {
    name: Arc<str>,
    vocabulary: Vocabulary,
    tokens: Arc<[i32]>,
    range: Range<usize>,
}

impl Corpus {
    /// Reads a text file in UTF-8, plain or gzip.
    ///
    /// # Errors
    /// The file is missing, empty, larger than 1 GiB, or not UTF-8 (the message names the first bad byte).
    pub fn open(path: impl AsRef<Path>) -> Result<Corpus> {
        let (name, text) = read_text(path.as_ref())?;
        Corpus::from_text(&name, &text)
    }

    /// As [`Corpus::open`], with the numbers of a vocabulary that is given, say that of a trained model, or
    /// [`Vocabulary::Bytes`].
    ///
    /// # Errors
    /// As for [`Corpus::open`], or the file has a character that the vocabulary lacks.
    pub fn open_with(path: impl AsRef<Path>, vocabulary: &Vocabulary) -> Result<Corpus> {
        let (name, text) = read_text(path.as_ref())?;
        Corpus::with_vocabulary(&name, &text, vocabulary)
    }

    /// Takes the characters of `text`; `name` is for messages.
    ///
    /// # Errors
    /// The text is empty.
    pub fn from_text(name: &str, text: &str) -> Result<Corpus> {
        Corpus::with_vocabulary(name, text, &Vocabulary::of(text))
    }

    /// Takes `text` as numbers of a vocabulary that is given, say that of a trained model.
    ///
    /// # Errors
    /// The text is empty, or it has a character that the vocabulary lacks (the message names its place).
    pub fn with_vocabulary(name: &str, text: &str, vocabulary: &Vocabulary) -> Result<Corpus> {
        if text.is_empty() {
            return Err(Error::new(format!("{name}: the text is empty")));
        }
        let named = |error| Error::new(format!("{name}: {error}"));
        let tokens: Arc<[i32]> = vocabulary.encode(text).map_err(named)?.into();
        let range = 0..tokens.len();
        Ok(Corpus { name: name.into(), vocabulary: vocabulary.clone(), tokens, range })
    }

    /// What the numbers stand for.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The whole text as numbers.
    pub fn tokens(&self) -> &[i32] {
        &self.tokens[self.range.clone()]
    }

    /// How many tokens the text has.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no tokens, which only a [`split`](Corpus::split) can lead to.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The numbers of a text.
    ///
    /// # Errors
    /// A character is not in the vocabulary; the message names it and its place.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        self.vocabulary.encode(text)
    }

    /// The text that numbers stand for.
    ///
    /// # Errors
    /// A number is outside the vocabulary; the message names it and its place.
    pub fn decode(&self, tokens: &[i32]) -> Result<String> {
        self.vocabulary.decode(tokens)
    }

    /// The text before place `at`, and from there on, with the same vocabulary: training and validation.
    ///
    /// # Errors
    /// `at` is beyond the end.
    pub fn split(&self, at: usize) -> Result<(Corpus, Corpus)> {
        if at > self.len() {
            return Err(Error::new(format!(
                "{}: cannot split at {at}: there are only {} tokens",
                self.name,
                self.len()
            )));
        }
        let middle = self.range.start + at;
        let before = Corpus { range: self.range.start..middle, ..self.clone() };
        let after = Corpus { range: middle..self.range.end, ..self.clone() };
        Ok((before, after))
    }

    /// How many windows of `length` tokens have a next token each: every `start` below this number can be
    /// given to [`window`](Corpus::window).
    pub fn windows(&self, length: usize) -> usize {
        self.len().saturating_sub(length)
    }

    /// `length` tokens from place `start`, and the same moved on by one: inputs and what is to be predicted.
    ///
    /// # Errors
    /// The window reaches beyond the text.
    pub fn window(&self, start: usize, length: usize) -> Result<(&[i32], &[i32])> {
        if start >= self.windows(length) {
            return Err(Error::new(format!(
                "{}: a window of {length} tokens and the one after it, from place {start}, reaches beyond the {} \
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

    /// The text as samples of `length` tokens (`input`) and the same moved on by one (`target`): as many as fit without
    /// overlap. In each epoch they begin at another place, where the seed and the epoch say.
    ///
    /// # Errors
    /// The length is 0, or the text has not more tokens than that.
    pub fn samples(&self, length: usize) -> Result<TextWindows> {
        if length == 0 || self.windows(length) == 0 {
            return Err(Error::new(format!(
                "{}: {} of {} tokens have no window of {length} and a token after it; use a longer text or a shorter window",
                self.name,
                self.len(),
                self.tokens.len()
            )));
        }
        let field = |name| Field::tokens(name, length, self.vocabulary.clone()).prepared(Preparation::Text);
        let description = Description::new(&*self.name).with(field(INPUT)).with(field(TARGET));
        Ok(TextWindows { corpus: self.clone(), length, moving: true, description: Arc::new(description) })
    }
}

/// Windows of a [`Corpus`] as samples; made by [`Corpus::samples`].
#[derive(Clone, Debug)]
pub struct TextWindows {
    corpus: Corpus,
    length: usize,
    moving: bool,
    description: Arc<Description>,
}

impl TextWindows {
    /// The same windows in every epoch, from the first token on: to measure on.
    #[must_use]
    pub fn fixed(self) -> TextWindows {
        TextWindows { moving: false, ..self }
    }
}

impl Source for TextWindows {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        Some((self.corpus.len() - 1) / self.length)
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let shift = match self.moving {
            true => Random::new(&[request.seed, WINDOW_STREAM, request.epoch]).below(self.length),
            false => 0,
        };
        // The last window is moved back to the end.
        let last = self.corpus.windows(self.length) - 1;
        let start = request.index.saturating_mul(self.length).saturating_add(shift).min(last);
        let (input, target) = self.corpus.window(start, self.length)?;
        sample.write(INPUT, input)?;
        sample.write(TARGET, target)
    }

    /// Windows move from epoch to epoch.
    fn is_random(&self) -> bool {
        self.moving
    }
}

fn read_text(path: &Path) -> Result<(String, String)> {
    let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_BYTES + 1)?;
    if bytes.len() > MOST_BYTES {
        return Err(Error::at_file(path, "is larger than 1 GiB; cut it into smaller texts"));
    }
    let text = String::from_utf8(bytes).map_err(|cause| {
        let at = cause.utf8_error().valid_up_to();
        Error::at_file(path, format_args!("is not UTF-8 text: byte {at} is wrong; convert it"))
    })?;
    Ok((path.display().to_string(), text))
}

/// Keeps the stream of window places apart from other streams of the same seed.
const WINDOW_STREAM: u64 = 0x7769_6e64_6f77_0001;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, gzip, message, shared};

    #[test]
    fn reads_splits_and_refuses() {
        let folder = Folder::new("text");
        let corpus = Corpus::open(folder.write("t.txt", "añb\nb".as_bytes())).unwrap();
        assert_eq!(corpus.vocabulary(), &Vocabulary::of("\nabñ"));
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
        let other = Vocabulary::of("xyz");
        assert!(message(Corpus::with_vocabulary("t", "ya", &other)).contains("t: character 'a' at place 1"));
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

    #[test]
    fn samples_cover_the_text_and_move_with_the_epoch() {
        let text: String = ('a'..='z').collect();
        let corpus = Corpus::from_text("abc", &text).unwrap();
        let samples = corpus.samples(5).unwrap();
        assert_eq!(samples.len(), Some(5));
        let read = |samples: &TextWindows, index, epoch| {
            let description = Arc::new(samples.description().clone());
            let mut batch = crate::HostBatch::empty(&description);
            batch.resize(1, &[5, 5]);
            samples.read(&Request { index, epoch, seed: 3 }, &mut batch.sample(0, &[5, 5])).unwrap();
            let tokens = |field| batch.get(field).unwrap().slice::<i32>().unwrap().to_vec();
            assert_eq!(tokens("target")[..4], tokens("input")[1..]);
            tokens("input")[0]
        };
        let fixed = samples.clone().fixed();
        assert_eq!((0..5).map(|i| read(&fixed, i, 7)).collect::<Vec<_>>(), [0, 5, 10, 15, 20]);
        let starts: Vec<i32> = (0..20).map(|epoch| read(&samples, 1, epoch)).collect();
        assert!(starts.iter().all(|start| (5..10).contains(start)) && starts.iter().any(|&s| s != starts[0]));
        assert!((0..20).all(|epoch| read(&samples, 4, epoch) == 20), "the last one ends with the text");
        let kept = |samples: TextWindows| crate::cached(Arc::new(samples), 1 << 20);
        assert!(message(kept(samples)).contains("others each time") && kept(fixed).is_ok());
        assert!(message(corpus.samples(26)).contains("no window of 26"));
        assert!(message(corpus.samples(0)).contains("no window of 0"));
    }
}
