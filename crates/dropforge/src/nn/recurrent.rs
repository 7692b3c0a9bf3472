//! Recurrent layers. What the inputs add to the gates is one product for all steps; the steps themselves are a
//! [`scan`].

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Described, Range, Value};
use crate::tensor::{Tensor, scan, scan_reverse};
use crate::{Result, described};
use dropforge_ir::DType;
use std::panic::Location;

/// What a recurrent layer may be given beside the sequences.
#[derive(Clone, Copy, Default)]
pub struct Start<'a> {
    /// How many steps of each sequence count, i32 `[batch]`; all of them by default. Outputs beyond are zeros, and the
    /// last state is that of the last step that counts, as with PyTorch's packed sequences.
    pub lengths: Option<&'a Tensor>,
    /// The hidden states at the start, `[layers · directions, batch, hidden]`; zeros by default.
    pub hidden: Option<&'a Tensor>,
    /// The cell states of an LSTM at the start, of the same shape.
    pub cell: Option<&'a Tensor>,
}

/// What a recurrent layer gives.
#[derive(Clone)]
pub struct Sequences {
    /// The hidden states of the last layer after each step, `[batch, time, directions · hidden]`: those of the forward
    /// direction first.
    pub output: Tensor,
    /// The hidden states of all layers after the last step, `[layers · directions, batch, hidden]`.
    pub hidden: Tensor,
    /// The cell states of an LSTM after the last step, of the same shape.
    pub cell: Option<Tensor>,
}

/// How a step follows from the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

impl Cell {
    /// Blocks of rows in the weights.
    fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Tanh | Cell::Relu => 1,
        }
    }

    /// How many values are carried from step to step.
    fn states(self) -> usize {
        if self == Cell::Lstm { 2 } else { 1 }
    }

    /// The new states from what the input adds to the gates, `[batch, gates · hidden]`, and the states before. For GRU
    /// what the states add has a bias of its own.
    fn step(self, input: &Tensor, states: &[Tensor], weight: &Tensor, bias: Option<&Tensor>) -> Vec<Tensor> {
        let before = &states[0];
        let size = before.shape()[1];
        let part = |gates: &Tensor, gate: usize| gates.slice(1, gate * size..(gate + 1) * size);
        let own = before.linear(weight);
        match self {
            Cell::Tanh => vec![(input + own).tanh()],
            Cell::Relu => vec![(input + own).relu()],
            Cell::Lstm => {
                let gates = input + own;
                let [enter, forget, leave] = [0, 1, 3].map(|gate| part(&gates, gate).sigmoid());
                let cell = forget * &states[1] + enter * part(&gates, 2).tanh();
                vec![leave * cell.tanh(), cell]
            }
            Cell::Gru => {
                let own = bias.map_or(own.clone(), |bias| own + bias);
                let [reset, update] = [0, 1].map(|gate| (part(input, gate) + part(&own, gate)).sigmoid());
                let new = (part(input, 2) + reset * part(&own, 2)).tanh();
                // (1 − z)·n + z·h
                vec![&new + update * (before - &new)]
            }
        }
    }
}

/// What all recurrent layers can be told.
#[derive(Clone, Copy, Debug)]
struct Options {
    cell: Cell,
    hidden: usize,
    layers: usize,
    bidirectional: bool,
    dropout: f32,
    bias: bool,
}

