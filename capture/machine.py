"""Machine code of kernels, kept in files: made by the compiler once, and called without it ever after.

The compiler takes a fifth of a second to load and thirty megabytes for as long as its process lives, and a kernel needs
nothing of it once it is compiled. So of each kernel that Python calls, the function itself is taken from what the
compiler made, a few instructions are put before it that read the arrays of the call, and both are stored as an object
file. LLVM alone loads it.

What a kernel may be for that: its arguments are arrays without gaps, whole numbers, or `bool`; it returns nothing, an
`int`, a `bool`, or a tuple of `int`; it takes no memory of its own and raises nothing (RuntimeError, if it does after
all). All of that is checked when it is stored, against what the compiler made. For others the compiler is loaded each
time.

This module owns the format of those files. Numba's calling convention and its structure of an array are those of its
manual ("Notes on the calling convention", _arraystruct.h); where a compiler's function looks different, nothing is
stored. The places of an array's fields are part of NumPy's binary interface (PyArrayObject_fields).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

Kind = tuple[str, int, bool] | type
"""Of an argument: an array's (element type, dimensions, whether it may be written to), or the type itself."""
Machine = Callable[..., Any]

MAGIC = b"siptrail kernel 1\n"
HEAD = object.__basicsize__
DATA, DIMENSIONS = HEAD, HEAD + 16
"""Of PyArrayObject_fields: behind the object's head `char *data; int nd; npy_intp *dimensions`."""
NUMBERS = (int, np.int64, np.uint64, bool)
MOST_DIMENSIONS, MOST_RETURNED = 3, 8
NOTHING, SIGNED, UNSIGNED, BOOLEAN, TUPLE = range(5)
"""What a kernel returns; TUPLE plus n: n signed numbers."""
DESTRUCTOR = "NRT_MemInfo_call_dtor"
"""For memory of the compiler's runtime: named wherever there are arrays, and not called for those of the caller."""


class CannotBeStored(Exception):
    """This kernel needs the compiler or its runtime each time."""


def usable() -> bool:
    """Whether machine code can be called like this here, and nobody wants the compiler to do something special."""
    special = {name for name in os.environ if name.startswith("NUMBA_")} - {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}
    return not special and HEAD == 16 and sys.byteorder == "little" and ctypes.sizeof(ctypes.c_void_p) == 8


def kinds_of(args: tuple[Any, ...]) -> tuple[Kind, ...] | None:
    """What the code depends on, or None where it is none of these."""
    found: list[Kind] = []
    for arg in args:
        if type(arg) is np.ndarray:
            flags, dtype = arg.flags, arg.dtype
            if not (flags.c_contiguous and flags.aligned and dtype.isnative and dtype.kind in "iub"):
                return None
            if not 0 < arg.ndim <= MOST_DIMENSIONS:
                return None
            found.append((dtype.str, arg.ndim, bool(flags.writeable)))
        elif type(arg) in NUMBERS:
            found.append(type(arg))
        else:
            return None
    return tuple(found)


def _features() -> str:
    """What this processor can do beyond its name; nothing where that cannot be told."""
    try:
        features: str = llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        return ""
    return features


@cache
def _host() -> str:
    """What machine code is made for, and by whom."""
    parts = (MAGIC, version("numba"), version("llvmlite"), sys.implementation.cache_tag, llvm.get_host_cpu_name())
    return repr((*parts, _features()))


