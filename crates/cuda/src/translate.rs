//! From WGSL, as `dropforge-wgsl` prints it, to CUDA C.
//!
//! Expressions are the same in both, once types and functions of WGSL are there by their names (`prelude.cu`); what
//! differs are declarations, which are rewritten token by token. Functions that reach buffers, parameters or workgroup
//! memory become lambdas of the entry point, so that they see its parameters; the others become functions of the
//! device.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What every kernel begins with.
pub const PRELUDE: &str = include_str!("prelude.cu");

/// What those with cooperative matrices go on with.
pub const MATRICES: &str = include_str!("matrices.cu");

/// Functions in place of those of the printers.
const FUNCTIONS: &str = include_str!("functions.wgsl");

/// The name of the entry point.
pub const ENTRY: &str = "dropforge";

/// A kernel in CUDA C. It takes its parameters by value, then a pointer for each buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The text, without the prelude.
    pub source: String,
    /// Threads of a block.
    pub threads: u32,
    /// Words of parameters.
    pub parameters: usize,
    /// Whether it goes through cooperative matrices.
    pub uses_matrices: bool,
}

/// Functions of the printed text that the prelude has in a faster form.
const OWN: [&str; 2] = ["f_exp", "f_sigmoid"];

/// Functions of WGSL that are called otherwise here.
const RENAMED: [&str; 17] = [
    "abs",
    "atomicAdd",
    "atomicLoad",
    "atomicStore",
    "ceil",
    "clamp",
    "dot",
    "floor",
    "fma",
    "max",
    "min",
    "round",
    "select",
    "sign",
    "sqrt",
    "trunc",
    "half",
];

/// Splits a text into words, numbers and operators.
fn tokens(text: &str) -> Vec<&str> {
    const LONG: [&str; 21] = [
        "<<=", ">>=", "/=", "%=", "&=", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "->", "++", "--",
        "+=", "-=", "*=", "^=", "|=",
    ];
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
            continue;
        }
        let bytes = rest.as_bytes();
        let length = if first.is_ascii_digit() {
            let mut end = 1;
            while end < bytes.len() {
                let (before, now) = (bytes[end - 1], bytes[end]);
                let is_exponent = matches!(before, b'e' | b'E') && !rest.starts_with("0x");
                if now.is_ascii_alphanumeric() || now == b'.' || (is_exponent && matches!(now, b'+' | b'-')) {
                    end += 1;
                } else {
                    break;
                }
            }
            end
        } else if first.is_ascii_alphabetic() || first == '_' {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            LONG.iter().find(|long| rest.starts_with(**long)).map_or(first.len_utf8(), |long| long.len())
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

/// A reader of tokens.
struct Reader<'a, 'b> {
    tokens: &'b [&'a str],
    at: usize,
}

impl<'a> Reader<'a, '_> {
    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or("")
    }

    fn next(&mut self) -> Result<&'a str, String> {
        let token = self.tokens.get(self.at).copied().ok_or("the text ends early")?;
        self.at += 1;
        Ok(token)
    }

    fn takes(&mut self, token: &str) -> bool {
        let is_there = self.peek() == token;
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.takes(token) {
            Ok(())
        } else {
            Err(format!("`{token}` is expected before `{}`", self.peek()))
        }
    }

    /// A type, up to a token that does not belong to it.
    fn ty(&mut self) -> Result<String, String> {
        let mut text = self.next()?.to_string();
        if self.peek() != "<" {
            return Ok(text);
        }
        let mut depth = 0i32;
        loop {
            let token = self.next()?;
            depth += match token {
                "<" => 1,
                ">" => -1,
                ">>" => -2,
                _ => 0,
            };
            text.push_str(token);
            if depth <= 0 {
                return Ok(text);
            }
        }
    }

    /// What stands between braces, of which the first comes next.
    fn block(&mut self) -> Result<&[&'a str], String> {
        self.expect("{")?;
        let start = self.at;
        let mut depth = 1;
        while depth > 0 {
            depth += match self.next()? {
                "{" => 1,
                "}" => -1,
                _ => 0,
            };
        }
        Ok(&self.tokens[start..self.at - 1])
    }
}

