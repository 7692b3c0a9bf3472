//! What the entries of the registry are called elsewhere, and where they differ on purpose: a line here for each, from which
//! docs/vocabulary.md is written.

/// An entry's counterpart in PyTorch or the paper it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// What it is called there.
    pub name: &'static str,
    /// What is different on purpose; empty if nothing is.
    pub differs: &'static str,
}

/// The counterpart of an entry, by the plural of its kind and its name.
pub fn twin(kind: &str, name: &str) -> Option<Twin> {
    let (_, entries) = TWINS.iter().find(|(known, _)| *known == kind)?;
    let (_, twin, differs) = entries.iter().find(|(known, _, _)| *known == name)?;
    Some(Twin { name: twin, differs })
}

/// Name, counterpart, difference.
type Line = (&'static str, &'static str, &'static str);

/// All lines, by kind.
pub const TWINS: &[(&str, &[Line])] = &[
    ("layers", LAYERS),
    ("losses", LOSSES),
    ("optimizers", OPTIMIZERS),
    ("schedules", SCHEDULES),
    ("initialisers", INITIALISERS),
    ("models", MODELS),
];

const ANY_AXES: &str = "one layer for any number of axes";

const LAYERS: &[(&str, &str, &str)] = &[
    ("adaptive_avg_pool", "nn.AdaptiveAvgPool2d", ""),
    ("adaptive_max_pool", "nn.AdaptiveMaxPool2d", ""),
    ("alpha_dropout", "nn.AlphaDropout", ""),
    ("avg_pool", "nn.AvgPool2d", "no divisor_override"),
    ("avg_pool1d", "nn.AvgPool1d", ""),
    ("avg_pool3d", "nn.AvgPool3d", "no divisor_override"),
    ("batch_norm", "nn.BatchNorm1d, 2d, 3d", "one layer for any number of axes; no count of batches"),
    ("bilinear", "nn.Bilinear", "takes both vectors in one tensor; Bilinear::of takes two"),
    ("celu", "nn.CELU", ""),
    ("concat", "torch.cat of branches", ""),
    ("conv", "nn.Conv2d", "padding of two sides may differ"),
    ("conv1d", "nn.Conv1d", "padding of two sides may differ"),
    ("conv3d", "nn.Conv3d", "padding of two sides may differ; kernels up to 1,024 deep"),
    (
        "conv_transpose",
        "nn.ConvTranspose2d",
        "the output padding is smaller than the stride, whatever the dilation",
    ),
    (
        "conv_transpose1d",
        "nn.ConvTranspose1d",
        "the output padding is smaller than the stride, whatever the dilation",
    ),
    ("dense", "nn.Linear", "inputs are counted from what it is given"),
    ("drop_path", "torchvision.ops.StochasticDepth(mode=\"row\")", ""),
    ("dropout", "nn.Dropout", "other random numbers, the same on every device"),
    ("elu", "nn.ELU", ""),
    ("embedding", "nn.Embedding", "indices are i32; no max_norm, no sparse gradients"),
    ("flatten", "nn.Flatten", ""),
    ("gelu", "nn.GELU", ""),
    ("gelu_tanh", "nn.GELU(approximate=\"tanh\")", ""),
    ("global_avg_pool", "nn.AdaptiveAvgPool2d(1), flattened", ""),
    ("global_max_pool", "nn.AdaptiveMaxPool2d(1), flattened", ""),
    ("glu", "nn.GLU", ""),
    ("group_norm", "nn.GroupNorm", ""),
    ("gru", "nn.GRU(batch_first=True)", "lengths instead of packed sequences"),
    ("hard_shrink", "nn.Hardshrink", ""),
    ("hard_sigmoid", "nn.Hardsigmoid", ""),
    ("hard_swish", "nn.Hardswish", ""),
    ("hard_tanh", "nn.Hardtanh", ""),
    ("instance_norm", "nn.InstanceNorm1d, 2d, 3d", "one layer for any number of axes; no running statistics"),
    ("layer_norm", "nn.LayerNorm", "of the last axis alone"),
    ("leaky_relu", "nn.LeakyReLU", ""),
    ("learned_positions", "an nn.Embedding of positions, added", ""),
    ("log_sigmoid", "nn.LogSigmoid", ""),
    ("log_softmax", "nn.LogSoftmax", "the last axis unless told otherwise"),
    ("lp_pool", "nn.LPPool2d", ""),
    ("lstm", "nn.LSTM(batch_first=True)", "lengths instead of packed sequences; no projections"),
    ("max_pool", "nn.MaxPool2d", "no dilation"),
    ("max_pool1d", "nn.MaxPool1d", "no dilation"),
    ("max_pool3d", "nn.MaxPool3d", "no dilation"),
    ("mish", "nn.Mish", ""),
    (
        "multi_head_attention",
        "nn.MultiheadAttention(batch_first=True)",
        "a position that sees nothing gets zeros, not NaN; fewer heads for keys, rotary and ALiBi positions; no add_bias_kv, no \
         weights in the result",
    ),
    (
        "pad",
        "nn.ZeroPad2d, ConstantPad, ReflectionPad, ReplicationPad, CircularPad",
        "axes from the outermost inwards",
    ),
    ("parallel", "a sum of branches", ""),
    ("pixel_shuffle", "nn.PixelShuffle", ""),
    ("pixel_unshuffle", "nn.PixelUnshuffle", ""),
    ("prelu", "nn.PReLU", ""),
    ("relu", "nn.ReLU", ""),
    ("relu6", "nn.ReLU6", ""),
    ("repeat", "nn.Sequential of copies", "copies may share their parameters"),
    ("residual", "x + body(x)", ""),
    ("rms_norm", "nn.RMSNorm", "of the last axis alone; eps is 1e-5 unless told otherwise"),
    ("rnn", "nn.RNN(batch_first=True)", "lengths instead of packed sequences"),
    ("rotary_positions", "Su et al., arXiv:2104.09864, with the halves of LLaMA", ""),
    ("selu", "nn.SELU", ""),
    ("sequence", "nn.Sequential", ""),
    ("sigmoid", "nn.Sigmoid", ""),
    ("silu", "nn.SiLU", ""),
    ("sinusoidal_positions", "Vaswani et al., arXiv:1706.03762", ""),
    ("soft_shrink", "nn.Softshrink", ""),
    ("softmax", "nn.Softmax", "the last axis unless told otherwise"),
    ("softplus", "nn.Softplus", "beta is 1, and nothing is cut off"),
    ("softsign", "nn.Softsign", ""),
    ("spatial_dropout", "nn.Dropout1d, 2d, 3d", ANY_AXES),
    ("spectral_norm", "nn.utils.parametrizations.spectral_norm", "other random numbers to start from"),
    ("swiglu", "Shazeer, arXiv:2002.05202", ""),
    ("tanh", "nn.Tanh", ""),
    ("tanh_shrink", "nn.Tanhshrink", ""),
    ("threshold", "nn.Threshold", ""),
    ("tied", "a weight assigned to two modules", "checkpoints hold it once"),
    (
        "transformer_decoder",
        "nn.TransformerDecoderLayer(batch_first=True)",
        "causal unless told otherwise; as a layer of a file it is its own memory",
    ),
    ("transformer_encoder", "nn.TransformerEncoderLayer(batch_first=True)", "may be causal"),
    ("unflatten", "nn.Unflatten", "of the last axis"),
    ("upsample_bilinear", "nn.Upsample(mode=\"bilinear\")", "whole factors"),
    ("upsample_nearest", "nn.Upsample(mode=\"nearest\")", "whole factors"),
    ("weight_norm", "nn.utils.parametrizations.weight_norm", "of the first axis"),
];

const LOSSES: &[(&str, &str, &str)] = &[
    ("added", "add_loss of Keras", "what layers add is all there is"),
    ("bce", "nn.BCELoss", ""),
    ("bce_with_logits", "nn.BCEWithLogitsLoss", ""),
    ("categorical_cross_entropy", "nn.CrossEntropyLoss with probabilities", ""),
    ("cross_entropy", "nn.CrossEntropyLoss", "a class outside is an error, −100 too unless ignored"),
    ("ctc", "nn.CTCLoss", "scores, not logarithms; lengths stand in the targets"),
    ("dice", "Milletari et al., arXiv:1606.04797, without squares", ""),
    ("focal", "torchvision.ops.sigmoid_focal_loss", "the mean unless told otherwise"),
    ("gaussian_nll", "nn.GaussianNLLLoss", "means and variances are halves of one tensor"),
    ("hinge", "Keras' Hinge", ""),
    ("hinge_embedding", "nn.HingeEmbeddingLoss", ""),
    ("huber", "nn.HuberLoss", ""),
    ("info_nce", "van den Oord et al., arXiv:1807.03748", ""),
    ("kl_div", "nn.KLDivLoss", ""),
    ("mae", "nn.L1Loss", ""),
    ("mse", "nn.MSELoss", "shapes that would broadcast are refused"),
    ("nll", "nn.NLLLoss", ""),
    ("poisson_nll", "nn.PoissonNLLLoss", ""),
    ("smooth_l1", "nn.SmoothL1Loss", ""),
    ("soft_margin", "nn.SoftMarginLoss", ""),
];

const OPTIMIZERS: &[(&str, &str, &str)] = &[
    ("adadelta", "optim.Adadelta", ""),
    ("adafactor", "optim.Adafactor", ""),
    ("adagrad", "optim.Adagrad", ""),
    ("adam", "optim.Adam", ""),
    ("adamax", "optim.Adamax", ""),
    ("adamw", "optim.AdamW", ""),
    (
        "averaged",
        "optim.swa_utils.AveragedModel",
        "an optimizer around another; averages parameters, not statistics",
    ),
    ("gradient_noise", "Neelakantan et al., arXiv:1511.06807", "an optimizer around another"),
    ("lamb", "You et al., arXiv:1904.00962", ""),
    ("lion", "Chen et al., arXiv:2302.06675", ""),
    ("lookahead", "Zhang et al., arXiv:1907.08610", "an optimizer around another"),
    (
        "muon",
        "optim.Muon",
        "computes in f32, not bf16; parameters that are no matrices go by AdamW; filters are matrices",
    ),
    ("nadam", "optim.NAdam", ""),
    ("radam", "optim.RAdam", ""),
    ("rmsprop", "optim.RMSprop", ""),
    ("sgd", "optim.SGD", ""),
];

const SCHEDULES: &[(&str, &str, &str)] = &[
    ("chained", "lr_scheduler.ChainedScheduler", ""),
    ("constant", "no scheduler", ""),
    ("cosine", "lr_scheduler.CosineAnnealingLR", "moves with every batch"),
    ("cosine_restarts", "lr_scheduler.CosineAnnealingWarmRestarts", "moves with every batch"),
    ("exponential", "lr_scheduler.ExponentialLR", "moves with every batch"),
    ("inverse_root", "Noam, of Vaswani et al., arXiv:1706.03762", "the largest factor is 1"),
    ("linear", "lr_scheduler.LinearLR", "falls to a floor; a warm-up is a setting of every schedule"),
    ("milestones", "lr_scheduler.MultiStepLR", ""),
    ("one_cycle", "lr_scheduler.OneCycleLR", "phases do not end one step earlier; momentum stays"),
    ("polynomial", "lr_scheduler.PolynomialLR", "moves with every batch"),
    ("steps", "lr_scheduler.StepLR", ""),
    ("triangles", "lr_scheduler.CyclicLR(mode=\"triangular\")", "momentum stays"),
];

const INITIALISERS: &[(&str, &str, &str)] = &[
    ("constant", "init.constant_", ""),
    ("identity", "init.eye_, init.dirac_", ""),
    ("kaiming_normal", "init.kaiming_normal_", "fan in"),
    ("kaiming_uniform", "init.kaiming_uniform_", "fan in"),
    ("lecun_normal", "Keras' LecunNormal", ""),
    ("lecun_uniform", "Keras' LecunUniform", ""),
    ("normal", "init.normal_", ""),
    ("orthogonal", "init.orthogonal_", ""),
    ("sparse", "init.sparse_", ""),
    ("truncated_normal", "init.trunc_normal_", ""),
    ("uniform", "init.uniform_", ""),
    ("values", "a tensor that is copied", ""),
    ("xavier_normal", "init.xavier_normal_", ""),
    ("xavier_uniform", "init.xavier_uniform_", ""),
];

const OWN_START: &str = "weights start as in the layers, not as there";

const MODELS: &[(&str, &str, &str)] = &[
    ("alexnet", "torchvision's alexnet", "convolutions start Kaiming normal"),
    ("autoencoder", "-", ""),
    ("bert_tiny", "Hugging Face's BertForMaskedLM, BertForSequenceClassification", "one text of one type"),
    ("catsdogs", "-", ""),
    ("densenet121", "torchvision's densenet121", OWN_START),
    ("dlrm", "the authors' DLRM_Net", OWN_START),
    ("efficientnet_b0", "torchvision's efficientnet_b0", OWN_START),
    ("gpt", "Hugging Face's GPT2LMHeadModel", "scores are [batch, vocabulary, time]"),
    ("lenet", "LeCun et al., 1998", "ReLU and the largest of each window"),
    ("lstm-char", "-", ""),
    ("mlp", "-", ""),
    ("mobilenet_v2", "torchvision's mobilenet_v2", OWN_START),
    ("resnet18", "torchvision's resnet18", "starts for small images unless told otherwise"),
    ("resnet34", "torchvision's resnet34", "starts for small images unless told otherwise"),
    ("resnet50", "torchvision's resnet50", "starts for small images unless told otherwise"),
    ("tinycnn", "-", ""),
    ("unet", "Ronneberger et al., arXiv:1505.04597", "keeps the size, and has batch norms"),
    ("vae", "Kingma and Welling, arXiv:1312.6114", "squared differences"),
    ("vgg11", "torchvision's vgg11, vgg11_bn", "convolutions start Kaiming normal"),
    ("vgg16", "torchvision's vgg16, vgg16_bn", "convolutions start Kaiming normal"),
    ("vit_small", "torchvision's VisionTransformer", "patches of 4 by 4 unless told otherwise"),
];
