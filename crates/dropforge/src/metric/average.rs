//! How the numbers of several classes become one.

use crate::settings::{Context, SettingType, Value, unknown};
use crate::{Error, Result};

/// How the numbers of several classes become one, as in scikit-learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Average {
    /// `Binary` for one logit or two classes, else `Macro`.
    #[default]
    Auto,
    /// The number of the class that means yes: the second of two.
    Binary,
    /// The mean over the classes that occur among targets or predictions.
    Macro,
    /// Over the decisions of all classes together.
    Micro,
    /// The mean over the classes, each as often as it occurs among the targets.
    Weighted,
    /// As `Macro`, under the name `f1_per_class`, and the number of each class beside it, as `f1_0`, `f1_1`, ..
    PerClass,
}

impl Average {
    const NAMES: [(&'static str, Average); 6] = [
        ("auto", Average::Auto),
        ("binary", Average::Binary),
        ("macro", Average::Macro),
        ("micro", Average::Micro),
        ("weighted", Average::Weighted),
        ("per_class", Average::PerClass),
    ];

    fn word(self) -> &'static str {
        Average::NAMES.iter().find(|(_, average)| *average == self).map_or("auto", |(name, _)| name)
    }

    /// What a metric with this average is called, so that several may stand beside each other.
    pub(super) fn name(self, metric: &str) -> String {
        match self {
            Average::Auto => metric.into(),
            _ => format!("{metric}_{}", self.word()),
        }
    }
}

impl SettingType for Average {
    fn expects() -> String {
        "\"auto\", \"binary\", \"macro\", \"micro\", \"weighted\" or \"per_class\"".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Average> {
        let Some(word) = value.as_str() else {
            return Err(Error::setting(format!("should be {}, got {value}", Average::expects())));
        };
        let found = Average::NAMES.iter().find(|(name, _)| *name == word).map(|(_, average)| *average);
        let known: Vec<&str> = Average::NAMES.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| unknown("there is no average", word, "there are", &known))
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::String(self.word().into())))
    }
}
