//! The one list of everything that a name can stand for. An entry is a line here, or for data sets in
//! `data_sets/mod.rs`; what it is called, what can be set and how it is built is declared where it is implemented.

use super::model_spec::ListedLayers;
use super::{Augmentation, DataSet, GroupSpec, InputSpec, RunConfig, StartSpec, data_sets};
use crate::data::transform;
use crate::init::{self, Init, Initializer};
use crate::loss::{self, Loss};
use crate::metric::{self, Metric};
use crate::models::{self, Model};
use crate::nn::{self, Layer, named, sequential};
use crate::optim::{self, Optimizer};
use crate::schedule::{self, Rule};
use crate::settings::{Context, Declaration, Described, Library, SettingType, TYPE, Table, Value, unknown};
use crate::train::{self, Callback};
use crate::{Error, Result};
use std::any::Any;
use std::sync::LazyLock;

/// A thing of some kind, by name.
pub struct Entry<T: ?Sized> {
    /// Its name, its settings, and what it is.
    pub declaration: Declaration,
    pub(super) build: fn(&Table, &Context<'_>) -> Result<Box<T>>,
}

impl<T: ?Sized> Entry<T> {
    /// Builds it with these settings.
    ///
    /// # Errors
    /// A setting is unknown, missing, of another type or out of its range.
    pub fn build(&self, settings: &Table) -> Result<Box<T>> {
        (self.build)(settings, &context())
    }
}

macro_rules! entries {
    ($kind:ty: $($type:ty),* $(,)?) => {
        vec![$($crate::run::registry::Entry::<$kind> {
            declaration: <$type as $crate::settings::Described>::declaration(),
            build: |table, context| Ok(Box::new(<$type as $crate::settings::Described>::read(table, context)?)),
        }),*]
    };
}
pub(super) use entries;

/// Everything that a name can stand for, by kind.
pub struct Registry {
    /// What the layers of a model file may be.
    pub layers: Vec<Entry<dyn Layer>>,
    /// Losses.
    pub losses: Vec<Entry<dyn Loss>>,
    /// Optimizers.
    pub optimizers: Vec<Entry<dyn Optimizer>>,
    /// Rules by which the learning rate changes.
    pub schedules: Vec<Entry<dyn Rule>>,
    /// How parameters start.
    pub initialisers: Vec<Entry<dyn Initializer>>,
    /// Networks.
    pub models: Vec<Entry<dyn Model>>,
    /// Metrics.
    pub metrics: Vec<Entry<dyn Metric>>,
    /// What happens beside training.
    pub callbacks: Vec<Entry<dyn Callback>>,
    /// Data sets.
    pub data: Vec<Entry<dyn DataSet>>,
    /// Random changes of images.
    pub transforms: Vec<Entry<dyn Augmentation>>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry {
    layers: entries![dyn Layer:
        nn::AdaptiveAvgPool,
        nn::AdaptiveMaxPool,
        nn::AlphaDropout,
        nn::AvgPool,
        nn::AvgPool1d,
        nn::AvgPool3d,
        nn::BatchNorm,
        nn::Bilinear,
        nn::Celu,
        nn::Concat,
        nn::Conv,
        nn::Conv1d,
        nn::Conv3d,
        nn::ConvTranspose,
        nn::ConvTranspose1d,
        nn::Dense,
        nn::DropPath,
        nn::Dropout,
        nn::Elu,
        nn::Embedding,
        nn::Flatten,
        nn::Gelu,
        nn::GeluTanh,
        nn::GlobalAvgPool,
        nn::GlobalMaxPool,
        nn::Glu,
        nn::GroupNorm,
        nn::Gru,
        nn::HardShrink,
        nn::HardSigmoid,
        nn::HardSwish,
        nn::HardTanh,
        nn::InstanceNorm,
        nn::LayerNorm,
        nn::LeakyRelu,
        nn::LearnedPositions,
        nn::LogSigmoid,
        nn::LogSoftmax,
        nn::LpPool,
        nn::Lstm,
        nn::MaxPool,
        nn::MaxPool1d,
        nn::MaxPool3d,
        nn::Mish,
        nn::MultiHeadAttention,
        nn::Pad,
        nn::Parallel,
        nn::PixelShuffle,
        nn::PixelUnshuffle,
        nn::PRelu,
        nn::Relu,
        nn::Relu6,
        nn::Repeat,
        nn::Residual,
        nn::RmsNorm,
        nn::Rnn,
        nn::RotaryPositions,
        nn::Selu,
        nn::Sequential,
        nn::Sigmoid,
        nn::Silu,
        nn::SinusoidalPositions,
        nn::SoftShrink,
        nn::Softmax,
        nn::Softplus,
        nn::Softsign,
        nn::SpatialDropout,
        nn::SpectralNorm,
        nn::Swiglu,
        nn::Tanh,
        nn::TanhShrink,
        nn::Threshold,
        nn::Tied,
        nn::TransformerDecoder,
        nn::TransformerEncoder,
        nn::Unflatten,
        nn::UpsampleBilinear,
        nn::UpsampleNearest,
        nn::WeightNorm,
    ],
    losses: entries![dyn Loss:
        loss::Added,
        loss::BinaryCrossEntropy,
        loss::BinaryCrossEntropyOfLogits,
        loss::CategoricalCrossEntropy,
        loss::CrossEntropy,
        loss::Ctc,
        loss::Dice,
        loss::Focal,
        loss::GaussianLogLikelihood,
        loss::Hinge,
        loss::HingeEmbedding,
        loss::Huber,
        loss::Contrastive,
        loss::KlDivergence,
        loss::AbsoluteError,
        loss::MeanSquaredError,
        loss::NegativeLogLikelihood,
        loss::Poisson,
        loss::SmoothAbsoluteError,
        loss::SoftMargin,
    ],
    optimizers: entries![dyn Optimizer:
        optim::AdaDelta,
        optim::Adafactor,
        optim::AdaGrad,
        optim::Adam,
        optim::Adamax,
        optim::AdamW,
        optim::Averaged,
        optim::GradientNoise,
        optim::Lamb,
        optim::Lbfgs,
        optim::Lion,
        optim::Lookahead,
        optim::Muon,
        optim::NAdam,
        optim::RAdam,
        optim::RmsProp,
        optim::Sgd,
    ],
    schedules: entries![dyn Rule:
        schedule::Chained,
        schedule::Constant,
        schedule::Cosine,
        schedule::CosineRestarts,
        schedule::Exponential,
        schedule::InverseRoot,
        schedule::Linear,
        schedule::Milestones,
        schedule::OneCycle,
        schedule::Polynomial,
        schedule::Steps,
        schedule::Triangles,
    ],
    initialisers: entries![dyn Initializer:
        init::Constant,
        init::Identity,
        init::KaimingNormal,
        init::KaimingUniform,
        init::LecunNormal,
        init::LecunUniform,
        init::Normal,
        init::Orthogonal,
        init::Sparse,
        init::TruncatedNormal,
        init::Uniform,
        init::Given,
        init::XavierNormal,
        init::XavierUniform,
    ],
    models: entries![dyn Model:
        models::AlexNet,
        models::AutoEncoder,
        models::BertTiny,
        models::CatsDogs,
        models::DenseNet121,
        models::Dlrm,
        models::EfficientNetB0,
        models::Gpt,
        models::LeNet,
        models::LstmChar,
        models::Mlp,
        models::MobileNetV2,
        models::ResNet18,
        models::ResNet34,
        models::ResNet50,
        models::TinyCnn,
        models::UNet,
        models::Vae,
        models::Vgg11,
        models::Vgg16,
        models::VitSmall,
    ],
    metrics: entries![dyn Metric:
        metric::Accuracy,
        metric::Auc,
        metric::AveragePrecision,
        metric::BalancedAccuracy,
        metric::Brier,
        metric::CalibrationError,
        metric::ConfusionMatrix,
        metric::F1,
        metric::Kappa,
        metric::LogLoss,
        metric::MeanAbsoluteError,
        metric::MeanPercentageError,
        metric::Mcc,
        metric::MeanOfSquares,
        metric::Pearson,
        metric::Perplexity,
        metric::Precision,
        metric::R2,
        metric::Recall,
        metric::RootMeanOfSquares,
        metric::Spearman,
        metric::Specificity,
        metric::TokenAccuracy,
        metric::TopK,
    ],
    callbacks: entries![dyn Callback:
        train::EarlyStopping,
        train::KeepBest,
        super::Post,
        train::ReduceOnPlateau,
        super::TensorBoard,
        train::Unfreeze,
    ],
    data: data_sets::all(),
    transforms: entries![dyn Augmentation:
        transform::Affine,
        transform::AutoAugment,
        transform::AutoContrast,
        transform::Blur,
        transform::ColourJitter,
        crate::step::CutMix,
        transform::Elastic,
        transform::Equalise,
        transform::Erase,
        transform::Flip,
        transform::FlipVertically,
        transform::Grey,
        crate::step::MixUp,
        transform::Noise,
        transform::Perspective,
        transform::Posterise,
        transform::RandAugment,
        transform::RandomCrop,
        transform::RandomResizedCrop,
        transform::Rotate,
        transform::Sharpen,
        transform::Solarise,
        transform::TrivialAugment,
    ],
});

/// The list.
pub fn registry() -> &'static Registry {
    &REGISTRY
}

