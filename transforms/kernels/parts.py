"""How a kernel and its parts become machine code: together, once, and nobody else sees the parts.

numba compiles each function that a kernel calls as if Python called it too: with two wrappers that unpack every array
from Python's hands, optimised and translated alone, and then once more within every function above it. A part of the
quality rules was optimised up to eleven times, and two thirds of the code given to LLVM were wrappers: 33 processor
seconds for a first batch, against 19 this way. As nothing outside the kernel can call a part, LLVM also merges the one
that is called from one place with its caller: the rules take a fifth less time on new text.

What is used of numba beside its documented pipelines (`CompilerBase`) is the library that holds a function's code: a
part's links what it calls and stays unfinished.
"""

import ctypes
from typing import Any

from llvmlite.binding import Linkage
from numba import _dynfunc, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, _LowerResult
from numba.core.compiler_machinery import register_pass
from numba.core.dispatcher import Dispatcher
from numba.core.typed_passes import NativeLowering

# What a part's object has for Python to call; it raises TypeError, where the address of nothing would end the process.
_REFUSAL = ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value


class _KernelLibrary(JITCodeLibrary):
    """The code of a kernel and of all its parts."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = Linkage.internal
        super()._optimize_final_module()


class _PartLibrary(JITCodeLibrary):
    """The code of a part and of what it calls, for the kernel's library: neither optimised nor translated."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout  # noqa: SLF001 - the rest is done with the kernel

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)  # noqa: SLF001 - as numba's own `finalize` does
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)  # noqa: SLF001
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(NativeLowering):
    _name = "kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _KernelLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        library = state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True  # or numba would ask for the address of its machine code
        super().run_pass(state)
        lowered = state["cr"]
        library.finalize()
        # Callers know a function by the object that Python would call.
        name, module = lowered.fndesc.qualname, lowered.fndesc.lookup_module()
        known_as = _dynfunc.make_function(module, name, "a part of kernels", _REFUSAL, lowered.env, (library,))
        state.targetctx.insert_user_function(known_as, lowered.fndesc, [library])
        state["cr"] = _LowerResult(lowered.fndesc, lowered.call_helper, cfunc=known_as, env=lowered.env)
        return True


class _PartDispatcher(Dispatcher):
    """What a part is to Python: not callable, while numba finds it by its type as any other function."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        name = self.py_func.__qualname__
        raise TypeError(f"{name} is a part of kernels, which Python cannot call; {name}.py_func is the function itself")


def general(kind: types.Type) -> types.Type:
    """Return the type that a part is compiled for where a call has `kind`: int64 for int32 and for literals."""
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) and kind.signed else kind


def as_part(part: Any) -> None:
    """Keep Python from calling it, and let kernels call one code of it for literals, int32 and int64."""
    part.__class__ = _PartDispatcher
    found = part.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        return found(tuple(map(general, args)), {name: general(kind) for name, kind in kws.items()})

    part.get_call_template = get_call_template


def _pipeline(state: Any, lowering: type) -> list[Any]:
    """Return numba's own passes with another one for the translation to LLVM."""
    passes = DefaultPassBuilder.define_nopython_pipeline(state)
    passes.passes = [(lowering if step is NativeLowering else step, what) for step, what in passes.passes]
    passes.finalize()
    return [passes]


class Kernel(CompilerBase):
    """Compiles what Python calls."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        return _pipeline(self.state, _KernelLowering)


class Part(CompilerBase):
    """Compiles what kernels alone call."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        return _pipeline(self.state, _PartLowering)
