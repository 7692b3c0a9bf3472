//! Writes the built-in digits as IDX files, in the names of MNIST, for use in other programs.
//!
//! `cargo run --release -p dropforge-data --example export_digits -- FOLDER [SEED]`

use std::path::Path;

use dropforge_data::{DIGITS_TEST, DIGITS_TRAIN, Dataset, digits};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: export_digits FOLDER [SEED]")?;
    let seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let start = std::time::Instant::now();
    let (train, test) = digits(DIGITS_TRAIN, DIGITS_TEST, seed);
    println!("drew {} digits in {:.3} s", train.count() + test.count(), start.elapsed().as_secs_f64());
    for (name, data) in [("train", &train), ("t10k", &test)] {
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images(data))?;
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels(data))?;
    }
    Ok(())
}

fn images(data: &Dataset) -> Vec<u8> {
    let mut file = header(&[data.count(), 28, 28]);
    (0..data.count()).filter_map(|i| data.bytes(i)).for_each(|image| file.extend_from_slice(image));
    file
}

fn labels(data: &Dataset) -> Vec<u8> {
    let mut file = header(&[data.count()]);
    file.extend(data.classes().unwrap_or_default().iter().map(|&class| class as u8));
    file
}

fn header(shape: &[usize]) -> Vec<u8> {
    let mut header = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|&extent| header.extend_from_slice(&(extent as u32).to_be_bytes()));
    header
}
