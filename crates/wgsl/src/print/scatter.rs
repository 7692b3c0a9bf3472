//! Sums by index: the transpose of gather. Where there is little to add, each element of the result looks through all
//! indices; else the positions of the updates are sorted by index first, stably and a digit at a time, so that each
//! element finds its updates side by side and adds them in a fixed order.

use super::movement::{Source, THREADS, around, number, per_element};
use super::shader::{BufferId, Dispatch, Shader, Slot, Where, wgsl_type};
use crate::tuning::{BUSY_GROUPS, FEW_COMPARISONS, FEW_INDICES};
use dropforge_ir::{DType, ValueType};
use dropforge_plan::plan::Argument;

/// Bits of a digit; a workgroup has a thread for each value.
const DIGIT: usize = 8;
const DIGITS: usize = 1 << DIGIT;
/// Neighbouring elements of a result, and threads that share the updates of each.
const ACROSS: usize = 32;
const LANES: usize = THREADS / ACROSS;

/// A sum by index with all its extents.
struct Scatter<'a> {
    args: &'a [Argument],
    result: &'a ValueType,
    places: [Where; 3],
    outer: usize,
    size: usize,
    inner: usize,
    count: usize,
}

/// The dispatches of a sum by index, and the words of scratch memory that they need.
pub fn scatter_add(
    label: &str,
    axis: usize,
    args: &[Argument],
    result: &ValueType,
    places: [Where; 3],
) -> (Vec<Dispatch>, usize) {
    let (outer, inner) = around(&result.shape, axis);
    let (size, count) = (result.shape[axis], args[1].ty.shape.elements());
    let scatter = Scatter { args, result, places, outer, size, inner, count };
    let comparisons = result.shape.elements().saturating_mul(count);
    if count <= FEW_INDICES || comparisons <= FEW_COMPARISONS || count > u32::MAX as usize / 8 {
        return (vec![scatter.search(label)], 0);
    }
    scatter.sorted(label)
}

