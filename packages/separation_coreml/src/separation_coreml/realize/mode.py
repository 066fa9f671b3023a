"""The mode in which a model runs while it is captured: every torch function that it calls passes here.

In this order, a call is
- an operation in place: carried out on a new tensor, to which the old one's name leads from then on;
- a question about a size: answered with plain numbers, since the graph has a fixed shape;
- a value that depends on no input: computed once and kept (see `constants`);
- an operation on complex values: replaced by real ones (see `complex_ops`, `complex_arithmetic`, `fourier`);
- an operation on more than 5 dimensions: regrouped (see `tall_ops`);
- an operation that Core ML's converter lacks: rewritten (see `rewrites`);
- anything else: left to torch.
"""

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from audio_io.tracing import sizes
from separation_coreml.realize import complex_arithmetic, fourier, reductions, rewrites, tall_ops
from separation_coreml.realize.constants import ACTIVE, Constants, depends_on_input
from separation_coreml.realize.values import (
    MAX_RANK,
    METADATA,
    REAL_OF,
    Pair,
    Tall,
    UnsupportedComplexError,
    UnsupportedRankError,
    Value,
    leaves,
    map_leaves,
    operation_name,
)

Function = Callable[..., Value]
Args = tuple[Value, ...]
Kwargs = dict[str, Value]

_SIZES = frozenset({"shape", "size", "numel", "nelement", "len"})
# Complex although no argument is.
_MAKES_COMPLEX = frozenset({"stft", "view_as_complex", "complex", "polar", "cfloat", "cdouble"})
# They look at the shape and the type of their argument only.
_LIKE = frozenset(
    ["zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"]
)
# Their values may be anything, NaN too, until they are written to.
_UNINITIALISED = frozenset(["empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"])
_RANDOM = frozenset(
    ["rand", "randn", "randint", "randperm", "normal", "rand_like", "randn_like", "randint_like", "bernoulli"]
)
_NUMBERS = frozenset(["bool", "int", "float", "index", "item", "tolist"])
_NOT_IN_PLACE = frozenset({"requires_grad_", "retain_grad_", "share_memory_", "rename_"})
_AUGMENTED = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "idiv": "div", "ipow": "pow"}
_SWAPPED = {"radd": "add", "rmul": "mul"}


