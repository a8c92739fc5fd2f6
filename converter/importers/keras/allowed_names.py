"""What a Keras file may name: the classes and functions of Keras, and functions of TensorFlow, that only compute.

Left out on purpose: layers that hold code or call into other libraries (Lambda, TFSMLayer, JaxLayer, FlaxLayer,
TorchModuleWrapper), layers that get attributes or methods by name (ClassMethod, InstanceMethod, InstanceProperty),
feature columns (they may read files), and operations over functions (Map, Scan, WhileLoop and the like).
"""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODELS: Final = _names("Functional Model Sequential")

LAYERS: Final = _names(
    """
    AbstractRNNCell Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AddLoss AddMetric
    AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D AveragePooling2D
    AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BatchNormalization BatchNormalizationV1 BatchNormalizationV2
    Bidirectional CategoryEncoding CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D
    Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D
    Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CuDNNGRU
    CuDNNLSTM CutMix Dense DepthwiseConv1D DepthwiseConv2D DeviceWrapper Discretization Dot Dropout
    DropoutWrapper ELU EinsumDense Embedding Equalization Flatten GRU GRUCell GRUCellV1 GRUCellV2 GRUV1 GRUV2
    GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention
    HashedCrossing Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LSTMCellV1 LSTMCellV2 LSTMV1 LSTMV2
    LayerNormalization LeakyReLU LocallyConnected1D LocallyConnected2D Masking MaxNumBoundingBoxes MaxPool1D
    MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp
    MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment
    RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert RandomPerspective RandomPosterization
    RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom ReLU
    RepeatVector Rescaling Reshape ResidualWrapper Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D
    SeparableConv2D SeparableConvolution1D SeparableConvolution2D SimpleRNN SimpleRNNCell SlicingOpLambda Softmax
    Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells
    StringLookup Subtract SyncBatchNormalization TFOpLambda TensorFlowOpLayer TextVectorization ThresholdedReLU
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D
    """
)

OPERATIONS: Final = _names(
    """
    Abs Absolute AdaptiveAveragePool AdaptiveMaxPool All Amax Amin Any Append Arange Arccos Arccosh Arcsin
    Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argsort Array AveragePool BatchNorm Bincount BroadcastTo Cast
    Cbrt Ceil Celu Cholesky Clip Conj Conv ConvTranspose ConvertToTensor Copy Cos Cosh CountNonzero Cross Cumprod
    Cumsum DepthToSpace DepthwiseConv Det Diag Diagonal Diff Digitize Divide DivideNoNan DotProductAttention
    Einsum Elu Equal Erf Erfinv Exp Exp2 ExpandDims Expm1 ExtractSequences FFT FFT2 Flip Floor FloorDivide Full
    FullLike Gelu GetItem Glu Greater GreaterEqual HardShrink HardSigmoid HardSilu HardTanh Heaviside Hstack
    Hypot IFFT2 IRFFT ISTFT Imag Inner Inv Isclose Isfinite Isinf Isnan LayerNorm LeakyRelu Less LessEqual
    Linspace Log Log10 Log1p Log2 LogSigmoid LogSoftmax Logaddexp Logdet LogicalAnd LogicalNot LogicalOr
    LogicalXor Logsumexp LuFactor Matmul Max MaxPool Mean Median Meshgrid Min Mod Moments Moveaxis MultiHot
    NanToNum Ndim Negative Norm Normalize NotEqual OneHot OnesLike Outer Pad Power Prod Qr Quantile RFFT RMSNorm
    Ravel Real Rearrange Reciprocal Relu Relu6 Repeat Roll Rot90 Round Rsqrt STFT SVD SaturateCast Scatter
    ScatterUpdate SearchSorted SegmentMax SegmentSum Select Selu SeparableConv Sigmoid Sign Silu Sin Sinh Size
    Slice SliceUpdate SoftShrink Softplus Softsign Solve SolveTriangular Sort SpaceToDepth SparsePlus
    SparseSigmoid Sparsemax Split Sqrt Square Squareplus Squeeze Stack Std StopGradient Sum Swapaxes Take
    TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold Tile TopK Trace Transpose Tril Triu TrueDivide Trunc
    Unfold Unstack Var Vdot View Vstack Where ZerosLike
    """
)
"""Operations of Keras 3 that a functional model calls as if they were layers."""

OPTIONS: Final = _names(
    """
    AWQDTypePolicy AutocastPolicy Constant DTypePolicy DTypePolicyMap FloatDTypePolicy GlorotNormal GlorotUniform
    HeNormal HeUniform IdentityInitializer L1 L1L2 L2 LecunNormal LecunUniform MaxNorm MinMaxNorm NonNeg Ones
    Orthogonal OrthogonalInitializer OrthogonalRegularizer Policy PolicyV1 QuantizedDTypePolicy
    QuantizedFloat8DTypePolicy RadialConstraint RandomNormal RandomUniform STFTInitializer SeedGenerator
    TruncatedNormal UnitNorm VarianceScaling Zeros
    """
)
"""Initializers, regularizers, constraints and policies."""

