"""Helpers for tests of web pages: their parts, and their forward pass in Node.js."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

import cmlp

WEB = Path(cmlp.__file__).parent / "formats" / "web"
NODE = shutil.which("node")

# Reads {pages: [{description, arrays, samples}]}; writes the results of all samples of each page.
RUN = """
const text = require("fs").readFileSync(0, "utf8");
const pages = JSON.parse(text).map(({ description, arrays, samples }) => {
  const model = new Model(description, (i) => arrays[i]);
  return samples.map((inputs) => {
    if (inputs.numbers) inputs.numbers = inputs.numbers.map((x) => (x === null ? NaN : x));
    const { outputs, values, deviations, layers } = model.run(inputs);
    return { outputs: Array.from(outputs), values, deviations, layers: layers.map((l) => [...l]) };
  });
});
console.log(JSON.stringify(pages));
"""


def read_page(path):
    """Return the description and the arrays, as base64, of a page."""
    text = Path(path).read_text("utf-8")
    arrays = re.findall(r'<script type="text/plain" class="array">(.*?)</script>', text)
    [model] = re.findall(r'<script type="application/json" id="model">(.*?)</script>', text)
    return json.loads(model), arrays


def run_node(program, data, *sources):
    """Run a program that reads JSON from its standard input; return the JSON that it prints.

    Parameters
    ----------
    program : str
    data : object
    *sources : str
        Names of files of the directory `web`, which the program begins with.
    """
    text = "\n".join((WEB / name).read_text() for name in sources) + program
    done = subprocess.run(
        [NODE, "-e", text], input=json.dumps(data), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_pages(pages):
    """Return the results of pages for samples, a list of lists of dict.

    Parameters
    ----------
    pages : list of (path, samples)
    """
    data = []
    for path, samples in pages:
        description, arrays = read_page(path)
        samples = samples if isinstance(samples, list) else np.asarray(samples).tolist()
        data.append({"description": description, "arrays": arrays, "samples": samples})
    return run_node(RUN, data, "network.js")
