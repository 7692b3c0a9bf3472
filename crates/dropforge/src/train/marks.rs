//! What stands out while training: a loss or a norm far outside of its running spread, a speed that has fallen.

use super::progress::{Phases, Progress};
use std::fmt;

/// How much a new number counts in a running spread: about the last hundred steps.
const FRESH: f64 = 0.02;
/// Numbers before a spread is known.
const ENOUGH: u64 = 30;
/// Deviations from the mean from which on a number is far outside.
const FAR: f64 = 6.0;
/// And how many times the mean it must be: a loss that is nearly constant has hardly any spread.
const TIMES: f64 = 1.5;
/// Steps without another mark of the same figure.
const SILENT: u64 = 100;
/// Seconds over which a speed is taken, and how much a new one counts.
const WINDOW: f64 = 2.0;
const FRESH_WINDOW: f64 = 0.2;
/// Time for a step as a multiple of what it was, at which a throughput has fallen by a third.
const SLOWER: f64 = 1.5;
/// Windows before a speed is known, and without another mark.
const WINDOWS: u32 = 5;

/// Something that stands out. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The step up to which training was when it was noticed, counted from the start of the run.
    pub step: u64,
    /// `loss`, `gradient_norm` or `speed`.
    pub figure: &'static str,
    /// What it is: the loss, the norm, or steps per second.
    pub value: f64,
    /// What it usually was.
    pub usual: f64,
    /// What there is to say.
    pub text: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}", self.step, self.text)
    }
}

/// Looks for what stands out, step by step: a loss or a norm of the gradients more than six deviations above its
/// running mean (over about the last hundred steps), and a throughput that has fallen by a third, with the phase that
/// takes longer.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::train::{Callback, Control, Marks};
///
/// /// Gathers what stands out.
/// #[derive(Default)]
/// struct Noticed(Marks, Vec<String>);
///
/// impl Callback for Noticed {
///     fn name(&self) -> String {
///         "noticed".into()
///     }
///
///     fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
///         self.1.extend(self.0.look(&control.progress()).map(|mark| mark.to_string()));
///         Ok(())
///     }
/// }
///
/// let (train, _) = datasets::digits(200, 50, 1);
/// let mut trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Sgd::new(0.1)).compile(&train)?;
/// let mut noticed = Noticed::default();
/// trainer.fit(&train).epochs(2).callback(&mut noticed).run()?;
/// assert!(noticed.1.is_empty());
/// # Ok::<(), dropforge::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Marks {
    loss: Spread,
    norm: Spread,
    speed: Speed,
}

impl Marks {
    /// Takes a step into account; gives what stands out in it.
    pub fn look(&mut self, progress: &Progress<'_>) -> Option<Mark> {
        self.see(progress.step, progress.last_loss, progress.gradient_norm, progress.phases)
    }

    fn see(&mut self, step: u64, loss: f64, norm: Option<f64>, phases: Phases) -> Option<Mark> {
        // All take the step into account, whatever the others say.
        let loss = self.loss.see(step, "loss", loss);
        let norm = norm.and_then(|norm| self.norm.see(step, "gradient_norm", norm));
        let speed = self.speed.see(step, phases);
        loss.or(norm).or(speed)
    }
}

/// Running mean and variance of a number.
#[derive(Clone, Debug, Default)]
struct Spread {
    mean: f64,
    variance: f64,
    seen: u64,
    marked: Option<u64>,
}

impl Spread {
    fn see(&mut self, step: u64, figure: &'static str, value: f64) -> Option<Mark> {
        if !value.is_finite() {
            return None;
        }
        let deviation = self.variance.sqrt();
        let limit = (self.mean + FAR * deviation).max(TIMES * self.mean);
        let far = self.seen >= ENOUGH && value > limit;
        let silent = self.marked.is_some_and(|marked| step < marked + SILENT);
        let mark = (far && !silent).then(|| {
            self.marked = Some(step);
            let name = figure.replace('_', " ");
            let text = format!(
                "the {name} is {value:.4}, far outside of its running spread of {:.4} ± {deviation:.4}",
                self.mean
            );
            Mark { step, figure, value, usual: self.mean, text }
        });
        // One number that is far outside must not hide the next.
        let value = if far { limit } else { value };
        // The first ones count alike.
        self.seen += 1;
        let fresh = FRESH.max(1.0 / self.seen as f64);
        let off = value - self.mean;
        self.mean += fresh * off;
        self.variance = (1.0 - fresh) * (self.variance + fresh * off * off);
        mark
    }
}