class RealMode(TorchFunctionMode):
    """Runs a model with real tensors of at most 5 dimensions only.

    Args:
        constants: Where constants are written to or played from.
        short_sums: Whether means and norms over long spans are taken in two steps; see `reductions`.
    """

    def __init__(self, constants: Constants, *, short_sums: bool = False) -> None:
        super().__init__()
        self.constants = constants
        self._rewrites = {**rewrites.OPERATIONS, **(reductions.OPERATIONS if short_sums else {})}
        self._plain = 0
        self._inside_complex = 0
        # By id of a tensor that was written to: the tensor, and what it stands for now.
        self._current: dict[int, tuple[Tensor, Value]] = {}
        # By id of a view made by indexing: the view, its source, the index, and what the source stood for.
        self._views: dict[int, tuple[weakref.ref[Tensor], Tensor, Value, Value]] = {}

    def run(self, function: Function, *args: Value) -> Value:
        """The result of a function of real tensors, computed in the mode."""
        token = ACTIVE.set(self._table)
        try:
            with self:
                return self._resolve(function(*args))
        finally:
            ACTIVE.reset(token)

    def __torch_function__(
        self,
        func: Function,
        types: tuple[type, ...],
        args: Args = (),
        kwargs: Kwargs | None = None,
    ) -> Value:
        """Called by torch for every function."""
        kwargs = kwargs or {}
        if self._plain:
            return func(*args, **kwargs)
        name = operation_name(func)
        if name == "setitem":
            return self._assign(args[0], *self._resolve(args[1:]))
        bare = _AUGMENTED.get(name) or _without_underscore(name)
        if bare is not None:
            return self._in_place(bare, args[0], self._resolve(args[1:]), self._resolve(kwargs))
        holders = args
        args, kwargs = self._resolve(args), self._resolve(kwargs)
        if name == "getitem":
            view = rewrites.is_basic(args[1])
            args = (args[0], rewrites.plain_index(self.constants, args[1]))
            result = self._call(name, func, args, kwargs)
            if view:
                self._remember_view(result, holders[0], args[1])
            return result
        return self._call(name, func, args, kwargs)

    # --- one call ---

    def _call(  # noqa: PLR0911 - one for each kind of call
        self, name: str, func: Function, args: Args, kwargs: Kwargs
    ) -> Value:
        if name in _SIZES:
            return _answer_size(name, args, kwargs)
        if name in METADATA or (name == "type" and len(args) == 1 and not kwargs):
            return func(*args, **kwargs)
        if self._is_constant(name, args, kwargs):
            return self._constant(name, func, args, kwargs)
        if name in _NUMBERS:
            # A decision on the input's values, such as an assertion: the graph holds the first run's.
            return self.constants.make(name, lambda: func(*args, **kwargs))
        for leaf in leaves((args, kwargs)):
            self.constants.use(leaf)
        args, kwargs = self._split_parameters(args), self._split_parameters(kwargs)
        if _is_complex(name, args, kwargs):
            return self._complex(name, func, args, kwargs)
        if _is_tall(name, args, kwargs):
            return self._tall(name, func, args, kwargs)
        if (rewrite := self._rewrites.get(name)) is not None:
            with self:
                result = rewrite(self.constants, *args, **kwargs)
            if result is not NotImplemented:
                return result
        # Those that choose another by their arguments (max_pool2d) only bear the name of the module.
        if isinstance(func, FunctionType) and func.__globals__ is vars(torch.nn.functional):
            with self:
                return _opened(func)(*args, **kwargs)
        result = func(*args, **kwargs)
        for leaf in leaves(result):
            if isinstance(leaf, Tensor):
                _check(leaf, func)
        return result

    def _complex(self, name: str, func: Function, args: Args, kwargs: Kwargs) -> Value:
        operation = complex_arithmetic.OPERATIONS.get(_SWAPPED.get(name, name))
        if operation is None:
            raise UnsupportedComplexError(_full_name(func))
        if not self._inside_complex and self.constants.writing:
            done = self.constants.recording.operations
            done[name] = done.get(name, 0) + 1
        self._inside_complex += 1
        try:
            with self:
                return operation(*args, **kwargs)
        finally:
            self._inside_complex -= 1

    def _tall(self, name: str, func: Function, args: Args, kwargs: Kwargs) -> Value:
        with self:
            if name in tall_ops.ELEMENTWISE:
                return tall_ops.elementwise(func, args, kwargs)
            if (operation := tall_ops.OPERATIONS.get(name)) is not None:
                return operation(*args, **kwargs)
        tall = next(leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor))
        raise UnsupportedRankError(_full_name(func), _shape(tall))

    # --- constants ---

    def _is_constant(self, name: str, args: Args, kwargs: Kwargs) -> bool:
        if name in _RANDOM:
            return False
        return name in _LIKE or not depends_on_input(self.constants, (args, kwargs))

    def _constant(self, name: str, func: Function, args: Args, kwargs: Kwargs) -> Value:
        source = args[0] if args else None
        if isinstance(source, (Pair, Tall)):
            # Made like a stand-in, which torch cannot look at: only the shape and the type count.
            kwargs = {"dtype": source.dtype, **kwargs}
            source = torch.empty(()).expand(_shape(source))

        def build() -> Value:
            with self._plainly():
                given, named = map_leaves(self._number, ((source, *args[1:]) if args else (), kwargs))
                result = func(*given, **named)
                return result.zero_() if name in _UNINITIALISED else result

        if any(self.constants.belongs_to(leaf, fourier.PREFIX) for leaf in leaves((args, kwargs))):
            # What is made of a transform's table is one too, and says so.
            result = self.constants.make(f"{fourier.PREFIX}{name}", build, shared=True)
        else:
            result = self.constants.make(name, build)
        if isinstance(result, Tensor) and not isinstance(result, Pair) and result.dim() > MAX_RANK:
            self.constants.use(result)
            return Tall(result.reshape(-1), _shape(result))
        return result

    def _table(self, name: str, build: Callable[[], Tensor]) -> Tensor:
        def plainly() -> Tensor:
            with self._plainly():
                return build().contiguous()

        table: Tensor = self.constants.make(name, plainly, shared=True)
        return table

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        self._plain += 1
        try:
            yield
        finally:
            self._plain -= 1

    def _number(self, leaf: Value) -> Value:
        return self.constants.number(leaf) if isinstance(leaf, Tensor) else leaf

    def _split_parameters(self, value: Value) -> Value:
        def split(leaf: Value) -> Value:
            if not isinstance(leaf, Tensor) or isinstance(leaf, Pair) or not leaf.is_complex():
                return leaf
            return self.constants.make("parameter", lambda: leaf)

        return map_leaves(split, value)

    # --- operations in place ---

    def _resolve(self, value: Value) -> Value:
        return map_leaves(lambda leaf: self._latest(leaf) if isinstance(leaf, Tensor) else leaf, value)

    def _latest(self, holder: Tensor) -> Value:
        if (view := self._views.get(id(holder))) is not None:
            _, source, index, seen = view
            now = self._latest(source)
            if now is not seen:
                with self:
                    fresh = now[index]
                self._views[id(holder)] = (view[0], source, index, now)
                self._current[id(holder)] = (holder, fresh)
        current = self._current.get(id(holder))
        return holder if current is None else current[1]

    def _remember_view(self, view: Tensor, source: Tensor, index: Value) -> None:
        key = id(view)
        reference = weakref.ref(view, lambda _: self._views.pop(key, None))
        self._views[key] = (reference, source, index, self._latest(source))

    def _set(self, holder: Tensor, value: Value) -> None:
        self._current[id(holder)] = (holder, value)
        if (view := self._views.get(id(holder))) is not None:
            reference, source, index, _ = view
            with self:
                written = rewrites.assign(self.constants, self._latest(source), index, value)
            self._set(source, written)
            self._views[id(holder)] = (reference, source, index, self._latest(source))

    def _assign(self, holder: Tensor, index: Value, value: Value) -> None:
        index = rewrites.plain_index(self.constants, index)
        with self:
            written = rewrites.assign(self.constants, self._latest(holder), index, value)
        self._set(holder, written)

    def _in_place(self, name: str, holder: Tensor, args: Args, kwargs: Kwargs) -> Tensor:
        target = self._latest(holder)
        with self:
            if name == "copy":
                result = rewrites.fill_from(target, args[0])
            elif name == "zero":
                result = torch.zeros_like(target)
            elif name == "fill":
                result = rewrites.fill_from(target, args[0])
            else:
                result = getattr(target, name)(*args, **kwargs)
                if result.dtype != target.dtype:
                    result = result.to(target.dtype)
        self._set(holder, result)
        return holder


