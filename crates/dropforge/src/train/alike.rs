//! Samples like those that were trained on: the same fields, and classes by the numbers that they had in training.

use crate::{Error, Result};
use dropforge_data::{Description, ElementType, Request, Role, Sample, Source, Stream, TARGET};
use std::sync::Arc;

/// The samples with their classes as `trained` numbers them, which are told by their names.
pub(super) fn alike(trained: &Description, samples: Arc<dyn Source>) -> Result<Arc<dyn Source>> {
    let given = samples.description();
    for field in &trained.fields {
        let Some(now) = given.field(&field.name) else { continue };
        if (now.dtype, &now.shape) != (field.dtype, &field.shape) {
            return Err(Error::data(format!(
                "{}: the field \"{}\" is {}{:?}, in training it is {}{:?}",
                given.name, field.name, now.dtype, now.shape, field.dtype, field.shape
            )));
        }
    }
    let (Some(known), Some(target)) = (trained.class_names(), given.target()) else { return Ok(samples) };
    let Some(names) = target.classes() else {
        if target.dtype == ElementType::I32 {
            // Without names they are as training numbers them.
            return Ok(samples);
        }
        return Err(Error::data(format!(
            "{} has values as targets, the network was trained on classes",
            given.name
        )));
    };
    if names == known {
        return Ok(samples);
    }
    let numbers = map_classes(names, known).map_err(|error| error.context(&given.name))?;
    let mut description = given.clone();
    let place = description.fields.iter().position(|field| field.name == TARGET);
    if let Some(place) = place {
        description.fields[place].role = Role::Classes { names: known.to_vec() };
    }
    Ok(Arc::new(Renumbered { samples, description, numbers: numbers.into() }))
}

/// Samples whose classes have other numbers.
struct Renumbered {
    samples: Arc<dyn Source>,
    description: Description,
    numbers: Arc<[i32]>,
}

impl Source for Renumbered {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        self.samples.len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> dropforge_data::Result<()> {
        self.samples.read(request, sample)?;
        renumber(sample, &self.numbers)
    }

    fn stream(&self, epoch: u64, seed: u64) -> dropforge_data::Result<Box<dyn Stream>> {
        let stream = self.samples.stream(epoch, seed)?;
        Ok(Box::new(RenumberedStream { stream, numbers: self.numbers.clone() }))
    }

    fn inner(&self) -> Option<&dyn Source> {
        Some(&*self.samples)
    }

    fn class(&self, index: usize) -> Option<i32> {
        let class = usize::try_from(self.samples.class(index)?).ok()?;
        self.numbers.get(class).copied()
    }
}

struct RenumberedStream {
    stream: Box<dyn Stream>,
    numbers: Arc<[i32]>,
}

impl Stream for RenumberedStream {
    fn next(&mut self, sample: &mut Sample) -> dropforge_data::Result<bool> {
        let there = self.stream.next(sample)?;
        if there {
            renumber(sample, &self.numbers)?;
        }
        Ok(there)
    }
}

fn renumber(sample: &mut Sample, numbers: &[i32]) -> dropforge_data::Result<()> {
    for class in sample.get::<i32>(TARGET)? {
        let number = usize::try_from(*class).ok().and_then(|class| numbers.get(class));
        *class = *number.ok_or_else(|| dropforge_data::Error::new(no_class(*class, numbers.len())))?;
    }
    Ok(())
}

/// Says that a class is none of this many.
pub(crate) fn no_class(class: i32, count: usize) -> String {
    format!("there is no class {class}: {count} are known, numbered from 0")
}

