"""Fuzz one target in this process: ``python -m fuzz.one TARGET SECONDS SEED``."""

import sys
import tempfile
import warnings

import atheris

with atheris.instrument_imports(include=["cmlp"]):
    from fuzz.__main__ import MAX_INPUT_BYTES, MEMORY_MIB, TIMEOUT_SECONDS
    from fuzz.targets import HERE, TARGETS


def main():
    """Run libFuzzer over the corpus and the regressions of the target."""
    name, seconds, seed = sys.argv[1:]
    warnings.simplefilter("error")  # a warning of NumPy's is a wrong number without an error
    crashes = HERE / "crashes"
    crashes.mkdir(exist_ok=True)
    folders = [HERE / "corpus" / name.removeprefix("changed_"), HERE / "regressions" / name]
    with tempfile.TemporaryDirectory() as found:  # new inputs stay out of the repository
        arguments = [
            sys.argv[0], found, *(str(folder) for folder in folders if folder.is_dir()),
            f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MAX_INPUT_BYTES}",
            f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={TIMEOUT_SECONDS}", "-print_final_stats=1",
            f"-artifact_prefix={crashes}/{name}-", "-verbosity=0",
        ]  # fmt: skip
        atheris.Setup(arguments, TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
