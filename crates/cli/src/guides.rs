//! What the README and the guides say to type is held against what the command takes: nothing is run.

use crate::args::{Cli, Command};
use crate::output::Stop;
use crate::sweep::space::Space;
use crate::train::settings;
use clap::Parser;
use clap::error::ErrorKind;
use dropforge::run::{ModelSpec, RunConfig};
use dropforge::settings::{Table, Value};
use std::path::Path;

/// The README and the guides, by name.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages =
        docs.chain([root.join("README.md")]).filter(|path| path.extension().is_some_and(|end| end == "md"));
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    pages.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The blocks of a language on a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}");
    let mut lines = page.lines();
    let mut blocks = Vec::new();
    while lines.any(|line| line == begin) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

/// Words behind the name of the command, and whether they stand in a block: the others are parts of sentences, which
/// may leave out what belongs to it.
type Said = (Vec<String>, bool);

/// What begins with the command, of the lines of blocks and of what stands in backquotes.
fn commands(page: &str) -> Vec<Said> {
    let mut lines = Vec::new();
    for block in blocks(page, "sh") {
        let block = block.replace("\\\n", " ");
        lines.extend(block.lines().map(|line| (line.to_string(), true)));
    }
    let mut fenced = false;
    let prose = page.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    });
    let prose: Vec<&str> = prose.collect();
    lines.extend(prose.join(" ").split('`').skip(1).step_by(2).map(|said| (said.to_string(), false)));
    let ours = lines.iter().filter_map(|(line, whole)| {
        let words = words(line);
        let before = match words.first()?.as_str() {
            "dropforge" => 1,
            "cargo" if words.get(1)? == "run" => 1 + words.iter().position(|word| word == "--")?,
            _ => return None,
        };
        // The name of the command alone.
        (words.len() > before).then(|| (words[before..].to_vec(), *whole))
    });
    ours.collect()
}

/// The words of a line as a shell has them, without what is said about it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (_, Some(end)) if c == end => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether something is missing, and nothing wrong.
fn is_incomplete(error: &clap::Error) -> bool {
    let missing = [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    missing.contains(&error.kind()) || error.to_string().contains("but none was supplied")
}

#[test]
fn commands_of_the_guides_are_taken() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, page) in pages() {
        for (words, whole) in commands(&page) {
            count += 1;
            let line = words.join(" ");
            // What may be left out, what stands for more, and for a number.
            let plain = words.iter().map(|word| match word.trim_matches(['[', ']', '…']) {
                "N" => "1",
                word => word,
            });
            let words =
                if whole { words.iter().map(String::as_str).collect() } else { plain.collect::<Vec<_>>() };
            let words = words.into_iter().filter(|word| whole || *word != "..");
            let refused = match Cli::try_parse_from(std::iter::once("dropforge").chain(words)) {
                Err(error) if !error.use_stderr() => continue,
                Err(error) if !whole && is_incomplete(&error) => continue,
                Err(error) => error.to_string(),
                Ok(Cli { command: Command::Train(args), .. }) => {
                    // Names of files are any; those of what is trained, and its settings, are known.
                    let is_file = args.model.as_ref().is_some_and(|model| model.contains('.'));
                    if is_file || args.config.is_some() {
                        continue;
                    }
                    let settings = settings::settings(&args, Table::new()).map_err(|stop| match stop {
                        Stop::Error(message) => message,
                        _ => String::new(),
                    });
                    match settings
                        .and_then(|settings| RunConfig::new(&settings).map_err(|error| error.to_string()))
                    {
                        Ok(_) => continue,
                        Err(message) => message,
                    }
                }
                Ok(_) => continue,
            };
            wrong.push(format!("{name}: dropforge {line}: {refused}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 60, "only {count} commands are found");
}

#[test]
fn files_of_the_guides_are_read() {
    let mut count = 0;
    for (name, page) in pages() {
        for block in blocks(&page, "toml") {
            count += 1;
            let table: Table = block.parse().unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            let refused = if table.contains_key("space") {
                Space::parse(&block).err()
            } else if table.contains_key("layers") {
                ModelSpec::new(&Value::Table(table)).err().map(|error| error.to_string())
            } else if table.contains_key("profile") {
                None // Cargo's.
            } else {
                RunConfig::parse(&block).err().map(|error| error.to_string())
            };
            assert_eq!(refused, None, "{name}:\n{block}");
        }
    }
    assert!(count >= 10, "only {count} files are found");
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(words("a  \"b c\" 'd#' e=\"f g\"  # h"), ["a", "b c", "d#", "e=f g"]);
    let page = "`dropforge one`\n```sh\ndropforge two \\\n    three # four\ncargo run -- five\n```\n`dropforge\nsix`";
    let said = |words: &[&str], whole| (words.iter().map(ToString::to_string).collect::<Vec<_>>(), whole);
    let expected =
        [said(&["two", "three"], true), said(&["five"], true), said(&["one"], false), said(&["six"], false)];
    assert_eq!(commands(page), expected);
}
