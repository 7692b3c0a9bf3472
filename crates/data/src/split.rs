//! Which samples are trained on and which are measured on: lists of numbers for [`subset`](crate::subset).

use std::collections::BTreeMap;

use crate::random::Random;
use crate::{Error, Result, Source, classes};

/// The numbers of the samples on both sides, each in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Samples to train on.
    pub train: Vec<usize>,
    /// Samples to measure on.
    pub test: Vec<usize>,
}

impl Split {
    fn of(is_test: &[bool]) -> Split {
        let side = |test| (0..is_test.len()).filter(|&index| is_test[index] == test).collect();
        Split { train: side(false), test: side(true) }
    }
}

/// About `fraction` of the samples of each class and the rest, training and test: both sides have the classes in the
/// same proportions, and a class of two samples or more is on both.
///
/// ```
/// use dropforge_data::{from_records, stratified_split};
///
/// let uneven = from_records((0..12).map(|i| ([i as f32], usize::from(i >= 9))))?;
/// let split = stratified_split(&uneven, 2.0 / 3.0, 1)?;
/// assert_eq!((split.train.len(), split.test.len()), (8, 4));
/// assert_eq!(split.test.iter().filter(|&&index| index >= 9).count(), 1);
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// As for [`classes`]; or `fraction` is not between 0 and 1, or leaves a side empty.
pub fn stratified_split(source: &dyn Source, fraction: f64, seed: u64) -> Result<Split> {
    check_fraction(fraction)?;
    let mut is_test = vec![false; source.len().unwrap_or(0)];
    for mut samples in by_class(source, seed)? {
        let count = samples.len();
        let kept = (count as f64 * fraction).round() as usize;
        let kept = if count > 1 { kept.clamp(1, count - 1) } else { kept };
        samples.drain(..kept);
        samples.into_iter().for_each(|index| is_test[index] = true);
    }
    both_sides(Split::of(&is_test))
}

/// About `fraction` of the samples and the rest, where samples of the same group (a patient, a place, a film) are on
/// the same side: what is measured is then how the model does on groups that it has not seen. `groups` has one for each
/// sample.
///
/// # Errors
/// `fraction` is not between 0 and 1, or there are fewer than two groups.
pub fn grouped_split<G: Ord>(groups: &[G], fraction: f64, seed: u64) -> Result<Split> {
    check_fraction(fraction)?;
    let mut members = by_group(groups);
    Random::new(&[seed, GROUP_STREAM]).shuffle(&mut members);
    let wanted = groups.len() as f64 * (1.0 - fraction);
    let (mut is_test, mut taken) = (vec![false; groups.len()], 0usize);
    let last = members.len().saturating_sub(1);
    for (number, samples) in members.into_iter().enumerate() {
        // A group more is taken while that comes nearer to what is wanted; one stays on each side.
        let nearer = (taken as f64 + samples.len() as f64 / 2.0) <= wanted;
        if number == 0 || nearer && number < last {
            taken += samples.len();
            samples.into_iter().for_each(|index| is_test[index] = true);
        }
    }
    both_sides(Split::of(&is_test))
}

/// The samples `0..len` in `folds` parts of about the same size, each of which is the test side of one split.
///
/// # Errors
/// There are fewer than two folds, or more folds than samples.
pub fn k_fold(len: usize, folds: usize, seed: u64) -> Result<Vec<Split>> {
    let mut order: Vec<usize> = (0..len).collect();
    Random::new(&[seed, FOLD_STREAM]).shuffle(&mut order);
    dealt(len, folds, order)
}

/// As [`k_fold`], with the classes of a source in the same proportions in all parts.
///
/// # Errors
/// As for [`k_fold`] and [`classes`].
pub fn stratified_k_fold(source: &dyn Source, folds: usize, seed: u64) -> Result<Vec<Split>> {
    // Dealt class by class, going on where the class before has ended.
    let order: Vec<usize> = by_class(source, seed)?.into_iter().flatten().collect();
    dealt(order.len(), folds, order)
}

/// As [`k_fold`], where samples of the same group are in the same part. Large groups are dealt first, each to the part
/// that has the fewest samples.
///
/// # Errors
/// There are fewer than two folds, or more folds than groups.
pub fn grouped_k_fold<G: Ord>(groups: &[G], folds: usize) -> Result<Vec<Split>> {
    let mut members = by_group(groups);
    check_folds(folds, members.len(), "groups")?;
    members.sort_by_key(|samples| std::cmp::Reverse(samples.len()));
    let mut parts = vec![Vec::new(); folds];
    for samples in members {
        if let Some(smallest) = parts.iter_mut().min_by_key(|part: &&mut Vec<usize>| part.len()) {
            smallest.extend(samples);
        }
    }
    Ok(parts.iter().map(|part| of_test(groups.len(), part)).collect())
}

/// Keep the streams of splits apart from other streams of the same seed.
const CLASS_STREAM: u64 = 0x7370_6c69_7400_0003;
const GROUP_STREAM: u64 = 0x7370_6c69_7400_0004;
const FOLD_STREAM: u64 = 0x7370_6c69_7400_0005;

fn by_class(source: &dyn Source, seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut by_class = vec![Vec::new(); source.description().class_count().unwrap_or(0)];
    classes(source)?.into_iter().enumerate().for_each(|(index, class)| by_class[class].push(index));
    for (number, samples) in (0..).zip(&mut by_class) {
        Random::new(&[seed, CLASS_STREAM, number]).shuffle(samples);
    }
    Ok(by_class)
}

