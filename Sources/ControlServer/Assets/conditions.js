// The conditions of the coach: always there, always live.
import { attribute, byId, icon, keyed, make, setIcon, show, text } from "./dom.js";
import { state } from "./model.js";
import { texts } from "./texts.js";

const words = texts.gates;

export function renderConditions() {
  const gates = state.status?.gates ?? [];
  const aside = byId("gates").closest("aside");
  show(aside, Boolean(state.status));
  const blocking = gates.filter((gate) => gate.required && gate.state !== "satisfied").length;
  const lost = state.link === "lost";
  attribute(aside, "data-lost", lost ? "true" : null);
  const waited = (Date.now() - state.gatesAt) / 1000;
  const summary = byId("conditions-summary");
  attribute(summary, "data-tone", lost ? "unknown" : blocking ? "bad" : "good");
  text(summary, lost ? words.lastKnown(waited)
    : !gates.length ? words.none : blocking ? words.inTheWay(blocking, gates.length) : words.allClear);
  keyed(byId("gates"), gates, (gate) => gate.id, createGate, (node, gate) => updateGate(node, gate, waited));
}

function createGate() {
  const item = make("li.gate");
  const head = make("div.gate-head", icon("unknown"), make("h3"), make("p.gate-need"), make("p.gate-state"));
  item.append(
    head,
    make("p.gate-reason"),
    make("dl.readings"),
    make("p.gate-clear", make("b", `${words.clear}: `), make("span")));
  return item;
}

function updateGate(node, gate, waited) {
  const [head, reason, readings, clear] = node.children;
  const [picture, title, need, stateText] = head.children;
  const closed = gate.state !== "satisfied";
  const tone = gate.required || !closed ? gate.state : "advice";
  attribute(node, "data-state", tone);
  setIcon(picture, tone);
  text(title, gate.title);
  text(stateText, (gate.required ? words.states : words.advice)[gate.state]);
  text(need, gate.required ? words.required : words.optional);
  // A condition that holds speaks through its readings; the reason would say it twice.
  const shown = gate.reason && (closed || !gate.readings.length);
  text(reason, gate.reason);
  show(reason, Boolean(shown));
  text(clear.lastElementChild, gate.how_to_clear);
  show(clear, Boolean(closed && gate.how_to_clear));
  show(readings, gate.readings.length > 0);
  keyed(
    readings, gate.readings, (reading, index) => `${reading.signal} ${reading.source ?? ""} ${index}`,
    () => make("div", make("dt"), make("dd", make("b"), " ", make("span")), make("dd.age")),
    (row, reading) => {
      const seconds = reading.age_seconds == null ? null : Math.max(0, reading.age_seconds + waited);
      const heard = reading.value !== null && reading.value !== undefined;
      text(row.children[0], words.signal(reading.signal));
      const [value, source] = row.children[1].children;
      text(value, heard ? words.value(reading.signal, reading.value) : words.missing);
      text(source, reading.source);
      show(source, Boolean(reading.source));
      text(row.children[2], words.age(seconds, heard && reading.stale));
      attribute(row, "data-stale", !heard ? "missing" : reading.stale ? "old" : null);
    });
}
