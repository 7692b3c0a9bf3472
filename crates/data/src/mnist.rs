//! MNIST and the data sets that share its format (Fashion-MNIST, EMNIST, KMNIST).

use std::path::{Path, PathBuf};

use crate::idx::read_idx_of;
use crate::{Dataset, Description, Error, Normalization, Preparation, Result, file};

/// Reads MNIST from a folder: the training and the test images, grey, `[1, 28, 28]`, classes 0 to 9, normalised as
/// `(x / 255 − 0.1307) / 0.3081`.
///
/// The folder holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`; `.idx3-ubyte` for `-idx3-ubyte` and an ending `.gz` are fine too. Fewer samples than
/// usual, and other data sets in this format, are read alike.
///
/// ```no_run
/// let (train, test) = dropforge_data::mnist("data/mnist")?;
/// println!("{} and {} images", train.count(), test.count());
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// The folder or a file is missing, a file is not what it should be (see [`read_idx`](crate::read_idx)), images are not
/// 28×28, the counts of images and labels differ, or a label is above 9.
pub fn mnist(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let names: Vec<String> = ('0'..='9').map(String::from).collect();
    let digits = |normalization| Preparation::Digit { normalization };
    Idx { train: "train", test: "t10k", names: &names, first: 0, transposed: false }.read(
        dir.as_ref(),
        "mnist",
        (Normalization::mnist(), digits),
    )
}

/// Reads Fashion-MNIST from a folder: files as of [`mnist()`], ten classes of clothes, normalised by the mean 0.2860
/// and the deviation 0.3530.
///
/// # Errors
/// As for [`mnist()`].
pub fn fashion_mnist(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    const NAMES: [&str; 10] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ];
    let names = NAMES.map(String::from);
    Idx { train: "train", test: "t10k", names: &names, first: 0, transposed: false }.read(
        dir.as_ref(),
        "fashion",
        (Normalization::new(&[0.286], &[0.353])?, image),
    )
}

/// Reads a part of EMNIST from a folder: `balanced`, `byclass`, `bymerge`, `digits`, `letters` or `mnist`. Files are
/// called `emnist-PART-train-images-idx3-ubyte` and so on, plain or gzip; their images are stored on their side and are
/// set upright. Classes are the characters of `emnist-PART-mapping.txt` if that is there, and else numbers. Normalised
/// by the mean 0.1736 and the deviation 0.3317.
///
/// # Errors
/// As for [`mnist()`]; or there is no such part.
pub fn emnist(dir: impl AsRef<Path>, part: &str) -> Result<(Dataset, Dataset)> {
    let dir = dir.as_ref();
    let (first, count) = match part {
        "balanced" | "bymerge" => (0, 47),
        "byclass" => (0, 62),
        "digits" | "mnist" => (0, 10),
        "letters" => (1, 26),
        _ => {
            let known = "balanced, byclass, bymerge, digits, letters and mnist";
            return Err(Error::new(format!("EMNIST has no part `{part}`; known are {known}")));
        }
    };
    let listed = std::fs::read_to_string(dir.join(format!("emnist-{part}-mapping.txt"))).unwrap_or_default();
    // Each line has a label and the codes of the characters that it stands for, of which the first is taken.
    let character = |line: &str| {
        let code = line.split_whitespace().nth(1)?.parse().ok()?;
        char::from_u32(code).map(String::from)
    };
    let mut names: Vec<String> = listed.lines().filter_map(character).collect();
    if names.len() != count {
        names = (first..first + count).map(|number| number.to_string()).collect();
    }
    let (train, test) = (format!("emnist-{part}-train"), format!("emnist-{part}-test"));
    Idx { train: &train, test: &test, names: &names, first, transposed: true }.read(
        dir,
        "emnist",
        (Normalization::new(&[0.1736], &[0.3317])?, image),
    )
}

fn image(normalization: Normalization) -> Preparation {
    Preparation::Image { normalization }
}

/// A data set of four IDX files.
struct Idx<'a> {
    /// What the names of the files start with.
    train: &'a str,
    test: &'a str,
    /// The classes.
    names: &'a [String],
    /// The label of the first class.
    first: usize,
    /// Whether images are stored column by column.
    transposed: bool,
}