impl Options {
    fn name(&self) -> &'static str {
        match self.cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
            Cell::Tanh | Cell::Relu => "rnn",
        }
    }

    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// Why a layer cannot work with what it is given, if it cannot.
    fn unfit(&self, x: &Tensor, start: &Start<'_>) -> Option<String> {
        if x.rank() != 3 || x.dtype() != DType::F32 {
            return Some(format!("needs f32[batch, time, features], got {}", x.ty()));
        }
        if !(0.0..=1.0).contains(&self.dropout) {
            return Some(format!(
                "the probability of dropout must lie between 0 and 1, got {}",
                self.dropout
            ));
        }
        let batch = x.shape()[0];
        if let Some(lengths) = start.lengths
            && (lengths.shape().to_vec() != [batch] || lengths.dtype() != DType::I32)
        {
            return Some(format!("needs lengths i32[{batch}], got {}", lengths.ty()));
        }
        let states = [self.layers * self.directions(), batch, self.hidden];
        for (name, state) in [("hidden", start.hidden), ("cell", start.cell)] {
            if let Some(state) = state
                && (state.shape().to_vec() != states || state.dtype() != DType::F32)
            {
                let [layers, batch, hidden] = states;
                return Some(format!(
                    "needs {name} states f32[{layers}, {batch}, {hidden}], got {}",
                    state.ty()
                ));
            }
        }
        (start.cell.is_some() && self.cell != Cell::Lstm).then(|| "only an LSTM has cell states".into())
    }

    fn run(&self, scope: &Scope, x: &Tensor, start: &Start<'_>) -> Sequences {
        if let Some(message) = self.unfit(x, start) {
            let failed = scope.fail(self.name(), message, x);
            let cell = (self.cell == Cell::Lstm).then(|| failed.clone());
            return Sequences { output: failed.clone(), hidden: failed, cell };
        }
        let time = x.shape()[1];
        let counts = start.lengths.map(|lengths| {
            // [time, batch, 1]
            Tensor::arange(0, i32::try_from(time).unwrap_or(i32::MAX))
                .unsqueeze(1)
                .lt(lengths.unsqueeze(0))
                .unsqueeze(2)
        });
        let mut y = x.transpose(0, 1);
        let mut last: Vec<Vec<Tensor>> = vec![Vec::new(); self.cell.states()];
        for layer in 0..self.layers {
            if layer > 0 && self.dropout > 0.0 && scope.is_training() {
                let kept = scope.uniform(y.shape()).ge(self.dropout);
                let grown = if self.dropout < 1.0 { &y * (1.0 / (1.0 - self.dropout)) } else { &y * 0.0 };
                y = Tensor::select(&kept, &grown, 0.0);
            }
            let mut outputs = Vec::new();
            for direction in 0..self.directions() {
                let place = layer * self.directions() + direction;
                let (states, output) = self.direction(scope, &y, counts.as_ref(), start, place);
                for (all, state) in last.iter_mut().zip(states) {
                    all.push(state);
                }
                outputs.push(output);
            }
            y = match &outputs[..] {
                [one] => one.clone(),
                both => Tensor::concat(&both.iter().collect::<Vec<_>>(), 2),
            };
        }
        let mut states = last.iter().map(|states| Tensor::stack(&states.iter().collect::<Vec<_>>(), 0));
        let hidden = states.next().unwrap_or_else(|| y.clone());
        Sequences { output: y.transpose(0, 1), hidden, cell: states.next() }
    }

    /// One direction of one layer, `place` counting both: the states after the last step, and the hidden states
    /// `[time, batch, hidden]`.
    fn direction(
        &self,
        scope: &Scope,
        x: &Tensor,
        counts: Option<&Tensor>,
        start: &Start<'_>,
        place: usize,
    ) -> (Vec<Tensor>, Tensor) {
        let Options { cell, hidden, bias, .. } = *self;
        let (layer, is_reverse) = (place / self.directions(), place % self.directions() == 1);
        let (batch, inputs) = (x.shape()[1], x.shape()[2]);
        let suffix = format!("l{layer}{}", if is_reverse { "_reverse" } else { "" });
        let reach = 1.0 / (hidden as f32).sqrt();
        let rows = cell.gates() * hidden;
        let init = || Init::uniform(-reach, reach);
        let weight = scope.parameter(&format!("weight_ih_{suffix}"), [rows, inputs], init());
        let own = scope.parameter(&format!("weight_hh_{suffix}"), [rows, hidden], init());
        let input = x.linear(&weight);
        // Added within the loop, where the input is read anyway.
        let (mut input_bias, mut own_bias) = (None, None);
        if bias {
            let first = scope.parameter(&format!("bias_ih_{suffix}"), [rows], init());
            let second = scope.parameter(&format!("bias_hh_{suffix}"), [rows], init());
            if cell == Cell::Gru {
                (input_bias, own_bias) = (Some(first), Some(second));
            } else {
                input_bias = Some(first + second);
            }
        }
        let given = [start.hidden, start.cell];
        let initial: Vec<Tensor> = given[..cell.states()]
            .iter()
            .map(|state| state.map_or_else(|| Tensor::zeros([batch, hidden]), |state| state.at(0, place)))
            .collect();
        let step = |states: &[Tensor], slices: &[Tensor]| {
            let input = input_bias.as_ref().map_or(slices[0].clone(), |bias| &slices[0] + bias);
            let mut next = cell.step(&input, states, &own, own_bias.as_ref());
            let mut output = next[0].clone();
            if let Some(counts) = slices.get(1) {
                output = Tensor::select(counts, &output, 0.0);
                for (next, before) in next.iter_mut().zip(states) {
                    *next = Tensor::select(counts, &*next, before);
                }
            }
            (next, vec![output])
        };
        let initial: Vec<&Tensor> = initial.iter().collect();
        let stacked: Vec<&Tensor> = std::iter::once(&input).chain(counts).collect();
        let (states, mut outputs) =
            if is_reverse { scan_reverse(&initial, &stacked, step) } else { scan(&initial, &stacked, step) };
        (states, outputs.swap_remove(0))
    }

    /// What a layer gives in a row of layers: the outputs, or the last hidden states of the last layer side by side.
    fn forward(&self, scope: &Scope, x: &Tensor, last: bool) -> Tensor {
        let Sequences { output, hidden, .. } = self.run(scope, x, &Start::default());
        if !last || hidden.error().is_some() {
            return output;
        }
        let count = self.directions();
        let first = self.layers.saturating_sub(1) * count;
        let states: Vec<Tensor> = (first..first + count).map(|place| hidden.at(0, place)).collect();
        Tensor::concat(&states.iter().collect::<Vec<_>>(), 1)
    }
}

