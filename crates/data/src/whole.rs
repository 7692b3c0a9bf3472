//! All samples of a source in arrays, for a device that keeps them.

use std::sync::Arc;

use crate::transform::{Drawn, WithNumbers, with_numbers};
use crate::{
    Description, ElementType, Error, Field, HostBatch, Loader, LoaderOptions, Request, Result, Role, Sample,
    Source, TARGET, Values,
};

/// The field with the number of a sample among those that a device keeps; see [`rows`].
pub const ROW: &str = "row";

/// Samples that are read at once.
const BATCH: usize = 256;
/// Samples that are read in another epoch too, to see whether they change.
const PROBED: usize = 16;
/// Fields with fewer elements than this are not worth a table.
const LEAST_ELEMENTS: usize = 16;
/// How many numbers a byte can stand for.
const NUMBERS: usize = 256;
/// Places in which a number of a table is looked for: a power of two, of which at most a quarter is taken.
const SLOTS: usize = 1024;

/// All samples of a source, as [`whole`] reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// What a sample looks like.
    pub description: Description,
    /// How many there are.
    pub len: usize,
    /// The fields of all samples, in the order of the description.
    pub fields: Vec<WholeField>,
}

/// One field of all samples.
#[derive(Clone, Debug, PartialEq)]
pub enum WholeField {
    /// The elements, one sample after another.
    Plain(Values),
    /// A byte for each element, one sample after another, that stands for a number of f32: what has been read from
    /// bytes, such as pixels, has no more different ones.
    Bytes {
        /// Which number of its table each element is.
        bytes: Vec<u8>,
        /// The numbers: a table of 256 for each channel of the field, or one for all.
        tables: Vec<[f32; NUMBERS]>,
    },
}

impl Whole {
    /// Memory that the samples take.
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(WholeField::bytes).sum()
    }
}

impl WholeField {
    fn bytes(&self) -> usize {
        match self {
            WholeField::Plain(values) => values.len() * values.dtype().size(),
            WholeField::Bytes { bytes, tables } => bytes.len() + tables.len() * NUMBERS * 4,
        }
    }
}

/// What all samples of a source take at most once they are read, in bytes; `None` of a stream.
pub fn whole_bytes(source: &dyn Source) -> Option<usize> {
    let layout = source.description().layout().ok()?;
    let sizes = source.description().fields.iter().zip(&layout);
    let one: usize = sizes.map(|(field, elements)| field.dtype.size() * elements).sum();
    source.len()?.checked_mul(one)
}

/// Reads all samples of a source, by so many threads. Numbers that bytes can stand for are kept as such, in a quarter
/// of the memory, and come back as the same bits.
///
/// ```
/// use std::sync::Arc;
/// use dropforge_data::{digits, whole};
///
/// let (train, _) = digits(100, 0, 1);
/// let all = whole(Arc::new(train), 1)?;
/// // A byte for each pixel, and four for each class.
/// assert_eq!((all.len, all.bytes()), (100, 100 * (28 * 28 + 4) + 4 * 256));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// The source is a stream, its samples are others each time that they are read, or one cannot be read; the message
/// names it.
pub fn whole(source: Arc<dyn Source>, threads: usize) -> Result<Whole> {
    let description = source.description().clone();
    let name = description.name.clone();
    let Some(len) = source.len() else {
        return Err(Error::new(format!("{name}: is a stream, which is read once and cannot be kept")));
    };
    if i32::try_from(len).is_err() {
        return Err(Error::new(format!("{name}: {len} samples are too many to be kept whole")));
    }
    if description.field(ROW).is_some() {
        return Err(Error::new(format!(
            "{name}: there is a field `{ROW}` already, by which samples are picked"
        )));
    }
    let changing = || {
        Error::new(format!(
            "{name}: its samples are others each time that they are read, so they cannot be kept"
        ))
    };
    if source.is_random() {
        return Err(changing());
    }
    let layout = description.layout()?;
    let fields = description.fields.iter().zip(&layout);
    let mut packing: Vec<Packing> =
        fields.map(|(field, &elements)| Packing::new(field, elements, len)).collect::<Result<_>>()?;
    let options =
        LoaderOptions { batch: BATCH.min(len.max(1)), shuffle: false, threads, ..Default::default() };
    let loader = Loader::new(source.clone(), options)?;
    let mut epoch = loader.epoch(0, 0);
    let mut first = true;
    while let Some(batch) = epoch.next() {
        let batch = batch?;
        if std::mem::take(&mut first) && !reads_the_same(&*source, &batch, &layout)? {
            return Err(changing());
        }
        for ((packing, array), field) in packing.iter_mut().zip(&batch.arrays).zip(&description.fields) {
            packing.add(array).ok_or_else(|| too_large(field, len))?;
        }
        epoch.recycle(batch);
    }
    let fields = packing.into_iter().map(Packing::finish).collect();
    Ok(Whole { description, len, fields })
}

