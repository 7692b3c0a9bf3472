//! Images in one folder per class, decoded when they are read.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::image_file::{Place, check_shape, read_image_into};
use crate::picture::{KINDS, Kind, other_kind};
use crate::random::Random;
use crate::{
    Description, Error, INPUT, Normalization, Preparation, Request, Result, Sample, Source, TARGET, file,
};

/// A data set of image files (PNG, JPEG, WebP, GIF, BMP) in one subfolder per class. Files are decoded each time they
/// are read, so the set may be far larger than memory; give [`LoaderOptions::threads`](crate::LoaderOptions) more than
/// one.
///
/// Classes are the subfolders in the order of their names; their images are all image files in them, at any depth, in
/// the order of their names, told by the ending in any case or else by their first bytes. Hidden files and those that
/// systems leave behind (`.DS_Store`, `Thumbs.db`) are passed over; [`left_out`](ImageFolder::left_out) says what else
/// was not read. Each image is read as by [`read_image`](crate::read_image).
///
/// ```no_run
/// use dropforge_data::{ImageFolder, Source};
///
/// let (train, test) = ImageFolder::open("pictures", 3, 64, 64)?.split(0.85, 1)?;
/// println!("{:?} and {:?} images of {:?}", train.len(), test.len(), train.description().class_names());
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone)]
pub struct ImageFolder {
    description: Arc<Description>,
    shape: [usize; 3],
    normalization: Normalization,
    files: Arc<Vec<Image>>,
    left_out: Arc<LeftOut>,
}

#[derive(Clone)]
struct Image {
    place: Place,
    class: i32,
    /// The path within the folder, with `/` on every system.
    name: String,
}

/// What was found in a folder of images and is not read. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Images of other kinds, by kind.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Images beside the folders of the classes.
    pub beside: usize,
    /// Files that are no images.
    pub others: usize,
    /// The first of all of them.
    pub first: Option<PathBuf>,
}

impl LeftOut {
    /// Whether everything is read.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn note(&mut self, path: &Path) {
        self.first.get_or_insert_with(|| path.to_path_buf());
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.kinds.iter().map(|(kind, count)| format!("{count} {kind} images")).collect();
        if self.beside > 0 {
            parts.push(format!("{} images beside the folders of the classes", self.beside));
        }
        if self.others > 0 {
            parts.push(format!("{} files that are no images", self.others));
        }
        if let Some(first) = &self.first {
            write!(f, "left out: {}; the first is {}", parts.join(", "), first.display())?;
        }
        Ok(())
    }
}

/// Which files are for training and which for testing, by their paths within the folder; a run keeps it, so that no
/// file changes sides when others come or go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSplit {
    /// Files to train on.
    pub train: Vec<String>,
    /// Files to measure on.
    pub test: Vec<String>,
}

