// The conditions of the coach: always there, always live.
import { createVouch, updateVouch } from "./attest.js";
import { attribute, byId, icon, keyed, make, prose, setIcon, show, text } from "./dom.js";
import { state } from "./model.js";
import { texts } from "./texts.js";

const words = texts.gates;

export function wireConditions() {
  byId("raw").addEventListener("click", () => {
    const on = byId("raw").getAttribute("aria-pressed") !== "true";
    attribute(byId("raw"), "aria-pressed", on);
    attribute(byId("gates"), "data-raw", on ? "true" : null);
  });
}

export function renderConditions(changed) {
  const all = state.status?.gates ?? [];
  const gates = [...all.filter((gate) => gate.required), ...all.filter((gate) => !gate.required)];
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
  keyed(
    byId("gates"), gates, (gate) => gate.id, (gate) => createGate(gate, changed),
    (node, gate) => updateGate(node, gate, waited));
  show(byId("raw"), gates.some((gate) => gate.readings.some((reading) => reading.evidence)));
  renderSources(state.safety?.sources ?? []);
}

function createGate(gate, changed) {
  const item = make("li.gate");
  const title = make("h3");
  title.tabIndex = -1;
  const head = make("div.gate-head", icon("unknown"), title, make("p.gate-need"), make("p.gate-state"));
  item.append(
    head,
    make("p.gate-reason"),
    make("dl.readings"),
    make("ul.details"),
    make("p.gate-clear", make("b", `${words.clear}: `), make("span")),
    createVouch(gate.id, title, changed));
  return item;
}

function updateGate(node, gate, waited) {
  const [head, reason, readings, details, clear, vouch] = node.children;
  const [picture, title, need, stateText] = head.children;
  const closed = gate.state !== "satisfied";
  const tone = gate.required || !closed ? gate.state : "advice";
  attribute(node, "data-state", tone);
  setIcon(picture, tone);
  text(title, gate.title);
  text(stateText, (gate.required ? words.states : words.advice)[gate.state]);
  text(need, gate.required ? words.required : words.optional);
  const named = detailsOf(gate);
  // A condition that holds speaks through its readings; the reason would say it twice.
  const shown = gate.reason && !named.length && (closed || !gate.readings.length);
  text(reason, gate.reason);
  show(reason, Boolean(shown));
  show(details, named.length > 0);
  keyed(
    details, named, (entry) => entry.id, () => make("li", make("b"), make("span")),
    (row, entry) => {
      text(row.children[0], entry.title);
      text(row.children[1], entry.sub);
      show(row.children[1], Boolean(entry.sub));
    });
  prose(clear.lastElementChild, gate.how_to_clear);
  show(clear, Boolean(closed && gate.how_to_clear));
  show(readings, gate.readings.length > 0);
  keyed(
    readings, gate.readings, (reading) => `${reading.signal} ${reading.source ?? ""}`,
    () => make("div", make("dt"), make("dd", make("b"), " ", make("span")), make("dd.age"), make("dd.raw", make("code"))),
    (row, reading) => updateReading(row, reading, waited));
  updateVouch(vouch, gate);
}

/** What stands behind a gate that no reading tells: who holds updates back, what goes on. */
function detailsOf(gate) {
  if (gate.state === "satisfied") return [];
  if (gate.id === "update_lock") return (state.safety?.locks ?? []).map(words.lock);
  if (gate.id === "no_active_controls") return (state.safety?.activities ?? []).map(words.activity);
  return [];
}

function updateReading(row, reading, waited) {
  const [name, what, age, raw] = row.children;
  const [value, source] = what.children;
  const seconds = reading.age_seconds == null ? null : Math.max(0, reading.age_seconds + waited);
  const heard = reading.value !== null && reading.value !== undefined;
  text(name, words.signal(reading.signal));
  text(value, heard ? words.value(reading.signal, reading.value) : words.missing);
  text(source, words.source(reading));
  show(source, Boolean(reading.source));
  text(age, words.age(seconds, heard && reading.stale));
  text(raw.firstElementChild, reading.evidence);
  show(raw, Boolean(reading.evidence));
  attribute(row, "title", reading.evidence);
  attribute(row, "data-stale", !heard ? "missing" : reading.stale ? "old" : null);
  attribute(row, "data-mark", reading.attested ? "word" : reading.veto_only ? "veto" : null);
}

/** For a technician: what chock listens to and does not hear. */
function renderSources(sources) {
  const ill = sources.filter((source) => !source.is_well);
  show(byId("sources"), ill.length > 0);
  keyed(
    byId("source-list"), ill, (source) => source.source, () => make("li", make("b"), " ", make("span")),
    (row, source) => {
      text(row.children[0], source.source);
      prose(row.children[1], [source.words, source.how_to_clear].filter(Boolean).join(" "));
    });
}
