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

  /** Add a slider and a number field; returns { read, reset }. */
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
    // Without preprocessing, which replaces missing numbers, a field must not be empty.
    const isValid = () => Number.isFinite(read()) || (input.mayMiss && !field.validity.badInput);
    slider.addEventListener("input", () => {
      field.value = slider.value;
      this.update();
    });
    field.addEventListener("input", () => {
      if (Number.isFinite(read())) slider.value = field.value;
      this.update();
    });
    set(input.value);
    const mark = () => field.setAttribute("aria-invalid", String(!isValid()));
    return { read, isValid, mark, reset: () => set(input.value) };
  }

  /** Add a list of categories, whose codes are 1, 2, ...; 0 is another or a missing one. */
  addChoice(input, i) {
    const row = this.addRow(input, i);
    const select = createElement("select");
    select.id = `input-${i}`;
    input.options.forEach((name, k) => select.append(new Option(name, k + 1)));
    select.append(new Option("other or missing", 0));
    select.addEventListener("input", () => this.update());
    const reset = () => {
      select.value = input.value;
    };
    reset();
    row.append(select);
    return { read: () => Number(select.value), isValid: () => true, mark() {}, reset };
  }

  /** Show the outputs for the controls' values, or those before if a field has no number. */
  update() {
    for (const control of this.controls) control.mark();
    if (!this.controls.every((control) => control.isValid())) return;
    const values = this.controls.map((control) => control.read());
    const { inputs, encoding } = this.model.description;
    this.inputs = encoding
      ? {
          numbers: values.filter((_, i) => !inputs[i].options),
          codes: values.filter((_, i) => inputs[i].options),
        }
      : values;
    this.result = this.view.update(this.inputs);
  }
}

globalThis.cmlp = new TablePage(readModel());
