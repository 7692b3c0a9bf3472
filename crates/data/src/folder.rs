//! Images in one folder per class, decoded when they are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::image_file::{check_shape, read_image_into};
use crate::random::Random;
use crate::{
    Description, Error, INPUT, Normalization, Preparation, Request, Result, Sample, Source, TARGET, file,
};

/// A data set of PNG and JPEG files in one subfolder per class. Files are decoded each time they are read, so the set
/// may be far larger than memory; give [`LoaderOptions::threads`](crate::LoaderOptions) more than one.
///
/// Classes are the subfolders in the order of their names, images the files ending in `.png`, `.jpg` or `.jpeg` (in
/// any case) in the order of classes and names; other files and names that start with a dot are left out. Each image
/// is read as by [`read_image`](crate::read_image).
#[derive(Clone)]
pub struct ImageFolder {
    description: Arc<Description>,
    shape: [usize; 3],
    normalization: Normalization,
    files: Arc<Vec<(PathBuf, i32)>>,
}

impl ImageFolder {
    /// Lists the files; every image will be `[channels, height, width]`. None is opened yet.
    ///
    /// # Errors
    /// The folder is missing or cannot be listed, it has no subfolders, a subfolder has no images, or the shape is
    /// one that [`read_image`](crate::read_image) refuses.
    pub fn open(dir: impl AsRef<Path>, channels: usize, height: usize, width: usize) -> Result<ImageFolder> {
        let dir = dir.as_ref();
        check_shape(channels, height, width)?;
        file::check_folder(dir, "give the folder that has one subfolder of images per class")?;
        let (mut names, mut files) = (Vec::new(), Vec::new());
        for (name, path) in
            file::list(dir)?.into_iter().filter(|(name, path)| !name.starts_with('.') && path.is_dir())
        {
            let before = files.len();
            let images =
                file::list(&path)?.into_iter().filter(|(name, path)| is_image(name) && path.is_file());
            files.extend(images.map(|(_, path)| (path, names.len() as i32)));
            if files.len() == before {
                return Err(Error::at_file(
                    &path,
                    "has no .png, .jpg or .jpeg files: every subfolder is a class and needs images; fill or remove it",
                ));
            }
            names.push(name);
        }
        if names.is_empty() {
            return Err(Error::at_file(
                dir,
                "has no subfolders; put the images of each class into one of its own",
            ));
        }
        let name =
            dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into());
        let mut description = Description::classes(name, &[channels, height, width], names);
        description.fields[0].preparation = Preparation::Image { normalization: Normalization::identity() };
        Ok(ImageFolder {
            description: Arc::new(description),
            shape: [channels, height, width],
            normalization: Normalization::identity(),
            files: Arc::new(files),
        })
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

    /// Two parts without common images: `fraction` of every class, chosen by `seed`, and the rest; training and test.
    /// Both keep the order and all class names. The first part takes the nearest whole number of each class.
    ///
    /// # Errors
    /// `fraction` is not between 0 and 1, or leaves a part without any image.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(ImageFolder, ImageFolder)> {
        let name = &self.description.name;
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::new(format!("{name}: cannot split off {fraction} of the images: use 0 to 1")));
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for images in self.files.chunk_by(|a, b| a.1 == b.1) {
            let mut chosen: Vec<bool> = vec![false; images.len()];
            let count = (images.len() as f64 * fraction).round() as usize;
            chosen[..count.min(images.len())].fill(true);
            Random::new(&[seed, SPLIT_STREAM, images[0].1 as u64]).shuffle(&mut chosen);
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

    /// The file of a sample; `None` when there is no such sample.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(|(path, _)| path.as_path())
    }

    /// The class of a sample; `None` when there is no such sample.
    pub fn class(&self, index: usize) -> Option<i32> {
        self.files.get(index).map(|(_, class)| *class)
    }

    /// How many images there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    fn file(&self, index: usize) -> Result<&(PathBuf, i32)> {
        self.files.get(index).ok_or_else(|| {
            Error::new(format!(
                "{}: there is no sample {index}: there are {}",
                self.description.name,
                self.files.len()
            ))
        })
    }
}

/// Keeps the stream of splits apart from other streams of the same seed.
const SPLIT_STREAM: u64 = 0x7370_6c69_7400_0001;

fn is_image(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    !name.starts_with('.') && matches!(ending.as_deref(), Some("png" | "jpg" | "jpeg"))
}