impl ImageFolder {
    /// Lists the files; every image will be `[channels, height, width]`. Only files whose ending says nothing are
    /// opened.
    ///
    /// # Errors
    /// The folder is missing or cannot be listed, it has no subfolders, a subfolder has no images, or the shape is
    /// one that [`read_image`](crate::read_image) refuses.
    pub fn open(dir: impl AsRef<Path>, channels: usize, height: usize, width: usize) -> Result<ImageFolder> {
        let dir = dir.as_ref();
        check_shape(channels, height, width)?;
        file::check_folder(dir, "give the folder that has one subfolder of images per class")?;
        let mut left_out = LeftOut::default();
        let (mut names, mut files, mut beside) = (Vec::new(), Vec::new(), Vec::new());
        for (name, path) in file::list(dir)?.into_iter().filter(|(name, _)| !is_of_the_system(name)) {
            if !path.is_dir() {
                let mut images = Vec::new();
                take_file(&name, &path, &mut images, &mut left_out);
                beside.extend(images);
                continue;
            }
            let (mut images, mut passed) = (Vec::new(), LeftOut::default());
            walk(&path, &mut vec![], &mut images, &mut passed)?;
            if images.is_empty() {
                let what = if passed.is_empty() { String::new() } else { format!(" ({passed})") };
                return Err(Error::at_file(
                    &path,
                    format_args!(
                        "has no images{what}: every subfolder is a class and needs some; fill or remove it"
                    ),
                ));
            }
            for path in images {
                let within = path.strip_prefix(dir).unwrap_or(&path);
                let parts: Vec<_> = within.iter().map(|part| part.to_string_lossy()).collect();
                let (name, class) = (parts.join("/"), names.len() as i32);
                files.push(Image { name, class, place: Place::of_file(path) });
            }
            passed
                .kinds
                .into_iter()
                .for_each(|(kind, count)| *left_out.kinds.entry(kind).or_default() += count);
            left_out.others += passed.others;
            left_out.first = left_out.first.or(passed.first);
            names.push(name);
        }
        if names.is_empty() {
            let there =
                if beside.is_empty() { String::new() } else { format!(" but {} images", beside.len()) };
            return Err(Error::at_file(
                dir,
                format_args!("has no subfolders{there}; put the images of each class into one of its own"),
            ));
        }
        left_out.beside = beside.len();
        beside.iter().for_each(|path| left_out.note(path));
        let name =
            dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into());
        let mut description = Description::classes(name, &[channels, height, width], names);
        description.fields[0].preparation = Preparation::Image { normalization: Normalization::identity() };
        Ok(ImageFolder {
            description: Arc::new(description),
            shape: [channels, height, width],
            normalization: Normalization::identity(),
            files: Arc::new(files),
            left_out: Arc::new(left_out),
        })
    }

    /// Images of a list: place, class and name of each.
    pub(crate) fn of_files(
        list: &Path,
        shape: [usize; 3],
        names: &[String],
        mut files: Vec<(Place, i32, String)>,
    ) -> Result<ImageFolder> {
        check_shape(shape[0], shape[1], shape[2])?;
        // Class by class, as those of folders are.
        files.sort_by_key(|(_, class, _)| *class);
        let files = files.into_iter().map(|(place, class, name)| Image { place, class, name }).collect();
        let name = list.file_name().unwrap_or_default().to_string_lossy();
        let mut description = Description::classes(name, &shape, names);
        description.fields[0].preparation = Preparation::Image { normalization: Normalization::identity() };
        Ok(ImageFolder {
            description: Arc::new(description),
            shape,
            normalization: Normalization::identity(),
            files: Arc::new(files),
            left_out: Arc::default(),
        })
    }

    /// Mean and deviation of each channel, from 0 to 1, over images spread evenly among all, `most` at most: what
    /// [`normalized`](ImageFolder::normalized) takes. Of the images to train on, so that nothing is learned of the
    /// others.
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn statistics(&self, most: usize) -> Result<Normalization> {
        let plain = self.normalized(Normalization::identity())?;
        crate::normalization::statistics(&plain, most)
    }

    /// The images but for those whose first bytes are no image's, and what is wrong with these, a line each.
    ///
    /// # Errors
    /// None is left.
    pub fn without_corrupt(&self) -> Result<(ImageFolder, Vec<String>)> {
        let (mut files, mut wrong) = (Vec::new(), Vec::new());
        for image in self.files.iter() {
            match check_start(&image.place) {
                Ok(()) => files.push(image.clone()),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        if files.is_empty() {
            return Err(Error::new(format!(
                "{}: none of {} images can be read",
                self.name(),
                self.files.len()
            )));
        }
        Ok((ImageFolder { files: Arc::new(files), ..self.clone() }, wrong))
    }

    /// The same images, read as `(x − mean) / std` per channel with `x` from 0 to 1.
    ///
    /// # Errors
    /// The normalisation is for another number of channels.
    pub fn normalized(&self, normalization: Normalization) -> Result<ImageFolder> {
        normalization.check_channels(self.shape[0])?;
        let mut description = (*self.description).clone();
        description.fields[0].preparation = Preparation::Image { normalization: normalization.clone() };
        Ok(ImageFolder { normalization, description: Arc::new(description), ..self.clone() })
    }

    /// What was found and is not read.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// How many images there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Two parts without common images: about `fraction` of them and the rest, training and test. On which side a file
    /// is depends on its name and `seed` alone, so that none changes sides when others come or go; only where a class
    /// would be missing from a side, one file of it is moved there. Both parts keep the order and all class names.
    ///
    /// # Errors
    /// `fraction` is not between 0 and 1, or leaves a part without any image.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(ImageFolder, ImageFolder)> {
        self.split_by(fraction, seed, |_| None)
    }

    /// As [`split`](ImageFolder::split), where files that a run has noted stay on their side; and what is different
    /// from then, as one line each: files that are new, or missing.
    ///
    /// # Errors
    /// As for [`split`](ImageFolder::split).
    pub fn split_as(
        &self,
        noted: &FileSplit,
        fraction: f64,
        seed: u64,
    ) -> Result<(ImageFolder, ImageFolder, Vec<String>)> {
        let train: HashSet<&str> = noted.train.iter().map(String::as_str).collect();
        let test: HashSet<&str> = noted.test.iter().map(String::as_str).collect();
        let side = |name: &str| match (train.contains(name), test.contains(name)) {
            // A file that was trained on is never measured on.
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let (first, second) = self.split_by(fraction, seed, side)?;
        let here: HashSet<&str> = self.files.iter().map(|image| image.name.as_str()).collect();
        let new: Vec<&str> = here.iter().filter(|name| side(name).is_none()).copied().collect();
        let missing: Vec<&str> = train.union(&test).filter(|name| !here.contains(*name)).copied().collect();
        let mut notes = Vec::new();
        for (what, mut names) in [("new", new), ("missing", missing)] {
            names.sort_unstable();
            if let Some(first) = names.first() {
                let count = names.len();
                notes.push(format!("{}: {count} files are {what} since then, such as {first}", self.name()));
            }
        }
        Ok((first, second, notes))
    }

    /// `noted` says of a file whether it is in the first part, where that is known.
    fn split_by(
        &self,
        fraction: f64,
        seed: u64,
        noted: impl Fn(&str) -> Option<bool>,
    ) -> Result<(ImageFolder, ImageFolder)> {
        let name = self.name();
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::new(format!("{name}: cannot split off {fraction} of the images: use 0 to 1")));
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for images in self.files.chunk_by(|a, b| a.class == b.class) {
            let known: Vec<Option<bool>> = images.iter().map(|image| noted(&image.name)).collect();
            let places: Vec<f64> = images.iter().map(|image| place(seed, &image.name)).collect();
            let mut chosen: Vec<bool> =
                known.iter().zip(&places).map(|(known, place)| known.unwrap_or(*place < fraction)).collect();
            // Neither side may lack a class, unless that is what the fraction says. What a run has noted stays.
            let free = |i: &usize| known[*i].is_none();
            let order = |a: &usize, b: &usize| places[*a].total_cmp(&places[*b]);
            if images.len() > 1 && fraction > 0.0 && fraction < 1.0 {
                if chosen.iter().all(|&chosen| chosen)
                    && let Some(last) = (0..images.len()).filter(free).max_by(order)
                {
                    chosen[last] = false;
                } else if !chosen.contains(&true)
                    && let Some(nearest) = (0..images.len()).filter(free).min_by(order)
                {
                    chosen[nearest] = true;
                }
            }
            for (image, chosen) in images.iter().zip(chosen) {
                if chosen { first.push(image.clone()) } else { second.push(image.clone()) }
            }
        }
        if first.is_empty() || second.is_empty() {
            return Err(Error::new(format!(
                "{name}: splitting off {fraction} of {} images leaves a part empty",
                self.files.len()
            )));
        }
        let part = |files| ImageFolder { files: Arc::new(files), ..self.clone() };
        Ok((part(first), part(second)))
    }

    /// The paths of all images within the folder, with `/` on every system: what a run notes of a part.
    pub fn names(&self) -> Vec<String> {
        self.files.iter().map(|image| image.name.clone()).collect()
    }

    /// The file of a sample; `None` when there is no such sample.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(|image| image.place.path.as_path())
    }

    /// Looks at the first bytes of every file, so that what is plainly none is found before anything is trained.
    ///
    /// # Errors
    /// Files are missing, empty, or no images that are read; the message names the first and how many there are.
    pub fn check(&self) -> Result<()> {
        let mut wrong = self.files.iter().filter_map(|image| check_start(&image.place).err());
        match (wrong.next(), wrong.count()) {
            (None, _) => Ok(()),
            (Some(error), 0) => Err(error),
            (Some(error), more) => Err(Error::new(format!("{error} ({more} more files are like that)"))),
        }
    }

    fn name(&self) -> &str {
        &self.description.name
    }
}

