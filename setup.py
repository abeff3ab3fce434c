"""The extensions: the Cython modules, and kernels.c compiled once for each ISA.

Everything else about the package stands in pyproject.toml.
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = Path("src/cmlp/_core")
CSRC = CORE / "csrc"
LIMITED_API = ("Py_LIMITED_API", "0x030B0000")

# CMLP_DEBUG=1 builds with symbols, assertions of the address and
# undefined-behaviour sanitizers, and no optimisation to speak of.
DEBUG = os.environ.get("CMLP_DEBUG") == "1"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
COMMON = ["-std=gnu11", "-g", "-Og", *SANITIZE] if DEBUG else ["-std=gnu11", "-g0", "-O3"]
# CMLP_PROFILE=1 keeps the symbols, for a profiler.
PROFILE = os.environ.get("CMLP_PROFILE") == "1"
LINK = SANITIZE if DEBUG else ["-Wl,-s"] if sys.platform == "linux" and not PROFILE else []

# A sum of products is one rounding wherever the ISA has it; NaN and infinity mean
# what IEEE 754 says.
KERNEL = ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"]

X86 = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma",
        "-mprefer-vector-width=512",
    ],
}  # fmt: skip
IS_X86 = platform.machine().lower() in ("x86_64", "amd64") and "arm64" not in os.environ.get(
    "ARCHFLAGS", ""
)
ISAS = X86 if IS_X86 else {"baseline": []}


def openmp_flags():
    """Return the flags for OpenMP, or none where the compiler has no OpenMP."""
    program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.c")
        source.write_text(program)
        command = [*os.environ.get("CC", "cc").split(), str(source), "-fopenmp"]
        done = subprocess.run([*command, "-o", str(Path(folder, "try"))], capture_output=True)
    return ["-fopenmp"] if done.returncode == 0 else []


class BuildKernels(build_ext):
    """Compiles kernels.c for each ISA and real type, for the module that holds the tables."""

    def build_extension(self, ext):
        """Add the kernels' objects to the one extension that wants them."""
        if ext.name.endswith(".kernels"):
            jobs = [(isa, real) for isa in ISAS for real in (4, 8)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                ext.extra_objects = list(pool.map(lambda job: self.compile_kernels(*job), jobs))
        super().build_extension(ext)

    def compile_kernels(self, isa, real):
        """Compile one table; returns the object file."""
        macros = [
            ("CMLP_REAL_BYTES", str(real)),
            ("CMLP_ISA", isa),
            ("CMLP_TABLE", f"cmlp_{isa}_{real}"),
        ]
        # Each build has a folder of its own; they share the source's name.
        [built] = self.compiler.compile(
            [str(CSRC / "kernels.c")],
            output_dir=os.path.join(self.build_temp, f"{isa}_{real}"),
            macros=macros,
            include_dirs=[str(CSRC)],
            extra_postargs=[*COMMON, *KERNEL, *ISAS[isa]],
        )
        return built


def extension(name, **options):
    """Describe one of the compiled rooms."""
    openmp = openmp_flags() if name in ("samples", "steps", "engine", "epochs") else []
    return Extension(
        f"cmlp._core.{name}",
        [str(CORE / f"{name}.pyx")],
        include_dirs=[str(CSRC)],
        define_macros=[LIMITED_API, *([("CMLP_HAVE_X86", "1")] if IS_X86 else [])],
        py_limited_api=True,
        extra_compile_args=[*COMMON, *openmp],
        extra_link_args=[*LINK, *openmp],
        depends=[str(path) for path in (*CSRC.iterdir(), *CORE.glob("*.pxd"))],
        **options,
    )


setup(
    ext_modules=cythonize(
        [extension(name) for name in ("blas", "kernels", "samples", "steps", "engine", "epochs")],
        include_path=["src"],
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