TRAINING: Final = _names(
    """
    AUC Accuracy Adadelta Adafactor Adagrad Adam AdamW Adamax BinaryAccuracy BinaryCrossentropy
    BinaryFocalCrossentropy BinaryIoU CTC CategoricalAccuracy CategoricalCrossentropy
    CategoricalFocalCrossentropy CategoricalHinge Circle CosineDecay CosineDecayRestarts CosineSimilarity Dice
    ExponentialDecay F1Score FBetaScore FalseNegatives FalsePositives Ftrl Hinge Huber InverseTimeDecay IoU
    KLDivergence Lamb Lion LogCosh LogCoshError LossScaleOptimizer MeanAbsoluteError MeanAbsolutePercentageError
    MeanIoU MeanMetricWrapper MeanSquaredError MeanSquaredLogarithmicError Muon Nadam OneHotIoU OneHotMeanIoU
    PiecewiseConstantDecay Poisson PolynomialDecay Precision PrecisionAtRecall R2Score RMSprop Recall
    RecallAtPrecision RootMeanSquaredError SGD SensitivityAtSpecificity SparseCategoricalAccuracy
    SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy SpecificityAtSensitivity SquaredHinge
    TopKCategoricalAccuracy TrueNegatives TruePositives Tversky binary_accuracy binary_crossentropy
    binary_focal_crossentropy categorical_accuracy categorical_crossentropy categorical_focal_crossentropy
    categorical_hinge cosine_similarity ctc hinge huber kl_divergence kld log_cosh mae mape mean_absolute_error
    mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error mse msle poisson
    sparse_categorical_accuracy sparse_categorical_crossentropy sparse_top_k_categorical_accuracy squared_hinge
    top_k_categorical_accuracy
    """
)
"""Optimizers, losses and metrics: a model inside another brings its own."""

DATA: Final = frozenset(
    {"TensorShape", "__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__"}
    | {"__tuple__"}
)
"""What Keras writes down like a class and is a value."""

CLASSES: Final = MODELS | LAYERS | OPERATIONS | OPTIONS | TRAINING | DATA
"""Every class that a file may name."""

