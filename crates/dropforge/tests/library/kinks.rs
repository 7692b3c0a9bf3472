//! Functions and their gradients at kinks and ends: 0 and −0, tiny and huge numbers, infinities, NaN, ties; in f32, f16
//! and bf16. What is right is in `tests/data/kinks.txt`, as PyTorch says it (`scripts/golden_kinks.py`).

use dropforge::prelude::*;
use dropforge::{BF16, F16, Runtime, devices};
use std::path::Path;

/// Where an answer other than PyTorch's is meant, and why.
fn is_excused(case: &Case<'_>, is_gradient: bool, at: &[f32], found: f32, expected: f32) -> bool {
    let is_half = case.dtype != DType::F32;
    let largest =
        case.arguments.iter().flatten().filter(|x| x.is_finite()).fold(0.0f32, |most, x| most.max(x.abs()));
    match case.function {
        // The slope is 1 or 0 there; PyTorch's formulas multiply 0 by infinity.
        "gelu" | "gelu_tanh" | "silu" => expected.is_nan() && !found.is_nan(),
        // PyTorch takes x − logsumexp, which is rounded at the magnitude of x; a test below says what is right.
        "logsumexp" => is_gradient && (is_half || largest > 100.0),
        // Squares of these are no numbers of f32: PyTorch's are f64 on the way, but for the mean of halves, which it
        // rounds.
        "var" | "std" => !(1e-19..=1e19).contains(&largest) || is_half && is_gradient && largest > 1000.0,
        // The error function of bf16 is 0 in PyTorch where it is 2x/√π.
        "erf" => is_half && expected == 0.0,
        // b − 1 is no number of f16.
        "pow" => case.dtype == DType::F16 && is_gradient && at[0] == -1.0 && at[1].abs() == 65504.0,
        // A root in f32, a power in halves.
        "powf_half" => is_half && at[0] == f32::NEG_INFINITY,
        _ => false,
    }
}

/// One line of the file.
struct Case<'a> {
    function: &'a str,
    dtype: DType,
    arguments: Vec<Vec<f32>>,
    values: Vec<f32>,
    gradients: Vec<Vec<f32>>,
}

fn numbers(text: &str) -> Vec<f32> {
    text.split(',').map(|number| number.trim().parse::<f64>().unwrap() as f32).collect()
}

fn cases(text: &str) -> Vec<Case<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let (function, dtype) = parts[0].split_once(' ').unwrap();
            Case {
                function,
                dtype: [DType::F32, DType::F16, DType::BF16].into_iter().find(|t| t.name() == dtype).unwrap(),
                arguments: parts[1].split(';').map(numbers).collect(),
                values: numbers(parts[2]),
                gradients: parts[3].split(';').map(numbers).collect(),
            }
        })
        .collect()
}

fn function(name: &str, x: &[Tensor]) -> Tensor {
    let a = &x[0];
    match name {
        "neg" => -a,
        "exp" => a.exp(),
        "expm1" => a.expm1(),
        "log" => a.log(),
        "log1p" => a.log1p(),
        "sqrt" => a.sqrt(),
        "rsqrt" => a.rsqrt(),
        "reciprocal" => a.reciprocal(),
        "abs" => a.abs(),
        "sign" => a.sign(),
        "sin" => a.sin(),
        "cos" => a.cos(),
        "tanh" => a.tanh(),
        "sigmoid" => a.sigmoid(),
        "relu" => a.relu(),
        "erf" => a.erf(),
        "floor" => a.floor(),
        "ceil" => a.ceil(),
        "round" => a.round(),
        "square" => a.square(),
        "gelu" => a.gelu(),
        "gelu_tanh" => a.gelu_tanh(),
        "silu" => a.silu(),
        "softplus" => a.softplus(),
        "leaky_relu" => a.leaky_relu(0.01),
        "clamp" => a.clamp(-1.0, 1.5),
        "powf_0" => a.powf(0.0),
        "powf_1" => a.powf(1.0),
        "powf_2" => a.powf(2.0),
        "powf_3" => a.powf(3.0),
        "powf_half" => a.powf(0.5),
        "powf_-1" => a.powf(-1.0),
        "maximum" => a.maximum(&x[1]),
        "minimum" => a.minimum(&x[1]),
        "pow" => a.pow(&x[1]),
        "fmod" => a.fmod(&x[1]),
        "div" => a / &x[1],
        "add" => a + &x[1],
        "sub" => a - &x[1],
        "mul" => a * &x[1],
        "softmax" => a.softmax(-1),
        "log_softmax" => a.log_softmax(-1),
        "logsumexp" => a.logsumexp(-1),
        "sum" => a.sum(..),
        "mean" => a.mean(..),
        "max" => a.max(-1),
        "min" => a.min(-1),
        "var" => a.var(..),
        "std" => a.std(..),
        "cross_entropy" => cross_entropy().loss(&a.unsqueeze(0), &Tensor::from([0])),
        "mse_to_0" => mse().loss(a, &Tensor::zeros_like(a)),
        _ => panic!("{name} is not among the functions of this test"),
    }
}

