//! Trials that learn from those before: the tree-structured Parzen estimator of Bergstra and others, "Algorithms for
//! Hyper-Parameter Optimization" (2011).
//!
//! Each setting is a place from 0 to 1, or one of several values. The trials so far are split into the best quarter and
//! all others; of places drawn where the best are dense, the one is tried at which the others are rarest.

use super::space::{Choice, Space, Trial, uniform};

/// Trials that are drawn without a model.
pub const FIRST: usize = 10;
/// The part of the trials that counts as good, and how many at most.
const GOOD: f64 = 0.25;
const MOST_GOOD: usize = 25;
/// Places of which the best is taken.
const CANDIDATES: u64 = 24;

/// A trial that there was.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The place of each setting from 0 to 1.
    pub places: Vec<f64>,
    /// What should be low; `None` where it is not known yet, or nothing was measured.
    pub loss: Option<f64>,
}

/// The settings of trial number `trial`. With few trials before they are drawn as `--random` draws them.
pub fn propose(space: &Space, tried: &[Tried], seed: u64, trial: u64) -> Trial {
    let mut known: Vec<&Tried> = tried.iter().filter(|tried| tried.loss.is_some()).collect();
    if known.len() < FIRST {
        return space.random(seed, trial);
    }
    known.sort_by(|a, b| a.loss.unwrap_or(f64::INFINITY).total_cmp(&b.loss.unwrap_or(f64::INFINITY)));
    let good = ((GOOD * known.len() as f64).ceil() as usize).min(MOST_GOOD);
    let (good, rest) = known.split_at(good);
    // What is being trained counts as bad, so that others look elsewhere.
    let bad: Vec<&Tried> =
        rest.iter().copied().chain(tried.iter().filter(|tried| tried.loss.is_none())).collect();
    let settings = space.settings.iter().enumerate().map(|(index, (path, choice))| {
        let of = |all: &[&Tried]| Density::new(choice, all.iter().map(|tried| tried.places[index]).collect());
        let (good, bad) = (of(good), of(&bad));
        // Of a few values the best so far would be taken for ever, so that these are drawn, each as often as it is
        // promising.
        if let Some(promising) = good.over(&bad) {
            let draw = uniform(seed, trial, (index as u64) << 32);
            return (path.clone(), choice.at(promising.draw(draw, 0.0)));
        }
        let candidates = (0..CANDIDATES).map(|candidate| {
            // Numbers of their own for each draw.
            let draw = |part: u64| uniform(seed, trial, (index as u64) << 32 | (candidate + 1) << 8 | part);
            good.draw(draw(0), draw(1))
        });
        let score = |place: f64| good.at(place).ln() - bad.at(place).ln();
        let best = candidates.max_by(|&a, &b| score(a).total_cmp(&score(b)));
        (path.clone(), choice.at(best.unwrap_or(0.5)))
    });
    settings.collect()
}

/// How dense places are: bells around those there are, and one as wide as everything.
enum Density {
    Bells(Vec<Bell>),
    /// How often each of several values is expected.
    Values(Vec<f64>),
}

/// A normal distribution, of which the part between 0 and 1 counts.
struct Bell {
    centre: f64,
    width: f64,
    /// How much of it that is.
    mass: f64,
}

impl Bell {
    fn new(centre: f64, width: f64) -> Bell {
        let mass = below((1.0 - centre) / width) - below(-centre / width);
        Bell { centre, width, mass: mass.max(1e-12) }
    }

    fn at(&self, place: f64) -> f64 {
        let off = (place - self.centre) / self.width;
        (-0.5 * off * off).exp() / (self.width * (2.0 * std::f64::consts::PI).sqrt() * self.mass)
    }

    /// The place below which a part of it lies, by halving.
    fn quantile(&self, part: f64) -> f64 {
        let start = below(-self.centre / self.width);
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            let reached = (below((middle - self.centre) / self.width) - start) / self.mass;
            if reached < part { low = middle } else { high = middle }
        }
        (low + high) / 2.0
    }
}

/// The part of a standard normal distribution below a number: 26.2.17 of Abramowitz and Stegun, right to 7.5e-8.
fn below(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let factors = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let sum = factors.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    let tail = sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x < 0.0 { tail } else { 1.0 - tail }
}

impl Density {
    fn new(choice: &Choice, mut places: Vec<f64>) -> Density {
        match choice {
            Choice::OneOf(values) => {
                let mut weights = vec![1.0; values.len()];
                for place in &places {
                    weights[index(*place, values.len())] += 1.0;
                }
                Density::of_values(weights)
            }
            Choice::Between { .. } => {
                places.sort_by(f64::total_cmp);
                // As wide as the way to the farther neighbour, within limits: narrow where the good ones gather.
                let least = 1.0 / (places.len() as f64 + 1.0).min(100.0);
                let bell = |at: usize| {
                    let left = if at == 0 { 0.0 } else { places[at - 1] };
                    let right = places.get(at + 1).copied().unwrap_or(1.0);
                    let width = (places[at] - left).max(right - places[at]);
                    Bell::new(places[at], width.clamp(least, 1.0))
                };
                let mut bells: Vec<Bell> = (0..places.len()).map(bell).collect();
                bells.push(Bell::new(0.5, 1.0));
                Density::Bells(bells)
            }
        }
    }

