//! Makes a failing sample smaller.

use crate::generate::Sample;
use dropforge_ir::interpret::{Numbers, Rounding, values};
use dropforge_ir::{Op, Program, Value};

/// A smaller sample that fails as well: first the earliest single value that fails as the only output, or else as few
/// outputs and writes as possible, then inputs in place of whatever need not be computed.
pub fn shrink(sample: &Sample, fails: &dyn Fn(&Sample) -> bool) -> Sample {
    let mut best = sample.clone();
    let mut kept = Kept::all(&best.program);
    let alone = (0..sample.program.value_count() as u32).find_map(|value| {
        let alone = Kept { outputs: vec![Value(value)], writes: Vec::new() };
        restrict(sample, &alone, None).filter(fails)
    });
    match alone {
        Some(alone) => best = alone,
        None => {
            for index in (0..kept.outputs.len() + kept.writes.len()).rev() {
                let mut fewer = kept.clone();
                match index.checked_sub(kept.outputs.len()) {
                    Some(write) => drop(fewer.writes.remove(write)),
                    None => drop(fewer.outputs.remove(index)),
                }
                if let Some(smaller) = restrict(sample, &fewer, None).filter(fails) {
                    (best, kept) = (smaller, fewer);
                }
            }
        }
    }
    let mut next = best.program.value_count();
    while next > 0 {
        next -= 1;
        let value = Value(next as u32);
        let kept = Kept::all(&best.program);
        let read = kept.outputs.contains(&value) || kept.writes.iter().any(|&(_, written)| written == value);
        if read || best.program.definition(value).op.is_leaf() {
            continue;
        }
        if let Some(cut) = restrict(&best, &kept, Some(value)).filter(fails) {
            best = cut;
            next = next.min(best.program.value_count());
        }
    }
    best
}

/// What a restricted program gives.
#[derive(Clone)]
struct Kept {
    outputs: Vec<Value>,
    /// States and what is written to them.
    writes: Vec<(usize, Value)>,
}

impl Kept {
    fn all(program: &Program) -> Kept {
        let writes = program.states.iter().enumerate();
        Kept {
            outputs: program.outputs.iter().map(|output| output.value).collect(),
            writes: writes.filter_map(|(state, port)| Some((state, port.write?))).collect(),
        }
    }
}

/// The part of a sample that some outputs and writes need, with an input in place of one value.
fn restrict(sample: &Sample, kept: &Kept, cut: Option<Value>) -> Option<Sample> {
    let old = &sample.program;
    let hypers: Vec<f64> = sample.hypers.iter().map(|&x| f64::from(x)).collect();
    let known = match cut {
        Some(_) => values(old, &sample.inputs, &sample.states, &hypers, Rounding::Double).ok()?,
        None => Vec::new(),
    };
    let mut needed = vec![false; old.value_count()];
    let written = kept.writes.iter().map(|(_, value)| value);
    kept.outputs.iter().chain(written).for_each(|value| needed[value.index()] = true);
    for node in old.nodes().iter().rev() {
        if node.results.iter().any(|value| needed[value.index()] && Some(*value) != cut) {
            node.args.iter().for_each(|arg| needed[arg.index()] = true);
        }
    }
    let mut new = Program::new(old.name.clone());
    let program = Program::default();
    let mut made = Sample { program, inputs: vec![], states: vec![], hypers: vec![], gradients: None };
    let mut map: Vec<Option<Value>> = vec![None; old.value_count()];
    let mut states = Vec::new();
    for node in old.nodes() {
        let written =
            matches!(node.op, Op::State(port) if kept.writes.iter().any(|&(state, _)| state == port));
        let used = node.results.iter().any(|value| needed[value.index()] && Some(*value) != cut);
        let mut results = Vec::new();
        if used || written {
            results = match &node.op {
                Op::Input(port) => {
                    made.inputs.push(sample.inputs[*port].clone());
                    vec![new.input(old.inputs[*port].name.clone(), old.ty(node.results[0]).clone())]
                }
                Op::State(port) => {
                    made.states.push(sample.states[*port].clone());
                    states.push(*port);
                    vec![new.state(old.states[*port].name.clone(), old.ty(node.results[0]).clone())]
                }
                Op::Hyper(port) => {
                    made.hypers.push(sample.hypers[*port]);
                    vec![new.hyper(old.hypers[*port].name.clone())]
                }
                _ => {
                    let args: Vec<Value> =
                        node.args.iter().map(|arg| map[arg.index()]).collect::<Option<_>>()?;
                    new.copy_node(node, &args).ok()?
                }
            };
        }
        for (value, result) in node.results.iter().zip(results) {
            map[value.index()] = Some(result);
        }
        if let Some(value) = cut.filter(|value| node.results.contains(value) && needed[value.index()]) {
            made.inputs.push(to_type(&known[value.index()])?);
            map[value.index()] = Some(new.input(format!("cut{}", value.0), old.ty(value).clone()));
        }
    }
    for (index, value) in kept.outputs.iter().enumerate() {
        new.output(format!("y{index}"), map[value.index()]?);
    }
    for (index, port) in states.into_iter().enumerate() {
        if let Some((_, value)) = kept.writes.iter().find(|(state, _)| *state == port) {
            new.write(index, map[value.index()]?).ok()?;
        }
    }
    made.program = new;
    Some(made)
}

fn to_type(numbers: &Numbers) -> Option<Numbers> {
    let dtype = numbers.ty().dtype;
    Numbers::new(numbers.ty().clone(), numbers.elements().iter().map(|&x| dtype.round(x)).collect())
}