/// Whether the first samples are the same in another epoch, and of another seed: a source of a program's own may not
/// say that it draws random numbers.
fn reads_the_same(source: &dyn Source, batch: &HostBatch, layout: &[usize]) -> Result<bool> {
    let mut again = HostBatch::empty(&batch.description);
    again.resize(1, layout);
    for index in 0..batch.len().min(PROBED) {
        let request = Request { index, epoch: 1, seed: 1 };
        source.read(&request, &mut again.sample(0, layout))?;
        let same = |((now, then), &elements): ((&Values, &Values), &usize)| {
            now.is_same(0, then, index * elements, elements)
        };
        if !again.arrays.iter().zip(&batch.arrays).zip(layout).all(same) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A field while samples come.
enum Packing {
    Plain(Values),
    Bytes {
        bytes: Vec<u8>,
        tables: Vec<Table>,
        /// Elements of one channel.
        channel: usize,
        /// Elements of all samples.
        count: usize,
    },
}

fn too_large(field: &Field, len: usize) -> Error {
    Error::new(format!("{}: {len} samples of shape {:?} do not fit in memory", field.name, field.shape))
}

impl Packing {
    fn new(field: &Field, elements: usize, len: usize) -> Result<Packing> {
        let too_large = || too_large(field, len);
        let count =
            elements.checked_mul(len).filter(|&n| n <= isize::MAX as usize / 8).ok_or_else(too_large)?;
        // Targets are looked at before they are trained on, as they are.
        let is_packed = field.dtype == ElementType::F32
            && field.role == Role::Numbers
            && field.name != TARGET
            && elements >= LEAST_ELEMENTS;
        if !is_packed {
            let mut values = Values::empty(field.dtype);
            values.reserve(count).map_err(|_| too_large())?;
            return Ok(Packing::Plain(values));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count).map_err(|_| too_large())?;
        // Normalisation has numbers for each channel of images.
        let channels = if let [channels, _, _] = field.shape[..] { channels } else { 1 };
        let tables = (0..channels).map(|_| Table::default()).collect();
        Ok(Packing::Bytes { bytes, tables, channel: elements / channels, count })
    }

    /// Adds whole samples; `None` where they are no bytes, and there is no memory for all of them as they are.
    fn add(&mut self, values: &Values) -> Option<()> {
        if let (Packing::Bytes { bytes, tables, channel, count }, Values::F32(floats)) = (&mut *self, values)
        {
            let before = bytes.len();
            let mut fits = true;
            for (number, run) in floats.chunks(*channel).enumerate() {
                let table = number % tables.len();
                fits = fits && tables[table].encode(run, bytes);
            }
            if fits {
                return Some(());
            }
            bytes.truncate(before);
            let floats = decoded(bytes, tables, *channel, *count)?;
            *self = Packing::Plain(Values::F32(floats));
        }
        if let Packing::Plain(all) = self {
            all.extend(values);
        }
        Some(())
    }

    fn finish(self) -> WholeField {
        match self {
            Packing::Plain(values) => WholeField::Plain(values),
            Packing::Bytes { bytes, tables, .. } => {
                WholeField::Bytes { bytes, tables: tables.iter().map(|table| table.numbers).collect() }
            }
        }
    }
}

/// The numbers that bytes stand for, with room for so many in all; `None` where there is no memory for them.
fn decoded(bytes: &[u8], tables: &[Table], channel: usize, count: usize) -> Option<Vec<f32>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).ok()?;
    let runs = bytes.chunks(channel).enumerate();
    let numbers = runs.flat_map(|(number, run)| {
        let table = &tables[number % tables.len()].numbers;
        run.iter().map(move |&byte| table[byte as usize])
    });
    all.extend(numbers);
    Some(all)
}

/// The different numbers of a channel, each found by its bits.
struct Table {
    numbers: [f32; NUMBERS],
    count: usize,
    /// One more than the place of a number, in the slot that its bits point to or one behind; 0 where there is none.
    slots: Box<[u16; SLOTS]>,
}

impl Default for Table {
    fn default() -> Table {
        Table { numbers: [0.0; NUMBERS], count: 0, slots: Box::new([0; SLOTS]) }
    }
}

