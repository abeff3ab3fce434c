"""The structure of the source: layers of modules, sizes of files and functions, private names.

A new module must be placed in `LAYERS`. The tests read the source and import nothing of it.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "cmlp"

MOST_LINES_OF_A_FILE = 500
MOST_LINES_OF_A_FUNCTION = 60  # without its docstring

# Every module, highest layer first: a module imports only from its own layer and those below.
# A package's name stands for its `__init__`; "__init__" is that of cmlp.
LAYERS = [
    "__main__",
    "cli",
    "_cli.parser",
    """_cli _cli.arrays _cli.bench _cli.columns _cli.completion _cli.csv_files _cli.errors
    _cli.evaluate _cli.export _cli.models _cli.parquet_files _cli.predict _cli.scores
    _cli.settings _cli.sizes _cli.standardization _cli.tables _cli.targets _cli.train
    _cli.train_estimator _cli.train_network""",
    """_bench _bench.jobs _bench.machine _bench.peers _bench.peers.cmlp_ _bench.peers.numpy_
    _bench.peers.numpy_reference _bench.peers.sklearn_ _bench.peers.torch_eager _bench.runner
    _bench.worker""",
    "__init__",
    """dask dask.base dask.blocks dask.cluster dask.estimators dask.mixin dask.partitions
    dask.prediction dask.rounds dask.scores dask.table_mixin dask.table_training dask.tables
    dask.tabular dask.training""",
    """tabular tabular.arrow_columns tabular.base tabular.best_epoch tabular.c_pipeline
    tabular.calibration tabular.categories tabular.columns tabular.encoding tabular.estimators
    tabular.exports tabular.fields tabular.files tabular.folds tabular.html_pipeline
    tabular.networks
    tabular.onnx_pipeline tabular.pandas_columns tabular.polars_columns tabular.scaling
    tabular.selection tabular.settings tabular.tables tabular.targets tabular.torch_pipeline
    tabular.training""",
    """sklearn sklearn.combinations sklearn.constraints sklearn.estimators sklearn.labels
    sklearn.losses sklearn.mixin
    sklearn.nested sklearn.onnx_converter sklearn.optimizers sklearn.parameters sklearn.pickling
    sklearn.prediction sklearn.ranks sklearn.registration sklearn.schedules sklearn.sources
    sklearn.stopping sklearn.tasks sklearn.threadpool sklearn.unavailable sklearn.validation""",
    """ensemble dask.ensembles dask.clients config learning_rates plot plot.classifiers plot.curves
    plot.diagram plot.images plot.models plot.regressors""",
    "reference",
    "network",
    """quantized _quantization _quantization.calibration _quantization.methods
    _quantization.ranges""",
    """datasets datasets.augmentation datasets.digits datasets.download datasets.idx datasets.mnist
    datasets.tables""",
    """_training _training.apply _training.arguments _training.augmentation _training.checkpoint
    _training.derivative_methods
    _training.epochs _training.evaluation _training.exchange _training.history
    _training.initialization _training.inputs
    _training.lbfgs _training.loop _training.many _training.metric_functions
    _training.prediction_methods
    _training.progress _training.ranks
    _training.reference_methods _training.run_state _training.scikit_features _training.scikit_tasks
    _training.shard_metrics
    _training.shard_sources _training.sharding _training.sources _training.splits
    _training.step_settings""",
    """formats formats.archive formats.atomic formats.base formats.builder formats.c
    formats.c_encoders formats.c_functions formats.c_integer formats.c_integer_code
    formats.c_integer_tables formats.c_quantized formats.c_source formats.c_text
    formats.c_training formats.c_training_code
    formats.finite formats.folding formats.header formats.html formats.html_controls
    formats.html_layers formats.keras formats.keras_layers
    formats.methods formats.npy formats.npz formats.onnx formats.onnx_double
    formats.onnx_encoders formats.onnx_export formats.onnx_graph formats.onnx_import
    formats.onnx_patterns formats.onnx_quantized formats.onnx_tensors formats.quantized_archive
    formats.safetensors formats.sklearn_affine formats.sklearn_mlp formats.torch
    formats.torch_modules""",
    "layers",
    """_model _model.architecture _model.attributes _model.description _model.gradient _model.html
    _model.layer_methods _model.layers _model.layers.base _model.layers.dense
    _model.layers.encoders _model.layers.input_dropout _model.layers.input_noise
    _model.network_layers
    _model.optimizer_choice _model.optimizer_state _model.parameter_groups _model.parameters
    _model.quantized _model.state _model.tasks""",
    """callbacks callbacks.base callbacks.checkpoint callbacks.csv_logger callbacks.early_stopping
    callbacks.mlflow callbacks.records callbacks.tensorboard""",
    "plot.figures plot.lines",
    "activations initializers losses metrics normalizations optimizers schedules",
    "lbfgs",
    """_utils _utils.fields _utils.html _utils.interpolation _utils.schema _utils.threads
    _utils.validation errors _version""",
    """_core _core.augmentation _core.blas _core.hooks _core.inputs _core.kernels _core.pool
    _core.program _core.quantized _core.sharded _core.steps _core.training""",
]

LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names.split()}

# Private names that may be read of another object: those of named tuples, which are documented
# as public, and, in cmlp.sklearn and cmlp.dask, attributes that scikit-learn's estimators define.
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
OF_SCIKIT_LEARN = {
    "_coef_indptr", "_intercept_indptr", "_label_binarizer", "_no_improvement_count", "_optimizer",
    "_parameter_constraints", "_random_state", "_score",
}  # fmt: skip


def list_files(*patterns):
    """Return the source files, without the C code that Cython generates beside its own files."""
    found = sorted(path for pattern in patterns for path in ROOT.rglob(pattern))
    return [path for path in found if path.suffix != ".c" or path.parent.name == "csrc"]


def get_name(path):
    """Return the name of a module in `LAYERS`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {get_name(path): path for path in list_files("*.py", "*.pyx")}
