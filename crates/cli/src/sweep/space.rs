//! What a sweep tries: settings with what each may be.

use dropforge::run::check_path;
use dropforge::settings::{SettingType, Table, Value, unknown};
use dropforge::train::Monitor;

/// Settings with their values, of one trial.
pub type Trial = Vec<(String, Value)>;

/// What is tried, from a file.
pub struct Space {
    /// Words for every `dropforge train`.
    pub args: Vec<String>,
    pub monitor: Monitor,
    /// Settings with what each may be.
    pub settings: Vec<(String, Choice)>,
    /// The settings as the file has them.
    pub table: Table,
}

/// What a setting may be.
pub enum Choice {
    OneOf(Vec<Value>),
    Between { low: f64, high: f64, log: bool },
}

impl Space {
    pub fn parse(text: &str) -> Result<Space, String> {
        let table: Table = text.parse().map_err(|error| format!("{error}").replace('\n', " "))?;
        let known = ["args", "monitor", "space"];
        if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(unknown("there is no setting", other, "there are", &known).to_string());
        }
        let wrong = |error: dropforge::Error| error.for_command();
        let context = dropforge::settings::Context::NONE;
        let args = table.get("args").map(|args| Vec::<String>::read(args, &context)).transpose();
        let monitor = Value::String("val_loss".into());
        let monitor = Monitor::read(table.get("monitor").unwrap_or(&monitor), &context);
        let space = table.get("space").and_then(Value::as_table).filter(|space| !space.is_empty());
        let space = space.ok_or("[space] is missing: name settings with what they may be")?;
        let settings = space.iter().map(|(path, value)| {
            check_path(path).map_err(wrong)?;
            Ok((path.clone(), Choice::read(value).map_err(|error| format!("{path}: {error}"))?))
        });
        Ok(Space {
            args: args.map_err(|error| format!("args: {error}"))?.unwrap_or_default(),
            monitor: monitor.map_err(|error| format!("monitor: {error}"))?,
            settings: settings.collect::<Result<_, String>>()?,
            table: space.clone(),
        })
    }

    /// All combinations, the last setting changing fastest.
    pub fn grid(&self) -> Result<Vec<Trial>, String> {
        let mut all: Vec<Trial> = vec![Vec::new()];
        for (path, choice) in &self.settings {
            let Choice::OneOf(values) = choice else {
                return Err(format!(
                    "{path} has a range, of which there is no grid; list its values, or add --random N or --tpe N"
                ));
            };
            all = all
                .iter()
                .flat_map(|trial| values.iter().map(move |value| (trial, value)))
                .map(|(trial, value)| [trial.clone(), vec![(path.clone(), value.clone())]].concat())
                .collect();
        }
        Ok(all)
    }

    /// What a trial draws: the same for a seed and a number, whatever the other trials.
    pub fn random(&self, seed: u64, trial: u64) -> Trial {
        let draws = self.settings.iter().enumerate().map(|(place, (path, choice))| {
            let draw = uniform(seed, trial, place as u64);
            (path.clone(), choice.at(draw))
        });
        draws.collect()
    }
}

impl Choice {
    fn read(value: &Value) -> Result<Choice, String> {
        match value {
            Value::Array(values) if !values.is_empty() => Ok(Choice::OneOf(values.clone())),
            Value::Table(table) => {
                let known = ["low", "high", "log"];
                if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
                    return Err(unknown("a range has no", other, "it has", &known).to_string());
                }
                let number = |key: &str| match table.get(key) {
                    Some(Value::Float(number)) => Ok(*number),
                    Some(Value::Integer(number)) => Ok(*number as f64),
                    _ => Err(format!("`{key}` should be a number")),
                };
                let (low, high) = (number("low")?, number("high")?);
                let log = table.get("log").and_then(Value::as_bool).unwrap_or(false);
                if low.is_nan() || high.is_nan() || low >= high || (log && low <= 0.0) {
                    return Err(format!(
                        "goes from {low} to {high}; `low` must be less, and above 0 with `log`"
                    ));
                }
                Ok(Choice::Between { low, high, log })
            }
            _ => Err("should be a list of values, or a range such as { low = 1e-4, high = 0.1, log = true }"
                .into()),
        }
    }

    /// The place from 0 to 1 of a value as a run writes it; `None` if the value is none of this choice.
    pub fn place(&self, value: &str) -> Option<f64> {
        match self {
            Choice::OneOf(values) => {
                let text = |known: &Value| known.as_str().map_or_else(|| known.to_string(), str::to_string);
                let number = value.parse::<f64>().ok();
                let same = |known: &&Value| {
                    let known = text(known);
                    known == value || (number.is_some() && known.parse::<f64>().ok() == number)
                };
                let index = values.iter().position(|known| same(&known))?;
                Some((index as f64 + 0.5) / values.len() as f64)
            }
            Choice::Between { low, high, log } => {
                let number: f64 = value.parse().ok()?;
                let place = match log {
                    true => (number / low).ln() / (high / low).ln(),
                    false => (number - low) / (high - low),
                };
                (-1e-6..=1.0 + 1e-6).contains(&place).then(|| place.clamp(0.0, 1.0))
            }
        }
    }

    /// The value at a place from 0 up to 1.
    pub fn at(&self, draw: f64) -> Value {
        match self {
            Choice::OneOf(values) => {
                values[((draw * values.len() as f64) as usize).min(values.len() - 1)].clone()
            }
            Choice::Between { low, high, log: true } => Value::Float(low * (high / low).powf(draw)),
            Choice::Between { low, high, .. } => Value::Float(low + (high - low) * draw),
        }
    }
}

/// A number from 0 up to 1 for three numbers (SplitMix64).
pub fn uniform(seed: u64, trial: u64, place: u64) -> f64 {
    let mut word = [seed, trial, place].into_iter().fold(0u64, |word, number| {
        let mut word = word.wrapping_add(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    word >>= 11;
    word as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    #[test]
    fn grids_and_draws() {
        let text =
            "monitor = 'highest val_accuracy'\n[space]\n'optimizer.lr' = [0.1, 0.01]\nbatch = [8, 16, 32]\n";
        let space = Space::parse(text).unwrap();
        let grid = space.grid().unwrap();
        assert_eq!(grid.len(), 6);
        assert!(said(&grid[0]).contains("batch = 8") && said(&grid[5]).contains("batch = 32"));
        let space =
            Space::parse("[space]\n'optimizer.lr' = { low = 1e-4, high = 1e-1, log = true }").unwrap();
        assert!(space.grid().err().unwrap().contains("--random"));
        let draws: Vec<f64> = (0..200).map(|trial| space.random(7, trial)[0].1.as_float().unwrap()).collect();
        assert!(
            draws.iter().all(|rate| (1e-4..0.1).contains(rate)) && space.random(7, 3) == space.random(7, 3)
        );
        // Half of them below the middle of the logarithms.
        let low = draws.iter().filter(|rate| **rate < 10f64.powf(-2.5)).count();
        assert!((70..130).contains(&low), "{low}");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |text: &str| Space::parse(text).err().unwrap();
        assert!(wrong("spaces = 1").contains("did you mean `space`"));
        assert!(wrong("[space]").contains("is missing"));
        assert!(wrong("[space]\n'optimiser.lr' = [1]").contains("optimizer"));
        assert!(wrong("[space]\nbatch = 8").contains("a list of values"));
        assert!(wrong("[space]\nbatch = { low = 2, high = 1 }").contains("must be less"));
    }
}
