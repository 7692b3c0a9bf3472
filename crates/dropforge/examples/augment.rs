//! Pictures in folders that are changed at random, the same way whatever the number of threads and after a resume:
//! `cargo run --release --example augment`.

use dropforge::data::{ImageFolder, save_pictures, transform::*};
use dropforge::prelude::*;

fn main() -> Result<()> {
    // Any folder with a folder of pictures for each class; here the built-in digits are written as such.
    save_pictures(&datasets::digits(300, 0, 1).0, "pictures")?;
    let (train, test) = ImageFolder::open("pictures", 1, 28, 28)?.split(0.8, 1)?;
    let changes: Vec<Box<dyn Transform>> = vec![Box::new(Rotate::new(10.0)), Box::new(Erase::new(0.5))];
    let train = augment(std::sync::Arc::new(train), changes)?;
    let net = || seq![flatten(), dense(64), relu(), dense(10)];
    let trainer = |n| Trainer::new(net(), cross_entropy(), Sgd::new(0.1)).reader_threads(n).compile(&train);
    let (mut whole, mut stopped, mut resumed) = (trainer(1)?, trainer(2)?, trainer(4)?);
    whole.fit(&train).epochs(3).run()?;
    // Stopped in the middle of an epoch, and gone on with by another trainer.
    stopped.fit(&train).epochs(3).max_steps(6).run()?;
    stopped.save_over("runs/augment")?;
    resumed.resume("runs/augment")?;
    resumed.fit(&train).epochs(3).run()?;
    println!("the same numbers: {} and {}", whole.evaluate(&test)?, resumed.evaluate(&test)?);
    Ok(())
}
