//! Models against torchvision, and against what scripts/golden_library/models.py writes down where it has none: names
//! and shapes of all states, and outputs. Weights follow from their names.

use crate::compare::assert_close;
use crate::golden::Golden;
use dropforge::loss::added;
use dropforge::prelude::*;
use dropforge::run::ModelSpec;
use dropforge::settings::Table;

/// Numbers from 0 up to 1 that follow from a name, as in the script.
fn numbers(name: &str, count: usize) -> Vec<f64> {
    let seed =
        name.bytes().fold(0x811C_9DC5u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let number = |index: usize| {
        let mut h = (index as u32).wrapping_mul(2_654_435_761) ^ seed;
        for _ in 0..2 {
            h = (h ^ h >> 16).wrapping_mul(0x45D_9F3B);
        }
        f64::from((h ^ h >> 16) >> 8) / 16_777_216.0
    };
    (0..count).map(number).collect()
}

/// The elements of a state.
fn filled(name: &str, shape: &[usize]) -> Array {
    let inputs: usize = shape[1..].iter().product();
    let element = |u: f64| {
        let x = if name.ends_with("running_var") || (shape.len() == 1 && name.ends_with("weight")) {
            u + 0.5
        } else if shape.len() == 1 {
            (u - 0.5) * 0.2
        } else {
            (u - 0.5) * (12.0 / inputs as f64).sqrt()
        };
        x as f32
    };
    let elements = numbers(name, shape.iter().product()).into_iter().map(element).collect();
    Array::new(shape, dropforge::Data::F32(elements)).unwrap()
}

fn extents(array: &Array) -> Vec<usize> {
    array.as_i32().unwrap().iter().map(|&extent| extent as usize).collect()
}

fn spec(settings: &str) -> ModelSpec {
    let table: Table = toml::from_str(&format!("model = {settings}")).unwrap();
    ModelSpec::new(&table["model"]).unwrap()
}

fn image(shape: &[usize]) -> Tensor {
    let elements = numbers("x", shape.iter().product()).into_iter().map(|u| (u * 2.0 - 1.0) as f32);
    Tensor::from_vec(elements.collect(), shape)
}

fn tokens(count: f64, shape: &[usize]) -> Vec<i32> {
    numbers("x", shape.iter().product()).into_iter().map(|u| (u * count) as i32).collect()
}

/// Compares names, shapes and outputs, and makes a step of training.
#[track_caller]
fn check(name: &str, settings: &str, outputs: usize, input: fn(&[usize]) -> Tensor) {
    let golden = Golden::read(&format!("models/{name}"));
    let x = input(&extents(golden.array("x")));
    let square = |y: &Tensor, _: &Tensor| y.square().mean(..);
    let net = spec(settings).build(outputs).unwrap();
    let nothing = Tensor::zeros([x.shape()[0]]);
    let mut step = compile(net, square, Sgd::new(1e-3), (&x, &nothing)).unwrap();
    let own = |name: &str| name.contains("step") || name.contains("rng") || name.starts_with("metric.");
    let mut known: Vec<(String, Vec<usize>)> =
        golden.under("shape.").map(|(key, shape)| (key.to_string(), extents(shape))).collect();
    let mut states: Vec<(String, Vec<usize>)> = step
        .states()
        .iter()
        .filter(|state| !own(state.name()))
        .map(|state| (state.name().to_string(), state.ty().shape.to_vec()))
        .collect();
    known.sort();
    states.sort();
    assert_eq!(states, known, "{name}");
    for (key, shape) in &known {
        step.states().write(key, &filled(key, shape)).unwrap();
    }
    let y = step.predict(&x).unwrap().to_array().unwrap();
    assert_eq!(y.shape(), golden.array("y").shape(), "{name}");
    assert_close(name, y.as_f32().unwrap(), golden.floats("y"), 2e-5);
    assert!(step.run((&x, &nothing)).unwrap().loss().unwrap().is_finite(), "{name}");
}

#[test]
fn small_networks() {
    check("lenet", "'lenet'", 3, image);
    check("catsdogs", "'catsdogs'", 3, image);
    check("mlp", "{ type = 'mlp', hidden = [8, 6] }", 3, image);
    check("tinycnn", "'tinycnn'", 3, image);
    let texts = |shape: &[usize]| Tensor::from_vec(tokens(11.0, shape), shape);
    check("lstm-char", "{ type = 'lstm-char', width = 6, layers = 2 }", 11, texts);
}

#[test]
fn residual_networks() {
    check("resnet18", "{ type = 'resnet18', width = 4, large_images = true }", 3, image);
    check("resnet34", "{ type = 'resnet34', width = 4 }", 3, image);
    check("resnet50", "{ type = 'resnet50', width = 4, large_images = true }", 3, image);
}

#[test]
fn plain_stacks() {
    check("vgg11", "{ type = 'vgg11', width = 2, hidden = 5 }", 3, image);
    check("vgg16", "{ type = 'vgg16', width = 2, hidden = 5, batch_norm = true }", 3, image);
    check("alexnet", "{ type = 'alexnet', width = 2, hidden = 5 }", 3, image);
}

#[test]
fn networks_for_small_machines() {
    check("mobilenet_v2", "{ type = 'mobilenet_v2', width = 0.2 }", 3, image);
    check("efficientnet_b0", "{ type = 'efficientnet_b0', width = 0.2 }", 3, image);
}

#[test]
fn networks_that_join() {
    check("densenet121", "{ type = 'densenet121', growth = 4, blocks = [2, 3, 2, 2] }", 3, image);
    check("unet", "{ type = 'unet', width = 2 }", 3, image);
    check("unet_bilinear", "{ type = 'unet', width = 4, bilinear = true }", 3, image);
}

#[test]
fn transformers() {
    let small = "width = 12, heads = 2, layers = 2, hidden = 16";
    check("vit_small", &format!("{{ type = 'vit_small', patch = 4, {small} }}"), 3, image);
    let texts = |shape: &[usize]| Tensor::from_vec(tokens(11.0, shape), shape);
    let small = "context = 8, width = 6, heads = 2, layers = 2, hidden = 10, dropout = 0.0";
    check("bert_tiny", &format!("{{ type = 'bert_tiny', {small} }}"), 11, texts);
    let classify = format!("{{ type = 'bert_tiny', {small}, classify = true, vocabulary = 11 }}");
    check("bert_tiny_classify", &classify, 3, texts);
}

#[test]
fn tables() {
    let rows = |_: &[usize]| {
        let categories = tokens(5.0, &[4, 2]).into_iter().map(|category| category as f32).collect();
        Tensor::concat(&[&image(&[4, 3]), &Tensor::from_vec(categories, [4, 2])], 1)
    };
    check("dlrm", "{ type = 'dlrm', tables = [5, 7], width = 4, bottom = [6], top = [8] }", 2, rows);
}

#[test]
fn coders() {
    for name in ["autoencoder", "vae"] {
        let settings = format!("{{ type = '{name}', width = 2, latent = 3 }}");
        check(name, &settings, 0, image);
        // They learn from their inputs, whatever the targets are: grey images, each of another brightness.
        let x = image(&[8, 1, 1, 1]).broadcast_to([8, 1, 12, 12]);
        let nothing = Tensor::zeros([8]);
        assert_eq!(spec(&settings).usual_loss(), Some("added"));
        let net = spec(&settings).build(0).unwrap();
        let mut step = compile(net, added(), Adam::new(1e-2), (&x, &nothing)).unwrap();
        let before = step.evaluate((&x, &nothing)).unwrap().loss;
        for _ in 0..100 {
            step.run((&x, &nothing)).unwrap();
        }
        let after = step.evaluate((&x, &nothing)).unwrap().loss;
        assert!(after < 0.7 * before, "{name}: {before} to {after}");
    }
}

/// As many parameters with 1000 classes as torchvision's have; nothing is computed.
#[test]
fn full_sizes() {
    for (name, size, count) in [
        ("alexnet", 224, 61_100_840),
        ("densenet121", 224, 7_978_856),
        ("efficientnet_b0", 224, 5_288_548),
        ("mobilenet_v2", 224, 3_504_872),
        ("vgg11", 224, 132_863_336),
        ("vgg16", 224, 138_357_544),
    ] {
        let summary =
            NetworkBuilder::new(spec(&format!("'{name}'")).build(1000).unwrap()).summary([3, size, size]);
        assert_eq!(summary.unwrap().parameters, count, "{name}");
    }
    for (name, count) in [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)] {
        let network = |settings: &str| NetworkBuilder::new(spec(settings).build(1000).unwrap());
        let summary = network(&format!("'{name}'")).summary([3, 224, 224]);
        assert_eq!(summary.unwrap().parameters, count, "{name}");
        // Less than 64 pixels: 3×3 filters, unless it is said.
        let fewer = (7 * 7 - 3 * 3) * 3 * 64;
        let small = network(&format!("'{name}'")).summary([3, 63, 64]).unwrap();
        assert_eq!(small.parameters, count - fewer, "{name}");
        let said = network(&format!("{{ type = '{name}', large_images = true }}")).summary([3, 32, 32]);
        assert_eq!(said.unwrap().parameters, count, "{name}");
    }
}

