"""Which functions an exported program may call: those that compute tensors from tensors, and nothing else.

A graph names what it calls, and torch calls it: operators that map a file, print, send to other machines or save a
pickle stand among those that add and multiply. What is not known here by name or by kind is refused.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch
from mlratchet.models.tensors.zeroed import ZEROS

MODULE, ATEN, HIGHER = "torch.ops.", "aten", "higher_order"
# Of torch.export's own: branches and loops over graphs of the same archive, and regions of a mode
HIGHER_ORDER = frozenset(
    ("cond", "while_loop", "scan", "map_impl", "wrap_with_set_grad_enabled", "wrap_with_autocast")
)  # fmt: skip
_OVER_SIZES = "add sub mul truediv floordiv mod pow neg pos eq ne lt le gt ge and_ or_ lshift rshift"
OVER_SIZES = frozenset(
    (
        *(f"_operator.{name}" for name in _OVER_SIZES.split()),
        *(f"torch.sym_{name}" for name in ("float", "int", "ite", "max", "min", "not", "sum")),
        "torch._sym_sqrt", "_operator.getitem", "math.trunc", "math.ceil", "math.floor",
    )
)  # fmt: skip
"""What is computed of sizes, in Python."""
# A schema's types: numbers and tensors, and how they lie. None of them is a storage, a stream, a generator or an object
PLAIN_TYPE = re.compile(
    r"(Optional\[|List\[)*(Tensor|int|float|bool|number|complex|ScalarType|Layout|Device|MemoryFormat|QScheme)\]*"
)
TEXT_TYPE = re.compile(r"(Optional\[)?str\]?")
_TAKE_A_MODE = r"""
_assert_(async|scalar)|_functional_assert_(async|scalar)|_convolution_mode|_linalg_(check_errors|eigh|svd)|
conv[123]d|div_?|divide_?|einsum|fft_i?[rh]?fft[2n]?|gelu(_|_backward)?|index_reduce_?|
linalg_(cond|eigh|eigvalsh|lstsq|matrix_norm|norm|qr|svd|svdvals)|meshgrid|nanquantile|pad|pad_sequence|quantile|
scatter_?|scatter_reduce_?|searchsorted|segment_reduce|stft|istft
"""
TAKE_A_MODE = re.compile("".join(_TAKE_A_MODE.split()))
"""Operators whose texts are the name of a mode, or the words of a check: nobody opens or runs them."""
_OF_FORWARDS = r"""
__(and|or|xor|lshift|rshift|iand|ior|ixor|ilshift|irshift)__|
_(adaptive_avg_pool[23]d|add_relu_?|addmm_activation|aminmax|assert_(async|scalar|tensor_metadata)|
batch_norm_(impl_index|no_update|with_update|with_update_functional)|cast_[A-Z][a-z]+|cdist_forward|chunk_cat|
conj(_copy|_physical)?|conv_depthwise2d|convolution(_mode)?|ctc_loss|cum(max|min)_helper|dim_arange|
embedding_bag(_forward_only)?|euclidean_dist|fft_(c2c|c2r|r2c)|foreach_[a-z0-9]+_?|
functional_(assert_(async|scalar)|sym_constrain_range(_for_size)?)|fused_(dropout|rms_norm|sdp_choice)|
grid_sampler_2d_cpu_fallback|grouped_mm|index_put_impl_?|int_mm|is_(all|any)_true|
linalg_(check_errors|det|eigh|eigvals|slogdet|solve_ex|svd)|local_scalar_dense|log_softmax|log_softmax_backward_data|
logcumsumexp|lu_with_info|masked_(scale|softmax)|native_batch_norm_legit(_functional|_no_training)?|
native_multi_head_attention|neg_view(_copy)?|pack_padded_sequence|pad_(circular|enum|packed_sequence)|
pdist_forward|prelu_kernel|reshape_(alias|copy|alias_copy)|safe_softmax|
scaled_(dot_product_(attention_math|flash_attention(_for_cpu)?|efficient_attention|cudnn_attention)|mm|grouped_mm)|
shape_as_tensor|slow_conv2d_forward|softmax|softmax_backward_data|stack|thnn_fused_(gru|lstm)_cell|to_copy|
transform_bias_rescale_qkv|transformer_encoder_layer_fwd|trilinear|unique2?|unsafe_(view|index|index_put)|
unsafe_masked_index(_put_accumulate)?|upsample_(bicubic2d_aa|bilinear2d_aa|lanczos2d_aa|nearest_exact[123]d)|
weight_(int4pack_mm(_for_cpu)?|int8pack_mm|norm|norm_interface))
"""
OF_FORWARDS = re.compile("".join(_OF_FORWARDS.split()))
"""Of aten's private operators those that forwards are made of; others build tensors that nobody checks, or test."""
_REFUSED = r"""
from_file|set_?|set_data|(sparse_)?resize_?|resize_as_?|resize_as_sparse_?|sparse_resize_and_clear_?|
(new_)?empty(_.*)?|record_stream|pin_memory|requires_grad_|retain_grad|rename_?|
sparse_(coo|csr|csc|bsr|bsc|compressed)_tensor|to_(sparse.*|mkldnn.*)|copy_sparse_to_sparse_?|
(cudnn|miopen|mkldnn|fbgemm|quantized|mps)_.*
"""
REFUSED = re.compile("".join(_REFUSED.split()))
"""Public ones that open files, hand out memory that nothing was written to, change what a tensor's memory is, build
tensors that nobody checks, or take weights that a library packed. Some that hand out memory may be called all the same:
`zeroed` replaces them."""
VMAP = (
    ": torch.vmap is not served; write it with broadcasting and train anew; from a version that was trained with it "
    "`ratchet rollback` leads back"
)


