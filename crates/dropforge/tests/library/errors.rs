//! Errors name the operation, the shapes, the layer and the user's line; nothing panics.

use dropforge::prelude::*;

/// Asserts an error's text, in which `LINE` stands for this file and the line of `at`.
#[track_caller]
fn check<T>(result: Result<T>, expected: &str, at: u32) {
    let error = result.err().expect("an error").to_string();
    assert_eq!(
        error.replace('\\', "/"),
        expected.replace("LINE", &format!("{}:{at}", file!().replace('\\', "/")))
    );
}

#[test]
fn operations_name_shapes_and_line() {
    let (a, b) = (Tensor::zeros([128, 784]), Tensor::zeros([512, 256]));
    let line = line!() + 1;
    let y = a.matmul(&b).relu().sum(..) * 2.0;
    check(y.to_vec::<f32>(), "matmul: inner sizes differ, [128, 784] · [512, 256], at LINE", line);
    check(y.item::<f32>(), "matmul: inner sizes differ, [128, 784] · [512, 256], at LINE", line);
    check(y.backward(), "matmul: inner sizes differ, [128, 784] · [512, 256], at LINE", line);

    let cases: Vec<(Tensor, &str)> = vec![
        (&a + &b, "add: [128, 784] and [512, 256] do not broadcast together"),
        (&a - &b.cast(DType::I32).slice(0, ..1).slice(1, ..1), "sub: types differ, f32 and i32; cast one"),
        (
            Tensor::select(&a.gt(0.0), 0.5, Tensor::from([1])),
            "select: 0.5 is no i32; cast the tensor to f32 first",
        ),
        (a.reshape([3, -1]), "reshape: [128, 784] does not go into [3, -1]"),
        (a.reshape([-1, -1]), "reshape: [128, 784] does not go into [-1, -1]"),
        (a.reshape([5]), "reshape: [128, 784] has 100352 elements, [5] has 5"),
        (a.sum(2), "sum: there is no axis 2 in [128, 784]"),
        (a.sum_keep([0, -2]), "sum_keep: axis 0 of [128, 784] is named twice"),
        (a.mean(-3), "mean: there is no axis -3 in [128, 784]"),
        (Tensor::from([1]).mean(..), "mean: is not defined for i32[1]; cast to f32 first"),
        (a.softmax(7), "softmax: there is no axis 7 in [128, 784]"),
        (a.transpose(0, 2), "transpose: there is no axis 2 in [128, 784]"),
        (a.permute(&[0, 0]), "permute: [0, 0] is not an order of the axes of [128, 784]"),
        (a.slice(0, 100..200), "slice: 100..200 step 1 is outside axis 0 of [128, 784]"),
        (a.flatten(3), "flatten: there is no axis 3 in [128, 784]"),
        (a.unsqueeze(4), "unsqueeze: there is no place 4 in [128, 784]"),
        (a.broadcast_to([784, 128]), "broadcast_to: [128, 784] does not broadcast to [784, 128]"),
        (Tensor::concat(&[&a, &b], 0), "concat: f32[128, 784] and f32[512, 256] differ outside axis 0"),
        (Tensor::concat(&[], 0), "concat: there is nothing to join"),
        (Tensor::from_vec(vec![1.0, 2.0], [3]), "from_vec: [3] has 3 elements, got 2"),
        (Tensor::from([1]).exp(), "exp: is not defined for i32[1]"),
        (Tensor::from(1.0).matmul(&a), "matmul: a scalar has no axis to contract, [] · [128, 784]"),
        (
            a.conv2d(&b, dropforge::Conv2d::default()),
            "conv2d: needs [batch, channels, height, width], got [128, 784]",
        ),
        (a.global_avg_pool2d(), "global_avg_pool2d: needs [batch, channels, height, width], got [128, 784]"),
        (a.index_select(0, &b), "index_select: indices must be i32, got f32[512, 256]"),
        (a.one_hot(3), "one_hot: indices must be i32, got f32[128, 784]"),
        (a.pick(1, &Tensor::from([1])), "pick: f32[128, 784] has i32 indices of shape [128], got i32[1]"),
        (a.pad(&[1], &[1], 0.0), "pad: needs low, high and interior for each axis of [128, 784]"),
        (Tensor::select(&a, &a, &a), "select: the condition must be bool, got f32[128, 784]"),
        (
            Tensor::zeros([usize::MAX, 2]),
            "broadcast_to: a result of shape [18446744073709551615, 2] is too large",
        ),
    ];
    for (tensor, expected) in cases {
        let error = tensor.to_array().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
        assert!(error.contains(", at ") && error.contains("errors.rs:"), "{error}");
    }
    let line = line!() + 1;
    let read = (a.item::<f32>(), Tensor::from([1]).to_vec::<f32>());
    check(read.0, "item: there must be one element, the shape is [128, 784], at LINE", line);
    check(read.1, "to_vec: the elements are i32, not f32; cast first, at LINE", line);
}