/// A number as C writes it: without a suffix, what has a point or exponent would be double.
fn number(token: &str) -> String {
    let is_hex = token.starts_with("0x") || token.starts_with("0X");
    let has_suffix = token.ends_with(['u', 'i', 'f', 'h']);
    match () {
        () if !is_hex && !has_suffix && token.contains(['.', 'e', 'E']) => format!("{token}f"),
        () if !is_hex && token.ends_with('i') => token.trim_end_matches('i').to_string(),
        () => token.to_string(),
    }
}

/// A name as it is called here.
fn renamed(name: &str) -> String {
    if RENAMED.contains(&name) { format!("w_{name}") } else { name.to_string() }
}

/// Statements in C.
fn statements(tokens: &[&str]) -> Result<String, String> {
    let mut reader = Reader { tokens, at: 0 };
    let mut text = String::new();
    while reader.at < tokens.len() {
        let token = reader.next()?;
        match token {
            "let" | "var" => {
                let name = reader.next()?;
                let ty = if reader.takes(":") { reader.ty()? } else { "auto".into() };
                let constant = if token == "let" { "const " } else { "" };
                let name = renamed(name);
                // Writing to a string cannot fail.
                let _ = write!(text, "{constant}{ty} {name} ");
                if reader.peek() == ";" {
                    let _ = write!(text, "= {ty}()");
                }
            }
            ";" | "{" | "}" => {
                text.push_str(token);
                text.push('\n');
            }
            _ if token.starts_with(|c: char| c.is_ascii_digit()) => {
                text.push_str(&number(token));
                text.push(' ');
            }
            _ if RENAMED.contains(&token) => {
                let _ = write!(text, "w_{token}");
            }
            "." => {
                text.truncate(text.trim_end().len());
                text.push('.');
                // A member's name is never a function's.
                text.push_str(reader.next()?);
                text.push(' ');
            }
            _ => {
                text.push_str(token);
                text.push(' ');
            }
        }
    }
    Ok(text)
}

/// A function of the module.
struct Function {
    name: String,
    /// `u32 a, f32 b`.
    parameters: String,
    returns: String,
    body: String,
    /// The names in its body.
    mentions: BTreeSet<String>,
}

impl Function {
    /// Behind `fn`.
    fn read(reader: &mut Reader<'_, '_>) -> Result<Function, String> {
        let name = reader.next()?.to_string();
        reader.expect("(")?;
        let mut parameters = Vec::new();
        while !reader.takes(")") {
            let parameter = renamed(reader.next()?);
            reader.expect(":")?;
            parameters.push(format!("{} {parameter}", reader.ty()?));
            reader.takes(",");
        }
        let returns = if reader.takes("->") { reader.ty()? } else { "void".into() };
        let block = reader.block()?;
        let mentions = block.iter().map(|token| token.to_string()).collect();
        let body = statements(block)?;
        Ok(Function { name, parameters: parameters.join(", "), returns, body, mentions })
    }
}