def name_of_call(target: Any) -> str:
    """What a graph calls, as a program's JSON names it."""
    if isinstance(target, torch._ops.OpOverload):
        return f"{MODULE}{target}"
    if isinstance(target, torch._ops.HigherOrderOperator):
        return f"{MODULE}{HIGHER}.{target.__name__}"
    return f"{target.__module__}.{target.__name__}"


@cache
def problem_of_call(target: str) -> str:
    """Why a program may not call this; empty where it may. `target`: as a program's JSON names it."""
    if target in OVER_SIZES:
        return ""
    if not target.startswith(MODULE):
        hint = VMAP if "functorch" in target else ""
        return f"is no operator of a forward{hint}"
    namespace, _, rest = target.removeprefix(MODULE).partition(".")
    if namespace == HIGHER:
        return "" if rest in HIGHER_ORDER else "runs other code than operators"
    name, _, overload = rest.partition(".")
    if namespace != ATEN:
        return "is none of torch's own operators"
    if not _is_registered(name, overload):
        return "is none that this torch has"
    return _problem_of_aten(name, overload)


def _is_registered(name: str, overload: str) -> bool:
    """With torch's dispatcher: what the interpreter of TorchScript adds, files and pickles among it, is not."""
    return overload != "" and f"{ATEN}::{name}" + ("" if overload == "default" else f".{overload}") in _registered()


@cache
def _registered() -> frozenset[str]:
    return frozenset(torch._C._dispatch_get_all_op_names())


def _problem_of_aten(name: str, overload: str) -> str:
    if name.startswith(("empty", "new_empty")) and f"{name}.{overload}" not in ZEROS:
        return "gives memory as others left it; write zeros"
    if REFUSED.fullmatch(name) and f"{name}.{overload}" not in ZEROS:
        return "reaches files, or memory that is not a tensor's"
    if name.startswith("_") and not OF_FORWARDS.fullmatch(name):
        return "is one that no forward is made of"
    schema: Any = torch._C._get_schema(f"{ATEN}::{name}", "" if overload == "default" else overload)
    for argument in (*schema.arguments, *schema.returns):
        words = str(argument.real_type)
        if PLAIN_TYPE.fullmatch(words) or (TEXT_TYPE.fullmatch(words) and TAKE_A_MODE.fullmatch(name)):
            continue
        if words != "Optional[Generator]":  # which JSON has no way to write: it is None
            return f"takes or gives a {words}"
    return ""
