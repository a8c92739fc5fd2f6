"""The rules by which conversions are refused, each with its reason and its cure.

A `Rejection` names one of them; ``tflite-rnn explain RULE`` prints their texts. The behaviour of the kernels was
measured on tflite-runtime 2.14, ai-edge-litert 2.3 and TensorFlow Lite for Microcontrollers.
"""

from __future__ import annotations

from enum import Enum


class Rule(str, Enum):
    """Why something is refused.

    A member equals its name in messages and reports (``Rule.FLOAT32_ONLY == "float32-only"``). ``summary`` is one
    line; ``reason`` says what goes wrong and ``cure`` what to do about it.
    """

    summary: str
    reason: str
    cure: str

    def __new__(cls, name: str, summary: str, reason: str, cure: str) -> Rule:
        """Make a member that is the string ``name``."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.summary, member.reason, member.cure = summary, reason, cure
        return member

    def __str__(self) -> str:
        return str(self.value)

    # --- what is read ------------------------------------------------------------------------------------------

    FLOAT32_ONLY = (
        "float32-only",
        "a recurrence computes in another type than float32",
        "The fused recurrent kernels and the loops that replace them compute in float32. A cell in float64 "
        "would lose precision without a word, and one in float16 or bfloat16 has no kernel.",
        "Build the cell and its inputs with dtype tf.float32. Build a Keras model with the dtype policy float32; "
        "one of mixed_float16 is converted in float32, as its weights are stored.",
    )
    CONSTANT_WEIGHTS = (
        "constant-weights",
        "a weight is not a constant",
        "Kernels prepare weights once, when the model is loaded. A variable that the model assigns, or a weight "
        "that it computes from its inputs, has no value that could be stored in the file.",
        "Convert the function that runs at inference, in which variables are only read. Leave out training "
        "steps, counters and moving averages.",
    )
    CELL_KIND = (
        "cell-kind",
        "the marker of a cell is of a kind that this version does not know",
        "The model was written by another version of tflite-rnn, whose cells this version cannot read.",
        "Convert with the version of tflite-rnn that wrote the model, or save the model again with this one.",
    )
    CELL_OPTIONS = (
        "cell-options",
        "a cell has an option that cannot be expressed",
        "The cell is known, but one of its options (an activation, a size, a clip) has no counterpart in the "
        "compiler. The message quotes the option.",
        "Change this option of the cell. A cell of your own that subclasses RNNCell keeps its own step and "
        "becomes a loop.",
    )
    LOOP_FORM = (
        "loop-form",
        "a loop collects tensors in an order that cannot be read",
        "A loop over sequences is converted if it counts its steps from 0 by 1 up to a limit that does not "
        "change, and reads and writes its sequences at the counter. This one ends on a computed condition, "
        "nests another loop or branch around its lists, or reads and writes in another order. The lists of "
        "tensors that TensorFlow keeps in such loops are not builtin ops of TFLite.",
        "Write the loop in that form, or use dynamic_rnn. If the batch and time dimensions of the inputs are "
        "fixed, TFLiteConverter can lower the lists itself, whatever the loop does: see input_shapes.",
    )
    LOOP_STEPS = (
        "loop-steps",
        "nothing bounds the steps of a loop that collects tensors",
        "What a loop collects goes into a buffer that is made before its first step, so there must be a greatest "
        "number of steps: a comparison of its counter in the condition, maximum_iterations, or the user's word.",
        "Bound the steps: --max-steps NAME=N, max_steps={'NAME': N} of the source, or maximum_iterations in the "
        "loop. After N steps the loop ends as with maximum_iterations=N.",
    )
    BUILTIN_OPS_ONLY = (
        "builtin-ops-only",
        "an op of the model has no TFLite builtin",
        "Files of this tool run on any TFLite runtime, without the Flex delegate and without custom ops. "
        "TFLiteConverter found no builtin op for this TensorFlow op.",
        "Compute the same from ops that TFLite has, or leave the op out of the model and run it around it, as "
        "pre- or postprocessing.",
    )

    # --- recurrent ops of files --------------------------------------------------------------------------------

    FUSED_OP_FORM = (
        "fused-op-form",
        "a recurrent op of the file is not complete",
        "A fused recurrent op lacks a weight that its kernel needs, or has one of another size. Kernels do not "
        "check all of this: some would read past the end of a tensor.",
        "Make the file again from the model that it came from, or convert that model instead of the file.",
    )
    FUSED_OP_INTEGER = (
        "fused-op-integer",
        "a recurrent op of the file computes in integers",
        "Fully quantized recurrent ops (int8 or int16 activations) cannot be read yet. Float ops can, with "
        "weights in float32, float16 or int8 (dynamic-range quantization).",
        "Make the .tflite without quantization, or with dynamic-range or float16 quantization.",
    )
    FUSED_OP_PER_CHANNEL = (
        "fused-op-per-channel",
        "a recurrent op of the file has int8 weights with a scale per row",
        "The hybrid kernels of recurrent ops read one scale per tensor and use the first of several without a "
        "word. What the file computes is not what its weights say.",
        "Quantize recurrent weights per tensor, or convert the float model.",
    )
    FUSED_OP_ACTIVATION = (
        "fused-op-activation",
        "a recurrent op of the file has an activation that its kernel does not compute",
        "With activation NONE the fused LSTM leaves its results unwritten, so the file gives garbage. SIGN_BIT "
        "has no counterpart in the compiler.",
        "Make the file with tanh, relu or relu6, or convert the model that it came from.",
    )
    FUSED_OP_STATE = (
        "fused-op-state",
        "the state of a recurrent op of the file is used in a way that cannot be read",
        "A state tensor belongs to one recurrent op: written before it at most, and read after it. Here another "
        "op keeps its state in the same tensor, an op reads it before or writes it afterwards, or the op runs in "
        "a loop and carries its state from one iteration to the next.",
        "Convert the model that the file was made from.",
    )
    STATE_UNDECIDED = (
        "state-undecided",
        "the file keeps its state on purpose, and the state policy was not given",
        "Its recurrent ops see one step at each invoke, or it has variables and a signature that resets them: it "
        "is fed step by step or in chunks, and its state has to survive. Starting every invoke from zero, the "
        "default elsewhere, would change what it computes.",
        "Say state='streaming' (--state streaming) to keep the state until a reset, 'explicit' to give and return "
        "it, or 'stateless' to start every invoke from zero.",
    )
    SVDF_STATE = (
        "svdf-state",
        "an SVDF op keeps its state, whatever the state policy",
        "SVDF is a filter over the last steps, of which it sees one at each invoke. It has no form without a "
        "state in the model.",
        "Use state='streaming' (--state streaming), with the op in the main graph.",
    )
    KEPT_STATE = (
        "kept-state",
        "an op reads a variable tensor that nothing writes",
        "Such a tensor holds whatever the invoke before left there. Only recurrent ops whose state is known are "
        "converted; any other op would make a file whose answers depend on what ran before.",
        "Convert the model that the file was made from.",
    )

    # --- recognition -------------------------------------------------------------------------------------------

    KNOWN_CELLS = (
        "known-cells",
        "the step of a loop is not recognised as a known cell",
        "The step was compared with the cells that the fused ops compute, by what it computes and not by how it "
        "is spelled. It differs: the message says where. A recognised cell also has to agree with the original "
        "step on random inputs before it is trusted.",
        "Nothing needs to be done: the step runs in a loop as it is. Use a cell of TensorFlow 1, Keras or "
        "tflite_rnn.nn if you want a fused op.",
    )
    UNKNOWN_CELL = (
        "unknown-cell",
        "a fused op was asked for, but the step is not a known cell",
        "A fused op computes an LSTM or a simple RNN. lowering='fused' insists on one, and this step is neither.",
        "Use a cell of tflite_rnn.nn with options that the fused ops have, or lowering='auto', which makes a "
        "loop of this step.",
    )

    # --- fused ops ---------------------------------------------------------------------------------------------

    LSTM_ACTIVATION = (
        "lstm-activation",
        "the fused LSTM lacks the activation of the cell",
        "The fused LSTM computes tanh, relu and relu6. For a linear activation its kernel leaves the result "
        "unwritten, so the outputs are garbage; for all other functions the schema has no number.",
        "Use tanh, relu or relu6. With lowering='auto' the cell becomes a loop, which computes any activation.",
    )
    LSTM_RECURRENT_ACTIVATION = (
        "lstm-recurrent-activation",
        "the fused LSTM has sigmoid gates only",
        "The kernel applies the logistic function to its input, forget and output gates; there is no option for "
        "another one. Keras' hard_sigmoid, the default of its first versions, is another one.",
        "Use recurrent_activation='sigmoid' and train with it. With lowering='auto' the cell becomes a loop.",
    )
    LSTM_ZERO_CLIP = (
        "lstm-zero-clip",
        "a clip of 0.0 means no clip to the fused LSTM",
        "cell_clip=0.0 or proj_clip=0.0 bounds every value to zero in TensorFlow. The kernel reads 0.0 as 'do "
        "not clip' and computes something else.",
        "Use None for no clipping or a positive bound. With lowering='auto' the cell becomes a loop.",
    )
    LSTM_WIDE_PROJECTION = (
        "lstm-wide-projection",
        "the projection of an LSTM is wider than the cell",
        "The kernel accumulates the projection in a scratch buffer that is sized for the units of the cell. A "
        "wider projection writes past its end, into the memory of other tensors.",
        "Use num_proj of at most num_units. With lowering='auto' the cell becomes a loop.",
    )
    LSTM_LENGTHS = (
        "lstm-lengths",
        "the fused LSTM cannot stop at the end of a row",
        "Lengths are given to the fused LSTM as one more input that shuts its gates past the end of a row. With "
        "layer normalisation the gates do not stay shut, and with a projection bias the output is not zero.",
        "Leave out sequence_length. With lowering='auto' the cell becomes a loop, which stops at the end.",
    )
    RNN_ACTIVATION = (
        "rnn-activation",
        "the fused RNN lacks the activation of the cell",
        "The fused RNN computes tanh, relu, relu6 and the identity; for all other functions the schema has no "
        "number.",
        "Use one of these activations. With lowering='auto' the cell becomes a loop, which computes any "
        "activation.",
    )
    GRU_NO_FUSED_OP = (
        "gru-no-fused-op",
        "TFLite has no fused op for gated recurrent units",
        "The only fused GRU in the sources of TFLite is a custom op that no runtime registers.",
        "Nothing needs to be done: the GRU becomes a loop, of builtin ops. Use an LSTM cell if the file must "
        "have a fused op.",
    )
    LAYER_NORM_NO_FUSED_OP = (
        "layer-norm-no-fused-op",
        "no fused op computes this layer-normalised LSTM",
        "The fused LSTM can normalise its gates, but LayerNormBasicLSTMCell normalises its memory as well.",
        "Nothing needs to be done: the cell becomes a loop. layer_norm=False gives an LSTM that fuses.",
    )
    MASK_NO_FUSED_OP = (
        "mask-no-fused-op",
        "no fused op skips masked steps",
        "A mask of Keras may have gaps: the state is held at every masked step, wherever it is in the row. A "
        "fused op can be made to ignore the end of a row, but not its middle.",
        "Nothing needs to be done: the layer becomes a loop. To fuse it, leave out Masking and mask_zero, or "
        "give the lengths of the rows (sequence_length of dynamic_rnn).",
    )
    FUSED_DYNAMIC_BATCH = (
        "fused-dynamic-batch",
        "a fused op cannot follow a tensor that is sized at run time while the batch is open",
        "The state tensors of fused ops lie in an arena that does not grow while the model runs. If an op whose "
        "shape is computed may run before the fused op, a larger batch makes h and c overlap: wrong numbers or "
        "a crash.",
        "Fix the batch (input_shapes), or reshape with constant shapes; one -1 is fine. With lowering='auto' "
        "the recurrence becomes a loop, which has no such state tensors.",
    )
    FUSED_IN_CONTROL_FLOW = (
        "fused-in-control-flow",
        "a fused op cannot run inside tf.while_loop or tf.cond",
        "The interpreters set the state tensors in the body of a WHILE or IF to zero each time that op runs, "
        "but keep them from one iteration to the next. Microcontrollers never reset them, nor do interpreters "
        "that preserve all tensors. No construction is right on all of them.",
        "Call dynamic_rnn outside of the loop or branch. With lowering='auto' the recurrence becomes a nested "
        "loop.",
    )

    # --- loops and unrolled steps ------------------------------------------------------------------------------

    UNROLLED_TIME = (
        "unrolled-time",
        "the number of steps is not known when the model is converted",
        "lowering='unrolled' writes every step into the file, so their number must be known now.",
        "Fix the time dimension (input_shapes, or the input signature), or use lowering='while'.",
    )
    SCAN_TYPE = (
        "scan-type",
        "a sequence has a type that the ops of a loop do not take",
        "A loop reads steps with GATHER and writes them with DYNAMIC_UPDATE_SLICE. Together these know float32, "
        "int32, int64, int8 and bool on all runtimes.",
        "Cast the sequence to one of these types around the loop.",
    )
    SCAN_RANK = (
        "scan-rank",
        "a sequence has an unknown number of dimensions",
        "A loop writes its outputs into a tensor that it makes before the first step, and so it must know how "
        "many dimensions they have.",
        "Give the tensor a shape (tf.ensure_shape, input_shapes); sizes in it may be unknown.",
    )

    # --- streaming ---------------------------------------------------------------------------------------------

    STREAMING_DYNAMIC_BATCH = (
        "streaming-dynamic-batch",
        "a model that keeps its state needs a fixed batch",
        "The state that is kept has a row for each row of the batch, and the runtimes read a variable with the "
        "shape it had first, whatever batch follows.",
        "Fix the batch, usually to 1: input_shapes={'x': (1, None, 80)}. state='explicit' works with any batch.",
    )
    STREAMING_IN_CONTROL_FLOW = (
        "streaming-in-control-flow",
        "a recurrence inside control flow cannot keep its state",
        "The recurrence runs inside tf.while_loop or tf.cond, perhaps several times per invoke or not at all, "
        "so that there is no one state to go on from.",
        "Call dynamic_rnn outside of the loop or branch.",
    )
    STREAMING_BACKWARDS = (
        "streaming-backwards",
        "a recurrence that runs backwards cannot continue in the next chunk",
        "It starts at the end of its input. In a stream the end comes last, so the first chunk could not be "
        "computed before the last one is there.",
        "Use a model that reads forwards only, or state='stateless' with whole sequences.",
    )

    STREAMING_WHOLE_SEQUENCE = (
        "streaming-whole-sequence",
        "a layer needs the whole sequence at each step",
        "The outputs of the chunks, joined along time, would not be those of the whole sequence: a layer reads "
        "steps that have not come yet, or combines each step with what is computed over all of them. Attention, "
        "a softmax or a normalisation over time, a reversal, and a dense layer over flattened steps do so.",
        "Convert with state='stateless' and feed whole sequences, or replace the layer: by a causal convolution, "
        "a normalisation over the features, or a final reduction over time.",
    )
    STREAMING_LOOKAHEAD = (
        "streaming-lookahead",
        "a layer looks ahead, so the last steps would be missing",
        "A window that is padded behind the sequence (padding 'same') reads steps that come later. Chunk by chunk "
        "its outputs come later, too, and the last ones only at the end of the sequence, when they are flushed. "
        "Rows of a transposed convolution whose kernel is longer than its stride end behind the last step, too.",
        "Let the outputs come later: lookahead='delay' (--lookahead delay). Or use causal padding, cut off the "
        "last rows of a transposed convolution, or use state='stateless' with whole sequences.",
    )
    STREAMING_CHUNK = (
        "streaming-chunk",
        "a chunk does not hold whole strides",
        "A layer that moves by several steps gives one row for each of its strides. A chunk of another size would "
        "cut a stride in two.",
        "Leave the number of steps open and feed multiples of the strides, or fix it to such a multiple.",
    )
    STREAMING_OP = (
        "streaming-op",
        "an op along the sequence has no form for chunks",
        "The compiler does not know what this op needs of earlier chunks, and a guess could be wrong.",
        "Leave the layer out of the streamed model and run it around it, or use state='stateless' with whole "
        "sequences.",
    )

    # --- targets -----------------------------------------------------------------------------------------------

    TARGET_OP = (
        "target-op",
        "the target does not have an op of the model",
        "Each target registers a set of builtin ops, and none of them knows custom ops. Microcontrollers have "
        "the fewest: no UNIDIRECTIONAL_SEQUENCE_RNN, no BIDIRECTIONAL_SEQUENCE_*, no TILE, REVERSE_SEQUENCE or "
        "RANGE.",
        "Replace the layer that the op comes from. A recurrence becomes a loop when the model is converted for "
        "this target.",
    )
    TARGET_OP_VERSION = (
        "target-op-version",
        "an op is newer than the target",
        "The version of an op says which of its features a file uses. A runtime refuses to load a file with a "
        "version that it does not register.",
        "Use a newer runtime, or convert for this target.",
    )
    TARGET_VARIABLE_TENSORS = (
        "target-variable-tensors",
        "the target refuses state tensors, and with them every fused recurrent op",
        "LiteRT's CompiledModel and LiteRT.js stop at load with 'Variable tensors not yet supported'. All fused "
        "sequence ops keep their state in such tensors.",
        "Convert the model for this target: its recurrences become loops, which carry their state as ordinary "
        "tensors.",
    )
    TARGET_STATIC_SHAPES = (
        "target-static-shapes",
        "the target needs every dimension fixed",
        "CompiledModel fails at invoke if dimensions are open, LiteRT.js cannot resize inputs, and "
        "microcontrollers plan all memory before the first invoke.",
        "Fix the batch and time of the inputs: input_shapes={'x': (1, 50, 80)}.",
    )
    TARGET_BOUNDARY_TYPE = (
        "target-boundary-type",
        "an input or output has a type that the target does not pass",
        "LiteRT.js passes float32, int32 and uint8 tensors between JavaScript and the model, and no other type.",
        "Cast inputs and outputs of other types inside the model.",
    )
    TARGET_DIRECT_OUTPUT = (
        "target-direct-output",
        "an output of the model is the very result of a WHILE, an input, or another output",
        "CompiledModel gives garbage for the result of a WHILE that is an output of the model. An output that "
        "is the same tensor as an input or another output is refused, or loses its name.",
        "Convert the model for this target: each such output is then copied by an op.",
    )
    TARGET_CONCATENATION = (
        "target-concatenation",
        "a CONCATENATION has more operands than the target takes",
        "The kernel for microcontrollers has room for 10 operands.",
        "Convert the model for this target, which splits long concatenations, or concatenate in several steps.",
    )
    TARGET_FUSED_LSTM = (
        "target-fused-lstm",
        "the fused LSTM of the target lacks a feature of the cell",
        "The fused LSTM for microcontrollers takes exactly 24 operands and all four gates, without peepholes, "
        "projection or layer normalisation. Its only activation is tanh: it aborts the program on others.",
        "Convert the model for this target: such a cell becomes a loop.",
    )
