//! CIFAR-10 and CIFAR-100 in their binary versions.

use std::path::{Path, PathBuf};

use crate::{Dataset, Description, Error, Normalization, Preparation, Result, file};

/// 32×32 pixels as a red, a green and a blue plane.
const PIXELS: usize = 3 * 32 * 32;
/// A label byte, then the pixels.
#[cfg(test)]
const RECORD: usize = 1 + PIXELS;
/// Twice the whole data set: more in one file is something else.
const MOST_RECORDS: usize = 120_000;
const NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Reads CIFAR-10 (binary version) from a folder: the training and the test images, `[3, 32, 32]` in red, green, blue,
/// classes 0 (airplane) to 9 (truck), normalised per colour with the usual means (0.4914, 0.4822, 0.4465) and
/// deviations (0.2470, 0.2435, 0.2616).
///
/// Training images are those of all `data_batch_*.bin`, in the order of the names, test images those of
/// `test_batch*.bin`; each plain or gzip (`.bin.gz`), and there may be fewer of them than in the full set. Records are
/// 3073 bytes: the label, then the planes row by row.
///
/// # Errors
/// The folder or either kind of file is missing, a file is not a whole number of records or is damaged, or a label is
/// above 9 (the message names file and record).
pub fn cifar10(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let dir = dir.as_ref();
    file::check_folder(dir, "give the folder that has data_batch_1.bin and so on")?;
    let files = file::list(dir)?;
    let names = NAMES.map(String::from);
    let (kind, usual) = (Kind { labels: 1, names: &names }, Normalization::cifar10());
    let train = kind.read_part(dir, &files, "data_batch_", "cifar10", &usual)?;
    let test = kind.read_part(dir, &files, "test_batch", "cifar10 test", &usual)?;
    Ok((train.called(&file::data_name("cifar10", dir)), test))
}

/// Reads CIFAR-100 (binary version) from a folder, as [`cifar10`] reads CIFAR-10: `train.bin` and `test.bin`, plain or
/// gzip, whose records have a byte for the coarse label, one for the fine label, and the planes. Classes are the 100
/// fine labels, called as in `fine_label_names.txt` if that is there and else by their numbers; the means are 0.5071,
/// 0.4865 and 0.4409, the deviations 0.2673, 0.2564 and 0.2762.
///
/// # Errors
/// As for [`cifar10`].
pub fn cifar100(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let dir = dir.as_ref();
    file::check_folder(dir, "give the folder that has train.bin and test.bin")?;
    let files = file::list(dir)?;
    let listed = std::fs::read_to_string(dir.join("fine_label_names.txt")).unwrap_or_default();
    let mut names: Vec<String> =
        listed.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect();
    if names.len() != 100 {
        names = (0..100).map(|number| number.to_string()).collect();
    }
    let kind = Kind { labels: 2, names: &names };
    let usual = Normalization::new(&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762])?;
    let train = kind.read_part(dir, &files, "train", "cifar100", &usual)?;
    let test = kind.read_part(dir, &files, "test", "cifar100 test", &usual)?;
    Ok((train.called(&file::data_name("cifar100", dir)), test))
}

/// One of the two data sets.
struct Kind<'a> {
    /// Bytes of labels in front of the pixels, of which the last is the class.
    labels: usize,
    names: &'a [String],
}

