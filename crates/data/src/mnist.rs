//! MNIST and the data sets that share its format (Fashion-MNIST, KMNIST).

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
/// The folder or a file is missing, a file is not what it should be (see [`read_idx`](crate::read_idx)), images are not 28×28, the
/// counts of images and labels differ, or a label is above 9.
pub fn mnist(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let dir = dir.as_ref();
    file::check_folder(dir, "fetch the files first (download_mnist) or give the folder that has them")?;
    let train = read_pair(dir, "train", "mnist")?.called(&file::data_name("mnist", dir));
    Ok((train, read_pair(dir, "t10k", "mnist test")?))
}

fn read_pair(dir: &Path, prefix: &str, name: &str) -> Result<Dataset> {
    let images_path = find(dir, prefix, "images", 3)?;
    let labels_path = find(dir, prefix, "labels", 1)?;
    let check = |shape: &[usize]| match shape {
        [_, 28, 28] => Ok(()),
        _ => Err(Error::at_file(
            &images_path,
            format_args!("has shape {shape:?}, images of shape [count, 28, 28] are wanted"),
        )),
    };
    let images = read_idx_of(&images_path, check)?;
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
    if let Some(index) = labels.data.iter().position(|&label| label > 9) {
        return Err(Error::at_file(
            &labels_path,
            format_args!("label {} of sample {index} is out of range: labels are 0 to 9", labels.data[index]),
        ));
    }
    let description = Description::classes(name, &[1, 28, 28], ('0'..='9').map(String::from));
    let classes: Vec<i32> = labels.data.into_iter().map(i32::from).collect();
    let data = Dataset::from_u8(description, images.data, classes)?.normalized(Normalization::mnist())?;
    Ok(data.prepared_as(Preparation::Digit { normalization: Normalization::mnist() }))
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
            format_args!(
                "has none of the files {}; fetch it (download_mnist) or give another folder",
                names.join(", ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn the_real_files() {
        let Some(dir) = shared("mnist") else { return };
        let (train, test) = mnist(dir).unwrap();
        assert_eq!((train.count(), test.count()), (60_000, 10_000));
        assert_eq!((train.classes().unwrap()[0], test.classes().unwrap()[0]), (5, 7));
    }
}