impl Table {
    /// Adds a byte for each number; false once there are more different numbers than bytes.
    fn encode(&mut self, run: &[f32], bytes: &mut Vec<u8>) -> bool {
        run.iter().all(|&number| {
            let Some(byte) = self.byte(number) else { return false };
            bytes.push(byte);
            true
        })
    }

    fn byte(&mut self, number: f32) -> Option<u8> {
        let bits = number.to_bits();
        // Fibonacci hashing: numbers that differ in a few bits go to slots far from each other.
        let mut slot = (bits.wrapping_mul(0x9e37_79b9) >> (32 - SLOTS.ilog2())) as usize;
        loop {
            match usize::from(self.slots[slot]).checked_sub(1) {
                Some(place) if self.numbers[place].to_bits() == bits => return u8::try_from(place).ok(),
                Some(_) => slot = (slot + 1) % SLOTS,
                None => break,
            }
        }
        let place = u8::try_from(self.count).ok()?;
        self.numbers[self.count] = number;
        self.count += 1;
        self.slots[slot] = self.count as u16;
        Some(place)
    }
}

/// The numbers of the samples in place of the samples, for a device that keeps these; made by [`rows`].
#[derive(Clone)]
pub struct Rows {
    source: Arc<dyn Source>,
    changes: Option<WithNumbers>,
    description: Description,
}

/// The field `row` with the number of each sample, and the field `change` with the numbers that decide these changes
/// of its image, if there are any, as [`with_numbers`] gives them. The samples themselves are not read.
///
/// # Errors
/// As for [`with_numbers`].
pub fn rows(source: Arc<dyn Source>, changes: Vec<Arc<dyn Drawn>>) -> Result<Rows> {
    let mut description = Description::new(source.description().name.clone());
    let changes = if changes.is_empty() { None } else { Some(with_numbers(source.clone(), changes)?) };
    if let Some(field) = changes.as_ref().and_then(|with| with.description().fields.last()) {
        description = description.with(field.clone());
    }
    let description = description.with(Field::numbers(ROW, ElementType::I32, &[]));
    Ok(Rows { source, changes, description })
}

