"""Build the extension modules: Cython, and kernel tables compiled once for each ISA and real type.

Everything else about the package is in pyproject.toml.
"""

import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = Path("src/cmlp/_core")
CSRC = CORE / "csrc"
LIMITED_API = ("Py_LIMITED_API", "0x030B0000")

# CMLP_DEBUG=1 builds with debug symbols, bounds checks, the address and undefined-behavior
# sanitizers, and little optimization.
DEBUG = os.environ.get("CMLP_DEBUG") == "1"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
# CMLP_PROFILE=1 keeps the symbols for a profiler.
PROFILE = os.environ.get("CMLP_PROFILE") == "1"
# The tables by which a profiler or a C++ exception walks up the stack; they took 3% of the wheel.
NO_UNWIND = [] if PROFILE else ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
COMMON = (
    ["-std=gnu11", "-g", "-Og", *SANITIZE] if DEBUG else ["-std=gnu11", "-g0", "-O3", *NO_UNWIND]
)
LINK = SANITIZE if DEBUG else ["-Wl,-s"] if sys.platform == "linux" and not PROFILE else []

# Contract a * b + c to a fused multiply-add wherever the ISA has one. NaN and infinity follow
# IEEE 754 (no -ffast-math): training detects divergence by them.
KERNEL = ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"]

AVX512 = [
    "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma",
    "-mprefer-vector-width=512",
]  # fmt: skip
X86 = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": AVX512,
    "avx512_bf16": [*AVX512, "-mavx512bf16", "-mavx512vnni"],
    "amx": [*AVX512, "-mavx512bf16", "-mavx512vnni", "-mamx-tile", "-mamx-bf16"],
}
# The Cython modules, and their C sources other than kernels.c.
MODULES = (
    "augmentation", "blas", "kernels", "pool", "inputs", "steps", "program", "training", "sharded",
    "quantized",
)  # fmt: skip
SHARED = "cmlp._core._shared"
SOURCES = {"pool": ["pool.c"]}
# The modules that Python calls: with less optimization, they make the wheel smaller, not slower.
CALLED = {
    "augmentation", "blas", "inputs", "kernels", "program", "training", "sharded", "quantized"
}  # fmt: skip
# pool.c uses POSIX threads.
THREADS = [] if sys.platform == "win32" else ["-pthread"]

IS_X86 = platform.machine().lower() in ("x86_64", "amd64") and "arm64" not in os.environ.get(
    "ARCHFLAGS", ""
)
ISAS = X86 if IS_X86 else {"baseline": []}
# Tables that would equal that of a narrower ISA; isa.h uses the latter.
SAME = {("avx512_bf16", 8), ("amx", 8)}
# The source of a table, by ISA: that of AMX has only what differs from AVX512_BF16.
TABLE_SOURCES = {"amx": "amx.c"}


class BuildKernels(build_ext):
    """Compile kernels.c for each ISA and real type, and link the objects into `kernels`."""

    def finalize_options(self):
        """Build extensions at the same time, one for each CPU unless ``--parallel`` is given."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext):
        """Build an extension; for `kernels`, compile the kernel tables first."""
        if ext.name.endswith(".kernels"):
            jobs = [(isa, real) for isa in ISAS for real in (4, 8) if (isa, real) not in SAME]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                ext.extra_objects = list(pool.map(lambda job: self.compile_kernels(*job), jobs))
        super().build_extension(ext)

    def compile_kernels(self, isa, real):
        """Compile one kernel table.

        Parameters
        ----------
        isa : str
            Key of `ISAS`.
        real : int
            Bytes of the real type: 4 or 8.

        Returns
        -------
        str
            Path of the object file.
        """
        macros = [
            ("CMLP_REAL_BYTES", str(real)),
            ("CMLP_TABLE", f"cmlp_{isa}_{real}"),
        ]
        # All tables have the same source name: each needs its own directory.
        [object_file] = self.compiler.compile(
            [str(CSRC / TABLE_SOURCES.get(isa, "kernels.c"))],
            output_dir=os.path.join(self.build_temp, f"{isa}_{real}"),
            macros=macros,
            include_dirs=[str(CSRC)],
            extra_postargs=[*COMMON, *KERNEL, *ISAS[isa]],
        )
        return object_file


def make_extension(name):
    """Return the extension module cmlp._core.<name>."""
    sources = [CORE / f"{name}.pyx", *(CSRC / source for source in SOURCES.get(name, ()))]
    threads = THREADS if name in SOURCES else []
    return Extension(
        f"cmlp._core.{name}",
        [str(path) for path in sources],
        include_dirs=[str(CSRC)],
        define_macros=[LIMITED_API, *([("CMLP_HAVE_X86", "1")] if IS_X86 else [])],
        py_limited_api=True,
        extra_compile_args=[*COMMON, *(["-O2"] if name in CALLED and not DEBUG else []), *threads],
        extra_link_args=[*LINK, *threads],
        depends=[str(path) for path in (*CSRC.iterdir(), *CORE.glob("*.px[di]"))],
    )


def make_shared_extension():
    """Return the extension module with the code of memoryviews, which the other modules share."""
    return Extension(
        SHARED,
        [str(CORE / f"{SHARED.rpartition('.')[2]}.c")],
        define_macros=[LIMITED_API],
        py_limited_api=True,
        extra_compile_args=[*COMMON, *([] if DEBUG else ["-O2"])],
        extra_link_args=LINK,
    )


setup(
    ext_modules=cythonize(
        [*(make_extension(name) for name in MODULES), make_shared_extension()],
        include_path=["src"],
        shared_utility_qualified_name=SHARED,
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    ),
    cmdclass={"build_ext": BuildKernels},
)