/// What settings are read with: nested things are built by name.
pub fn context() -> Context<'static> {
    Context { library: Some(&Names) }
}

/// A kind of thing that a name can stand for, with all there is of it.
pub struct Listing<'a> {
    /// What one of them is called: [`Kind::KIND`].
    pub kind: &'static str,
    /// What several are called, as on the command line: [`Kind::PLURAL`].
    pub plural: &'static str,
    /// What there is, in alphabetical order.
    pub entries: Vec<&'a Declaration>,
}

impl Registry {
    /// All kinds.
    pub fn kinds(&self) -> Vec<Listing<'_>> {
        vec![
            listing(&self.layers),
            listing(&self.losses),
            listing(&self.optimizers),
            listing(&self.schedules),
            listing(&self.initialisers),
            listing(&self.models),
            listing(&self.metrics),
            listing(&self.callbacks),
            listing(&self.data),
            listing(&self.transforms),
        ]
    }

    /// The tables that a configuration may have, and what every part of a kind can say; the whole configuration first.
    pub fn settings(&self) -> Vec<Declaration> {
        vec![
            <RunConfig as Described>::declaration(),
            <StartSpec as Described>::declaration(),
            <GroupSpec as Described>::declaration(),
            <InputSpec as Described>::declaration(),
            <nn::Naming as Described>::declaration(),
            <ListedLayers as Described>::declaration(),
            <schedule::Pace as Described>::declaration(),
        ]
    }

    /// What there is to say of the thing of this name and kind, such as `adam` and `optimizer`.
    pub fn declaration(&self, kind: &str, name: &str) -> Option<&Declaration> {
        let listing = self.kinds().into_iter().find(|listing| listing.kind == kind)?;
        listing.entries.into_iter().find(|entry| entry.name == name)
    }
}

