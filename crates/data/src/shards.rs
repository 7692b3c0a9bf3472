//! Images in tar files, as WebDataset packs them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::folder::{ImageFolder, is_of_the_system};
use crate::image_file::Place;
use crate::picture::{KINDS, Kind};
use crate::tar::{Member, members};
use crate::{Error, Manifest, Result, file};

/// What says a class is not longer.
const MOST_CLASS: usize = 1 << 20;
/// Classes that are numbers are not more.
const MOST_CLASSES: usize = 1 << 20;
const CLASS_KEYS: [&str; 4] = ["class", "label", "target", "category"];
/// Numbers in braces stand for no more files.
const MOST_FILES: usize = 1 << 20;

/// The files that a pattern names: numbers in braces count, with leading zeros, `train-{000..009}.tar`.
///
/// ```
/// use dropforge_data::shard_files;
///
/// let files = shard_files("train-{08..10}.tar")?;
/// assert_eq!(files.len(), 3);
/// assert_eq!(files[0].to_str(), Some("train-08.tar"));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// What is in braces does not count up.
pub fn shard_files(pattern: &str) -> Result<Vec<PathBuf>> {
    let wrong = |what: &str| Error::new(format!("{pattern}: {what}; write {{000..009}} for ten files"));
    let Some((front, rest)) = pattern.split_once('{') else { return Ok(vec![pattern.into()]) };
    let (range, back) = rest.split_once('}').ok_or_else(|| wrong("a brace is not closed"))?;
    let (first, last) = range.split_once("..").ok_or_else(|| wrong("the braces hold no range"))?;
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong("the braces hold no numbers"));
    let (from, to) = (number(first)?, number(last)?);
    if from > to || to - from >= MOST_FILES {
        return Err(wrong("the numbers in braces do not count up, or to too many"));
    }
    let mut files = Vec::new();
    for number in from..=to {
        files.extend(shard_files(&format!("{front}{number:0width$}{back}", width = first.len()))?);
    }
    Ok(files)
}

/// A picture and what says its class, while an archive is read.
struct Packed {
    place: Place,
    name: String,
    class: String,
}

impl Manifest {
    /// Reads which images lie in tar files, those to train on and, if they have files of their own, those to measure
    /// on; every image will be `[channels, height, width]`. Archives are read from start to end once, their contents
    /// passed over; images are then read from where they lie, in any order.
    ///
    /// Members with one name up to the first dot are a sample: a picture, and its class in a member `.cls` (a number or
    /// a name) or under `class`, `label`, `target` or `category` in a member `.json`; without either the class is the
    /// name of the folder in the archive. Classes that are all numbers are numbered so, others in the order of their
    /// names.
    ///
    /// # Errors
    /// An archive is missing or damaged, a picture has no class, or there are no pictures.
    pub fn open_shards(
        train: &[PathBuf],
        test: &[PathBuf],
        channels: usize,
        height: usize,
        width: usize,
    ) -> Result<Manifest> {
        let read = |files: &[PathBuf]| -> Result<Vec<Packed>> {
            let mut all = Vec::new();
            files.iter().try_for_each(|path| pictures(path, &mut all))?;
            Ok(all)
        };
        let (train_pictures, test_pictures) = (read(train)?, read(test)?);
        let first = train.first().map_or(Path::new("shards"), PathBuf::as_path);
        if train_pictures.is_empty() || !test.is_empty() && test_pictures.is_empty() {
            return Err(Error::at_file(first, format_args!("these archives hold no pictures ({KINDS})")));
        }
        let all = train_pictures.iter().chain(&test_pictures);
        let names = class_names(first, all.map(|picture| picture.class.as_str()).collect())?;
        let number = |class: &str| {
            // Names are sorted, but for numbers, which stand at their own places.
            let place = match class.parse::<usize>() {
                Ok(number) if names.get(number).is_some_and(|name| *name == number.to_string()) => Ok(number),
                _ => names.binary_search_by(|name| name.as_str().cmp(class)),
            };
            place.unwrap_or(0) as i32
        };
        let of = |pictures: Vec<Packed>| {
            let files =
                pictures.into_iter().map(|Packed { place, name, class }| (place, number(&class), name));
            ImageFolder::of_files(first, [channels, height, width], &names, files.collect())
        };
        let test = if test.is_empty() { None } else { Some(of(test_pictures)?) };
        Ok(Manifest { train: of(train_pictures)?, test })
    }
}

/// The names of the classes that are there: all numbers up to the largest, or all names in order.
fn class_names(path: &Path, all: BTreeSet<&str>) -> Result<Vec<String>> {
    let numbers: Option<Vec<usize>> = all.iter().map(|name| name.parse().ok()).collect();
    let Some(numbers) = numbers else { return Ok(all.into_iter().map(String::from).collect()) };
    let most = numbers.into_iter().max().unwrap_or(0);
    if most >= MOST_CLASSES {
        return Err(Error::at_file(
            path,
            format_args!("has a class {most}; number the classes from 0, or give them names"),
        ));
    }
    Ok((0..=most).map(|number| number.to_string()).collect())
}

