"""A kernel: compiled for one signature, when it is first needed, with one copy in a process.

Left alone, numba compiles a function for every layout of its arguments, links copies of what it
calls into each caller, and runs the copy that was loaded first. Where sums may be reassociated, two
copies can differ in the last bit, and a chain of draws amplifies that. So here

- a kernel takes arrays of one type and layout, and refuses others (`c_order` makes them so);
- what it calls is either inlined, a part of the kernel's own machine code, or another kernel, whose
  one copy in this process it calls by its address.

Then the last bit depends neither on what was compiled before, nor in which process, nor on what
kinds of arrays came by.
"""

from collections.abc import Callable, Iterator
from functools import cache, update_wrapper
from inspect import getclosurevars
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.imputils import lower_constant
from numba.experimental.function_type import FunctionModel
from numba.extending import intrinsic, register_model

# When the cache is out of date: numba looks at the file of a function, not of what is inlined.
SOURCES = tuple(
    (file.name, file.stat().st_mtime, file.stat().st_size)
    for folder in ("kernels", "model")
    for file in sorted((Path(__file__).parents[1] / folder).rglob("*.py"))
)
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}

inlined = njit(inline="always")
"""Decorate a function that becomes a part of every kernel that calls it."""


def c_order(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays as kernels take them, aligned float64 in C order, copied only if they must be."""
    return tuple(
        np.ascontiguousarray(array if array.flags.aligned else array.copy(), np.float64)
        for array in arrays
    )


class Kernel:
    """A function with its one signature; `kernel` makes them."""

    def __init__(self, function: Callable, signature: Any, **options: Any) -> None:
        update_wrapper(self, function)
        self.signature = signature
        self.symbol = f"{function.__module__}.{function.__qualname__}"
        self._function, self._options = function, options
        self._compiled: Any = None
        self._address = 0

    def __call__(self, *arguments: Any) -> Any:
        """Call the machine code."""
        return (self._compiled or self.compiled())(*arguments)

    def compiled(self) -> Dispatcher:
        """Load the machine code from the cache, or compile it, if that has not been done."""
        with global_compiler_lock:
            if self._compiled is None:
                load_called(self._function)
                made: Any = njit(**OPTIONS, **self._options)(self._function)
                made._cache._cache_file._source_stamp = SOURCES + own_source(self._function)
                made.compile(self.signature)
                made.disable_compile()
                (result,) = made.overloads.values()
                name = result.fndesc.llvm_func_name
                self._address = result.library.get_pointer_to_function(name)
                llvm.add_symbol(self.symbol, self._address)
                self._compiled = made
            return self._compiled

    @property
    def address(self) -> int:
        """Where its machine code is: so a kernel chosen at run time is handed to another."""
        if not self._address:
            self.compiled()
        return self._address

    @property
    def _numba_type_(self) -> "KernelType":
        """Its type where a compiled function names it."""
        return KernelType(self.signature)


def kernel(signature: Any, **options: Any) -> Callable[[Callable], Kernel]:
    """Decorate a function to be compiled for one signature, when it is first needed."""
    return lambda function: Kernel(function, signature, **options)


def own_source(function: Any) -> tuple:
    """The file of a function, as in `SOURCES`: a family of structures may be of another package."""
    file = Path(function.__code__.co_filename)
    return ((file.name, file.stat().st_mtime, file.stat().st_size),) if file.exists() else ()


@cache
def twin(function: Callable, signature: Any) -> Kernel:
    """Compile a plain function of the book, and inline the plain functions that it calls."""
    return Kernel(_with_inlined(function), signature)


@cache
def _inlined_twin(function: FunctionType) -> Dispatcher:
    return inlined(_with_inlined(function))


def _with_inlined(function: Callable) -> FunctionType:
    """Copy a function, with those that it names replaced by what numba inlines."""
    called = {
        name: _inlined_twin(value)
        for name, value in getclosurevars(function).globals.items()
        if isinstance(value, FunctionType)
    }
    plain: Any = function
    copy = FunctionType(plain.__code__, {**plain.__globals__, **called}, plain.__name__)
    copy.__qualname__ = plain.__qualname__
    return copy


def load_called(function: Callable) -> None:
    """Load every kernel that a function calls: its own code cannot be loaded before."""
    for called in _called(function):
        called.compiled()


def _called(function: Callable) -> Iterator[Kernel]:
    """Kernels that a function names (not as attributes), itself or in what is inlined into it."""
    for value in getclosurevars(function).globals.values():
        if isinstance(value, Kernel):
            yield value
        elif isinstance(value, Dispatcher):
            yield from _called(value.py_func)


class KernelType(types.FunctionType):
    """A kernel in compiled code, called by the address that its symbol stands for."""


register_model(KernelType)(FunctionModel)


def at_address(signature: Any) -> Any:
    """Return what in compiled code makes a function of this signature from the address of one."""
    kind = types.FunctionType(signature)

    @intrinsic
    def function_at(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            found = cgutils.create_struct_proxy(kind)(context, builder)
            found.jit_addr = builder.inttoptr(arguments[0], cgutils.voidptr_t)
            return found._getvalue()

        return kind(address), generate

    return function_at


@lower_constant(KernelType)
def _by_symbol(context: Any, builder: Any, kind: KernelType, called: Kernel) -> Any:
    """Name the kernel's symbol, to be resolved when the caller's code is loaded."""
    found = cgutils.create_struct_proxy(kind)(context, builder)
    anything = ir.FunctionType(ir.VoidType(), ())
    symbol = cgutils.get_or_insert_function(builder.module, anything, called.symbol)
    found.jit_addr = builder.bitcast(symbol, cgutils.voidptr_t)
    return found._getvalue()
