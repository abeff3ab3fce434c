// The page of a network that reads the columns of a table: a control for each column.

class TablePage {
  constructor(model) {
    this.model = model;
    this.view = new ResultView(model);
    this.controls = model.description.inputs.map((input, i) =>
      input.options ? this.addChoice(input, i) : this.addNumber(input, i),
    );
    byId("reset").addEventListener("click", () => {
      for (const control of this.controls) control.reset();
      this.update();
    });
    this.update();
  }

  addRow(input, i) {
    const row = createElement("div", "input");
    const label = createElement("label", "", input.name);
    label.id = `name-${i}`;
    label.htmlFor = `input-${i}`;
    row.append(label);
    byId("inputs").append(row);
    return row;
  }

  /** Add a slider and a number field; returns { read, findProblem, mark, reset }. */
  addNumber(input, i) {
    const row = this.addRow(input, i);
    const slider = createElement("input");
    const field = createElement("input");
    Object.assign(slider, { type: "range", min: input.low, max: input.high, step: input.step });
    Object.assign(field, { type: "number", step: "any", id: `input-${i}`, autocomplete: "off" });
    slider.setAttribute("aria-labelledby", `name-${i}`);
    row.append(slider, field);
    const set = (value) => {
      slider.value = value;
      field.value = value;
    };
    const read = () => (field.value === "" ? NaN : Number(field.value));
    // Without preprocessing, which replaces missing numbers, a field must not be empty, and the
    // network reads the number in float32.
    const findProblem = () => {
      if (field.validity.badInput) return `${input.name}: not a number, or too large`;
      if (field.value === "") return input.mayMiss ? "" : `${input.name}: a number is missing`;
      return input.mayMiss || isFloat32(read()) ? "" : `${input.name}: the number is too large`;
    };
    slider.addEventListener("input", () => {
      field.value = slider.value;
      this.update();
    });
    field.addEventListener("input", () => {
      if (Number.isFinite(read())) slider.value = field.value;
      this.update();
    });
    set(input.value);
    const mark = () => field.setAttribute("aria-invalid", String(findProblem() !== ""));
    return { read, findProblem, mark, reset: () => set(input.value) };
  }

  /** Add a list of categories, whose codes are 1, 2, ...; 0 is another or a missing one. */
  addChoice(input, i) {
    const row = this.addRow(input, i);
    const select = createElement("select");
    select.id = `input-${i}`;
    input.options.forEach((name, k) => select.append(new Option(name, k + 1)));
    select.append(new Option("other or missing", 0));
    // Autofill and scripts may send only one of them.
    for (const type of ["input", "change"]) select.addEventListener(type, () => this.update());
    const reset = () => {
      select.value = input.value;
    };
    reset();
    row.append(select);
    return { read: () => Number(select.value), findProblem: () => "", mark() {}, reset };
  }

  /** Show the outputs for the controls' values, or why there are none. */
  update() {
    for (const control of this.controls) control.mark();
    const problems = this.controls.map((control) => control.findProblem()).filter(Boolean);
    if (problems.length) {
      this.inputs = this.result = null;
      this.view.clear(problems.join("; "));
      return;
    }
    const values = this.controls.map((control) => control.read());
    const { inputs, encoding } = this.model.description;
    const given = encoding
      ? {
          numbers: values.filter((_, i) => !inputs[i].options),
          codes: values.filter((_, i) => inputs[i].options),
        }
      : values;
    this.result = this.view.update(given);
    this.inputs = this.result && given;
  }
}

globalThis.cmlp = new TablePage(readModel());
