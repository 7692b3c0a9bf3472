//! What watching costs: epochs of a small network in turns, with nothing beside them, with what stands out looked for
//! after every step, and with event files for TensorBoard as well.
//! `cargo run --release -p dropforge-cli --example overhead`

use dropforge::prelude::*;
use dropforge::run::tensorboard;
use dropforge::train::{Callback, Control, Marks};
use std::time::Instant;

/// Turns, of which the fastest counts: what else the machine does only makes them slower.
const TURNS: usize = 12;

struct Watch(Marks);

impl Callback for Watch {
    fn name(&self) -> String {
        "watch".into()
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.0.look(&control.progress()).iter().for_each(|mark| println!("{mark}"));
        Ok(())
    }
}

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("dropforge-overhead-{}", std::process::id()));
    let (train, _) = datasets::digits(12_800, 10, 1);
    let net = seq![flatten(), dense(128), relu(), dense(64), relu(), dense(10)];
    let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-3)).batch(128).compile(&train)?;
    let mut fastest = [f64::INFINITY; 3];
    for turn in 0..TURNS {
        for (way, fastest) in fastest.iter_mut().enumerate() {
            let epochs = trainer.epochs() + 5;
            let started = Instant::now();
            let fit = trainer.fit(&train).epochs(epochs);
            let fit = if way > 0 { fit.callback(Watch(Marks::default())) } else { fit };
            let fit = if way > 1 { fit.callback(tensorboard(folder.to_string_lossy())) } else { fit };
            fit.run()?;
            // The first turn compiles and warms up.
            if turn > 0 {
                *fastest = fastest.min(started.elapsed().as_secs_f64() / 500.0);
            }
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    let names = ["nothing beside it", "what stands out looked for", "and TensorBoard"];
    for (name, seconds) in names.iter().zip(fastest) {
        println!("{name}: {:.2} µs a step, {:+.2} %", seconds * 1e6, 100.0 * (seconds / fastest[0] - 1.0));
    }
    Ok(())
}