macro_rules! recurrent_layer {
    ($(#[$doc:meta])* $type:ident, $function:ident, $cell:expr, { $($extra:ident: $extra_type:ty = $extra_value:expr),* }) => {
        #[doc = concat!("A recurrent layer. See [`", stringify!($function), "`].")]
        #[derive(Clone, Debug)]
        pub struct $type {
            hidden: usize,
            layers: usize,
            bidirectional: bool,
            dropout: f32,
            bias: bool,
            last: bool,
            $($extra: $extra_type,)*
            site: &'static Location<'static>,
        }

        $(#[$doc])*
        #[track_caller]
        pub fn $function(hidden: usize) -> $type {
            $type {
                hidden,
                layers: 1,
                bidirectional: false,
                dropout: 0.0,
                bias: true,
                last: false,
                $($extra: $extra_value,)*
                site: Location::caller(),
            }
        }

        impl $type {
            /// How many layers stand on each other. Default 1.
            #[must_use]
            pub fn layers(mut self, layers: usize) -> Self {
                self.layers = layers;
                self
            }

            /// Whether each layer also reads the sequences from their ends. Default `false`.
            #[must_use]
            pub fn bidirectional(mut self, bidirectional: bool) -> Self {
                self.bidirectional = bidirectional;
                self
            }

            /// The probability of dropout between layers, in training. Default 0.
            #[must_use]
            pub fn dropout(mut self, probability: f32) -> Self {
                self.dropout = probability;
                self
            }

            /// Whether there are biases. Default `true`.
            #[must_use]
            pub fn bias(mut self, bias: bool) -> Self {
                self.bias = bias;
                self
            }

            /// In a row of layers, gives the last hidden states of the last layer, `[batch, directions · hidden]`, in
            /// place of those after each step.
            #[must_use]
            pub fn last(mut self) -> Self {
                self.last = true;
                self
            }

            /// The layer with sequences of several lengths, with states to start from, and with the states at the end.
            pub fn run(&self, scope: &Scope, x: &Tensor, start: &Start<'_>) -> Sequences {
                let scope = scope.at(self.site);
                self.options().run(&scope, &scope.bring(x), start)
            }

            fn options(&self) -> Options {
                let Self { hidden, layers, bidirectional, dropout, bias, .. } = *self;
                #[allow(clippy::redundant_closure_call, reason = "the macro's argument")]
                let cell = ($cell)(self);
                Options { cell, hidden, layers, bidirectional, dropout, bias }
            }
        }

        impl Layer for $type {
            fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
                scope.run(self, self.site, x, |scope, x| self.options().forward(scope, x, self.last))
            }

            fn describe(&self) -> String {
                format!("{}({})", stringify!($function), self.hidden)
            }

            fn config(&self) -> Result<Value> {
                self.write_named().map(Value::Table)
            }
        }
    };
}

recurrent_layer! {
    /// A long short-term memory (Hochreiter and Schmidhuber, Neural Computation 9, 1997) over
    /// `[batch, time, features]`, with the hidden states `[batch, time, hidden]` as its output: PyTorch's `nn.LSTM`
    /// with `batch_first`.
    ///
    /// ```text
    /// i, f, g, o = W·x + b + U·h + c, in four blocks of rows
    /// cell = σ(f)·cell + σ(i)·tanh(g)
    /// h = σ(o)·tanh(cell)
    /// ```
    ///
    /// Parameters of layer N: `weight_ih_lN`, `weight_hh_lN`, `bias_ih_lN`, `bias_hh_lN`, and the same with `_reverse`
    /// behind for the other direction, all uniform within ±1/√hidden. A program for a sequence of 1,000 steps takes no
    /// longer to compile than one for a single step.
    ///
    /// ```
    /// use dropforge::nn::{Start, lstm};
    /// use dropforge::prelude::*;
    ///
    /// let classifier = seq![embedding(65, 16), lstm(32).bidirectional(true).last(), dense(2)];
    /// let network = Network::compile(classifier, ValueType::new(DType::I32, [40]))?;
    /// // Sequences of several lengths, in a layer of one's own.
    /// let several = |scope: &Scope, x: &Tensor| {
    ///     let lengths = x.ne(0).cast(DType::I32).sum(1);
    ///     let x = scope.layer("table", &embedding(65, 16), x);
    ///     lstm(32).run(&scope.enter("lstm"), &x, &Start { lengths: Some(&lengths), ..Start::default() }).output
    /// };
    /// let network = Network::compile(several, ValueType::new(DType::I32, [40]))?;
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    Lstm, lstm, |_: &Lstm| Cell::Lstm, {}
}

recurrent_layer! {
    /// A gated recurrent unit (Cho et al., EMNLP 2014) over `[batch, time, features]`, with the hidden states
    /// `[batch, time, hidden]` as its output: PyTorch's `nn.GRU` with `batch_first`.
    ///
    /// ```text
    /// r, z = σ(W·x + b + U·h + c), in two blocks of rows
    /// n = tanh(V·x + d + r·(T·h + e))
    /// h = (1 − z)·n + z·h
    /// ```
    ///
    /// Parameters are named and start as those of [`lstm`], in the order r, z, n.
    Gru, gru, |_: &Gru| Cell::Gru, {}
}

recurrent_layer! {
    /// A plain recurrent layer (Elman, Cognitive Science 14, 1990) over `[batch, time, features]`, h = tanh(W·x + b +
    /// U·h + c), with the hidden states `[batch, time, hidden]` as its output: PyTorch's `nn.RNN` with `batch_first`.
    ///
    /// Parameters are named and start as those of [`lstm`].
    Rnn, rnn, |layer: &Rnn| if layer.relu { Cell::Relu } else { Cell::Tanh }, { relu: bool = false }
}

impl Rnn {
    /// ReLU in the place of tanh. Default `false`.
    #[must_use]
    pub fn relu(mut self, relu: bool) -> Rnn {
        self.relu = relu;
        self
    }
}

described! {
    Lstm = "lstm", "a long short-term memory over the middle axis"
        like "nn.LSTM(batch_first=True)" but "lengths instead of packed sequences; no projections",
        { site: Location::caller() };
    hidden as "units": usize, None, (1..).into(), "how many hidden states there are";
    layers: usize, Some(1), (1..).into(), "how many layers stand on each other";
    bidirectional: bool, Some(false), Range::ANY, "whether each layer also reads from the end";
    dropout: f32, Some(0.0), (0.0..=1.0).into(), "probability of dropout between layers";
    bias: bool, Some(true), Range::ANY, "whether there are biases";
    last: bool, Some(false), Range::ANY, "whether only the last hidden states are given";
}

described! {
    Gru = "gru", "a gated recurrent unit over the middle axis"
        like "nn.GRU(batch_first=True)" but "lengths instead of packed sequences", { site: Location::caller() };
    hidden as "units": usize, None, (1..).into(), "how many hidden states there are";
    layers: usize, Some(1), (1..).into(), "how many layers stand on each other";
    bidirectional: bool, Some(false), Range::ANY, "whether each layer also reads from the end";
    dropout: f32, Some(0.0), (0.0..=1.0).into(), "probability of dropout between layers";
    bias: bool, Some(true), Range::ANY, "whether there are biases";
    last: bool, Some(false), Range::ANY, "whether only the last hidden states are given";
}

described! {
    Rnn = "rnn", "a plain recurrent layer over the middle axis"
        like "nn.RNN(batch_first=True)" but "lengths instead of packed sequences", { site: Location::caller() };
    hidden as "units": usize, None, (1..).into(), "how many hidden states there are";
    layers: usize, Some(1), (1..).into(), "how many layers stand on each other";
    bidirectional: bool, Some(false), Range::ANY, "whether each layer also reads from the end";
    dropout: f32, Some(0.0), (0.0..=1.0).into(), "probability of dropout between layers";
    bias: bool, Some(true), Range::ANY, "whether there are biases";
    last: bool, Some(false), Range::ANY, "whether only the last hidden states are given";
    relu: bool, Some(false), Range::ANY, "whether ReLU stands in the place of tanh";
}
