//! Damaged model files: thousands of them, none of which may panic, take much memory or be slow.

use crate::{ExportOptions, ImportOptions, Model, export};
use dropforge_ir::text::parse;
use dropforge_ir::{Array, Program};

const PROGRAM: &str = "program p {
  %x: f32[2, 3, 8, 8] = input \"x\"
  %w: f32[4, 3, 3, 3] = state \"conv.weight\"
  %b: f32[4] = state \"conv.bias\"
  %d: f32[5, 64] = state \"head.weight\"
  %c = convolution %x, %w {window=[stride:[1, 1] low:[1, 1] high:[1, 1] dilation:[1, 1] groups:1]}
  %bb: f32[2, 4, 8, 8] = broadcast %b {shape=[2, 4, 8, 8], axes=[1]}
  %y = add %c, %bb
  %r = relu %y
  %p: f32[2, 4, 4, 4], %i: i32[2, 4, 4, 4] = max_pool %r {window=[kernel:[2, 2] stride:[2, 2] low:[0, 0] high:[0, 0]]}
  %f: f32[2, 64] = reshape %p {shape=[2, 64]}
  %o = dot %f, %d {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}
  %m = reduce_max %o {axes=[1]}
  %s = slice %o {start=[0, 1], stop=[2, 4], step=[1, 2]}
  output \"y\" = %o
  output \"most\" = %m
  output \"some\" = %s
}
";

/// Two programs of one network, and the file of it.
fn model() -> Vec<u8> {
    let at = |batch: &str| {
        parse(
            &PROGRAM
                .replace("[2, 3, 8", &format!("[{batch}, 3, 8"))
                .replace("shape=[2,", &format!("shape=[{batch},"))
                .replace("f32[2,", &format!("f32[{batch},"))
                .replace("i32[2,", &format!("i32[{batch},"))
                .replace("stop=[2,", &format!("stop=[{batch},")),
        )
        .unwrap()
    };
    let (two, three): (Program, Program) = (at("2"), at("3"));
    let zeros = |name: &str| {
        let port = two.states.iter().find(|state| state.name == name).unwrap();
        Ok(Array::zeros(two.ty(port.value)))
    };
    export([(2, &two), (3, &three)], zeros, |_| None, &ExportOptions::default()).unwrap()
}

fn import(bytes: &[u8]) -> dropforge_ir::Result<usize> {
    let model = Model::parse(bytes)?;
    let options = ImportOptions { batch: 4, ..ImportOptions::default() };
    let outside = |_: &str, _: u64, _: Option<u64>| Err("there is no other file".to_string());
    let imported = model.import(&options, &outside)?;
    Ok(imported.program.nodes().len())
}

#[test]
fn damaged_files_are_errors() {
    let bytes = model();
    assert!(import(&bytes).unwrap() > 10);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut refused = 0;
    // Weights are most of the file; what says something stands around them.
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    for round in 0..4000 {
        let mut damaged = bytes.clone();
        match round % 4 {
            0 => damaged.truncate(next(bytes.len())),
            1 => {
                let at = places[next(places.len())];
                damaged[at] ^= 1 << next(8);
            }
            2 => {
                let (from, to) = (places[next(places.len())], places[next(places.len())]);
                damaged[to] = damaged[from];
            }
            _ => {
                let (at, count) = (places[next(places.len())], 1 + next(12));
                let piece: Vec<u8> = (0..count).map(|_| next(256) as u8).collect();
                damaged.splice(at..at, piece);
            }
        }
        refused += usize::from(import(&damaged).is_err());
    }
    assert!(refused > 1500, "{refused}");
}

#[test]
fn graphs_in_graphs_end() {
    use crate::wire::Writer;
    // An attribute that holds a graph of one node with such an attribute, and so on.
    fn nested(depth: usize) -> Writer {
        let mut graph = Writer::default();
        if depth > 0 {
            let inner = nested(depth - 1);
            graph.message(1, |node| {
                node.text(4, "If");
                node.message(5, |attribute| {
                    attribute.text(1, "then_branch");
                    attribute.bytes(6, &inner.into_bytes());
                });
            });
        }
        graph
    }
    let mut file = Writer::default();
    file.bytes(7, &nested(200).into_bytes());
    let message = import(&file.into_bytes()).unwrap_err().to_string();
    assert!(message.contains("in one another"), "{message}");
}

#[test]
fn all_missing_operators_are_named() {
    use crate::wire::Writer;
    let mut file = Writer::default();
    file.message(7, |graph| {
        for (op, name) in [("Wobble", "first"), ("Relu", "second"), ("Wobble", "third"), ("Frobnicate", "")] {
            graph.message(1, |node| {
                node.text(2, "out");
                node.text(3, name);
                node.text(4, op);
            });
        }
    });
    let message = import(&file.into_bytes()).unwrap_err().to_string();
    assert!(
        message.contains("Wobble (2: first, third)") && message.contains("Frobnicate (1: out)"),
        "{message}"
    );
    assert!(!message.contains("Relu"), "{message}");
}

#[test]
fn patterns_are_single_operators() {
    let bytes = model();
    let text = String::from_utf8_lossy(&bytes);
    for operator in ["Conv", "Relu", "MaxPool", "Slice", "ReduceMax"] {
        assert!(text.contains(operator), "{operator}");
    }
    // The bias is part of the convolution, and nothing is expanded for it.
    assert!(!text.contains("Expand") && !text.contains("Add"), "the bias is a node of its own");
}

#[test]
fn the_guide_lists_all_operators() {
    let guide = include_str!("../../../docs/onnx.md");
    let missing: Vec<&str> = crate::operators()
        .map(|(_, name)| name)
        .filter(|name| !guide.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "docs/onnx.md does not list {missing:?}");
}
