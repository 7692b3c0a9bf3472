//! A trained run inside another program: several threads, raw images in, named classes out.
//! `cargo run --release --example embed`

use dropforge::prelude::*;

fn main() -> Result<()> {
    let (train, test) = datasets::digits(3_000, 8, 1);
    let run = std::env::temp_dir().join(format!("dropforge-embed-{}", std::process::id()));
    let mut trainer =
        Trainer::new(dropforge::models::lenet(10), cross_entropy(), Adam::new(2e-3)).compile(&train)?;
    trainer.epoch(&train)?;
    trainer.save(&run)?;
    // From here on nothing has to be known of layers, sizes or normalisation: all of it is in the run.
    let trained = &Trained::open(&run, &Runtime::shared()?)?;
    std::thread::scope(|scope| {
        for image in (0..test.count()).filter_map(|i| test.bytes(i)) {
            scope.spawn(move || println!("{:?}", trained.classify(image)));
        }
    });
    std::fs::remove_dir_all(run).map_err(|error| Error::new(error.to_string()))
}
