//! Every layer against PyTorch: forward in evaluation and training, gradients of parameters and input, running
//! statistics.

use crate::compare::assert_close;
use crate::golden::Golden;
use dropforge::nn::*;
use dropforge::prelude::*;

/// Adds a trained offset that starts at zero; its gradient is the input's, summed over the batch.
fn shifted(scope: &Scope, x: &Tensor) -> Tensor {
    x + scope.parameter("offset", &x.shape()[1..], Init::constant(0.0))
}

#[track_caller]
fn check(name: &str, layer: impl Layer + 'static) {
    let golden = Golden::read(&format!("layers/{name}"));
    let (x, weights) = (golden.tensor("x"), golden.tensor("weights"));
    let weighted = |y: &Tensor, weights: &Tensor| (y * weights).sum(..);
    let net = seq!["shift" => shifted, "layer" => layer];
    // With a rate of 1 a step moves each parameter by its gradient.
    let mut step = compile(net, weighted, Sgd::new(1.0), (&x, &weights)).unwrap();
    for (key, array) in golden.under("state.") {
        step.states().write(&format!("layer.{key}"), array).unwrap();
    }
    let predicted = step.predict(golden.tensor("x")).unwrap().to_array().unwrap();
    assert_eq!(predicted.shape(), golden.array("y_eval").shape(), "{name}: shape");
    assert_close(&format!("{name} y"), predicted.as_f32().unwrap(), golden.floats("y_eval"), 1e-5);

    let names: Vec<String> = step.states().iter().map(|state| state.name().to_string()).collect();
    let before: Vec<Array> = names.iter().map(|name| step.states().read(name).unwrap()).collect();
    let loss = step.run((&x, &weights)).unwrap().loss().unwrap();
    assert_close(&format!("{name} loss"), &[loss], golden.floats("loss"), 1e-5);
    for (state, before) in names.iter().zip(&before) {
        let key = state.strip_prefix("layer.").or(state.strip_prefix("shift.")).unwrap_or(state);
        let after = step.states().read(state).unwrap();
        if golden.has(&format!("gradient.{key}")) {
            let moved: Vec<f32> =
                before.as_f32().unwrap().iter().zip(after.as_f32().unwrap()).map(|(b, a)| b - a).collect();
            let expected = golden.floats(&format!("gradient.{key}"));
            assert_close(&format!("{name} gradient of {key}"), &moved, expected, 3e-5);
        } else if golden.has(&format!("after.{key}")) {
            let expected = golden.floats(&format!("after.{key}"));
            assert_close(&format!("{name} {key}"), after.as_f32().unwrap(), expected, 1e-6);
        } else {
            let own = state == "step" || state.starts_with("metric.");
            assert!(own, "{name}: PyTorch has no {state}");
        }
    }
}

#[test]
fn dense_layers() {
    check("dense", dense(3));
    check("dense_no_bias", dense(3).bias(false));
    check("dense_three_axes", dense(3));
}

#[test]
fn convolutions() {
    check("conv", conv(4, 3));
    check("conv_same", conv(4, 5).same());
    check("conv_same_even", conv(3, 4).same());
    check("conv_stride_padding", conv(4, [3, 2]).stride([2, 3]).padding([1, 0]));
    check("conv_dilation_groups", conv(6, 3).dilation(2).groups(2).bias(false));
}

#[test]
fn pooling() {
    check("max_pool", max_pool(2));
    check("max_pool_overlapping", max_pool(3).stride(2).padding(1));
    check("avg_pool", avg_pool(2));
    check("avg_pool_padded", avg_pool(3).stride(2).padding(1));
    check("global_avg_pool", global_avg_pool());
    check("flatten", flatten());
}

#[test]
fn normalisation() {
    check("batch_norm_rows", batch_norm());
    check("batch_norm_images", batch_norm().momentum(0.3).eps(1e-3));
    check("layer_norm", layer_norm());
}

#[test]
fn activations() {
    check("relu", relu());
    check("sigmoid", sigmoid());
    check("tanh", tanh());
    check("gelu", gelu());
    check("gelu_tanh", gelu_tanh());
    check("silu", silu());
    check("leaky_relu", leaky_relu(0.1));
    check("elu", elu(0.7));
    check("softmax", softmax(-1));
    check("log_softmax", log_softmax(1));
}

