//! What the samples of a source look like, field by field.

use serde::{Deserialize, Serialize};

use crate::column::trimmed_if_any;
use crate::{ElementType, Error, Preparation, Result, Vocabulary};

/// What the elements of a field stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Role {
    /// Numbers.
    Numbers,
    /// Each element is one of these classes; class `i` is called `names[i]`.
    Classes {
        /// Names, in the order of the class numbers.
        names: Vec<String>,
    },
    /// Each element is a number of a vocabulary.
    Tokens {
        /// What the numbers stand for.
        vocabulary: Vocabulary,
    },
}

/// One named array of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name: `input`, `target`, `mask`.
    pub name: String,
    /// Type of the elements.
    pub dtype: ElementType,
    /// Shape for one sample, without the batch: `[1, 28, 28]` for a grey image (channels, height, width), `[]` for one
    /// number.
    pub shape: Vec<usize>,
    /// What the elements stand for.
    pub role: Role,
    /// How raw data becomes these numbers, so that later inputs get the same as those trained on.
    #[serde(default)]
    pub preparation: Preparation,
    /// Names of the columns of a file that the numbers stand in, in order, where they come from such a file and the
    /// preparation does not name them: later files are read by them. Empty by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

impl Field {
    /// A field of numbers.
    pub fn numbers(name: impl Into<String>, dtype: ElementType, shape: &[usize]) -> Field {
        Field {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            role: Role::Numbers,
            preparation: Preparation::None,
            columns: Vec::new(),
        }
    }

    /// A field with one class per sample.
    pub fn class<S: Into<String>>(name: impl Into<String>, names: impl IntoIterator<Item = S>) -> Field {
        let role = Role::Classes { names: names.into_iter().map(Into::into).collect() };
        Field { role, ..Field::numbers(name, ElementType::I32, &[]) }
    }

    /// A field of `length` tokens of a vocabulary.
    pub fn tokens(name: impl Into<String>, length: usize, vocabulary: Vocabulary) -> Field {
        Field { role: Role::Tokens { vocabulary }, ..Field::numbers(name, ElementType::I32, &[length]) }
    }

    /// The same with another preparation.
    #[must_use]
    pub fn prepared(self, preparation: Preparation) -> Field {
        Field { preparation, ..self }
    }

    /// The same, read from the columns of these names.
    #[must_use]
    pub fn from_columns<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Field {
        Field { columns: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// How many elements a sample has: the product of the shape.
    ///
    /// # Errors
    /// An extent is zero or the product does not fit in memory.
    pub fn elements(&self) -> Result<usize> {
        let product = self.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        match product {
            Some(n) if n > 0 && n <= isize::MAX as usize / 8 => Ok(n),
            Some(0) => Err(Error::new(format!(
                "{} of shape {:?} has an extent of 0, so it holds nothing",
                self.name, self.shape
            ))),
            _ => Err(Error::new(format!("{} of shape {:?} is too large for memory", self.name, self.shape))),
        }
    }

    /// The names of the classes, if there are classes.
    pub fn classes(&self) -> Option<&[String]> {
        if let Role::Classes { names } = &self.role { Some(names) } else { None }
    }

    /// The vocabulary, if the elements are tokens.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        if let Role::Tokens { vocabulary } = &self.role { Some(vocabulary) } else { None }
    }

    /// How many different numbers there can be: classes or tokens.
    pub(crate) fn count(&self) -> Option<usize> {
        match &self.role {
            Role::Numbers => None,
            Role::Classes { names } => Some(names.len()),
            Role::Tokens { vocabulary } => Some(vocabulary.len()),
        }
    }

    /// How many channels normalisation sees: the first extent, 1 for a scalar.
    pub(crate) fn channels(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }
}

/// What every sample of a source looks like: its fields, in order.
///
/// Most samples have an `input` and a `target`, which is what [`Description::classes`] and [`Description::values`]
/// make; there may be any others, masks, pairs, several targets, weights. Written and read by `serde`, so that a
/// trained model keeps what its data looked like.
///
/// ```
/// use dropforge_data::{ElementType, Description, Field};
///
/// let pairs = Description::new("pairs")
///     .with(Field::numbers("left", ElementType::U8, &[1, 28, 28]))
///     .with(Field::numbers("right", ElementType::U8, &[1, 28, 28]))
///     .with(Field::class("target", ["other", "same"]));
/// assert_eq!(pairs.field("target").and_then(Field::classes).map(<[String]>::len), Some(2));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// A short name for messages: `mnist`, `digits`, a folder.
    pub name: String,
    /// What the target is called in the data: the column of a table.
    #[serde(default, deserialize_with = "trimmed_if_any", skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// The fields.
    pub fields: Vec<Field>,
}

