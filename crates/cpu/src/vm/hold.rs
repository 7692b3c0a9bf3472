//! Which values of a long row are held from one stage to the next.
//!
//! A row that takes several blocks is walked over once for each stage. Where it lies in several runs, as a channel lies
//! in all images of a batch, the distance between the runs is often a power of two, so that they displace each other in
//! the caches: the second walk would fetch from far away again what the first has seen. So the first leaves what later
//! ones need in memory of its own, one after another.

use super::code::Width;
use super::compile::{Class, Rate};
use super::layout::{Kind, Layout};
use super::superinstruction::{Item, ItemStage, Program};
use super::tuning;
use dropforge_ir::quick_hash::QuickSet;
use dropforge_plan::kernel::{Access, Level, Register};

fn changes_in_row(class: Class) -> bool {
    class == Class { width: Width::Lanes, rate: Rate::Iteration }
}

/// The values to hold, in the order of their registers; none where walking again costs less.
pub(super) fn held_values(program: &Program, layout: &Layout) -> Vec<Register> {
    if layout.kind != Kind::Streamed || layout.is_single_pass() {
        return Vec::new();
    }
    let mut held = QuickSet::default();
    let mut known: QuickSet<Register> = QuickSet::default();
    for stage in &program.stages {
        let defined = || stage.domain.iter().filter_map(Item::target);
        let repeated: QuickSet<Register> = defined().filter(|to| known.contains(to)).collect();
        let is_new = |item: &&Item| item.target().is_none_or(|to| !known.contains(&to));
        let read = stage.domain.iter().filter(is_new).flat_map(Item::sources);
        let needed = read.chain(stage.reductions.iter().map(|reduce| reduce.from));
        held.extend(needed.filter(|register| repeated.contains(register)));
        let changing = |to: &Register| changes_in_row(program.classes[to.index()]);
        known.extend(defined().filter(changing));
    }
    let loads = || program.stages.iter().flat_map(|stage| &stage.domain).filter_map(as_load);
    let runs = |access: &Access| layout.lane_axes(&access.index, Level::Domain).len();
    let is_in_order = |register: &Register| loads().any(|(to, access)| to == *register && runs(access) == 1);
    held.retain(|register| !is_in_order(register));
    let columns: usize = layout.columns.iter().product();
    let in_runs = loads().any(|(to, access)| known.contains(&to) && runs(access) > 1);
    if !in_runs || 4 * columns * held.len() > tuning::HELD_BYTES {
        return Vec::new();
    }
    let mut held: Vec<Register> = held.into_iter().collect();
    held.sort_unstable();
    held
}

fn as_load(item: &Item) -> Option<(Register, &Access)> {
    match item {
        Item::Load { to, access } => Some((*to, access)),
        _ => None,
    }
}

/// The items of a stage that are needed where `is_known` values are there already.
pub(super) fn needed_items<'a>(
    stage: &'a ItemStage,
    classes: &[Class],
    is_known: impl Fn(Register) -> bool,
) -> Vec<&'a Item> {
    let mut needed: QuickSet<Register> = stage.reductions.iter().map(|reduce| reduce.from).collect();
    let mut items: Vec<&Item> = Vec::new();
    for item in stage.domain.iter().rev() {
        let is_needed = item
            .target()
            .is_none_or(|to| !is_known(to) && (needed.contains(&to) || !changes_in_row(classes[to.index()])));
        if is_needed {
            needed.extend(item.sources());
            items.push(item);
        }
    }
    items.reverse();
    items
}