/// Steps are flat; asking for their gradient is an error instead of a silent zero.
fn has_gradient(name: &str) -> bool {
    !["sign", "floor", "ceil", "round"].contains(&name)
}

/// Whether a number is what it should be, within some roundings of its type; PyTorch takes some of them on the way.
fn is_close(found: f32, expected: f32, dtype: DType, argument: f32) -> bool {
    // Results of ordinary numbers may be small differences of larger ones.
    let is_ordinary = (1e-3..1e3).contains(&argument.abs()) || argument == 0.0;
    let (relative, absolute, smallest) = match dtype {
        DType::F16 => (2.0 / 1024.0, 2e-3, 6.0e-8),
        DType::BF16 => (2.0 / 128.0, 1.6e-2, 1.0e-37),
        _ => (1e-5, 1e-6, 1.0e-37),
    };
    let absolute = if is_ordinary { absolute } else { smallest };
    found == expected
        || found.is_nan() && expected.is_nan()
        || (found - expected).abs() <= relative * expected.abs() + absolute
}

fn check_on(runtime: &Runtime) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kinks.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut failures = Vec::new();
    for case in cases(&text) {
        let leaves: Vec<Tensor> = case
            .arguments
            .iter()
            .map(|numbers| {
                let x = Tensor::from_slice(numbers, [numbers.len()]).cast(case.dtype);
                x.to(runtime).unwrap().requires_grad()
            })
            .collect();
        let y = function(case.function, &leaves);
        let read = |x: &Tensor| x.cast(DType::F32).to_vec::<f32>();
        let mut compare = |what: String, is_gradient: bool, found: Vec<f32>, expected: &[f32]| {
            assert_eq!(found.len(), expected.len(), "{what}");
            for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
                let at: Vec<f32> = case.arguments.iter().map(|x| x.get(i).copied().unwrap_or(x[0])).collect();
                // A softmax of anything is an ordinary number.
                let argument = if case.function.ends_with("softmax") { 1.0 } else { at[0] };
                if !is_close(found, expected, case.dtype, argument)
                    && !is_excused(&case, is_gradient, &at, found, expected)
                {
                    failures.push(format!("{what} at {at:?} ({i}): {found:e}, not {expected:e}"));
                }
            }
        };
        let label = format!("{} {}", case.function, case.dtype);
        let values = read(&y).unwrap_or_else(|error| panic!("{label}: {error}"));
        compare(label.clone(), false, values, &case.values);
        if !has_gradient(case.function) {
            continue;
        }
        y.cast(DType::F32).sum(..).backward().unwrap_or_else(|error| panic!("{label}: {error}"));
        for (number, (leaf, expected)) in leaves.iter().zip(&case.gradients).enumerate() {
            let gradient = leaf.grad().unwrap_or_else(|| panic!("{label} has no gradient"));
            assert_eq!(gradient.dtype(), case.dtype, "{label}");
            compare(format!("{label} gradient {number}"), true, read(&gradient).unwrap(), expected);
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_cpu_agrees_with_pytorch() {
    check_on(&devices::open("cpu", Some(1)).unwrap());
}

#[test]
fn the_interpreter_agrees_with_pytorch() {
    check_on(&devices::open("reference", None).unwrap());
}

/// A GPU flushes numbers below the normal range, and its sine of large numbers is another one.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_agrees_with_pytorch() {
    let Ok(gpu) = devices::open("gpu", None) else {
        assert_eq!(std::env::var("DROPFORGE_NO_GPU").as_deref(), Ok("1"), "there is no GPU");
        return;
    };
    check_on(&gpu);
    let x = Tensor::from([-1e20, -1e30, -3e38]).to(&gpu).unwrap();
    assert_eq!(x.silu().to_vec::<f32>().unwrap(), [0.0; 3]);
    assert_eq!(x.gelu_tanh().to_vec::<f32>().unwrap(), [0.0; 3]);
    let y = Tensor::from([1.0, 0.0, f32::NAN, f32::INFINITY, -2.0]).to(&gpu).unwrap();
    let (quotient, product) = (&y / 0.0, &y * 0.0);
    let found = [quotient, product]
        .map(|x| x.to_vec::<f32>().unwrap().iter().map(f32::to_string).collect::<Vec<_>>());
    assert_eq!(found, [["inf", "NaN", "NaN", "inf", "-inf"], ["0", "0", "NaN", "NaN", "-0"]]);
}

/// The means of windows of halves lie in the range, their sums need not.
#[test]
fn halves_are_averaged_in_f32() {
    for (size, value) in [(4usize, 60_000.0f32), (16, 1000.0), (256, 1.0)] {
        let x = Tensor::full([1, 1, size, size], value).cast(DType::F16);
        let mean = x.avg_pool2d(dropforge::Pool2d::square(size));
        assert_eq!(mean.dtype(), DType::F16);
        assert_eq!(mean.cast(DType::F32).to_vec::<f32>().unwrap(), [value], "{size}x{size}");
        let halves = Tensor::full([70_000], value).cast(DType::F16);
        assert_eq!(halves.std(..).cast(DType::F32).item::<f32>().unwrap(), 0.0);
    }
}