/// The field that models of one input read.
pub const INPUT: &str = "input";
/// The field that models of one output are to predict.
pub const TARGET: &str = "target";

impl Description {
    /// A description without fields yet.
    pub fn new(name: impl Into<String>) -> Description {
        Description { name: name.into(), target_name: None, fields: Vec::new() }
    }

    /// The same with one field more.
    #[must_use]
    pub fn with(mut self, field: Field) -> Description {
        self.fields.push(field);
        self
    }

    /// A description of samples that belong to named classes: `input`, f32 of this shape, and `target`.
    pub fn classes<S: Into<String>>(
        name: impl Into<String>,
        input_shape: &[usize],
        names: impl IntoIterator<Item = S>,
    ) -> Description {
        let input = Field::numbers(INPUT, ElementType::F32, input_shape);
        Description::new(name).with(input).with(Field::class(TARGET, names))
    }

    /// A description of samples with real-valued targets of `target_shape` (`[]` for one number): `input` and `target`,
    /// f32.
    pub fn values(name: impl Into<String>, input_shape: &[usize], target_shape: &[usize]) -> Description {
        let input = Field::numbers(INPUT, ElementType::F32, input_shape);
        Description::new(name).with(input).with(Field::numbers(TARGET, ElementType::F32, target_shape))
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field `input`, or else the first.
    pub fn input(&self) -> Option<&Field> {
        self.field(INPUT).or(self.fields.first())
    }

    /// The field `target`.
    pub fn target(&self) -> Option<&Field> {
        self.field(TARGET)
    }

    /// The names of the classes of `target`; `None` when it has none.
    pub fn class_names(&self) -> Option<&[String]> {
        self.target()?.classes()
    }

    /// How many classes `target` has; `None` when it has none.
    pub fn class_count(&self) -> Option<usize> {
        self.class_names().map(<[String]>::len)
    }

    /// Elements of one sample in each field.
    ///
    /// # Errors
    /// There are no fields, two have the same name, or a shape holds nothing or does not fit in memory.
    pub(crate) fn layout(&self) -> Result<Vec<usize>> {
        if self.fields.is_empty() {
            return Err(Error::new(format!("{}: samples have no fields", self.name)));
        }
        for (i, field) in self.fields.iter().enumerate() {
            if self.fields[..i].iter().any(|other| other.name == field.name) {
                return Err(Error::new(format!("{}: two fields are called {}", self.name, field.name)));
            }
            if field.count().is_some() && field.dtype != ElementType::I32 {
                return Err(Error::new(format!(
                    "{}: {} has classes or tokens of type {}; they must be i32",
                    self.name, field.name, field.dtype
                )));
            }
        }
        let elements = self.fields.iter().map(Field::elements).collect::<Result<Vec<usize>>>();
        elements.map_err(|error| Error::new(format!("{}: {error}", self.name)))
    }

    pub(crate) fn position(&self, name: &str) -> Result<usize> {
        self.fields.iter().position(|field| field.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
            Error::new(format!("{}: there is no field `{name}`, only {}", self.name, names.join(", ")))
        })
    }
}
