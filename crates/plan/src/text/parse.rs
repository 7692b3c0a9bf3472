//! Parsing.

use super::print::REDUCTIONS;
use crate::kernel::{
    Access, Affine, Domain, Instance, Instruction, Level, LoopKernel, Reduce, Reduction, Register,
    RegisterInfo, Stage,
};
use crate::plan::{Argument, BufferInfo, Kernel, Place, Plan, Work, touched_by};
use dropforge_ir::text::{Line, Parsed};
use dropforge_ir::{BinaryKind, CompareKind, DType, Error, Op, Program, Result, UnaryKind, Value};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Reads one plan from its text form. The buffers and registers that kernels name exist then; whether the plan does
/// what its program says is not looked at: see [`verify`](crate::verify::verify).
///
/// # Errors
/// Names the line, from 1, and what was expected there.
pub fn parse(text: &str) -> Result<Plan> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| line.trim() == "}").map_or(lines.len(), |end| end + 1);
    let program = dropforge_ir::text::parse(&lines[..end].join("\n"))?;
    let mut parser = Parser { lines: &lines, at: end, program: &program };
    let plan = parser.plan().map_err(|message| {
        let line = parser.at.min(lines.len());
        Error::new("parse", format!("line {line}: {message}"))
    })?;
    Ok(Plan { program, ..plan })
}

struct Parser<'a> {
    lines: &'a [&'a str],
    /// Lines that were read.
    at: usize,
    program: &'a Program,
}

