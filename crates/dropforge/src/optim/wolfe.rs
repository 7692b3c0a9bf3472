//! Line search for the strong Wolfe conditions, one trial a step.
//!
//! Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 3.5 (an interval that holds a good point is
//! looked for) and 3.6 (it is made smaller), with cubic interpolation (their 3.59). What the loops of the book branch
//! on are selects over scalar states here, so that a trial is an ordinary step of one program and no host waits.

use super::Parameter;
use super::declare::Update;
use crate::tensor::Tensor;
use dropforge_ir::{DType, ValueType};

/// Share of the fall that the slope promises which a trial has to reach: the first condition.
const SUFFICIENT_DECREASE: f32 = 1e-4;
/// Share of the slope at the start that may be left at the end: the second condition.
const CURVATURE: f32 = 0.9;
/// Trials of one search.
const MOST_TRIALS: i32 = 25;
/// Change of a parameter that is none any more.
const SMALLEST_CHANGE: f32 = 1e-9;

/// A point of the line: how far along the direction it lies, the loss and its slope there. All are f32 scalars.
#[derive(Clone)]
pub(super) struct Point {
    pub length: Tensor,
    pub value: Tensor,
    pub slope: Tensor,
}

impl Point {
    fn state(update: &Update<'_>, name: &str) -> Point {
        let part = |part: &str| update.state(&format!("{name}.{part}"), ValueType::scalar(DType::F32), 0.0);
        Point { length: part("length"), value: part("value"), slope: part("slope") }
    }

    fn write(&self, update: &Update<'_>, to: &Point) {
        let parts = [(&self.length, &to.length), (&self.value, &to.value), (&self.slope, &to.slope)];
        for (state, value) in parts {
            update.scope.write_state(state, value);
        }
    }

    pub fn select(condition: &Tensor, a: &Point, b: &Point) -> Point {
        let either = |a: &Tensor, b: &Tensor| Tensor::select(condition, a, b);
        Point {
            length: either(&a.length, &b.length),
            value: either(&a.value, &b.value),
            slope: either(&a.slope, &b.slope),
        }
    }
}

/// The states of a search.
pub(super) struct Search {
    /// Loss and slope where the search started, at length 0.
    start: [Tensor; 2],
    /// The best point so far; before there is an interval, the one before the last.
    low: Point,
    /// The other end of the interval.
    high: Point,
    /// How far the trial lies that is to be judged.
    length: Tensor,
    /// Trials before it.
    trials: Tensor,
    /// 1 where there is an interval.
    narrows: Tensor,
    /// 1 where the last trial came close to an end of the interval.
    is_stuck: Tensor,
}

/// What a trial leads to. Conditions are bool scalars.
pub(super) struct Judged {
    /// The best point after it, the result where the search ends.
    pub low: Point,
    /// Whether that is the trial.
    pub is_new: Tensor,
    /// Whether the search ends.
    pub ends: Tensor,
    high: Point,
    narrows: Tensor,
    is_stuck: Tensor,
    length: Tensor,
}

impl Search {
    pub fn declare(update: &Update<'_>) -> Search {
        let count = |name: &str| update.state(name, ValueType::scalar(DType::U32), 0.0);
        Search {
            start: ["start.value", "start.slope"]
                .map(|name| update.state(name, ValueType::scalar(DType::F32), 0.0)),
            low: Point::state(update, "low"),
            high: Point::state(update, "high"),
            length: update.state("length", ValueType::scalar(DType::F32), 0.0),
            trials: count("trials"),
            narrows: count("narrows"),
            is_stuck: count("is_stuck"),
        }
    }