impl Kind<'_> {
    fn read_part(
        &self,
        dir: &Path,
        files: &[(String, PathBuf)],
        prefix: &str,
        name: &str,
        usual: &Normalization,
    ) -> Result<Dataset> {
        let (mut pixels, mut classes) = (Vec::new(), Vec::new());
        let mut found = false;
        for (file_name, path) in files {
            let stem = file_name.strip_suffix(".gz").unwrap_or(file_name);
            // A packed file next to the same one unpacked is not read twice.
            let twin = stem != file_name && files.iter().any(|(other, _)| other == stem);
            if stem.starts_with(prefix) && stem.ends_with(".bin") && !twin {
                self.read_records(path, &mut pixels, &mut classes)?;
                found = true;
            }
        }
        if !found {
            return Err(Error::at_file(
                dir,
                format_args!(
                    "has no file {prefix}*.bin or {prefix}*.bin.gz; the binary version of CIFAR-{} is wanted",
                    self.names.len()
                ),
            ));
        }
        let description = Description::classes(name, &[3, 32, 32], self.names);
        let data = Dataset::from_u8(description, pixels, classes)?.normalized(usual.clone())?;
        Ok(data.prepared_as(Preparation::Image { normalization: usual.clone() }))
    }

    fn read_records(&self, path: &Path, pixels: &mut Vec<u8>, classes: &mut Vec<i32>) -> Result<()> {
        let record_len = self.labels + PIXELS;
        let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_RECORDS * record_len + 1)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record_len) {
            return Err(Error::at_file(
                path,
                format_args!(
                    "has {} bytes, not a whole number of records of {record_len}: it is truncated or something else",
                    bytes.len()
                ),
            ));
        }
        for (index, record) in bytes.chunks_exact(record_len).enumerate() {
            let (label, most) = (record[self.labels - 1], self.names.len() - 1);
            if usize::from(label) > most {
                return Err(Error::at_file(
                    path,
                    format_args!("label {label} of record {index} is out of range: labels are 0 to {most}"),
                ));
            }
            classes.push(i32::from(label));
            pixels.extend_from_slice(&record[self.labels..]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::testing::{Folder, gzip, message, shared};

    fn record(label: u8, pixel: u8) -> Vec<u8> {
        let mut record = vec![pixel; RECORD];
        record[0] = label;
        record
    }

    #[test]
    fn reads_all_batches_in_order_and_none_twice() {
        let folder = Folder::new("cifar");
        folder.write("data_batch_2.bin", &record(2, 0));
        folder.write("data_batch_1.bin.gz", &gzip(&[record(0, 255), record(1, 0)].concat()));
        folder.write("data_batch_2.bin.gz", &gzip(&record(2, 0)));
        folder.write("test_batch.bin", &record(9, 0));
        folder.write("batches.meta.txt", b"airplane");
        let (train, test) = cifar10(folder.path()).unwrap();
        assert_eq!((train.classes(), test.classes()), (Some(&[0, 1, 2][..]), Some(&[9][..])));
        let first = crate::read_one(&train, 0).unwrap();
        let out = first.get("input").unwrap().slice::<f32>().unwrap();
        assert_eq!(
            (out[0], out[1024], out[3071]),
            ((1.0 - 0.4914) / 0.2470, (1.0 - 0.4822) / 0.2435, (1.0 - 0.4465) / 0.2616)
        );
    }

    #[test]
    fn bad_files_are_named() {
        let folder = Folder::new("cifar-bad");
        assert!(message(cifar10(folder.path().join("no"))).contains("no such folder"));
        folder.write("data_batch_1.bin", &record(0, 0)[1..]);
        let truncated = message(cifar10(folder.path()));
        assert!(truncated.contains("data_batch_1.bin: has 3072 bytes"), "{truncated}");
        folder.write("data_batch_1.bin", &[record(0, 0), record(10, 0)].concat());
        assert!(message(cifar10(folder.path())).contains("label 10 of record 1"));
        folder.write("data_batch_1.bin", &record(0, 0));
        assert!(message(cifar10(folder.path())).contains("no file test_batch*.bin"));
    }

    #[test]
    fn a_hundred_classes_by_their_fine_labels() {
        let folder = Folder::new("cifar100");
        let record = |coarse: u8, fine: u8| [&[coarse, fine][..], &[7; PIXELS]].concat();
        folder.write("train.bin", &[record(3, 99), record(4, 0)].concat());
        folder.write("test.bin.gz", &gzip(&record(19, 50)));
        let (train, test) = cifar100(folder.path()).unwrap();
        assert_eq!((train.classes(), test.classes()), (Some(&[99, 0][..]), Some(&[50][..])));
        assert_eq!(train.description().class_names().unwrap()[99], "99");
        folder.write(
            "fine_label_names.txt",
            (0..100).map(|i| format!("name {i}\n")).collect::<String>().as_bytes(),
        );
        assert_eq!(cifar100(folder.path()).unwrap().0.description().class_names().unwrap()[99], "name 99");
        folder.write("train.bin", &record(3, 100));
        assert!(
            message(cifar100(folder.path()))
                .contains("label 100 of record 0 is out of range: labels are 0 to 99")
        );
    }

    #[test]
    fn the_real_files() {
        let Some(dir) = shared("cifar-10") else { return };
        let (train, test) = cifar10(dir).unwrap();
        assert_eq!((train.count(), test.count()), (10_000, 4_000));
        // The first test image is a cat, the second a ship.
        assert_eq!(test.classes().map(|classes| &classes[..4]), Some(&[3, 8, 8, 0][..]));
    }
}