/// Running time of a step, by phase.
#[derive(Clone, Debug, Default)]
struct Speed {
    /// Where the window began.
    start: Phases,
    /// Seconds of a step that wait for data, compute, and go to callbacks.
    usual: [f64; 3],
    windows: u32,
    /// Windows in which nothing is marked.
    silent: u32,
}

impl Speed {
    fn see(&mut self, step: u64, phases: Phases) -> Option<Mark> {
        // A new epoch counts anew.
        if phases.steps < self.start.steps {
            self.start = Phases::default();
        }
        let steps = phases.steps - self.start.steps;
        if phases.seconds() - self.start.seconds() < WINDOW || steps == 0 {
            return None;
        }
        let per_step = |now: f64, then: f64| (now - then) / steps as f64;
        let now = [
            per_step(phases.data, self.start.data),
            per_step(phases.step, self.start.step),
            per_step(phases.callbacks, self.start.callbacks),
        ];
        self.start = phases;
        self.windows += 1;
        // The first one has what happens once only.
        if self.windows == 1 {
            return None;
        }
        let (taken, usual) = (now.iter().sum::<f64>(), self.usual.iter().sum::<f64>());
        let known = self.windows > WINDOWS;
        let slow = known && taken > SLOWER * usual;
        let mark = (slow && self.silent == 0).then(|| {
            let grown = (0..3).max_by(|&a, &b| (now[a] - self.usual[a]).total_cmp(&(now[b] - self.usual[b])));
            let phase = grown.unwrap_or(1);
            let name = ["waiting for data", "computing", "callbacks and saving"][phase];
            let text = format!(
                "the throughput fell from {:.2} to {:.2} steps/s: {name} takes {:.3} ms of a step, {:.3} ms before",
                1.0 / usual,
                1.0 / taken,
                now[phase] * 1e3,
                self.usual[phase] * 1e3
            );
            Mark { step, figure: "speed", value: 1.0 / taken, usual: 1.0 / usual, text }
        });
        self.silent = if mark.is_some() { WINDOWS } else { self.silent.saturating_sub(1) };
        let fresh = FRESH_WINDOW.max(1.0 / f64::from(self.windows - 1));
        self.usual.iter_mut().zip(now).for_each(|(usual, now)| *usual += fresh * (now - *usual));
        mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps with these losses and times of reading; each computes for 10 ms.
    fn marks(steps: impl IntoIterator<Item = (f64, f64)>) -> Vec<Mark> {
        let (mut marks, mut phases) = (Marks::default(), Phases::default());
        let mut all = Vec::new();
        for (step, (loss, data)) in (1..).zip(steps) {
            phases.steps += 1;
            phases.data += data;
            phases.step += 0.01;
            all.extend(marks.see(step, loss, None, phases));
        }
        all
    }

    /// Something between 0 and 1 that looks random.
    fn noise(step: u32) -> f64 {
        (f64::from(step) * 0.618_034).fract()
    }

    #[test]
    fn a_loss_far_outside_is_marked_once() {
        let falling = |step: u32| 2.0 / (1.0 + f64::from(step) / 50.0) * (0.9 + 0.2 * noise(step));
        assert_eq!(marks((0..2000).map(|step| (falling(step), 0.0))), []);
        let loss = |step: u32| if (500..505).contains(&step) { 10.0 } else { falling(step) };
        let found = marks((0..2000).map(|step| (loss(step), 0.0)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].step, found[0].figure, found[0].value), (501, "loss", 10.0));
        assert!(
            found[0].to_string().starts_with("step 501: the loss is 10.0000, far outside"),
            "{}",
            found[0]
        );
        // A constant has no spread, and is no reason to speak either.
        assert_eq!(marks((0..2000).map(|_| (0.5, 0.0))), []);
    }

    #[test]
    fn a_throughput_that_falls_names_the_phase() {
        let data = |step: u32| if step < 4000 { 0.0005 } else { 0.02 };
        let found = marks((0..5000).map(|step| (1.0, data(step))));
        assert_eq!(found.len(), 1, "{found:?}");
        let mark = &found[0];
        assert!((4000..4400).contains(&mark.step) && mark.figure == "speed", "{mark}");
        assert!(mark.text.contains("waiting for data takes") && mark.text.contains("fell from 9"), "{mark}");
        assert_eq!(marks((0..5000).map(|step| (1.0, 0.002 * noise(step)))), []);
    }
}
