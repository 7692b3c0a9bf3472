//! Plans survive their text, and damage to it is an error.

use super::parse;
use crate::verify::verify;
use crate::{Plan, plan};

/// A product with an epilogue, a softmax, a pool, random numbers, halves, a state that is updated in place and one that
/// cannot be.
const PROGRAM: &str = "program p {
  %x: f32[6, 5] = input \"x\"
  %w: f32[5, 4] = state \"w\"
  %old: f32[4] = state \"old\"
  %rate: f32[] = hyper \"rate\"
  %seed: u32[2] = state \"seed\"
  %one: u32[] = constant 1
  %dot = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
  %y = tanh %dot
  %bits = random_bits %seed, %one {shape=[6, 4], stream=3}
  %r = broadcast %rate {shape=[6, 4], axes=[]}
  %z = mul %y, %r
  %l = logsumexp %z {axes=[1]}
  %lb = broadcast %l {shape=[6, 4], axes=[0]}
  %s = sub %z, %lb
  %e = exp %s
  %h = cast %e {to=f16}
  %sum = reduce_sum %e {axes=[0]}
  %am = argmax %e {axis=1}
  %wr = broadcast %rate {shape=[5, 4], axes=[]}
  %nw = mul %w, %wr
  %first = add %sum, %old
  %flipped = flip %old {axes=[0]}
  write \"w\" = %nw
  write \"old\" = %flipped
  output \"e\" = %e
  output \"h\" = %h
  output \"am\" = %am
  output \"bits\" = %bits
  output \"first\" = %first
}";

fn example() -> Plan {
    plan(&dropforge_ir::text::parse(PROGRAM).unwrap()).unwrap()
}

#[test]
fn what_is_printed_is_read_back() {
    let plan = example();
    verify(&plan).unwrap();
    let text = plan.to_string();
    let read = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read.to_string(), text);
    verify(&read).unwrap();
    assert_eq!(read.constants, plan.constants);
}

#[test]
fn damaged_text_is_an_error_or_a_plan_never_a_panic() {
    let text = example().to_string();
    for at in (0..text.len()).step_by(5).filter(|&at| text.is_char_boundary(at)) {
        for replacement in ["", "7", "-9", "b0", " ", "}", "%", "r1", "999999999999999999999", "("] {
            let damaged = format!("{}{replacement}{}", &text[..at], &text[(at + 1).min(text.len())..]);
            if let Ok(plan) = parse(&damaged) {
                // Whatever this finds.
                let _ = verify(&plan);
            }
        }
    }
}

#[test]
fn faults_are_named() {
    let says = |change: &dyn Fn(&str) -> String, expected: &str| {
        let text = change(&example().to_string());
        let error = parse(&text).and_then(|plan| verify(&plan)).expect_err("this was to fail").to_string();
        assert!(error.contains(expected), "{error}\n{text}");
    };
    says(&|text| text.replace("  copy b", "  move b"), "no b-name move");
    says(&|text| text.replace("plan, arena ", "plan, arena -"), "out of range");
    says(&|text| text.replacen("into b", "into b99", 1), "b-name b99");
    says(&|text| text.replacen("= tanh r0", "= tanh r9999", 1), "r-name r9999");
    says(&|text| text.replacen("= tanh r0", "= cosine r0", 1), "no instruction named cosine");
    says(&|text| text.replacen("over (24; )", "over (25; )", 1), "reaches beyond");
    let lines = |keep: &dyn Fn(&str) -> bool, text: &str| {
        text.lines().filter(|line| keep(line)).map(|line| format!("{line}\n")).collect::<String>()
    };
    says(&|text| lines(&|line| !line.contains("  call dot"), text), "nothing lies there");
    says(&|text| lines(&|line| !line.contains("  copy "), text), "does not end with its value");
}
