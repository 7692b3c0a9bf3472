//! The standard workloads of `dropforge bench`: networks, optimizers, shapes and sizes of batches, the same as those of
//! the peers they are compared with.

use dropforge::init::Init;
use dropforge::loss::{Loss, cross_entropy, mse};
use dropforge::models::{
    GptOptions, LstmCharOptions, catsdogs, gpt, lenet, lstm_char, mlp, resnet18, tinycnn,
};
use dropforge::nn::{
    Conv, Layer, Sequential, batch_norm, conv, dense, dropout, flatten, global_avg_pool, max_pool, relu,
    residual, sequential,
};
use dropforge::optim::{Adam, AdamW, Optimizer, Sgd};
use dropforge::{Generator, Tensor, seq};

/// The names of all workloads.
pub const NAMES: [&str; 17] = [
    "tinycnn",
    "tinycnn-adam",
    "mlp",
    "lenet",
    "catsdogs",
    "resnet18-b32",
    "resnet18-b512",
    "resnet50-b4",
    "resnet50-b256",
    "mobilenet",
    "vgg",
    "autoencoder",
    "wide",
    "tabular",
    "lstm-char",
    "gpt-char",
    "gpt2-124m",
];

/// A network, how it learns, and what from.
pub struct Workload {
    pub net: Box<dyn Layer>,
    pub optimizer: Box<dyn Optimizer>,
    pub task: Task,
    /// Samples in a batch, unless the command names another size.
    pub batch: usize,
}

/// What goes in, and what should come out.
pub enum Task {
    /// Normally distributed numbers in samples of this shape, each of one of so many classes.
    Classify { shape: Vec<usize>, classes: usize },
    /// Normally distributed numbers in samples of this shape, which are to come out again.
    Reconstruct { shape: Vec<usize> },
    /// Sequences of this many tokens out of a vocabulary of this size, and as many tokens to predict.
    Predict { context: usize, vocabulary: usize },
}

impl Task {
    /// One batch of random inputs with their targets, the same each time.
    pub fn data(&self, batch: usize) -> (Tensor, Tensor) {
        let mut generator = Generator::new(0);
        let of_batch = |shape: &[usize]| [&[batch], shape].concat();
        match self {
            Task::Classify { shape, classes } => {
                let targets = generator.randint([batch], 0, *classes as i32);
                (generator.randn(of_batch(shape)), targets)
            }
            Task::Reconstruct { shape } => {
                let inputs = generator.randn(of_batch(shape));
                (inputs.clone(), inputs)
            }
            Task::Predict { context, vocabulary } => {
                let mut tokens = || generator.randint([batch, *context], 0, *vocabulary as i32);
                (tokens(), tokens())
            }
        }
    }

    /// How far the network's outputs are from the targets.
    pub fn loss(&self) -> Box<dyn Loss> {
        match self {
            Task::Classify { .. } => Box::new(cross_entropy()),
            Task::Reconstruct { .. } => Box::new(mse()),
            // The scores of all tokens of all sequences count alike.
            Task::Predict { vocabulary, .. } => {
                let scores_of_token = [-1, *vocabulary as isize];
                Box::new(move |scores: &Tensor, targets: &Tensor| {
                    cross_entropy().loss(&scores.reshape(scores_of_token), &targets.reshape([-1]))
                })
            }
        }
    }
}

