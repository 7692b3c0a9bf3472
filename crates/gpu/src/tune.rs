//! Choices among kernels that compute the same, found by timing them once.
//!
//! Before a program is loaded, those of its kernels that have a choice are sorted into classes (an operation, how its
//! operands lie, sizes in steps). For a class seen for the first time, the candidates run for a moment on memory of
//! their own, and the fastest is kept for this process and in a file of the user's cache folder, one for each adapter,
//! driver and version of this crate. A program spends no more than a bounded time on this; classes left over take the
//! choice by rule, and are timed when another program has them.
//!
//! Tiles differ in the order in which sums are formed, so another choice may round differently. What a program was
//! loaded with is told to whoever loads it, and what is given when it is loaded again comes first ([`Choices`]): runs
//! keep it with their checkpoints. `DROPFORGE_CACHE=off` times nothing and takes every choice by rule;
//! `DROPFORGE_CACHE=<folder>` keeps the file there, to be copied along.

use crate::backend::lock;
use crate::tuning::{
    CANDIDATE_MICROSECONDS, CLEARLY_FASTER, GUESSED_RATE, TIMING_MILLISECONDS, TIMING_ROUNDS,
};
use dropforge_ir::Result;
use dropforge_plan::plan::{Kernel, Plan};
use dropforge_runtime::Choices;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One of several kernels, such as the tile of a contraction.
pub trait Pick: Copy + PartialEq {
    /// As a word of a file.
    fn text(self) -> String;

    /// From such a word; `None` if it names nothing that there is.
    fn parse(text: &str) -> Option<Self>;
}

/// A kernel with choices.
pub trait Tunable {
    /// What there is to choose.
    type Pick: Pick;

    /// Kernels of one class make the same choice: the operation, how its operands lie, and sizes in steps.
    fn class(&self) -> &str;

    /// What there is to choose from, the choice by rule first.
    fn picks(&self) -> &[Self::Pick];

    /// What was picked for this class, if it can be done here, or else the choice by rule.
    fn fit(&self, picked: Option<Self::Pick>) -> Self::Pick;

    /// Floating-point operations of the kernel.
    fn flops(&self) -> f64;
}

/// What was picked on one adapter.
#[derive(Debug)]
pub struct Tuned<P> {
    picks: BTreeMap<String, P>,
    /// Whether classes that are not known are timed.
    active: bool,
    /// Where picks are kept, and the first line of that file.
    file: Option<PathBuf>,
    header: String,
}

impl<P: Pick> Tuned<P> {
    /// What is known of an adapter; `adapter` names it and its driver. Nothing is timed if `by_rule`.
    pub fn of(adapter: &str, by_rule: bool) -> Tuned<P> {
        let asked = std::env::var_os("DROPFORGE_CACHE");
        if by_rule || asked.as_ref().is_some_and(|asked| asked == "off") {
            return Tuned { picks: BTreeMap::new(), active: false, file: None, header: String::new() };
        }
        let header = format!("dropforge {} tiles for {adapter}", env!("CARGO_PKG_VERSION"));
        let header = header.split_whitespace().collect::<Vec<_>>().join(" ");
        let file = folder().map(|folder| folder.join(format!("tiles-{:016x}.txt", hash(&header))));
        let picks = file.as_deref().map(|file| read(file, &header)).unwrap_or_default();
        Tuned { picks, active: true, file, header }
    }

    /// What was picked for a class.
    pub fn pick(&self, class: &str) -> Option<P> {
        self.picks.get(class).copied()
    }

    /// The classes for which something was picked.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        self.picks.keys().map(String::as_str)
    }

    /// Times what is not known from now on, whatever was said before.
    pub fn activate(&mut self) {
        self.active = true;
    }

    /// Forgets everything that was picked; the file stays.
    pub fn forget(&mut self) {
        self.picks.clear();
    }

    /// Writes the file, together with what another process has written since. Whoever cannot write goes without.
    fn save(&self) {
        let Some(file) = &self.file else { return };
        let mut all = read(file, &self.header);
        all.extend(self.picks.iter().map(|(class, pick)| (class.clone(), *pick)));
        let lines: String = all.iter().map(|(class, pick)| format!("{class} {}\n", pick.text())).collect();
        let beside = file.with_extension(format!("{}.tmp", std::process::id()));
        let written = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&beside, format!("{}\n{lines}", self.header)))
            .and_then(|()| std::fs::rename(&beside, file));
        if written.is_err() {
            // Nothing depends on it, and there may be nothing to remove.
            let _ = std::fs::remove_file(&beside);
        }
    }
}