impl Scatter<'_> {
    fn blocks(&self) -> usize {
        self.count.div_ceil(DIGITS)
    }

    /// Each element of the result looks for the slices that are added to it; indices come in order, so sums do too.
    fn search(&self, label: &str) -> Dispatch {
        let mut shader = Shader::default();
        let updates = Source::new(&mut shader, &self.args[0], self.places[0]);
        let indices = Source::new(&mut shader, &self.args[1], self.places[1]);
        let target = shader.operand(self.places[2], true);
        let Scatter { outer, size, inner, count, .. } = *self;
        let dtype = self.result.dtype;
        let body = vec![
            format!("let outer = i / {}u;", (size * inner).max(1)),
            format!("let position = (i / {}u) % {}u;", inner.max(1), size.max(1)),
            format!("var sum = {};", number(dtype, 0.0)),
            format!("for (var j = 0u; j < {count}u; j++) {{"),
            format!("if (bitcast<u32>({}) == position) {{", indices.load("j")),
            format!("let e = (outer * {count}u + j) * {inner}u + i % {}u;", inner.max(1)),
            format!("sum += {}; }} }}", updates.load("e")),
            target.store("i", "sum"),
        ];
        per_element(shader, label, outer * size * inner, &body)
    }

    /// Scratch memory: indices and numbers of the updates, twice, then how often each digit occurs in each block.
    fn sorted(&self, label: &str) -> (Vec<Dispatch>, usize) {
        // Indices outside the result count as one beyond its last position.
        let bits = (usize::BITS - self.size.leading_zeros()) as usize;
        let passes = bits.div_ceil(DIGIT);
        let mut all = Vec::new();
        for pass in 0..passes {
            let part = |what: &str| format!("{label}, {what} digit {pass}");
            all.push(self.count_digits(&part("count"), pass));
            all.push(self.add_counts(&part("place")));
            all.push(self.order(&part("order"), pass));
        }
        all.push(self.sum(&format!("{label}, sums"), passes));
        (all, 4 * self.count + DIGITS * self.blocks())
    }

    /// The indices as pass `pass` finds them, their numbers, and where it leaves both, in words of scratch memory.
    fn halves(&self, pass: usize) -> [usize; 4] {
        let (here, there) = ((pass % 2) * 2 * self.count, ((pass + 1) % 2) * 2 * self.count);
        [here, here + self.count, there, there + self.count]
    }

    fn counts(&self, digit: &str, block: &str) -> String {
        format!("({}u + ({digit}) * {}u + {block})", 4 * self.count, self.blocks())
    }

    /// Adds the function `key(j)`, the j-th index as a pass finds it.
    fn key(&self, shader: &mut Shader, scratch: &Slot, pass: usize) {
        let value = if pass == 0 {
            let indices = Source::new(shader, &self.args[1], self.places[1]);
            format!("min(bitcast<u32>({}), {}u)", indices.load("j"), self.size)
        } else {
            scratch.stored(&format!("({}u + j)", self.halves(pass)[0]))
        };
        shader.line_head(&format!("fn key(j: u32) -> u32 {{ return {value}; }}"));
    }

    fn count_digits(&self, label: &str, pass: usize) -> Dispatch {
        let mut shader = Shader::default();
        let scratch = shader.operand(SCRATCH, true);
        self.key(&mut shader, &scratch, pass);
        shader.line_head(&format!("var<workgroup> found: array<atomic<u32>, {DIGITS}>;"));
        shader.line("atomicStore(&found[lid], 0u); workgroupBarrier();");
        shader.line(&format!("let j = wg * {DIGITS}u + lid;"));
        let digit = format!("(key(j) >> {}u) & {}u", pass * DIGIT, DIGITS - 1);
        shader.line(&format!("if (j < {}u) {{ atomicAdd(&found[{digit}], 1u); }}", self.count));
        shader.line("workgroupBarrier();");
        shader.line(&format!("{} = atomicLoad(&found[lid]);", scratch.stored(&self.counts("lid", "wg"))));
        shader.finish(label, DIGITS, self.blocks())
    }

    /// Turns counts into the position at which each digit of each block starts.
    fn add_counts(&self, label: &str) -> Dispatch {
        let mut shader = Shader::default();
        let scratch = shader.operand(SCRATCH, true);
        let (word, blocks) = (scratch.stored(&self.counts("lid", "block")), self.blocks());
        shader.line_head(&format!("var<workgroup> totals: array<u32, {DIGITS}>;"));
        shader.line("var total = 0u;");
        shader.line(&format!("for (var block = 0u; block < {blocks}u; block++) {{ total += {word}; }}"));
        shader.line("totals[lid] = total; workgroupBarrier();");
        shader.line("var start = 0u;");
        shader.line("for (var digit = 0u; digit < lid; digit++) { start += totals[digit]; }");
        shader.line(&format!("for (var block = 0u; block < {blocks}u; block++) {{"));
        shader.line(&format!("let count = {word}; {word} = start; start += count; }}"));
        shader.finish(label, DIGITS, 1)
    }

    fn order(&self, label: &str, pass: usize) -> Dispatch {
        let mut shader = Shader::default();
        let scratch = shader.operand(SCRATCH, true);
        self.key(&mut shader, &scratch, pass);
        let [_, numbers, keys_after, numbers_after] = self.halves(pass);
        shader.line_head(&format!("var<workgroup> digits: array<u32, {DIGITS}>;"));
        shader.line(&format!("let j = wg * {DIGITS}u + lid; let inside = j < {}u;", self.count));
        shader.line("var index = 0u; var digit = 0xffffffffu;");
        let digit = format!("(index >> {}u) & {}u", pass * DIGIT, DIGITS - 1);
        shader.line(&format!("if (inside) {{ index = key(j); digit = {digit}; }}"));
        shader.line("digits[lid] = digit; workgroupBarrier();");
        shader.line("if (inside) {");
        // Those before it in the block stay before it.
        shader.line("var before = 0u;");
        shader.line("for (var other = 0u; other < lid; other++) { before += u32(digits[other] == digit); }");
        shader.line(&format!("let to = {} + before;", scratch.stored(&self.counts("digit", "wg"))));
        let number = if pass == 0 { "j".to_string() } else { scratch.stored(&format!("({numbers}u + j)")) };
        shader.line(&format!("{} = index;", scratch.stored(&format!("({keys_after}u + to)"))));
        shader.line(&format!("{} = {number}; }}", scratch.stored(&format!("({numbers_after}u + to)"))));
        shader.finish(label, DIGITS, self.blocks())
    }

    fn sum(&self, label: &str, passes: usize) -> Dispatch {
        let mut shader = Shader::default();
        let scratch = shader.operand(SCRATCH, false);
        let updates = Source::new(&mut shader, &self.args[0], self.places[0]);
        let target = shader.operand(self.places[2], true);
        let Scatter { outer, size, inner, count, .. } = *self;
        let [keys, numbers, ..] = self.halves(passes);
        let dtype = self.result.dtype;
        let chunks = inner.div_ceil(ACROSS);
        // Many positions keep the device busy with one workgroup each, which then finds its updates once for all
        // elements.
        let together = (outer * size * chunks / BUSY_GROUPS).clamp(1, chunks.max(1));
        let groups = chunks.div_ceil(together);
        shader.line_head("var<workgroup> ends: array<u32, 2>;");
        shader.line_head(&format!("var<workgroup> sums: array<{}, {THREADS}>;", wgsl_type(dtype)));
        shader.line(&format!("let first = (wg % {groups}u) * {}u;", together * ACROSS));
        shader.line(&format!("let last = min(first + {}u, {inner}u);", together * ACROSS));
        shader.line(&format!(
            "let position = (wg / {groups}u) % {size}u; let outer = wg / {}u;",
            groups * size
        ));
        // The first update at this position, and the first beyond it.
        shader.line("if (lid < 2u) {");
        shader.line(&format!("var low = 0u; var high = {count}u;"));
        shader.line("while (low < high) { let middle = (low + high) / 2u;");
        let key = scratch.stored(&format!("({keys}u + middle)"));
        shader.line(&format!(
            "if ({key} < position + lid) {{ low = middle + 1u; }} else {{ high = middle; }} }}"
        ));
        shader.line("ends[lid] = low; }");
        shader.line("workgroupBarrier();");
        shader.line(&format!("for (var base = first; base < last; base += {ACROSS}u) {{"));
        shader.line(&format!("let i = base + lid % {ACROSS}u; var sum = {};", number(dtype, 0.0)));
        shader.line("if (i < last) {");
        shader.line(&format!("for (var s = ends[0] + lid / {ACROSS}u; s < ends[1]; s += {LANES}u) {{"));
        shader.line(&format!("let j = {};", scratch.stored(&format!("({numbers}u + s)"))));
        shader.line(&format!("let e = (outer * {count}u + j) * {inner}u + i;"));
        shader.line(&format!("sum += {}; }} }}", updates.load("e")));
        shader.line("sums[lid] = sum; workgroupBarrier();");
        shader.line(&format!("if (lid < {ACROSS}u && i < last) {{"));
        shader.line(&format!(
            "for (var lane = 1u; lane < {LANES}u; lane++) {{ sum += sums[lid + lane * {ACROSS}u]; }}"
        ));
        let at = format!("((outer * {size}u + position) * {inner}u + i)");
        shader.line(&format!("{} }}", target.store(&at, "sum")));
        shader.line("workgroupBarrier(); }");
        shader.finish(label, THREADS, outer * size * groups)
    }
}

const SCRATCH: Where = Where::of_words(BufferId::Scratch, 0, DType::U32);