impl Source for Rows {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        self.source.len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        if let Some(changes) = &self.changes {
            changes.draw(request, sample)?;
        }
        sample.write(ROW, &[request.index])
    }

    fn inner(&self) -> Option<&dyn Source> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;
    use crate::transform::{Flip, augment};
    use crate::{Dataset, Normalization, balanced, digits, from_iter, from_records, subset};

    /// The elements that a field stands for.
    fn floats(field: &WholeField, channel: usize) -> Vec<f32> {
        match field {
            WholeField::Plain(values) => values.slice().unwrap().to_vec(),
            WholeField::Bytes { bytes, tables } => {
                let number = |(at, &byte): (usize, &u8)| tables[at / channel % tables.len()][byte as usize];
                bytes.iter().enumerate().map(number).collect()
            }
        }
    }

    fn pictures(pixels: Vec<u8>) -> Dataset {
        let description = Description::classes("pictures", &[3, 8, 8], ["a", "b"]);
        let count = pixels.len() / 192;
        let classes: Vec<i32> = (0..count).map(|i| (i % 2) as i32).collect();
        let data = Dataset::from_u8(description, pixels, classes).unwrap();
        data.normalized(Normalization::new(&[0.4, 0.5, 0.6], &[0.2, 0.3, 0.4]).unwrap()).unwrap()
    }

    #[test]
    fn what_comes_from_bytes_is_kept_as_bytes_and_comes_back_as_the_same_bits() {
        let data = pictures((0..600 * 192).map(|i| (i * 7919 % 256) as u8).collect());
        for threads in [1, 3] {
            let all = whole(Arc::new(data.clone()), threads).unwrap();
            assert!(matches!(&all.fields[0], WholeField::Bytes { tables, .. } if tables.len() == 3));
            let found = floats(&all.fields[0], 64);
            let batch = Loader::new(
                Arc::new(data.clone()),
                LoaderOptions { batch: 600, shuffle: false, ..Default::default() },
            );
            let batch = batch.unwrap().epoch(0, 0).next().unwrap().unwrap();
            let expected = batch.get("input").unwrap().slice::<f32>().unwrap();
            assert!(found.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits())));
            assert_eq!(all.fields[1], WholeField::Plain(batch.get("target").unwrap().clone()));
            assert_eq!(all.bytes(), 600 * 196 + 3 * 1024);
            assert_eq!(whole_bytes(&data), Some(600 * (192 * 4 + 4)));
        }
    }

    #[test]
    fn numbers_that_bytes_cannot_stand_for_stay() {
        // The 257th different number comes in a later batch than the first.
        let records = (0..700).map(|i| ([(i / 2) as f32 * 0.5; 20], i as f32));
        let all = whole(Arc::new(from_records(records).unwrap()), 1).unwrap();
        let expected: Vec<f32> = (0..700).flat_map(|i| [(i / 2) as f32 * 0.5; 20]).collect();
        assert_eq!(all.fields[0], WholeField::Plain(Values::F32(expected)));
        assert_eq!(all.fields[1], WholeField::Plain(Values::F32((0..700).map(|i| i as f32).collect())));
        let zeros = (0..2).map(|i| ([if i == 0 { 0.0 } else { -0.0f32 }; 16],));
        let all = whole(Arc::new(from_records(zeros).unwrap()), 1).unwrap();
        assert_eq!(floats(&all.fields[0], 16)[16].to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn numbers_for_which_there_is_no_memory_are_an_error() {
        let mut packing = Packing::Bytes {
            bytes: Vec::new(),
            tables: vec![Table::default()],
            channel: 300,
            count: isize::MAX as usize / 8,
        };
        assert!(packing.add(&Values::F32(vec![0.5; 300])).is_some());
        assert!(packing.add(&Values::F32((0..300).map(|i| i as f32).collect())).is_none());
    }

    /// Does not say that it draws.
    struct Drawing(Description);

    impl Source for Drawing {
        fn description(&self) -> &Description {
            &self.0
        }
        fn len(&self) -> Option<usize> {
            Some(5)
        }
        fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
            let x = request.random(0).unit();
            sample.write("input", &[x])?;
            sample.write("target", &[x])
        }
    }

    #[test]
    fn what_changes_or_has_no_end_is_refused() {
        let (train, _) = digits(20, 0, 1);
        let train: Arc<dyn Source> = Arc::new(train);
        let changed = Arc::new(augment(train.clone(), vec![Box::new(Flip { probability: 0.0 })]).unwrap());
        let even = Arc::new(balanced(train.clone()).unwrap());
        let part: Arc<dyn Source> = Arc::new(subset(even.clone(), vec![1, 2]).unwrap());
        let drawing = Arc::new(Drawing(Description::values("line", &[1], &[1])));
        for source in [changed as Arc<dyn Source>, even, part, drawing] {
            assert!(message(whole(source, 1)).contains("others each time"));
        }
        let stream = Arc::new(from_iter(|_| [([0.0f32], 1)]).unwrap());
        assert!(message(whole(stream, 1)).contains("is a stream"));
        let broken = Arc::new(crate::from_fn(40, |request| {
            ([if request.index == 33 { f32::NAN } else { 0.0 }], 1.0f32)
        }));
        assert!(message(whole(broken, 1)).contains("sample 33"));
    }

    #[test]
    fn numbers_of_samples_come_in_the_same_order_as_samples() {
        let data = pictures((0..90 * 192).map(|i| (i * 31 % 251) as u8).collect());
        let source: Arc<dyn Source> = Arc::new(data);
        let changes = || vec![Arc::new(Flip::default()) as Arc<dyn Drawn>];
        let all = whole(source.clone(), 1).unwrap();
        let classes = match &all.fields[1] {
            WholeField::Plain(values) => values.slice::<i32>().unwrap().to_vec(),
            WholeField::Bytes { .. } => panic!("classes stay"),
        };
        let options = LoaderOptions { batch: 16, seed: 4, ..Default::default() };
        let host = Loader::new(Arc::new(with_numbers(source.clone(), changes()).unwrap()), options.clone());
        let device = Loader::new(Arc::new(rows(source, changes()).unwrap()), options);
        let (host, device) = (host.unwrap(), device.unwrap());
        for epoch in 0..2 {
            for (host, device) in host.epoch(epoch, 1).zip(device.epoch(epoch, 1)) {
                let (host, device) = (host.unwrap(), device.unwrap());
                assert_eq!(host.get("change"), device.get("change"));
                let rows = device.get(ROW).unwrap().slice::<i32>().unwrap();
                let found: Vec<i32> = rows.iter().map(|&row| classes[row as usize]).collect();
                assert_eq!(host.get("target"), Some(&Values::I32(found)));
                assert_eq!(device.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["change", ROW]);
            }
        }
    }
}