/// The picks of a file; none if it is missing or of something else. Lines that say nothing are passed over.
fn read<P: Pick>(file: &Path, header: &str) -> BTreeMap<String, P> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(header) {
        return BTreeMap::new();
    }
    lines
        .filter_map(|line| {
            let (class, pick) = line.split_once(' ')?;
            Some((class.to_string(), P::parse(pick)?))
        })
        .collect()
}

/// The folder in which devices keep what they found out: `DROPFORGE_CACHE`, or one in the folder of this user's caches;
/// none with `DROPFORGE_CACHE=off`, or where there is no such folder.
pub fn folder() -> Option<PathBuf> {
    let asked = std::env::var_os("DROPFORGE_CACHE").filter(|asked| !asked.is_empty());
    match asked {
        Some(asked) if asked == "off" => None,
        Some(asked) => Some(asked.into()),
        None => cache_folder(),
    }
}

/// The folder of this user's caches, by the custom of the system.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library").join("Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    base.map(|base| base.join("dropforge"))
}

/// FNV-1a: the same in every version of everything.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Picks for the kernels of a program: what is given for their class, or else what the device knows of it, or else the
/// choice by rule. The first kernel of a class decides for all of it, and what it decides is added to what is given, so
/// that the same is picked whenever that is given again.
pub struct Picker<'a, P> {
    given: &'a mut Choices,
    known: &'a dyn Fn(&str) -> Option<P>,
}

impl<'a, P: Pick> Picker<'a, P> {
    /// With what is given and what the device knows.
    pub fn new(given: &'a mut Choices, known: &'a dyn Fn(&str) -> Option<P>) -> Picker<'a, P> {
        Picker { given, known }
    }

    /// The pick for a kernel.
    pub fn pick(&mut self, tunable: &impl Tunable<Pick = P>) -> P {
        if tunable.flops() == 0.0 {
            // There is nothing to choose.
            return tunable.picks()[0];
        }
        let given = self.given.get(tunable.class()).and_then(|text| P::parse(text));
        let pick = tunable.fit(given.or_else(|| (self.known)(tunable.class())));
        if given.is_none() {
            self.given.insert(tunable.class().to_string(), pick.text());
        }
        pick
    }
}

/// Times the classes of a plan that are neither given nor known yet, those with most work first. `tunable` says what
/// there is to choose for a kernel, `fastest` times its candidates, and gives nothing where a kernel is too large to
/// try.
pub fn prepare<T: Tunable>(
    tuned: &Mutex<Tuned<T::Pick>>,
    plan: &Plan,
    given: &Choices,
    tunable: impl Fn(&Kernel) -> Option<T>,
    fastest: impl Fn(&Kernel, &T) -> Result<Option<T::Pick>>,
) {
    let mut waiting: HashMap<String, (f64, usize, T)> = HashMap::new();
    {
        let tuned = lock(tuned);
        if !tuned.active {
            return;
        }
        for (number, kernel) in plan.kernels.iter().enumerate() {
            let Some(tunable) = tunable(kernel) else { continue };
            let class = tunable.class().to_string();
            let is_open = !given.contains_key(&class) && tuned.pick(&class).is_none();
            if tunable.flops() > 0.0 && tunable.picks().len() > 1 && is_open {
                let flops = tunable.flops();
                waiting.entry(class).or_insert((0.0, number, tunable)).0 += flops;
            }
        }
    }
    let mut order: Vec<_> = waiting.into_values().collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.class().cmp(b.2.class())));
    let start = Instant::now();
    let mut found = 0;
    for (_, kernel, tunable) in order {
        if start.elapsed() > Duration::from_millis(TIMING_MILLISECONDS) {
            break;
        }
        // What cannot be timed, for want of memory perhaps, goes by rule.
        if let Ok(Some(pick)) = fastest(&plan.kernels[kernel], &tunable) {
            lock(tuned).picks.insert(tunable.class().to_string(), pick);
            found += 1;
        }
    }
    if found > 0 {
        lock(tuned).save();
    }
}