/// torchvision's models at full size, as scripts/export_models.py writes them into the folder of `DROPFORGE_MODELS`:
/// outputs to 1e-4 of the largest.
#[test]
#[ignore = "needs the folder that scripts/export_models.py writes"]
fn full_size_models() {
    let folder = std::path::PathBuf::from(std::env::var_os("DROPFORGE_MODELS").expect("a folder"));
    for (name, settings) in [
        ("alexnet", "'alexnet'"),
        ("vgg11", "'vgg11'"),
        ("vgg16_bn", "{ type = 'vgg16', batch_norm = true }"),
        ("resnet18_cifar", "'resnet18'"),
        ("resnet34", "{ type = 'resnet34', large_images = true }"),
        ("resnet50", "{ type = 'resnet50', large_images = true }"),
        ("resnet50_cifar", "'resnet50'"),
        ("mobilenet_v2", "'mobilenet_v2'"),
        ("efficientnet_b0", "'efficientnet_b0'"),
        ("densenet121", "'densenet121'"),
        ("vit_small", "'vit_small'"),
    ] {
        let read = |part: &str| Tensor::load_npy(folder.join(format!("{name}.{part}.npy"))).unwrap();
        let (x, y) = (read("x"), read("y"));
        let net = spec(settings).build(y.shape()[1]).unwrap();
        let mut network = Network::compile(net, &x.shape()[1..]).unwrap();
        let weights = folder.join(format!("{name}.safetensors"));
        let report = network.load_weights(weights, &dropforge::run::LoadOptions::new()).unwrap();
        assert!(report.is_complete(), "{name}: {report}");
        let (found, wanted) =
            (network.predict(&x).unwrap().to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());
        let largest = wanted.iter().fold(0.0f32, |largest, y| largest.max(y.abs()));
        let off = found.iter().zip(&wanted).fold(0.0f32, |off, (a, b)| off.max((a - b).abs()));
        println!("{name}: off by {:.1e} of {largest:.3}", off / largest);
        assert!(off <= 1e-4 * largest, "{name}: off by {off} of {largest}");
    }
}
