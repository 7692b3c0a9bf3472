//! Every entry of the registry: documented, built with its defaults, written and read back, held against golden values.

use dropforge::run::ModelSpec;
use dropforge::run::registry::{Entry, Kind, build, registry};
use dropforge::settings::{Declaration, SettingType, TYPE, Table, Twin, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Kinds whose entries are held against golden values, in the folder of that name; metrics share theirs (`metrics.rs`),
/// and data sets are held against small files that their test writes (`data.rs`).
const GOLDEN: [&str; 8] =
    ["layers", "losses", "models", "optimizers", "schedules", "initialisers", "callbacks", "transforms"];

/// Entries with nothing to hold against others' numbers, and what holds them instead.
const WITHOUT: [(&str, &str); 12] = [
    ("added", "what layers add is all there is: losses.rs"),
    ("alpha_dropout", "draws at random: dropout.rs"),
    ("averaged", "averages what another optimizer made: optimizers.rs"),
    ("cutmix", "mixes two samples of a batch within a step: changes.rs"),
    ("drop_path", "draws at random: dropout.rs"),
    ("dropout", "draws at random: dropout.rs"),
    ("embedding", "a table: layers.rs"),
    ("gpt", "its layers are held one by one: models.rs"),
    ("gradient_noise", "draws at random: optimizers.rs"),
    ("mixup", "mixes two samples of a batch within a step: changes.rs"),
    ("spatial_dropout", "draws at random: dropout.rs"),
    ("unfreeze", "changes what is trained, and no number: its example, and reports.rs of the command"),
];

/// Entries that write files or send something, whose form tests of their own hold.
const WRITES: [&str; 2] = ["post", "tensorboard"];

/// The least table that builds: required settings get a value that fits.
fn least(declaration: &Declaration) -> Table {
    let mut table = Table::from_iter([(TYPE.to_string(), Value::String(declaration.name.into()))]);
    for setting in declaration.settings.iter().filter(|setting| setting.required) {
        let part = match setting.kind {
            Some("layer") => Some("relu"),
            Some("optimizer") => Some("sgd"),
            Some("schedule") => Some("constant"),
            Some(kind) => panic!("{}: no {kind} is known for `{}`", declaration.name, setting.name),
            None => None,
        };
        let is_list = setting.expects.starts_with("a list");
        let value = if let Some(part) = part {
            let part = Value::String(part.into());
            if is_list { Value::Array(vec![part.clone(), part]) } else { part }
        } else if setting.is_path {
            Value::String("no/such/place".into())
        } else if setting.expects == "a text" {
            Value::String("0.weight".into())
        } else if is_list && setting.range.contains(3.0) {
            Value::Array(vec![Value::Integer(3)])
        } else if setting.range.contains(3.0) {
            Value::Integer(3)
        } else {
            panic!("{}: no value is known for `{}`", declaration.name, setting.name)
        };
        table.insert(setting.name.into(), value);
    }
    table
}

/// The tables of a configuration, and then all kinds by their plural.
fn kinds(settings: &[Declaration]) -> Vec<(&'static str, Vec<&Declaration>)> {
    let all = registry().kinds().into_iter().map(|listing| (listing.plural, listing.entries));
    std::iter::once(("settings", settings.iter().collect())).chain(all).collect()
}

#[test]
fn every_entry_is_documented() {
    let settings = registry().settings();
    for (kind, entries) in kinds(&settings) {
        // The whole configuration stands before its parts.
        let ordered = if kind == "settings" { &entries[1..] } else { &entries[..] };
        let mut names: Vec<&str> = ordered.iter().map(|entry| entry.name).collect();
        names.dedup();
        assert!(
            names.is_sorted() && names.len() == ordered.len(),
            "{kind} are in alphabetical order, each once: {names:?}"
        );
        for entry in entries {
            assert!(entry.help.len() > 5 && !entry.help.contains('\n'), "{kind} {}", entry.name);
            assert!(
                entry.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c)),
                "{}",
                entry.name
            );
            for setting in &entry.settings {
                assert!(setting.help.len() > 3, "{kind} {}: {}", entry.name, setting.name);
            }
        }
    }
}

/// What is built from a table, as it says itself; twice it says the same.
fn written<T: ?Sized>(entry: &Entry<T>, config: impl Fn(&T) -> Value) {
    let name = entry.declaration.name;
    let first = config(&*entry.build(&least(&entry.declaration)).unwrap_or_else(|error| panic!("{error}")));
    let Value::Table(table) = &first else { return };
    assert_eq!(table[TYPE].as_str(), Some(name));
    let text = toml::to_string(table).unwrap();
    let read: Table = toml::from_str(&text).unwrap();
    assert_eq!(config(&*entry.build(&read).unwrap()), first, "{name}: {text}");
    let mut wrong = read.clone();
    wrong.insert("no_such_setting".into(), Value::Integer(1));
    let message = entry.build(&wrong).err().unwrap().to_string();
    assert!(message.contains("`no_such_setting`") && message.contains(name), "{message}");
}

fn each_is_written<T: Kind + ?Sized + 'static>() {
    for entry in T::entries() {
        written(entry, |built| Value::Table(built.config().unwrap()));
        let other = Value::String(entry.declaration.name.replace('_', "-"));
        if entry.declaration.settings.iter().all(|setting| !setting.required) {
            assert!(build::<T>(&other).is_ok(), "{other}: words may be joined either way");
        }
        let by_name = build::<T>(&Value::Table(least(&entry.declaration))).unwrap();
        assert_eq!(by_name.config().unwrap()[TYPE].as_str(), Some(entry.declaration.name));
    }
}