/// Translates a kernel.
///
/// # Errors
/// If the text is not of the sort that `dropforge-wgsl` prints; the message says what was met.
pub fn translate(source: &str) -> Result<Translated, String> {
    let all = tokens(source);
    let mut reader = Reader { tokens: &all, at: 0 };
    let mut buffers: Vec<(String, String, bool)> = Vec::new();
    let mut shared: Vec<(String, String)> = Vec::new();
    let mut functions: BTreeMap<String, Function> = BTreeMap::new();
    let mut parameters = 0;
    let mut entry: Option<(u32, Vec<&str>, Function)> = None;
    while reader.at < all.len() {
        match reader.next()? {
            "enable" => while reader.next()? != ";" {},
            "var" => {
                reader.expect("<")?;
                reader.expect("workgroup")?;
                reader.expect(">")?;
                let name = reader.next()?.to_string();
                reader.expect(":")?;
                shared.push((name, reader.ty()?));
                reader.expect(";")?;
            }
            "fn" => {
                let function = Function::read(&mut reader)?;
                if OWN.contains(&function.name.as_str()) {
                    continue;
                }
                functions.insert(function.name.clone(), function);
            }
            "@" => match reader.next()? {
                "group" => {
                    // (0) @binding(n) var<…> name: type;
                    while !reader.takes("var") {
                        reader.next()?;
                    }
                    let kind = reader_kind(&mut reader)?;
                    let name = reader.next()?.to_string();
                    reader.expect(":")?;
                    let ty = reader.ty()?;
                    reader.expect(";")?;
                    let element = ty.strip_prefix("array<").and_then(|ty| ty.strip_suffix('>'));
                    let element = element.ok_or_else(|| format!("a buffer of {ty}"))?;
                    if kind == "uniform" {
                        let count = element.rsplit_once(',').ok_or("parameters without a number")?.1;
                        parameters = 4 * count.trim().parse::<usize>().map_err(|error| error.to_string())?;
                    } else {
                        buffers.push((name, element.to_string(), kind.ends_with("read_write")));
                    }
                }
                "compute" => {
                    reader.expect("@")?;
                    reader.expect("workgroup_size")?;
                    reader.expect("(")?;
                    let threads = reader.next()?.parse().map_err(|_| "a size that is no number")?;
                    reader.expect(")")?;
                    reader.expect("fn")?;
                    reader.expect("main")?;
                    let from = reader.at;
                    while reader.peek() != "{" {
                        reader.next()?;
                    }
                    let given = all[from..reader.at].to_vec();
                    let block = reader.block()?;
                    let mentions = block.iter().map(|token| token.to_string()).collect();
                    let body = statements(block)?;
                    let (name, nothing) = (ENTRY.to_string(), String::new);
                    entry = Some((
                        threads,
                        given,
                        Function { name, parameters: nothing(), returns: nothing(), body, mentions },
                    ));
                }
                other => return Err(format!("`@{other}` is not known")),
            },
            other => return Err(format!("`{other}` is not known")),
        }
    }
    let (threads, given, main) = entry.ok_or("there is no entry point")?;
    replace(&mut functions)?;
    let mut text = String::new();
    let inside = inner(&functions, &buffers, &shared);
    print_outer(&mut text, &functions, &inside);
    // Writing to a string cannot fail.
    for (name, ty) in &shared {
        let _ = writeln!(text, "__shared__ {ty} {name};");
    }
    let _ = write!(
        text,
        "extern \"C\" __global__ void __launch_bounds__({threads}) {ENTRY}(const __grid_constant__ Parameters<{}u> P",
        parameters / 4
    );
    for (name, ty, written) in &buffers {
        let constant = if *written { "" } else { "const " };
        let _ = write!(text, ", {constant}{ty}* __restrict__ {name}");
    }
    text.push_str(") {\nconst vec3<u32> wid(blockIdx.x, blockIdx.y, blockIdx.z);\n");
    if given.contains(&"subgroup_id") {
        text.push_str(
            "const u32 subgroup = threadIdx.x >> 5, subgroup_lanes = 32u, subgroup_lane = threadIdx.x & 31u;\n",
        );
    } else {
        text.push_str("const u32 lid = threadIdx.x;\n");
    }
    for name in &inside {
        let Function { parameters, returns, body, .. } = &functions[name];
        let _ = writeln!(
            text,
            "const auto {name} = [&]({parameters}) DROPFORGE_INLINE -> {returns} {{\n{body}}};"
        );
    }
    text.push_str(&main.body);
    text.push_str("}\n");
    let uses_matrices = main.mentions.contains("coopMultiplyAdd");
    Ok(Translated { source: text, threads, parameters, uses_matrices })
}

/// Puts the functions of this language in place of those of the printers, where there are such.
fn replace(functions: &mut BTreeMap<String, Function>) -> Result<(), String> {
    let all = tokens(FUNCTIONS);
    let mut reader = Reader { tokens: &all, at: 0 };
    while reader.takes("fn") {
        let function = Function::read(&mut reader)?;
        if let Some(replaced) = functions.get_mut(&function.name) {
            *replaced = function;
        }
    }
    Ok(())
}

/// What stands in the angles of `var<…>`.
fn reader_kind(reader: &mut Reader<'_, '_>) -> Result<String, String> {
    reader.expect("<")?;
    let mut kind = String::new();
    while !reader.takes(">") {
        kind.push_str(reader.next()?);
    }
    Ok(kind)
}

