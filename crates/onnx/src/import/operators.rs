//! The table of operators.

use super::{Call, Importer, Item};
use super::{attention, control, elementwise, movement, network, quantized, recurrent, reduction, resize};
use crate::Result;

/// Makes operations of a node.
type Import = for<'m, 'a> fn(&mut Importer<'m, 'a>, &Call<'m, 'a>) -> Result<Vec<Item>>;

/// An operator that can be imported.
pub(super) struct Operator {
    pub domain: &'static str,
    pub name: &'static str,
    pub import: Import,
    /// Whether halves are computed in f32 and rounded at the end.
    pub wide: bool,
}

macro_rules! operators {
    ($($name:literal => $import:path $(, $wide:ident)?;)*) => {
        /// Every operator of the standard's main domain that can be imported.
        pub(super) const OPERATORS: &[Operator] = &[
            $(Operator { domain: "", name: $name, import: $import, wide: operators!(@ $($wide)?) }),*
        ];
    };
    (@ wide) => { true };
    (@) => { false };
}

operators! {
    "Abs" => elementwise::abs;
    "Acos" => elementwise::acos, wide;
    "Acosh" => elementwise::acosh, wide;
    "Add" => elementwise::add;
    "And" => elementwise::and;
    "ArgMax" => reduction::arg_max;
    "ArgMin" => reduction::arg_min;
    "Asin" => elementwise::asin, wide;
    "Asinh" => elementwise::asinh, wide;
    "Atan" => elementwise::atan, wide;
    "Atanh" => elementwise::atanh, wide;
    "Attention" => attention::attention, wide;
    "AveragePool" => network::average_pool, wide;
    "BatchNormalization" => network::batch_normalization, wide;
    "BitShift" => elementwise::bit_shift;
    "BitwiseAnd" => elementwise::bitwise_and;
    "BitwiseNot" => elementwise::bitwise_not;
    "BitwiseOr" => elementwise::bitwise_or;
    "BitwiseXor" => elementwise::bitwise_xor;
    "BlackmanWindow" => movement::blackman_window;
    "Cast" => elementwise::cast;
    "CastLike" => elementwise::cast_like;
    "Ceil" => elementwise::ceil;
    "Celu" => elementwise::celu, wide;
    "CenterCropPad" => movement::center_crop_pad;
    "Clip" => elementwise::clip;
    "Compress" => movement::compress;
    "Concat" => movement::concat;
    "ConcatFromSequence" => control::concat_from_sequence;
    "Constant" => movement::constant;
    "ConstantOfShape" => movement::constant_of_shape;
    "Conv" => network::conv;
    "ConvInteger" => quantized::conv_integer;
    "ConvTranspose" => network::conv_transpose;
    "Cos" => elementwise::cos;
    "Cosh" => elementwise::cosh, wide;
    "CumSum" => reduction::cum_sum;
    "CumProd" => reduction::cum_prod;
    "DepthToSpace" => movement::depth_to_space;
    "DequantizeLinear" => quantized::dequantize_linear;
    "Det" => reduction::det, wide;
    "Div" => elementwise::div;
    "Dropout" => elementwise::dropout;
    "DynamicQuantizeLinear" => quantized::dynamic_quantize_linear;
    "Einsum" => network::einsum;
    "Elu" => elementwise::elu, wide;
    "Equal" => elementwise::equal;
    "Erf" => elementwise::erf;
    "Exp" => elementwise::exp;
    "Expand" => movement::expand;
    "EyeLike" => movement::eye_like;
    "Flatten" => movement::flatten;
    "Floor" => elementwise::floor;
    "GRU" => recurrent::gru, wide;
    "Gather" => movement::gather;
    "GatherElements" => movement::gather_elements;
    "GatherND" => movement::gather_nd;
    "Gelu" => elementwise::gelu, wide;
    "Gemm" => network::gemm, wide;
    "GlobalAveragePool" => network::global_average_pool, wide;
    "GlobalMaxPool" => network::global_max_pool;
    "Greater" => elementwise::greater;
    "GreaterOrEqual" => elementwise::greater_or_equal;
    "GroupNormalization" => network::group_normalization, wide;
    "HammingWindow" => movement::hamming_window;
    "HannWindow" => movement::hann_window;
    "HardSigmoid" => elementwise::hard_sigmoid, wide;
    "HardSwish" => elementwise::hard_swish, wide;
    "Hardmax" => reduction::hardmax;
    "Identity" => elementwise::identity;
    "If" => control::if_;
    "InstanceNormalization" => network::instance_normalization, wide;
    "IsInf" => elementwise::is_inf;
    "IsNaN" => elementwise::is_nan;
    "LRN" => network::lrn, wide;
    "LSTM" => recurrent::lstm, wide;
    "LayerNormalization" => network::layer_normalization, wide;
    "LeakyRelu" => elementwise::leaky_relu, wide;
    "Less" => elementwise::less;
    "LessOrEqual" => elementwise::less_or_equal;
    "Log" => elementwise::log;
    "LogSoftmax" => reduction::log_softmax, wide;
    "Loop" => control::loop_;
    "LpNormalization" => reduction::lp_normalization, wide;
    "LpPool" => network::lp_pool, wide;
    "MatMul" => network::matmul;
    "MatMulInteger" => quantized::matmul_integer;
    "Max" => elementwise::max;
    "MaxPool" => network::max_pool;
    "Mean" => elementwise::mean, wide;
    "MeanVarianceNormalization" => network::mean_variance_normalization, wide;
    "Min" => elementwise::min;
    "Mish" => elementwise::mish, wide;
    "Mod" => elementwise::modulo;
    "Mul" => elementwise::mul;
    "Neg" => elementwise::neg;
    "NegativeLogLikelihoodLoss" => reduction::negative_log_likelihood_loss, wide;
    "NonZero" => movement::non_zero;
    "Not" => elementwise::not;
    "OneHot" => movement::one_hot;
    "Optional" => control::optional;
    "OptionalGetElement" => control::optional_get_element;
    "OptionalHasElement" => control::optional_has_element;
    "Or" => elementwise::or;
    "PRelu" => elementwise::prelu, wide;
    "Pad" => movement::pad;
    "Pow" => elementwise::pow;
    "QLinearConv" => quantized::qlinear_conv;
    "QLinearMatMul" => quantized::qlinear_matmul;
    "QuantizeLinear" => quantized::quantize_linear;
    "RMSNormalization" => network::rms_normalization, wide;
    "RNN" => recurrent::rnn, wide;
    "Range" => movement::range;
    "Reciprocal" => elementwise::reciprocal;
    "ReduceL1" => reduction::reduce_l1, wide;
    "ReduceL2" => reduction::reduce_l2, wide;
    "ReduceLogSum" => reduction::reduce_log_sum, wide;
    "ReduceLogSumExp" => reduction::reduce_log_sum_exp, wide;
    "ReduceMax" => reduction::reduce_max;
    "ReduceMean" => reduction::reduce_mean, wide;
    "ReduceMin" => reduction::reduce_min;
    "ReduceProd" => reduction::reduce_prod;
    "ReduceSum" => reduction::reduce_sum;
    "ReduceSumSquare" => reduction::reduce_sum_square, wide;
    "Relu" => elementwise::relu;
    "Reshape" => movement::reshape;
    "Resize" => resize::resize, wide;
    "ReverseSequence" => movement::reverse_sequence;
    "RotaryEmbedding" => attention::rotary_embedding, wide;
    "Round" => elementwise::round;
    "Scan" => control::scan;
    "Scatter" => movement::scatter_elements;
    "ScatterElements" => movement::scatter_elements;
    "ScatterND" => movement::scatter_nd;
    "Selu" => elementwise::selu, wide;
    "SequenceAt" => control::sequence_at;
    "SequenceConstruct" => control::sequence_construct;
    "SequenceEmpty" => control::sequence_empty;
    "SequenceErase" => control::sequence_erase;
    "SequenceInsert" => control::sequence_insert;
    "SequenceLength" => control::sequence_length;
    "SequenceMap" => control::sequence_map;
    "Shape" => movement::shape;
    "Shrink" => elementwise::shrink, wide;
    "Sigmoid" => elementwise::sigmoid;
    "Sign" => elementwise::sign;
    "Sin" => elementwise::sin;
    "Sinh" => elementwise::sinh, wide;
    "Size" => movement::size;
    "Slice" => movement::slice;
    "Softmax" => reduction::softmax, wide;
    "SoftmaxCrossEntropyLoss" => reduction::softmax_cross_entropy_loss, wide;
    "Softplus" => elementwise::softplus, wide;
    "Softsign" => elementwise::softsign, wide;
    "SpaceToDepth" => movement::space_to_depth;
    "Split" => movement::split;
    "SplitToSequence" => control::split_to_sequence;
    "Sqrt" => elementwise::sqrt;
    "Squeeze" => movement::squeeze;
    "Sub" => elementwise::sub;
    "Sum" => elementwise::sum;
    "Swish" => elementwise::swish, wide;
    "Tan" => elementwise::tan, wide;
    "Tanh" => elementwise::tanh;
    "ThresholdedRelu" => elementwise::thresholded_relu, wide;
    "Tile" => movement::tile;
    "TopK" => reduction::top_k;
    "Transpose" => movement::transpose;
    "Trilu" => movement::trilu;
    "Unsqueeze" => movement::unsqueeze;
    "Upsample" => resize::upsample, wide;
    "Where" => elementwise::where_;
    "Xor" => elementwise::xor;
}