class Stored:
    """The file of one kernel for arguments of one kind: beside its `source` or, where nobody may write there, with the
    user's caches; under NUMBA_CACHE_DIR, if that is set. `stamp` changes with all that the code is made of."""

    def __init__(self, source: Path, name: str, stamp: str, kinds: tuple[Kind, ...]) -> None:
        made = hashlib.sha256(f"{stamp} {kinds} {_host()}".encode()).hexdigest()
        self.symbol = f"siptrail_{made}"
        self._of_it, self._as_it_is = f"{name}-*.kernel", f"{name}-{stamp[:16]}-"
        self._file = f"{self._as_it_is}{made[:24]}.kernel"
        folder = source.resolve().parent
        own = f"{folder.name}_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        named = os.environ.get("NUMBA_CACHE_DIR")
        users = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        self._folders = [Path(named) / own] if named else [folder / "__pycache__"]
        if not named and os.path.isabs(users):  # not everybody has a home
            self._folders.append(Path(users, "siptrail", own))

    def read(self) -> bytes | None:
        """What is stored: b"" if the kernel cannot be, None if nothing is known."""
        for folder in self._folders:
            with suppress(OSError):
                data = _own(folder / self._file)
                start, end = len(MAGIC), len(MAGIC) + hashlib.sha256().digest_size
                # Half a file may be left after a crash, and code must be whole.
                if data[:start] == MAGIC and hashlib.sha256(data[end:]).digest() == data[start:end]:
                    return data[end:]
        return None

    def write(self, code: bytes) -> None:
        """Store it, in place of what the kernel was before it changed. Where nothing can be written nothing is."""
        for folder in self._folders:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                new = folder / f"{self._file}.{os.getpid()}-{threading.get_ident()}.new"
                try:
                    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as out:
                        out.write(MAGIC + hashlib.sha256(code).digest() + code)
                    new.replace(folder / self._file)
                finally:
                    new.unlink(missing_ok=True)
                for other in folder.glob(self._of_it):
                    if not other.name.startswith(self._as_it_is):
                        other.unlink(missing_ok=True)
                return


def _own(file: Path) -> bytes:
    """What is in a file that nobody but its owner can have written: this user, or root. It is code."""
    with file.open("rb") as data:
        about = os.fstat(data.fileno())
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o022:
            raise PermissionError(file)
        return data.read()


class _Engine:
    """LLVM: one for the process, since code that is loaded stays for good. Raises OSError where memory must not be
    executed."""

    def __init__(self) -> None:
        llvm.check_jit_execution()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=_features(),
            opt=3,
            codemodel="jitdefault",
            jit=True,
        )
        self._loader = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self.target)
        self._alone = threading.Lock()

    def load(self, code: bytes, symbol: str) -> int:
        """The address of the function of that name in an object file; 0 if there is none."""
        with self._alone:
            self._loader.add_object_file(llvm.ObjectFileRef.from_data(code))
            self._loader.finalize_object()
            address: int = self._loader.get_function_address(symbol)
            return address


_engine = cache(_Engine)


class _Number:
    """How ctypes passes one of NumPy's."""

    @classmethod
    def from_param(cls, value: Any) -> ctypes.c_int64:
        return ctypes.c_int64(int(value))


_CTYPES: dict[type, Any] = {int: ctypes.c_int64, bool: ctypes.c_int64}


def callable_of(stored: bytes, symbol: str, kinds: tuple[Kind, ...]) -> Machine | None:
    """What `code_of` made, as a function of such arguments. It does not look what they are, and lets other threads run
    meanwhile. None if the code is that of another kernel."""
    address, returns = _engine().load(stored[1:], symbol), stored[0]
    if not address:
        return None
    types = [ctypes.py_object if isinstance(kind, tuple) else _CTYPES.get(kind, _Number) for kind in kinds]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *types)(address)
    room = (ctypes.c_uint64 if returns == UNSIGNED else ctypes.c_int64) * max(1, returns - TUPLE)

    def call(*args: Any) -> Any:
        out = room()
        if function(ctypes.addressof(out), *args):
            raise RuntimeError("a kernel has failed; please report this, with what was being read")
        if returns > TUPLE:
            return tuple(out)
        return None if returns == NOTHING else bool(out[0]) if returns == BOOLEAN else out[0]

    return call


def code_of(kernel: Any, signature: Any, symbol: str, kinds: tuple[Kind, ...]) -> bytes:
    """What to store of a kernel that the compiler has just compiled (and not loaded from its own cache) for this
    signature. Raises CannotBeStored."""
    with _told_as_such():
        compiled = kernel.overloads[signature]
        returns = _returns(compiled.signature.return_type)
        if compiled.library.has_dynamic_globals:
            raise CannotBeStored("it has addresses of this process in it")
        module = llvm.parse_assembly(kernel.inspect_llvm(signature))
        native = module.get_function(compiled.fndesc.mangled_name)
        module.link_in(llvm.parse_assembly(_entry(native, symbol, kinds)))
        if any(f.name == DESTRUCTOR and f.is_declaration for f in module.functions):
            module.link_in(llvm.parse_assembly(f"define void @{DESTRUCTOR}(ptr %memory) {{ unreachable }}"))
        for one in (*module.functions, *module.global_variables):
            if not one.is_declaration and one.name != symbol:
                one.linkage = "internal"
        # Without what only Python called, all that is left must be here.
        passes = llvm.create_new_module_pass_manager()
        passes.add_global_dead_code_eliminate_pass()
        passes.run(module, llvm.create_pass_builder(_engine().target, llvm.create_pipeline_tuning_options()))
        missing = [
            one.name
            for one in (*module.functions, *module.global_variables)
            if one.is_declaration and not one.name.startswith("llvm.")
        ]
        if missing:
            raise CannotBeStored(f"it needs {', '.join(missing)}")
        code: bytes = _engine().target.emit_object(module)
    return bytes([returns]) + code