impl<'a> Parser<'a> {
    /// The next line that says something.
    fn line(&mut self) -> Parsed<Line<'a>> {
        while let Some(&line) = self.lines.get(self.at) {
            self.at += 1;
            let mut line = Line::new(line);
            if !line.at_end() {
                return Ok(line);
            }
        }
        Err("expected `}`, found the end of the text".into())
    }

    fn plan(&mut self) -> Parsed<Plan> {
        let mut line = self.line()?;
        line.expect("plan")?;
        line.expect(",")?;
        line.expect("arena")?;
        let arena_bytes = number(&mut line)?;
        line.expect(",")?;
        line.expect("at")?;
        line.expect("least")?;
        let lower_bound_bytes = number(&mut line)?;
        line.expect("{")?;
        line.end()?;
        let mut plan = Plan {
            program: Program::default(),
            kernels: Vec::new(),
            buffers: Vec::new(),
            constants: Vec::new(),
            arena_bytes,
            lower_bound_bytes,
            touched_by: Vec::new(),
        };
        let mut constants = BTreeMap::new();
        loop {
            let mut line = self.line()?;
            if line.eat("}") {
                line.end()?;
                break;
            } else if line.eat("call") {
                let kernel = self.call(&mut line, plan.buffers.len())?;
                plan.kernels.push(kernel);
            } else if line.eat("copy") {
                let from = numbered(&mut line, 'b', plan.buffers.len())?;
                line.expect("to")?;
                let to = numbered(&mut line, 'b', plan.buffers.len())?;
                let kernel = self.remarks(&mut line, Work::Copy { from, to })?;
                line.end()?;
                plan.kernels.push(kernel);
            } else if line.eat("loop") {
                let kernel = self.body(&mut line, plan.buffers.len())?;
                plan.kernels.push(kernel);
            } else {
                let expected = plan.buffers.len();
                if numbered(&mut line, 'b', usize::MAX)? != expected {
                    return Err(format!("expected buffer b{expected}, a kernel or `}}`"));
                }
                line.expect("=")?;
                let info = self.buffer(&mut line)?;
                if let (Place::Constant(number), Op::Constant(literal)) =
                    (info.place, &self.program.definition(info.value).op)
                {
                    constants.insert(number, literal.clone());
                }
                plan.buffers.push(info);
            }
        }
        while self.at < self.lines.len() {
            let mut line = Line::new(self.lines[self.at]);
            self.at += 1;
            line.end()?;
        }
        if !constants.keys().copied().eq(0..constants.len()) {
            return Err("constants are not numbered from 0".into());
        }
        plan.constants = constants.into_values().collect();
        plan.touched_by = touched_by(&plan.kernels, plan.buffers.len());
        Ok(plan)
    }

    fn value(&self, line: &mut Line<'_>) -> Parsed<Value> {
        let name = line.value_name("a value such as %0")?;
        let value = name.parse().ok().filter(|&number: &u32| (number as usize) < self.program.value_count());
        value.map(Value).ok_or_else(|| format!("%{name} is no value of the program"))
    }

    fn buffer(&self, line: &mut Line<'_>) -> Parsed<BufferInfo> {
        let value = self.value(line)?;
        line.expect("in")?;
        let sort = line.word("the place of the buffer", |c| c.is_ascii_alphabetic())?;
        let number = number(line)?;
        line.end()?;
        let program = self.program;
        let port = |ports: usize, place: Place| {
            (number < ports).then_some(place).ok_or_else(|| format!("there is no {sort} {number}"))
        };
        let place = match sort {
            "input" => port(program.inputs.len(), Place::Input(number))?,
            "state" => port(program.states.len(), Place::State(number))?,
            "hyper" => port(program.hypers.len(), Place::Hyper(number))?,
            "output" => port(program.outputs.len(), Place::Output(number))?,
            "constant" if matches!(program.definition(value).op, Op::Constant(_)) => Place::Constant(number),
            "arena" => Place::Arena(number),
            _ => return Err(format!("{value} cannot lie in {sort}")),
        };
        Ok(BufferInfo { value, ty: program.ty(value).clone(), place })
    }

    /// What a kernel is for, and what a device may do with it.
    fn remarks(&self, line: &mut Line<'_>, work: Work) -> Parsed<Kernel> {
        let mut kernel = Kernel {
            work,
            nodes: Vec::new(),
            origin: Default::default(),
            is_epilogue: false,
            is_deferrable: false,
        };
        while line.eat(",") {
            if line.eat("for") {
                kernel.nodes.push(self.program.definition_id(self.value(line)?));
                while line.peeks('%') {
                    kernel.nodes.push(self.program.definition_id(self.value(line)?));
                }
            } else if line.eat("epilogue") {
                kernel.is_epilogue = true;
            } else {
                line.expect("deferrable")?;
                kernel.is_deferrable = true;
            }
        }
        Ok(kernel)
    }

    fn call(&self, line: &mut Line<'_>, buffers: usize) -> Parsed<Kernel> {
        let name =
            line.word("the name of an operation", |c| c.is_ascii_alphanumeric() || c == '_')?.to_string();
        let mut args = Vec::new();
        while line.peeks_numbered('b') {
            let buffer = numbered(line, 'b', buffers)?;
            line.expect(":")?;
            let ty = line.ty()?;
            line.expect("at")?;
            let offset = number(line)?;
            line.expect("by")?;
            line.expect("(")?;
            let strides = list(line)?;
            line.expect(")")?;
            if strides.len() != ty.shape.rank() {
                return Err(format!("{ty} has {} axes, {} steps are given", ty.shape.rank(), strides.len()));
            }
            args.push(Argument { buffer, ty, offset, strides });
            if !line.eat(",") {
                break;
            }
        }
        let op = line.operation(&name)?;
        line.expect("into")?;
        let mut results = Vec::new();
        while line.peeks_numbered('b') {
            results.push(numbered(line, 'b', buffers)?);
        }
        let kernel = self.remarks(line, Work::Call { op, args, results })?;
        line.end()?;
        Ok(kernel)
    }

    /// A loop, whose head is read up to `loop`.
    fn body(&mut self, line: &mut Line<'_>, buffers: usize) -> Parsed<Kernel> {
        let mut body = LoopKernel::default();
        while line.peeks_numbered('o') {
            if numbered(line, 'o', usize::MAX)? != body.written.len() {
                return Err(format!("expected operand o{}", body.written.len()));
            }
            body.written.push(line.eat("!"));
        }
        line.expect(",")?;
        line.expect("rows")?;
        body.row_axes = number(line)?;
        line.expect(",")?;
        line.expect("columns")?;
        body.column_axes = number(line)?;
        let mut kernel = self.remarks(line, Work::Copy { from: 0, to: 0 })?;
        line.expect("{")?;
        line.end()?;
        let mut line = self.line()?;
        body.registers = registers(&mut line)?;
        let mut instances = Vec::new();
        loop {
            let mut line = self.line()?;
            if line.eat("}") {
                line.end()?;
                break;
            } else if line.eat("over") {
                instances.push(instance(&mut line, &body, buffers)?);
            } else if line.eat("each") {
                line.end()?;
                body.stages.push(Stage::default());
                while let Some(instruction) = self.instruction(&body)? {
                    last(&mut body)?.domain.push(instruction);
                }
            } else if line.eat("reduce") {
                line.end()?;
                while let Some(reduce) = self.reduction(&body)? {
                    last(&mut body)?.reductions.push(reduce);
                }
            } else {
                line.expect("row")?;
                line.end()?;
                while let Some(instruction) = self.instruction(&body)? {
                    last(&mut body)?.row.push(instruction);
                }
            }
        }
        if instances.is_empty() {
            return Err("a loop needs an instance, such as `over (48; ) with b1 b3`".into());
        }
        kernel.work = Work::Loop { kernel: body, instances };
        Ok(kernel)
    }

    /// The next line, if it begins as an instruction does.
    fn next_if(&mut self, begins: impl Fn(&mut Line<'a>) -> bool) -> Option<Line<'a>> {
        let before = self.at;
        let mut line = self.line().ok()?;
        if begins(&mut line) {
            return Some(line);
        }
        self.at = before;
        None
    }

    fn reduction(&mut self, body: &LoopKernel) -> Parsed<Option<Reduce>> {
        let Some(mut line) = self.next_if(|line| line.peeks_numbered('r')) else { return Ok(None) };
        let mut to = vec![register(&mut line, body)?];
        while line.eat(",") {
            to.push(register(&mut line, body)?);
        }
        line.expect("=")?;
        let name = line.word("a reduction", |c| c.is_ascii_alphanumeric() || c == '_')?;
        let kind = REDUCTIONS.iter().find(|(_, other)| *other == name).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| format!("there is no reduction named {name}"))?;
        if to.len() != if kind == Reduction::MeanVariance { 2 } else { 1 } {
            return Err(format!("{name} has another number of results"));
        }
        let from = register(&mut line, body)?;
        line.end()?;
        Ok(Some(Reduce { kind, from, to }))
    }

    fn instruction(&mut self, body: &LoopKernel) -> Parsed<Option<Instruction>> {
        let begins = |line: &mut Line<'a>| line.peeks_numbered('r') || line.peeks_word("store");
        let Some(mut line) = self.next_if(begins) else { return Ok(None) };
        let line = &mut line;
        let instruction = if line.eat("store") {
            let access = access(line, body)?;
            line.expect("=")?;
            Instruction::Store { from: register(line, body)?, access }
        } else {
            let to = register(line, body)?;
            line.expect("=")?;
            computed(line, body, to)?
        };
        line.end()?;
        Ok(Some(instruction))
    }
}

