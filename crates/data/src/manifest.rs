//! Images listed in a file: a table (CSV, TSV) or JSON lines with a path and a class each.

use std::collections::BTreeSet;
use std::path::Path;

use crate::folder::ImageFolder;
use crate::image_file::Place;
use crate::lines::Lines;
use crate::{Error, Result, file};

/// Far above what a list of files takes.
const MOST_BYTES: usize = 1 << 28;

/// Which columns, or keys of JSON, hold what; each is found by its usual names unless it is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestOptions {
    /// The path of an image, from the root or from the folder of the list: `path`, `file`, `filename`, `image` unless
    /// named.
    pub image: Option<String>,
    /// The class: `class`, `label`, `target`, `category` unless named.
    pub class: Option<String>,
    /// On which side an image is: `split`, `subset`, `part`, `set` unless named; there need be none. `train` and
    /// `training` are trained on, any of `test`, `testing`, `val`, `valid`, `validation`, `eval` and `dev` measured on,
    /// in any case.
    pub split: Option<String>,
}

const IMAGE: [&str; 5] = ["path", "file", "filename", "file_name", "image"];
const CLASS: [&str; 4] = ["class", "label", "target", "category"];
const SPLIT: [&str; 4] = ["split", "subset", "part", "set"];
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 7] = ["test", "testing", "val", "valid", "validation", "eval", "dev"];

/// What a list of images holds.
pub struct Manifest {
    /// The images to train on; all where the list does not say on which side they are.
    pub train: ImageFolder,
    /// The images to measure on, where the list says which.
    pub test: Option<ImageFolder>,
}

/// One line.
struct Entry {
    line: usize,
    image: String,
    class: String,
    split: Option<String>,
}

