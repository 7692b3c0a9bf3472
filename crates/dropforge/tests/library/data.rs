//! Data sets and changes of images by their names: small files in, and changed pictures, held against numbers from
//! elsewhere.

use dropforge::data::transform::{Drawn, Image};
use dropforge::data::{Dataset, Description, INPUT, Random, TARGET, Values, read_one, save_pictures};
use dropforge::run::registry::{build, registry};
use dropforge::run::{Augmentation, Change, DataSpec, Opening};
use dropforge::settings::Table;
use std::path::{Path, PathBuf};

/// What `scripts/golden_augmentations.py` writes: every change of the registry, of an image that a formula makes.
#[test]
fn every_change_of_images_is_held_to_golden_values() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/transforms");
    for entry in registry().transforms.iter().map(|entry| entry.declaration.name) {
        // Those that take two samples of a batch are a part of the step alone.
        if ["cutmix", "mixup"].contains(&entry) {
            continue;
        }
        let path = golden.join(format!("{entry}.txt"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{entry}: there are no golden values"));
        for line in text.lines() {
            let [seed, settings, expected] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            let table: Table = format!("change = {settings}").parse().unwrap();
            let change = build::<dyn Augmentation>(&table["change"]).unwrap();
            let mut pixels: Vec<f32> =
                (0..3 * 16 * 18).map(|at| (at * at * 37 % 101) as f32 / 101.0).collect();
            let mut image = Image { channels: 3, height: 16, width: 18, pixels: &mut pixels };
            let mut random = Random::new(&[seed.parse().unwrap()]);
            match change.into_change() {
                Change::Host(change) => change.apply(&mut image, &mut random),
                Change::Both(change) => {
                    let mut numbers = vec![0.0; change.numbers()];
                    change.draw([3, 16, 18], &mut random, &mut numbers);
                    change.change(&mut image, &numbers);
                }
                Change::Mix(_) => panic!("{entry} mixes samples"),
            }
            let expected = expected.split(',').map(|number| number.parse::<f32>().unwrap());
            let off = pixels.iter().step_by(7).zip(expected).map(|(a, b)| (a - b).abs());
            let (at, farthest) = off.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert!(farthest < 5e-4, "{settings}, seed {seed}: number {at} is {farthest} away");
        }
    }
}

/// A folder of its own for a data set, removed afterwards.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let path = std::env::temp_dir().join(format!("dropforge-golden-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Files(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    /// The four files of a data set like MNIST: an image of 28 × 28 pixels each, which count up from `first`, and a
    /// label.
    fn idx(&self, [train, test]: [&str; 2], label: u8) {
        for (part, first) in [(train, 0usize), (test, 100)] {
            let pixels: Vec<u8> = (0..784).map(|at| ((first + at) % 256) as u8).collect();
            let header = [[0u8, 0, 8, 3], [0, 0, 0, 1], [0, 0, 0, 28], [0, 0, 0, 28]].concat();
            self.write(&format!("{part}-images-idx3-ubyte"), [header, pixels].concat());
            self.write(&format!("{part}-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, label]);
        }
    }

    /// PNG files of one colour, one for each class: `DIR/CLASS/NUMBER.png`.
    fn pictures(&self, dir: &str, colours: [[u8; 3]; 2]) {
        let planes = colours.iter().flatten().flat_map(|&byte| [f32::from(byte) / 255.0; 16]).collect();
        let description = Description::classes("pictures", &[3, 4, 4], ["blue", "red"]);
        let pictures = Dataset::from_f32(description, planes, vec![0, 1]).unwrap();
        save_pictures(&pictures, self.0.join(dir)).unwrap();
    }
}

/// A tar file of these pictures, each in the folder of its class, as POSIX describes it.
fn tar(pictures: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for name in ["blue/0.png", "red/1.png"] {
        let content = std::fs::read(pictures.join(name)).unwrap();
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend_from_slice(&header);
        all.extend_from_slice(&content);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is expected of the first sample to train on.
struct First {
    /// The data set as a word, with `{}` for the folder of its files.
    word: &'static str,
    shape: &'static [usize],
    classes: usize,
    /// Where in the input, and what stands there.
    input: Vec<(usize, f32)>,
    target: f32,
}

/// The files of a data set, and what is expected of them: as the description of each format says.
fn case(name: &str, files: &Files) -> First {
    let normal = |byte: u8, mean: f32, std: f32| (f32::from(byte) / 255.0 - mean) / std;
    let first = |word, shape, classes, input, target| First { word, shape, classes, input, target };
    match name {
        // As Krizhevsky describes it: a label, then a red, a green and a blue plane.
        "cifar10" | "cifar100" => {
            let pixels: Vec<u8> = (0..3072).map(|at| (at % 251) as u8).collect();
            let labels: &[u8] = if name == "cifar10" { &[7] } else { &[3, 42] };
            let record = [labels, &pixels].concat();
            let names = if name == "cifar10" {
                ["data_batch_1.bin", "test_batch.bin"]
            } else {
                ["train.bin", "test.bin"]
            };
            names.iter().for_each(|name| files.write(name, &record));
            let (means, stds) = match name {
                "cifar10" => ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
                _ => ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
            };
            let at = |place: usize| (place, normal(pixels[place], means[place / 1024], stds[place / 1024]));
            let word = if name == "cifar10" { "cifar10:{}" } else { "cifar100:{}" };
            let (classes, target) = if name == "cifar10" { (10, 7.0) } else { (100, 42.0) };
            first(word, &[3, 32, 32], classes, vec![at(0), at(1025), at(3071)], target)
        }
        // Drawn by the library: the ten classes in turn, light on dark.
        "digits" => first("digits:60", &[1, 28, 28], 10, vec![(0, normal(0, 0.1307, 0.3081))], 0.0),
        // LeCun's IDX: row by row; EMNIST column by column, its letters counted from 1.
        "mnist" => {
            files.idx(["train", "t10k"], 4);
            let at = |place: usize| (place, normal((place % 256) as u8, 0.1307, 0.3081));
            first("mnist:{}", &[1, 28, 28], 10, vec![at(0), at(29), at(783)], 4.0)
        }
        "fashion" => {
            files.idx(["train", "t10k"], 9);
            first("fashion:{}", &[1, 28, 28], 10, vec![(1, normal(1, 0.286, 0.353))], 9.0)
        }
        "emnist" => {
            files.idx(["emnist-letters-train", "emnist-letters-test"], 26);
            let turned = |row: usize, column: usize| {
                (row * 28 + column, normal(((column * 28 + row) % 256) as u8, 0.1736, 0.3317))
            };
            first("emnist:{}?part=letters", &[1, 28, 28], 26, vec![turned(0, 1), turned(3, 2)], 25.0)
        }
        // Pictures of one colour, normalised as ImageNet's are.
        "folder" | "manifest" | "shards" => {
            for (part, light) in [("train", 200), ("val", 90)] {
                files.pictures(part, [[10, 20, light], [light, 20, 10]]);
            }
            files.write(
                "all.csv",
                "path,class,split\ntrain/blue/0.png,blue,train\ntrain/red/1.png,red,train\n\
                 val/blue/0.png,blue,val\nval/red/1.png,red,val\n",
            );
            let input = vec![
                (0, normal(10, 0.485, 0.229)),
                (16, normal(20, 0.456, 0.224)),
                (47, normal(200, 0.406, 0.225)),
            ];
            for part in ["train", "val"] {
                files.write(&format!("{part}.tar"), tar(&files.0.join(part)));
            }
            let word = match name {
                "folder" => "folder:{}",
                "manifest" => "manifest:{}/all.csv",
                _ => "shards:{}/train.tar?test={}/val.tar",
            };
            first(word, &[3, 4, 4], 2, input, 0.0)
        }
        // Rows 0 to 14 are trained on, since the others are one window and what follows it: their mean is 7, their
        // variance (15² - 1) / 12.
        "series" => {
            let rows: String = (0..20).map(|i| format!("{i}\n")).collect();
            files.write("s.csv", format!("x\n{rows}"));
            let normal = |number: f32| (number - 7.0) / (224f32 / 12.0).sqrt();
            let input = (0..4).map(|at| (at, normal(at as f32))).collect();
            first("series:{}/s.csv?length=4", &[1, 4], 1, input, normal(4.0))
        }
        // One number whose mean in training is taken off, one of two texts; the target is standardised, too.
        "table" => {
            let rows: String = (0..20).map(|i| format!("{},{},{i}\n", i % 2, ["b", "a"][i % 2])).collect();
            files.write("t.csv", format!("odd,letter,y\n{rows}"));
            first("table:{}/t.csv?target=letter&ignore=y", &[1], 2, vec![], 1.0)
        }
        // Characters in the order of their codes.
        "text" => {
            files.write("t.txt", "cab".repeat(30));
            first("text:{}/t.txt?length=4", &[4], 3, vec![], 0.0)
        }
        other => panic!("data: no golden case of {other} in tests/library/data.rs"),
    }
}

#[test]
fn every_data_set_is_held_to_a_golden_case() {
    for name in registry().data.iter().map(|entry| entry.declaration.name) {
        let files = Files::new(name);
        let First { word, shape, classes, input, target } = case(name, &files);
        let spec = DataSpec::parse(&word.replace("{}", &files.0.display().to_string())).unwrap();
        let data = spec.open(&Opening::of(4)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(data.inputs.shape, shape, "{name}");
        assert_eq!(data.inputs.outputs(), classes, "{name}");
        assert!(data.test.len().is_some_and(|len| len > 0), "{name}");
        let sample = read_one(&*data.train, 0).unwrap();
        let numbers = |field: &str| match sample.get(field).unwrap() {
            Values::F32(numbers) => numbers.clone(),
            Values::I32(numbers) => numbers.iter().map(|&number| number as f32).collect(),
            other => panic!("{name}: {other:?}"),
        };
        let found = numbers(INPUT);
        for (at, expected) in input {
            assert!(
                (found[at] - expected).abs() < 1e-4,
                "{name}: number {at} is {}, not {expected}",
                found[at]
            );
        }
        match name {
            // Which row comes first is the split's matter: the two kinds of rows differ in input and target alike.
            "table" => {
                let is_b = numbers(TARGET)[0];
                assert_eq!(is_b > 0.5, found[0] < 0.0, "b stands beside 0, which lies below the mean");
            }
            "text" => {
                let word = [2.0, 0.0, 1.0];
                let start = word.iter().position(|&token| token == found[0]).unwrap();
                let expected: Vec<f32> = (0..5).map(|at| word[(start + at) % 3]).collect();
                assert_eq!((found, numbers(TARGET)), (expected[..4].to_vec(), expected[1..].to_vec()));
            }
            _ => assert!((numbers(TARGET)[0] - target).abs() < 1e-4, "{name}: {:?}", numbers(TARGET)),
        }
    }
}
