//! What token numbers stand for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What token numbers stand for. Written and read as one text of characters, as the word `bytes`, or as a packed
/// `tokenizer.json`.
///
/// ```
/// use dropforge_data::Vocabulary;
///
/// let letters = Vocabulary::of("hello");
/// assert_eq!(letters.encode("hole")?, [1, 3, 2, 0]);
/// assert_eq!(letters.decode(&[1, 0])?, "he");
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Vocabulary {
    /// Each character of a text, in the order of their code points.
    Characters(Arc<[char]>),
    /// The 256 bytes of a text in UTF-8, or of anything else.
    Bytes,
    /// The tokens of a tokenizer of Hugging Face.
    #[cfg(feature = "tokenizers")]
    Tokenizer(crate::Tokenizer),
}

/// As it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Written {
    Characters(String),
    Bytes,
    /// A `tokenizer.json`, packed.
    Tokenizer(String),
}

impl From<Vocabulary> for Written {
    fn from(vocabulary: Vocabulary) -> Written {
        match vocabulary {
            Vocabulary::Characters(characters) => Written::Characters(characters.iter().collect()),
            Vocabulary::Bytes => Written::Bytes,
            #[cfg(feature = "tokenizers")]
            Vocabulary::Tokenizer(tokenizer) => Written::Tokenizer(tokenizer.to_packed().into()),
        }
    }
}

impl TryFrom<Written> for Vocabulary {
    type Error = Error;
    fn try_from(written: Written) -> Result<Vocabulary> {
        match written {
            Written::Characters(text) => Vocabulary::characters(text.chars()),
            Written::Bytes => Ok(Vocabulary::Bytes),
            #[cfg(feature = "tokenizers")]
            Written::Tokenizer(packed) => crate::Tokenizer::from_packed(&packed).map(Vocabulary::Tokenizer),
            #[cfg(not(feature = "tokenizers"))]
            Written::Tokenizer(_) => Err(Error::new(
                "the tokens are those of a tokenizer.json, which are read by builds with the feature `tokenizers` only",
            )),
        }
    }
}

impl Vocabulary {
    /// The characters that occur in a text.
    pub fn of(text: &str) -> Vocabulary {
        let characters: std::collections::BTreeSet<char> = text.chars().collect();
        Vocabulary::Characters(characters.into_iter().collect())
    }

    /// These characters.
    ///
    /// # Errors
    /// There are none, or one stands twice or out of the order of code points.
    pub fn characters(characters: impl IntoIterator<Item = char>) -> Result<Vocabulary> {
        let characters: Arc<[char]> = characters.into_iter().collect();
        if characters.is_empty() || !characters.is_sorted_by(|a, b| a < b) {
            return Err(Error::new(
                "a vocabulary must have each character once, in the order of code points, and at least one",
            ));
        }
        Ok(Vocabulary::Characters(characters))
    }

    /// How many tokens there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always a token")]
    pub fn len(&self) -> usize {
        match self {
            Vocabulary::Characters(characters) => characters.len(),
            Vocabulary::Bytes => 256,
            #[cfg(feature = "tokenizers")]
            Vocabulary::Tokenizer(tokenizer) => tokenizer.len(),
        }
    }

    /// The numbers of a text.
    ///
    /// # Errors
    /// A character is not in the vocabulary; the message names it and its place.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        let characters = match self {
            Vocabulary::Characters(characters) => characters,
            Vocabulary::Bytes => return Ok(text.bytes().map(i32::from).collect()),
            #[cfg(feature = "tokenizers")]
            Vocabulary::Tokenizer(tokenizer) => return tokenizer.encode(text),
        };
        let number = |(place, character): (usize, char)| {
            characters.binary_search(&character).map(|number| number as i32).map_err(|_| {
                Error::new(format!(
                    "character {character:?} at place {place} is not in the vocabulary; leave it out"
                ))
            })
        };
        text.chars().enumerate().map(number).collect()
    }

    /// The text that numbers stand for. Bytes that are no UTF-8 become the replacement character.
    ///
    /// # Errors
    /// A number is outside the vocabulary; the message names it and its place.
    pub fn decode(&self, tokens: &[i32]) -> Result<String> {
        #[cfg(feature = "tokenizers")]
        if let Vocabulary::Tokenizer(tokenizer) = self {
            return tokenizer.decode(tokens);
        }
        let index = |(place, &token): (usize, &i32)| {
            usize::try_from(token).ok().filter(|&token| token < self.len()).ok_or_else(|| {
                let what = if matches!(self, Vocabulary::Bytes) { "bytes" } else { "characters" };
                let count = self.len();
                Error::new(format!(
                    "token {token} at place {place} is out of range: there are {count} {what}, numbered from 0"
                ))
            })
        };
        let indices = tokens.iter().enumerate().map(index).collect::<Result<Vec<usize>>>()?;
        Ok(match self {
            Vocabulary::Characters(characters) => {
                indices.into_iter().map(|index| characters[index]).collect()
            }
            _ => {
                let bytes: Vec<u8> = indices.into_iter().map(|index| index as u8).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    #[test]
    fn bytes_and_characters() {
        assert_eq!(Vocabulary::Bytes.encode("é").unwrap(), [0xc3, 0xa9]);
        assert_eq!(Vocabulary::Bytes.decode(&[0xc3, 0xa9]).unwrap(), "é");
        assert_eq!(Vocabulary::Bytes.decode(&[0xc3]).unwrap(), "\u{fffd}");
        assert!(message(Vocabulary::Bytes.decode(&[256])).contains("token 256 at place 0"));
        let letters = Vocabulary::of("ab");
        assert!(message(letters.encode("ax")).contains("'x' at place 1"));
        assert!(message(letters.decode(&[0, -1])).contains("token -1 at place 1"));
        assert!(message(Vocabulary::characters("ba".chars())).contains("order of code points"));
    }
}
