//! L-BFGS.

use super::declare::{Update, optimizer};
use super::wolfe::{Point, Search, flat};
use super::{Optimizer, Parameter};
use crate::nn::Scope;
use crate::tensor::{Tensor, scan, scan_reverse};
use dropforge_ir::{DType, ValueType};

optimizer! {
    /// Directions by the curvature along the last steps, and how far by a search for the strong Wolfe conditions:
    /// PyTorch's `optim.LBFGS` with `line_search_fn="strong_wolfe"`. Liu and Nocedal, Mathematical Programming 45,
    /// 1989; Nocedal and Wright, Numerical Optimization, algorithms 7.4, 3.5 and 3.6.
    ///
    /// A step is one trial of the search: it takes the loss and the gradients where the parameters are, and moves them
    /// to the next trial, which is where a new direction begins when the last one was good enough. All of it happens on
    /// the device; the host waits for nothing. A trial may be worse than the point before it, so a trainer measures,
    /// predicts and saves by the last point that a search found, `lbfgs.w.<name>`, as it does with averages; with a
    /// step of your own [`Step::use_averages`](crate::step::Step::use_averages) puts it into the network.
    ///
    /// Losses of different batches cannot be compared: train on batches of the whole data set, without dropout and
    /// other random changes. It goes with no group but frozen ones, no accumulation and no clipping, as it takes all
    /// parameters as one vector. The first direction is the gradient, with a trial at min(1, 1/|g|₁)·lr; later ones
    /// begin at lr, which should be 1.
    ///
    /// States, n being the number of trained parameters: `lbfgs.w.<name>`, `lbfgs.direction`, `lbfgs.gradient` and
    /// `lbfgs.low_gradient` of n numbers, `lbfgs.steps` and `lbfgs.changes` of `history` × n, and scalars of the
    /// search. They are read and written in every step: with a long history a step of a large network on few samples
    /// takes longer for it.
    Lbfgs = "lbfgs", "directions by curvature, with a line search; for whole data sets"
        like "optim.LBFGS"
        but "a step is one trial of the line search, always strong Wolfe; keeps 10 steps, not 100", lr: 1.0;
    history: usize = 10, (1..=1000).into(), "steps whose curvature is kept";
}

/// What stands before the name of a parameter in that of its value where the search started.
pub(super) const START: &str = "lbfgs.w.";
/// The state that counts how many directions have begun.
pub(super) const DIRECTIONS: &str = "lbfgs.directions";

/// Least product of a step and the change of its gradients that tells of curvature, as in PyTorch.
const LEAST_CURVATURE: f32 = 1e-10;

/// The last steps with the changes of the gradients over them, the newest last; zeros where there were none yet.
struct History {
    steps: Tensor,
    changes: Tensor,
    /// Step · change over change · change of the newest: the size of the inverse curvature.
    scale: Tensor,
}

impl History {
    fn declare(update: &Update<'_>, length: usize, parameters: usize) -> History {
        let rows = |name: &str| update.state(name, ValueType::new(DType::F32, [length, parameters]), 0.0);
        let scale = update.state("scale", ValueType::scalar(DType::F32), 1.0);
        History { steps: rows("steps"), changes: rows("changes"), scale }
    }

    /// With one more step where `counts` is true and it tells of curvature.
    fn with(&self, update: &Update<'_>, step: &Tensor, change: &Tensor, counts: &Tensor) -> History {
        let curvature = dot(step, change);
        let counts = counts.logical_and(curvature.gt(LEAST_CURVATURE));
        let shifted = |rows: &Tensor, newest: &Tensor| {
            let newest = newest.unsqueeze(0);
            let next = Tensor::concat(&[&rows.slice(0, 1..), &newest], 0);
            update.write(rows, Tensor::select(&counts, next, rows))
        };
        let steps = shifted(&self.steps, step);
        let changes = shifted(&self.changes, change);
        let scale = Tensor::select(&counts, curvature / dot(change, change), &self.scale);
        History { steps, changes, scale: update.write(&self.scale, scale) }
    }

