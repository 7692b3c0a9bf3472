//! Cases as data: programs with inputs and expected results.
//!
//! ```text
//! case ops/unary/relu
//! tolerance 1e-6
//! program relu {
//!   %x: f32[3] = input "x"
//!   %y = relu %x
//!   output "y" = %y
//! }
//! input "x" = [-1, nan, 2]
//! expect "y" = [0, nan, 2]
//! ```
//!
//! Elements stand in a list or come from `uniform(seed, low, high)` or `integers(seed, low, high)` (both ends
//! included), which take the words of Philox with key `(seed, 0)`; floats are rounded to their type. `state` and
//! `hyper` lines give the other ports, `expect state` the states after the run. `differentiate "loss" by "x", "w"`
//! appends gradients to the program, as outputs `gradient x` and `gradient w`; `not smooth` behind it says that finite
//! differences make no sense. Everything else that a case does not name is an error, as is an output without an
//! expectation.

use dropforge_ir::gradient::append_gradients;
use dropforge_ir::interpret::Numbers;
use dropforge_ir::random::random_bits;
use dropforge_ir::text::parse;
use dropforge_ir::{Program, Value, ValueType};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The tolerance of a case that states none.
const DEFAULT_TOLERANCE: f64 = 1e-6;

/// What the finite differences of a case check.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Position of the loss among the program's outputs.
    pub loss: usize,
    /// The values that it is differentiated by.
    pub by: Vec<Value>,
    /// The outputs that hold the gradients, in the same order.
    pub outputs: Vec<usize>,
    /// Whether finite differences make sense.
    pub smooth: bool,
}

/// A program with everything that it is given and should give.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique, with slashes.
    pub name: String,
    /// Allowed difference: absolute for expected values up to 1, relative beyond.
    pub tolerance: f64,
    /// With gradients appended.
    pub program: Program,
    /// In the order of the program's inputs.
    pub inputs: Vec<Numbers>,
    /// In the order of the program's states.
    pub states: Vec<Numbers>,
    /// In the order of the program's hyperparameters.
    pub hypers: Vec<f32>,
    /// In the order of the program's outputs.
    pub expected: Vec<Numbers>,
    /// In the order of the program's states; those that the case says nothing about are expected unchanged.
    pub expected_states: Vec<Numbers>,
    /// If the program has appended gradients.
    pub gradients: Option<Gradients>,
}

/// Every case in the folder `cases/conformance` of the repository, in the order of file names.
///
/// # Errors
/// If a file cannot be read or parsed, or two cases have one name; the message names the file and the line.
pub fn all_cases() -> Result<Vec<Case>, String> {
    let mut files = Vec::new();
    list_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/conformance"), &mut files)?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        cases.extend(parse_cases(&text).map_err(|message| format!("{name}, {message}"))?);
    }
    let mut seen = std::collections::HashSet::new();
    match cases.iter().find(|case| !seen.insert(&case.name)) {
        Some(case) => Err(format!("two cases are named {}", case.name)),
        None => Ok(cases),
    }
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            list_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads all cases of a text.
///
/// # Errors
/// Names the line, from 1, and what is wrong.
pub fn parse_cases(text: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let mut draft: Option<Draft> = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let at = |message: String| format!("line {}: {message}", index + 1);
        if line.trim().is_empty() || line.starts_with("//") {
            continue;
        }
        if let Some(name) = line.strip_prefix("case ") {
            if let Some(draft) = draft.take() {
                cases.push(draft.finish()?);
            }
            draft = Some(Draft::new(name.trim(), index + 1));
            continue;
        }
        let Some(draft) = &mut draft else { return Err(at("expected `case`".into())) };
        if line.starts_with("program ") {
            let mut program = format!("{line}\n");
            for (_, line) in lines.by_ref() {
                program += line;
                program.push('\n');
                if line == "}" {
                    break;
                }
            }
            draft.program =
                parse(&program).map_err(|error| at(format!("in the program that starts here, {error}")))?;
        } else {
            draft.line(line).map_err(at)?;
        }
    }
    if let Some(draft) = draft {
        cases.push(draft.finish()?);
    }
    Ok(cases)
}