    fn of_values(weights: Vec<f64>) -> Density {
        let total: f64 = weights.iter().sum();
        Density::Values(weights.into_iter().map(|weight| weight / total).collect())
    }

    /// How promising each of several values is: how often it is good for how often it is not.
    fn over(&self, bad: &Density) -> Option<Density> {
        let (Density::Values(good), Density::Values(bad)) = (self, bad) else { return None };
        Some(Density::of_values(good.iter().zip(bad).map(|(good, bad)| good / bad).collect()))
    }

    fn at(&self, place: f64) -> f64 {
        match self {
            Density::Values(weights) => weights[index(place, weights.len())],
            Density::Bells(bells) => {
                bells.iter().map(|bell| bell.at(place)).sum::<f64>() / bells.len() as f64
            }
        }
    }

    /// A place drawn by two numbers from 0 up to 1.
    fn draw(&self, which: f64, part: f64) -> f64 {
        match self {
            Density::Values(weights) => {
                let mut left = which;
                for (value, weight) in weights.iter().enumerate() {
                    left -= weight;
                    if left < 0.0 {
                        return (value as f64 + 0.5) / weights.len() as f64;
                    }
                }
                1.0 - 0.5 / weights.len() as f64
            }
            Density::Bells(bells) => bells[index(which, bells.len())].quantile(part),
        }
    }
}

/// Which of so many values is at a place.
fn index(place: f64, values: usize) -> usize {
    ((place * values as f64) as usize).min(values - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_a_valley_faster_than_chance() {
        let text = "[space]\n'optimizer.lr' = { low = 1e-5, high = 1.0, log = true }\n\
                    'optimizer.weight_decay' = { low = 0.0, high = 1.0 }\nbatch = [8, 16, 32, 64]\n";
        let space = Space::parse(text).unwrap();
        // The best rate is 1e-2, the best decay 0.25, the best batch 32.
        let loss = |trial: &Trial| {
            let number = |name: &str| &trial.iter().find(|(path, _)| path == name).unwrap().1;
            let rate = number("optimizer.lr").as_float().unwrap().log10();
            let decay = number("optimizer.weight_decay").as_float().unwrap();
            let batch = if number("batch").as_integer() == Some(32) { 0.0 } else { 1.0 };
            (rate + 2.0).powi(2) + 4.0 * (decay - 0.25).powi(2) + batch
        };
        let best = |seed: u64, learns: bool| {
            let mut tried: Vec<Tried> = Vec::new();
            for number in 0..60 {
                let trial = match learns {
                    true => propose(&space, &tried, seed, number),
                    false => space.random(seed, number),
                };
                let place = |(path, choice): &(String, Choice)| {
                    let value = &trial.iter().find(|(known, _)| known == path).unwrap().1;
                    choice.place(&value.to_string()).unwrap()
                };
                tried.push(Tried {
                    places: space.settings.iter().map(place).collect(),
                    loss: Some(loss(&trial)),
                });
            }
            tried.iter().filter_map(|tried| tried.loss).fold(f64::INFINITY, f64::min)
        };
        let mean = |learns: bool| (0..20).map(|seed| best(seed, learns)).sum::<f64>() / 20.0;
        let (learned, drawn) = (mean(true), mean(false));
        assert!(learned < 0.5 * drawn, "{learned} against {drawn}");
    }

    #[test]
    fn what_is_being_trained_is_avoided_and_proposals_repeat() {
        let space = Space::parse("[space]\n'optimizer.lr' = { low = 0.0, high = 1.0 }").unwrap();
        let tried: Vec<Tried> =
            (0..20).map(|i| Tried { places: vec![f64::from(i) / 20.0], loss: Some(f64::from(i)) }).collect();
        let place = |tried: &[Tried], trial| propose(&space, tried, 3, trial)[0].1.as_float().unwrap();
        assert_eq!(place(&tried, 20), place(&tried, 20));
        let mean = |tried: &[Tried]| (20..60).map(|trial| place(tried, trial)).sum::<f64>() / 40.0;
        assert!(mean(&tried) < 0.35, "{}", mean(&tried));
        let busy = (0..20).map(|_| Tried { places: vec![0.1], loss: None });
        let with: Vec<Tried> = tried.iter().cloned().chain(busy).collect();
        let near =
            |tried: &[Tried]| (20..60).filter(|&trial| (place(tried, trial) - 0.1).abs() < 0.05).count();
        assert!(near(&with) < near(&tried), "{} {}", near(&with), near(&tried));
    }
}