def supported_operations() -> tuple[str, ...]:
    """Names of the complex operations that can be replaced, sorted."""
    return tuple(sorted(complex_arithmetic.OPERATIONS))


def _is_complex(name: str, args: Args, kwargs: Kwargs) -> bool:
    transform = name.startswith("fft_") and not name.endswith("shift")
    return (
        transform
        or name in _MAKES_COMPLEX
        or any(
            isinstance(leaf, (Pair, complex)) or (isinstance(leaf, torch.dtype) and leaf in REAL_OF)
            for leaf in leaves((args, kwargs))
        )
    )


def _is_tall(name: str, args: Args, kwargs: Kwargs) -> bool:
    tall = any(isinstance(leaf, Tall) for leaf in leaves((args, kwargs)))
    return tall or tall_ops.rank_after(name, args, kwargs) > MAX_RANK


def _opened(func: FunctionType) -> FunctionType:
    """A function of torch.nn.functional that does not hand itself to the mode, which so sees its inside.

    Otherwise the sizes that it computes with would be traced, which coremltools cannot follow.
    """

    def never(*_: Value) -> bool:
        return False

    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    namespace = {**func.__globals__, **dict.fromkeys(names, never)}
    copy = FunctionType(func.__code__, namespace, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def _check(result: Tensor, func: Function) -> None:
    if result.is_complex():
        raise UnsupportedComplexError(_full_name(func))
    if result.dim() > MAX_RANK:
        raise UnsupportedRankError(_full_name(func), _shape(result))


def _full_name(func: Function) -> str:
    return resolve_name(func) or str(getattr(func, "__name__", func))


def _without_underscore(name: str) -> str | None:
    if not name.endswith("_") or name in _NOT_IN_PLACE:
        return None
    return name[:-1] if hasattr(Tensor, name) else None


def _shape(tensor: Tensor) -> tuple[int, ...]:
    if isinstance(tensor, Pair):
        return _shape(tensor.re)
    return tensor.logical if isinstance(tensor, Tall) else sizes(tensor)


def _answer_size(name: str, args: Args, kwargs: Kwargs) -> Value:
    shape = torch.Size(_shape(args[0]))
    if name == "len":
        return shape[0]
    if name in {"numel", "nelement"}:
        return math.prod(shape)
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return shape if dim is None else shape[dim]
