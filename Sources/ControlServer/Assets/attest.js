// A person's word for what no device reports: a form beside the gate, with the owner's PIN.
import { Refusal, get, post } from "./api.js";
import { attribute, byId, keyed, make, prose, show, text } from "./dom.js";
import { state, takeSafety } from "./model.js";
import { texts } from "./texts.js";

const words = texts.vouch;

export function createVouch(id, title, changed) {
  const own = (name) => `vouch-${id}-${name}`;
  const pin = make("input");
  Object.assign(pin, {
    id: own("pin"), type: "password", inputMode: "numeric", autocomplete: "off", required: true,
    pattern: "[0-9]{4,12}", maxLength: 12, title: words.pinHint,
  });
  const error = make("p.vouch-error");
  error.id = own("error");
  error.setAttribute("role", "alert");
  const label = make("label", words.pin);
  label.htmlFor = pin.id;
  const button = make("button.button.strong", words.give);
  const form = make(
    "form",
    make("fieldset", make("legend", words.looked), make("div.vouch-list")),
    make("p.vouch-means", words.means),
    make("div.vouch-pin", label, pin),
    error, button);
  const none = make("p.vouch-none");
  prose(none, words.noPin);
  const node = make("details.vouch", make("summary"), form, none);
  node.id = `vouch-${id}`;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    give(node, title, changed);
  });
  form.addEventListener("input", () => say(node, null));
  return node;
}

export function updateVouch(node, gate) {
  const { attestable = [] } = gate;
  // A gate that does not block needs nobody's word.
  const offered = gate.required && attestable.length > 0;
  show(node, offered);
  if (!offered) return;
  const [summary, form, none] = node.children;
  text(summary, gate.state === "satisfied" ? words.again : words.open);
  const ready = state.safety?.is_pin_set !== false;
  show(form, ready);
  show(none, !ready);
  keyed(node.querySelector(".vouch-list"), attestable, (word) => word.signal, field, (row, word) => {
    row.lastElementChild.word = word;
  });
  busy(node, node.dataset.busy === "true" || state.link === "lost");
}

/** Brings a person to the form of a gate. */
export function openVouch(id) {
  const node = byId(`vouch-${id}`);
  node.open = true;
  node.scrollIntoView({ block: "nearest" });
  (node.querySelector("form:not([hidden]) input") ?? node.firstElementChild).focus();
}

/** A box to tick, or a number to enter where the person reads one. */
function field({ signal, value }) {
  const input = make("input");
  if (value !== undefined && value !== null) {
    input.type = "checkbox";
    return make("label.vouch-tick", make("span", words.sentence(signal)), input);
  }
  Object.assign(input, { type: "number", step: "any", min: 0, max: 100, inputMode: "decimal", autocomplete: "off" });
  return make("label.vouch-number", make("span", words.sentence(signal)), input);
}

async function give(node, title, changed) {
  const inputs = [...node.querySelectorAll(".vouch-list input")];
  const chosen = inputs.filter((input) => (input.type === "checkbox" ? input.checked : input.value !== ""));
  if (!chosen.length) {
    say(node, words.nothing, inputs[0]);
    return;
  }
  const pin = node.querySelector(".vouch-pin input");
  node.dataset.busy = "true";
  busy(node, true);
  let failure = null;
  for (const input of chosen) {
    const { signal, value } = input.word;
    try {
      await post("/api/safety/attestations", { signal, value: value ?? input.valueAsNumber, pin: pin.value });
      input.checked = false;
      if (input.type === "number") input.value = "";
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      failure = error.problem ?? { detail: texts.refusal.noAnswer };
      break;
    }
  }
  delete node.dataset.busy;
  busy(node, false);
  await get("/api/safety").then(takeSafety, () => {});
  if (failure) {
    say(node, [failure.detail, failure.how_to_clear].filter(Boolean).join(" "), pin);
    pin.select();
  } else {
    pin.value = "";
    node.open = false;
    text(byId("announce"), words.taken);
    title.focus();
  }
  changed();
}

function busy(node, on) {
  node.querySelector("button").disabled = on;
}

/** An error at its place; the field that it is about gets the focus. */
function say(node, message, field) {
  prose(node.querySelector(".vouch-error"), message);
  for (const input of node.querySelectorAll("[aria-invalid]")) {
    attribute(input, "aria-invalid", null);
    attribute(input, "aria-describedby", null);
  }
  if (!message) return;
  attribute(field, "aria-invalid", "true");
  attribute(field, "aria-describedby", node.querySelector(".vouch-error").id);
  field.focus();
}