/// The workload of this name. The transformer is larger on a GPU, where there is more to compute with.
pub fn workload(name: &str, is_gpu: bool) -> Option<Workload> {
    match name {
        "tinycnn" => classifier(tinycnn(2), sgd(), &[3, 32, 32], 2, 32),
        "tinycnn-adam" => classifier(tinycnn(2), Adam::new(1e-3), &[3, 32, 32], 2, 32),
        "mlp" => classifier(mlp(10), Adam::new(1e-3), &[784], 10, 128),
        "lenet" => classifier(lenet(10), momentum(), &[1, 28, 28], 10, 128),
        "catsdogs" => classifier(catsdogs(2), Adam::new(1e-3), &[3, 64, 64], 2, 32),
        "resnet18-b32" => classifier(resnet18(10), momentum(), &[3, 32, 32], 10, 32),
        "resnet18-b512" => classifier(resnet18(10), momentum(), &[3, 32, 32], 10, 512),
        "resnet50-b4" => classifier(resnet50(1000), momentum(), &[3, 224, 224], 1000, 4),
        "resnet50-b256" => classifier(resnet50(1000), momentum(), &[3, 224, 224], 1000, 256),
        "mobilenet" => classifier(mobilenet(10), momentum(), &[3, 32, 32], 10, 32),
        "vgg" => classifier(vgg(10), momentum(), &[3, 32, 32], 10, 32),
        "autoencoder" => Some(Workload {
            net: Box::new(chain(&[128, 128, 8, 128, 128, 640])),
            optimizer: Box::new(Adam::new(1e-3)),
            task: Task::Reconstruct { shape: vec![640] },
            batch: 128,
        }),
        "wide" => classifier(chain(&[2048, 2048, 2048, 10]), momentum(), &[1024], 10, 256),
        "tabular" => classifier(tabular(2), Adam::new(1e-3), &[32], 2, 64),
        "lstm-char" => {
            let options = LstmCharOptions { vocabulary: 65, width: 128, layers: 1, dropout: 0.0 };
            let task = Task::Predict { context: 128, vocabulary: 65 };
            let optimizer = Box::new(Adam::new(1e-3));
            Some(Workload { net: Box::new(lstm_char(options)), optimizer, task, batch: 32 })
        }
        "gpt-char" if !is_gpu => {
            transformer(GptOptions { vocabulary: 65, context: 128, width: 128, heads: 4, layers: 4 }, 16)
        }
        "gpt-char" => {
            transformer(GptOptions { vocabulary: 65, context: 256, width: 384, heads: 6, layers: 6 }, 64)
        }
        "gpt2-124m" => {
            let options = GptOptions { vocabulary: 50304, context: 1024, width: 768, heads: 12, layers: 12 };
            transformer(options, 16)
        }
        _ => None,
    }
}

fn sgd() -> Sgd {
    Sgd::new(1e-2)
}

fn momentum() -> Sgd {
    sgd().momentum(0.9)
}

fn classifier(
    net: impl Layer + 'static,
    optimizer: impl Optimizer + 'static,
    shape: &[usize],
    classes: usize,
    batch: usize,
) -> Option<Workload> {
    let task = Task::Classify { shape: shape.to_vec(), classes };
    Some(Workload { net: Box::new(net), optimizer: Box::new(optimizer), task, batch })
}

fn transformer(options: GptOptions, batch: usize) -> Option<Workload> {
    let task = Task::Predict { context: options.context, vocabulary: options.vocabulary };
    let optimizer = Box::new(AdamW::new(3e-4).weight_decay(0.1));
    Some(Workload { net: Box::new(gpt(options)), optimizer, task, batch })
}

/// Dense layers of these widths with ReLU between them.
fn chain(widths: &[usize]) -> Sequential {
    let mut net = sequential();
    for (layer, &width) in widths.iter().enumerate() {
        net = if layer > 0 { net.push(relu()) } else { net };
        net = net.push(dense(width));
    }
    net
}

/// Two hidden layers of 64 units with batch norm and dropout, for rows of a table.
fn tabular(classes: usize) -> Sequential {
    let hidden = || seq![dense(64), batch_norm(), relu(), dropout(0.1)];
    hidden().push(hidden()).push(dense(classes))
}