NAMES = set(MODULES) | {get_name(path) for path in list_files("*.pxd")}


@cache
def parse(path):
    return ast.parse(path.read_text(), str(path))


def resolve(module, names):
    """Yield the modules of cmlp that `from module import names` imports."""
    if module == "cmlp":
        for name in names:
            yield name if name in NAMES else "__init__"
    elif module.startswith("cmlp."):
        module = module.removeprefix("cmlp.")
        for name in names or [""]:
            yield f"{module}.{name}" if f"{module}.{name}" in NAMES else module


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def iterate_imports(tree, package, in_function=False):
    """Yield (module, line, whether in a function) for each import of a module of cmlp."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        found = []
        if isinstance(node, ast.Import):
            found = [name for alias in node.names for name in resolve(alias.name, [])]
            found += ["__init__" for alias in node.names if alias.name == "cmlp"]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = package[: len(package) - node.level + 1]
                module = ".".join(["cmlp", *base, *filter(None, [module])])
            found = resolve(module, [alias.name for alias in node.names])
        for name in found:
            yield name, node.lineno, in_function
        deeper = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from iterate_imports(node, package, deeper)


FROM = re.compile(r"^[ \t]*from\s+(cmlp[\w.]*)\s+c?import\s+(\([^)]*\)|.+)", re.MULTILINE)
IMPORT = re.compile(r"^[ \t]*c?import\s+(cmlp[\w.]*)", re.MULTILINE)


def iterate_cython_imports(text):
    """Yield the same for a Cython file, by its lines."""
    for match in FROM.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        listed = re.sub(r"\bas\s+\w+|[()\\]|#.*", " ", match[2]).replace(",", " ").split()
        for name in resolve(match[1], listed):
            yield name, line, False
    for match in IMPORT.finditer(text):
        for name in resolve(match[1], []):
            yield name, text.count("\n", 0, match.start()) + 1, False


@cache
def list_imports():
    """Return (importer, imported, place, whether in a function) of all imports within cmlp."""
    found = []
    for path in list_files("*.py", "*.pyx", "*.pxd", "*.pxi"):
        # A .pxi file belongs to the module that includes it.
        module = get_name(path if path.suffix != ".pxi" else path.with_name("__init__.py"))
        if path.suffix == ".py":
            package = list(path.relative_to(ROOT).parent.parts)
            imports = iterate_imports(parse(path), package)
        else:
            imports = iterate_cython_imports(path.read_text())
        for imported, line, in_function in imports:
            if imported != module:
                place = f"{path.relative_to(ROOT)}:{line}"
                found.append((module, imported, place, in_function))
    return found


def test_every_module_has_a_layer():
    assert set(LEVELS) - NAMES == set(), "modules in LAYERS that do not exist"
    assert NAMES - set(LEVELS) == set(), "modules that must be added to LAYERS"


def test_no_module_imports_from_a_layer_above():
    upward = {
        f"{place}: {module} imports {imported}"
        for module, imported, place, _ in list_imports()
        if module in LEVELS and imported in LEVELS and LEVELS[imported] < LEVELS[module]
    }
    assert upward == set()


def find_cycle(edges):
    """Return a list of names that import each other in turn, or None."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        path.append(name)
        for other in sorted(edges.get(name, ())):
            if cycle := visit(other):
                return cycle
        done.add(path.pop())
        return None

    return next((cycle for name in sorted(edges) if (cycle := visit(name))), None)


