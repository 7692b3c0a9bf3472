//! Finds the updates of optimizers among the items of a kernel.

use super::code::Width;
use super::compile::Class;
use super::superinstruction::Item;
use crate::vecmath::operations::Operation;
use crate::vecmath::update::UpdateKind;
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{BinaryKind, DType, UnaryKind};
use dropforge_plan::kernel::Register;

/// A formula to look for.
enum Formula {
    /// What differs from lane to lane, by its number.
    Block(usize),
    /// What is the same for all lanes, by its number.
    Single(usize),
    /// Of one argument.
    Unary(UnaryKind, Box<Formula>),
    /// Of two.
    Binary(BinaryKind, Box<[Formula; 2]>),
    /// A formula that is also a result, by its number.
    Result(usize, Box<Formula>),
}

use Formula::{Block, Single};

fn binary(kind: BinaryKind, a: Formula, b: Formula) -> Formula {
    Formula::Binary(kind, Box::new([a, b]))
}

fn add(a: Formula, b: Formula) -> Formula {
    binary(BinaryKind::Add, a, b)
}

fn subtract(a: Formula, b: Formula) -> Formula {
    binary(BinaryKind::Subtract, a, b)
}

fn multiply(a: Formula, b: Formula) -> Formula {
    binary(BinaryKind::Multiply, a, b)
}

fn result(number: usize, formula: Formula) -> Formula {
    Formula::Result(number, Box::new(formula))
}

/// The formula of the last result, with the others inside, in the numbering of [`UpdateKind`].
fn formula(kind: UpdateKind) -> Formula {
    let adam = |gradient: fn() -> Formula, value: Formula| {
        let first = || result(0, add(Block(1), multiply(subtract(gradient(), Block(1)), Single(1))));
        let square = multiply(multiply(gradient(), gradient()), Single(3));
        let second = result(1, add(multiply(Block(2), Single(2)), square));
        let root = Formula::Unary(UnaryKind::SquareRoot, Box::new(second));
        let denominator = add(multiply(root, Single(4)), Single(5));
        let step = binary(BinaryKind::Divide, first(), denominator);
        result(2, subtract(value, multiply(Single(6), step)))
    };
    match kind {
        UpdateKind::Momentum => {
            let gradient = add(Block(2), multiply(Block(0), Single(0)));
            let direction = result(0, add(multiply(Block(1), Single(1)), gradient));
            result(1, subtract(Block(0), multiply(direction, Single(2))))
        }
        UpdateKind::Adam => adam(|| add(Block(3), multiply(Block(0), Single(0))), Block(0)),
        UpdateKind::AdamW => adam(|| Block(3), multiply(Block(0), Single(0))),
    }
}

/// What the numbers of a formula stand for.
#[derive(Clone, Default)]
struct Match {
    blocks: QuickMap<usize, Register>,
    singles: QuickMap<usize, Register>,
    results: QuickMap<usize, Register>,
}

/// The items of a stage by what they compute.
struct Definitions<'a> {
    computed: QuickMap<Register, (Operation, &'a [Register])>,
    loaded: QuickSet<Register>,
    classes: &'a [Class],
}

impl Definitions<'_> {
    /// Whether a register holds the formula, and then what with.
    fn unify(&self, formula: &Formula, register: Register, known: &Match) -> Option<Match> {
        let bind = |map: fn(&mut Match) -> &mut QuickMap<usize, Register>, number: usize| {
            let mut known = known.clone();
            let is_this = *map(&mut known).entry(number).or_insert(register) == register;
            is_this.then_some(known)
        };
        let width = self.classes[register.index()].width;
        match formula {
            Block(number) => {
                let is_block = width == Width::Lanes && self.loaded.contains(&register);
                is_block.then(|| bind(|known| &mut known.blocks, *number))?
            }
            Single(number) => {
                let is_single = width == Width::Single && !self.computed.contains_key(&register);
                is_single.then(|| bind(|known| &mut known.singles, *number))?
            }
            Formula::Result(number, formula) => {
                let known = bind(|known| &mut known.results, *number)?;
                self.unify(formula, register, &known)
            }
            Formula::Unary(kind, argument) => match self.computed.get(&register)? {
                (Operation::Unary(found, DType::F32), [x]) if found == kind => {
                    self.unify(argument, *x, known)
                }
                _ => None,
            },
            Formula::Binary(kind, arguments) => match self.computed.get(&register)? {
                (Operation::Binary(found, DType::F32), [a, b]) if found == kind => {
                    let both = |a: Register, b: Register| {
                        let known = self.unify(&arguments[0], a, known)?;
                        self.unify(&arguments[1], b, &known)
                    };
                    let commutes = matches!(kind, BinaryKind::Add | BinaryKind::Multiply);
                    both(*a, *b).or_else(|| if commutes { both(*b, *a) } else { None })
                }
                _ => None,
            },
        }
    }
}

/// Puts one item in the place of those that compute an update, whose results are all stored.
pub(super) fn find_updates(items: &mut Vec<Item>, classes: &[Class]) {
    for kind in [UpdateKind::Adam, UpdateKind::AdamW, UpdateKind::Momentum] {
        let formula = formula(kind);
        while let Some((at, update)) = find(items, classes, kind, &formula) {
            replace(items, at, update);
        }
    }
}

/// The item after which everything is known that an update needs, and the update.
fn find(items: &[Item], classes: &[Class], kind: UpdateKind, formula: &Formula) -> Option<(usize, Item)> {
    let mut definitions = Definitions { computed: QuickMap::default(), loaded: QuickSet::default(), classes };
    let mut stored = QuickSet::default();
    for item in items {
        match item {
            Item::Load { to, .. } => {
                definitions.loaded.insert(*to);
            }
            // What is the same everywhere is computed before.
            Item::Compute { operation, to, arguments } if classes[to.index()].width == Width::Lanes => {
                definitions.computed.insert(*to, (*operation, arguments));
            }
            Item::Store { from, .. } => {
                stored.insert(*from);
            }
            _ => {}
        }
    }
    items.iter().enumerate().find_map(|(at, item)| {
        let Item::Compute { to: root, .. } = item else { return None };
        let found = definitions.unify(formula, *root, &Match::default())?;
        let list =
            |map: &QuickMap<usize, Register>| (0..map.len()).map(|number| map[&number]).collect::<Vec<_>>();
        let (blocks, singles, to) = (list(&found.blocks), list(&found.singles), list(&found.results));
        let one_class = blocks.iter().chain(&to).all(|one| classes[one.index()] == classes[root.index()]);
        (one_class && to.iter().all(|one| stored.contains(one)))
            .then_some((at, Item::Update { kind, to, blocks, singles }))
    })
}

/// Replaces the item at `at` by an update, after which all come that read its results.
fn replace(items: &mut Vec<Item>, at: usize, update: Item) {
    let Item::Update { to: results, .. } = &update else { return };
    let mut late: QuickSet<Register> = results.iter().copied().collect();
    let is_replaced = |item: &Item| item.target().is_some_and(|to| results.contains(&to));
    let mut before = Vec::new();
    let mut after = Vec::new();
    let mut rest = std::mem::take(items);
    let tail = rest.split_off(at + 1);
    for item in rest.into_iter().filter(|item| !is_replaced(item)) {
        if item.sources().iter().any(|source| late.contains(source)) {
            late.extend(item.target());
            after.push(item);
        } else {
            before.push(item);
        }
    }
    items.extend(before);
    items.push(update);
    items.extend(after);
    items.extend(tail);
}
