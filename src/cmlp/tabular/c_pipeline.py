"""An estimator for tables as a C99 file with a header: from numbers and codes to predictions."""

import math

import numpy as np

from cmlp.formats.c_source import (
    SourceRenderer,
    check_options,
    render_file,
    render_layer_function,
    write_files,
)
from cmlp.formats.c_text import render_array, render_float, render_integers, render_string
from cmlp.tabular.calibration import LEAST_PROBABILITY
from cmlp.tabular.scaling import SATURATION

# Python's `scale`: halves do not overflow; NaN is a missing number, or infinity times 0.
SCALE = """/* Center and scale a number, then clip it smoothly at the bound, if that is not 0. */
static float scale_number(double value, double median, double factor, double bound)
{{
    double x = (0.5 * value - 0.5 * median) * factor;
    if (bound > 0.0) {{
        x *= 2.0 / bound;
        x = x > {limit} ? {limit} : x < -{limit} ? -{limit} : x;
        x = x / sqrt(1.0 + x * x) * bound;
    }} else
        x *= 2.0;
    return x == x ? (float)x : 0.0f;
}}
"""

TEMPER = """/* softmax(log(p) / t) */
static void temper(float *p, int n, float t)
{{
    int i;
    for (i = 0; i < n; i++)
        p[i] = LOG(p[i] > {least} ? p[i] : {least}) / t;
    softmax(p, n);
}}
"""

FIND_CODE = """int {name}_find_code(int column, const char *category)
{{
    int first = 0, last;
    if (column < 0 || column >= {macro}_CODES)
        return 0;
    last = category_counts[column];
    while (first < last) {{
        const int middle = first + (last - first) / 2;
        const int order = strcmp(category, categories[column][middle]);
        if (order == 0)
            return category_codes[column][middle];
        if (order < 0)
            last = middle;
        else
            first = middle + 1;
    }}
    return 0;
}}
"""


def write(model, path, name, weights, own_math):
    """Write an `ExportedModel` as C, atomically; see `EstimatorExports.to_c`."""
    path, header_path = check_options(path, name, weights, own_math)
    write_files(path, header_path, PipelineRenderer(model, name, weights == "int8", own_math))