fn check_start(place: &Place) -> Result<()> {
    let (start, path) = (place.start(16)?, &*place.shown());
    if Kind::of(&start).is_some() {
        return Ok(());
    }
    Err(match (start.is_empty(), other_kind(&start)) {
        (true, _) => Error::at_file(path, "is empty; remove it or copy it again"),
        (_, Some(kind)) => Error::at_file(path, format_args!("is a {kind} image; convert it to PNG or JPEG")),
        _ => Error::at_file(
            path,
            format_args!("is no image that is read ({KINDS}); remove it or copy it again"),
        ),
    })
}

/// Where a file stands between 0 and 1: the same wherever the folder lies and whatever else is in it.
fn place(seed: u64, name: &str) -> f64 {
    // FNV-1a, whose bits are then mixed.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Random::new(&[seed, SPLIT_STREAM, hash]).bits() as f64 / (u64::MAX as f64 + 1.0)
}

/// Keeps the stream of splits apart from other streams of the same seed.
const SPLIT_STREAM: u64 = 0x7370_6c69_7400_0002;

/// Far deeper than anyone sorts pictures.
const DEEPEST: usize = 32;

/// All images of a folder and the folders in it. A folder that is a link to one around it is not gone into again.
fn walk(
    dir: &Path,
    around: &mut Vec<PathBuf>,
    images: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
) -> Result<()> {
    let real = dir.canonicalize().map_err(|cause| Error::io(dir, "list", cause))?;
    if around.contains(&real) || around.len() > DEEPEST {
        return Ok(());
    }
    around.push(real);
    for (name, path) in file::list(dir)?.into_iter().filter(|(name, _)| !is_of_the_system(name)) {
        if path.is_dir() {
            walk(&path, around, images, left_out)?;
        } else {
            take_file(&name, &path, images, left_out);
        }
    }
    around.pop();
    Ok(())
}

