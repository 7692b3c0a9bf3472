//! Epilogues: the elementwise kernel that follows a product or a convolution, printed into the place where that stores.
//!
//! It saves a dispatch, reading the product back, and storing it at all where nobody else reads it.

use super::quads::{self, Along, instructions};
use super::scalar::Scene;
use super::shader::{Shader, Slot, Where, rounded};
use dropforge_gpu::epilogue::elementwise;
use dropforge_plan::kernel::{Instance, LoopKernel};
use dropforge_plan::plan::{Plan, Work};

/// A loop kernel that is run on each element of a contraction.
pub struct Epilogue<'a> {
    kernel: &'a LoopKernel,
    instance: &'a Instance,
    operands: Vec<Where>,
    /// The operand that the contraction computes.
    given: usize,
    /// Whether the contraction itself is to be stored, too.
    keeps: bool,
}

/// The epilogue of the kernel with this number, if it has one by what [`fused`](dropforge_gpu::epilogue::fused) said;
/// `places` says where each buffer of the plan lies.
pub fn epilogue<'a>(
    plan: &'a Plan,
    fused: &[bool],
    product: usize,
    places: &[Where],
) -> Option<Epilogue<'a>> {
    let kernel = plan.kernels.get(product + 1).filter(|_| fused[product + 1])?;
    let (kernel, instance) = elementwise(kernel)?;
    let Work::Call { results, .. } = &plan.kernels[product].work else { return None };
    let given = instance.operands.iter().position(|operand| *operand == results[0])?;
    let operands = instance.operands.iter().map(|&operand| places[operand]).collect();
    Some(Epilogue {
        kernel,
        instance,
        operands,
        given,
        keeps: !plan.is_used_by_next_only(product, results[0]),
    })
}

/// Where the elements of a contraction go: into their place, through an epilogue, or both.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub place: Where,
    pub epilogue: Option<&'a Epilogue<'a>>,
}

impl Target<'_> {
    /// Whether four neighbours can go at once, if the first of them always has a number that is a multiple of four.
    pub fn takes_quads(&self) -> bool {
        let in_quads = |epilogue: &Epilogue<'_>| quads::come_in_quads(&epilogue.instance.domain.rows);
        self.place.first.is_multiple_of(4) && self.epilogue.is_none_or(in_quads)
    }

    fn is_stored(&self) -> bool {
        self.epilogue.is_none_or(|epilogue| epilogue.keeps)
    }

    /// Binds as quads what is met in quads; before any operand is made.
    pub fn prepare(&self, shader: &mut Shader) {
        if self.is_stored() {
            shader.bind_as_quads(self.place);
        }
        if let Some(epilogue) = self.epilogue {
            for operand in
                quads::operands_in_quads(instructions(epilogue.kernel), Along::Rows, &epilogue.operands)
            {
                if operand != epilogue.given {
                    shader.bind_as_quads(epilogue.operands[operand]);
                }
            }
        }
    }

    /// Adds the function `finish(i, value)` for the element with number `i` of the row-major result and, if `quads`,
    /// `finish4` for it and the three after it, where [`Target::prepare`] was called and [`Target::takes_quads`].
    pub fn print(&self, shader: &mut Shader, quads: bool) {
        let (mut one, mut four) = (Vec::new(), Vec::new());
        if self.is_stored() {
            let slot = shader.operand(self.place, true);
            one.push(slot.store("i", "value"));
            if quads {
                four.push(slot.store_vector("i", "value"));
            }
        }
        if let Some(Epilogue { kernel, instance, operands, given, .. }) = self.epilogue {
            let slots: Vec<Slot> = operands
                .iter()
                .zip(&kernel.written)
                .enumerate()
                .map(|(number, (&place, &written))| match number {
                    number if number == *given => Slot::none(),
                    _ => shader.operand(place, written),
                })
                .collect();
            let scene = Scene::of_rows(kernel, &instance.domain.rows, &slots, "i");
            let scene = Scene { given: Some((*given, "value")), ..scene };
            one.extend(instructions(kernel).map(|instruction| scene.print(instruction, true)));
            if quads {
                four.extend(quads::print(&scene, instructions(kernel), Along::Rows, operands));
            }
        }
        // What follows works with the number that would be stored.
        let rounds = self.place.dtype.is_half() && self.epilogue.is_some();
        let value = if rounds { rounded(self.place.dtype, "sum") } else { "sum".into() };
        shader
            .line_head(&format!("fn finish(i: u32, sum: f32) {{ let value = {value}; {} }}", one.join(" ")));
        if quads {
            let one = |component: &str| rounded(self.place.dtype, &format!("sum.{component}"));
            let value = match rounds {
                true => format!("vec4<f32>({})", ["x", "y", "z", "w"].map(one).join(", ")),
                false => "sum".into(),
            };
            shader.line_head(&format!(
                "fn finish4(i: u32, sum: vec4<f32>) {{ let value = {value}; {} }}",
                four.join(" ")
            ));
        }
    }
}
