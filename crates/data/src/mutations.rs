//! Every kind of file that is read, damaged in more than twenty thousand ways: no panic, no hang, no memory beyond a
//! limit. With `DROPFORGE_MUTATIONS=100000` in so many ways for each format, which it then says:
//! `DROPFORGE_MUTATIONS=100000 cargo test --release -p dropforge-data --all-features --lib mutations -- --nocapture`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::tar::tests::archive;
use crate::testing::{Folder, flat_jpeg, gzip, idx, png, shared};
use crate::{
    Corpus, Manifest, ManifestOptions, Source, Table, TableOptions, cifar10, read_digit_image, read_idx,
    read_image, read_one,
};

/// Counts what the thread holds, so that tests beside it do not matter.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // At the end of a thread nothing is counted any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: everything is passed on to the system's allocator, with the layouts that came in.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a small file may take while it is read.
const MOST_BYTES: isize = 224 << 20;
const LONGEST: Duration = Duration::from_secs(20);

/// The same file with a few faults.
fn damage(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1));
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                // Extents and lengths are numbers of 2 and 4 bytes.
                let number = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff][random.below(6)];
                bytes.iter_mut().skip(at).zip(number.to_be_bytes()).for_each(|(byte, new)| *byte = new);
            }
            4 => bytes.extend_from_slice(&whole[at.min(whole.len())..]),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        }
    }
    bytes
}

/// Gives the chunks of a PNG file the check sums that they ask for, so that damage gets past them.
fn mend_png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(&[a, b, c, d]) = bytes.get(at..at + 4) {
        let Some(end) = (u32::from_be_bytes([a, b, c, d]) as usize).checked_add(at + 8) else { return };
        let Some(chunk) = bytes.get(at + 4..end) else { return };
        let sum = !chunk.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0xedb8_8320))
        });
        let Some(place) = bytes.get_mut(end..end + 4) else { return };
        place.copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
}

fn palette_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 9, 7);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Four);
    encoder.set_palette((0..48).collect::<Vec<u8>>());
    encoder.set_trns(vec![0, 128, 255]);
    encoder.write_header().unwrap().write_image_data(&[0x12; 35]).unwrap();
    bytes
}

fn deep_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 6, 5);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&[77; 6 * 5 * 8]).unwrap();
    bytes
}

type Reader = fn(&Path) -> bool;

/// Format and name of a file, the file, what reads it, and in how many ways it is damaged.
type Case = (&'static str, &'static str, Vec<u8>, Reader, usize);

fn image(path: &Path) -> bool {
    let digit = read_digit_image(path).is_ok();
    digit | read_image(path, 3, 16, 16).is_ok_and(|image| image.iter().all(|x| (0.0..=1.0).contains(x)))
}

fn text(path: &Path) -> bool {
    let Ok(corpus) = Corpus::open(path) else { return false };
    corpus.samples(4).is_ok_and(|samples| (0..samples.len().unwrap()).all(|i| read_one(&samples, i).is_ok()))
}

fn table(path: &Path) -> bool {
    let Ok(table) = Table::open(path, &TableOptions::default()) else { return false };
    table.dataset().is_ok_and(|data| (0..data.count().min(4)).all(|i| read_one(&data, i).is_ok()))
}

fn listed(path: &Path) -> bool {
    Manifest::open(path, 1, 4, 4, &ManifestOptions::default()).is_ok()
}

fn shard(path: &Path) -> bool {
    let Ok(data) = Manifest::open_shards(&[path.to_path_buf()], &[], 1, 4, 4) else { return false };
    (0..data.train.count().min(4)).all(|index| read_one(&data.train, index).is_ok())
}

/// The file of a golden picture.
fn golden(name: &str) -> Vec<u8> {
    let lines = include_str!("../tests/data/pictures.txt").lines();
    let file = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.split(' ').next()).next();
    let digits = file.unwrap().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn cifar(path: &Path) -> bool {
    cifar10(path.parent().unwrap()).is_ok()
}

#[cfg(feature = "tokenizers")]
fn tokenizer(path: &Path) -> bool {
    let Ok(tokenizer) = crate::Tokenizer::open(path) else { return false };
    tokenizer.encode("the hammer's 12 [MASK]").is_ok_and(|tokens| tokenizer.decode(&tokens).is_ok())
}

fn numbers(path: &Path) -> bool {
    read_idx(path).is_ok()
}