impl Idx<'_> {
    fn read(
        &self,
        dir: &Path,
        name: &str,
        usual: (Normalization, impl Fn(Normalization) -> Preparation),
    ) -> Result<(Dataset, Dataset)> {
        file::check_folder(dir, "give the folder that has the files, or fetch them first")?;
        let train = self.read_pair(dir, self.train, name, &usual)?.called(&file::data_name(name, dir));
        Ok((train, self.read_pair(dir, self.test, &format!("{name} test"), &usual)?))
    }

    fn read_pair(
        &self,
        dir: &Path,
        prefix: &str,
        name: &str,
        (normalization, preparation): &(Normalization, impl Fn(Normalization) -> Preparation),
    ) -> Result<Dataset> {
        let images_path = find(dir, prefix, "images", 3)?;
        let labels_path = find(dir, prefix, "labels", 1)?;
        let check = |shape: &[usize]| match shape {
            [_, 28, 28] => Ok(()),
            _ => Err(Error::at_file(
                &images_path,
                format_args!("has shape {shape:?}, images of shape [count, 28, 28] are wanted"),
            )),
        };
        let mut images = read_idx_of(&images_path, check)?;
        let count = images.shape.first().copied().unwrap_or(0);
        let check = |shape: &[usize]| match shape {
            [_] => Ok(()),
            _ => Err(Error::at_file(
                &labels_path,
                format_args!("has shape {shape:?}, labels of shape [count] are wanted"),
            )),
        };
        let labels = read_idx_of(&labels_path, check)?;
        if labels.data.len() != count {
            return Err(Error::at_file(
                &labels_path,
                format_args!(
                    "has {} labels, but {} has {count} images: the files do not belong together",
                    labels.data.len(),
                    images_path.display()
                ),
            ));
        }
        let (first, last) = (self.first, self.first + self.names.len() - 1);
        let outside = |&label: &u8| !(first..=last).contains(&usize::from(label));
        if let Some(index) = labels.data.iter().position(outside) {
            let label = labels.data[index];
            return Err(Error::at_file(
                &labels_path,
                format_args!("label {label} of sample {index} is out of range: labels are {first} to {last}"),
            ));
        }
        if self.transposed {
            for image in images.data.chunks_exact_mut(28 * 28) {
                for y in 0..28 {
                    (0..y).for_each(|x| image.swap(y * 28 + x, x * 28 + y));
                }
            }
        }
        let description = Description::classes(name, &[1, 28, 28], self.names);
        let classes: Vec<i32> =
            labels.data.into_iter().map(|label| i32::from(label) - first as i32).collect();
        let data = Dataset::from_u8(description, images.data, classes)?.normalized(normalization.clone())?;
        Ok(data.prepared_as(preparation(normalization.clone())))
    }
}

/// The names under which a file of MNIST is known, the one the mirrors use first.
pub(crate) fn file_names(prefix: &str, what: &str, rank: usize) -> Vec<String> {
    let name = |joint, ending| format!("{prefix}-{what}{joint}idx{rank}-ubyte{ending}");
    vec![name("-", ".gz"), name("-", ""), name(".", ".gz"), name(".", "")]
}