@contextmanager
def _told_as_such() -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, NameError, RuntimeError, ValueError) as error:
        # Another compiler, which names or writes things otherwise.
        raise CannotBeStored(str(error)) from error


def _returns(said: Any) -> int:
    from numba import types

    plain = {types.none: NOTHING, types.int64: SIGNED, types.uint64: UNSIGNED, types.boolean: BOOLEAN}
    if said in plain:
        return plain[said]
    if isinstance(said, types.UniTuple) and said.dtype == types.int64 and said.count <= MOST_RETURNED:
        return TUPLE + int(said.count)
    raise CannotBeStored(f"it returns {said}")


def _entry(native: Any, symbol: str, kinds: tuple[Kind, ...]) -> str:
    """LLVM's text for what is called from Python: objects of arrays become the fields that the compiler's function
    takes one by one (memory and its owner, none of them; elements, bytes of one; data; lengths; steps)."""
    takes = [str(argument.type) for argument in native.arguments]
    given, work, passed = ["ptr %out"], ["%raised = alloca ptr"], ["ptr", "ptr"]
    values = ["ptr %out", "ptr %raised"]

    def step(name: str, what: str) -> str:
        work.append(f"%{name} = {what}")
        return f"%{name}"

    def field(name: str, of: str, at: int, type_: str) -> str:
        return step(name, f"load {type_}, ptr {step(name + 'p', f'getelementptr i8, ptr {of}, i64 {at}')}")

    for i, kind in enumerate(kinds):
        if not isinstance(kind, tuple):
            given.append(f"i64 %a{i}")
            narrow = takes[len(passed)] if len(passed) < len(takes) else ""
            if narrow not in (("i8", "i1") if kind is bool else ("i64",)):
                raise CannotBeStored(f"argument {i} is {narrow} to the compiler")
            value = f"%a{i}" if narrow == "i64" else step(f"v{i}", f"trunc i64 %a{i} to {narrow}")
            passed.append(narrow)
            values.append(f"{narrow} {value}")
            continue
        element, dimensions, _ = kind
        given.append(f"ptr %a{i}")
        data = field(f"d{i}", f"%a{i}", DATA, "ptr")
        shape = field(f"s{i}", f"%a{i}", DIMENSIONS, "ptr")
        lengths = [field(f"n{i}x{k}", shape, 8 * k, "i64") for k in range(dimensions)]
        size, steps = str(np.dtype(element).itemsize), list[str]()
        for k in reversed(range(dimensions)):
            steps.insert(0, size)
            size = step(f"t{i}x{k}", f"mul i64 {size}, {lengths[k]}")
        elements = step(f"e{i}", f"udiv i64 {size}, {np.dtype(element).itemsize}")
        passed += ["ptr", "ptr", "i64", "i64", "ptr"] + ["i64"] * 2 * dimensions
        values += ["ptr null", "ptr null", f"i64 {elements}", f"i64 {np.dtype(element).itemsize}", f"ptr {data}"]
        values += [f"i64 {value}" for value in (*lengths, *steps)]
    if passed != takes:
        raise CannotBeStored(f"the compiler's function takes {', '.join(takes)}")
    called = f'i32 @"{native.name}"'
    lines = [*work, f"%failed = call {called}({', '.join(values)})", "ret i32 %failed"]
    body = "\n".join(f"  {line}" for line in lines)
    return f"declare {called}({', '.join(takes)})\ndefine i32 @{symbol}({', '.join(given)}) {{\n{body}\n}}\n"
