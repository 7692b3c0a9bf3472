//! What does not fit is an error that says why; nothing panics.

use dropforge::loss::{self, Loss};
use dropforge::prelude::*;
use dropforge::{Index, PadMode, stepped};

#[track_caller]
fn check(tensor: Tensor, expected: &str) {
    let error = tensor.to_array().expect_err(expected).to_string();
    let error = error.replace('\\', "/");
    assert!(error.starts_with(expected) && error.contains(file!()), "{error}");
}

#[test]
fn what_does_not_fit_says_why() {
    let (x, i) = (Tensor::zeros([2, 3]), Tensor::from([[0, 1]]));
    check(i.atan(), "atan: needs floats, got i32[1, 2]; cast first");
    check(x.glu(-1), "glu: axis -1 of [2, 3] cannot be halved");
    check(Tensor::arange_step(0.0, 1.0, 0.0), "arange_step: from 0 to 1 there is no number of steps of 0");
    check(Tensor::from([1.0]).tril(0), "tril: needs matrices in the last two axes, got [1]");
    check(x.diagonal(0, 1, -1), "diagonal: the two axes must differ");
    check(Tensor::from(1.0).diag(0), "diag: needs a vector or a matrix, got []");
    check(x.sort(2, false).0, "argsort: there is no axis 2 in [2, 3]");
    check(x.topk(4, 1, true).0, "topk: 4 elements are more than axis 1 of [2, 3] has");
    check(x.kthvalue(0, 1).1, "kthvalue: k must be from 1 to 3 for axis 1 of [2, 3], got 0");
    check(Tensor::zeros([2, 0]).median(1), "median: axis 1 of [2, 0] is empty");
    check(x.quantile(1.5, 0), "quantile: the share must be from 0 to 1, got 1.5");
    check(x.gather(0, &x), "gather: indices must be i32, got f32[2, 3]");
    check(
        x.gather(0, &Tensor::zeros([1, 4]).cast(DType::I32)),
        "gather: indices [1, 4] do not fit [2, 3]: they must have as many axes, and no more extent along those other than 0",
    );
    check(x.scatter_add(1, &i, &x), "scatter_add: indices [1, 2] and source [2, 3] differ");
    let far = Tensor::from([[0, 1, 3], [0, 0, 0]]);
    check(x.gather(1, &far), "gather: index 3 at position 2 is outside of 0..3");
    check(x.scatter(0, &far, &x), "scatter: index 3 at position 2 is outside of 0..2");
    check(x.take(&(&far + 3)), "take: index 6 at position 2 is outside of 0..6");
    check(
        x.index_add(0, &Tensor::from([-1]), &x.slice(0, ..1)),
        "index_add: index -1 at position 0 is outside of 0..2",
    );
    check(
        loss::nll().loss(&x, &Tensor::from([0, 3])),
        "nll: index 3 at position 1 is outside of 0..3, in loss",
    );
    check(x.histc(0, 0.0, 1.0), "histc: 0 to 1 cannot be divided into 0 parts");
    check(x.index(2), "index: position 2 is outside axis 0 of [2, 3]");
    check(x.index((0, 0, 0)), "index: 3 indices are more than [2, 3] has axes");
    check(x.index(stepped(.., 0)), "index: the step along axis 0 must not be 0");
    check(
        x.index(vec![Index::Ellipsis, Index::Ellipsis]),
        "index: one ellipsis at most can stand for the remaining axes",
    );
    check(x.split(0, 1).remove(0), "split: the extent of the parts must be at least 1");
    check(x.split_sizes(&[1, 1], 1).remove(0), "split: parts of [1, 1] do not add up to axis 1 of [2, 3]");
    check(x.unfold(1, 4, 1), "unfold: windows of 4, 1 apart, do not fit axis 1 of [2, 3]");
    check(x.unflatten(1, [2, -1]), "unflatten: axis 1 of [2, 3] does not divide into [2, -1]");
    check(x.roll(&[1, 1], 0), "roll: needs a shift for each axis, got 2 for 1");
    check(
        x.pad_with(&[(0, 0), (3, 0)], PadMode::Reflect),
        "pad_with: axis 1 of [2, 3] allows at most 2 elements on each side, got 3 and 0",
    );
    check(x.pad_with(&[(0, 0)], PadMode::Circular), "pad_with: needs a pair for each axis of [2, 3], got 1");
    check(x.dot(&x), "dot: needs two vectors, got [2, 3] and [2, 3]");
    check(x.cross(&x, 0), "cross: axis 0 of [2, 3] must have extent 3");
    check(x.cumsum(5), "cumsum: there is no axis 5 in [2, 3]");
    check(x.equal(&x.t()), "equal: [2, 3] and [3, 2] differ in shape");
}