fn find(dir: &Path, prefix: &str, what: &str, rank: usize) -> Result<PathBuf> {
    let names = file_names(prefix, what, rank);
    names.iter().map(|name| dir.join(name)).find(|path| path.exists()).ok_or_else(|| {
        Error::at_file(
            dir,
            format_args!("has none of the files {}; give another folder, or fetch them", names.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::testing::{Folder, gzip, idx, message, shared};

    fn write(folder: &Folder, images: &[u8], labels: &[u8]) {
        folder.write("train-images-idx3-ubyte", images);
        folder.write("train-labels.idx1-ubyte.gz", &gzip(labels));
        folder.write("t10k-images.idx3-ubyte", &idx(&[1, 28, 28], &[255; 784]));
        folder.write("t10k-labels-idx1-ubyte", &idx(&[1], &[9]));
    }

    #[test]
    fn reads_all_names() {
        let folder = Folder::new("mnist");
        write(&folder, &gzip(&idx(&[2, 28, 28], &[0; 2 * 784])), &idx(&[2], &[3, 4]));
        let (train, test) = mnist(folder.path()).unwrap();
        assert_eq!((train.classes(), test.classes()), (Some(&[3, 4][..]), Some(&[9][..])));
        let input = |data: &Dataset, index| {
            crate::read_one(data, index).unwrap().get("input").unwrap().slice::<f32>().unwrap().to_vec()
        };
        assert!(input(&train, 1).iter().all(|&x| x == -0.1307 / 0.3081));
        assert!(input(&test, 0).iter().all(|&x| x == (1.0 - 0.1307) / 0.3081));
    }

    #[test]
    fn bad_files_are_named() {
        let folder = Folder::new("mnist-bad");
        let images = idx(&[2, 28, 28], &[0; 2 * 784]);
        let labels = idx(&[2], &[3, 4]);
        let missing = folder.path().join("nowhere");
        assert!(message(mnist(&missing)).contains("no such folder"));
        assert!(message(mnist(folder.path())).contains("has none of the files train-images-idx3-ubyte.gz"));
        write(&folder, &images, &idx(&[3], &[3, 4, 5]));
        let counts = message(mnist(folder.path()));
        assert!(
            counts.contains("train-labels.idx1-ubyte.gz: has 3 labels") && counts.contains("2 images"),
            "{counts}"
        );
        write(&folder, &images, &idx(&[2], &[3, 10]));
        assert!(message(mnist(folder.path())).contains("label 10 of sample 1 is out of range"));
        write(&folder, &labels, &images);
        assert!(message(mnist(folder.path())).contains("images of shape [count, 28, 28] are wanted"));
        write(&folder, &images, &images);
        assert!(message(mnist(folder.path())).contains("labels of shape [count] are wanted"));
        write(&folder, &images[..1000], &labels);
        assert!(message(mnist(folder.path())).contains("truncated: 984 of the 1568"));
        assert!(message(mnist(folder.path().join("t10k-labels-idx1-ubyte"))).contains("is a file"));
    }

    #[test]
    fn clothes_and_letters() {
        let folder = Folder::new("mnist-others");
        write(&folder, &idx(&[2, 28, 28], &[0; 2 * 784]), &idx(&[2], &[3, 9]));
        let (train, _) = fashion_mnist(folder.path()).unwrap();
        assert_eq!(train.description().class_names().unwrap()[9], "Ankle boot");
        assert!(train.data_name().is_some_and(|name| name.starts_with("fashion:")));
        let mut image = vec![0; 784];
        image[3] = 255;
        for part in ["train", "test"] {
            folder.write(&format!("emnist-letters-{part}-images-idx3-ubyte"), &idx(&[1, 28, 28], &image));
            folder.write(&format!("emnist-letters-{part}-labels-idx1-ubyte"), &idx(&[1], &[26]));
        }
        let (letters, _) = emnist(folder.path(), "letters").unwrap();
        assert_eq!(
            (letters.classes(), letters.description().class_names().unwrap()[25].as_str()),
            (Some(&[25][..]), "26")
        );
        // What lay to the right lies below.
        assert_eq!(letters.bytes(0).unwrap()[3 * 28], 255);
        let mapping: String = (1..=26).map(|i| format!("{i} {} {}\n", 64 + i, 96 + i)).collect();
        folder.write("emnist-letters-mapping.txt", mapping.as_bytes());
        let (letters, _) = emnist(folder.path(), "letters").unwrap();
        assert_eq!(letters.description().class_names().unwrap()[25], "Z");
        folder.write("emnist-letters-test-labels-idx1-ubyte", &idx(&[1], &[0]));
        assert!(
            message(emnist(folder.path(), "letters"))
                .contains("label 0 of sample 0 is out of range: labels are 1 to 26")
        );
        assert!(message(emnist(folder.path(), "lettres")).contains("no part `lettres`; known are balanced"));
    }

    #[test]
    fn the_real_files() {
        let Some(dir) = shared("mnist") else { return };
        let (train, test) = mnist(dir).unwrap();
        assert_eq!((train.count(), test.count()), (60_000, 10_000));
        assert_eq!((train.classes().unwrap()[0], test.classes().unwrap()[0]), (5, 7));
    }
}
