//! Train neural networks where a whole training step is one compiled program.
//!
//! Layers are traced once. The step (forward, loss, backward, clipping, the optimizer's update) is differentiated,
//! fused and planned as one program, and from then on each step is a single run on a device that keeps everything it
//! needs.
//!
//! ```
//! use dropforge::prelude::*;
//!
//! let net = seq![conv(6, 5).same(), relu(), max_pool(2), flatten(), dense(10)];
//! let (images, classes) = (Tensor::zeros([32, 1, 28, 28]), Tensor::from_vec(vec![0; 32], [32]));
//! let mut step = compile(net, cross_entropy(), Sgd::new(0.05).momentum(0.9), (&images, &classes))?;
//! let outcome = step.run((&images, &classes))?;
//! println!("loss {}; so far {}", outcome.loss()?, step.metrics()?);
//! # Ok::<(), dropforge::Error>(())
//! ```
//!
//! Mostly one does not call steps but lets a [`Trainer`](train::Trainer) do it, over batches of some [`data`]:
//!
//! ```
//! use dropforge::prelude::*;
//!
//! let (train, test) = datasets::digits(600, 100, 1);
//! let trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Adam::new(3e-3)).batch(32);
//! let mut trainer = trainer.compile(&train)?;
//! # let folder = std::env::temp_dir().join(format!("dropforge-first-page-{}", std::process::id()));
//! println!("{}", trainer.fit(&train).validate(&test).epochs(2).save(&folder).run()?);
//!
//! let trained = Trained::open(&folder, &Runtime::shared()?)?;    // in another program, without the layers
//! let best = &trained.classify(vec![0u8; 28 * 28])?[0];
//! println!("{} ({:.0} %)", best.class, best.probability * 100.0);
//! # drop(trainer);
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok::<(), dropforge::Error>(())
//! ```
//!
//! | to | see |
//! |---|---|
//! | train: epochs, validation, early stopping, schedules | [`train::Trainer`], [`train::Fit`], [`train::Callback`], [`schedule`] |
//! | bring data: arrays, folders of images, tables, texts, types of your own | [`data`], [`datasets`] |
//! | put layers together, write your own | [`nn`], [`nn::Layer`], [`nn::Scope`], [`models`] |
//! | choose a loss, an optimizer, a metric | [`loss`], [`optim`], [`metric`] |
//! | save, resume, load weights of others | [`train::Fit::save`], [`train::Trainer::resume`], [`run::LoadOptions`] |
//! | predict, in a program without the layers | [`run::Trained`] |
//! | compute with tensors and gradients directly | [`Tensor`] |
//! | write a training loop of your own | [`step`](mod@step) |
//! | choose a device | [`devices`], [`Runtime`] |
//!
//! Operations on tensors never fail and never panic: what does not fit shows as an [`Error`], with the operation, the
//! shapes, the layer and your source line, from the first call that returns a [`Result`].

pub mod data;
pub mod devices;
mod error;
pub mod file;
pub mod init;
pub mod loss;
pub mod metric;
pub mod models;
pub mod nn;
pub mod optim;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod step;
mod tensor;
pub mod train;

pub use error::{Error, ErrorKind, Result};
pub use tensor::{
    Axes, Conv2d, Element, Ellipsis, Generator, GradientCheck, Index, IntoIndex, IntoIndices, IntoReshape,
    IntoShape, NestedData, NewAxis, Operand, PadMode, Pool2d, Runtime, Tensor, Tensors, grad, gradients,
    no_grad, scan, scan_reverse, stepped, value_and_grad,
};

pub use dropforge_ir::{Array, BF16, DType, Data, F16, Shape, ValueType};
/// Charts as SVG text.
pub use dropforge_plot as plot;
pub use dropforge_runtime::MemoryStatistics;

/// Data sets that are built in or read from the files they usually come in.
pub mod datasets {
    pub use dropforge_data::{cifar10, digits, download_mnist, mnist};
}

/// Everything that most programs need.
pub mod prelude {
    pub use crate::datasets;
    pub use crate::init::Init;
    pub use crate::loss::{Loss, cross_entropy, mse};
    pub use crate::nn::{
        Layer, Scope, avg_pool, batch_norm, conv, dense, dropout, elu, embedding, flatten, gelu, gelu_tanh,
        global_avg_pool, layer_norm, leaky_relu, log_softmax, max_pool, named, relu, residual, sequential,
        sigmoid, silu, softmax, tanh,
    };
    pub use crate::optim::{Adam, AdamW, Optimizer, Sgd};
    pub use crate::run::Trained;
    pub use crate::schedule::Schedule;
    pub use crate::seq;
    pub use crate::step::{Network, NetworkBuilder, Precision, Step, StepBuilder, compile};
    pub use crate::train::{Trainer, early_stopping, highest, lowest, reduce_on_plateau};
    pub use crate::{
        Array, DType, Error, Generator, Result, Runtime, Shape, Tensor, ValueType, gradients, scan,
    };
}

/// The guides of the repository, whose programs are run as tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/getting-started.md")]
    mod getting_started {}
    #[doc = include_str!("../../../docs/data.md")]
    mod data {}
    #[doc = include_str!("../../../docs/layers.md")]
    mod layers {}
    #[doc = include_str!("../../../docs/losses.md")]
    mod losses {}
    #[doc = include_str!("../../../docs/optimizers.md")]
    mod optimizers {}
    #[doc = include_str!("../../../docs/schedules.md")]
    mod schedules {}
    #[doc = include_str!("../../../docs/memory.md")]
    mod memory {}
    #[doc = include_str!("../../../docs/metrics.md")]
    mod metrics {}
    #[doc = include_str!("../../../docs/callbacks.md")]
    mod callbacks {}
    #[doc = include_str!("../../../docs/checkpoints.md")]
    mod checkpoints {}
    #[doc = include_str!("../../../docs/performance.md")]
    mod performance {}
    #[doc = include_str!("../../../docs/mixed-precision.md")]
    mod mixed_precision {}
    #[doc = include_str!("../../../docs/tutorials.md")]
    mod tutorials {}
    #[doc = include_str!("../../../docs/watching.md")]
    mod watching {}
    #[doc = include_str!("../../../docs/transfer-learning.md")]
    mod transfer_learning {}
    #[doc = include_str!("../../../docs/from-pytorch.md")]
    mod from_pytorch {}
    #[cfg(feature = "onnx")]
    #[doc = include_str!("../../../docs/onnx.md")]
    mod onnx {}
}