def test_no_modules_import_each_other():
    edges = {}
    for module, imported, _, in_function in list_imports():
        if not in_function:
            edges.setdefault(module, set()).add(imported)
    assert len(edges) > len(LAYERS)
    assert find_cycle(edges) is None


def test_the_search_for_imports_finds_them():
    text = "import cmlp\nfrom . import base\ndef f():\n    from cmlp import network, nothing\n"
    found = [name for name, _, _ in iterate_imports(ast.parse(text), ["datasets"])]
    assert found == ["__init__", "datasets", "network", "__init__"]
    text = "from cmlp._core.kernels cimport (\n    a,\n)\ncimport cmlp._core.blas\n"
    assert list(iterate_cython_imports(text)) == [
        ("_core.kernels", 1, False), ("_core.blas", 4, False)
    ]  # fmt: skip
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_no_file_is_too_long():
    files = list_files("*.py", "*.pyx", "*.pxd", "*.pxi", "*.pyi", "*.h", "*.c")
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files}
    assert {path: count for path, count in lines.items() if count > MOST_LINES_OF_A_FILE} == {}


def measure_python(tree):
    """Yield (name, number of lines without the docstring) of each function."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            yield node.name, lines


CYTHON_FUNCTION = re.compile(r"( *)(?:cdef|cpdef|def)\s+(?!class\b|extern\b)[^=(]*?(\w+)\s*\(")


def measure_cython(text):
    """Yield the same for Cython, by indentation."""
    lines = text.splitlines()
    for first, line in enumerate(lines):
        match = CYTHON_FUNCTION.match(line)
        if not match:
            continue
        body, depth = first, 0
        while True:  # to the end of the header
            code = lines[body].split("#")[0]
            depth += code.count("(") - code.count(")")
            body += 1
            if depth <= 0 or body == len(lines):
                break
        if not code.rstrip().endswith(":"):
            continue  # a declaration
        end = last = body
        while end < len(lines):
            if lines[end].strip():
                if len(lines[end]) - len(lines[end].lstrip()) <= len(match[1]):
                    break
                last = end + 1
            end += 1
        count = last - first
        if body < last and (start := lines[body].strip()).startswith('"""'):
            closing = body
            while not (lines[closing].rstrip().endswith('"""') and (closing > body or
                                                                    len(start) > 5)):  # fmt: skip
                closing += 1
            count -= closing - body + 1
        yield match[2], count


def measure_c(text):
    """Yield the same for C, whose functions end with a brace in the first column."""
    header = first = None
    for number, line in enumerate(text.splitlines()):
        if re.match(r"[A-Za-z_].*\(", line) and not line.rstrip().endswith((";", "\\")):
            header, first = re.search(r"(\w+)\(", line)[1], number
        elif line.startswith("}") and header:
            yield header, number - first + 1
            header = None
        elif line.endswith(";") and header and not line.startswith((" ", "\t", "{")):
            header = None


def measure(path):
    """Yield the name and the number of lines of each function of a file."""
    if path.suffix == ".py":
        return measure_python(parse(path))
    return (measure_c if path.suffix in (".c", ".h") else measure_cython)(path.read_text())


def test_no_function_is_too_long():
    files = list_files("*.py", "*.pyx", "*.pxd", "*.pxi", "*.h", "*.c")
    found = {(str(p.relative_to(ROOT)), name): n for p in files for name, n in measure(p)}
    kinds = {Path(path).suffix for path, _ in found}
    assert {".py", ".pyx", ".h"} <= kinds, "no functions were found in one language"
    assert {key: n for key, n in found.items() if n > MOST_LINES_OF_A_FUNCTION} == {}