/// The right side of an instruction.
fn computed(line: &mut Line<'_>, body: &LoopKernel, to: Register) -> Parsed<Instruction> {
    let name = line.word("an instruction", |c| c.is_ascii_alphanumeric() || c == '_')?.to_string();
    if let Some(kind) = UnaryKind::from_name(&name) {
        return Ok(Instruction::Unary { kind, to, x: register(line, body)? });
    }
    let mut two = || -> Parsed<(Register, Register)> {
        let a = register(line, body)?;
        line.expect(",")?;
        Ok((a, register(line, body)?))
    };
    if let Some(kind) = BinaryKind::from_name(&name) {
        let (a, b) = two()?;
        return Ok(Instruction::Binary { kind, to, a, b });
    }
    if let Some(kind) = CompareKind::from_name(&name) {
        let (a, b) = two()?;
        return Ok(Instruction::Compare { kind, to, a, b });
    }
    Ok(match name.as_str() {
        "load" => Instruction::Load { to, access: access(line, body)? },
        "immediate" => {
            let word = line.word("bits such as 0x3f800000", |c| c.is_ascii_alphanumeric())?;
            let bits = word.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
            Instruction::Immediate { to, bits: bits.ok_or_else(|| format!("`{word}` are no bits"))? }
        }
        "index" => Instruction::Index { to, index: position(line, body)? },
        "select" => {
            let condition = register(line, body)?;
            line.expect(",")?;
            let a = register(line, body)?;
            line.expect(",")?;
            Instruction::Select { to, condition, a, b: register(line, body)? }
        }
        "cast" => {
            let x = register(line, body)?;
            line.expect("from")?;
            let from = dtype(line)?;
            line.expect("into")?;
            Instruction::Cast { to, from, into: dtype(line)?, x }
        }
        "random_bits" => {
            let seed = numbered(line, 'o', body.written.len())?;
            line.expect(",")?;
            let step = numbered(line, 'o', body.written.len())?;
            line.expect("stream")?;
            let stream = number(line)?;
            Instruction::RandomBits { to, seed, step, stream, index: position(line, body)? }
        }
        _ => return Err(format!("there is no instruction named {name}")),
    })
}

