//! Plain stacks of convolutions: AlexNet (Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014)
//! and VGG (Simonyan and Zisserman: Very deep convolutional networks for large-scale image recognition, 2015).

use super::Recipe;
use super::declare::models;
use crate::init::Init;
use crate::nn::{
    Conv, Layer, Sequential, adaptive_avg_pool, batch_norm, conv, dense, dropout, flatten, max_pool, relu,
    sequential,
};
use crate::seq;
use crate::settings::Range;

models! {
    /// The model `alexnet`, with torchvision's parameter names: `features.0`, `3`, `6`, `8`, `10`, `classifier.1`, `4`,
    /// `6`. For images of at least 63 by 63 pixels; 61.1 million parameters with 1000 classes.
    AlexNet = "alexnet", "five convolutions and three dense layers, for large images"
        like "torchvision's alexnet" but "convolutions start Kaiming normal", [3, 224, 224], Recipe::adam(1e-4); {
        width: usize = 64, (1..=4096).into(), "channels of the first convolution";
        hidden: usize = 4096, (1..).into(), "units of the dense layers";
        dropout: f32 = 0.5, (0.0..1.0).into(), "probability before dense layers";
    }
    /// The model `vgg11`, with torchvision's parameter names: `features.N`, `classifier.0`, `3` and `6`. For images of
    /// at least 32 by 32 pixels; 132.9 million parameters with 1000 classes.
    Vgg11 = "vgg11", "8 convolutions of 3 by 3 and three dense layers"
        like "torchvision's vgg11, vgg11_bn" but "convolutions start Kaiming normal",
        [3, 224, 224], Recipe::adam(1e-4); {
        width: usize = 64, (1..=4096).into(), "channels of the first convolution";
        hidden: usize = 4096, (1..).into(), "units of the dense layers";
        dropout: f32 = 0.5, (0.0..1.0).into(), "probability behind dense layers";
        batch_norm: bool = false, Range::ANY, "whether convolutions are followed by batch norms";
    }
    /// The model `vgg16`: as [`Vgg11`], with 13 convolutions. 138.4 million parameters with 1000 classes.
    Vgg16 = "vgg16", "13 convolutions of 3 by 3 and three dense layers"
        like "torchvision's vgg16, vgg16_bn" but "convolutions start Kaiming normal",
        [3, 224, 224], Recipe::adam(1e-4); {
        width: usize = 64, (1..=4096).into(), "channels of the first convolution";
        hidden: usize = 4096, (1..).into(), "units of the dense layers";
        dropout: f32 = 0.5, (0.0..1.0).into(), "probability behind dense layers";
        batch_norm: bool = false, Range::ANY, "whether convolutions are followed by batch norms";
    }
}

/// A convolution that keeps the spread of what passes a ReLU.
fn kept(channels: usize, kernel: usize) -> Conv {
    conv(channels, kernel).weight_init(Init::kaiming_normal()).bias_init(Init::constant(0.0))
}

impl AlexNet {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let (width, hidden, p) = (self.width, self.hidden, self.dropout);
        let features = seq![
            kept(width, 11).stride(4).padding(2),
            relu(),
            max_pool(3).stride(2),
            kept(3 * width, 5).padding(2),
            relu(),
            max_pool(3).stride(2),
            kept(6 * width, 3).padding(1),
            relu(),
            kept(4 * width, 3).padding(1),
            relu(),
            kept(4 * width, 3).padding(1),
            relu(),
            max_pool(3).stride(2)
        ];
        let classifier =
            seq![dropout(p), dense(hidden), relu(), dropout(p), dense(hidden), relu(), dense(outputs)];
        Box::new(seq![
            "features" => features,
            "avgpool" => adaptive_avg_pool(6),
            "flatten" => flatten(),
            "classifier" => classifier
        ])
    }
}

/// Stages of so many convolutions of so many times the width, each with a pooling at its end.
fn vgg(
    stages: [(usize, usize); 5],
    width: usize,
    hidden: usize,
    p: f32,
    norms: bool,
    outputs: usize,
) -> Sequential {
    let mut features = sequential();
    for (count, times) in stages {
        for _ in 0..count {
            features = features.push(kept(times * width, 3).padding(1));
            if norms {
                features = features.push(batch_norm());
            }
            features = features.push(relu());
        }
        features = features.push(max_pool(2));
    }
    let classifier =
        seq![dense(hidden), relu(), dropout(p), dense(hidden), relu(), dropout(p), dense(outputs)];
    seq![
        "features" => features,
        "avgpool" => adaptive_avg_pool(7),
        "flatten" => flatten(),
        "classifier" => classifier
    ]
}

impl Vgg11 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let stages = [(1, 1), (1, 2), (2, 4), (2, 8), (2, 8)];
        Box::new(vgg(stages, self.width, self.hidden, self.dropout, self.batch_norm, outputs))
    }
}

impl Vgg16 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let stages = [(2, 1), (2, 2), (3, 4), (3, 8), (3, 8)];
        Box::new(vgg(stages, self.width, self.hidden, self.dropout, self.batch_norm, outputs))
    }
}
