//! Every layer against PyTorch: forward in evaluation and training, gradients of parameters and input, running
//! statistics.

use crate::compare::assert_close;
use crate::golden::Golden;
use dropforge::nn::PaddingMode::{Circular, Reflect, Replicate};
use dropforge::nn::*;
use dropforge::prelude::*;
use std::sync::Arc;

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
    check("sequence", seq![dense(3), tanh(), dense(4)]);
    check("repeat", repeat(2, dense(5)));
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
fn the_summary_says_which_layers_are_read() {
    let net = seq![
        "first" => dense(4),
        "block" => residual(seq![dense(4), dropout(0.5), relu()]),
        |scope: &Scope, x: &Tensor| {
            let (left, right) = (scope.layer("left", &dense(3), x), scope.layer("right", &dense(3), x));
            left + right
        },
        "last" => dense(2)
    ];
    let summary = NetworkBuilder::new(net).summary([5]).unwrap();
    let read = |path: &str| -> Vec<&str> {
        let row =
            summary.rows.iter().find(|row| row.path.ends_with(path)).unwrap_or_else(|| panic!("no {path}"));
        row.reads.iter().map(|&index| summary.rows[index].path.as_str()).collect()
    };
    let paths: Vec<&str> = summary.rows.iter().map(|row| row.path.as_str()).collect();
    assert!(read("first").is_empty(), "{paths:?}");
    assert_eq!(read("block.0"), ["first"]);
    // Dropout changes nothing here, and stands between all the same.
    assert_eq!(read("block.1"), ["block.0"]);
    assert_eq!(read("block.2"), ["block.1"]);
    assert_eq!(read("left"), ["first", "block.2"]);
    assert_eq!(read("right"), read("left"));
    assert_eq!(
        read("last").iter().map(|path| path.rsplit('.').next().unwrap()).collect::<Vec<_>>(),
        ["left", "right"]
    );
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

#[test]
fn convolutions_of_series_and_volumes() {
    check("conv1d", conv1d(4, 3));
    check("conv1d_options", conv1d(6, 3).stride(2).padding(2).dilation(2).groups(2).bias(false));
    check("conv1d_same", conv1d(3, 4).same());
    check("conv3d", conv3d(4, [2, 3, 2]));
    check("conv3d_options", conv3d(6, 3).stride([2, 1, 2]).padding([1, 0, 2]).dilation([1, 2, 1]).groups(2));
}

#[test]
fn padding_of_convolutions() {
    check("conv_reflect", conv(4, 3).padding([1, 2]).padding_mode(Reflect));
    check("conv_replicate", conv(4, 3).same().padding_mode(Replicate));
    check("conv_circular", conv(4, 3).stride(2).padding(1).padding_mode(Circular));
    check("conv_sides", conv(4, 3).stride([1, 4]).padding_sides([[1, 0], [0, 2]]));
    check("pad", pad(&[[0, 3], [1, 2]]));
    check("pad_constant", pad(&[[2, -1]]).value(1.5));
    check("pad_reflect", pad(&[[3, 0], [1, 2]]).mode(Reflect));
    check("pad_replicate", pad(&[[1, 1], [3, 0], [1, 2]]).mode(Replicate));
    check("pad_circular", pad(&[[3, 4]]).mode(Circular));
}

#[test]
fn transposed_convolutions() {
    check("conv_transpose", conv_transpose(4, 3));
    let options = conv_transpose(6, [3, 4]).stride([2, 3]).padding([1, 2]).output_padding([1, 2]);
    check("conv_transpose_options", options.dilation([2, 1]).groups(2));
    check("conv_transpose_pixel", conv_transpose(2, 2).stride(2).bias(false));
    check("conv_transpose1d", conv_transpose1d(2, 5).stride(3).padding(1).output_padding(1));
}

#[test]
fn further_pooling() {
    check("max_pool1d", max_pool1d(3).stride(2).padding(1));
    check("max_pool3d", max_pool3d([2, 2, 3]).stride([1, 2, 2]).padding([1, 0, 1]));
    check("max_pool_ceil", max_pool(3).stride(2).ceil_mode(true));
    check("max_pool_gaps", max_pool(2).stride(3).ceil_mode(true));
    check("avg_pool1d", avg_pool1d(4).stride(3).padding(2).ceil_mode(true));
    check("avg_pool3d", avg_pool3d(3).stride(2).padding(1).count_include_pad(false));
    check("avg_pool_ceil", avg_pool(3).stride(2).padding(1).ceil_mode(true));
    let valid = avg_pool([3, 2]).stride(2).padding(1).ceil_mode(true).count_include_pad(false);
    check("avg_pool_valid", valid);
    let positive = |scope: &Scope, x: &Tensor| lp_pool(3.0, 2).forward(scope, &(x.abs() + 0.5));
    check("lp_pool", positive);
    check("lp_pool_ceil", lp_pool(2.0, 3).stride(Some([2, 2])).ceil_mode(true));
    check("adaptive_avg_pool", adaptive_avg_pool([3, 2]));
    check("adaptive_avg_pool_even", adaptive_avg_pool(2));
    check("adaptive_avg_pool_larger", adaptive_avg_pool(5));
    check("adaptive_max_pool", adaptive_max_pool([3, 2]));
    check("adaptive_max_pool_larger", adaptive_max_pool([4, 3]));
    check("global_max_pool", global_max_pool());
}

#[test]
fn weights_that_are_made_of_others() {
    check("weight_norm", weight_norm(dense(3)));
    check("weight_norm_conv", weight_norm(conv(4, 3)));
    check("spectral_norm", spectral_norm(dense(3)));
    check("spectral_norm_conv", spectral_norm(conv(4, 3)).iterations(2));
    let network = Network::compile(seq![spectral_norm(weight_norm(dense(3)))], [4]);
    assert!(network.is_ok(), "one rule at a time: the inner one");
}

/// A layer with a norm starts as the layer alone would, and with a spectral norm of 1.
#[test]
fn normed_weights_start_where_they_should() {
    let x = Tensor::eye(6);
    let outputs = |net: Sequential| {
        let mut network = Network::compile(net, [6]).unwrap();
        let y = network.predict(&x).unwrap().to_vec::<f32>().unwrap();
        (network, y)
    };
    let (network, normed) = outputs(seq![weight_norm(dense(4).bias(false))]);
    let direction = network.states().read("0.parametrizations.weight.original1").unwrap();
    let weight = Tensor::from_array(direction).t().to_vec::<f32>().unwrap();
    assert_close("weight norm", &normed, &weight, 1e-6);
    let (_, divided) = outputs(seq![spectral_norm(dense(4).bias(false))]);
    let y = Tensor::from_vec(divided, [6, 4]);
    let mut direction = Tensor::ones([4]);
    for _ in 0..100 {
        direction = y.t().matmul(&y.matmul(&direction)).normalize(2.0, 0, 1e-12);
    }
    let largest = y.matmul(&direction).square().sum(..).sqrt().item::<f32>().unwrap();
    assert!((0.9..1.1).contains(&largest), "{largest}");
}

#[test]
fn layers_side_by_side() {
    check("bilinear", bilinear(4));
    check("unflatten", unflatten([2, 1, 4]));
    check("bilinear_uneven", bilinear(2).first(Some(1)).bias(false));
    let one = |layer: Box<dyn Layer>| -> Arc<dyn Layer> { Arc::from(layer) };
    check("parallel", parallel(vec![one(Box::new(conv(4, 1))), one(Box::new(conv(4, 3).padding(1)))]));
    check("concat", concat(vec![one(Box::new(conv(4, 1))), one(Box::new(max_pool(3).stride(1).padding(1)))]));
    check("tied", seq![dense(4).bias(false), tied("layer.0.weight").transposed(true)]);
}

#[test]
fn copies_may_share_their_parameters() {
    let count = |shared: bool| {
        let net = seq![repeat(3, seq![dense(4), tanh()]).shared(shared)];
        Network::compile(net, [4]).unwrap().parameter_count()
    };
    assert_eq!((count(false), count(true)), (3 * 20, 20));
}

#[test]
fn positions() {
    check("sinusoidal_positions", sinusoidal_positions());
    check("learned_positions", learned_positions(8));
    check("rotary_positions", rotary_positions());
}

/// 5 queries and keys, or 3 and 4, of which some pairs do not see each other.
fn hidden(time: usize, keys: usize) -> Tensor {
    let pairs = (0..time).flat_map(|i| (0..keys).map(move |j| (i + j) % 3 == 0)).collect();
    Tensor::from_vec::<bool>(pairs, [time, keys])
}

#[test]
fn attention() {
    check("multi_head_attention", multi_head_attention(2));
    check("multi_head_attention_plain", multi_head_attention(3).bias(false));
    check("multi_head_attention_causal", multi_head_attention(4).causal(true));
    check("multi_head_attention_grouped", multi_head_attention(4).key_heads(Some(2)));
    check("multi_head_attention_rotary", multi_head_attention(2).positions(Positions::Rotary));
    check("multi_head_attention_alibi", multi_head_attention(2).positions(Positions::Alibi));
    check("multi_head_attention_hidden", |scope: &Scope, x: &Tensor| {
        multi_head_attention(2).of(scope, x, x, x, Some(&hidden(5, 5)))
    });
    check("multi_head_attention_added", |scope: &Scope, x: &Tensor| {
        let numbers =
            (0..5).flat_map(|i| (0..5).map(move |j| ((7 * i + 3 * j) % 5) as f32 / 2.0 - 1.0)).collect();
        multi_head_attention(2).of(scope, x, x, x, Some(&Tensor::from_vec(numbers, [5, 5])))
    });
    check("multi_head_attention_cross", |scope: &Scope, x: &Tensor| {
        let (query, memory) = (x.slice(1, ..3), x.slice(1, 3..));
        multi_head_attention(2).of(scope, &query, &memory, &memory, None)
    });
    check("multi_head_attention_widths", |scope: &Scope, x: &Tensor| {
        let (query, memory) = (x.slice(1, ..3), x.slice(1, 3..));
        multi_head_attention(2).of(scope, &query, &memory.slice(2, ..5), &memory.slice(2, 2..), None)
    });
}

/// A position that sees nothing gets the bias of the last product alone, whatever else is masked, and gradients stay
/// finite.
#[test]
fn what_sees_nothing_is_zero() {
    let net = |scope: &Scope, x: &Tensor| {
        let unseen = Tensor::from_vec::<bool>(vec![true, true, false, true], [2, 2]);
        multi_head_attention(2).of(scope, x, x, x, Some(&unseen))
    };
    let x = Tensor::from_vec((0..8).map(|x| x as f32 * 0.3).collect(), [1, 2, 4]);
    let square = |y: &Tensor, t: &Tensor| ((y - t) * (y - t)).mean(..);
    let mut step = compile(net, square, Sgd::new(0.1), (&x, &x)).unwrap();
    let y = step.predict(&x).unwrap().to_vec::<f32>().unwrap();
    assert!(y[..4] == [0.0; 4] && y[4..].iter().all(|y| *y != 0.0), "{y:?}");
    step.run((&x, &x)).unwrap();
    let after = step.states().read("in_proj_weight").unwrap();
    assert!(after.as_f32().unwrap().iter().all(|x| x.is_finite()));
}

#[test]
fn blocks_of_transformers() {
    check("transformer_encoder", transformer_encoder(2).hidden(12).dropout(0.0));
    let options = transformer_encoder(4).hidden(12).dropout(0.0).norm_first(true).eps(1e-3).causal(true);
    check("transformer_encoder_options", options.activation(Arc::new(gelu())));
    for (name, norm_first) in [("transformer_decoder", false), ("transformer_decoder_norm_first", true)] {
        check(name, move |scope: &Scope, x: &Tensor| {
            let block = transformer_decoder(2).hidden(12).dropout(0.0).norm_first(norm_first);
            block.of(scope, &x.slice(1, ..3), &x.slice(1, 3..), [None, Some(&hidden(3, 4))])
        });
    }
}

#[test]
fn a_padding_index_stays_zero() {
    let indices = Tensor::from([[1, 3, 1], [0, 1, 3]]);
    let weights = Tensor::ones([2, 3, 2]);
    let weighted = |y: &Tensor, weights: &Tensor| (y * weights).sum(..);
    let table = embedding(4, 2).padding_index(Some(3));
    let mut step = compile(table, weighted, Sgd::new(1.0), (&indices, &weights)).unwrap();
    let before = step.states().read("weight").unwrap().as_f32().unwrap().to_vec();
    step.run((&indices, &weights)).unwrap();
    let after = step.states().read("weight").unwrap().as_f32().unwrap().to_vec();
    let moved: Vec<f32> = before.iter().zip(&after).map(|(b, a)| b - a).collect();
    assert_eq!(before[6..], [0.0, 0.0]);
    assert_close("moved", &moved, &[1.0, 1.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0], 1e-6);
}