#[test]
fn residuals() {
    check("residual", residual(dense(5)));
    check("residual_shortcut", residual(conv(4, 3).stride(2).padding(1)).shortcut(conv(4, 1).stride(2)));
}

#[test]
fn embedding_picks_rows_and_adds_up_their_gradients() {
    let table = Array::new([4, 2], dropforge::Data::F32((0..8).map(|x| x as f32).collect())).unwrap();
    let indices = Tensor::from([[1, 3, 1], [0, 1, 3]]);
    let weights = Tensor::ones([2, 3, 2]);
    let weighted = |y: &Tensor, weights: &Tensor| (y * weights).sum(..);
    let mut step = compile(embedding(4, 2), weighted, Sgd::new(1.0), (&indices, &weights)).unwrap();
    step.states().write("weight", &table).unwrap();
    let y = step.predict(&indices).unwrap().to_array().unwrap();
    assert_eq!(y.as_f32().unwrap(), [2.0, 3.0, 6.0, 7.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 6.0, 7.0]);
    step.run((&indices, &weights)).unwrap();
    let after = step.states().read("weight").unwrap();
    assert_eq!(after.as_f32().unwrap(), [-1.0, 0.0, -1.0, 0.0, 4.0, 5.0, 4.0, 5.0]);
}

#[test]
fn names_are_positions_or_given_names() {
    let block = seq![dense(4), relu()];
    let net =
        seq![conv(2, 3), flatten(), "body" => residual(seq!["inner" => dense(2)].push(dense(32))), block];
    let network = Network::compile(net, [1, 6, 6]).unwrap();
    let names: Vec<&str> = network.states().iter().map(|state| state.name()).collect();
    let expected = [
        "0.weight",
        "0.bias",
        "body.inner.weight",
        "body.inner.bias",
        "body.1.weight",
        "body.1.bias",
        "3.0.weight",
        "3.0.bias",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_summary_lists_layers_in_order() {
    let net = seq![
        conv(6, 5).same(),
        relu(),
        max_pool(2),
        conv(16, 5),
        relu(),
        max_pool(2),
        flatten(),
        dense(120),
        relu(),
        dense(84),
        relu(),
        dense(10)
    ];
    let network = Network::compile(net, [1, 28, 28]).unwrap();
    assert_eq!(network.parameter_count(), 61_706);
    let expected = "\
layer  kind             output           parameters
0      conv(6, 5) same  [1, 6, 28, 28]          156
1      relu             [1, 6, 28, 28]            0
2      max_pool(2)      [1, 6, 14, 14]            0
3      conv(16, 5)      [1, 16, 10, 10]       2,416
4      relu             [1, 16, 10, 10]           0
5      max_pool(2)      [1, 16, 5, 5]             0
6      flatten          [1, 400]                  0
7      dense(120)       [1, 120]             48,120
8      relu             [1, 120]                  0
9      dense(84)        [1, 84]              10,164
10     relu             [1, 84]                   0
11     dense(10)        [1, 10]                 850
61,706 parameters, 246,824 bytes";
    assert_eq!(network.summary().to_string(), expected);
}

#[test]
fn further_activations() {
    check("relu6", relu6());
    check("celu", celu(0.7));
    check("selu", selu());
    check("hard_tanh", hard_tanh(-0.5, 0.8));
    check("hard_sigmoid", hard_sigmoid());
    check("hard_swish", hard_swish());
    check("mish", mish());
    check("log_sigmoid", log_sigmoid());
    check("softplus", softplus());
    check("softsign", softsign());
    check("tanh_shrink", tanh_shrink());
    check("soft_shrink", soft_shrink(0.3));
    check("hard_shrink", hard_shrink(0.3));
    check("threshold", threshold(0.2, -1.5));
    check("glu", glu(-1));
    check("glu_channels", glu(1));
    check("swiglu", swiglu(-1));
    check("prelu", prelu());
    check("prelu_channels", prelu().per_channel(true));
}

#[test]
fn normalisation_of_samples() {
    check("group_norm", group_norm(3));
    check("group_norm_rows", group_norm(2).eps(1e-3));
    check("group_norm_plain", group_norm(1).affine(false));
    check("instance_norm", instance_norm());
    check("instance_norm_affine", instance_norm().affine(true).eps(1e-3));
    check("rms_norm", rms_norm());
    check("rms_norm_plain", rms_norm().affine(false).eps(1e-3));
}

#[test]
fn sizes_of_images() {
    check("pixel_shuffle", pixel_shuffle(2));
    check("pixel_unshuffle", pixel_unshuffle(3));
    check("upsample_nearest", upsample_nearest(3));
    check("upsample_bilinear", upsample_bilinear(2, false));
    check("upsample_bilinear_corners", upsample_bilinear(3, true));
}

#[test]
fn recurrent_layers() {
    check("lstm", lstm(6));
    check("lstm_one_step", lstm(1));
    check("lstm_deep", lstm(4).layers(2).bidirectional(true));
    check("lstm_no_bias", lstm(4).bias(false));
    check("lstm_last", lstm(4).bidirectional(true).last());
    check("gru", gru(6));
    check("gru_deep", gru(4).layers(2).bidirectional(true));
    check("gru_no_bias", gru(4).bias(false));
    check("rnn", rnn(6));
    check("rnn_relu", rnn(3).relu(true));
    check("rnn_deep", rnn(4).layers(2).bidirectional(true));
}

/// Sequences of these lengths, from states that are parameters; outputs and last states in one row for each sequence.
fn several(
    lengths: &'static [i32],
    states: usize,
    has_cell: bool,
    run: impl Fn(&Scope, &Tensor, &Start<'_>) -> Sequences + Send + Sync + 'static,
) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let (count, batch) = (lengths.len(), x.shape()[0]);
        let lengths = Tensor::from_slice(lengths, [count]).slice(0, ..batch);
        let state =
            |name: &str| scope.parameter(name, [states, count, 4], Init::constant(0.0)).slice(1, ..batch);
        let hidden = state("hidden");
        let cell = has_cell.then(|| state("cell"));
        let start = Start { lengths: Some(&lengths), hidden: Some(&hidden), cell: cell.as_ref() };
        let Sequences { output, hidden, cell } = run(&scope.enter("rnn"), x, &start);
        let row = |state: &Tensor| state.transpose(0, 1).flatten(1);
        let rows = [Some(output.flatten(1)), Some(row(&hidden)), cell.as_ref().map(row)];
        Tensor::concat(&rows.iter().flatten().collect::<Vec<_>>(), 1)
    }
}

#[test]
fn recurrent_layers_of_several_lengths() {
    let layer = lstm(4).layers(2).bidirectional(true);
    check("lstm_lengths", several(&[5, 2, 1, 4], 4, true, move |scope, x, start| layer.run(scope, x, start)));
    let layer = gru(4).bidirectional(true);
    check("gru_lengths", several(&[3, 5, 1], 2, false, move |scope, x, start| layer.run(scope, x, start)));
    let layer = rnn(4);
    check("rnn_lengths", several(&[2, 4, 3], 1, false, move |scope, x, start| layer.run(scope, x, start)));
}

/// A thousand steps take no longer to compile than ten, and run.
#[test]
fn compiling_does_not_grow_with_the_steps() {
    let seconds = |time: usize| {
        let (x, y) = (Tensor::zeros([2, time, 3]), Tensor::from_vec(vec![0; 2], [2]));
        let start = std::time::Instant::now();
        let mut step =
            compile(seq![lstm(8).last(), dense(2)], cross_entropy(), Adam::new(1e-2), (&x, &y)).unwrap();
        let compiled = start.elapsed().as_secs_f64();
        let first = step.run((&x, &y)).unwrap().loss().unwrap();
        let last = (0..20).map(|_| step.run((&x, &y)).unwrap().loss().unwrap()).last().unwrap();
        assert!(last < first, "{last} after {first}");
        compiled
    };
    let short = (0..3).map(|_| seconds(10)).fold(f64::INFINITY, f64::min);
    let long = (0..3).map(|_| seconds(1000)).fold(f64::INFINITY, f64::min);
    assert!(long < 3.0 * short + 0.05, "{long} s for 1,000 steps, {short} s for 10");
}

#[test]
fn recurrent_layers_say_what_does_not_fit() {
    let message = |layer: Lstm, shape: &[usize]| Network::compile(layer, shape).err().unwrap().to_string();
    assert!(message(lstm(4), &[5]).contains("needs f32[batch, time, features], got f32[1, 5]"));
    assert!(message(lstm(4).dropout(1.5), &[5, 2]).contains("must lie between 0 and 1, got 1.5"));
}