/// For each class the number that the training had for it. Classes of which only numbers are known, `0`, `1` and so on,
/// as those of records in a program, have these, unless the training knew one of that name.
pub(crate) fn map_classes(names: &[String], known: &[String]) -> Result<Vec<i32>> {
    let number = |name: &String| known.iter().position(|known| known == name);
    let are_numbers = names.iter().enumerate().all(|(number, name)| *name == number.to_string());
    if are_numbers && names.len() <= known.len() && names.iter().all(|name| number(name).is_none()) {
        return Ok((0..).take(names.len()).collect());
    }
    let unknown: Vec<&str> = names.iter().filter(|name| number(name).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(Error::data(format!(
            "the network was trained on the classes {}; it does not know {}: give the classes those names (of images, the folders)",
            some(known.iter().map(String::as_str)),
            some(unknown.into_iter())
        )));
    }
    Ok(names.iter().filter_map(|name| number(name).map(|number| number as i32)).collect())
}

/// The first of some names.
pub(crate) fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = names.take(SHOWN).collect();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_data::Field;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// A sample of class 1 that says where it is from.
    struct Told(Description);

    impl Source for Told {
        fn description(&self) -> &Description {
            &self.0
        }

        fn len(&self) -> Option<usize> {
            Some(1)
        }

        fn read(&self, _: &Request, sample: &mut Sample) -> dropforge_data::Result<()> {
            sample.write("input", &[0.5f32])?;
            sample.write(TARGET, &[1])
        }

        fn class(&self, _: usize) -> Option<i32> {
            Some(1)
        }

        fn origin(&self, _: usize) -> Option<String> {
            Some("a file".into())
        }

        fn data_name(&self) -> Option<String> {
            Some("folder:pets".into())
        }
    }

    #[test]
    fn other_numbers_change_nothing_else_and_numbers_need_no_names() {
        let trained = Description::classes("trained", &[1], ["cat", "dog"]);
        let given = Arc::new(Told(Description::classes("given", &[1], ["dog", "cat"])));
        let numbered = alike(&trained, given).unwrap();
        assert_eq!(numbered.description().class_names().unwrap(), ["cat", "dog"]);
        assert_eq!((numbered.class(0), numbered.origin(0)), (Some(0), Some("a file".into())));
        assert_eq!(numbered.data_name().as_deref(), Some("folder:pets"));
        let sample = dropforge_data::read_one(&*numbered, 0).unwrap();
        assert_eq!(sample.get(TARGET).and_then(|target| target.slice::<i32>()), Some(&[0][..]));
        // Classes without names have the numbers of the training; numbers are no classes.
        let fields = |dtype| {
            let input = Field::numbers("input", ElementType::F32, &[1]);
            Description::new("plain").with(input).with(Field::numbers(TARGET, dtype, &[]))
        };
        assert_eq!(alike(&trained, Arc::new(Told(fields(ElementType::I32)))).unwrap().class(0), Some(1));
        let refused = alike(&trained, Arc::new(Told(fields(ElementType::F32)))).err().unwrap().to_string();
        assert!(refused.contains("the field \"target\" is f32"), "{refused}");
    }

    #[test]
    fn classes_are_told_by_their_names() {
        let known = names(&["blue", "red", "green"]);
        assert_eq!(map_classes(&names(&["blue", "red", "green"]), &known).unwrap(), [0, 1, 2]);
        assert_eq!(map_classes(&names(&["green", "blue"]), &known).unwrap(), [2, 0]);
        let message = map_classes(&names(&["Red", "blue"]), &known).unwrap_err().to_string();
        assert!(message.contains("blue, red, green") && message.contains("does not know Red"), "{message}");
        // Numbers alone, as records have them.
        assert_eq!(map_classes(&names(&["0", "1"]), &known).unwrap(), [0, 1]);
        assert!(map_classes(&names(&["1", "2"]), &known).is_err());
        assert!(map_classes(&names(&["0", "1", "2", "3"]), &known).is_err());
        assert_eq!(map_classes(&names(&["0", "1"]), &names(&["1", "0"])).unwrap(), [1, 0]);
        let many: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let message = map_classes(&names(&["x"]), &many).unwrap_err().to_string();
        assert!(message.contains("7 and 12 more"), "{message}");
    }
}
