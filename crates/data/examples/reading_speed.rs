//! How many pictures of a folder one thread decodes, scales, changes at random and normalises in a second, and what
//! each part takes: `cargo run --release -p dropforge-data --example reading_speed -- FOLDER [SIZE]`.
//! `bench/reading.py` is the same with torchvision. The last lines are epochs of samples that have been kept, in memory
//! and in a file of the folder for temporary files.

use dropforge_data::transform::{Flip, RandomCrop, augment};
use dropforge_data::{
    CacheOptions, HostBatch, ImageFolder, Loader, LoaderOptions, Normalization, Result, Source, cached_with,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "pictures".into());
    let size = arguments.next().and_then(|size| size.parse().ok()).unwrap_or(96);
    let by = Normalization::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])?;
    let whole: Arc<dyn Source> = Arc::new(ImageFolder::open(&folder, 3, size, size)?.normalized(by)?);
    let tiny: Arc<dyn Source> = Arc::new(ImageFolder::open(&folder, 3, 1, 1)?);
    let changes = vec![
        Box::new(Flip::default()) as Box<dyn dropforge_data::transform::Transform>,
        Box::new(RandomCrop::new((size / 8).max(1))),
    ];
    let changed: Arc<dyn Source> = Arc::new(augment(whole.clone(), changes)?);
    let kept = |folder: Option<PathBuf>| -> Result<Arc<dyn Source>> {
        let options = CacheOptions { most_bytes: 8 << 30, folder, ..CacheOptions::default() };
        Ok(Arc::new(cached_with(whole.clone(), &options)?))
    };
    let (memory, file) = (kept(None)?, kept(Some(std::env::temp_dir()))?);
    for (what, source) in [
        ("decoded, to one pixel", tiny),
        ("decoded, scaled, normalised", whole.clone()),
        ("decoded, scaled, changed, normalised", changed),
        ("kept in memory", memory),
        ("kept in a file", file),
    ] {
        let (rate, sum) = rate(source)?;
        let speed = rate * (3 * size * size * 4) as f64 / 1e9;
        println!("{what}: {rate:.0} pictures/s, {:.1} µs each, {speed:.2} GB/s (sum {sum:.3})", 1e6 / rate);
    }
    Ok(())
}

/// Pictures in a second, read by the calling thread, and a sum, so that nothing is left out.
fn rate(source: Arc<dyn Source>) -> Result<(f64, f64)> {
    let options = LoaderOptions { batch: 64, prefetch: 0, seed: 1, ..LoaderOptions::default() };
    let loader = Loader::new(source, options)?;
    let (mut count, mut sum) = (0, 0.0);
    let mut started = Instant::now();
    for round in 0.. {
        let mut epoch = loader.epoch(round, 0);
        while let Some(batch) = epoch.next() {
            let batch: HostBatch = batch?;
            count += batch.len();
            let numbers = batch.get("input").and_then(|input| input.slice::<f32>());
            sum += numbers.and_then(|numbers| numbers.first()).map_or(0.0, |&x| f64::from(x));
            epoch.recycle(batch);
        }
        // The first round brings the files into memory.
        if round == 0 {
            (count, started) = (0, Instant::now());
        } else if started.elapsed() > MEASURED {
            break;
        }
    }
    Ok((count as f64 / started.elapsed().as_secs_f64(), sum))
}