/// Depthwise separable convolutions (Howard et al.: MobileNets, 2017) for small images: width 32 at the start, 512 at
/// the end.
fn mobilenet(classes: usize) -> Sequential {
    let mut net = seq![conv(32, 3).padding(1).bias(false), batch_norm(), relu()];
    let mut inputs = 32;
    let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1)];
    for (outputs, stride) in blocks {
        let depthwise = conv(inputs, 3).stride(stride).padding(1).groups(inputs).bias(false);
        net = net.push(depthwise).push(batch_norm()).push(relu());
        net = net.push(conv(outputs, 1).bias(false)).push(batch_norm()).push(relu());
        inputs = outputs;
    }
    net.push(global_avg_pool()).push(dense(classes))
}

/// 3×3 convolutions with batch norm in four stages that end in a pool each (Simonyan and Zisserman: Very deep
/// convolutional networks, 2014), for small images.
fn vgg(classes: usize) -> Sequential {
    let mut net = sequential();
    for (channels, count) in [(64, 1), (128, 1), (256, 2), (512, 2)] {
        for _ in 0..count {
            net = net.push(conv(channels, 3).padding(1).bias(false)).push(batch_norm()).push(relu());
        }
        net = net.push(max_pool(2));
    }
    net.push(flatten()).push(dense(512)).push(relu()).push(dense(classes))
}

/// ResNet-50 (He et al.: Deep residual learning for image recognition, 2016), with the stride of a stage in its first
/// 3×3 convolution, for images of 224×224. 25.6 million parameters with 1000 classes.
fn resnet50(classes: usize) -> Sequential {
    let mut net =
        seq![unbiased(64, 7).stride(2).padding(3), batch_norm(), relu(), max_pool(3).stride(2).padding(1)];
    for (stage, count) in [3, 4, 6, 3].into_iter().enumerate() {
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            net = net.push(bottleneck(64 << stage, stride, block == 0)).push(relu());
        }
    }
    net.push(global_avg_pool()).push(dense(classes))
}

/// A 3×3 convolution between two of 1×1, the last to four times as many channels, around which the input goes.
fn bottleneck(channels: usize, stride: usize, changes: bool) -> Box<dyn Layer> {
    let body = seq![
        unbiased(channels, 1),
        batch_norm(),
        relu(),
        unbiased(channels, 3).stride(stride).padding(1),
        batch_norm(),
        relu(),
        unbiased(4 * channels, 1),
        batch_norm()
    ];
    let around = residual(body);
    if !changes {
        return Box::new(around);
    }
    Box::new(around.shortcut(seq![unbiased(4 * channels, 1).stride(stride), batch_norm()]))
}

/// A convolution without bias that starts as torchvision's residual networks do: normal, with the variance 2 / fan out.
/// A batch norm follows, so that smaller weights would learn faster.
fn unbiased(channels: usize, kernel: usize) -> Conv {
    let fan_out = channels * kernel * kernel;
    conv(channels, kernel).bias(false).weight_init(Init::normal(0.0, (2.0 / fan_out as f32).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge::Runtime;
    use dropforge::step::NetworkBuilder;

    /// Parameters as PyTorch counts them for the same networks.
    #[test]
    fn networks_are_those_of_the_peers() {
        let parameters = [
            ("mobilenet", 811_850),
            ("vgg", 5_556_810),
            ("resnet50-b4", 25_557_032),
            ("autoencoder", 199_816),
            ("wide", 10_512_394),
            ("tabular", 6_658),
        ];
        for (name, count) in parameters {
            let Workload { net, task, .. } = workload(name, false).unwrap();
            let (Task::Classify { shape, .. } | Task::Reconstruct { shape }) = task else {
                panic!("{name} takes images");
            };
            let runtime = Runtime::shared().unwrap();
            let network = NetworkBuilder::new(net).runtime(&runtime).compile(shape.as_slice()).unwrap();
            assert_eq!(network.parameter_count(), count, "{name}");
        }
    }

    #[test]
    fn every_name_is_known() {
        for name in NAMES {
            assert!(workload(name, false).is_some() && workload(name, true).is_some(), "{name}");
        }
    }
}
