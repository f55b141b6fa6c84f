"""Names of torch functions, by what they do with elements."""

from __future__ import annotations

# fmt: off
RANDOM = frozenset({
    "bernoulli", "empty", "empty_like", "multinomial", "new_empty", "normal", "rand", "rand_like", "randint",
    "randn", "randn_like", "randperm",
})
"""Functions whose elements are random: they are never computed."""

FACTORIES = frozenset({
    "arange", "as_tensor", "bartlett_window", "blackman_window", "complex", "empty", "empty_strided", "eye",
    "full", "hamming_window", "hann_window", "kaiser_window", "linspace", "logspace", "ones", "rand", "randint",
    "randn", "randperm", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros",
})
"""Functions that make a tensor from nothing and take a device."""

VIEWS = frozenset({
    "H", "T", "_conj", "_reshape_alias", "_unsafe_view", "adjoint", "alias", "as_strided", "broadcast_to",
    "chunk", "conj", "data", "detach", "diagonal", "dsplit", "expand", "expand_as", "hsplit", "imag",
    "lift_fresh", "mH", "mT", "moveaxis", "movedim", "narrow", "permute", "ravel", "real", "reshape_as",
    "resolve_conj", "resolve_neg", "select", "slice", "split", "split_with_sizes", "squeeze", "squeeze_",
    "swapaxes", "swapdims", "t", "tensor_split", "transpose", "unbind", "unflatten", "unfold", "unsqueeze",
    "view", "view_as", "view_as_complex", "view_as_real", "vsplit",
})
"""Functions that see the elements of a tensor in another way."""

COPIES = frozenset({
    "_pad_circular", "_to_copy", "argsort", "as_strided_scatter", "atleast_1d", "atleast_2d", "bernoulli",
    "bernoulli_", "bincount", "block_diag", "broadcast_tensors", "bucketize", "cartesian_prod", "cat",
    "cauchy_", "channel_shuffle", "clone", "col2im", "column_stack", "combinations", "concat", "concatenate",
    "constant_pad_nd", "contiguous", "copy", "copy_", "diag", "diag_embed", "diagflat", "diagonal_scatter",
    "dstack", "embedding_renorm_", "empty_like", "exponential_", "fill", "fill_", "fill_diagonal", "flip",
    "fliplr", "flipud", "fold", "from_numpy", "full_like", "gather", "geometric_", "histc", "hstack", "im2col",
    "index", "index_copy", "index_copy_", "index_fill", "index_put", "index_put_", "index_select", "item_",
    "kthvalue", "lift_fresh_copy", "log_normal_", "masked_scatter", "masked_select", "max_unpool1d",
    "max_unpool2d", "max_unpool3d", "meshgrid", "msort", "native_channel_shuffle", "new_empty", "new_full",
    "new_ones", "new_tensor", "new_zeros", "nonzero", "normal_", "one_hot", "ones_like", "pad", "pin_memory",
    "pixel_shuffle", "pixel_unshuffle", "rand_like", "randn_like", "random_", "reflection_pad1d",
    "reflection_pad2d", "reflection_pad3d", "repeat", "repeat_interleave", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "resize_", "roll", "rot90", "row_stack", "scatter", "scatter_",
    "searchsorted", "select_scatter", "set_", "slice_scatter", "sort", "stack", "take", "take_along_dim",
    "tile", "topk", "tril", "triu", "trunc_normal_", "unfold", "uniform_", "unique", "vander", "vstack", "zero",
    "zero_", "zeros_like",
})
"""Functions that write elements somewhere else, and compute nothing."""

PLAIN = frozenset({
    "__deepcopy__", "__format__", "__hash__", "__len__", "__repr__", "_is_view", "_version", "broadcast_shapes",
    "can_cast", "compiler", "data_ptr", "dim", "element_size", "finfo", "get_default_dtype", "get_device",
    "has_names", "iinfo", "is_autocast_cpu_enabled", "is_autocast_enabled", "is_complex", "is_conj",
    "is_contiguous", "is_distributed", "is_floating_point", "is_grad_enabled", "is_inference", "is_neg",
    "is_nonzero_", "is_pinned", "is_same_size", "is_set_to_", "is_shared", "is_signed", "is_storage",
    "is_tensor", "ndimension", "nelement", "numel", "promote_types", "register_hook", "requires_grad",
    "result_type", "retain_grad", "set_grad_enabled", "size", "storage_offset", "stride", "untyped_storage",
})
"""Functions that ask for what is known without elements."""
# fmt: on
