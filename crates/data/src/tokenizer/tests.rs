//! Against Hugging Face's own library (`scripts/golden_tokenizers.py`), and what is refused.

use super::*;
use crate::testing::message;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers")
}

#[derive(serde::Deserialize)]
struct Golden {
    text: String,
    tokens: Vec<i32>,
    decoded: String,
}

#[test]
fn tokens_are_those_of_hugging_face() {
    for name in ["gpt2", "gpt2_space", "bert_uncased", "bert_cased", "composed"] {
        let tokenizer = Tokenizer::open(folder().join(format!("{name}.json"))).unwrap();
        let lines = std::fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
        let mut count = 0;
        for line in lines.lines() {
            let golden: Golden = serde_json::from_str(line).unwrap();
            assert_eq!(tokenizer.encode(&golden.text).unwrap(), golden.tokens, "{name}: {:?}", golden.text);
            let decoded = tokenizer.decode(&golden.tokens).unwrap();
            assert_eq!(decoded, golden.decoded, "{name}: {:?}", golden.text);
            if name == "gpt2" && !golden.text.contains("[MASK]") {
                assert_eq!(decoded, golden.text);
            }
            count += 1;
        }
        assert!(count > 90);
    }
}

#[test]
fn a_run_keeps_a_tokenizer_in_little_room() {
    let tokenizer = Tokenizer::open(folder().join("gpt2.json")).unwrap();
    let packed = tokenizer.to_packed();
    assert!(packed.len() < tokenizer.json().len());
    let again = Tokenizer::from_packed(packed).unwrap();
    assert_eq!(again, tokenizer);
    assert_eq!(again.encode("a hammer").unwrap(), tokenizer.encode("a hammer").unwrap());
}

/// A word may be as long as a text: the time does not grow with its square.
#[test]
fn a_word_without_an_end_is_no_trouble() {
    let tokenizer = Tokenizer::open(folder().join("gpt2.json")).unwrap();
    for text in ["hammer".repeat(40_000), "x".repeat(200_000), " ".repeat(200_000), "<|end|>".repeat(5_000)] {
        let tokens = tokenizer.encode(&text).unwrap();
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
    let bert = Tokenizer::open(folder().join("bert_uncased.json")).unwrap();
    assert_eq!(bert.encode(&"hammer".repeat(40_000)).unwrap().len(), 1);
}

/// A token that a text has not is looked for once, however many others it has.
#[test]
fn tokens_that_never_come_cost_one_look() {
    let added = |number: usize, content: &str, strips: bool| Added {
        number,
        content: content.into(),
        is_normalized: false,
        strips_left: strips,
        strips_right: strips,
    };
    let all = [
        added(0, "<a>", false),
        added(1, "<never>", false),
        added(2, "<a><b>", false),
        added(3, "<s>", true),
    ];
    let known: Vec<(&str, &Added)> = all.iter().map(|token| (token.content.as_str(), token)).collect();
    let parts = |text: &str| {
        let mut parts = Vec::new();
        split(text, &known, |part| {
            parts.push(match part {
                Part::Text(text) => text.to_string(),
                Part::Token(token) => token.number.to_string(),
            });
            Ok(())
        })
        .unwrap();
        parts
    };
    assert_eq!(parts("x <s> <a> y<a><b><a>z"), ["x", "3", "0", " y", "2", "0", "z"]);
    assert_eq!(parts(&"<a>".repeat(400_000)).len(), 400_000);
}

#[test]
fn what_is_not_known_is_named() {
    let whole = std::fs::read_to_string(folder().join("gpt2.json")).unwrap();
    let refused = |from: &str, to: &str| {
        let changed = whole.replace(from, to);
        assert_ne!(changed, whole, "{from}");
        message(Tokenizer::parse(&changed))
    };
    assert!(refused("\"type\":\"BPE\"", "\"type\":\"Unigram\"").contains("the model Unigram"));
    assert!(
        refused("\"normalizer\":null", "\"normalizer\":{\"type\":\"Nmt\"}").contains("the normalizer Nmt")
    );
    assert!(refused("\"dropout\":null", "\"dropout\":0.1").contains("BPE with dropout"));
    assert!(refused("\"byte_fallback\":false", "\"byte_fallback\":true").contains("byte_fallback"));
    assert!(
        refused("\"fuse_unk\":false", "\"fuse_unk\":true, \"unk_token\": \"!\"")
            .contains("BPE with fuse_unk")
    );
    assert!(refused("\"!\":1,", "\"!\":9000000,").contains("the number 9000000"));
    assert!(refused("\"!\":1,", "\"!\":2,").contains("both have the number 2"));
    assert!(refused("\"single_word\":false", "\"single_word\":true").contains("single_word"));
    assert!(
        refused("{\"type\":\"ByteLevel\",\"add_prefix_space\":false", "{\"type\":\"Metaspace\",\"a\":0")
            .contains("Metaspace")
    );
    assert!(
        refused("\"pre_tokenizer\":{", "\"other\":{").contains("BPE without the pre_tokenizer ByteLevel")
    );
    assert!(refused("\"id\":486", "\"id\":-1").contains("no number that can be"));
    assert!(refused("\"!\":1", "\"!\":99999999999").contains("no number that can be"));
    assert!(message(Tokenizer::parse("{}")).contains("is no tokenizer.json of Hugging Face"));
    assert!(message(Tokenizer::parse("[")).contains("is no tokenizer.json"));
    assert!(message(Tokenizer::parse("{\"model\": {\"type\": \"BPE\"}}")).contains("has no vocabulary"));
    assert!(message(Tokenizer::open(folder().join("none.json"))).contains("none.json"));
    let tokenizer = Tokenizer::parse(&whole).unwrap();
    assert!(message(tokenizer.decode(&[0, 487])).contains("token 487 at place 1"));
    assert!(message(tokenizer.decode(&[-1])).contains("token -1 at place 0"));
    assert!(tokenizer.check_kept().is_ok());
    assert!(message(tokenizer.check_fits(100)).contains("more than the 100 that a run keeps"));
    let behind = |pre: &str| {
        message(Tokenizer::parse(&format!(
            r#"{{"model": {{"type": "BPE", "vocab": {{"a": 0}}, "merges": []}}, "pre_tokenizer":
            {{"type": "Sequence", "pretokenizers": [{{"type": "ByteLevel"}}, {{"type": "{pre}"}}]}}}}"#
        )))
    };
    for pre in ["WhitespaceSplit", "BertPreTokenizer", "ByteLevel"] {
        assert!(behind(pre).contains("a pre_tokenizer behind ByteLevel"), "{}", behind(pre));
    }
    let long = |most: &str| {
        Tokenizer::parse(&format!(
            r####"{{"pre_tokenizer": {{"type": "WhitespaceSplit"}}, "model": {{"type": "WordPiece", "unk_token": "u",
            "vocab": {{"u": 0, "é": 1, "##é": 2}}, "max_input_chars_per_word": {most}}}}}"####
        ))
    };
    assert!(message(long("10001")).contains("`max_input_chars_per_word` is no number from 0 to 10000"));
    let word = "é".repeat(10_000);
    assert_eq!(long("10000").unwrap().encode(&word).unwrap().len(), 10_000);
    assert_eq!(long("null").unwrap().encode(&word).unwrap(), [0]);
    // A vocabulary without all bytes says which one it lacks.
    let small = r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}}"#;
    let tokenizer = Tokenizer::parse(small).unwrap();
    assert_eq!(tokenizer.encode("abba").unwrap(), [2, 1, 0]);
    assert!(message(tokenizer.encode("abc")).contains("byte 0x63, which is in \"abc\""));
}