/// More equal maxima than a half can count.
#[test]
fn ties_of_halves_are_counted_in_f32() {
    let x = Tensor::from_vec(vec![F16::from_f32(1.0); 70_000], [70_000]).requires_grad();
    x.max(..).backward().unwrap();
    let found = x.grad().unwrap().to_vec::<F16>().unwrap()[0];
    assert_eq!(found, F16::from_f32(1.0 / 70_000.0));
    // The gradient of a logsumexp divides by a sum that counts as many.
    let x = Tensor::from_vec(vec![BF16::from_f32(1.0); 70_000], [70_000]).cast(DType::F16).requires_grad();
    x.logsumexp(0).backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<F16>().unwrap()[7], F16::from_f32(1.0 / 70_000.0));
}

/// Every device that is built in.
fn runtimes() -> Vec<(&'static str, Runtime)> {
    let names: &[&str] =
        if cfg!(feature = "gpu") { &["cpu", "reference", "gpu"] } else { &["cpu", "reference"] };
    names.iter().filter_map(|&name| Some((name, devices::open(name, None).ok()?))).collect()
}

/// Equal scores have equal shares, whatever they are.
#[test]
fn softmax_keeps_its_digits_at_any_magnitude() {
    for (device, runtime) in runtimes() {
        for score in [1.0f32, 1e2, 1e4, 1e5, 1e6, 1e7, 1e8, -1e8, 1e30] {
            let x = Tensor::from([[score; 4]]).to(&runtime).unwrap().requires_grad();
            let y = x.softmax(1).to_vec::<f32>().unwrap();
            assert_eq!(y, [0.25; 4], "{device} {score:e}");
            let log = x.log_softmax(1).to_vec::<f32>().unwrap();
            assert!(log.iter().all(|y| (y + 4f32.ln()).abs() < 1e-6), "{device} {score:e}: {log:?}");
            let loss = cross_entropy().loss(&x, &Tensor::from([0]));
            loss.backward().unwrap();
            assert!((loss.item::<f32>().unwrap() - 4f32.ln()).abs() < 1e-6, "{device} {score:e}");
            let gradient = x.grad().unwrap().to_vec::<f32>().unwrap();
            assert_eq!(gradient, [-0.75, 0.25, 0.25, 0.25], "{device} {score:e}");
            x.zero_grad();
            x.logsumexp(1).sum(..).backward().unwrap();
            assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [0.25; 4], "{device} {score:e}");
        }
    }
}

/// The same in attention: equal scores take the mean of the values, and pass equal shares of the gradient.
#[test]
fn attention_keeps_its_digits_at_any_magnitude() {
    for (device, runtime) in runtimes() {
        for size in [1.0f32, 3e2, 1e4] {
            for keys in [4usize, 150] {
                let on = |x: Tensor| x.to(&runtime).unwrap().requires_grad();
                let (q, k) = (on(Tensor::full([1, 1, 3, 8], size)), on(Tensor::full([1, 1, keys, 8], size)));
                let v: Vec<f32> = (0..keys * 8).map(|i| (i % 5) as f32).collect();
                let v = on(Tensor::from_vec(v, [1, 1, keys, 8]));
                q.attention(&k, &v, false).sum(..).backward().unwrap();
                let found = v.grad().unwrap().to_vec::<f32>().unwrap();
                let share = 3.0 / keys as f32;
                assert!(
                    found.iter().all(|g| (g - share).abs() < 1e-5 * share),
                    "{device}, scores of {:e}: {:?} instead of {share}",
                    size * size * 8f32.sqrt(),
                    &found[..4]
                );
                assert!(k.grad().unwrap().to_vec::<f32>().unwrap().iter().all(|g| g.is_finite()));
            }
        }
    }
}

/// A factor is not taken out of a sum that would overflow without it, nor joined with another one.
#[test]
fn algebra_keeps_the_range() {
    let x = Tensor::full([100], 1e37f32);
    let close = |found: Tensor, expected: f32| {
        let found = found.item::<f32>().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-5, "{found:e} instead of {expected:e}");
    };
    close((&x * 0.01).sum(..), 1e37);
    close((&x * Tensor::from(0.01)).sum(..), 1e37);
    close((-(&x * 0.001 * 0.1)).sum(..), -1e35);
    let rows = Tensor::full([4, 100], 1e37f32);
    close((&rows * Tensor::full([4, 1], 0.001)).sum(1).at(0, 0), 1e36);
    let (small, a, b) = (Tensor::full([3, 5], 1e-30), Tensor::full([5], 1e25), Tensor::full([5], 1e25));
    close((&small * a * b).sum(..), 1.5e21);
    assert_eq!((Tensor::from([-0.0f32]) + 0.0).to_vec::<f32>().unwrap()[0].to_bits(), 0);
}