impl Manifest {
    /// Reads a list; every image will be `[channels, height, width]`. A file whose first character is `{` holds JSON
    /// lines, any other one is a table whose first line names the columns. Classes are all that occur, in the order of
    /// their names. Images are read as by [`ImageFolder`], and looked at first when they are read.
    ///
    /// ```no_run
    /// use dropforge_data::{Manifest, ManifestOptions};
    ///
    /// let listed = Manifest::open("pictures.csv", 3, 64, 64, &ManifestOptions::default())?;
    /// let (train, test) = match listed.test {
    ///     Some(test) => (listed.train, test),
    ///     None => listed.train.split(0.85, 1)?,
    /// };
    /// # Ok::<(), dropforge_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// The list is missing, larger than 256 MiB or not UTF-8; a column is not there, a line lacks its path or class,
    /// names a file that is not there or another side; or the sides have no images. The message names the line.
    pub fn open(
        path: impl AsRef<Path>,
        channels: usize,
        height: usize,
        width: usize,
        options: &ManifestOptions,
    ) -> Result<Manifest> {
        let path = path.as_ref();
        let failed = |reason: String| Error::at_file(path, reason);
        let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_BYTES + 1)?;
        if bytes.len() > MOST_BYTES {
            return Err(failed("is larger than 256 MiB; cut it into smaller lists".into()));
        }
        let text = String::from_utf8(bytes).map_err(|cause| {
            failed(format!("is not UTF-8 text: byte {} is wrong", cause.utf8_error().valid_up_to()))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let entries = match text.trim_start().starts_with('{') {
            true => json_lines(text, options),
            false => table(text, options),
        };
        let entries = entries.map_err(failed)?;
        let names: BTreeSet<&str> = entries.iter().map(|entry| entry.class.as_str()).collect();
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        let root = path.parent().unwrap_or(Path::new(""));
        let told = entries.iter().any(|entry| entry.split.is_some());
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for Entry { line, image, class, split } in entries {
            let found = root.join(&image);
            if !found.is_file() {
                return Err(failed(format!("line {line}: there is no file {}", found.display())));
            }
            let class = names.iter().position(|name| *name == class).unwrap_or(0) as i32;
            let side = split.as_deref().map(str::to_lowercase);
            match side.as_deref() {
                None if told => {
                    return Err(failed(format!("line {line} does not say on which side the image is")));
                }
                None => train.push((Place::of_file(found), class, image)),
                Some(side) if TRAIN.contains(&side) => {
                    train.push((Place::of_file(found), class, image));
                }
                Some(side) if TEST.contains(&side) => test.push((Place::of_file(found), class, image)),
                Some(other) => {
                    let known = [&TRAIN[..], &TEST[..]].concat().join(", ");
                    return Err(failed(format!("line {line}: `{other}` is no side; known are {known}")));
                }
            }
        }
        if train.is_empty() || told && test.is_empty() {
            let which = if train.is_empty() { "train" } else { "measure" };
            return Err(failed(format!("lists no images to {which} on")));
        }
        let of = |files| ImageFolder::of_files(path, [channels, height, width], &names, files);
        Ok(Manifest { train: of(train)?, test: if told { Some(of(test)?) } else { None } })
    }
}

/// The place of what is named, or else of the first usual name that is there.
fn place(
    header: &[String],
    named: Option<&str>,
    usual: &[&str],
    what: &str,
) -> std::result::Result<usize, String> {
    let at = |name: &str| header.iter().position(|column| column.trim().eq_ignore_ascii_case(name));
    let found = match named {
        Some(name) => at(name),
        None => usual.iter().find_map(|name| at(name)),
    };
    found.ok_or_else(|| {
        let wanted = named.map_or_else(|| usual.join(", "), String::from);
        format!("has no column for the {what} ({wanted}), only {}", header.join(", "))
    })
}

fn table(text: &str, options: &ManifestOptions) -> std::result::Result<Vec<Entry>, String> {
    let lines = Lines::parse(text, &[])?;
    let header = lines.header();
    let image = place(header, options.image.as_deref(), &IMAGE, "path of an image")?;
    let class = place(header, options.class.as_deref(), &CLASS, "class")?;
    let split = place(header, options.split.as_deref(), &SPLIT, "split");
    let split = if options.split.is_some() { Some(split?) } else { split.ok() };
    let entry = |row: usize| {
        let line = lines.line(row);
        let value =
            |at: usize| Some(lines.value(row, at)).filter(|value| !value.is_empty()).map(String::from);
        let needed = |at: usize, what: &str| value(at).ok_or_else(|| format!("line {line} has no {what}"));
        Ok(Entry {
            line,
            image: needed(image, "path")?,
            class: needed(class, "class")?,
            split: split.and_then(value),
        })
    };
    (0..lines.count()).map(entry).collect()
}

fn json_lines(text: &str, options: &ManifestOptions) -> std::result::Result<Vec<Entry>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(line, text)| {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
                .map_err(|cause| format!("line {line} is no JSON object: {cause}"))?;
            let header: Vec<String> = object.keys().cloned().collect();
            let value = |named: Option<&str>, usual: &[&str], what: &str| {
                let at = place(&header, named, usual, what).map_err(|why| format!("line {line} {why}"))?;
                match &object[&header[at]] {
                    serde_json::Value::String(text) if !text.trim().is_empty() => Ok(text.trim().to_string()),
                    number @ serde_json::Value::Number(_) => Ok(number.to_string()),
                    flag @ serde_json::Value::Bool(_) => Ok(flag.to_string()),
                    _ => Err(format!("line {line} has no {what}")),
                }
            };
            Ok(Entry {
                line,
                image: value(options.image.as_deref(), &IMAGE, "path of an image")?,
                class: value(options.class.as_deref(), &CLASS, "class")?,
                split: value(options.split.as_deref(), &SPLIT, "split").ok(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, flat_jpeg, message, png};
    use crate::{Source, read_one};

    fn open(folder: &Folder, name: &str, text: &str) -> Result<Manifest> {
        let path = folder.write(name, text.as_bytes());
        Manifest::open(path, 1, 1, 1, &ManifestOptions::default())
    }

    fn pictures(folder: &Folder) {
        folder.write("in/a.png", &png(1, 1, 1, &[10]));
        folder.write("in/b.jpg", &flat_jpeg(200));
        folder.write("c.png", &png(1, 1, 1, &[30]));
    }

    #[test]
    fn tables_and_json_say_the_same() {
        let folder = Folder::new("manifest");
        pictures(&folder);
        let absolute = folder.path().join("c.png");
        let table = format!(
            "Split;Class;Path\ntrain;red;in/a.png\nTEST;blue;in/b.jpg\n\ntrain;blue;{}\n",
            absolute.display()
        );
        let lines = "{\"label\": \"red\", \"file\": \"in/a.png\", \"split\": \"training\", \"more\": [1]}\n\n\
                     {\"label\": \"blue\", \"file\": \"in/b.jpg\", \"split\": \"val\"}\n\
                     {\"label\": \"blue\", \"file\": \"c.png\", \"split\": \"train\"}\n";
        for (name, text) in [("list.csv", table.as_str()), ("list.jsonl", lines)] {
            let Manifest { train, test } = open(&folder, name, text).unwrap();
            assert_eq!((train.count(), test.as_ref().unwrap().count()), (2, 1), "{name}");
            assert_eq!(train.description().class_names().unwrap(), ["blue", "red"]);
            let pixel =
                |index| read_one(&train, index).unwrap().get("input").unwrap().slice::<f32>().unwrap()[0];
            assert_eq!([pixel(0), pixel(1)], [30.0 / 255.0, 10.0 / 255.0]);
            assert_eq!([train.class(0), train.class(1)], [Some(0), Some(1)]);
        }
        let all = open(&folder, "all.tsv", "image\tlabel\nc.png\t3\nin/a.png\t10\n").unwrap();
        assert!(all.test.is_none());
        assert_eq!(all.train.description().class_names().unwrap(), ["10", "3"]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let folder = Folder::new("manifest-bad");
        pictures(&folder);
        for (text, part) in [
            ("", "is empty"),
            (
                "a,b\n1,2\n",
                "no column for the path of an image (path, file, filename, file_name, image), only a, b",
            ),
            ("path,b\nc.png,2\n", "no column for the class"),
            ("path,class\nc.png,\n", "line 2 has no class"),
            ("path,class\nno.png,x\n", "line 2: there is no file"),
            (
                "path,class,split\nc.png,x,train\nc.png,x,other\n",
                "line 3: `other` is no side; known are train",
            ),
            ("path,class,split\nc.png,x,train\nc.png,x,\n", "line 3 does not say on which side"),
            ("path,class,split\nc.png,x,test\n", "lists no images to train on"),
            ("path,class,split\nc.png,x,train\n", "lists no images to measure on"),
            ("{\"path\": \"c.png\", \"class\": null}", "line 1 has no class"),
            ("{\"path\": \"c.png\"}", "line 1 has no column for the class"),
            ("{\"path\": ", "line 1 is no JSON object"),
        ] {
            let message = message(open(&folder, "list", text));
            assert!(message.contains(part), "{text:?}: {message}");
        }
        let options = ManifestOptions { class: Some("b".into()), ..Default::default() };
        let path = folder.write("named.csv", b"path,b\nc.png,2\n");
        assert_eq!(Manifest::open(path, 1, 1, 1, &options).unwrap().train.count(), 1);
    }
}
