//! What stands in a `tokenizer.json`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::normal::{Normal, Step};
use super::words::Splitting;
use crate::{Error, Result};

/// The parts of a tokenizer.
pub(super) struct Parsed {
    pub normal: Normal,
    pub splitting: Vec<Splitting>,
    pub model: Model,
    pub added: Vec<Added>,
}

/// How words become tokens, and which there are.
pub(super) enum Model {
    BytePairs {
        vocabulary: HashMap<String, i32>,
        merges: Vec<(String, String)>,
        unknown: Option<String>,
        ignore_merges: bool,
    },
    WordPieces {
        vocabulary: HashMap<String, i32>,
        unknown: String,
        prefix: String,
        most_characters: usize,
    },
}

/// A token that is no result of the model.
pub(super) struct Added {
    pub number: usize,
    pub content: String,
    /// Whether it is looked for in the text as it is normalised.
    pub is_normalized: bool,
    /// Whether white space before it, or behind it, is part of it.
    pub strips_left: bool,
    pub strips_right: bool,
}

/// Longer words than this are nowhere taken apart.
const MOST_CHARACTERS: u64 = 10_000;
/// Numbers of tokens beyond this are a mistake in the file.
const MOST_TOKENS: i64 = 1 << 24;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    model: Value,
}

#[derive(Deserialize)]
struct AddedToken {
    id: i64,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default = "yes")]
    normalized: bool,
}

fn yes() -> bool {
    true
}

/// Reads the text of a file.
pub(super) fn parse(json: &str) -> Result<Parsed> {
    let file: File = serde_json::from_str(json)
        .map_err(|error| Error::new(format!("is no tokenizer.json of Hugging Face: {error}")))?;
    let mut normal = Vec::new();
    normalizer(file.normalizer.as_ref(), &mut normal)?;
    let mut splitting = Vec::new();
    pre_tokenizer(file.pre_tokenizer.as_ref(), &mut splitting)?;
    let model = model(&file.model)?;
    if let Some(place) = splitting.iter().position(Splitting::is_by_bytes)
        && place + 1 < splitting.len()
    {
        return Err(unknown("a pre_tokenizer behind", "ByteLevel"));
    }
    let by_bytes = splitting.iter().any(Splitting::is_by_bytes);
    match (&model, by_bytes) {
        (Model::BytePairs { .. }, false) => {
            return Err(unknown("BPE without the pre_tokenizer", "ByteLevel"));
        }
        (Model::WordPieces { .. }, true) => {
            return Err(unknown("WordPiece with the pre_tokenizer", "ByteLevel"));
        }
        _ => {}
    }
    let added = file.added_tokens.into_iter().map(added).collect::<Result<_>>()?;
    Ok(Parsed { normal: Normal(normal), splitting, model, added })
}

/// Says that a part is none that is known here.
fn unknown(part: &str, name: &str) -> Error {
    Error::new(format!(
        "describes {part} {name}, which is not known here; known are BPE with ByteLevel, as GPT-2 has it, and WordPiece, as \
         BERT has it"
    ))
}

fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn flag(part: &Value, name: &str, usual: bool) -> bool {
    part.get(name).and_then(Value::as_bool).unwrap_or(usual)
}

/// The parts of a sequence, under one of two names.
fn several<'a>(part: &'a Value, name: &str) -> &'a [Value] {
    part.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn normalizer(part: Option<&Value>, steps: &mut Vec<Step>) -> Result<()> {
    let Some(part) = part.filter(|part| !part.is_null()) else { return Ok(()) };
    match kind(part) {
        "Sequence" => {
            return several(part, "normalizers").iter().try_for_each(|part| normalizer(Some(part), steps));
        }
        "BertNormalizer" => {
            let lowercase = flag(part, "lowercase", true);
            let usual = [
                (flag(part, "clean_text", true), Step::Clean),
                (flag(part, "handle_chinese_chars", true), Step::SpaceIdeographs),
                (flag(part, "strip_accents", lowercase), Step::Decompose),
                (flag(part, "strip_accents", lowercase), Step::StripAccents),
                (lowercase, Step::Lowercase),
            ];
            steps.extend(usual.into_iter().filter_map(|(is_made, step)| is_made.then_some(step)));
        }
        "Lowercase" => steps.push(Step::Lowercase),
        "NFC" => steps.push(Step::Compose),
        "NFD" => steps.push(Step::Decompose),
        "NFKC" => steps.push(Step::ComposeCompatible),
        "NFKD" => steps.push(Step::DecomposeCompatible),
        "StripAccents" => steps.push(Step::StripAccents),
        other => return Err(unknown("the normalizer", other)),
    }
    Ok(())
}

