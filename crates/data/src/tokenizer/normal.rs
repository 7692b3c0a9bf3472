//! Texts before they are split into words.

use std::borrow::Cow;

use unicode_general_category::{GeneralCategory as Category, get_general_category as category};
use unicode_normalization::UnicodeNormalization;

/// What is done to a text, in order.
pub(super) struct Normal(pub Vec<Step>);

/// One change of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Controls go, white space becomes spaces.
    Clean,
    /// Spaces around ideographs, which are words of their own.
    SpaceIdeographs,
    /// NFD, NFC, NFKD and NFKC of Unicode.
    Decompose,
    Compose,
    DecomposeCompatible,
    ComposeCompatible,
    /// Marks that take no space of their own go.
    StripAccents,
    Lowercase,
}

impl Normal {
    /// The text after all changes.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, step| Cow::Owned(step.apply(&text)))
    }
}

impl Step {
    fn apply(self, text: &str) -> String {
        match self {
            Step::Clean => {
                let kept = text.chars().filter(|&c| c != '\0' && c != '\u{fffd}' && !is_control(c));
                kept.map(|c| if c.is_whitespace() { ' ' } else { c }).collect()
            }
            Step::SpaceIdeographs => {
                let mut spaced = String::with_capacity(text.len());
                for c in text.chars() {
                    match is_ideograph(c) {
                        true => spaced.extend([' ', c, ' ']),
                        false => spaced.push(c),
                    }
                }
                spaced
            }
            Step::Decompose => text.nfd().collect(),
            Step::Compose => text.nfc().collect(),
            Step::DecomposeCompatible => text.nfkd().collect(),
            Step::ComposeCompatible => text.nfkc().collect(),
            Step::StripAccents => {
                text.chars().filter(|&c| c.is_ascii() || category(c) != Category::NonspacingMark).collect()
            }
            Step::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
        }
    }
}

fn is_control(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r')
        && matches!(category(c), Category::Control | Category::Format | Category::PrivateUse)
}

/// The blocks of CJK ideographs, as BERT has them.
fn is_ideograph(c: char) -> bool {
    matches!(c as u32,
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f
        | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}
