//! The line that shows how far an epoch is.

use crate::output::{StatusLine, count, duration};
use std::time::{Duration, Instant};

const WIDTH: usize = 20;
const REDRAW: Duration = Duration::from_millis(100);

/// A bar with loss, accuracy, speed and time left, drawn a few times a second.
pub struct ProgressBar {
    line: StatusLine,
    drawn: Option<Instant>,
}

/// What the bar shows.
pub struct Shown {
    pub epoch: u64,
    pub epochs: u64,
    pub batch: usize,
    pub batches: usize,
    pub loss: f64,
    /// The metrics, as they are to be read.
    pub metrics: String,
    pub samples_per_s: f64,
    /// Seconds until the end of the run.
    pub left: f64,
}

impl ProgressBar {
    pub fn new(wanted: bool) -> ProgressBar {
        ProgressBar { line: StatusLine::new(wanted), drawn: None }
    }

    /// Draws what `shown` says, unless it was drawn a moment ago.
    pub fn update(&mut self, shown: impl FnOnce() -> Shown) {
        if !self.line.visible() || self.drawn.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        self.drawn = Some(Instant::now());
        self.line.draw(&text(&shown()));
    }
}

fn text(shown: &Shown) -> String {
    let done = shown.batch * WIDTH / shown.batches.max(1);
    let bar: String = (0..WIDTH).map(|i| if i < done { '█' } else { '░' }).collect();
    format!(
        "epoch {}/{} {bar} loss {:.4}{}  {} images/s  {} left",
        shown.epoch,
        shown.epochs,
        shown.loss,
        shown.metrics,
        count(shown.samples_per_s as u64),
        duration(shown.left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let shown = Shown {
            epoch: 2,
            epochs: 5,
            batch: 50,
            batches: 100,
            loss: 0.25,
            metrics: "  accuracy 90.00 %".into(),
            samples_per_s: 12345.6,
            left: 61.0,
        };
        let half = "█".repeat(10) + &"░".repeat(10);
        let expected =
            format!("epoch 2/5 {half} loss 0.2500  accuracy 90.00 %  12,345 images/s  1 min 01 s left");
        assert_eq!(text(&shown), expected);
    }
}
