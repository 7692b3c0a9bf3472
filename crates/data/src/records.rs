//! Sources of what a program has at hand: vectors of tuples, functions, iterators.

use std::sync::Arc;

use crate::description::{INPUT, TARGET};
use crate::{
    Dataset, Description, ElementType, Error, Field, Request, Result, Role, Sample, Source, Stream, Value,
    Values,
};

/// Up to three extents, without memory of their own: shapes are compared for every sample.
#[derive(Clone, Copy, Debug)]
pub struct Extents([usize; 3], usize);

impl std::ops::Deref for Extents {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0[..self.1]
    }
}

/// Something that can be a field of a sample: a number, an array, an array of arrays, a vector.
pub trait Cell: Send + Sync {
    /// Its numbers.
    type Number: Value;

    /// Its shape; `[]` for one number.
    fn shape(&self) -> Extents;

    /// All its numbers, row-major.
    fn numbers(&self) -> &[Self::Number];
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Cell for $type {
            type Number = $type;
            fn shape(&self) -> Extents {
                Extents([0; 3], 0)
            }
            fn numbers(&self) -> &[$type] {
                std::slice::from_ref(self)
            }
        }
    )*};
}
number!(f32, f64, i32, i64, usize, u32, u8, bool);

impl<T: Value, const N: usize> Cell for [T; N] {
    type Number = T;
    fn shape(&self) -> Extents {
        Extents([N, 0, 0], 1)
    }
    fn numbers(&self) -> &[T] {
        self
    }
}

impl<T: Value, const N: usize, const M: usize> Cell for [[T; N]; M] {
    type Number = T;
    fn shape(&self) -> Extents {
        Extents([M, N, 0], 2)
    }
    fn numbers(&self) -> &[T] {
        self.as_flattened()
    }
}

impl<T: Value, const N: usize, const M: usize, const K: usize> Cell for [[[T; N]; M]; K] {
    type Number = T;
    fn shape(&self) -> Extents {
        Extents([K, M, N], 3)
    }
    fn numbers(&self) -> &[T] {
        self.as_flattened().as_flattened()
    }
}

impl<T: Value> Cell for Vec<T> {
    type Number = T;
    fn shape(&self) -> Extents {
        Extents([self.len(), 0, 0], 1)
    }
    fn numbers(&self) -> &[T] {
        self
    }
}

impl<T: Value, const N: usize> Cell for Vec<[T; N]> {
    type Number = T;
    fn shape(&self) -> Extents {
        Extents([self.len(), N, 0], 2)
    }
    fn numbers(&self) -> &[T] {
        self.as_flattened()
    }
}

/// A sample as a tuple of [`Cell`]s. Two are `input` and `target`, one is `input`, others are `field0`, `field1` and so
/// on; all can be given names.
pub trait Record: Send + Sync {
    /// Type and shape of each field.
    fn fields(&self) -> Vec<(ElementType, Vec<usize>)>;

    /// Writes all fields, in order.
    ///
    /// # Errors
    /// A number does not fit, or a field has another shape than described.
    fn write(&self, sample: &mut Sample) -> Result<()>;
}

macro_rules! record {
    ($($cell:ident $at:tt),*) => {
        impl<$($cell: Cell),*> Record for ($($cell,)*) {
            fn fields(&self) -> Vec<(ElementType, Vec<usize>)> {
                vec![$((<$cell::Number as Value>::DTYPE, self.$at.shape().to_vec())),*]
            }
            fn write(&self, sample: &mut Sample) -> Result<()> {
                $(
                    check_shape(sample.description(), $at, &self.$at.shape())?;
                    sample.write_at($at, self.$at.numbers())?;
                )*
                Ok(())
            }
        }
    };
}
record!(A 0);
record!(A 0, B 1);
record!(A 0, B 1, C 2);
record!(A 0, B 1, C 2, D 3);
record!(A 0, B 1, C 2, D 3, E 4);

fn check_shape(description: &Description, field: usize, shape: &[usize]) -> Result<()> {
    let field = &description.fields[field];
    if field.shape == shape {
        return Ok(());
    }
    Err(Error::new(format!(
        "{}: {} has shape {shape:?} where the first sample has {:?}; cut or fill it up",
        description.name, field.name, field.shape
    )))
}

/// The description of samples like this one.
fn describe(name: &str, record: &impl Record) -> Description {
    let fields = record.fields();
    let count = fields.len();
    let named = |at: usize| match (count, at) {
        (1 | 2, 0) => INPUT.into(),
        (2, 1) => TARGET.into(),
        (_, at) => format!("field{at}"),
    };
    let fields =
        fields.into_iter().enumerate().map(|(at, (dtype, shape))| Field::numbers(named(at), dtype, &shape));
    Description { name: name.into(), target_name: None, fields: fields.collect() }
}