/// The stage that is being read.
fn last(body: &mut LoopKernel) -> Parsed<&mut Stage> {
    body.stages.last_mut().ok_or_else(|| "a stage begins with `each`".to_string())
}

fn registers(line: &mut Line<'_>) -> Parsed<Vec<RegisterInfo>> {
    let mut registers = Vec::new();
    while line.peeks_numbered('r') {
        if numbered(line, 'r', usize::from(u16::MAX))? != registers.len() {
            return Err(format!("expected register r{}", registers.len()));
        }
        line.expect(":")?;
        let dtype = dtype(line)?;
        let level = if line.eat("row") { Level::Row } else { Level::Domain };
        registers.push(RegisterInfo { dtype, level });
        if !line.eat(",") {
            break;
        }
    }
    line.end()?;
    Ok(registers)
}

fn instance(line: &mut Line<'_>, body: &LoopKernel, buffers: usize) -> Parsed<Instance> {
    line.expect("(")?;
    let rows = list(line)?;
    line.expect(";")?;
    let columns = list(line)?;
    line.expect(")")?;
    if (rows.len(), columns.len()) != (body.row_axes, body.column_axes) {
        return Err("the extents of the instance are not those of the loop's axes".into());
    }
    line.expect("with")?;
    let mut operands = Vec::new();
    while line.peeks_numbered('b') {
        operands.push(numbered(line, 'b', buffers)?);
    }
    line.end()?;
    if operands.len() != body.written.len() {
        return Err(format!("the loop has {} operands", body.written.len()));
    }
    Ok(Instance { domain: Domain { rows, columns }, operands })
}

fn access(line: &mut Line<'_>, body: &LoopKernel) -> Parsed<Access> {
    let operand = numbered(line, 'o', body.written.len())?;
    line.expect(":")?;
    Ok(Access { operand, dtype: dtype(line)?, index: position(line, body)? })
}

fn position(line: &mut Line<'_>, body: &LoopKernel) -> Parsed<Affine> {
    line.expect("at")?;
    let offset = number(line)?;
    line.expect("by")?;
    line.expect("(")?;
    let rows: Vec<i64> = list(line)?;
    line.expect(";")?;
    let columns: Vec<i64> = list(line)?;
    line.expect(")")?;
    if (rows.len(), columns.len()) != (body.row_axes, body.column_axes) {
        return Err("the steps are not as many as the loop has axes".into());
    }
    Ok(Affine { offset, rows, columns })
}

fn dtype(line: &mut Line<'_>) -> Parsed<DType> {
    let name = line.word("a type such as f32", |c| c.is_ascii_alphanumeric())?;
    DType::from_name(name).ok_or_else(|| format!("there is no type named {name}"))
}

fn register(line: &mut Line<'_>, body: &LoopKernel) -> Parsed<Register> {
    let number = numbered(line, 'r', body.registers.len())?;
    u16::try_from(number).map(Register).map_err(|_| format!("there is no register r{number}"))
}

/// A name such as `b7`, of one that exists.
fn numbered(line: &mut Line<'_>, letter: char, count: usize) -> Parsed<usize> {
    let word = line.word(&format!("a name such as {letter}0"), |c| c.is_ascii_alphanumeric())?;
    let number = word.strip_prefix(letter).and_then(|digits| digits.parse().ok());
    number.filter(|&number| number < count).ok_or_else(|| format!("there is no {letter}-name {word}"))
}

fn number<T: FromStr>(line: &mut Line<'_>) -> Parsed<T> {
    let word = line.word("a number", |c| c.is_ascii_digit() || c == '-')?;
    word.parse().map_err(|_| format!("`{word}` is out of range"))
}

/// Numbers with commas between them, maybe none.
fn list<T: FromStr>(line: &mut Line<'_>) -> Parsed<Vec<T>> {
    let mut numbers = Vec::new();
    while line.peeks_digit() {
        numbers.push(number(line)?);
        if !line.eat(",") {
            break;
        }
    }
    Ok(numbers)
}