#[test]
fn the_first_error_stays() {
    let line = line!() + 1;
    let poisoned = Tensor::zeros([2, 3]).matmul(&Tensor::zeros([2, 3]));
    let later = (&poisoned + Tensor::zeros([7, 7, 7])).reshape([100, 100]).sum(9);
    check(later.to_array(), "matmul: inner sizes differ, [2, 3] · [2, 3], at LINE", line);
    assert!(later.error().is_some());
    assert!(later.to_string().contains("inner sizes differ"));
}

#[test]
fn layers_name_their_path_and_the_line_that_made_them() {
    let line = line!() + 1;
    let conv_line = conv(4, 5);
    check(
        Network::compile(seq![relu(), "features" => seq![conv_line]], [3, 4, 4]),
        "conv2d: a kernel reaching over 5 is larger than the input, which is 4 with its padding, in features.0 (LINE)",
        line,
    );
    let line = line!() + 1;
    let net = seq!["fc1" => dense(4), "pool" => max_pool(2)];
    check(
        Network::compile(net, [6]),
        "max_pool: needs f32[batch, channels, height, width], got f32[1, 4], in pool (LINE)",
        line,
    );
}

#[test]
fn functions_name_their_path_and_the_line_of_the_operation() {
    fn mlp(scope: &Scope, x: &Tensor) -> Tensor {
        let x = scope.layer("fc1", &dense(512), x).relu();
        scope.layer(
            "fc2",
            &|scope: &Scope, x: &Tensor| {
                let weight = scope.parameter("weight", [256, 10], Init::weight());
                x.matmul(&weight)
            },
            &x,
        )
    }
    let line = line!() - 5;
    let expected = "matmul: inner sizes differ, [1, 512] · [256, 10], in fc2 (LINE)";
    check(Network::compile(mlp, [784]), expected, line);
}

#[test]
fn losses_name_the_line_that_made_them() {
    let (x, y) = (Tensor::zeros([4, 3]), Tensor::zeros([4, 1]));
    let expected =
        "mse: prediction [4, 2] and target [4, 1] must have one shape; reshape one, in loss (LINE)";
    check(compile(dense(2), mse(), Sgd::new(0.1), (&x, &y)), expected, line!());
    let expected = "cross_entropy: needs scores f32[batch, classes, ..] and classes i32[batch, ..], got f32[4, 2] and \
                    f32[4, 1]; give the class of each sample as i32[batch], as a table does with `classes=yes`, or take a \
                    loss of numbers such as mse, in loss (LINE)";
    check(compile(dense(2), cross_entropy(), Sgd::new(0.1), (&x, &y)), expected, line!());
    let per_sample = |y: &Tensor, t: &Tensor| (y - t).square();
    let error = compile(dense(2), per_sample, Sgd::new(0.1), (&x, &y)).err().unwrap().to_string();
    assert!(error.starts_with("loss: must give one float, got f32[4, 2]; take its mean, at "), "{error}");
}

#[test]
fn a_parameter_without_gradient_is_an_error() {
    let (x, y) = (Tensor::zeros([4, 3]), Tensor::zeros([4, 2]));
    fn forgetful(scope: &Scope, x: &Tensor) -> Tensor {
        let _unused = scope.parameter("unused", [3], Init::constant(0.0));
        x * 1.0
    }
    let line = line!() - 3;
    let net = seq!["part" => forgetful, dense(2)];
    check(
        compile(net, mse(), Sgd::new(0.1), (&x, &y)),
        "gradient: the loss does not depend on part.unused through differentiable operations, in part (LINE)",
        line,
    );
    let error = compile(relu(), mse(), Sgd::new(0.1), (&x, &x)).err().unwrap().to_string();
    assert_eq!(error, "the network has no parameters, so there is nothing to train");
    let slope = |y: &Tensor, _: &Tensor| {
        let q = y.reshape([1, 1, 4, 2]);
        let attended = q.attention(&q, &q, false);
        gradients(&attended.sum(..), &[&q]).remove(0).sum(..)
    };
    let line = line!() - 3;
    check(
        compile(dense(2), slope, Sgd::new(0.1), (&x, &y)),
        "attention_gradient: has no gradient rule for this use; detach the value or compose it from other operations, \
         at LINE",
        line,
    );
}

