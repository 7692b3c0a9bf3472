//! Texts.

use super::{DataSet, InputSpec, OpenData, Opening, word};
use crate::settings::{Described, Range, Table};
use crate::{Error, Result, described};
use dropforge_data::{Corpus, Source, Vocabulary};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tokens of a sample, unless told otherwise.
const LENGTH: usize = 128;
/// Part of a text that is trained on; the rest, at its end, is for testing.
const TRAIN_PART: f64 = 0.9;
const CHARACTERS: &str = "characters";
const BYTES: &str = "bytes";

/// A text in UTF-8, as tokens.
pub struct Text {
    path: PathBuf,
    length: usize,
    tokens: String,
    tokenizer: Option<PathBuf>,
}

described! {
    Text = "text", "a text in UTF-8, of which each next token is to be predicted";
    path: PathBuf, None, Range::ANY, "the file";
    length: usize, Some(LENGTH), (1..=1_000_000).into(), "tokens of a sample";
    tokens: String, Some(CHARACTERS.into()), Range::ANY, "what the tokens are, characters or bytes";
    tokenizer: Option<PathBuf>, Some(None), Range::ANY, "a tokenizer.json of Hugging Face, whose tokens they are instead";
}

impl DataSet for Text {
    fn open(&self, opening: &Opening<'_>) -> Result<OpenData> {
        // A run has its tokenizer, wherever the file may be by now.
        let kept = opening.inputs.filter(|_| self.tokenizer.is_some()).and_then(InputSpec::vocabulary);
        let corpus = self.corpus(kept)?;
        let least = 2 * (self.length + 1);
        if corpus.len() < least {
            let path = self.path.display();
            return Err(Error::data(format!(
                "{path}: has {} tokens, and windows of {} to train on and to measure take {least}; use a longer text, or a \
                 `length` of at most {}",
                corpus.len(),
                self.length,
                (corpus.len() / 2).saturating_sub(1).max(1)
            )));
        }
        let at = (corpus.len() as f64 * TRAIN_PART) as usize;
        // A short text still has a sample on each side.
        let (train, test) = corpus.split(at.min(corpus.len().saturating_sub(self.length + 1)))?;
        Ok(OpenData::new(train.samples(self.length)?, test.samples(self.length)?.fixed()))
    }

    /// Read by the vocabulary of the model.
    fn open_all(&self, _: &Opening<'_>, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.corpus(inputs.vocabulary())?.samples(self.length)?.fixed()))
    }

    fn short_name(&self) -> String {
        word(self.path.file_stem())
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

impl Text {
    fn corpus(&self, vocabulary: Option<&Vocabulary>) -> Result<Corpus> {
        let own = match self.tokens.as_str() {
            _ if vocabulary.is_some() => None,
            CHARACTERS => self.tokenizer.as_deref().map(tokenizer).transpose()?,
            BYTES if self.tokenizer.is_some() => {
                return Err(Error::setting("text: `tokens` and `tokenizer` say two things; leave one out"));
            }
            BYTES => Some(Vocabulary::Bytes),
            other => {
                return Err(Error::setting(format!(
                    "text: `tokens` is `{other}`, it must be {CHARACTERS} or {BYTES}"
                )));
            }
        };
        Ok(match vocabulary.or(own.as_ref()) {
            Some(vocabulary) => Corpus::open_with(&self.path, vocabulary)?,
            None => Corpus::open(&self.path)?,
        })
    }
}

/// The tokens of a `tokenizer.json`.
#[cfg(feature = "tokenizers")]
fn tokenizer(path: &Path) -> Result<Vocabulary> {
    Ok(Vocabulary::Tokenizer(dropforge_data::Tokenizer::open(path)?))
}

#[cfg(not(feature = "tokenizers"))]
fn tokenizer(path: &Path) -> Result<Vocabulary> {
    let path = path.display();
    Err(Error::setting(format!("{path}: tokenizers are read by builds with the feature `tokenizers` only")))
}

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;

    #[test]
    fn a_text_has_the_vocabulary_of_all_of_it() {
        let folder = TestFolder::new("text");
        folder.write("a.txt", "abcdefgh".repeat(30).as_bytes());
        let spec = folder.spec("text:{}/a.txt?length=10");
        let opening = Opening::default();
        let data = spec.open(&opening).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(21), Some(2)));
        folder.write("short.txt", b"abcdefghij");
        let message = folder.spec("text:{}/short.txt?length=10").open(&opening).err().unwrap().to_string();
        assert!(message.contains("has 10 tokens") && message.contains("`length` of at most 4"), "{message}");
        assert_eq!(folder.spec("text:{}/short.txt?length=4").open(&opening).unwrap().test.len(), Some(1));
        assert_eq!((data.inputs.outputs(), data.inputs.shape.as_slice()), (8, [10].as_slice()));
        assert_eq!(spec.short_name(), "a");
        let bytes = folder.spec("text:{}/a.txt?length=10&tokens=bytes").open(&opening).unwrap();
        assert_eq!(bytes.inputs.outputs(), 256);
        let message = folder.spec("text:{}/a.txt?tokens=words").open(&opening).err().unwrap().to_string();
        assert!(message.contains("`tokens` is `words`, it must be characters or bytes"), "{message}");
        let message =
            folder.spec("text:{}/a.txt?tokenizer={}/none.json").open(&opening).err().unwrap().to_string();
        assert!(message.contains("none.json"), "{message}");
        #[cfg(feature = "tokenizers")]
        {
            // All pairs of letters are tokens.
            let json = r#"{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "model": {"type": "BPE",
                "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6, "h": 7, "ab": 8, "cd": 9, "ef": 10, "gh": 11},
                "merges": ["a b", "c d", "e f", "g h"]}}"#;
            folder.write("tokenizer.json", json.as_bytes());
            let spec = folder.spec("text:{}/a.txt?length=10&tokenizer={}/tokenizer.json");
            let data = spec.open(&opening).unwrap();
            assert_eq!((data.train.len(), data.inputs.outputs()), (Some(10), 12));
            // The run has it.
            let kept: InputSpec = toml::from_str(&toml::to_string(&data.inputs).unwrap()).unwrap();
            assert_eq!(kept, data.inputs);
            std::fs::remove_file(folder.0.join("tokenizer.json")).unwrap();
            let again = spec.open(&Opening { inputs: Some(&kept), ..opening }).unwrap();
            assert_eq!(again.inputs, data.inputs);
            assert_eq!(spec.open_all(&opening, &kept).unwrap().len(), Some(11));
            assert!(spec.open(&opening).is_err());
        }
        folder.write("a.txt", b"a short text, which has other letters");
        let message = spec.open_all(&opening, &data.inputs).err().unwrap().to_string();
        assert!(message.contains("' ' at place 1 is not in the vocabulary"), "{message}");
    }
}
