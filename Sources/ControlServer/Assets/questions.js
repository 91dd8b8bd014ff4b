// What an update asks: a form whose fields come from the plan. The answers go with the consent.
import { attribute, byId, keyed, make, show, text } from "./dom.js";
import { texts } from "./texts.js";

export function renderQuestions(inputs, locked) {
  show(byId("questions"), inputs.length > 0);
  byId("question-fields").disabled = locked;
  keyed(
    byId("question-list"), inputs, (input) => `${input.name} ${input.kind} ${input.choices.join()}`, field,
    (node, input) => text(node.querySelector("span"), input.question));
}

function field(input) {
  const control = input.choices.length ? choices(input) : box(input);
  control.name = input.name;
  control.required = true;
  if (input.default_value !== undefined) control.value = String(input.default_value);
  return make("label.question", make("span"), control);
}

function choices(input) {
  const list = document.createElement("select");
  // Nothing is chosen for a person where the author has not done so.
  if (input.default_value === undefined) list.append(new Option(texts.questions.choose, ""));
  for (const choice of input.choices) list.append(new Option(String(choice), String(choice)));
  return list;
}

function box(input) {
  const control = document.createElement("input");
  const isText = input.kind === "TEXT";
  control.type = isText ? "text" : "number";
  if (!isText) {
    control.step = input.kind === "INTEGER" ? "1" : "any";
    attribute(control, "min", input.minimum);
    attribute(control, "max", input.maximum);
  }
  control.autocomplete = "off";
  return control;
}

/** The answers by name, or null when one is missing or does not do; the browser then says which. */
export function answers() {
  const form = byId("question-form");
  return form.reportValidity() ? Object.fromEntries(new FormData(form)) : null;
}