class PipelineRenderer:
    """Renders the text of both files.

    Parameters
    ----------
    model : ExportedModel
    name : str
        Prefix of the functions' names.
    is_int8 : bool
        Whether the weights of dense layers are 8-bit integers.
    own_math : bool
    """

    def __init__(self, model, name, is_int8, own_math):
        self.model, self.name, self.own_math = model, name, own_math
        self.macro, self.is_int8 = name.upper(), is_int8
        self.is_classifier = model.classes is not None
        self.has_std = not self.is_classifier and model.loss.has_std
        self.networks = [
            SourceRenderer(state, name, is_int8, own_math, f"network_{k}_")
            for k, state in enumerate(model.states)
        ]
        encoder, names = model.encoder, model.names
        self.n_numbers, self.n_codes = len(encoder.numeric_columns_), len(encoder.categories_)
        self.name_arrays = {
            "number_names": [names[i] for i in encoder.numeric_columns_],
            "code_names": [names[i] for i in encoder.categorical_columns_],
            "classes": [str(each) for each in model.classes] if self.is_classifier else [],
        }

    def list_heads(self):
        """Return the functions of the file, a dict from a comment to the head of a function."""
        name, arguments = self.name, "const double *numbers, const int *codes"
        if self.is_classifier:
            return {
                "The probabilities of the classes.":
                    f"void {name}_predict({arguments}, float *probabilities)",
                "The index of the most probable class.": f"int {name}_classify({arguments})",
            }  # fmt: skip
        std = ", double *std" if self.has_std else ""
        what = "The predictions and their standard deviations." if std else "The predictions."
        return {what: f"void {name}_predict({arguments}, double *prediction{std})"}

    def render_header(self):
        """Return the text of the header."""
        name, macro = self.name, self.macro
        lines = [
            "/* A model for tables, written by cmlp.",
            " *",
            " * numbers: the values of the numeric columns, NaN where missing.",
            " * codes: of the categories of the other columns, 0 where missing or unknown.",
            " * Both are in the order of the columns of the table. */",
            f"#ifndef {macro}_H", f"#define {macro}_H", "",
            f"#define {macro}_NUMBERS {self.n_numbers}", f"#define {macro}_CODES {self.n_codes}",
            f"#define {macro}_OUTPUTS {self.model.n_predictions}", "",
        ]  # fmt: skip
        titles = {"number_names": "Names of the numeric columns.",
                  "code_names": "Names of the columns of codes.",
                  "classes": "Names of the classes."}  # fmt: skip
        for array, values in self.name_arrays.items():
            if values:
                declaration = f"extern const char *const {name}_{array}[{len(values)}];"
                lines += [f"/* {titles[array]} */", declaration, ""]
        for comment, head in self.list_heads().items():
            lines += [f"/* {comment} */", f"{head};", ""]
        if self.n_codes:
            lines += ["/* The code of a category of a column, by its index in code_names; 0 if it",
                      " * is unknown. Numbers are written as in Python: 3, 2.5, True. */",
                      f"int {name}_find_code(int column, const char *category);", ""]  # fmt: skip
        return "\n".join([*lines, "#endif", ""])

    def render_source(self, header_name):
        """Return the text of the source file, which includes the header of this name."""
        parts = [
            render_strings(f"const char *const {self.name}_{array}", values)
            for array, values in self.name_arrays.items() if values
        ]  # fmt: skip
        if self.n_codes:
            parts += self.render_categories()
        if self.networks:
            parts += [*self.render_encoding(), render_layer_function(self.is_int8)]
        for k, network in enumerate(self.networks):
            parts += [*network.render_arrays(), network.render_outputs(f"static void network_{k}")]
        if self.networks:
            functions = ", ".join(f"network_{k}" for k in range(len(self.networks)))
            parts.append("static void (*const networks[])(const float *, float *) = "
                         f"{{{functions}}};\n")  # fmt: skip
        parts += self.render_classifier() if self.is_classifier else self.render_regressor()
        return render_file("\n".join(parts), header_name, self.own_math)

    def render_categories(self):
        """Yield the sorted categories of each column, their codes, and the look-up function."""
        counts = [len(each) for each in self.model.encoder.categories_]
        for index, count in enumerate(counts):
            texts = self.model.list_texts(index)
            # strcmp compares the bytes of UTF-8, which sort like the code points.
            order = sorted(range(count), key=texts.__getitem__)
            values = [texts[i] for i in order] or [""]
            yield render_strings(f"static const char *const categories_{index}", values)
            yield render_integers(f"codes_{index}", [i + 1 for i in order] or [0])
        for kind, array, item in (("char *const", "categories", "categories"),
                                  ("int", "category_codes", "codes")):  # fmt: skip
            items = ", ".join(f"{item}_{index}" for index in range(len(counts)))
            yield f"static const {kind} *const {array}[] = {{{items}}};\n"
        yield render_integers("category_counts", counts)
        yield FIND_CODE.format(name=self.name, macro=self.macro)

    def render_encoding(self):
        """Yield the function that computes the networks' input, and its arrays."""
        encoder, columns = self.model.encoder, self.model.columns
        lines = ["static void encode(const double *numbers, const int *codes, float *x)", "{"]
        with_indicator = np.flatnonzero(encoder.has_missing_)
        if self.n_numbers or self.n_codes:
            lines.append("    int i;")
        if self.n_numbers:
            yield SCALE.format(limit=render_double(SATURATION))
            yield render_array("double", "medians", encoder.medians_, render_double)
            yield render_array("double", "factors", encoder.factors_, render_double)
            bound = render_double(encoder.smooth_clip or 0.0)
            lines += [
                f"    for (i = 0; i < {self.n_numbers}; i++)",
                f"        x[i] = scale_number(numbers[i], medians[i], factors[i], {bound});",
            ]
        else:
            lines.append("    (void)numbers;")
        if len(with_indicator):
            yield render_integers("with_indicator", with_indicator)
            value = "numbers[with_indicator[i]]"
            lines += [
                f"    for (i = 0; i < {len(with_indicator)}; i++)",
                f"        x[{self.n_numbers} + i] = {value} == {value} ? -1.0f : 1.0f;",
            ]
        if self.n_codes:
            yield render_integers("code_order", self.model.code_order)
            lines += [
                f"    for (i = 0; i < {self.n_codes}; i++)",
                f"        x[{columns.n_dense} + i] = (float)codes[code_order[i]];",
            ]
        else:
            lines.append("    (void)codes;")
        yield "\n".join([*lines, "}", ""])

    def render_classifier(self):
        """Yield the functions of a classifier."""
        predict, classify = self.list_heads().values()
        n, temperature = self.model.n_predictions, self.model.temperature
        if not self.networks:
            unused = "    (void)numbers;\n    (void)codes;\n"
            yield f"{predict}\n{{\n{unused}    probabilities[0] = 1.0f;\n}}\n"
            yield f"{classify}\n{{\n{unused}    return 0;\n}}\n"
            return
        lines = [predict, "{", *self.render_start(), f"    for (i = 0; i < {n}; i++)",
                 "        probabilities[i] = 0.0f;", *self.render_loop()]  # fmt: skip
        if temperature != 1:
            yield TEMPER.format(least=render_float(LEAST_PROBABILITY))
            lines.append(f"        temper(y, {n}, {render_float(temperature)});")
        yield "\n".join([
            *lines, f"        for (i = 0; i < {n}; i++)", "            probabilities[i] += y[i];",
            "    }", f"    for (i = 0; i < {n}; i++)",
            f"        probabilities[i] /= {render_float(len(self.networks))};", "}", "",
        ])  # fmt: skip
        yield "\n".join([
            classify, "{", f"    float p[{n}];", "    int i, best = 0;",
            f"    {self.name}_predict(numbers, codes, p);", f"    for (i = 1; i < {n}; i++)",
            "        if (p[i] > p[best])", "            best = i;", "    return best;", "}", "",
        ])  # fmt: skip

    def render_start(self):
        """Return the declarations of the function of predictions, and the call of ``encode``."""
        outputs = self.model.states[0].architecture.outputs
        return [f"    float x[{self.model.columns.width}], y[{outputs}];", "    int i, k;",
                "    encode(numbers, codes, x);"]  # fmt: skip

    def render_loop(self):
        """Return the first lines of the loop over the networks."""
        return [f"    for (k = 0; k < {len(self.networks)}; k++) {{", "        networks[k](x, y);"]

    def render_regressor(self):
        """Yield the function of a regressor."""
        targets, n = self.model.targets, self.model.n_predictions
        arrays = {"scale": targets.deviation, "shift": targets.mean}
        if self.model.clamps:
            arrays |= {"lowest": targets.lowest, "highest": targets.highest}
        for name, values in arrays.items():
            # Of several quantiles, which have one target, each has the same.
            yield render_array("double", name, np.broadcast_to(values, n), render_double)
        [predict] = self.list_heads().values()
        lines = [predict, "{", *self.render_start()]
        if self.has_std:
            lines.insert(2, f"    double means[{n}];")
        zeros = ["means[i] = 0.0;", "std[i] = 0.0;"] if self.has_std else []
        lines += render_loop(n, "prediction[i] = 0.0;", *zeros)
        lines += self.render_loop()
        if self.model.loss.non_crossing:
            lines += [f"        for (i = 1; i < {n}; i++)",
                      "            y[i] = y[i - 1] + softplus(y[i]);"]  # fmt: skip
        body = ["const double value = scale[i] * (double)y[i] + shift[i];"]
        if self.model.clamps:
            body.append("prediction[i] += value < lowest[i] ? lowest[i] "
                        ": value > highest[i] ? highest[i] : value;")  # fmt: skip
        else:
            body.append("prediction[i] += value;")
        if self.has_std:
            body += self.render_variance(n)
        lines += ["    " + line for line in render_loop(n, *body)]
        count = render_double(len(self.networks))
        end = [f"prediction[i] /= {count};"]
        if self.has_std:
            end.append(f"std[i] = sqrt(std[i] / {count});")
        yield "\n".join([*lines, "    }", *render_loop(n, *end), "}", ""])

    def render_variance(self, n):
        """Return the lines that add the variance of a network's normal distribution.

        The sum of squared differences of the means is updated by Welford's formula.
        """
        least = render_float(math.log(self.model.loss.parameter))
        return [
            f"const float logarithm = softplus(y[{n} + i] - ({least})) + ({least});",
            "const double deviation = scale[i] * (double)EXP(0.5f * logarithm);",
            "const double change = value - means[i];",
            "means[i] += change / (k + 1.0);",
            "std[i] += deviation * deviation + change * (value - means[i]);",
        ]


def render_loop(n, *lines):
    """Return a loop over i from 0 to n - 1."""
    body = [f"        {line}" for line in lines]
    return [f"    for (i = 0; i < {n}; i++) {{", *body, "    }"]


def render_double(value):
    """Return a number as a double constant of C."""
    text = f"{float(value):.17g}"
    return text if "." in text or "e" in text else text + ".0"


def render_strings(declaration, texts):
    """Return the definition of an array of strings.

    Raises
    ------
    ValueError
        If a string holds NUL, which ends a string in C, or is not valid Unicode.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"names and categories must be valid Unicode; got {text!r}") from None
        if "\0" in text:
            raise ValueError(f"names and categories must not hold NUL for to_c; got {text!r}")
    lines = "\n".join(f"    {render_string(text)}," for text in texts)
    return f"{declaration}[{len(texts)}] = {{\n{lines}\n}};\n"