    /// The inverse curvature times a gradient, by two loops over the steps: Nocedal and Wright, algorithm 7.4.
    fn times(&self, gradient: &Tensor) -> Tensor {
        let curvatures = (&self.steps * &self.changes).sum(-1);
        let is_none = curvatures.le(0.0);
        let inverse = Tensor::select(&is_none, 0.0, 1.0 / Tensor::select(&is_none, 1.0, &curvatures));
        let stacked = [&self.steps, &self.changes, &inverse];
        let (last, shares) = scan_reverse(&[gradient], &stacked, |carried, slices| {
            let [step, change, inverse] = slices else { return (Vec::new(), Vec::new()) };
            let share = dot(step, &carried[0]) * inverse;
            (vec![&carried[0] - change * &share], vec![share])
        });
        let scaled = &last[0] * &self.scale;
        let stacked = [&self.steps, &self.changes, &inverse, &shares[0]];
        let (last, _) = scan(&[&scaled], &stacked, |carried, slices| {
            let [step, change, inverse, share] = slices else { return (Vec::new(), Vec::new()) };
            let rest = share - dot(change, &carried[0]) * inverse;
            (vec![&carried[0] + step * rest], Vec::new())
        });
        last[0].clone()
    }
}

fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum(..)
}

impl Optimizer for Lbfgs {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        vec![("lr", self.lr)]
    }

    fn needs_loss(&self) -> bool {
        true
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "lbfgs", values: self.hyperparameters() };
        let loss = scope.loss();
        let gradient = flat(parameters);
        let count = gradient.elements();
        let row = |name: &str| update.state(name, ValueType::new(DType::F32, [count]), 0.0);
        let (direction, known, low) = (row("direction"), row("gradient"), row("low_gradient"));
        let directions = update.state("directions", ValueType::scalar(DType::U32), 0.0);
        let (search, history) = (Search::declare(&update), History::declare(&update, self.history, count));

        let is_first = directions.eq(0);
        let judged = search.judge(&loss, &dot(&gradient, &direction), &direction.abs().max(..));
        // The first trial is where everything begins.
        let begins = judged.ends.logical_or(&is_first);
        let is_new = judged.is_new.logical_or(&is_first);
        let low = update.write(&low, Tensor::select(&is_new, &gradient, &low));

        let went = &direction * &judged.low.length;
        let counts = begins.logical_and(is_first.logical_not());
        let history = history.with(&update, &went, &(&low - &known), &counts);
        let found = history.times(&low);
        // Rounding can leave a direction along which nothing falls.
        let falls = dot(&found, &low).gt(0.0);
        let next = -Tensor::select(&falls, found, &low);
        let rate = update.hyper("lr");
        let careful = (1.0 / low.abs().sum(..)).minimum(1.0) * &rate;
        let length = Tensor::select(&is_first, careful, rate);
        let value = Tensor::select(&is_first, &loss, &judged.low.value);
        let start = Point { length: &value * 0.0, value, slope: dot(&next, &low) };
        update.write(&known, Tensor::select(&begins, &low, &known));
        let direction = update.write(&direction, Tensor::select(&begins, next, &direction));
        let more = &directions + 1;
        update.write(&directions, Tensor::select(&begins, more, &directions));
        let length = search.proceed(&update, &judged, &begins, &start, &length);

        let mut at = 0;
        for parameter in parameters {
            let Parameter { name, value, .. } = parameter;
            let from = update.state(&format!("w.{name}"), value.ty().clone(), 0.0);
            let end = at + value.elements();
            let along = |row: &Tensor| row.slice(0, at..end).reshape(value.shape()).cast(value.dtype());
            let reached = Tensor::select(&is_new, value, &from + along(&went));
            let from = update.write(&from, Tensor::select(&begins, reached, &from));
            scope.write_state(value, &(&from + along(&(&direction * &length))));
            at = end;
        }
    }

    super::declared!();
}