/// Names for the fields, in order.
fn rename(description: &mut Description, names: &[&str]) -> Result<()> {
    if names.len() != description.fields.len() {
        return Err(Error::new(format!(
            "{}: {} names for {} fields: every field needs exactly one",
            description.name,
            names.len(),
            description.fields.len()
        )));
    }
    description.fields.iter_mut().zip(names).for_each(|(field, name)| field.name = (*name).into());
    description.layout().map(drop)
}

/// Says that `target` is one of these classes.
fn name_classes(description: &mut Description, names: Vec<String>) {
    if let Some(field) = description.fields.iter_mut().find(|field| field.name == TARGET) {
        field.role = Role::Classes { names };
    }
}

/// A data set of tuples, say `(input, target)`: arrays, vectors of equal length, single numbers. All are copied once.
///
/// Targets that are single integers from 0 on are classes, called by their numbers.
///
/// ```
/// use dropforge_data::{Source, from_records};
///
/// let xor = from_records(vec![([0.0, 0.0], 0), ([0.0, 1.0], 1), ([1.0, 0.0], 1), ([1.0, 1.0], 0)])?;
/// assert_eq!((xor.len(), xor.description().class_count()), (Some(4), Some(2)));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// There are no samples, two have different shapes, or a number is NaN, infinite or beyond the range of i32.
pub fn from_records<R: Record>(records: impl IntoIterator<Item = R>) -> Result<Dataset> {
    from_named_records(&[], records)
}

/// As [`from_records`], with a name for each field: `["left", "right", "target"]`.
///
/// # Errors
/// As [`from_records`], or the number of names is not that of fields.
pub fn from_named_records<R: Record>(
    names: &[&str],
    records: impl IntoIterator<Item = R>,
) -> Result<Dataset> {
    let mut records = records.into_iter().peekable();
    let Some(first) = records.peek() else {
        return Err(Error::new("there are no samples to make a data set of"));
    };
    let mut description = describe("samples", first);
    if !names.is_empty() {
        rename(&mut description, names)?;
    }
    let layout = description.layout()?;
    let shared = Arc::new(description.clone());
    let mut all = crate::HostBatch::empty(&shared);
    for (row, record) in records.enumerate() {
        // Grows by doubling, as vectors do.
        all.resize(row + 1, &layout);
        let named = |error| Error::new(format!("{error} (sample {row})"));
        record.write(&mut all.sample(row, &layout)).map_err(named)?;
    }
    let arrays = all.into_arrays();
    let target = description.fields.iter().position(|field| field.name == TARGET && field.shape.is_empty());
    if let Some(Values::I32(classes)) = target.map(|at| &arrays[at])
        && classes.iter().all(|&class| class >= 0)
    {
        let count = classes.iter().max().map_or(0, |&most| most as usize + 1);
        // Large numbers are hardly classes; a name for each would take memory.
        if count <= 1 << 16 {
            name_classes(&mut description, (0..count).map(|class| class.to_string()).collect());
        }
    }
    Dataset::new(description, arrays)
}

/// A source whose samples a function computes; made by [`from_fn`].
pub struct FromFn<F> {
    description: Arc<Description>,
    len: usize,
    function: Arc<F>,
}

impl<F> Clone for FromFn<F> {
    fn clone(&self) -> FromFn<F> {
        FromFn { description: self.description.clone(), len: self.len, function: self.function.clone() }
    }
}

/// A source of `len` samples that a function computes when they are read, from several threads at once. The first one
/// is computed now, to see what samples look like. Random numbers should come from [`Request::random`].
///
/// ```
/// use dropforge_data::from_fn;
///
/// let line = from_fn(1000, |request| {
///     let x = request.random(0).between(-1.0, 1.0);
///     ([x], [2.0 * x + 1.0])
/// });
/// # let _ = line;
/// ```
pub fn from_fn<R: Record, F: Fn(&Request) -> R + Send + Sync>(len: usize, function: F) -> FromFn<F> {
    let description = Arc::new(describe("samples", &function(&Request::of(0))));
    FromFn { description, len, function: Arc::new(function) }
}

impl<F> FromFn<F> {
    /// Says that `target` is one of these classes.
    #[must_use]
    pub fn classes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> FromFn<F> {
        name_classes(Arc::make_mut(&mut self.description), names.into_iter().map(Into::into).collect());
        self
    }

    /// Gives each field a name, in order.
    ///
    /// # Errors
    /// The number of names is not that of fields, or two are the same.
    pub fn named(mut self, names: &[&str]) -> Result<FromFn<F>> {
        rename(Arc::make_mut(&mut self.description), names)?;
        Ok(self)
    }
}

impl<R: Record, F: Fn(&Request) -> R + Send + Sync> Source for FromFn<F> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        Some(self.len)
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        (self.function)(request).write(sample)
    }
}