fn by_group<G: Ord>(groups: &[G]) -> Vec<Vec<usize>> {
    let mut members: BTreeMap<&G, Vec<usize>> = BTreeMap::new();
    groups.iter().enumerate().for_each(|(index, group)| members.entry(group).or_default().push(index));
    members.into_values().collect()
}

fn dealt(len: usize, folds: usize, order: Vec<usize>) -> Result<Vec<Split>> {
    check_folds(folds, len, "samples")?;
    let mut parts = vec![Vec::new(); folds];
    order.into_iter().enumerate().for_each(|(place, index)| parts[place % folds].push(index));
    Ok(parts.iter().map(|part| of_test(len, part)).collect())
}

fn of_test(len: usize, part: &[usize]) -> Split {
    let mut is_test = vec![false; len];
    part.iter().for_each(|&index| is_test[index] = true);
    Split::of(&is_test)
}

fn check_folds(folds: usize, most: usize, of: &str) -> Result<()> {
    match folds {
        0 | 1 => Err(Error::new(format!("{folds} folds are asked for: use 2 or more"))),
        _ if folds > most => {
            Err(Error::new(format!("{folds} folds are asked for, but there are {most} {of} only")))
        }
        _ => Ok(()),
    }
}

fn check_fraction(fraction: f64) -> Result<()> {
    if (0.0..=1.0).contains(&fraction) {
        Ok(())
    } else {
        Err(Error::new(format!("cannot split off {fraction} of the samples: use 0 to 1")))
    }
}

fn both_sides(split: Split) -> Result<Split> {
    if split.train.is_empty() || split.test.is_empty() {
        let all = split.train.len() + split.test.len();
        return Err(Error::new(format!(
            "the split of {all} samples leaves a side empty; use another fraction"
        )));
    }
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_records;
    use crate::testing::message;

    /// A hundred samples of class 0, 30 of class 1, one of class 2.
    fn uneven() -> crate::Dataset {
        let class = |i| usize::from(i >= 100) + usize::from(i >= 130);
        from_records((0..131).map(|i| ([i as f32], class(i)))).unwrap()
    }

    fn count(part: &[usize], range: std::ops::Range<usize>) -> usize {
        part.iter().filter(|index| range.contains(index)).count()
    }

    /// Whether the sides hold each sample once.
    fn is_whole(split: &Split, len: usize) -> bool {
        let mut all = [split.train.clone(), split.test.clone()].concat();
        all.sort_unstable();
        all == (0..len).collect::<Vec<_>>()
    }

    #[test]
    fn classes_keep_their_proportions() {
        let source = uneven();
        let split = stratified_split(&source, 0.8, 7).unwrap();
        assert!(is_whole(&split, 131));
        assert_eq!((count(&split.test, 0..100), count(&split.test, 100..130)), (20, 6));
        assert_ne!(split, stratified_split(&source, 0.8, 8).unwrap());
        // Small classes stay on both sides as long as they can.
        let split = stratified_split(&source, 0.999, 7).unwrap();
        assert_eq!(count(&split.test, 100..130), 1);
        let folds = stratified_k_fold(&source, 5, 7).unwrap();
        assert!(folds.iter().all(|fold| is_whole(fold, 131)));
        assert!(folds.iter().all(|fold| count(&fold.test, 0..100) == 20 && count(&fold.test, 100..130) == 6));
        assert!(message(stratified_split(&source, f64::NAN, 1)).contains("use 0 to 1"));
    }

    #[test]
    fn folds_hold_each_sample_once() {
        let folds = k_fold(23, 4, 3).unwrap();
        let mut tested: Vec<usize> = folds.iter().flat_map(|fold| fold.test.clone()).collect();
        tested.sort_unstable();
        assert_eq!(tested, (0..23).collect::<Vec<_>>());
        assert!(folds.iter().all(|fold| is_whole(fold, 23) && (5..=6).contains(&fold.test.len())));
        assert_ne!(folds, k_fold(23, 4, 4).unwrap());
        assert!(message(k_fold(3, 4, 0)).contains("4 folds are asked for, but there are 3 samples"));
        assert!(message(k_fold(3, 1, 0)).contains("use 2 or more"));
    }

    #[test]
    fn groups_stay_together() {
        let groups: Vec<usize> = (0..100).map(|i| i * i % 17).collect();
        let together = |split: &Split| {
            let test: std::collections::HashSet<usize> =
                split.test.iter().map(|&index| groups[index]).collect();
            split.train.iter().all(|&index| !test.contains(&groups[index]))
        };
        for seed in 0..20 {
            let split = grouped_split(&groups, 0.75, seed).unwrap();
            assert!(is_whole(&split, 100) && together(&split), "seed {seed}");
            assert!((10..45).contains(&split.test.len()), "seed {seed}: {}", split.test.len());
        }
        let folds = grouped_k_fold(&groups, 3).unwrap();
        assert!(folds.iter().all(|fold| together(fold) && (30..=38).contains(&fold.test.len())));
        assert!(message(grouped_split(&[1, 1, 1], 0.5, 0)).contains("leaves a side empty"));
        assert!(message(grouped_k_fold(&["a", "b"], 3)).contains("2 groups only"));
    }
}
