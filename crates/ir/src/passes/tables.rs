//! Rows that are looked up in a table and multiplied by a matrix are looked up in the product.
//!
//! A text of 4,096 tokens out of 65 has 65 different rows, so that `table[tokens] · W` multiplies each of them 63
//! times. `(table · W)[tokens]` is the same numbers, multiplied once. The gradients follow the same way: the table's is
//! `scatter(g) · Wᵀ`, and the matrix's is `tableᵀ · scatter(g)`, where `scatter` sums the rows of the gradient that
//! belong to one row of the table. An index outside is a row of zeros before and after.
//!
//! Forward, each number comes from the same terms. The gradients are the same sums with the brackets elsewhere: what is
//! scattered is at most as large as the gradient of a bias would be. Only f32 is rewritten, and only where there are at
//! least twice as many indices as rows.

use crate::error::Result;
use crate::op::{BinaryKind, Op};
use crate::program::{Node, Program, Value};
use crate::types::DType;

/// As many indices as there are rows, times this, make it worth the while.
const LEAST_REPEATS: usize = 2;
/// Rows with fewer elements than this are multiplied as fast as they are looked up.
const LEAST_COLUMNS: usize = 16;
/// Sums of gradients are taken apart to this depth.
const DEEPEST_SUM: usize = 8;

/// The program with products moved in front of lookups.
///
/// # Errors
/// Never for a valid program.
pub fn multiply_before_lookup(program: &Program) -> Result<Program> {
    if !program.nodes().iter().any(|node| matches!(node.op, Op::Gather { .. } | Op::ScatterAdd { .. })) {
        return Ok(program.clone());
    }
    program.rebuild(
        |_| true,
        |new, node, args| {
            let rewritten = match &node.op {
                Op::Dot { .. } => product(new, node, args)?,
                Op::ScatterAdd { axis: 0, size } => table_gradient(new, *size, args)?,
                _ => None,
            };
            match rewritten {
                Some(value) => Ok(vec![value]),
                None => new.copy_node(node, args),
            }
        },
    )
}

/// Rows of a table, `[rows, columns]`, by index; its axes may stand in another order than those of the indices and the
/// columns.
struct Lookup {
    table: Value,
    indices: Value,
    /// Where the axes of the indices stand.
    places: Vec<usize>,
    /// Where the columns stand.
    column: usize,
}

impl Lookup {
    fn of(p: &Program, value: Value) -> Option<Lookup> {
        let node = p.definition(value);
        match &node.op {
            Op::Gather { axis: 0 } => {
                let &[table, indices] = node.args.as_slice() else { return None };
                let rank = p.shape(indices).rank();
                let is_matrix = p.shape(table).rank() == 2 && p.dtype(table) == DType::F32;
                let column = p.shape(value).rank().checked_sub(1)?;
                let lookup = Lookup { table, indices, places: (0..rank).collect(), column };
                (is_matrix && pays(p, p.shape(table)[0], indices)).then_some(lookup)
            }
            Op::Permute { order } => {
                let inner = Lookup::of(p, node.args[0])?;
                let place = |axis: usize| order.iter().position(|&from| from == axis);
                let places = inner.places.iter().map(|&axis| place(axis)).collect::<Option<_>>()?;
                Some(Lookup { places, column: place(inner.column)?, ..inner })
            }
            _ => None,
        }
    }
}

/// Whether rows are looked up often enough.
fn pays(p: &Program, rows: usize, indices: Value) -> bool {
    p.shape(indices).elements() >= rows.saturating_mul(LEAST_REPEATS)
}

/// Indices whose axes stand at these places, in the order of the places.
fn in_order_of(p: &mut Program, indices: Value, places: &[usize]) -> Result<Value> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&axis| places[axis]);
    permuted(p, indices, order)
}

fn permuted(p: &mut Program, value: Value, order: Vec<usize>) -> Result<Value> {
    if order.iter().enumerate().all(|(to, &from)| to == from) {
        return Ok(value);
    }
    p.apply(Op::Permute { order }, &[value])
}

