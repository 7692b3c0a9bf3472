//! Ends of ranges: random numbers, indices, shapes.

use dropforge::prelude::*;
use dropforge::{Conv2d, Pool2d, devices};

#[track_caller]
fn error(x: &Tensor) -> String {
    x.to_array().unwrap_err().to_string()
}

#[track_caller]
fn assert_error(x: &Tensor, expected: &str) {
    let found = error(x);
    assert!(found.contains(expected), "{found:?} does not contain {expected:?}");
}

#[test]
fn random_integers_fill_the_widest_range() {
    let mut generator = Generator::new(1);
    let mut quarters = [0; 4];
    for x in generator.randint([4000], i32::MIN, i32::MAX).to_vec::<i32>().unwrap() {
        quarters[((i64::from(x) - i64::from(i32::MIN)) >> 30) as usize] += 1;
    }
    assert!(quarters.iter().all(|&count| (800..1200).contains(&count)), "{quarters:?}");
    let wide = generator.randint([4000], -2_000_000_000, 2_000_000_000).to_vec::<i32>().unwrap();
    assert!(wide.iter().all(|x| (-2_000_000_000..2_000_000_000).contains(x)));
    assert!(wide.iter().any(|&x| x > 1_900_000_000) && wide.iter().any(|&x| x < -1_900_000_000));
    assert_eq!(generator.randint([3], 7, 8).to_vec::<i32>().unwrap(), [7, 7, 7]);
    assert_error(&generator.randint([6], 5, 1), "randint: there are no integers from 5 up to 1");
    assert_error(&generator.randint([6], 5, 5), "randint: there are no integers from 5 up to 5");
}

#[test]
fn random_numbers_leave_out_the_upper_end() {
    for (low, high) in [(1e6f32, 1e6 + 1.0), (100.0, 100.001), (1.0, 2.0), (-3e38, 3e38), (-1.0, 0.0)] {
        let x = Generator::new(1).uniform([200_000], low, high).to_vec::<f32>().unwrap();
        assert!(x.iter().all(|&x| low <= x && x < high), "{low}..{high}");
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
        let (middle, width) =
            (f64::from(low) / 2.0 + f64::from(high) / 2.0, f64::from(high) - f64::from(low));
        assert!((mean - middle).abs() < 0.04 * width, "{low}..{high}: mean {mean}");
    }
    assert_eq!(Generator::new(1).uniform([2], 3.0, 3.0).to_vec::<f32>().unwrap(), [3.0, 3.0]);
    assert_error(&Generator::new(1).uniform([2], 2.0, 1.0), "there are no numbers from 2 up to 1");
    assert_error(&Generator::new(1).uniform([2], 0.0, f32::NAN), "there are no numbers");
    assert_eq!(Tensor::linspace(0.1, 0.7, 7).to_vec::<f32>().unwrap()[6], 0.7);
    assert_eq!(Tensor::linspace(-3e38, 3e38, 3).to_vec::<f32>().unwrap(), [-3e38, 0.0, 3e38]);
    assert_eq!(Tensor::linspace(2.0, 5.0, 1).to_vec::<f32>().unwrap(), [2.0]);
    assert_eq!(Tensor::linspace(2.0, 5.0, 0).to_vec::<f32>().unwrap(), [0.0f32; 0]);
}

