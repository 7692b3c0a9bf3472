#!/usr/bin/env python3
"""Writes crates/dropforge/tests/data/metrics: what scikit-learn (and SciPy) say metrics come to.

Run it from anywhere after changing a case:  python3 scripts/golden_metrics.py
It needs scikit-learn; the tests that read the files need neither it nor Python.

A file holds the cases of one kind of data: `CASE.x` (scores, logits or predictions) and `CASE.target`, and for each metric
`CASE.NAME`, a lone number that may be nan. A name may have settings behind it, as in `f1:average=macro`, and a figure of the
metric other than its own, as in `f1:average=per_class/f1_2`.
"""

import warnings
from pathlib import Path

import numpy as np
from scipy import special, stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

FOLDER = Path(__file__).resolve().parent.parent / "crates/dropforge/tests/data/metrics"
warnings.simplefilter("ignore")


def attempt(function):
    """The number, nan where scikit-learn refuses."""
    try:
        return float(function())
    except ValueError:
        return float("nan")


def specificity(truth, said, average, classes):
    table = sk.multilabel_confusion_matrix(truth, said, labels=range(classes)).astype(float)
    right, wrong = table[:, 0, 0], table[:, 0, 1]
    share = np.divide(right, right + wrong, out=np.zeros(classes), where=right + wrong > 0)
    support = table[:, 1, :].sum(1)
    occurs = support + table[:, :, 1].sum(1) > 0
    return {
        "binary": share[1],
        None: share,
        "macro": share[occurs].mean(),
        "micro": right.sum() / (right + wrong).sum(),
        "weighted": (share * support).sum() / support.sum(),
    }[average]