/// A product without batches as its two sides, each a value and its contracted axes.
fn sides<'a>(node: &'a Node, args: &[Value]) -> Option<[(Value, &'a [usize]); 2]> {
    match &node.op {
        Op::Dot { lhs_batch, lhs_contract, rhs_contract, .. } if lhs_batch.is_empty() => {
            Some([(args[0], lhs_contract), (args[1], rhs_contract)])
        }
        _ => None,
    }
}

/// A product without batches.
fn dot(p: &mut Program, lhs: (Value, &[usize]), rhs: (Value, &[usize])) -> Result<Value> {
    let op = Op::Dot {
        lhs_batch: Vec::new(),
        rhs_batch: Vec::new(),
        lhs_contract: lhs.1.to_vec(),
        rhs_contract: rhs.1.to_vec(),
    };
    p.apply(op, &[lhs.0, rhs.0])
}

/// A product with rows of a table on one side: over their columns, or over the rows themselves.
fn product(p: &mut Program, node: &Node, args: &[Value]) -> Result<Option<Value>> {
    let Some(sides) = sides(node, args) else { return Ok(None) };
    for is_right in [false, true] {
        let ((rows, over), other) = if is_right { (sides[1], sides[0]) } else { (sides[0], sides[1]) };
        let Some(lookup) = Lookup::of(p, rows) else { continue };
        if *over == [lookup.column] {
            if p.shape(lookup.table)[1] < LEAST_COLUMNS || Lookup::of(p, other.0).is_some() {
                continue;
            }
            let table = (lookup.table, &[1][..]);
            let product = if is_right { dot(p, other, table)? } else { dot(p, table, other)? };
            let axis = if is_right { p.shape(product).rank() - 1 } else { 0 };
            let indices = in_order_of(p, lookup.indices, &lookup.places)?;
            return Ok(Some(p.apply(Op::Gather { axis }, &[product, indices])?));
        }
        let is_over_all_rows = lookup.places.iter().all(|place| over.contains(place));
        if is_over_all_rows && !over.contains(&lookup.column) {
            // Where the axes of the indices stand in the other side.
            let partner = |place: &usize| over.iter().position(|axis| axis == place).map(|i| other.1[i]);
            let Some(places) = lookup.places.iter().map(partner).collect::<Option<Vec<usize>>>() else {
                continue;
            };
            let size = p.shape(lookup.table)[0];
            let Some(sum) = scattered(p, size, other.0, lookup.indices, &places)? else { continue };
            let (table, sum) = ((lookup.table, &[0][..]), (sum, &[0][..]));
            return Ok(Some(if is_right { dot(p, sum, table)? } else { dot(p, table, sum)? }));
        }
    }
    Ok(None)
}

/// The sums of the slices of a value that belong to one index each, `[size, columns]`; `places` says where in the value
/// the axes of the indices stand. `None` unless there is exactly one more axis.
fn scattered(
    p: &mut Program,
    size: usize,
    value: Value,
    indices: Value,
    places: &[usize],
) -> Result<Option<Value>> {
    let rank = p.shape(value).rank();
    let mut others = (0..rank).filter(|axis| !places.contains(axis));
    let (Some(column), None) = (others.next(), others.next()) else { return Ok(None) };
    if p.dtype(value) != DType::F32 {
        return Ok(None);
    }
    let order = (0..rank).filter(|&axis| axis != column).chain([column]).collect();
    let updates = permuted(p, value, order)?;
    let indices = in_order_of(p, indices, places)?;
    Ok(Some(p.apply(Op::ScatterAdd { axis: 0, size }, &[updates, indices])?))
}

/// The gradient of a table whose rows were multiplied: sums of rows of gradients, multiplied once.
fn table_gradient(p: &mut Program, size: usize, args: &[Value]) -> Result<Option<Value>> {
    let &[updates, indices] = args else { return Ok(None) };
    let rank = p.shape(indices).rank();
    if p.shape(updates).rank() != rank + 1 || !pays(p, size, indices) {
        return Ok(None);
    }
    let places: Vec<usize> = (0..rank).collect();
    multiplied(p, size, updates, indices, &places, DEEPEST_SUM)
}

/// As [`scattered`], of products and sums of products, multiplied behind the scattering.
fn multiplied(
    p: &mut Program,
    size: usize,
    value: Value,
    indices: Value,
    places: &[usize],
    depth: usize,
) -> Result<Option<Value>> {
    let node = p.definition(value).clone();
    match &node.op {
        Op::Permute { order } => {
            let places: Vec<usize> = places.iter().map(|&place| order[place]).collect();
            multiplied(p, size, node.args[0], indices, &places, depth)
        }
        Op::Binary { kind: BinaryKind::Add } if depth > 0 => {
            let Some(a) = multiplied(p, size, node.args[0], indices, places, depth - 1)? else {
                return Ok(None);
            };
            let Some(b) = multiplied(p, size, node.args[1], indices, places, depth - 1)? else {
                return Ok(None);
            };
            Ok(Some(p.binary(BinaryKind::Add, a, b)?))
        }
        Op::Dot { .. } => {
            let Some([lhs, rhs]) = sides(&node, &node.args) else { return Ok(None) };
            let free = |p: &Program, side: (Value, &[usize])| -> Vec<usize> {
                (0..p.shape(side.0).rank()).filter(|axis| !side.1.contains(axis)).collect()
            };
            let (left, right) = (free(p, lhs), free(p, rhs));
            // The result's axes are the free ones of the left side, then those of the right side.
            let (gradient, matrix, own, first) = match (left.len(), right.len()) {
                (_, 1) if places.iter().all(|&place| place < left.len()) => (lhs, rhs, left, 0),
                (1, _) if places.iter().all(|&place| place > 0) => (rhs, lhs, right, 1),
                _ => return Ok(None),
            };
            if own.len() != places.len() || gradient.1.len() != 1 {
                return Ok(None);
            }
            let places: Vec<usize> = places.iter().map(|&place| own[place - first]).collect();
            let Some(sum) = scattered(p, size, gradient.0, indices, &places)? else { return Ok(None) };
            Ok(Some(dot(p, (sum, &[1]), matrix)?))
        }
        _ => Ok(None),
    }
}