/// Of indices on the host, on a device, and computed.
#[test]
fn an_index_outside_is_an_error() {
    let table = Tensor::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    for runtime in [devices::open("cpu", Some(2)).unwrap(), devices::open("reference", None).unwrap()] {
        for bad in [7, -1, 3, i32::MIN] {
            let host = Tensor::from([0, 2, bad, 9]);
            let placed = host.to(&runtime).unwrap();
            let computed = &placed + &placed * Tensor::zeros_like(&placed);
            let message = |name: &str| format!("{name}: index {bad} at position 2 is outside of 0..3");
            for indices in [&host, &placed, &computed] {
                assert_error(&table.embedding(indices), &message("embedding"));
                assert_error(&table.index_select(0, indices), &message("index_select"));
                let scores = Tensor::zeros([4, 3]).to(&runtime).unwrap();
                assert_error(&scores.pick(1, indices), &message("pick"));
                let scores = scores.requires_grad();
                let loss = cross_entropy().loss(&scores, indices);
                assert_error(&loss, &message("cross_entropy"));
                assert_error(&indices.one_hot(3), &message("one_hot"));
                let error = loss.backward().unwrap_err().to_string();
                assert!(error.contains(&message("cross_entropy")) && error.contains("limits.rs"), "{error}");
                assert!(scores.grad().is_none());
            }
        }
        let good = Tensor::from([2, 0]).to(&runtime).unwrap();
        assert_eq!(table.embedding(&good).to_vec::<f32>().unwrap(), [5.0, 6.0, 1.0, 2.0]);
        assert_eq!(good.one_hot(3).to_vec::<f32>().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    }
}

/// Labels and tokens that lie on the device, and indices that are computed, are looked at with the step's other
/// outputs.
#[test]
fn indices_in_a_step_are_checked() {
    let host = Tensor::from([[0, 1], [2, 0]]);
    let classes = Tensor::from([2, 0]);
    for runtime in [devices::open("cpu", Some(2)).unwrap(), devices::open("reference", None).unwrap()] {
        let on = |values: &Tensor| values.to(&runtime).unwrap();
        let net = seq![embedding(5, 4), flatten(), dense(3)];
        let builder = StepBuilder::new(net, cross_entropy(), Sgd::new(0.1)).runtime(&runtime);
        let mut step = builder.compile_for((&host, &classes)).unwrap();
        assert!(step.run((&on(&host), &on(&classes))).unwrap().loss().unwrap().is_finite());
        let wrong = Tensor::from([[0, 1], [99, 0]]);
        for tokens in [&wrong, &on(&wrong)] {
            let expected = "embedding: index 99 at position 2 is outside of 0..5, in 0 (";
            let error = step.run((tokens, &classes)).err().unwrap();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert_eq!(error.kind(), dropforge::ErrorKind::Data);
            for error in [step.evaluate((tokens, &classes)).err(), step.predict(tokens).err()] {
                assert!(error.unwrap().to_string().starts_with(expected));
            }
        }
        let wrong = on(&Tensor::from([2, 3]));
        let expected = "cross_entropy: index 3 at position 1 is outside of 0..3";
        let error = step.run((&host, &wrong)).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(step.evaluate((&host, &wrong)).unwrap_err().to_string().starts_with(expected));
        // On the host they are looked at before.
        let error = step.run((&host, &Tensor::from([2, -1]))).err().unwrap().to_string();
        assert!(error.contains("the target of sample 1 is -1; classes go from 0 to 2"), "{error}");
        assert!(step.run((&host, &classes)).unwrap().loss().unwrap().is_finite());
    }
}

/// A program that a run stores says so, too.
#[test]
fn indices_of_a_stored_network_are_checked() {
    let pairs = vec![([0, 1], 1), ([4, 2], 0), ([3, 3], 1)];
    let data = dropforge::data::from_records(pairs).unwrap();
    let net = seq![embedding(5, 4), flatten(), dense(2)];
    let mut trainer = Trainer::new(net, cross_entropy(), Sgd::new(0.1)).batch(2).compile(&data).unwrap();
    trainer.epoch(&data).unwrap();
    let folder = std::env::temp_dir().join(format!("dropforge-limits-{}", std::process::id()));
    trainer.save(&folder).unwrap();
    let trained = Trained::open(&folder, &Runtime::shared().unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
    let trained = trained.unwrap();
    let predict = |tokens: [i32; 4]| trained.predict(&Tensor::from_vec(tokens.to_vec(), [2, 2]));
    assert_eq!(predict([0, 1, 4, 4]).unwrap().shape()[..], [2, 2]);
    let error = predict([0, 1, 2, 5]).err().unwrap();
    assert_eq!(error.to_string(), "embedding: index 5 at position 3 is outside of 0..5");
    assert_eq!(error.kind(), dropforge::ErrorKind::Data);
    let wrong = dropforge::data::from_records(vec![([0, 7], 1)]).unwrap();
    let error = trained.evaluate(&wrong, 1).unwrap_err().to_string();
    assert_eq!(error, "embedding: index 7 at position 1 is outside of 0..5");
}

#[test]
fn extents_are_checked() {
    let x = Tensor::zeros([2, 6]);
    assert_error(&x.reshape([-7]), "reshape: -7 is no extent; only -1 stands for what is left");
    assert_error(&x.reshape([-1, -1]), "reshape: [2, 6] does not go into [-1, -1]");
    let empty = Tensor::zeros([3, 0]);
    assert_error(&empty.max(1), "max: axis 1 of [3, 0] is empty");
    assert_error(&empty.min_keep(..), "min: axis 1 of [3, 0] is empty");
    assert_eq!(empty.max(0).to_vec::<f32>().unwrap(), [0.0f32; 0]);
    assert!(empty.eq(0.0).all(..).item::<bool>().unwrap());
    assert!(!empty.eq(0.0).any(..).item::<bool>().unwrap());
    // What does not exist in memory is refused before anything is computed from it.
    let huge = usize::MAX / 3;
    assert_error(&Tensor::zeros([huge, 2]), "is too large");
    assert_error(&Tensor::from_vec(vec![1.0], [huge, huge]).mean(..), "from_vec: ");
    assert_error(&Tensor::zeros([1, 1, 4, 4]).avg_pool2d(Pool2d::square(huge)), "avg_pool2d: ");
}

/// Geometries whose padded images, strides or reaches leave `usize`: none may be computed in wrapped numbers.
#[test]
fn huge_geometries_are_refused_or_right() {
    let geometries = [
        ([2usize, 1, 4, 1], [1usize, 1, 1, 2], 1537228672809129301usize, 3074457345618258602usize),
        ([2, 2, 3, 2], [2, 2, 3, 3], 2305843009213693951, 2305843009213693951),
        ([2, 2, 6, 2], [3, 2, 1, 2], 576460752303423488, 1152921504606846976),
    ];
    for (x, filter, padding, dilation) in geometries {
        let geometry = Conv2d {
            padding_height: [1, 1],
            padding_width: [padding, padding],
            dilation: [1, dilation],
            ..Conv2d::default()
        };
        assert_error(&Tensor::ones(x).conv2d(&Tensor::ones(filter), geometry), "conv2d: ");
    }
    // A stride beyond the image has one position; a filter of one tap has no dilation.
    let geometry = Conv2d { stride: [usize::MAX; 2], dilation: [usize::MAX; 2], ..Conv2d::default() };
    let y = Tensor::full([1, 1, 4, 4], 2.0).conv2d(&Tensor::full([1, 1, 1, 1], 3.0), geometry);
    assert_eq!(y.to_vec::<f32>().unwrap(), [6.0]);
    assert_eq!(Tensor::arange(0, 5).slice_step(0, 1.., usize::MAX).to_vec::<i32>().unwrap(), [1]);
    // A great deal of padding takes no memory.
    let geometry = Conv2d {
        padding_height: [1 << 15, 1 << 15],
        padding_width: [1 << 15, 1 << 15],
        stride: [1 << 14, 1 << 14],
        ..Conv2d::default()
    };
    let x = Tensor::ones([64, 1, 4, 4]).requires_grad();
    let y = x.conv2d(&Tensor::ones([2, 1, 3, 3]), geometry).sum(..);
    y.backward().unwrap();
    assert_eq!(y.item::<f32>().unwrap(), 64.0 * 2.0 * 9.0);
    assert_eq!(x.grad().unwrap().sum(..).item::<f32>().unwrap(), 64.0 * 2.0 * 9.0);
}

#[test]
fn sixteen_axes_work_and_more_are_refused() {
    for runtime in [devices::open("cpu", Some(2)).unwrap(), devices::open("reference", None).unwrap()] {
        let order: Vec<usize> = (0..16).rev().collect();
        let numbers: Vec<f32> = (0..1 << 16).map(|i| i as f32).collect();
        let x = Tensor::from_slice(&numbers, vec![2usize; 16]).to(&runtime).unwrap();
        let turned: Vec<f32> = (0..1u16 << 15).map(|i| f32::from(i.reverse_bits())).collect();
        let y = x.permute(&order);
        assert_eq!(y.to_vec::<f32>().unwrap()[..1 << 15], turned);
        let rows = (&y * &x).sum([0, 2, 4, 6, 8, 10, 12, 14]).sum(..).item::<f32>().unwrap();
        let expected: f64 =
            (0..1u32 << 16).map(|i| f64::from(i as u16) * f64::from((i as u16).reverse_bits())).sum();
        assert!((f64::from(rows) / expected - 1.0).abs() < 1e-4);
    }
    assert_error(&Tensor::from_vec(vec![1.0f32; 1 << 17], vec![2usize; 17]), "17 axes, at most 16");
    assert_error(&Tensor::ones(vec![1usize; 16]).unsqueeze(0), "17 axes, at most 16");
}