    /// Judges a trial by the loss and the slope there. `reach` is the largest element of the direction.
    pub fn judge(&self, value: &Tensor, slope: &Tensor, reach: &Tensor) -> Judged {
        let ([start_value, start_slope], low) = (&self.start, &self.low);
        let trial = Point { length: self.length.clone(), value: value.clone(), slope: slope.clone() };
        let narrows = self.narrows.ne(0);
        let promised = start_value + start_slope * &trial.length * SUFFICIENT_DECREASE;
        // What is no number has not fallen.
        let falls = trial.value.le(&promised);
        let below = trial.value.lt(&low.value);
        let rises = below.logical_not().logical_and(self.trials.ge(2).logical_or(&narrows));
        let fails = falls.logical_not().logical_or(rises);
        let is_flat = trial.slope.abs().le(start_slope * -CURVATURE);
        let found = fails.logical_not().logical_and(&is_flat);
        let turns = fails.logical_or(is_flat.logical_not().logical_and(trial.slope.ge(0.0)));
        let extends = narrows.logical_or(&turns).logical_or(&found).logical_not();

        // The trial becomes an end of the interval: the worse one where it fails, or where it is the first to turn.
        let joins = fails.logical_or(narrows.logical_not().logical_and(&turns));
        let is_new = joins.logical_not().logical_or(&below);
        let next_low = Point::select(&is_new, &trial, low);
        let crosses = (&trial.slope * (&self.high.length - &low.length)).ge(0.0);
        let replaced = Point::select(&crosses, low, &self.high);
        let high = Point::select(&joins, &Point::select(&below, low, &trial), &replaced);
        let narrows = narrows.logical_or(&turns);

        let width = (&high.length - &next_low.length).abs();
        let is_narrow = narrows.logical_and((&width * reach).lt(SMALLEST_CHANGE));
        let is_last = (&self.trials + 1).ge(MOST_TRIALS);
        let ends = found.logical_or(is_narrow).logical_or(is_last);

        let further = interpolate(
            low,
            &trial,
            &(&trial.length + (&trial.length - &low.length) * 0.01),
            &(&trial.length * 10.0),
        );
        let (inside, is_stuck) = self.within(&next_low, &high);
        let is_stuck = is_stuck.logical_and(&narrows);
        Judged {
            length: Tensor::select(&extends, further, inside),
            low: next_low,
            is_new,
            ends,
            high,
            narrows,
            is_stuck,
        }
    }

    /// The next trial inside of an interval, and whether it lies close to an end; a second one in turn is moved away
    /// from it by a tenth of the interval.
    fn within(&self, low: &Point, high: &Point) -> (Tensor, Tensor) {
        let left = low.length.minimum(&high.length);
        let right = low.length.maximum(&high.length);
        let length = interpolate(low, high, &left, &right);
        let margin = (&right - &left) * 0.1;
        let (from_left, to_right) = (&length - &left, &right - &length);
        let is_close = from_left.minimum(&to_right).lt(&margin);
        let at_end = length.ge(&right).logical_or(length.le(&left));
        let moves = is_close.logical_and(self.is_stuck.ne(0).logical_or(at_end));
        let moved = Tensor::select(&to_right.abs().lt(from_left.abs()), &right - &margin, &left + &margin);
        (Tensor::select(&moves, moved, length), is_close.logical_and(moves.logical_not()))
    }

    /// Goes on with the trial that was found, or, where `begins` is true, with a new search from the point `start`
    /// whose first trial is `length`. Gives the next trial's length.
    pub fn proceed(
        &self,
        update: &Update<'_>,
        judged: &Judged,
        begins: &Tensor,
        start: &Point,
        length: &Tensor,
    ) -> Tensor {
        for (state, value) in self.start.iter().zip([&start.value, &start.slope]) {
            update.scope.write_state(state, &Tensor::select(begins, value, state));
        }
        self.low.write(update, &Point::select(begins, start, &judged.low));
        self.high.write(update, &Point::select(begins, start, &judged.high));
        let number = |is: &Tensor| Tensor::select(is, 1, 0).cast(DType::U32);
        let is_same = begins.logical_not();
        let flags = [(&self.narrows, &judged.narrows), (&self.is_stuck, &judged.is_stuck)];
        for (state, value) in flags {
            update.scope.write_state(state, &number(&value.logical_and(&is_same)));
        }
        update.scope.write_state(&self.trials, &Tensor::select(begins, 0, &self.trials + 1));
        update.write(&self.length, Tensor::select(begins, length, &judged.length))
    }
}

/// Where the cubic through two points with their slopes is lowest, between bounds; the middle of these where there is
/// no such place.
fn interpolate(a: &Point, b: &Point, least: &Tensor, most: &Tensor) -> Tensor {
    let distance = &b.length - &a.length;
    let slopes = &a.slope + &b.slope - (&b.value - &a.value) / &distance * 3.0;
    let root = (&slopes * &slopes - &a.slope * &b.slope).sqrt();
    // By the sign of the distance the root takes the lowest place and not the highest.
    let root = Tensor::select(&distance.lt(0.0), -&root, root);
    let share = (&b.slope + &root - &slopes) / (&b.slope - &a.slope + &root * 2.0);
    let place = &b.length - distance * share;
    let middle = (least + most) * 0.5;
    // Comparisons with what is no number are false.
    let is_number = place.abs().le(f32::MAX);
    Tensor::select(&is_number, place.maximum(least).minimum(most), middle)
}

/// The elements of all gradients in a row.
pub(super) fn flat(parameters: &[Parameter]) -> Tensor {
    let parts: Vec<Tensor> = parameters
        .iter()
        .map(|parameter| parameter.gradient.cast(DType::F32).reshape(vec![parameter.gradient.elements()]))
        .collect();
    Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
}
