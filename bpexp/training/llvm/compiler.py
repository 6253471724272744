"""Compiles LLVM assembly to object code, in another process if that takes seconds.

LLVM cannot be interrupted, and a program must not end while one of its threads compiles; a process
can be ended. ``python -m bpexp.training.llvm.compiler`` compiles standard input to standard output.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from llvmlite import binding

from bpexp.training.engine import Cancelled

LONG_ASSEMBLY = 300_000
"""Characters of assembly that take more than a second to compile: networks of many layers."""
SECONDS_BETWEEN_CHECKS = 0.2


def compile_assembly(assembly: str, is_cancelled: Callable[[], bool]) -> bytes:
    """Return object code, after the optimization passes, none of which changes a result.

    Args:
        assembly: What to compile.
        is_cancelled: Whether to give up a compilation that takes seconds.

    Raises:
        Cancelled: It was given up.
    """
    if len(assembly) >= LONG_ASSEMBLY:
        # Where no process can be started, this one compiles.
        with suppress(OSError):
            object_code = _compiled_by_process(assembly, is_cancelled)
            if object_code:
                return object_code
    return object_code_of(assembly)


def _compiled_by_process(assembly: str, is_cancelled: Callable[[], bool]) -> bytes:
    """Object code; none if the process failed."""
    # -P: a module in the working folder must not take the place of one of Python's.
    command = [sys.executable or "", "-P", "-m", "bpexp.training.llvm.compiler"]
    # A file: after a timeout, Python 3.11 does not write what is left of the input to a pipe.
    with tempfile.TemporaryFile() as file:
        file.write(assembly.encode())
        file.seek(0)
        # In a session of its own, so that Ctrl-C ends it through this process only.
        with subprocess.Popen(
            command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                while not is_cancelled():
                    with suppress(subprocess.TimeoutExpired):
                        output, _ = process.communicate(timeout=SECONDS_BETWEEN_CHECKS)
                        return output if process.returncode == 0 else b""
                raise Cancelled
            finally:
                process.kill()


def object_code_of(assembly: str) -> bytes:
    """``compile_assembly`` in this process."""
    module = binding.parse_assembly(assembly)
    options = binding.create_pipeline_tuning_options(speed_level=3)
    builder = binding.create_pass_builder(target_machine(), options)
    builder.getModulePassManager().run(module, builder)
    return bytes(target_machine().emit_object(module))


def target_cpu() -> tuple[str, str]:
    """Name and features of the processor to compile for."""
    name = os.environ.get("BPEXP_CPU")
    host_name, host_features = _host_cpu()
    features = os.environ.get("BPEXP_CPU_FEATURES", "" if name else host_features)
    return name or host_name, features


# Every call of a kernel asks for it, and LLVM takes most of a millisecond.
@cache
def _host_cpu() -> tuple[str, str]:
    """Name and features of this processor."""
    return binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


def target_machine() -> Any:
    """The processor to compile for, as LLVM describes it."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    name, features = target_cpu()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault"
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(object_code_of(sys.stdin.read()))
