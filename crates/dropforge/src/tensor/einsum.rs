//! Einstein's sum convention.

use super::Tensor;
use super::node::{apply, fail};
use dropforge_ir::{Op, Shape};
use std::collections::BTreeMap;

/// A tensor with a name for each axis. The axes of an ellipsis have numbers, the last one 0.
struct Named {
    tensor: Tensor,
    names: Vec<Name>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Name {
    /// An axis of the ellipsis, counted from the last.
    Rest(usize),
    Letter(char),
}

/// What stands on one side: letters before the ellipsis, whether there is one, letters behind it.
struct Side {
    before: Vec<char>,
    behind: Option<Vec<char>>,
}

fn parse_side(text: &str) -> Result<Side, String> {
    let letters = |text: &str| -> Result<Vec<char>, String> {
        match text.chars().find(|c| !c.is_ascii_alphabetic()) {
            Some(wrong) => Err(format!("axes are letters, got {wrong:?}")),
            None => Ok(text.chars().collect()),
        }
    };
    match text.split_once("...") {
        Some((before, behind)) => Ok(Side { before: letters(before)?, behind: Some(letters(behind)?) }),
        None => Ok(Side { before: letters(text)?, behind: None }),
    }
}

impl Side {
    /// A name for each axis, if there are `rest` axes in the ellipsis.
    fn names(&self, rest: usize) -> Vec<Name> {
        let letters =
            |letters: &[char]| letters.iter().map(|&letter| Name::Letter(letter)).collect::<Vec<_>>();
        let mut names = letters(&self.before);
        if let Some(behind) = &self.behind {
            names.extend((0..rest).rev().map(Name::Rest));
            names.extend(letters(behind));
        }
        names
    }

    fn letters(&self) -> usize {
        self.before.len() + self.behind.as_ref().map_or(0, Vec::len)
    }
}

impl Tensor {
    /// Products of tensors, summed over the axes that the result does not name: `einsum("bij,bjk->bik", &[&a, &b])`.
    ///
    /// A letter names an axis; equal letters go together, those that stand twice in one tensor as its diagonal. `...`
    /// stands for the axes that no letter names, which broadcast. Without `->` the result has the ellipsis and then, in
    /// alphabetical order, the letters that stand once. Extents of 1 broadcast. NumPy's and PyTorch's `einsum`; tensors
    /// are contracted from left to right. Products are of floats.
    #[doc(alias = "torch.einsum")]
    #[track_caller]
    pub fn einsum(equation: &str, tensors: &[&Tensor]) -> Tensor {
        match plan(equation, tensors) {
            Ok((sides, result, extents)) => contract(tensors, sides, &result, &extents),
            Err(message) => fail("einsum", format!("{equation:?}: {message}"), tensors),
        }
    }
}

type Plan = (Vec<Vec<Name>>, Vec<Name>, BTreeMap<Name, usize>);

/// The names of the axes of each tensor and of the result, and their extents.
fn plan(equation: &str, tensors: &[&Tensor]) -> Result<Plan, String> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (text.as_str(), None),
    };
    let sides = left.split(',').map(parse_side).collect::<Result<Vec<_>, _>>()?;
    if sides.len() != tensors.len() || tensors.is_empty() {
        return Err(format!("names {} tensors, got {}", sides.len(), tensors.len()));
    }
    let mut names = Vec::new();
    let mut extents: BTreeMap<Name, usize> = BTreeMap::new();
    for (side, tensor) in sides.iter().zip(tensors) {
        let fits = if side.behind.is_some() {
            side.letters() <= tensor.rank()
        } else {
            side.letters() == tensor.rank()
        };
        if !fits {
            return Err(format!("{} letters do not name the axes of {}", side.letters(), tensor.shape()));
        }
        let own = side.names(tensor.rank() - side.letters());
        for (&name, &extent) in own.iter().zip(tensor.shape().iter()) {
            let known = extents.entry(name).or_insert(extent);
            if *known == 1 {
                *known = extent;
            } else if extent != 1 && extent != *known {
                return Err(format!("an axis with one name has the extents {known} and {extent}"));
            }
        }
        names.push(own);
    }
    let rest = extents.keys().filter(|name| matches!(name, Name::Rest(_))).count();
    let result = match right {
        Some(right) => parse_side(right)?.names(rest),
        None => {
            let once = |name: &Name| names.iter().flatten().filter(|other| *other == name).count() == 1;
            let letters = extents.keys().filter(|name| matches!(name, Name::Letter(_)) && once(name));
            (0..rest).rev().map(Name::Rest).chain(letters.copied()).collect()
        }
    };
    for (place, name) in result.iter().enumerate() {
        if result[..place].contains(name) {
            return Err("the result names an axis twice".into());
        }
        if !extents.contains_key(name) {
            return Err("the result names an axis that no tensor has".into());
        }
    }
    Ok((names, result, extents))
}