fn listing<T: Kind + ?Sized>(entries: &[Entry<T>]) -> Listing<'_> {
    let entries = entries.iter().map(|entry| &entry.declaration).collect();
    Listing { kind: T::KIND, plural: T::PLURAL, entries }
}

/// A kind of thing that the registry lists.
pub trait Kind {
    /// What one of them is called, in messages and where a setting says which kind of thing it describes.
    const KIND: &'static str;

    /// What several are called, as in `dropforge list optimizers`.
    const PLURAL: &'static str;

    /// What there is.
    fn entries() -> &'static [Entry<Self>];

    /// Name and settings of this one.
    ///
    /// # Errors
    /// It cannot be written down.
    fn config(&self) -> Result<Table>;
}

macro_rules! kinds {
    ($($kind:ty, $name:literal, $plural:literal, $list:ident, $config:expr;)*) => {$(
        impl Kind for $kind {
            const KIND: &'static str = $name;
            const PLURAL: &'static str = $plural;

            fn entries() -> &'static [Entry<Self>] {
                &registry().$list
            }

            fn config(&self) -> Result<Table> {
                let config: fn(&$kind) -> Result<Table> = $config;
                config(self)
            }
        }
    )*};
}
kinds! {
    dyn Layer, "layer", "layers", layers, |layer| of_layer(layer.config()?);
    dyn Loss, "loss", "losses", losses, |loss| loss.config();
    dyn Optimizer, "optimizer", "optimizers", optimizers, |optimizer| optimizer.config();
    dyn Rule, "schedule", "schedules", schedules, |rule| rule.config();
    dyn Initializer, "initialiser", "initialisers", initialisers, |rule| rule.config();
    dyn Model, "model", "models", models, |model| model.config();
    dyn Metric, "metric", "metrics", metrics, |metric| metric.config();
    dyn Callback, "callback", "callbacks", callbacks, |callback| callback.config();
    dyn DataSet, "data set", "data", data, |data| data.config();
    dyn Augmentation, "transform", "transforms", transforms, |transform| transform.config();
}

/// A layer as a table; a list of layers is a sequence.
fn of_layer(config: Value) -> Result<Table> {
    match config {
        Value::Table(table) => Ok(table),
        layers => Ok(Table::from_iter([
            (TYPE.to_string(), Value::String(<nn::Sequential as Described>::NAME.into())),
            ("layers".to_string(), layers),
        ])),
    }
}

