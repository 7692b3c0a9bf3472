//! Finds the loop kernels behind convolutions that these can do themselves, channel by channel: batch norms of fixed
//! statistics, biases, ReLUs.

use crate::conv::Channelwise;
use dropforge_ir::{BinaryKind, DType, UnaryKind};
use dropforge_plan::kernel::{Access, Domain, Instruction, LoopKernel, Register};

/// A kernel that computes `(x − mean) · scale + shift` of each element of a convolution's result, with a number for
/// each channel where there are some, and then perhaps a ReLU; operands by their position among the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfChannels {
    mean: Option<Numbers>,
    scale: Option<Numbers>,
    shift: Option<Numbers>,
    relu: bool,
    /// The operand that is written.
    pub(crate) result: usize,
}

/// Numbers of channels: the operand, and the element of the first channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    operand: usize,
    first: usize,
}

impl OfChannels {
    /// What a kernel does with the operand `product`, images of planes of `plane` elements, if it is such a kernel.
    pub(crate) fn of(
        kernel: &LoopKernel,
        domain: &Domain,
        product: usize,
        [channels, plane]: [usize; 2],
    ) -> Option<OfChannels> {
        let [stage] = kernel.stages.as_slice() else { return None };
        if kernel.column_axes != 0 || !stage.reductions.is_empty() || !stage.row.is_empty() {
            return None;
        }
        let visits = |access: &Access, place: Place| {
            access.dtype == DType::F32 && place.fits(&access.index.rows, &domain.rows, channels, plane)
        };
        let mut numbers: Vec<(Register, Numbers)> = Vec::new();
        let mut current: Option<Register> = None;
        let mut found = OfChannels { mean: None, scale: None, shift: None, relu: false, result: usize::MAX };
        for instruction in &stage.domain {
            match instruction {
                Instruction::Load { to, access } if access.operand == product => {
                    let is_first = current.is_none() && access.index.offset == 0;
                    if !is_first || !visits(access, Place::Element) {
                        return None;
                    }
                    current = Some(*to);
                }
                Instruction::Load { to, access } => {
                    let first = usize::try_from(access.index.offset).ok()?;
                    if !visits(access, Place::Channel) {
                        return None;
                    }
                    numbers.push((*to, Numbers { operand: access.operand, first }));
                }
                Instruction::Binary { kind, to, a, b } => {
                    let of_channels = |register: &Register| {
                        numbers.iter().find(|(known, _)| known == register).map(|(_, numbers)| *numbers)
                    };
                    let is_left = current == Some(*a);
                    let operand = if is_left { of_channels(b)? } else { of_channels(a)? };
                    if !is_left && current != Some(*b) {
                        return None;
                    }
                    let place = match kind {
                        BinaryKind::Subtract if is_left && found.has_nothing() => &mut found.mean,
                        BinaryKind::Multiply if found.scale.is_none() && found.has_no_end() => {
                            &mut found.scale
                        }
                        BinaryKind::Add if found.has_no_end() => &mut found.shift,
                        _ => return None,
                    };
                    *place = Some(operand);
                    current = Some(*to);
                }
                Instruction::Unary { kind: UnaryKind::Relu, to, x } if current == Some(*x) && !found.relu => {
                    found.relu = true;
                    current = Some(*to);
                }
                Instruction::Store { from, access } if current == Some(*from) => {
                    let is_first = found.result == usize::MAX && access.index.offset == 0;
                    if !is_first || !visits(access, Place::Element) {
                        return None;
                    }
                    found.result = access.operand;
                }
                _ => return None,
            }
        }
        (found.result != usize::MAX).then_some(found)
    }

    fn has_nothing(&self) -> bool {
        self.mean.is_none() && self.scale.is_none() && self.has_no_end()
    }

    fn has_no_end(&self) -> bool {
        self.shift.is_none() && !self.relu
    }

    /// The same with addresses.
    pub(crate) fn with(&self, operand: impl Fn(usize) -> *const f32) -> Channelwise {
        let numbers = |numbers: Option<Numbers>| {
            numbers.map(|numbers| operand(numbers.operand).wrapping_add(numbers.first))
        };
        let (mean, scale, shift) = (numbers(self.mean), numbers(self.scale), numbers(self.shift));
        Channelwise { mean, scale, shift, relu: self.relu }
    }
}

/// What an operand has a number for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Element,
    Channel,
}

impl Place {
    /// Whether steps along the axes of a domain, which is images of channels of planes with neighbouring axes joined or
    /// not, lead from each such number to the next.
    fn fits(self, steps: &[i64], extents: &[usize], channels: usize, plane: usize) -> bool {
        let mut inside = 1;
        let mut fits = true;
        for (&step, &extent) in steps.iter().zip(extents).rev() {
            let outside = inside * extent;
            let wanted = match self {
                Place::Element => Some(inside),
                Place::Channel if outside <= plane => Some(0),
                Place::Channel if inside >= plane && outside <= plane * channels => Some(inside / plane),
                Place::Channel if inside >= plane * channels => Some(0),
                // An axis of planes and channels at once.
                Place::Channel => None,
            };
            fits &= extent == 1 || wanted.and_then(|wanted| i64::try_from(wanted).ok()) == Some(step);
            inside = outside;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn steps_over_channels_are_known_however_axes_are_joined() {
        let fits = |steps: &[i64], extents: &[usize]| Place::Channel.fits(steps, extents, 6, 20);
        assert!(fits(&[0, 1, 0, 0], &[3, 6, 4, 5]));
        assert!(fits(&[0, 1, 0], &[3, 6, 20]));
        assert!(fits(&[1, 0], &[6, 20]));
        assert!(fits(&[0, 2, 1, 0], &[3, 3, 2, 20]));
        // An axis with one element leads nowhere.
        assert!(fits(&[7, 1, 0], &[1, 6, 20]));
        assert!(!fits(&[6, 1, 0], &[3, 6, 20]));
        assert!(!fits(&[0, 1, 1], &[3, 6, 20]));
        assert!(!fits(&[1, 0], &[18, 20]));
        assert!(!fits(&[0, 1], &[3, 120]));
        assert!(Place::Element.fits(&[120, 20, 1], &[3, 6, 20], 6, 20));
        assert!(!Place::Element.fits(&[1, 3, 18], &[3, 6, 20], 6, 20));
    }
}
