//! A shader that converts numbers to f16 and back, to find out how a device does it.

use super::shader::{BufferId, Dispatch, Shader, Where};
use dropforge_ir::DType;

/// A thread for each number stores it as f16; another one loads it from there and stores it as f32. Buffer 0 takes the
/// f16, buffer 1 the f32.
pub fn there_and_back(numbers: &[f32]) -> Dispatch {
    let count = numbers.len();
    let place = Where { buffer: BufferId::Own(0), first: 0, dtype: DType::F16, is_packed: true };
    let mut shader = Shader::default();
    shader.param_table(&numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>());
    let halves = shader.operand_at(place, true, "0u".into());
    let result = Where::of_words(BufferId::Own(1), 0, DType::F32);
    let result = shader.operand_at(result, true, "0u".into());
    shader.line(&halves.store("lid", "bitcast<f32>(param_at(lid))"));
    shader.line("storageBarrier(); workgroupBarrier();");
    shader.line(&format!("let other = {}u - lid;", count - 1));
    shader.line(&result.store("other", &halves.load("other")));
    shader.finish("conversions to f16 and back", count, 1)
}
