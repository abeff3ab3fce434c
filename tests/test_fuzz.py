"""The fuzz targets on their corpus, on inputs that once showed a fault, and on random ones."""

import random

import pytest

from fuzz.targets import HERE, TARGETS


def find_inputs(name):
    """Return the files of a target's corpus and regressions."""
    corpus = sorted((HERE / "corpus" / name).glob("*"))
    return corpus + sorted((HERE / "regressions" / name).glob("*"))


INPUTS = [pytest.param(name, path, id=f"{name}-{path.name}")
          for name in TARGETS for path in find_inputs(name)]  # fmt: skip


def test_every_target_has_inputs():
    assert {parameter.values[0] for parameter in INPUTS} >= {
        name for name in TARGETS if not name.startswith("changed_")
    }


@pytest.mark.parametrize(("name", "path"), INPUTS)
def test_a_stored_input_raises_nothing_but_value_errors(name, path):
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_random_inputs_raise_nothing_but_value_errors(name):
    generator = random.Random(0)
    seeds = [path.read_bytes() for path in find_inputs(name.removeprefix("changed_"))]
    for _ in range(60):
        data = bytearray(generator.choice(seeds))
        for _ in range(generator.randrange(1, 5)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        TARGETS[name](bytes(data[: generator.randrange(len(data)) + 1]))
        TARGETS[name](generator.randbytes(generator.randrange(64)))