/// The candidate that takes the least time; the first, which is the one by rule, unless another is clearly faster.
/// `time` gives the seconds of so many runs of one. `flops` is their work.
///
/// # Errors
/// Those of `time`.
pub fn race<C>(
    candidates: &[C],
    flops: f64,
    mut time: impl FnMut(&C, usize) -> Result<f64>,
) -> Result<Option<&C>> {
    let guess = flops / GUESSED_RATE + 5.0;
    let runs = (CANDIDATE_MICROSECONDS / guess).clamp(1.0, 50.0) as usize;
    let mut seconds = vec![f64::INFINITY; candidates.len()];
    for round in 0..=TIMING_ROUNDS {
        for (candidate, least) in candidates.iter().zip(&mut seconds) {
            let time = time(candidate, if round == 0 { 1 } else { runs })?;
            // The first round warms up.
            if round > 0 {
                *least = least.min(time);
            }
        }
    }
    let best = (0..candidates.len()).min_by(|&a, &b| seconds[a].total_cmp(&seconds[b]));
    let best = best.filter(|&best| seconds[best] < seconds[0] * CLEARLY_FASTER);
    Ok(candidates.get(best.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(u32);

    impl Pick for Number {
        fn text(self) -> String {
            format!("number:{}", self.0)
        }

        fn parse(text: &str) -> Option<Number> {
            text.strip_prefix("number:")?.parse().ok().map(Number)
        }
    }

    struct Class(&'static str, [Number; 1]);

    impl Tunable for Class {
        type Pick = Number;

        fn class(&self) -> &str {
            self.0
        }

        fn picks(&self) -> &[Number] {
            &self.1
        }

        fn fit(&self, picked: Option<Number>) -> Number {
            picked.unwrap_or(self.1[0])
        }

        fn flops(&self) -> f64 {
            1.0
        }
    }

    #[test]
    fn what_is_given_comes_before_what_is_known_and_the_rule_comes_last() {
        let [rule, known, given] = [0, 1, 2].map(Number);
        let knows = |class: &str| (class != "new").then_some(known);
        let mut choices = Choices::from([("a".into(), given.text()), ("b".into(), "nonsense".into())]);
        let mut picker = Picker::new(&mut choices, &knows);
        assert_eq!(["a", "b", "new"].map(|name| picker.pick(&Class(name, [rule]))), [given, known, rule]);
        // The first of a class decides, whatever the rule says of others.
        assert_eq!(picker.pick(&Class("new", [given])), rule);
        let found: Vec<_> = choices.into_iter().collect();
        let expected = [("a", given), ("b", known), ("new", rule)];
        assert_eq!(found, expected.map(|(name, pick)| (name.to_string(), pick.text())));
    }

    #[test]
    fn only_what_is_clearly_faster_replaces_the_rule() {
        let winner = |seconds: &[f64]| {
            let numbers: Vec<usize> = (0..seconds.len()).collect();
            race(&numbers, 1e6, |&number, runs| Ok(seconds[number] * runs as f64)).unwrap().copied()
        };
        assert_eq!(winner(&[1.0, 0.99, 2.0]), Some(0));
        assert_eq!(winner(&[1.0, 0.9, 0.5]), Some(2));
        assert_eq!(winner(&[]), None);
    }

    #[test]
    fn files_are_read_back_and_anything_else_is_ignored() {
        let folder = std::env::temp_dir().join(format!("dropforge-tiles-{}", std::process::id()));
        let file = folder.join("inner").join("tiles.txt");
        let header = "dropforge tiles".to_string();
        let keep = |class: &str, file: PathBuf| {
            let picks = BTreeMap::from([(class.to_string(), Number(3))]);
            Tuned { picks, active: true, file: Some(file), header: header.clone() }.save();
        };
        let known = |header: &str| read::<Number>(&file, header).into_keys().collect::<Vec<_>>();
        keep("dot-1", file.clone());
        keep("dot-2", file.clone());
        assert_eq!(known(&header), ["dot-1", "dot-2"]);
        assert!(known("another driver").is_empty());
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        let text = format!("{header}\ndot-3\n\n\u{0}\u{fffd} x\ndot-4 tile:1:1\ndot-5 number:7\n");
        std::fs::write(&file, text).unwrap();
        assert_eq!(known(&header), ["dot-5"]);
        std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
        assert!(known(&header).is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
        // A folder that cannot be made is no error.
        keep("dot-1", PathBuf::from("/dev/null/x/y"));
    }
}