fn pre_tokenizer(part: Option<&Value>, splitting: &mut Vec<Splitting>) -> Result<()> {
    let Some(part) = part.filter(|part| !part.is_null()) else { return Ok(()) };
    match kind(part) {
        "Sequence" => {
            let parts = several(part, "pretokenizers");
            return parts.iter().try_for_each(|part| pre_tokenizer(Some(part), splitting));
        }
        "ByteLevel" => splitting.push(Splitting::Bytes {
            adds_space: flag(part, "add_prefix_space", true),
            splits: flag(part, "use_regex", true),
        }),
        "BertPreTokenizer" => splitting.push(Splitting::Bert),
        "WhitespaceSplit" => splitting.push(Splitting::WhiteSpace),
        other => return Err(unknown("the pre_tokenizer", other)),
    }
    Ok(())
}

fn model(part: &Value) -> Result<Model> {
    let text = |name: &str| part.get(name).and_then(Value::as_str).map(String::from);
    // Early files do not say what they are.
    let kind = match kind(part) {
        "" if part.get("merges").is_some() => "BPE",
        "" => "WordPiece",
        kind => kind,
    };
    match kind {
        "BPE" => {
            for option in ["continuing_subword_prefix", "end_of_word_suffix"] {
                if text(option).is_some_and(|text| !text.is_empty()) {
                    return Err(unknown("BPE with", option));
                }
            }
            if flag(part, "byte_fallback", false) {
                return Err(unknown("BPE with", "byte_fallback"));
            }
            if flag(part, "fuse_unk", false) && text("unk_token").is_some() {
                return Err(unknown("BPE with", "fuse_unk"));
            }
            if part.get("dropout").and_then(Value::as_f64).is_some_and(|dropout| dropout > 0.0) {
                return Err(unknown("BPE with", "dropout"));
            }
            Ok(Model::BytePairs {
                vocabulary: vocabulary(part)?,
                merges: several(part, "merges").iter().enumerate().map(merge).collect::<Result<_>>()?,
                unknown: text("unk_token"),
                ignore_merges: flag(part, "ignore_merges", false),
            })
        }
        "WordPiece" => Ok(Model::WordPieces {
            vocabulary: vocabulary(part)?,
            unknown: text("unk_token").unwrap_or_else(|| "[UNK]".into()),
            prefix: text("continuing_subword_prefix").unwrap_or_else(|| "##".into()),
            most_characters: most_characters(part)?,
        }),
        other => Err(unknown("the model", other)),
    }
}

/// How long a word is that is taken apart.
fn most_characters(part: &Value) -> Result<usize> {
    let Some(most) = part.get("max_input_chars_per_word").filter(|most| !most.is_null()) else {
        return Ok(100);
    };
    let most = most.as_u64().filter(|&most| most <= MOST_CHARACTERS);
    most.map(|most| most as usize).ok_or_else(|| {
        Error::new(format!(
            "`max_input_chars_per_word` is no number from 0 to {MOST_CHARACTERS}; the usual one is 100"
        ))
    })
}

fn vocabulary(part: &Value) -> Result<HashMap<String, i32>> {
    let Some(all) = part.get("vocab").and_then(Value::as_object) else {
        return Err(Error::new("has no vocabulary (`model.vocab`, a number for each token)"));
    };
    let number = |(text, number): (&String, &Value)| {
        let number = number.as_i64().filter(|number| (0..MOST_TOKENS).contains(number));
        let number = number.ok_or_else(|| Error::new(format!("token {text:?} has no number that can be")))?;
        Ok((text.clone(), number as i32))
    };
    all.iter().map(number).collect()
}

/// Two tokens that become one, as a text or as a list.
fn merge((place, value): (usize, &Value)) -> Result<(String, String)> {
    let pair = match value {
        Value::String(text) => text.split_once(' ').map(|(left, right)| (left.into(), right.into())),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left.clone(), right.clone())),
            _ => None,
        },
        _ => None,
    };
    pair.ok_or_else(|| Error::new(format!("merge {place} is no pair of tokens")))
}

fn added(token: AddedToken) -> Result<Added> {
    if token.single_word {
        return Err(unknown("an added token with", "single_word"));
    }
    if !(0..MOST_TOKENS).contains(&token.id) {
        return Err(Error::new(format!("the added token {:?} has no number that can be", token.content)));
    }
    Ok(Added {
        number: token.id as usize,
        content: token.content,
        is_normalized: token.normalized,
        strips_left: token.lstrip,
        strips_right: token.rstrip,
    })
}
