"""The machine that a benchmark runs on."""

import platform
from pathlib import Path


def read_cpu_model():
    """Return the CPU's model name, family and model number, as far as the system reports them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split("\t: ", 1) for line in lines if "\t: " in line.replace("\t\t", "\t"))
    fields = {name.strip(): value for name, value in fields.items()}
    return (
        f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family', '?')} "
        f"model {fields.get('model', '?')}"
    )