PYTHON = '''
def f(a,
      b):
    """One.

    Two.
    """
    return a
'''

CYTHON = '''
cdef int x = f(3)
cdef extern from "a.h":
    int declared(int x)

cdef void f(int a,
            int b) noexcept nogil:
    """One.

    Two."""
    if a:

        g(b)

cdef class C:
    def g(self, n=3):
        """One."""
        return n
'''

C = """
int declared(int a);
INLINE int f(int a,
             int b)
{
    if (a) {
        return b;
    }
}
"""


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lambda: measure_python(ast.parse(PYTHON)), [("f", 3)]),
        (lambda: measure_cython(CYTHON), [("f", 5), ("g", 2)]),
        (lambda: measure_c(C), [("f", 7)]),
    ],
    ids=["Python", "Cython", "C"],
)
def test_functions_are_measured(found, expected):
    assert list(found()) == expected


def is_private(name):
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def list_foreign_names(tree):
    """Return the names that are imported from other projects."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or node.names[0].name
            if not module.startswith("cmlp"):
                names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


NEW_INSTANCES = ("cls", "cls.__new__", "type(self)", "type(self).__new__")


def list_new_instances(tree):
    """Return the names of variables that are assigned a new instance of the class itself."""
    return {
        node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) in NEW_INSTANCES
    }


def is_own(target, foreign, instances):
    """Return whether an expression is of the class itself or of another project."""
    if isinstance(target, ast.Call):
        return ast.unparse(target.func) == "super"
    if isinstance(target, ast.Name) and target.id in {"self", "cls", *instances}:
        return True
    while isinstance(target, ast.Attribute):
        target = target.value
    return isinstance(target, ast.Name) and target.id in foreign


def iterate_private_reads(tree):
    """Yield (name, line) of private attributes of objects of other classes.

    Own are self, cls, super() and, in any function of the module, a variable that some function
    assigns a new instance of its class.
    """
    foreign, instances = list_foreign_names(tree), list_new_instances(tree)
    for node in ast.walk(tree):
        name = target = None
        if isinstance(node, ast.Attribute):
            name, target = node.attr, node.value
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            by_name = ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr")
            if by_name and isinstance(node.args[1], ast.Constant):
                name, target = node.args[1].value, node.args[0]
        if not name or not is_private(name) or name in OF_NAMED_TUPLES:
            continue
        if not is_own(target, foreign, instances):
            yield name, node.lineno


CYTHON_PRIVATE = re.compile(r"(?<![\w.])(\w[\w.\[\]()]*)\.(_(?!_)\w+)")


def iterate_cython_private_reads(text):
    """Yield the same for Cython, by its lines."""
    for line, code in enumerate(text.splitlines(), 1):
        code = re.sub(r'"[^"]*"|#.*', "", code)
        if not re.match(r"\s*(from|cimport|import|include)\b", code):
            for match in CYTHON_PRIVATE.finditer(code):
                if match[1] not in ("self", "cls") and match[2] not in OF_NAMED_TUPLES:
                    yield match[2], line


def test_no_private_attribute_of_another_class_is_read():
    found = []
    for path in list_files("*.py", "*.pyx", "*.pxi"):
        if path.suffix == ".py":
            reads = iterate_private_reads(parse(path))
        else:
            reads = iterate_cython_private_reads(path.read_text())
        exempt = OF_SCIKIT_LEARN if path.relative_to(ROOT).parts[0] in ("sklearn", "dask") else ()
        found += [f"{path.relative_to(ROOT)}:{line}: {name}" for name, line in reads
                  if name not in exempt]  # fmt: skip
    assert found == []


def test_private_reads_are_found():
    text = """
import outside
from cmlp import network
class C:
    def f(self, other):
        self._a, other._b, self.other._c, super()._d, outside._e, network._f, f(other)._g
        getattr(other, "_h"), getattr(self, "_i"), other.__class__, other._replace()
        new = cls.__new__(cls)
        new._j
"""
    found = [name for name, _ in iterate_private_reads(ast.parse(text))]
    assert sorted(found) == ["_b", "_c", "_f", "_g", "_h"]
    text = "from cmlp._core import x\nself._a + other._b # c._d\n"
    assert list(iterate_cython_private_reads(text)) == [("_b", 2)]