#[test]
fn twenty_thousand_damaged_files() {
    let folder = Folder::new("mutations");
    let pixels: Vec<u8> = (0..1200).map(|i| (i * 7 % 251) as u8).collect();
    let mut records = vec![3u8; 3073 * 2];
    records[3073] = 9;
    folder.write("test_batch.bin", &records);
    let csv = b"size,colour,price\n1.5,red,3\n2,\"blue, or so\",4\n,green,5e3\n3,red,7\n";
    let picture = png(2, 2, 1, &[9; 4]);
    let packed = archive(&[("a.png", &picture[..]), ("a.cls", b"1"), (&"long".repeat(30), b"x")]);
    let mut cases: Vec<Case> = vec![
        ("IDX", "numbers.idx", idx(&[2, 3, 4], &[7; 24]), numbers, 2500),
        ("IDX", "numbers.gz", gzip(&idx(&[20, 30], &[7; 600])), numbers, 2500),
        ("CIFAR", "data_batch_1.bin", records, cifar, 1500),
        ("images", "grey.png", png(20, 20, 1, &pixels[..400]), image, 2000),
        ("images", "colour.png", png(20, 20, 3, &pixels), image, 2000),
        ("images", "palette.png", palette_png(), image, 2000),
        ("images", "deep.png", deep_png(), image, 1500),
        ("images", "flat.jpg", flat_jpeg(48), image, 3000),
        ("images", "lossless.webp", golden("webp_clear"), image, 150),
        ("images", "lossy.webp", golden("webp"), image, 150),
        ("images", "several.webp", golden("webp_moving"), image, 100),
        ("images", "several.gif", golden("gif_moving"), image, 600),
        ("images", "colours.bmp", golden("bmp_palette"), image, 600),
        ("images", "progressive.jpg", golden("jpeg_progressive"), image, 300),
        (
            "lists",
            "list.csv",
            b"path,class,split\nlist.csv,a,train\nlist.csv,b,test\n".to_vec(),
            listed,
            1000,
        ),
        ("lists", "list.jsonl", b"{\"path\": \"list.jsonl\", \"class\": \"a\"}\n".repeat(2), listed, 1000),
        (
            "text",
            "text.txt",
            "Äpfel und Birnen, und was sonst noch wächst.\n".repeat(3).into_bytes(),
            text,
            1500,
        ),
        ("text", "text.gz", gzip("one two three four\n".repeat(20).as_bytes()), text, 1000),
        ("CSV", "table.csv", csv.to_vec(), table, 2500),
        ("shards", "shard.tar", packed, shard, 500),
    ];
    // A photograph has tables, thumbnails and restart markers that the smallest file lacks.
    if let Some(photograph) = shared("cats-dogs/cat/Abyssinian_63.jpg") {
        cases.push(("images", "photograph.jpg", std::fs::read(photograph).unwrap(), image, 150));
    }
    #[cfg(feature = "parquet")]
    for name in ["snappy.parquet", "plain.parquet", "gzip.parquet"] {
        cases.push(("Parquet", name, crate::testing::parquet(name), table, 300));
    }
    #[cfg(feature = "tokenizers")]
    for name in ["gpt2.json", "bert_uncased.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers").join(name);
        cases.push(("tokenizers", name, std::fs::read(path).unwrap(), tokenizer, 300));
    }
    assert!(cases.iter().map(|case| case.4).sum::<usize>() >= 20_000);
    let of_format =
        |format: &str| cases.iter().filter(|case| case.0 == format).map(|case| case.4).sum::<usize>();
    let shares: Vec<usize> = cases.iter().map(|case| of_format(case.0)).collect();
    let wanted = std::env::var("DROPFORGE_MUTATIONS").ok().map(|count| count.parse::<usize>().unwrap());
    let mut random = Random::new(&[20_000]);
    for ((format, name, whole, read, times), share) in cases.into_iter().zip(shares) {
        let times = wanted.map_or(times, |wanted| (wanted * times).div_ceil(share));
        let began = Instant::now();
        let mut highest = 0;
        let path = folder.write(name, &whole);
        assert!(read(&path), "{name} is fine before it is damaged");
        let (mut refused, mut kept) = (0, 0);
        for number in 0..times {
            let mut bytes = damage(&whole, &mut random);
            if name.ends_with("png") && number % 2 == 0 {
                mend_png(&mut bytes);
            }
            std::fs::write(&path, &bytes).unwrap();
            let (before, started) = (HELD.get(), Instant::now());
            MOST.set(before);
            if read(&path) {
                kept += 1
            } else {
                refused += 1
            }
            let (most, took) = (MOST.get() - before, started.elapsed());
            highest = highest.max(most);
            assert!(most < MOST_BYTES, "{name}, number {number}: {most} bytes were taken");
            assert!(took < LONGEST, "{name}, number {number}: took {took:?}");
        }
        assert!(refused > 0 && kept > 0, "{name}: {refused} refused, {kept} read");
        if wanted.is_some() {
            let (seconds, most) = (began.elapsed().as_secs(), highest >> 20);
            println!(
                "{format}, {name}: {times} ({refused} refused, {kept} read), {most} MiB at most, {seconds} s"
            );
        }
        if name == "data_batch_1.bin" {
            folder.write(name, &[vec![1u8; 3073]].concat());
        }
    }
}
