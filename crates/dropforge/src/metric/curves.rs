//! Curves over all thresholds, from scores on the host, and the numbers that sum them up.

/// What is counted above one threshold.
struct Above {
    /// The threshold itself.
    threshold: f64,
    /// Those at or above it that are positive, and those that are not.
    true_positives: f64,
    false_positives: f64,
}

/// A point of a ROC curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// Share of the negative samples that are at or above the threshold.
    pub false_positive_rate: f64,
    /// Share of the positive samples that are.
    pub true_positive_rate: f64,
    /// The threshold; infinite at the first point, where nothing is above it.
    pub threshold: f64,
}

/// A point of a curve of precision over recall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecallPoint {
    /// Share of the positive samples that are at or above the threshold.
    pub recall: f64,
    /// Share of those at or above it that are positive.
    pub precision: f64,
    /// The threshold.
    pub threshold: f64,
}

/// The counts for each distinct score, from the highest down.
fn thresholds<T: Copy + Into<f64>>(scores: &[T], positive: &[bool]) -> Vec<Above> {
    let scores: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
    let mut order: Vec<usize> = (0..scores.len().min(positive.len())).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut all: Vec<Above> = Vec::new();
    let (mut true_positives, mut false_positives) = (0.0, 0.0);
    for index in order {
        if positive[index] {
            true_positives += 1.0
        } else {
            false_positives += 1.0
        }
        let now = Above { threshold: scores[index], true_positives, false_positives };
        match all.last_mut() {
            Some(last) if last.threshold == now.threshold => *last = now,
            _ => all.push(now),
        }
    }
    all
}

/// The ROC curve: how many positive and how many negative samples have a score at or above each threshold, from (0, 0)
/// to (1, 1). scikit-learn's `roc_curve(drop_intermediate=False)`. Shares of nothing are NaN.
///
/// ```
/// use dropforge::metric::{roc_auc, roc_curve};
///
/// let (scores, positive) = ([0.1, 0.4, 0.35, 0.8], [false, false, true, true]);
/// let curve = roc_curve(&scores, &positive);
/// assert_eq!((curve[1].false_positive_rate, curve[1].true_positive_rate), (0.0, 0.5));
/// assert_eq!(roc_auc(&scores, &positive), 0.75);
/// ```
pub fn roc_curve<T: Copy + Into<f64>>(scores: &[T], positive: &[bool]) -> Vec<RocPoint> {
    let counted = thresholds(scores, positive);
    let all = counted.last().map_or((0.0, 0.0), |last| (last.true_positives, last.false_positives));
    let start = RocPoint { false_positive_rate: 0.0, true_positive_rate: 0.0, threshold: f64::INFINITY };
    let point = |above: &Above| RocPoint {
        false_positive_rate: above.false_positives / all.1,
        true_positive_rate: above.true_positives / all.0,
        threshold: above.threshold,
    };
    std::iter::once(start).chain(counted.iter().map(point)).collect()
}

/// The area under the ROC curve: how likely it is that a positive sample has a higher score than a negative one, a tie
/// being half of it. NaN where one of both is missing.
pub fn roc_auc<T: Copy + Into<f64>>(scores: &[T], positive: &[bool]) -> f64 {
    let curve = roc_curve(scores, positive);
    if curve.len() < 2 {
        return f64::NAN;
    }
    let slice = |pair: &[RocPoint]| {
        (pair[1].false_positive_rate - pair[0].false_positive_rate)
            * (pair[0].true_positive_rate + pair[1].true_positive_rate)
            / 2.0
    };
    curve.windows(2).map(slice).sum()
}

/// Precision and recall at each threshold, from the highest down: the points of scikit-learn's `precision_recall_curve`
/// without the last. Without positive samples recall is NaN.
pub fn precision_recall_curve<T: Copy + Into<f64>>(
    scores: &[T],
    positive: &[bool],
) -> Vec<PrecisionRecallPoint> {
    let counted = thresholds(scores, positive);
    let all = counted.last().map_or(0.0, |last| last.true_positives);
    let point = |above: &Above| PrecisionRecallPoint {
        recall: above.true_positives / all,
        precision: above.true_positives / (above.true_positives + above.false_positives),
        threshold: above.threshold,
    };
    counted.iter().map(point).collect()
}

/// The sum of the precisions at all thresholds, each times what it adds to the recall: scikit-learn's
/// `average_precision_score`. 0 without positive samples, NaN without samples.
pub fn average_precision<T: Copy + Into<f64>>(scores: &[T], positive: &[bool]) -> f64 {
    let curve = precision_recall_curve(scores, positive);
    match curve.last() {
        None => f64::NAN,
        Some(last) if last.recall.is_nan() => 0.0,
        Some(_) => {
            let before = std::iter::once(0.0).chain(curve.iter().map(|point| point.recall));
            curve.iter().zip(before).map(|(point, before)| (point.recall - before) * point.precision).sum()
        }
    }
}