/// A case while it is read: texts by the name of the port.
struct Draft {
    name: String,
    line: usize,
    tolerance: f64,
    program: Program,
    /// By sort (`input`, `state`, `hyper`, `expect`, `expect state`) and name.
    elements: HashMap<(&'static str, String), String>,
    differentiate: Option<(String, Vec<String>)>,
    smooth: bool,
}

impl Draft {
    fn new(name: &str, line: usize) -> Draft {
        Draft {
            name: name.into(),
            line,
            tolerance: DEFAULT_TOLERANCE,
            program: Program::default(),
            elements: HashMap::new(),
            differentiate: None,
            smooth: true,
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(tolerance) = line.strip_prefix("tolerance ") {
            self.tolerance = tolerance.trim().parse().map_err(|_| format!("{tolerance} is no number"))?;
            return Ok(());
        }
        if line == "not smooth" {
            self.smooth = false;
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("differentiate ") {
            let (loss, by) = rest.split_once(" by ").ok_or("expected `differentiate \"loss\" by \"x\"`")?;
            let by = by.split(',').map(unquote).collect::<Result<_, _>>()?;
            self.differentiate = Some((unquote(loss)?, by));
            return Ok(());
        }
        for sort in ["input", "state", "hyper", "expect state", "expect"] {
            let Some(rest) = line.strip_prefix(sort).and_then(|rest| rest.strip_prefix(' ')) else {
                continue;
            };
            let (name, elements) = rest.split_once(" = ").ok_or("expected `=`")?;
            if self.elements.insert((sort, unquote(name)?), elements.trim().into()).is_some() {
                return Err(format!("{sort} {name} stands there twice"));
            }
            return Ok(());
        }
        Err(format!("cannot read `{line}`"))
    }

    fn finish(mut self) -> Result<Case, String> {
        let place = format!("case {} (line {})", self.name, self.line);
        self.build().map_err(|message| format!("{place}: {message}"))
    }

    fn build(&mut self) -> Result<Case, String> {
        let gradients = self.append_gradients()?;
        let program = std::mem::take(&mut self.program);
        let mut take = |sort: &'static str, name: &str, ty: &ValueType| {
            let text = self.elements.remove(&(sort, name.to_string()));
            text.map(|text| elements(&text, ty).map_err(|message| format!("{sort} {name:?}: {message}")))
                .transpose()
        };
        let missing = |sort: &str, name: &str| format!("there is no line for {sort} {name:?}");
        let mut inputs = Vec::new();
        for port in &program.inputs {
            let numbers = take("input", &port.name, program.ty(port.value))?;
            inputs.push(numbers.ok_or_else(|| missing("input", &port.name))?);
        }
        let (mut states, mut expected_states) = (Vec::new(), Vec::new());
        for port in &program.states {
            let numbers = take("state", &port.name, program.ty(port.value))?;
            states.push(numbers.ok_or_else(|| missing("state", &port.name))?);
            let after = take("expect state", &port.name, program.ty(port.value))?;
            if after.is_none() && port.write.is_some_and(|value| value != port.value) {
                return Err(missing("expect state", &port.name));
            }
            expected_states.push(after.unwrap_or_else(|| states[states.len() - 1].clone()));
        }
        let mut hypers = Vec::new();
        for port in &program.hypers {
            let numbers = take("hyper", &port.name, program.ty(port.value))?;
            hypers.push(numbers.ok_or_else(|| missing("hyper", &port.name))?.elements()[0] as f32);
        }
        let mut expected = Vec::new();
        for port in &program.outputs {
            let numbers = take("expect", &port.name, program.ty(port.value))?;
            expected.push(numbers.ok_or_else(|| missing("expect", &port.name))?);
        }
        if let Some((sort, name)) = self.elements.keys().next() {
            return Err(format!("the program has no port for {sort} {name:?}"));
        }
        let (name, tolerance) = (self.name.clone(), self.tolerance);
        Ok(Case { name, tolerance, program, inputs, states, hypers, expected, expected_states, gradients })
    }

    fn append_gradients(&mut self) -> Result<Option<Gradients>, String> {
        let Some((loss_name, names)) = &self.differentiate else { return Ok(None) };
        let program = &mut self.program;
        let loss = program.outputs.iter().position(|output| output.name == *loss_name);
        let loss = loss.ok_or_else(|| format!("there is no output {loss_name:?} to differentiate"))?;
        let port = |name: &String| {
            let inputs = program.inputs.iter().chain(&program.hypers).map(|port| (&port.name, port.value));
            let mut ports = inputs.chain(program.states.iter().map(|port| (&port.name, port.value)));
            let found = ports.find(|(other, _)| *other == name);
            found
                .map(|(_, value)| value)
                .ok_or_else(|| format!("there is no port {name:?} to differentiate by"))
        };
        let by: Vec<Value> = names.iter().map(port).collect::<Result<_, _>>()?;
        let loss_value = program.outputs[loss].value;
        let gradients = append_gradients(program, loss_value, &by).map_err(|error| error.to_string())?;
        let first = program.outputs.len();
        for (name, &gradient) in names.iter().zip(&gradients) {
            program.output(format!("gradient {name}"), gradient);
        }
        let outputs = (first..program.outputs.len()).collect();
        Ok(Some(Gradients { loss, by, outputs, smooth: self.smooth }))
    }
}

fn unquote(text: &str) -> Result<String, String> {
    let inner = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.map(String::from).ok_or_else(|| format!("expected a name in quotes, found `{text}`"))
}

fn elements(text: &str, ty: &ValueType) -> Result<Numbers, String> {
    let number = |text: &str| {
        let text = text.trim();
        text.parse::<f64>().map_err(|_| format!("{text} is no number"))
    };
    let count = ty.shape.elements();
    let (name, inside) = match text.strip_prefix('[') {
        Some(list) => ("", list.strip_suffix(']').ok_or("the list is not closed")?),
        None => {
            let (name, rest) = text.split_once('(').unwrap_or(("", text));
            (name, rest.strip_suffix(')').unwrap_or(rest))
        }
    };
    let parts = inside.split(',').filter(|part| !part.trim().is_empty());
    let mut numbers: Vec<f64> = parts.map(number).collect::<Result<_, _>>()?;
    if !name.is_empty() {
        let [seed, low, high] = numbers[..] else { return Err(format!("{name} takes a seed, low and high")) };
        let words = random_bits([seed as u32, 0], 0, 0, count).into_iter();
        numbers = match name {
            "uniform" => {
                words.map(|word| low + (high - low) * (f64::from(word >> 8) / 16_777_216.0)).collect()
            }
            "integers" => words.map(|word| low + f64::from(word) % (high - low + 1.0)).collect(),
            _ => return Err(format!("there is no generator {name}")),
        };
    }
    numbers.iter_mut().for_each(|x| *x = ty.dtype.round(*x));
    let given = numbers.len();
    Numbers::new(ty.clone(), numbers).ok_or_else(|| format!("{given} elements of these values are no {ty}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
case a/b
tolerance 0.5
program p {
  %x: f32[2] = input "x"
  %w: i32[3] = state "w"
  %r = hyper "rate"
  %y = relu %x
  output "y" = %y
}
input "x" = uniform(1, -1.0, 1.0)
state "w" = integers(2, -3, 3)
hyper "rate" = 0.25
expect "y" = [0, nan]
"#;

    #[test]
    fn a_case_is_read_as_documented() {
        let case = &parse_cases(TEXT).unwrap()[0];
        assert_eq!((case.name.as_str(), case.tolerance, case.hypers.as_slice()), ("a/b", 0.5, &[0.25][..]));
        let words = random_bits([1, 0], 0, 0, 1);
        let first = (-1.0 + 2.0 * f64::from(words[0] >> 8) / 16_777_216.0) as f32;
        assert_eq!(case.inputs[0].elements()[0], f64::from(first));
        assert!(case.states[0].elements().iter().all(|x| (-3.0..=3.0).contains(x) && x.fract() == 0.0));
        assert!(case.expected[0].elements()[1].is_nan());
        assert_eq!(case.expected_states, case.states);
    }

    #[test]
    fn what_is_missing_or_superfluous_is_an_error() {
        let check = |from: &str, to: &str, expected: &str| {
            assert_eq!(parse_cases(&TEXT.replace(from, to)).unwrap_err(), expected);
        };
        check("hyper \"rate\" = 0.25\n", "", "case a/b (line 2): there is no line for hyper \"rate\"");
        check("expect \"y\"", "expect \"z\"", "case a/b (line 2): there is no line for expect \"y\"");
        check("[0, nan]", "[0]", "case a/b (line 2): expect \"y\": 1 elements of these values are no f32[2]");
        check("[0, nan]", "[0, no]", "case a/b (line 2): expect \"y\": no is no number");
        check("state \"w\" =", "state \"w\"", "line 12: expected `=`");
        check("case a/b", "", "line 3: expected `case`");
        check(
            "relu %x",
            "relu %z",
            "line 4: in the program that starts here, parse: line 5: %z is not defined above",
        );
    }
}
