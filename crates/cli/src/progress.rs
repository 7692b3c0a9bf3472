//! The line that shows how far an epoch is.

use crate::output::{StatusLine, count, duration};
use crate::terminal;
use dropforge::train::Progress;
use std::time::{Duration, Instant};

/// Characters of the bar where there is room for it.
const WIDTH: usize = 20;
/// And where metrics would take it.
const LEAST_WIDTH: usize = 8;
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
    /// The metrics, each as it is to be read.
    pub metrics: Vec<String>,
    pub samples_per_s: f64,
    /// The part of the time that was spent waiting for data.
    pub waiting: f64,
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
        // The last column stays free: some terminals wrap when it is written.
        self.line.draw(&text(&shown(), terminal::columns().saturating_sub(1)));
    }
}

/// Seconds until so many epochs of batches of so many samples are over, as fast as it goes now.
pub fn seconds_left(progress: &Progress<'_>, epochs: u64, batch: usize) -> f64 {
    let epochs_left = epochs.saturating_sub(progress.epoch) as f64;
    let batches_left = progress.batches.saturating_sub(progress.batch) as f64;
    let samples = (epochs_left * progress.batches as f64 + batches_left) * batch as f64;
    samples / progress.samples_per_s.max(1e-9)
}

/// The line, of at most so many characters: metrics are left out first, the last one first, then the bar gets shorter,
/// then the end is left out.
fn text(shown: &Shown, most: usize) -> String {
    let start = format!("epoch {}/{} ", shown.epoch, shown.epochs);
    let mut rest = String::new();
    // Losses and speed are those of steps that are done.
    if !shown.loss.is_nan() {
        rest += &format!(" loss {:.4}", shown.loss);
    }
    let mut end = String::new();
    if shown.samples_per_s >= 1.0 {
        let speed = count(shown.samples_per_s as u64);
        let waiting = 100.0 * shown.waiting;
        end = format!("  {speed} samples/s  data {waiting:.0} %  {} left", duration(shown.left));
    }
    let length = |text: &str| text.chars().count();
    let mut room = most.saturating_sub(length(&start) + LEAST_WIDTH + length(&rest) + length(&end));
    for metric in &shown.metrics {
        let metric = format!("  {metric}");
        let Some(left) = room.checked_sub(length(&metric)) else { break };
        room = left;
        rest += &metric;
    }
    rest += &end;
    let width = WIDTH.min(most.saturating_sub(length(&start) + length(&rest)));
    let done = shown.batch * width / shown.batches.max(1);
    let bar = (0..width).map(|i| if i < done { '█' } else { '░' });
    start.chars().chain(bar).chain(rest.chars()).take(most).collect()
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
            metrics: vec!["accuracy 90.00 %".into()],
            samples_per_s: 12345.6,
            waiting: 0.034,
            left: 61.0,
        };
        let half = "█".repeat(10) + &"░".repeat(10);
        let expected = format!(
            "epoch 2/5 {half} loss 0.2500  accuracy 90.00 %  12,345 samples/s  data 3 %  1 min 01 s left"
        );
        assert_eq!(text(&shown, 200), expected);
        // A narrow terminal takes the metrics, a narrower one takes from the bar, a very narrow one from the end.
        let end = "12,345 samples/s  data 3 %  1 min 01 s left";
        let narrow = text(&shown, 80);
        assert!(
            narrow.starts_with("epoch 2/5 ██") && narrow.ends_with(&format!("loss 0.2500  {end}")),
            "{narrow}"
        );
        let narrow = text(&shown, 70);
        assert_eq!(narrow.chars().count(), 70);
        assert!(narrow.starts_with("epoch 2/5 █░░ loss") && narrow.ends_with(end), "{narrow}");
        let many = ["accuracy 90.00 %", "f1 90.00 %", "auc 0.9000", "kappa 0.9000"].map(String::from).into();
        let many = Shown { metrics: many, ..shown };
        let line = text(&many, 99);
        assert!(line.contains("░ loss 0.2500  accuracy 90.00 %  12,345") && line.ends_with(end), "{line}");
        assert!(line.chars().count() <= 99);
        let shown = Shown { metrics: vec!["accuracy 90.00 %".into()], ..many };
        assert_eq!(text(&shown, 20), "epoch 2/5  loss 0.25");
        let first = Shown { loss: f64::NAN, metrics: Vec::new(), samples_per_s: 0.0, ..shown };
        assert_eq!(text(&first, 79), format!("epoch 2/5 {half}"));
    }
}
