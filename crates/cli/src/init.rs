//! `dropforge init`: a file of settings to begin with.

use crate::args::Init;
use crate::output::{Outcome, OutputFile};
use dropforge::file::FileKind;
use dropforge::run::registry::registry;
use dropforge::run::{ModelSpec, RunConfig};
use dropforge::settings::{Described, Setting, SettingType, TYPE, Table, Value};
use std::fmt::Write as _;

pub fn run(args: &Init) -> Outcome {
    let text = text(&args.model)?;
    let out = OutputFile::new(&args.file, FileKind::Other)?;
    out.write(text)?;
    let file = args.file.display();
    out.say(format_args!("{file} is written; change it, then `dropforge train --config {file}`"))
}

/// Every setting with its default and what it means; one that is off stands behind a `#`.
fn text(model: &str) -> Outcome<String> {
    let model = ModelSpec::parse(model)?.write()?;
    let config = RunConfig::new(&Table::from_iter(model.map(|model| ("model".to_string(), model))))?;
    let mut table = config.table()?;
    // Written out it would stay where somebody changes the epochs.
    let epochs = table.get("epochs").and_then(Value::as_integer).map(|epochs| epochs as f64);
    if let Some(Value::Table(schedule)) = table.get_mut("schedule")
        && schedule.get("length").and_then(Value::as_float) == epochs
    {
        schedule.remove("length");
    }
    let mut text = String::from(
        "# Settings of a training: `dropforge train --config FILE`. What stands behind a # is off, or what it would be anyway.\n\
         # `dropforge list` prints everything that a name can stand for.\n",
    );
    let mut sections = String::new();
    for setting in &RunConfig::declaration().settings {
        // What the samples look like is found out from the data.
        if setting.name == "inputs" {
            continue;
        }
        match table.get(setting.name) {
            Some(Value::Table(part)) => section(setting, part, &mut sections),
            value => entry(setting, value, &mut text),
        }
    }
    Ok(text + &sections)
}

/// A part that has settings of its own.
fn section(setting: &Setting, part: &Table, text: &mut String) {
    let name = part.get(TYPE).and_then(Value::as_str).unwrap_or_default();
    let known = setting.kind.and_then(|kind| registry().declaration(kind, name));
    let _ = write!(text, "\n# {}", setting.help);
    if let Some(known) = known {
        let _ = write!(text, ": {}", known.help);
    }
    let _ = writeln!(text, "\n[{}]", setting.name);
    if !name.is_empty() {
        let _ = writeln!(text, "type = {}", Value::String(name.into()));
    }
    let known: &[Setting] = known.map_or(&[], |known| &known.settings);
    known.iter().for_each(|setting| entry(setting, part.get(setting.name), text));
    // What every one of its kind may have.
    let rest =
        part.iter().filter(|(key, _)| *key != TYPE && known.iter().all(|setting| setting.name != *key));
    for (key, value) in rest {
        let _ = writeln!(text, "\n{key} = {value}");
    }
}

fn entry(setting: &Setting, value: Option<&Value>, text: &mut String) {
    let range = if setting.range.is_any() { String::new() } else { format!(", {}", setting.range) };
    let _ = writeln!(text, "\n# {} ({}{range})", setting.help, setting.expects);
    match value {
        Some(value) => {
            let _ = writeln!(text, "{} = {value}", setting.name);
        }
        None => {
            let _ = writeln!(text, "# {} =", setting.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_a_file_that_reads_back() {
        for model in &registry().models {
            let text = text(model.name()).unwrap();
            let read =
                RunConfig::parse(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", model.name()));
            let usual = Table::from_iter([("model".to_string(), Value::String(model.name().into()))]);
            assert_eq!(read.table().unwrap(), RunConfig::new(&usual).unwrap().table().unwrap());
            for setting in RunConfig::declaration().settings.iter().filter(|setting| setting.name != "inputs")
            {
                assert!(text.contains(setting.name), "{} is missing", setting.name);
            }
        }
    }

    /// A length that stands there would be that of other epochs, too.
    #[test]
    fn the_schedule_lasts_as_long_as_the_training() {
        let text = text("lenet").unwrap();
        assert!(text.contains("\n# length =") && !text.contains("\nlength ="), "{text}");
        let longer = text.replace("\nepochs = 5", "\nepochs = 8");
        assert_ne!(text, longer);
        let table = RunConfig::parse(&longer).unwrap().table().unwrap();
        assert_eq!(table["schedule"].as_table().unwrap()["length"].as_float(), Some(8.0));
    }

    trait Named {
        fn name(&self) -> &'static str;
    }

    impl<T: ?Sized> Named for dropforge::run::registry::Entry<T> {
        fn name(&self) -> &'static str {
            self.declaration.name
        }
    }
}