/// Takes a file if it is an image, and notes it otherwise.
fn take_file(name: &str, path: &Path, images: &mut Vec<PathBuf>, left_out: &mut LeftOut) {
    let named_so = name.rsplit_once('.').is_some_and(|(_, ending)| Kind::is_ending(ending));
    let start = if named_so { Vec::new() } else { file::start(path, 16).unwrap_or_default() };
    if named_so || Kind::of(&start).is_some() {
        return images.push(path.to_path_buf());
    }
    match other_kind(&start) {
        Some(kind) => *left_out.kinds.entry(kind).or_default() += 1,
        None => left_out.others += 1,
    }
    left_out.note(path);
}

/// Hidden files, and those that systems put into folders.
pub(crate) fn is_of_the_system(name: &str) -> bool {
    const LEFT_BEHIND: [&str; 6] =
        ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"];
    name.starts_with('.') || LEFT_BEHIND.contains(&name.to_lowercase().as_str())
}

impl Source for ImageFolder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        Some(self.files.len())
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let image = self.files.get(request.index).ok_or_else(|| {
            let (name, count) = (self.name(), self.files.len());
            Error::new(format!("{name}: there is no sample {}: there are {count}", request.index))
        })?;
        let out = sample.get::<f32>(INPUT)?;
        read_image_into(&image.place, &self.shape, out)?;
        self.normalization.apply(out, self.shape[0])?;
        sample.write(TARGET, &[image.class])
    }

    fn class(&self, index: usize) -> Option<i32> {
        self.files.get(index).map(|image| image.class)
    }

    fn origin(&self, index: usize) -> Option<String> {
        self.files.get(index).map(|image| image.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, flat_jpeg, message, png, shared};
    use crate::{Loader, LoaderOptions, Values, read_one};

    fn pets(folder: &Folder) {
        for (name, value) in
            [("dog/b.PNG", 255), ("dog/a.png", 204), ("cat/z.png", 0), ("cat/.hidden.png", 9)]
        {
            folder.write(name, &png(2, 2, 1, &[value; 4]));
        }
    }

    #[test]
    fn classes_and_files_in_the_order_of_names() {
        let folder = Folder::new("folder");
        pets(&folder);
        let data = ImageFolder::open(folder.path(), 1, 1, 1).unwrap();
        assert_eq!(data.description().class_count(), Some(2));
        assert_eq!(data.names(), ["cat/z.png", "dog/a.png", "dog/b.PNG"]);
        assert_eq!((0..3).map(|i| data.class(i).unwrap()).collect::<Vec<_>>(), [0, 1, 1]);
        assert!(data.left_out().is_empty());
        let data = data.normalized(Normalization::new(&[0.5], &[0.5]).unwrap()).unwrap();
        assert_eq!(read_one(&data, 2).unwrap().get("input"), Some(&Values::F32(vec![1.0])));
        assert!(message(read_one(&data, 3)).contains("there are 3"));
    }

    #[test]
    fn everything_that_is_a_picture_is_read_and_the_rest_is_counted() {
        let folder = Folder::new("folder-all");
        pets(&folder);
        let jpeg = flat_jpeg(200);
        for name in ["cat/a.jfif", "cat/deep/er/b.JPE", "dog/really a jpeg.webp", "dog/no ending"] {
            folder.write(name, &jpeg);
        }
        folder.write("dog/real.avif", b"\0\0\0\x1cftypavif");
        folder.write("dog/scan.tif", b"II*\0");
        folder.write("dog/deep/x.heic", b"\0\0\0\x18ftypheic");
        folder.write("dog/notes.txt", b"good dogs");
        folder.write("beside.jpg", &jpeg);
        folder.write("list.txt", b"cat dog");
        for name in ["cat/Thumbs.db", "cat/.DS_Store", "__MACOSX/cat/a.png", "desktop.ini", ".git/x/y.png"] {
            folder.write(name, b"x");
        }
        let data = ImageFolder::open(folder.path(), 1, 1, 1).unwrap();
        let expected = [
            "cat/a.jfif",
            "cat/deep/er/b.JPE",
            "cat/z.png",
            "dog/a.png",
            "dog/b.PNG",
            "dog/no ending",
            "dog/really a jpeg.webp",
        ];
        assert_eq!(data.names(), expected);
        assert_eq!(data.left_out().kinds, BTreeMap::from([("AVIF", 1), ("HEIC", 1), ("TIFF", 1)]));
        assert_eq!((data.left_out().beside, data.left_out().others), (1, 2));
        let said = data.left_out().to_string();
        let parts = ["1 AVIF images, 1 HEIC images, 1 TIFF images", "1 images beside", "2 files that are no"];
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!((0..7).all(|i| read_one(&data, i).is_ok()));
        data.check().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_around_do_not_go_on_for_ever() {
        let folder = Folder::new("folder-loop");
        pets(&folder);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("cat/around")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("cat"), folder.path().join("cat/again")).unwrap();
        let data = ImageFolder::open(folder.path(), 1, 1, 1).unwrap();
        assert!(
            data.names().iter().filter(|name| name.starts_with("cat/")).count() < 6,
            "{:?}",
            data.names()
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = Folder::new("folder-bad");
        let open = || ImageFolder::open(folder.path(), 1, 4, 4);
        assert!(message(open()).contains("has no subfolders"));
        folder.write("a.png", &png(1, 1, 1, &[1]));
        assert!(message(open()).contains("has no subfolders but 1 images"));
        pets(&folder);
        folder.write("dog/c.png", b"not an image");
        let loader = Loader::new(Arc::new(open().unwrap()), LoaderOptions::default()).unwrap();
        let error = message(loader.epoch(0, 0).next().unwrap());
        assert!(error.contains("c.png: is no image that is read (PNG, JPEG, WebP, GIF, BMP)"), "{error}");
        folder.write("dog/d.png", b"");
        let error = message(open().unwrap().check());
        assert!(error.contains("c.png: is no image") && error.contains("1 more"), "{error}");
        let (whole, wrong) = open().unwrap().without_corrupt().unwrap();
        assert_eq!((whole.count(), wrong.len()), (open().unwrap().count() - 2, 2));
        whole.check().unwrap();
        folder.write("empty/picture.tif", b"II*\0");
        let error = message(open());
        assert!(error.contains("empty: has no images (left out: 1 TIFF images"), "{error}");
        assert!(message(ImageFolder::open(folder.path().join("none"), 1, 4, 4)).contains("no such folder"));
        assert!(message(ImageFolder::open(folder.path(), 2, 4, 4)).contains("2 channels"));
    }

    fn many(folder: &Folder, count: u8) -> ImageFolder {
        for i in 0..count {
            folder.write(&format!("a/{i}.png"), &png(1, 1, 1, &[i]));
            folder.write(&format!("b/{i}.png"), &png(1, 1, 1, &[i]));
        }
        ImageFolder::open(folder.path(), 1, 1, 1).unwrap()
    }

    #[test]
    fn no_file_changes_sides_when_others_come_or_go() {
        let folder = Folder::new("folder-split");
        let data = many(&folder, 100);
        let (train, test) = data.split(0.8, 1).unwrap();
        assert_eq!(train.count() + test.count(), 200);
        assert!((20..60).contains(&test.count()), "{}", test.count());
        let sides = |data: &ImageFolder| data.names().into_iter().collect::<HashSet<String>>();
        assert!(sides(&train).is_disjoint(&sides(&test)));
        assert_eq!(sides(&data.split(0.8, 1).unwrap().0), sides(&train));
        assert_ne!(sides(&data.split(0.8, 2).unwrap().0), sides(&train));
        for removed in [train.path(3).unwrap(), test.path(3).unwrap()] {
            std::fs::remove_file(removed).unwrap();
        }
        folder.write("b/new.png", &png(1, 1, 1, &[1]));
        let (later, later_test) = ImageFolder::open(folder.path(), 1, 1, 1).unwrap().split(0.8, 1).unwrap();
        assert!(sides(&later_test).is_disjoint(&sides(&train)));
        assert!(sides(&later).is_disjoint(&sides(&test)));
        assert!(message(data.split(1.0, 1)).contains("leaves a part empty"));
        assert!(message(data.split(f64::NAN, 1)).contains("use 0 to 1"));
    }

    #[test]
    fn what_a_run_has_noted_stays_on_its_side() {
        let folder = Folder::new("folder-noted");
        let data = many(&folder, 6);
        // Not as any split by name would have it.
        let noted = FileSplit {
            train: vec!["a/0.png".into(), "b/3.png".into(), "b/gone.png".into()],
            test: vec!["a/1.png".into(), "a/2.png".into(), "b/0.png".into()],
        };
        let (train, test, notes) = data.split_as(&noted, 0.9, 1).unwrap();
        assert!(noted.train[..2].iter().all(|name| train.names().contains(name)));
        assert!(noted.test.iter().all(|name| test.names().contains(name)));
        assert!(
            notes[0].contains("7 files are new") && notes[1].contains("1 files are missing"),
            "{notes:?}"
        );
        assert!(notes[1].ends_with("b/gone.png"));
        let again = FileSplit { train: train.names(), test: test.names() };
        let (_, same, notes) = data.split_as(&again, 0.5, 9).unwrap();
        assert_eq!((same.names(), notes.len()), (test.names(), 0));
    }

    #[test]
    fn three_pictures_of_a_class_are_enough() {
        let folder = Folder::new("folder-few");
        let data = many(&folder, 3);
        for seed in 0..20 {
            let (train, test) = data.split(0.85, seed).unwrap();
            let classes =
                |data: &ImageFolder| (0..data.count()).map(|i| data.class(i)).collect::<HashSet<_>>();
            assert_eq!((classes(&train).len(), classes(&test).len()), (2, 2), "seed {seed}");
        }
    }

    #[test]
    fn the_real_photographs() {
        let Some(dir) = shared("cats-dogs") else { return };
        let data = ImageFolder::open(dir, 3, 64, 64).unwrap();
        assert_eq!((data.count(), data.class(0).unwrap(), data.class(939).unwrap()), (940, 0, 1));
        assert!(data.left_out().is_empty());
        data.check().unwrap();
        let options = LoaderOptions { threads: 2, ..Default::default() };
        let loader = Loader::new(Arc::new(data), options).unwrap();
        assert_eq!(loader.epoch(0, 0).map(|batch| batch.unwrap().len()).sum::<usize>(), 940);
    }
}