#[test]
fn states_are_declared_once_written_once_and_used() {
    let (x, y) = (Tensor::zeros([4, 3]), Tensor::zeros([4, 2]));
    let step = |net: fn(&Scope, &Tensor) -> Tensor| compile(net, mse(), Sgd::new(0.1), (&x, &y));

    let line = line!() + 1;
    let twice = step(|scope, x| dense(2).forward(scope, &dense(2).forward(scope, x)));
    let expected = "state: weight is declared twice; give each layer a name of its own with scope.enter, or let the second call use the \
         first one's parameters: scope.shared(), at LINE";
    check(twice, expected, line);

    let line = line!() + 2;
    let never_used = step(|scope, x| {
        let seen = scope.state("seen", [1], Init::constant(0.0));
        scope.write_state(&seen, &(&seen + 1.0));
        scope.layer("fc", &dense(2), x)
    });
    check(never_used, "state: seen is written but never used, at LINE", line);

    let line = line!() + 4;
    let written_twice = step(|scope, x| {
        let seen = scope.state("seen", [1], Init::constant(0.0));
        scope.write_state(&seen, &(&seen + 1.0));
        scope.write_state(&seen, &(&seen + 2.0));
        scope.layer("fc", &dense(2), x)
    });
    check(written_twice, "write_state: state seen is written twice in one step, at LINE", line);

    let line = line!() + 3;
    let wrong_shape = step(|scope, x| {
        let seen = scope.state("seen", [1], Init::constant(0.0));
        scope.write_state(&seen, &x.mean(..));
        scope.layer("fc", &dense(2), x)
    });
    check(wrong_shape, "write_state: state seen is f32[1], the new value is f32[], at LINE", line);

    let line = line!() + 1;
    let no_state = step(|scope, x| {
        scope.write_state(x, x);
        scope.layer("fc", &dense(2), x)
    });
    check(no_state, "write_state: only what scope.state returned can be written, at LINE", line + 1);

    let values = step(|scope, x| x.slice(1, ..2) + scope.parameter("w", [2], Init::values(vec![1.0])));
    let error = values.err().unwrap().to_string();
    assert_eq!(error, "the initial values given for w do not fit its shape [2]");
}

#[test]
fn values_of_a_trace_do_not_outlive_it() {
    use std::sync::Mutex;
    static LEAKED: Mutex<Option<Tensor>> = Mutex::new(None);
    fn leaky(_: &Scope, x: &Tensor) -> Tensor {
        *LEAKED.lock().unwrap() = Some(x * 2.0);
        x.clone()
    }
    Network::compile(leaky, [3]).unwrap();
    let leaked = LEAKED.lock().unwrap().take().unwrap();
    let error = leaked.to_array().unwrap_err().to_string();
    assert!(error.starts_with("tensor: the value only exists in the step in which it was traced"), "{error}");
}

#[test]
fn states_refuse_other_shapes() {
    let network = Network::compile(seq!["fc" => dense(2)], [3]).unwrap();
    let wrong = Tensor::zeros([3]).to_array().unwrap();
    let error = network.states().write("fc.weight", &wrong).unwrap_err().to_string();
    assert_eq!(error, "fc.weight is f32[2, 3], got f32[3]");
    let error = network.states().read("fc.scale").unwrap_err().to_string();
    assert_eq!(error, "there is no state named fc.scale");
}

#[test]
fn batches_must_fit_each_other() {
    let (x, y) = (Tensor::zeros([4, 3]), Tensor::zeros([3, 2]));
    let error = compile(dense(2), mse(), Sgd::new(0.1), (&x, &y)).err().unwrap().to_string();
    assert_eq!(error, "the inputs and the targets must have the same batch size; got 4 and 3");
    let error = compile(dense(2), mse(), Sgd::new(0.1), (&Tensor::from(1.0), &y)).err().unwrap().to_string();
    assert_eq!(error, "the inputs need a batch as first axis, got f32[]");
}