/// A source of unknown length; made by [`from_iter`].
pub struct FromIter<F> {
    description: Arc<Description>,
    function: Arc<F>,
}

impl<F> Clone for FromIter<F> {
    fn clone(&self) -> FromIter<F> {
        FromIter { description: self.description.clone(), function: self.function.clone() }
    }
}

/// A source of samples that come one after another, as many as there are: a function of the epoch gives an iterator.
/// The first sample of epoch 0 is taken now, to see what samples look like.
///
/// ```
/// use dropforge_data::{Source, from_iter};
///
/// let squares = from_iter(|_epoch| (0..100).map(|i| ([i as f32], [(i * i) as f32])))?;
/// assert_eq!(squares.len(), None);
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// There is no first sample.
pub fn from_iter<R, I, F>(function: F) -> Result<FromIter<F>>
where
    R: Record,
    I: IntoIterator<Item = R>,
    I::IntoIter: Send + 'static,
    F: Fn(u64) -> I + Send + Sync,
{
    let first = function(0).into_iter().next();
    let first =
        first.ok_or_else(|| Error::new("there are no samples: the iterator of epoch 0 gives none"))?;
    Ok(FromIter { description: Arc::new(describe("samples", &first)), function: Arc::new(function) })
}

impl<F> FromIter<F> {
    /// Says that `target` is one of these classes.
    #[must_use]
    pub fn classes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> FromIter<F> {
        name_classes(Arc::make_mut(&mut self.description), names.into_iter().map(Into::into).collect());
        self
    }
}

impl<R, I, F> Source for FromIter<F>
where
    R: Record,
    I: IntoIterator<Item = R>,
    I::IntoIter: Send + 'static,
    F: Fn(u64) -> I + Send + Sync,
{
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        None
    }

    fn read(&self, _: &Request, _: &mut Sample) -> Result<()> {
        Err(Error::new(format!("{}: is a stream, it cannot be read by number", self.description.name)))
    }

    fn stream(&self, epoch: u64, _seed: u64) -> Result<Box<dyn Stream>> {
        Ok(Box::new(Records((self.function)(epoch).into_iter())))
    }
}

struct Records<I>(I);

impl<R: Record, I: Iterator<Item = R> + Send> Stream for Records<I> {
    fn next(&mut self, sample: &mut Sample) -> Result<bool> {
        match self.0.next() {
            Some(record) => record.write(sample).map(|()| true),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_one;
    use crate::testing::message;

    #[test]
    fn tuples_of_all_kinds() {
        let data = from_records(vec![([[1u8, 2], [3, 4]], 2i64), ([[5, 6], [7, 8]], 0)]).unwrap();
        let input = data.description().input().unwrap();
        assert_eq!((input.dtype, input.shape.as_slice()), (ElementType::U8, [2, 2].as_slice()));
        assert_eq!(data.description().class_names().unwrap(), ["0", "1", "2"]);
        assert_eq!(read_one(&data, 1).unwrap().get("input"), Some(&Values::U8(vec![5, 6, 7, 8])));

        let names = ["left", "right", "weight"];
        let data = from_named_records(&names, [(vec![1, 2], [true], 0.5f64)]).unwrap();
        assert_eq!(read_one(&data, 0).unwrap().get("weight"), Some(&Values::F32(vec![0.5])));
        // Negative numbers are no classes.
        let data = from_records([([0.0f32], -1)]).unwrap();
        assert_eq!(data.description().class_count(), None);

        assert!(message(from_records([(vec![1.0f32], 0), (vec![1.0, 2.0], 0)])).contains("shape [2]"));
        assert!(message(from_records([(1.0f32, 1i64 << 40)])).contains("beyond its range (sample 0)"));
        assert!(message(from_records(Vec::<(f32, f32)>::new())).contains("no samples"));
        assert!(message(from_named_records(&["a"], [(1.0f32, 2.0f32)])).contains("1 names for 2 fields"));
        assert!(message(from_named_records(&["a", "a"], [(1.0f32, 2.0f32)])).contains("two fields"));
    }

    #[test]
    fn functions_are_asked_for_the_sample() {
        let data = from_fn(10, |request: &Request| ([request.index as f32], request.index % 2));
        let data = data.classes(["even", "odd"]);
        assert_eq!(read_one(&data, 7).unwrap().get("target"), Some(&Values::I32(vec![1])));
        let bad = from_fn(1, |_: &Request| ([0.0f32], 9)).classes(["one"]);
        assert!(message(read_one(&bad, 0)).contains("label 9 of sample 0"));
        let random = from_fn(9, |request: &Request| ([request.random(1).unit()],));
        assert_eq!(read_one(&random, 3).unwrap(), read_one(&random, 3).unwrap());
    }
}
