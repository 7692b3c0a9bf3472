//! Shaders that do nothing but keep the device busy, to find out what it reaches at best.

use super::movement::THREADS;
use super::shader::{BufferId, Dispatch, Shader, Where};
use dropforge_ir::DType;

/// Workgroups that keep any device busy.
const GROUPS: usize = 2048;
/// Independent chains of multiply-adds of each thread, each of four numbers.
const CHAINS: usize = 8;
/// Loads of each thread that are on their way at once.
const LOADS: usize = 4;
/// Distance between the pieces that a workgroup reads one after another, in pieces: prime, so that it meets all of
/// them, in an order in which none is still near to it from the last time.
const STRIDE: usize = 61;
/// Bytes that a workgroup reads at a time.
const PIECE: u64 = THREADS as u64 * 16;

const SOURCE: Where = Where::of_words(BufferId::Own(0), 0, DType::U32);
const TARGET: Where = Where::of_words(BufferId::Own(1), 0, DType::U32);

/// Words of the target that [`multiply_adds`] and [`reads`] write.
pub const RESULT_WORDS: usize = GROUPS * THREADS;

/// Multiply-adds in registers, and the floating-point operations of one of `rounds`.
pub fn multiply_adds(rounds: u32) -> (Dispatch, f64) {
    let mut shader = Shader::default();
    let (rounds, factor) = (shader.param(rounds), shader.param(0.999f32.to_bits()));
    let target = shader.operand(TARGET, true);
    shader.line(&format!("let factor = vec4<f32>(bitcast<f32>({factor}));"));
    for chain in 0..CHAINS {
        shader.line(&format!("var c{chain} = vec4<f32>(f32(lid) + {chain}.5);"));
    }
    shader.line(&format!("for (var round = 0u; round < {rounds}; round++) {{"));
    for chain in 0..CHAINS {
        shader.line(&format!("c{chain} = fma(c{chain}, factor, factor);"));
    }
    shader.line("}");
    let sum: Vec<String> = (0..CHAINS).map(|chain| format!("c{chain}")).collect();
    shader.line(&format!("let sum = {};", sum.join(" + ")));
    let word = target.stored(&format!("(wg * {THREADS}u + lid)"));
    shader.line(&format!("{word} = bitcast<u32>(sum.x + sum.y + sum.z + sum.w);"));
    (shader.finish("multiply-adds", THREADS, GROUPS), (GROUPS * THREADS * CHAINS * 4 * 2) as f64)
}

/// Reads the first `bytes` of the source again and again, and the bytes of one of `rounds`.
pub fn reads(rounds: u32, bytes: u64) -> (Dispatch, f64) {
    let mut shader = Shader::default();
    let (rounds, pieces) = (shader.param(rounds), shader.param((bytes / PIECE) as u32));
    shader.bind_as_quads(SOURCE);
    let source = shader.operand(SOURCE, false);
    let target = shader.operand(TARGET, true);
    shader.line("var sum = vec4<u32>(0u); var piece = wg;");
    shader.line(&format!("for (var round = 0u; round < {rounds}; round++) {{"));
    for load in 0..LOADS {
        let at = format!("(((piece + {}u) % {pieces}) * {}u + lid * 4u)", load * STRIDE, THREADS * 4);
        shader.line(&format!("let load{load} = {};", source.stored_four(&at)));
    }
    let loads: Vec<String> = (0..LOADS).map(|load| format!("load{load}")).collect();
    shader.line(&format!("sum = sum ^ {}; piece += {}u; }}", loads.join(" ^ "), LOADS * STRIDE));
    let word = target.stored(&format!("(wg * {THREADS}u + lid)"));
    shader.line(&format!("{word} = sum.x ^ sum.y ^ sum.z ^ sum.w;"));
    (shader.finish("reads", THREADS, GROUPS), (GROUPS * LOADS) as f64 * PIECE as f64)
}

/// Copies the first `bytes` of the source to the target.
pub fn copy(bytes: u64) -> Dispatch {
    let mut shader = Shader::default();
    shader.bind_as_quads(SOURCE);
    shader.bind_as_quads(TARGET);
    let (source, target) = (shader.operand(SOURCE, false), shader.operand(TARGET, true));
    let at = format!("(wg * {}u + lid * 4u)", THREADS * 4);
    shader.line(&format!("{} = {};", target.stored_four(&at), source.stored_four(&at)));
    shader.finish("copy", THREADS, (bytes / PIECE) as usize)
}