ACTIVATIONS: Final = _names(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus
    sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    """
)

FUNCTIONS: Final = (
    ACTIVATIONS
    | TRAINING
    | _names(
        """
        abs add clip concatenate cos dot exp erf expand_dims gelu glorot_normal glorot_uniform he_normal
        he_uniform identity l1 l2 l1_l2 lecun_normal lecun_uniform log log1p matmul max max_norm maximum mean min
        min_max_norm minimum multiply negative non_neg normalize ones orthogonal random_normal random_uniform
        relu6 reshape round rsqrt sign sin sqrt square squeeze stack subtract sum tan transpose truncated_normal
        unit_norm variance_scaling where zeros
        """
    )
)
"""Every function that a file may name: activations, initializers, losses, and operations that only compute."""

TF_FUNCTIONS: Final = (
    _names(
        """
        argsort batch_to_space bitcast boolean_mask broadcast_dynamic_shape broadcast_static_shape broadcast_to
        cast clip_by_global_norm clip_by_norm clip_by_value concat constant convert_to_tensor dynamic_partition
        dynamic_stitch einsum ensure_shape expand_dims eye fill gather gather_nd histogram_fixed_width identity
        identity_n linspace meshgrid norm one_hot ones ones_like pad parallel_stack range rank realdiv repeat
        reshape reverse reverse_sequence roll scatter_nd searchsorted sequence_mask shape shape_n size slice sort
        space_to_batch space_to_batch_nd split squeeze stack stop_gradient strided_slice tensor_scatter_nd_add
        tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile
        transpose truncatediv truncatemod unique unique_with_counts unstack where zeros zeros_like
        __operators__.add __operators__.eq __operators__.getitem __operators__.ne arg_max arg_min batch_gather
        batch_to_space_nd div extract_image_patches floor_div sparse_to_dense substr to_bfloat16 to_double
        to_float to_int32 to_int64 nn.conv2d_backprop_input nn.depthwise_conv2d_native nn.fused_batch_norm
        nn.softmax_cross_entropy_with_logits_v2 nn.xw_plus_b image.resize_area image.resize_bicubic
        image.resize_bilinear image.resize_images image.resize_nearest_neighbor setdiff1d nn.space_to_batch
        dtypes.complex dtypes.saturate_cast debugging.assert_all_finite debugging.assert_equal
        debugging.assert_greater debugging.assert_greater_equal debugging.assert_less debugging.assert_less_equal
        debugging.assert_near debugging.assert_non_negative debugging.assert_none_equal debugging.assert_positive
        debugging.assert_rank debugging.check_numerics bitwise.bitwise_and bitwise.bitwise_or bitwise.bitwise_xor
        bitwise.invert bitwise.left_shift bitwise.right_shift
        """
    )
    | frozenset(
        f"math.{name}"
        for name in _names(
            """
            abs accumulate_n acos acosh add add_n angle argmax argmin asin asinh atan atan2 atanh bessel_i0
            bessel_i0e bessel_i1 bessel_i1e betainc bincount ceil confusion_matrix conj cos cosh count_nonzero
            cumprod cumsum cumulative_logsumexp digamma divide divide_no_nan equal erf erfc erfcinv erfinv exp
            expm1 floor floordiv floormod greater greater_equal igamma igammac imag in_top_k invert_permutation
            is_finite is_inf is_nan is_non_decreasing is_strictly_increasing l2_normalize lbeta less less_equal
            lgamma log log1p log_sigmoid logical_and logical_not logical_or logical_xor maximum minimum multiply
            multiply_no_nan ndtri negative nextafter not_equal polygamma polyval pow real reciprocal
            reciprocal_no_nan reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean
            reduce_min reduce_prod reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul segment_max
            segment_mean segment_min segment_prod segment_sum sigmoid sign sin sinh softplus sqrt square
            squared_difference subtract tan tanh top_k truediv unsorted_segment_max unsorted_segment_mean
            unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py
            xlogy zero_fraction zeta
            """
        )
    )
    | frozenset(
        f"nn.{name}"
        for name in _names(
            """
            atrous_conv2d avg_pool avg_pool1d avg_pool2d avg_pool3d batch_norm_with_global_normalization
            batch_normalization bias_add conv1d conv1d_transpose conv2d conv2d_transpose conv3d conv3d_transpose
            conv_transpose convolution crelu depth_to_space depthwise_conv2d dilation2d dropout elu
            embedding_lookup erosion2d gelu l2_loss leaky_relu local_response_normalization log_poisson_loss
            log_softmax max_pool max_pool1d max_pool2d max_pool3d max_pool_with_argmax moments normalize_moments
            pool relu relu6 selu separable_conv2d sigmoid_cross_entropy_with_logits silu softmax
            softmax_cross_entropy_with_logits softsign space_to_depth sparse_softmax_cross_entropy_with_logits
            sufficient_statistics weighted_cross_entropy_with_logits weighted_moments with_space_to_batch
            """
        )
    )
    | frozenset(
        f"linalg.{name}"
        for name in _names(
            """
            adjoint band_part cholesky cholesky_solve cross det diag diag_part eig eigh eigvals eigvalsh expm
            global_norm inv logdet lstsq lu matmul matrix_rank matrix_transpose matvec normalize pinv qr set_diag
            slogdet solve sqrtm svd tensor_diag tensor_diag_part trace triangular_solve
            """
        )
    )
    | frozenset(
        f"signal.{name}"
        for name in _names(
            """
            dct fft fft2d fft3d fftshift frame hamming_window hann_window idct ifft ifft2d ifft3d ifftshift
            inverse_stft irfft irfft2d irfft3d kaiser_window linear_to_mel_weight_matrix mdct
            mfccs_from_log_mel_spectrograms overlap_and_add rfft rfft2d rfft3d stft vorbis_window
            """
        )
    )
    | frozenset(
        f"image.{name}"
        for name in _names(
            """
            adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation central_crop
            convert_image_dtype crop_and_resize crop_to_bounding_box extract_patches flip_left_right flip_up_down
            grayscale_to_rgb hsv_to_rgb pad_to_bounding_box per_image_standardization resize
            resize_with_crop_or_pad resize_with_pad rgb_to_grayscale rgb_to_hsv rgb_to_yiq rgb_to_yuv rot90
            sobel_edges transpose yiq_to_rgb yuv_to_rgb
            """
        )
    )
    | frozenset(
        f"keras.backend.{name}"
        for name in _names(
            """
            abs all any arange argmax argmin batch_dot batch_flatten batch_normalization bias_add
            binary_crossentropy cast categorical_crossentropy clip concatenate constant conv1d conv2d conv3d cos
            cumprod cumsum depthwise_conv2d dot dropout elu equal exp expand_dims eye flatten gather greater
            greater_equal hard_sigmoid identity int_shape l2_normalize less less_equal log max maximum mean min
            minimum ndim not_equal one_hot ones ones_like permute_dimensions pool2d pool3d pow prod relu repeat
            repeat_elements reshape resize_images reverse round separable_conv2d shape sigmoid sign sin softmax
            softplus softsign sparse_categorical_crossentropy spatial_2d_padding sqrt square squeeze stack std
            stop_gradient sum switch tanh temporal_padding tile transpose var zeros zeros_like
            """
        )
    )
    | frozenset(f"keras.activations.{name}" for name in ACTIVATIONS)
    | frozenset(
        f"strings.{name}"
        for name in _names(
            "as_string bytes_split join length lower reduce_join regex_full_match split strip upper"
        )
    )
)
"""Functions of TensorFlow, by the names of its API, that layers made of them may call."""