/// The mistakes that nearly everybody makes once, each with what is said of it.
#[test]
fn usual_mistakes_are_named() {
    let images = Tensor::zeros([8, 1, 6, 6]);
    let classes = Tensor::from_vec(vec![0, 1, 2, 0, 1, 2, 0, 1], [8]);
    let say = |net: dropforge::nn::Sequential, images: &Tensor, targets: &Tensor| -> String {
        let step = compile(net, cross_entropy(), Sgd::new(0.1), (images, targets));
        let result = step.and_then(|mut step| step.run((images, targets)).map(drop));
        result.unwrap_err().to_string()
    };
    let net = || seq![flatten(), dense(3)];
    let found = [
        ("flatten forgotten", say(seq![conv(2, 3), dense(3)], &images, &classes)),
        ("sizes that do not fit", say(seq![conv(2, 9), flatten(), dense(3)], &images, &classes)),
        ("labels of another type", say(net(), &images, &classes.cast(DType::F32))),
        (
            "labels of another range",
            say(net(), &images, &(&classes + 1).to(&Runtime::shared().unwrap()).unwrap()),
        ),
        ("another number of labels", say(net(), &images, &Tensor::from([0, 1, 2]))),
        (
            "tokens outside of the vocabulary",
            say(seq![embedding(4, 2), flatten(), dense(3)], &Tensor::from_vec(vec![4; 16], [8, 2]), &classes),
        ),
        ("a target of another shape", {
            let (x, y) = (Tensor::zeros([8, 5]), Tensor::zeros([8]));
            compile(dense(1), mse(), Sgd::new(0.1), (&x, &y)).err().unwrap().to_string()
        }),
        ("a parameter without a gradient", {
            let forgetful = |scope: &Scope, x: &Tensor| {
                let scale = scope.parameter("scale", [1], Init::constant(1.0));
                dense(3).forward(scope, &(x * scale.detach()).flatten(1))
            };
            compile(forgetful, cross_entropy(), Sgd::new(0.1), (&images, &classes)).err().unwrap().to_string()
        }),
    ];
    let expected = [
        (
            "flatten forgotten",
            "got f32[8, 2, 4, 3] and i32[8]; is there a `flatten` missing before the last layer?, in loss (",
        ),
        (
            "sizes that do not fit",
            "conv2d: a kernel reaching over 9 is larger than the input, which is 6 with its padding, in 0 (",
        ),
        ("labels of another type", "got f32[8, 3] and f32[8]; cast the classes to i32, in loss ("),
        ("labels of another range", "cross_entropy: index 3 at position 2 is outside of 0..3, in loss ("),
        ("another number of labels", "the inputs and the targets must have the same batch size; got 8 and 3"),
        ("tokens outside of the vocabulary", "embedding: index 4 at position 0 is outside of 0..4, in 0 ("),
        (
            "a target of another shape",
            "mse: prediction [8, 1] and target [8] must have one shape; reshape one, in loss (",
        ),
        (
            "a parameter without a gradient",
            "gradient: the loss does not depend on scale through differentiable operations, at ",
        ),
    ];
    for ((mistake, message), (of, part)) in found.iter().zip(expected) {
        assert_eq!(*mistake, of);
        assert!(message.contains(part), "{mistake}: {message}");
    }
}

#[test]
fn what_people_give_is_named() {
    use dropforge::data::from_records;
    let message = |compiled: Result<Trainer>| compiled.err().unwrap().to_string();
    let inputs = from_records([([0.0f32, 1.0],)]).unwrap();
    let missing = message(Trainer::new(dense(1), mse(), Sgd::new(0.1)).compile(&inputs));
    assert!(missing.contains("no field \"target\"") && missing.contains("Trainer::of"), "{missing}");
    assert!(!missing.contains("task.rs"), "{missing}");
    let (x, y) = (Tensor::zeros([4, 2]), Tensor::from([0, 1, 2, 0]));
    let step = |loss: Box<dyn Loss>, y: &Tensor| {
        StepBuilder::new(dense(3), loss, Sgd::new(0.1)).compile_for((&x, y)).err().unwrap().to_string()
    };
    let counts = |_: &Tensor, y: &Tensor| y.sum(..);
    assert!(step(Box::new(counts), &y).contains("must give one f32, got i32[]; cast it to f32"));
    let hot = step(Box::new(cross_entropy()), &Tensor::zeros([4, 3]));
    assert!(hot.contains("one-hot targets are for categorical_cross_entropy"), "{hot}");
    let column = step(Box::new(cross_entropy()), &Tensor::zeros([4, 1]));
    assert!(column.contains("`classes=yes`") && column.contains("i32[batch]"), "{column}");
    for name in ["", "a.b", "*"] {
        let net = |scope: &Scope, x: &Tensor| scope.layer(name, &dense(3), x);
        let error = Network::compile(net, [4]).err().unwrap().to_string();
        assert!(error.contains("cannot be the name of a part"), "{error}");
    }
    let nowhere = std::env::temp_dir().join("dropforge-no-such-run");
    let runtime = Runtime::shared().unwrap();
    let data = from_records([([0.0f32, 1.0], 0), ([1.0, 0.0], 1)]).unwrap();
    let mut trainer = Trainer::new(dense(2), cross_entropy(), Sgd::new(0.1)).compile(&data).unwrap();
    for error in [
        Trained::open(&nowhere, &runtime).err().unwrap(),
        dropforge::run::pack(&nowhere, nowhere.with_extension("packed")).unwrap_err(),
        trainer.resume(&nowhere).unwrap_err(),
    ] {
        assert!(error.to_string().contains("there is no such run"), "{error}");
    }
    assert!(trainer.save("").unwrap_err().to_string().contains("has no name"));
}