/// Builds what a name, or a table with `type` and settings, stands for.
///
/// # Errors
/// There is no such name (the nearest is offered), or a setting is wrong.
pub fn build<T: Kind + ?Sized + 'static>(value: &Value) -> Result<Box<T>> {
    let table = named_table(T::KIND, value)?;
    find(T::KIND, T::entries(), &table)?.build(&table)
}

/// The entry of this name.
///
/// # Errors
/// There is none; the nearest is offered.
pub fn entry<T: Kind + ?Sized + 'static>(name: &str) -> Result<&'static Entry<T>> {
    find(T::KIND, T::entries(), &Table::from_iter([(TYPE.to_string(), Value::String(name.into()))]))
}

/// A name alone as a table.
fn named_table(kind: &str, value: &Value) -> Result<Table> {
    match value {
        Value::Table(table) => Ok(table.clone()),
        Value::String(name) => Ok(Table::from_iter([(TYPE.to_string(), Value::String(name.clone()))])),
        _ => Err(Error::setting(format!("{kind}: should be a name, or a table with `{TYPE}` and settings"))),
    }
}

/// The entry that a table names.
fn find<'a, T: ?Sized>(kind: &str, entries: &'a [Entry<T>], table: &Table) -> Result<&'a Entry<T>> {
    let known: Vec<&str> = entries.iter().map(|entry| entry.declaration.name).collect();
    let Some(name) = table.get(TYPE) else {
        return Err(Error::setting(format!("{kind}: `{TYPE}` is missing; known are {}", known.join(", "))));
    };
    let name = name.as_str().ok_or_else(|| Error::setting(format!("{kind}: `{TYPE}` should be a text")))?;
    // Words of a name may be joined either way: `vit-small`, `vit_small`.
    let alike = |known: &str| known.len() == name.len() && known.replace('-', "_") == name.replace('-', "_");
    let found = entries.iter().find(|entry| alike(entry.declaration.name));
    found.ok_or_else(|| unknown(&format!("unknown {kind}"), name, "known are", &known))
}

/// The registry as what nested settings are built with.
struct Names;

impl Library for Names {
    fn build(&self, kind: &str, value: &Value) -> Result<Box<dyn Any>> {
        match kind {
            <dyn Layer>::KIND => Ok(Box::new(layer(value)?)),
            <dyn Initializer>::KIND => {
                let rule: Box<dyn Initializer> = build(value)?;
                Ok(Box::new(Init::from(rule)))
            }
            <dyn Optimizer>::KIND => {
                // Optimizers around optimizers, as deep as anybody wants them.
                if depth(value) > DEEPEST {
                    return Err(Error::setting(format!(
                        "optimizers stand in one another more than {DEEPEST} deep"
                    )));
                }
                Ok(Box::new(build::<dyn Optimizer>(value)?))
            }
            <dyn Rule>::KIND => Ok(Box::new(build::<dyn Rule>(value)?)),
            _ => Err(Error::setting(format!("there is no {kind} in files"))),
        }
    }
}

/// How deep layers may stand in layers: a file that nests more is no network.
const DEEPEST: usize = 64;

/// A layer, or layers one after another. `name` is a key that every layer may have.
fn layer(value: &Value) -> Result<Box<dyn Layer>> {
    if depth(value) > DEEPEST {
        return Err(Error::setting(format!("layers stand in one another more than {DEEPEST} deep")));
    }
    if let Value::Array(items) = value {
        let layers = items.iter().enumerate().map(|(index, item)| {
            layer(item).map_err(|error| error.context(format_args!("layer {index}{}", of_type(item))))
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        return Ok(Box::new(layers.into_iter().fold(sequential(), nn::Sequential::push)));
    }
    let mut table = named_table(<dyn Layer>::KIND, value)?;
    let name = table.remove(nn::NAME).map(|name| String::read(&name, &Context::NONE)).transpose();
    let name = name.map_err(|error| error.context("layer: `name`"))?;
    let built = find(<dyn Layer>::KIND, <dyn Layer>::entries(), &table)?.build(&table)?;
    match name {
        None => Ok(built),
        Some(name) if name.is_empty() || name.contains('.') => {
            Err(Error::setting(format!("layer: `name` is {name:?}; it must not be empty and hold no dot")))
        }
        Some(name) => Ok(Box::new(named(name, built))),
    }
}

/// ` (dense)` for a layer that says what it is.
fn of_type(value: &Value) -> String {
    let name = value.get(TYPE).unwrap_or(value).as_str();
    name.map_or_else(String::new, |name| format!(" ({})", name.chars().take(40).collect::<String>()))
}

/// How deep a value is nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Table(table) => 1 + table.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