#[track_caller]
fn contract(
    tensors: &[&Tensor],
    mut names: Vec<Vec<Name>>,
    result: &[Name],
    extents: &BTreeMap<Name, usize>,
) -> Tensor {
    let mut total: Option<Named> = None;
    for (place, tensor) in tensors.iter().enumerate() {
        let own = Named { tensor: (*tensor).clone(), names: std::mem::take(&mut names[place]) };
        let own = without_repeats(own, extents);
        // What neither the result nor a later tensor names can be summed now.
        let needed = |name: &Name| result.contains(name) || names.iter().flatten().any(|other| other == name);
        total = Some(match total {
            Some(total) => product(total, own, &needed, extents),
            None => own,
        });
    }
    let Some(total) = total else { return fail("einsum", "there is nothing to multiply", tensors) };
    let total = summed(total, &|name| result.contains(name));
    // Axes of extent 1 that broadcast are put in at the end.
    let order: Vec<usize> =
        result.iter().filter_map(|name| total.names.iter().position(|other| other == name)).collect();
    let shape: Shape = result.iter().map(|name| extents[name]).collect();
    let turned = apply("einsum", Op::Permute { order }, &[&total.tensor]);
    turned.broadcast_to(shape)
}

/// The sum over all axes that are not `kept`.
#[track_caller]
fn summed(named: Named, kept: &dyn Fn(&Name) -> bool) -> Named {
    let gone: Vec<isize> =
        (0..named.names.len()).filter(|&axis| !kept(&named.names[axis])).map(|axis| axis as isize).collect();
    if gone.is_empty() {
        return named;
    }
    let names = named.names.iter().copied().filter(kept).collect();
    Named { tensor: named.tensor.sum(gone.as_slice()), names }
}

/// Axes with one name become their diagonal, the last axis.
#[track_caller]
fn without_repeats(mut named: Named, extents: &BTreeMap<Name, usize>) -> Named {
    loop {
        let repeated = (0..named.names.len()).find_map(|second| {
            let first = named.names[..second].iter().position(|name| *name == named.names[second])?;
            Some((first, second))
        });
        let Some((first, second)) = repeated else { return named };
        let name = named.names[first];
        let mut shape = named.tensor.shape().to_vec();
        (shape[first], shape[second]) = (extents[&name], extents[&name]);
        let whole = named.tensor.broadcast_to(shape);
        named.tensor = whole.diagonal(0, first as isize, second as isize);
        named.names.remove(second);
        named.names.remove(first);
        named.names.push(name);
    }
}

/// The product of two tensors, summed over the axes that nobody needs.
#[track_caller]
fn product(
    left: Named,
    right: Named,
    needed: &dyn Fn(&Name) -> bool,
    extents: &BTreeMap<Name, usize>,
) -> Named {
    // Axes that one side alone has, and nobody needs, are summed before.
    let left_names = left.names.clone();
    let left = summed(left, &|name| needed(name) || right.names.contains(name));
    let right = summed(right, &|name| needed(name) || left_names.contains(name));
    // An axis of extent 1 that goes with a longer one is no axis of the product.
    let left = without_single(left, extents);
    let right = without_single(right, extents);
    let place = |named: &Named, name: &Name| named.names.iter().position(|other| other == name);
    let (mut batch, mut contracted) = (Vec::new(), Vec::new());
    for (axis, name) in left.names.iter().enumerate() {
        if let Some(other) = place(&right, name) {
            if needed(name) { batch.push((axis, other)) } else { contracted.push((axis, other)) }
        }
    }
    let shared = |named: &Named, others: &Named| -> Vec<Name> {
        named.names.iter().copied().filter(|name| place(others, name).is_none()).collect()
    };
    let mut names: Vec<Name> = batch.iter().map(|&(axis, _)| left.names[axis]).collect();
    names.extend(shared(&left, &right));
    names.extend(shared(&right, &left));
    let op = Op::Dot {
        lhs_batch: batch.iter().map(|pair| pair.0).collect(),
        rhs_batch: batch.iter().map(|pair| pair.1).collect(),
        lhs_contract: contracted.iter().map(|pair| pair.0).collect(),
        rhs_contract: contracted.iter().map(|pair| pair.1).collect(),
    };
    let tensor = apply("einsum", op, &[&left.tensor, &right.tensor]);
    // What is still there but needed by nobody stood on one side only, with extent 1.
    summed(Named { tensor, names }, needed)
}

/// Without the axes whose extent is 1 though their name stands for more.
#[track_caller]
fn without_single(named: Named, extents: &BTreeMap<Name, usize>) -> Named {
    let is_single = |axis: usize| named.tensor.shape()[axis] == 1 && extents[&named.names[axis]] != 1;
    let gone: Vec<isize> =
        (0..named.names.len()).filter(|&axis| is_single(axis)).map(|axis| axis as isize).collect();
    if gone.is_empty() {
        return named;
    }
    let kept = (0..named.names.len()).filter(|axis| !gone.contains(&(*axis as isize)));
    let names = kept.map(|axis| named.names[axis]).collect();
    Named { tensor: named.tensor.squeeze(gone.as_slice()), names }
}