#[test]
fn every_entry_builds_with_its_defaults_and_reads_back() {
    registry().layers.iter().for_each(|entry| written(entry, |layer| layer.config().unwrap()));
    each_is_written::<dyn dropforge::loss::Loss>();
    each_is_written::<dyn dropforge::optim::Optimizer>();
    each_is_written::<dyn dropforge::schedule::Rule>();
    each_is_written::<dyn dropforge::init::Initializer>();
    each_is_written::<dyn dropforge::models::Model>();
    each_is_written::<dyn dropforge::metric::Metric>();
    each_is_written::<dyn dropforge::train::Callback>();
    each_is_written::<dyn dropforge::run::DataSet>();
    each_is_written::<dyn dropforge::run::Augmentation>();
    for entry in &registry().models {
        let spec = ModelSpec::parse(entry.declaration.name).unwrap();
        let again = ModelSpec::new(&spec.write().unwrap().unwrap()).unwrap();
        assert_eq!(again, spec);
        assert!(!spec.usual_input().is_empty());
    }
}

#[test]
fn every_entry_has_golden_values() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let without = |name: &str| WITHOUT.iter().any(|(known, _)| *known == name) || WRITES.contains(&name);
    let mut missing: BTreeSet<&str> = WITHOUT.iter().map(|(name, _)| *name).collect();
    for kind in GOLDEN {
        let files: Vec<String> = std::fs::read_dir(data.join(kind))
            .unwrap()
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        let listing = registry().kinds().into_iter().find(|listing| listing.plural == kind).unwrap();
        for entry in listing.entries {
            let mine = |file: &String| {
                file.strip_prefix(entry.name).is_some_and(|rest| rest.starts_with(['_', '.']))
            };
            let found = files.iter().any(mine);
            assert!(
                found || without(entry.name),
                "{kind}: no golden values of {} in tests/data/{kind}",
                entry.name
            );
            if !found {
                missing.remove(entry.name);
            }
        }
    }
    assert!(missing.is_empty(), "these have golden values, or are no entries: {missing:?}");
}

/// docs/reference.md, as the registry has it.
fn reference() -> String {
    let mut text = "# Reference\n\nEverything that a name can stand for in a configuration, a model file or on the command \
                    line. This page is written\nfrom the declarations in the code; `dropforge list` prints the same. Where there is a choice, `type` names what is\nmeant. A configuration may also say `format`, the version of its layout, which runs write.\n"
        .to_string();
    let settings = registry().settings();
    for (kind, entries) in kinds(&settings) {
        text += &format!("\n## {}{}\n", kind[..1].to_uppercase(), &kind[1..]);
        for entry in entries {
            text += &format!("\n### `{}`\n\n{}\n", entry.name, entry.help);
            if !entry.settings.is_empty() {
                text += "\n| setting | default | | value |\n|---|---|---|---|\n";
            }
            for setting in &entry.settings {
                let default = match (&setting.default, setting.required) {
                    (Some(default), _) => format!("`{}`", default.to_string().replace('|', "\\|")),
                    (None, true) => "required".into(),
                    (None, false) => "-".into(),
                };
                let range =
                    if setting.range.is_any() { String::new() } else { format!(", {}", setting.range) };
                let line = format!(
                    "| `{}` | {default} | {} | {}{range} |\n",
                    setting.name,
                    setting.help.replace('|', "\\|"),
                    setting.expects.replace('|', "\\|")
                );
                text += &line;
            }
        }
    }
    text
}

/// docs/vocabulary.md, as the registry has it.
fn vocabulary() -> String {
    let mut text = "# Vocabulary\n\nWhat each name stands for in PyTorch, torchvision, Keras or a paper, and where it differs on \
                    purpose. Values and gradients are held\nto those by golden cases (`scripts/golden_training.py`), but for \
                    what is random. This page is written from\nthe declarations in the code; the settings stand in \
                    [reference.md](reference.md).\n"
        .to_string();
    for listing in registry().kinds() {
        if listing.entries.iter().all(|entry| entry.twin.is_none()) {
            continue;
        }
        text += &format!("\n## {}{}\n\n", listing.plural[..1].to_uppercase(), &listing.plural[1..]);
        text += "| name | counterpart | what differs |\n|---|---|---|\n";
        for entry in listing.entries {
            let twin = entry.twin.unwrap_or(Twin { name: "-", differs: "" });
            text += &format!("| `{}` | {} | {} |\n", entry.name, twin.name, twin.differs);
        }
    }
    text + NOTES
}

/// What is no entry of the registry.
const NOTES: &str = "
## Losses of three tensors

`margin_ranking`, `cosine_embedding` and `triplet` are functions of a program (`of`), since files know one prediction and one
target: `nn.MarginRankingLoss`, `nn.CosineEmbeddingLoss` and `nn.TripletMarginLoss`.

## Models

The check compares names and shapes of all parameters and the outputs of narrow models, and counts the parameters of wide ones.
`scripts/export_models.py FOLDER` writes torchvision's models at full size, with random weights and what they give, and says how to
compare.

## Everywhere

- Shapes that would broadcast by accident, such as `[batch, 1]` with `[batch]`, are refused by all losses.
- Indices outside are an error that names the value, its position and the limit.
- Layers take the number of inputs from what they are given.
- Random numbers come from the seed of the run, the step and the place in the network, and are the same on every device.
";

#[test]
fn the_vocabulary_page_is_up_to_date() {
    compare_page("vocabulary.md", &vocabulary());
}

#[test]
fn the_reference_page_is_up_to_date() {
    compare_page("reference.md", &reference());
}

fn compare_page(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("DROPFORGE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/{name} is out of date; DROPFORGE_BLESS=1 cargo test -p dropforge registry writes it"
    );
}