impl Source for ImageFolder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        Some(self.files.len())
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let (path, class) = self.file(request.index)?;
        let out = sample.get::<f32>(INPUT)?;
        read_image_into(path, &self.shape, out)?;
        self.normalization.apply(out, self.shape[0])?;
        sample.write(TARGET, &[*class])
    }

    fn origin(&self, index: usize) -> Option<String> {
        self.path(index).map(|path| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, message, png, shared};
    use crate::{Loader, LoaderOptions};

    fn pets(folder: &Folder) {
        for (name, value) in
            [("dog/b.PNG", 255), ("dog/a.png", 204), ("cat/z.png", 0), ("cat/.hidden.png", 9)]
        {
            folder.write(name, &png(2, 2, 1, &[value; 4]));
        }
        folder.write("dog/notes.txt", b"good dogs");
        folder.write("list.txt", b"cat dog");
    }

    #[test]
    fn classes_and_files_in_the_order_of_names() {
        let folder = Folder::new("folder");
        pets(&folder);
        let data = ImageFolder::open(folder.path(), 1, 1, 1).unwrap();
        assert_eq!(data.description().class_count(), Some(2));
        let names: Vec<_> =
            (0..3).map(|i| data.path(i).unwrap().file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["z.png", "a.png", "b.PNG"]);
        assert_eq!((0..3).map(|i| data.class(i).unwrap()).collect::<Vec<_>>(), [0, 1, 1]);
        let data = data.normalized(Normalization::new(&[0.5], &[0.5]).unwrap()).unwrap();
        let last = crate::read_one(&data, 2).unwrap();
        assert_eq!(last.get("input"), Some(&crate::Values::F32(vec![1.0])));
        assert!(message(crate::read_one(&data, 3)).contains("there are 3"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = Folder::new("folder-bad");
        let open = || ImageFolder::open(folder.path(), 1, 4, 4);
        assert!(message(open()).contains("has no subfolders"));
        pets(&folder);
        folder.write("dog/c.png", b"not an image");
        let loader = Loader::new(Arc::new(open().unwrap()), LoaderOptions::default()).unwrap();
        let error = message(loader.epoch(0, 0).next().unwrap());
        assert!(error.contains("c.png: is neither a PNG nor a JPEG"), "{error}");
        folder.write("empty/readme.txt", b"");
        assert!(message(open()).contains("empty: has no .png"));
        assert!(message(ImageFolder::open(folder.path().join("none"), 1, 4, 4)).contains("no such folder"));
        assert!(message(ImageFolder::open(folder.path(), 2, 4, 4)).contains("2 channels"));
    }

    #[test]
    fn splits_every_class_alike() {
        let folder = Folder::new("folder-split");
        for i in 0..10 {
            folder.write(&format!("a/{i}.png"), &png(1, 1, 1, &[i]));
            folder.write(&format!("b/{i}.png"), &png(1, 1, 1, &[i]));
        }
        let data = ImageFolder::open(folder.path(), 1, 1, 1).unwrap();
        let (train, test) = data.split(0.8, 1).unwrap();
        let count = |data: &ImageFolder, class| {
            (0..data.count()).filter(|&i| data.class(i).unwrap() == class).count()
        };
        assert_eq!([count(&train, 0), count(&train, 1), count(&test, 0), count(&test, 1)], [8, 8, 2, 2]);
        let paths = |data: &ImageFolder| {
            (0..data.count()).map(|i| data.path(i).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(paths(&test).iter().all(|path| !paths(&train).contains(path)));
        assert_eq!(paths(&data.split(0.8, 1).unwrap().0), paths(&train));
        assert_ne!(paths(&data.split(0.8, 2).unwrap().0), paths(&train));
        assert!(message(data.split(1.0, 1)).contains("leaves a part empty"));
        assert!(message(data.split(f64::NAN, 1)).contains("use 0 to 1"));
    }

    #[test]
    fn the_real_photographs() {
        let Some(dir) = shared("cats-dogs") else { return };
        let data = ImageFolder::open(dir, 3, 64, 64).unwrap();
        assert_eq!((data.count(), data.class(0).unwrap(), data.class(939).unwrap()), (940, 0, 1));
        let options = LoaderOptions { threads: 2, ..Default::default() };
        let loader = Loader::new(Arc::new(data), options).unwrap();
        assert_eq!(loader.epoch(0, 0).map(|batch| batch.unwrap().len()).sum::<usize>(), 940);
    }
}
