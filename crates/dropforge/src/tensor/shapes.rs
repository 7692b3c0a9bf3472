//! Ways to write shapes and axes in calls.

use dropforge_ir::Shape;

/// Something that says a shape: `[2, 3]`, `&[2, 3]`, `(2, 3)`, one extent, a vector, a slice or a [`Shape`].
pub trait IntoShape {
    /// The shape.
    fn into_shape(self) -> Shape;
}

impl<const N: usize> IntoShape for [usize; N] {
    fn into_shape(self) -> Shape {
        Shape::from(self)
    }
}

impl<const N: usize> IntoShape for &[usize; N] {
    fn into_shape(self) -> Shape {
        Shape::from(*self)
    }
}

impl IntoShape for &[usize] {
    fn into_shape(self) -> Shape {
        Shape::from(self)
    }
}

impl IntoShape for Vec<usize> {
    fn into_shape(self) -> Shape {
        Shape::from(self)
    }
}

impl IntoShape for Shape {
    fn into_shape(self) -> Shape {
        self
    }
}

impl IntoShape for &Shape {
    fn into_shape(self) -> Shape {
        self.clone()
    }
}

/// Axes of a tensor: one (`1`, or `-1` for the last), several (`[0, 2]`), or all (`..`).
pub trait Axes {
    /// The axes as numbers from 0, in order and without repetition.
    ///
    /// # Errors
    /// A message if one is outside the shape or stands there twice.
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String>;
}

impl Axes for std::ops::RangeFull {
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String> {
        Ok((0..shape.rank()).collect())
    }
}

impl Axes for isize {
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String> {
        Ok(vec![resolve_axis(*self, shape)?])
    }
}

impl Axes for &[isize] {
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String> {
        let mut axes = self.iter().map(|&axis| resolve_axis(axis, shape)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        match axes.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("axis {} of {shape} is named twice", pair[0])),
            None => Ok(axes),
        }
    }
}

impl<const N: usize> Axes for [isize; N] {
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String> {
        self.as_slice().resolve(shape)
    }
}

impl<const N: usize> Axes for &[isize; N] {
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String> {
        self.as_slice().resolve(shape)
    }
}

/// An axis counted from the end if negative.
pub(crate) fn resolve_axis(axis: isize, shape: &Shape) -> Result<usize, String> {
    let rank = shape.rank();
    let resolved = if axis < 0 { axis.checked_add_unsigned(rank) } else { Some(axis) };
    match resolved.and_then(|axis| usize::try_from(axis).ok()) {
        Some(axis) if axis < rank => Ok(axis),
        _ => Err(format!("there is no axis {axis} in {shape}")),
    }
}

/// The shape to which both broadcast, aligned at the last axis, as in PyTorch; `None` if they do not.
pub(crate) fn broadcast_shapes(a: &[usize], b: &[usize]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let extent =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    let mut result = Vec::with_capacity(rank);
    for axis in 0..rank {
        result.push(match (extent(a, axis), extent(b, axis)) {
            (a, b) if a == b => a,
            (1, b) => b,
            (a, 1) => a,
            _ => return None,
        });
    }
    Some(result.into())
}

impl IntoShape for usize {
    fn into_shape(self) -> Shape {
        Shape::from([self])
    }
}

impl IntoShape for () {
    fn into_shape(self) -> Shape {
        Shape::scalar()
    }
}

impl IntoShape for &Vec<usize> {
    fn into_shape(self) -> Shape {
        Shape::from(self.as_slice())
    }
}

macro_rules! shape_tuples {
    ($($($name:ident)*;)*) => {$(
        impl IntoShape for ($(shape_tuples!(@usize $name),)*) {
            #[expect(non_snake_case, reason = "the elements have the names of the pattern")]
            fn into_shape(self) -> Shape {
                let ($($name,)*) = self;
                Shape::from([$($name),*])
            }
        }
    )*};
    (@usize $name:ident) => { usize };
}
shape_tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

impl Axes for Vec<isize> {
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String> {
        self.as_slice().resolve(shape)
    }
}

impl Axes for &Vec<isize> {
    fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, String> {
        self.as_slice().resolve(shape)
    }
}
