// A person's word for what no device reports: a form beside the gate, with the owner's PIN.
import { Refusal, get, post } from "./api.js";
import { field, pinField, told } from "./dialog.js";
import { button, byId, h, prose } from "./dom.js";
import { can, state, takeSafety } from "./model.js";
import { capital, plain, t } from "./texts.js";

/** Of each gate's form what a person has to know: `{isBusy, error}`. */
const forms = new Map();
let changed = () => {};

export const wireVouch = (onChange) => { changed = onChange; };

const partName = (signal) => plain(signal.slice(signal.indexOf(".") + 1));

export function signalName(signal) {
  if (t.signals[signal] && signal !== "secured") return t.signals[signal];
  return signal.startsWith("secured.") ? t.signals.secured(capital(partName(signal)))
    : capital(signal.startsWith("interlock.") ? partName(signal) : plain(signal));
}

/** `12.8 V`, `set`, `OK`. */
export function signalValue(signal, value) {
  const unit = { vehicle_speed: " km/h", supply_voltage: " V" }[signal];
  return unit && !Number.isNaN(Number(value)) ? `${value}${unit}` : t.values[value] ?? value;
}

export function vouchForm(gate) {
  // A gate that does not block needs nobody's word.
  if (!gate.required || !gate.attestable?.length || !can("owner")) return false;
  const words = t.vouch;
  const own = forms.get(gate.id) ?? {};
  const asksPin = !can("technician");
  const isReady = !asksPin || (state.session.pins.owner ?? state.safety?.is_pin_set) !== false;
  const id = `vouch-${gate.id}`;
  return h("details.vouch", { key: "vouch", id },
    h("summary", gate.state === "satisfied" ? words.again : words.open),
    isReady ? h("form.stack", { onsubmit: (event) => give(event, gate), oninput: () => say(gate.id, {}) },
      h("fieldset", h("legend", words.looked), gate.attestable.map(({ signal, value }) => {
        // A box to tick, or a number to enter where the person reads one.
        const isTick = value !== undefined && value !== null;
        return h("label.tick", { key: signal }, h("span", `${signalName(signal)}: ${isTick ? signalValue(signal, String(value)) : "V"}`),
          h("input", isTick ? { type: "checkbox", name: signal, value: String(value) }
            : { type: "number", name: signal, step: "any", min: 0, max: 100, inputmode: "decimal", autocomplete: "off" }));
      })),
      h("p.sub", words.means),
      asksPin && field(pinField("owner"), id, own.error),
      own.error && h("p.error", { role: "alert", id: `${id}-error` }, own.error),
      button(words.go, null, "strong", { disabled: own.isBusy || state.link === "lost" }))
      : h("p", prose(words.noPin)));
}

/** Brings a person to the form of a gate. */
export function openVouch(id) {
  const node = byId(`vouch-${id}`);
  if (!node?.offsetParent) {
    location.hash = "#coach";
    return void setTimeout(() => byId(`vouch-${id}`)?.offsetParent && openVouch(id), 50);
  }
  node.open = true;
  node.scrollIntoView({ block: "nearest" });
  node.querySelector("input, summary").focus();
}

function say(id, what) {
  if (!forms.has(id) && !what.error && !what.isBusy) return;
  forms.set(id, what);
  changed();
}

async function give(event, gate) {
  event.preventDefault();
  const form = event.target;
  const chosen = [...form.querySelectorAll("fieldset input")].filter((input) => (input.type === "checkbox" ? input.checked : input.value));
  if (!chosen.length) {
    say(gate.id, { error: t.vouch.nothing });
    return form.querySelector("input").focus();
  }
  say(gate.id, { isBusy: true });
  try {
    for (const input of chosen) {
      const value = input.type === "checkbox" ? gate.attestable.find((entry) => entry.signal === input.name)?.value : input.valueAsNumber;
      await post("/api/safety/attestations", { signal: input.name, value, pin: form.elements.pin?.value });
      input.checked = false;
    }
    form.reset();
    byId(`vouch-${gate.id}`).open = false;
    byId("announce").textContent = t.vouch.taken;
    say(gate.id, {});
    byId(`gate-${gate.id}`)?.focus();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    say(gate.id, { error: told(error) });
    form.elements.pin?.select();
  }
  takeSafety(await get("/api/safety").catch(() => state.safety));
  changed();
}