def of_labels(truth, said, classes):
    found = {}
    for average in ["macro", "micro", "weighted"] + (["binary"] if classes == 2 else []):
        for name, function in [("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)]:
            found[f"{name}:average={average}"] = function(truth, said, average=average, zero_division=0)
        found[f"specificity:average={average}"] = specificity(truth, said, average, classes)
    for name, function in [("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)]:
        each = function(truth, said, average=None, labels=range(classes), zero_division=0)
        found |= {f"{name}:average=per_class/{name}_{number}": value for number, value in enumerate(each)}
    each = enumerate(specificity(truth, said, None, classes))
    found |= {f"specificity:average=per_class/specificity_{number}": value for number, value in each}
    # Without a choice: the second of two classes, else the mean.
    usual = "binary" if classes == 2 else "macro"
    for name in ["precision", "recall", "f1", "specificity"]:
        found[name] = found[f"{name}:average={usual}"]
    found["accuracy"] = sk.accuracy_score(truth, said)
    found["balanced_accuracy"] = sk.balanced_accuracy_score(truth, said)
    kappa = attempt(lambda: sk.cohen_kappa_score(truth, said))
    # Where one label is all there is, scikit-learn divides 0 by 0, and the library says 0: a test of its own holds that.
    if not np.isnan(kappa):
        found["kappa"] = kappa
    found["mcc"] = sk.matthews_corrcoef(truth, said)
    return found


def calibration(probability, right, bins):
    """The sum over the bins of scikit-learn's calibration_curve, each by its share of the samples."""
    share, mean = calibration_curve(right, probability, n_bins=bins)
    edges = np.linspace(0, 1, bins + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], probability), minlength=bins)
    return (np.abs(share - mean) * counts[counts > 0]).sum() / len(right)


def multiclass(scores, truth):
    scores, truth = np.asarray(scores, np.float32), np.asarray(truth)
    classes = scores.shape[1]
    # The last of equal scores would be another convention: the first one is the prediction.
    found = of_labels(truth, scores.argmax(1), classes)
    probability = special.softmax(scores.astype(np.float64), axis=1)
    labels = list(range(classes))
    found["log_loss"] = sk.log_loss(truth, probability, labels=labels)
    found["perplexity"] = np.exp(found["log_loss"])
    found["token_accuracy"] = found["accuracy"]
    found["brier"] = sk.brier_score_loss(truth, probability, labels=labels)
    found["calibration_error"] = calibration(probability.max(1), probability.argmax(1) == truth, 15)
    found["calibration_error:bins=4"] = calibration(probability.max(1), probability.argmax(1) == truth, 4)
    for k in [1, 2, 3]:
        if k < classes and classes > 2:
            found[f"top_k:k={k}"] = sk.top_k_accuracy_score(truth, scores, k=k, labels=labels)
    if classes == 2:
        found["auc"] = attempt(lambda: sk.roc_auc_score(truth, probability[:, 1]))
        found["average_precision"] = sk.average_precision_score(truth, probability[:, 1])
    else:
        hot = truth[:, None] == np.arange(classes)
        occurs = [c for c in labels if hot[:, c].any()]
        areas = [attempt(lambda: sk.roc_auc_score(hot[:, c], probability[:, c])) for c in occurs]
        found["auc"] = np.nanmean(areas)
        found["average_precision"] = np.mean([sk.average_precision_score(hot[:, c], probability[:, c]) for c in occurs])
        if len(occurs) == classes:
            assert np.isclose(found["auc"], sk.roc_auc_score(truth, probability, multi_class="ovr"))
    return found


def binary(logits, truth):
    logits, truth = np.asarray(logits, np.float32), np.asarray(truth)
    found = of_labels(truth, (logits > 0).astype(int), 2)
    probability = special.expit(logits.astype(np.float64))
    found["log_loss"] = sk.log_loss(truth, probability, labels=[0, 1])
    found["brier"] = sk.brier_score_loss(truth, probability, labels=[0, 1])
    found["calibration_error"] = calibration(probability, truth, 15)
    found["auc"] = attempt(lambda: sk.roc_auc_score(truth, logits))
    found["average_precision"] = sk.average_precision_score(truth, logits)
    return found


def regression(prediction, truth):
    prediction, truth = np.asarray(prediction, np.float32), np.asarray(truth, np.float32)
    p, t = prediction.astype(np.float64), truth.astype(np.float64)
    found = {
        "mae": sk.mean_absolute_error(t, p),
        "mse": sk.mean_squared_error(t, p),
        "rmse": np.sqrt(sk.mean_squared_error(t, p)),
        "mape": sk.mean_absolute_percentage_error(t, p),
        "r2": sk.r2_score(t, p),
    }
    columns = zip(p.T, t.T) if p.ndim > 1 else [(p, t)]
    columns = list(columns)
    found["pearson"] = np.mean([stats.pearsonr(a, b)[0] for a, b in columns])
    found["spearman"] = np.mean([stats.spearmanr(a, b)[0] for a, b in columns])
    return found


def write(name, cases, measure, target_is_float):
    lines = []

    def put(key, values, is_float):
        values = np.asarray(values)
        lines.append(f"{key} {'f32' if is_float else 'i32'}{list(values.shape)}")
        lines.append(" ".join(repr(float(x)) if is_float else str(int(x)) for x in values.flatten()))

    for case, (x, target) in cases.items():
        put(f"{case}.x", np.asarray(x, np.float32), True)
        put(f"{case}.target", target, target_is_float)
        for metric, value in measure(x, target).items():
            put(f"{case}.{metric}", np.float64(value), True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n")


def main():
    draw = np.random.default_rng(7)

    def scores(samples, classes, ties=False):
        x = draw.normal(size=(samples, classes)) * 1.5
        return np.round(x) + np.arange(classes) * 1e-3 if ties else x

    six = draw.integers(0, 6, 97)
    write("multiclass", {
        "random": (scores(97, 6), six),
        "good": (scores(97, 6) + 3 * (six[:, None] == np.arange(6)), six),
        "ties": (scores(60, 4, ties=True), draw.integers(0, 4, 60)),
        "two": (scores(50, 2), draw.integers(0, 2, 50)),
        # Classes 1 and 4 never occur, class 5 is never said.
        "empty_class": (scores(40, 6) - 14 * (np.arange(6) == 5), draw.choice([0, 2, 3, 5], 40)),
        "all_right": (9.0 * (six[:30, None] == np.arange(6)), six[:30]),
        "never_right": (9.0 * (((six[:30] + 1) % 6)[:, None] == np.arange(6)), six[:30]),
        "unbalanced": (scores(80, 3), (np.arange(80) % 16 == 0).astype(int) * 2),
    }, multiclass, False)
    yes = draw.integers(0, 2, 83)
    write("binary", {
        "random": (draw.normal(size=83), yes),
        "good": (draw.normal(size=83) + 2.0 * yes - 1.0, yes),
        "ties": (np.round(draw.normal(size=70)), draw.integers(0, 2, 70)),
        "one_class": (draw.normal(size=20), np.ones(20, int)),
        "no_yes": (draw.normal(size=20), np.zeros(20, int)),
        "never_says_yes": (-np.abs(draw.normal(size=30)) - 0.1, draw.integers(0, 2, 30)),
        "all_alike": (np.full(12, 0.25), np.arange(12) % 3 == 0),
        "far_out": (draw.normal(size=40) * 12, draw.integers(0, 2, 40)),
    }, binary, False)
    t = draw.normal(size=64)
    many = draw.normal(size=(48, 3))
    write("regression", {
        "random": (t + 0.3 * draw.normal(size=64), t),
        "far_from_zero": (1000 + t + 0.3 * draw.normal(size=64), 1000 + t),
        "ties": (np.round(t + 0.5 * draw.normal(size=64)), np.round(t)),
        "several_outputs": (many + 0.5 * draw.normal(size=(48, 3)), many),
        "no_relation": (draw.normal(size=30), draw.normal(size=30)),
        "constant_target": (draw.normal(size=9), np.full(9, 2.5)),
        "constant_prediction": (np.full(9, 2.5), draw.normal(size=9)),
        "all_right": (t[:12], t[:12]),
    }, regression, True)


if __name__ == "__main__":
    main()