#[test]
fn einsum_says_what_is_wrong_with_its_equation() {
    let x = Tensor::zeros([2, 3]);
    let einsum = |equation: &str, count: usize| {
        Tensor::einsum(equation, &vec![&x; count]).to_array().unwrap_err().to_string()
    };
    let starts = |error: String, expected: &str| assert!(error.starts_with(expected), "{error}");
    starts(einsum("ij,jk", 1), "einsum: \"ij,jk\": names 2 tensors, got 1");
    starts(einsum("i->i", 1), "einsum: \"i->i\": 1 letters do not name the axes of [2, 3]");
    starts(einsum("ij,ji->", 2), "einsum: \"ij,ji->\": an axis with one name has the extents 3 and 2");
    starts(einsum("ij->ii", 1), "einsum: \"ij->ii\": the result names an axis twice");
    starts(einsum("ij->k", 1), "einsum: \"ij->k\": the result names an axis that no tensor has");
    starts(einsum("i1->i", 1), "einsum: \"i1->i\": axes are letters, got '1'");
}

#[test]
fn losses_refuse_what_would_broadcast() {
    let (column, row) = (Tensor::zeros([4, 1]), Tensor::zeros([4]));
    let losses: Vec<Box<dyn Loss>> = vec![
        Box::new(loss::mae()),
        Box::new(loss::huber()),
        Box::new(loss::bce()),
        Box::new(loss::bce_with_logits()),
        Box::new(loss::kl_div()),
        Box::new(loss::hinge()),
        Box::new(loss::categorical_cross_entropy()),
    ];
    for loss in losses {
        let error = loss.loss(&column, &row).to_array().unwrap_err().to_string();
        let expected = format!(
            "{}: prediction [4, 1] and target [4] must have one shape; reshape one, in loss",
            loss.describe()
        );
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn shapes_are_written_in_many_ways() {
    let extents = |tensor: Tensor| tensor.shape().to_vec();
    assert_eq!(extents(Tensor::zeros((2, 3))), [2, 3]);
    assert_eq!(extents(Tensor::zeros(4)), [4]);
    assert_eq!(extents(Tensor::zeros(())), [0; 0]);
    assert_eq!(extents(Tensor::zeros(vec![1, 2])), [1, 2]);
    assert_eq!(extents(Tensor::zeros((2, 3)).reshape((3, -1))), [3, 2]);
    assert_eq!(extents(Tensor::zeros((2, 3)).reshape(-1)), [6]);
    assert_eq!(extents(Tensor::zeros((2, 3)).sum(vec![0, 1])), [0; 0]);
}

#[test]
fn random_tensors_are_what_they_say() {
    let mut generator = Generator::new(5);
    let order = generator.permutation(1000).to_vec::<i32>().unwrap();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1000).collect::<Vec<i32>>());
    assert_ne!(order, sorted);
    assert_ne!(order, generator.permutation(1000).to_vec::<i32>().unwrap());
    let mean = |x: Tensor| x.mean(..).item::<f32>().unwrap();
    let draws = generator.bernoulli([20_000], 0.3);
    assert!(draws.eq(0.0).logical_or(draws.eq(1.0)).all(..).item::<bool>().unwrap());
    assert!((mean(draws) - 0.3).abs() < 0.015);
    assert!((mean(generator.exponential([20_000], 4.0)) - 0.25).abs() < 0.01);
    let normal = generator.normal([20_000], 3.0, 2.0);
    assert!(
        (mean(normal.clone()) - 3.0).abs() < 0.06
            && (normal.std(..).item::<f32>().unwrap() - 2.0).abs() < 0.05
    );
}
