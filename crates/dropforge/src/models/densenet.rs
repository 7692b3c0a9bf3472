//! Densely connected networks (Huang et al.: Densely connected convolutional networks, arXiv:1608.06993).

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::nn::{Layer, Scope, avg_pool, batch_norm, conv, dense, max_pool};

models! {
    /// The model `densenet121`, with torchvision's parameter names: `features.conv0`, `norm0`,
    /// `denseblockB.denselayerN.norm1`, `conv1`, `norm2`, `conv2`, `transitionB.norm`, `conv`, `norm5` and
    /// `classifier`. 8.0 million parameters with 1000 classes.
    DenseNet121 = "densenet121", "blocks in which each layer sees all before it"
        like "torchvision's densenet121" but "weights start as in the layers, not as there",
        [3, 224, 224], Recipe::adam(1e-3); {
        growth: usize = 32, (1..=4096).into(), "channels that each layer adds";
        blocks: Vec<usize> = vec![6, 12, 24, 16], (1..=1000).into(), "layers of each block";
        dropout: f32 = 0.0, (0.0..1.0).into(), "probability behind each layer";
    }
}

impl DenseNet121 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let DenseNet121 { growth, blocks, dropout } = self.clone();
        Box::new(move |scope: &Scope, x: &Tensor| {
            let features = scope.enter("features");
            let normed = |scope: &Scope, name: &str, x: &Tensor| scope.layer(name, &batch_norm(), x).relu();
            let first = conv(2 * growth, 7).stride(2).padding(3).bias(false);
            let mut x = normed(&features, "norm0", &features.layer("conv0", &first, x));
            x = max_pool(3).stride(2).padding(1).forward(&features, &x);
            for (number, &count) in blocks.iter().enumerate() {
                let block = features.enter(&format!("denseblock{}", number + 1));
                for layer in 0..count {
                    let scope = block.enter(&format!("denselayer{}", layer + 1));
                    let y =
                        scope.layer("conv1", &conv(4 * growth, 1).bias(false), &normed(&scope, "norm1", &x));
                    let narrow = conv(growth, 3).padding(1).bias(false);
                    let y = scope.layer("conv2", &narrow, &normed(&scope, "norm2", &y));
                    let y = crate::nn::dropout(dropout).forward(&scope, &y);
                    x = Tensor::concat(&[&x, &y], 1);
                }
                if number + 1 < blocks.len() {
                    let scope = features.enter(&format!("transition{}", number + 1));
                    let channels = x.shape().get(1).map_or(1, |channels| channels / 2);
                    let y = normed(&scope, "norm", &x);
                    x = avg_pool(2).forward(&scope, &scope.layer("conv", &conv(channels, 1).bias(false), &y));
                }
            }
            let y = normed(&features, "norm5", &x);
            scope.layer("classifier", &dense(outputs), &y.mean([2, 3]))
        })
    }
}