/// The functions that reach what only the entry point has, each behind those that it calls.
fn inner(
    functions: &BTreeMap<String, Function>,
    buffers: &[(String, String, bool)],
    shared: &[(String, String)],
) -> Vec<String> {
    let mut reached: BTreeSet<String> = buffers.iter().map(|(name, ..)| name.clone()).collect();
    reached.extend(shared.iter().map(|(name, _)| name.clone()));
    reached.insert("P".into());
    let mut inside: BTreeSet<String> = BTreeSet::new();
    loop {
        let found: Vec<String> = functions
            .values()
            .filter(|function| !inside.contains(&function.name))
            .filter(|function| function.mentions.iter().any(|name| reached.contains(name)))
            .map(|function| function.name.clone())
            .collect();
        if found.is_empty() {
            break;
        }
        reached.extend(found.iter().cloned());
        inside.extend(found);
    }
    let mut order: Vec<String> = Vec::new();
    while order.len() < inside.len() {
        let before = order.len();
        for name in &inside {
            let waits = functions[name]
                .mentions
                .iter()
                .any(|other| other != name && inside.contains(other) && !order.contains(other));
            if !order.contains(name) && !waits {
                order.push(name.clone());
            }
        }
        if order.len() == before {
            // Functions that call each other do not occur; the compiler would say so.
            order.extend(inside.iter().filter(|name| !order.contains(name)).cloned().collect::<Vec<_>>());
        }
    }
    order
}

/// The other functions; all are declared first, so that their order does not matter.
fn print_outer(text: &mut String, functions: &BTreeMap<String, Function>, inside: &[String]) {
    let outer = || functions.values().filter(|function| !inside.contains(&function.name));
    for Function { name, parameters, returns, .. } in outer() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "__device__ __forceinline__ {returns} {name}({parameters});");
    }
    for Function { name, parameters, returns, body, .. } in outer() {
        let _ = writeln!(text, "__device__ __forceinline__ {returns} {name}({parameters}) {{\n{body}}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "enable f16;
@group(0) @binding(0) var<uniform> P: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> b2: array<u32>;
var<workgroup> kept: array<vec4<f32>, 8>;
fn f_div(a: f32, b: f32) -> f32 { return f_long(a) / b; }
fn f_long(a: f32) -> f32 { return a; }
fn load(i: u32) -> f32 { return f32(b1[(P[0].x + i) >> 2u][i & 3u]); }
fn doubled(i: u32) -> f32 { return load(i) * 2.0; }
// A remark.
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let wg = wid.x + 1u * wid.y;
    var sum: f32 = 1e-3;
    for (var i = 0u; i < 4u; i++) { sum += f_div(doubled(i), 3.0); }
    kept[lid & 7u] = vec4<f32>(min(sum, 0x7fu));
    workgroupBarrier();
    b2[lid] = bitcast<u32>(kept[0u].x);
}
";

    #[test]
    fn declarations_are_those_of_c() {
        let translated = translate(SOURCE).unwrap();
        assert_eq!((translated.threads, translated.parameters, translated.uses_matrices), (64, 8, false));
        let text = translated.source.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "__shared__ array<vec4<f32>,8> kept;",
            "__launch_bounds__(64) dropforge(const __grid_constant__ Parameters<2u> P, const vec4<f16>* __restrict__ b1, u32* __restrict__ b2)",
            "const u32 lid = threadIdx.x;",
            "f32 sum = 1e-3f ;",
            "for ( auto i = 0u ;",
            "w_min( sum , 0x7fu )",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        // What reaches buffers comes inside, behind what it calls; a function of this language is in the place of its
        // namesake.
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in\n{text}"));
        assert!(at("dropforge(") < at("const auto load = [&](u32 i)"));
        assert!(at("const auto load =") < at("const auto doubled ="));
        assert!(at("__device__ __forceinline__ f32 f_div(f32 a, f32 b) { return a / b ;") < at("dropforge("));
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for (text, part) in [
            ("struct S { x: u32 }", "`struct`"),
            ("@vertex fn main() {}", "`@vertex`"),
            ("fn f() { let x = ", "ends"),
            ("fn f(a: u32) -> u32 { return a; }", "entry point"),
        ] {
            let error = translate(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_with_a_point_are_single() {
        let found = ["1.5", "2e9", "0x1fu", "7", "3i", "1.5f", "0xe"].map(number);
        assert_eq!(found, ["1.5f", "2e9f", "0x1fu", "7", "3", "1.5f", "0xe"]);
    }
}