/// Adds the pictures of an archive.
fn pictures(path: &Path, all: &mut Vec<Packed>) -> Result<()> {
    let members = members(path)?;
    let shown = |name: &str| path.join(name);
    for sample in members.chunk_by(|a, b| key(&a.name).0 == key(&b.name).0) {
        let hidden = |member: &&Member| !is_of_the_system(member.name.rsplit('/').next().unwrap_or_default());
        let find =
            |ending: &str| sample.iter().find(|member| key(&member.name).1.eq_ignore_ascii_case(ending));
        let mut images = sample
            .iter()
            .filter(hidden)
            .filter(|member| Kind::is_ending(key(&member.name).1.rsplit('.').next().unwrap_or_default()));
        let Some(image) = images.next() else { continue };
        if let Some(second) = images.next() {
            let message = "is a second picture of its sample; pack one for each";
            return Err(Error::at_file(shown(&second.name), message));
        }
        let text = |member: &Member| file::part(path, member.start, member.len, MOST_CLASS);
        let class = if let Some(member) = find("cls") {
            String::from_utf8_lossy(&text(member)?).trim().to_string()
        } else if let Some(member) = find("json") {
            of_json(&text(member)?).ok_or_else(|| {
                let keys = CLASS_KEYS.join(", ");
                Error::at_file(shown(&member.name), format_args!("names no class: none of {keys}"))
            })?
        } else {
            let folder = key(&image.name).0.rsplit('/').nth(1).unwrap_or_default();
            folder.to_string()
        };
        if class.is_empty() {
            let message = "has no class: pack a .cls or .json beside it, or put it into a folder";
            return Err(Error::at_file(shown(&image.name), message));
        }
        let archive = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{archive}/{}", image.name);
        let within = Some((image.name.clone(), image.start, image.len));
        all.push(Packed { place: Place { path: path.to_path_buf(), within }, name, class });
    }
    Ok(())
}

/// The name up to the first dot behind the folders, and what follows.
fn key(name: &str) -> (&str, &str) {
    let start = name.rfind('/').map_or(0, |at| at + 1);
    match name[start..].find('.') {
        Some(dot) => (&name[..start + dot], &name[start + dot + 1..]),
        None => (name, ""),
    }
}

fn of_json(text: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    let found = CLASS_KEYS.iter().find_map(|key| value.get(key))?;
    match found {
        serde_json::Value::String(name) => Some(name.clone()),
        serde_json::Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::tests::archive;
    use crate::testing::{Folder, message, png};
    use crate::{Source, read_one};

    #[test]
    fn samples_are_members_of_one_name() {
        let folder = Folder::new("shards");
        let shade = |value: u8| png(2, 2, 1, &[value; 4]);
        let first = [
            ("a.png", shade(51)),
            ("a.cls", b"2\n".to_vec()),
            ("b.png", shade(102)),
            ("b.cls", b"0".to_vec()),
        ];
        let second =
            [("c.json", b"{\"label\": 10}".to_vec()), ("c.png", shade(153)), ("README", b"x".to_vec())];
        let pack = |name: &str, files: &[(&str, Vec<u8>)]| {
            let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
            folder.write(name, &archive(&files))
        };
        let train = [pack("0.tar", &first), pack("1.tar", &second)];
        let pattern = folder.path().join("{0..1}.tar");
        assert_eq!(shard_files(pattern.to_str().unwrap()).unwrap(), train);
        let data = Manifest::open_shards(&train, &[], 1, 2, 2).unwrap().train;
        assert_eq!(data.description().class_count(), Some(11));
        let read = |data: &ImageFolder, index: usize| {
            let sample = read_one(data, index).unwrap();
            let input = sample.get("input").unwrap().slice::<f32>().unwrap()[0];
            (sample.get("target").unwrap().slice::<i32>().unwrap()[0], (input * 5.0).round())
        };
        assert_eq!([0, 1, 2].map(|index| read(&data, index)), [(0, 2.0), (2, 1.0), (10, 3.0)]);
        assert_eq!(data.names(), ["0.tar/b.png", "0.tar/a.png", "1.tar/c.png"]);
        data.check().unwrap();

        let named = [("dog/x.png", shade(51)), ("cat/y.1.png", shade(102))];
        let test = [pack("test.tar", &[("cat/z.png", shade(204))])];
        let both = Manifest::open_shards(&[pack("named.tar", &named)], &test, 3, 2, 2).unwrap();
        assert_eq!(both.train.description().class_names().unwrap(), ["cat", "dog"]);
        assert_eq!(read(&both.test.unwrap(), 0), (0, 4.0));

        let wrong = |files: &[(&str, Vec<u8>)]| {
            message(Manifest::open_shards(&[pack("wrong.tar", files)], &[], 1, 2, 2))
        };
        assert!(wrong(&[("a.png", shade(1))]).contains("a.png: has no class"));
        assert!(wrong(&[("a.txt", b"x".to_vec())]).contains("hold no pictures"));
        assert!(wrong(&[("a.png", shade(1)), ("a.json", b"{}".to_vec())]).contains("names no class"));
        assert!(wrong(&[("a.png", shade(1)), ("a.jpg", shade(1))]).contains("a second picture"));
        assert!(message(shard_files("a{1-3}.tar")).contains("hold no range"));
        // A damaged picture is named with its archive.
        let broken = [("a/b.png", shade(9)[..40].to_vec())];
        let broken = Manifest::open_shards(&[pack("broken.tar", &broken)], &[], 1, 2, 2).unwrap().train;
        assert!(message(read_one(&broken, 0)).contains("broken.tar/a/b.png"));
    }
}
