// The conditions of the coach: always there, always live.
import { get } from "./api.js";
import { button, h, icon, prose } from "./dom.js";
import { gateReason, gateTitle, isClosed, state, takeSafety } from "./model.js";
import { age, capital, moment, said, t } from "./texts.js";
import { signalName, signalValue, vouchForm } from "./vouch.js";

let showsRaw = false;
let changed = () => {};

export const wireCoach = (onChange) => { changed = onChange; };

const waited = () => (Date.now() - state.gatesAt) / 1000;

function tally() {
  const gates = state.status?.gates ?? [];
  const bad = gates.filter(isClosed).length;
  const isLost = state.link === "lost";
  return {
    tone: isLost ? "unknown" : bad ? "bad" : "good",
    text: isLost ? t.gates.last(waited()) : bad ? t.gates.blocked(bad, gates.length) : t.gates.clear(gates.length),
  };
}

/** One line for a narrow screen, which leads to them all. */
export function summary() {
  const { tone, text } = tally();
  return h("a.card.summary", { href: "#coach", key: "summary", "data-tone": tone },
    icon({ good: "satisfied", bad: "violated", unknown: "unknown" }[tone]), h("b", text), icon("arrow"));
}

/** All of them: in a view of their own, and beside the update where there is room. */
export function conditions(isView) {
  const all = state.status?.gates ?? [];
  const { tone, text } = tally();
  const gates = [...all.filter((gate) => gate.required), ...all.filter((gate) => !gate.required)];
  const ill = state.safety?.sources.filter((source) => !source.is_well) ?? [];
  const hasRaw = gates.some((gate) => gate.readings.some((reading) => reading.evidence));
  return h("section.conditions", { "aria-labelledby": "conditions-title", "data-lost": state.link === "lost" && "true" },
    h("div.conditions-head", h(isView ? "h1.title" : "h2", { id: "conditions-title", tabindex: -1 }, t.gates.title), h("p", { "data-tone": tone }, text)),
    isView && h("p.lead", t.gates.lead),
    h("ul.gates", gates.map(gateItem)),
    ill.length > 0 && h("div.sources", h("h3", t.gates.sources), h("ul", ill.map((source) => h("li", { key: source.source },
      h("b", source.source), " ", said(prose([source.words, source.how_to_clear].filter(Boolean).join(" "))))))),
    h("div.buttons",
      button(t.gates.again, again),
      hasRaw && button(t.gates.raw, () => { showsRaw = !showsRaw; changed(); }, "quiet", { "aria-pressed": String(showsRaw) })));
}

async function again() {
  await get("/api/safety").then(takeSafety, () => {});
  changed();
}

function gateItem(gate) {
  const words = t.gates;
  const isOpen = gate.state === "satisfied";
  const tone = gate.required || isOpen ? gate.state : "advice";
  const details = detailsOf(gate);
  const own = gateReason(gate);
  return h("li.gate", { key: gate.id, "data-state": tone },
    icon(tone),
    h("div.gate-head",
      h("h3", { tabindex: -1, id: `gate-${gate.id}` }, gateTitle(gate)),
      h("p.sub", gate.required ? words.required : words.optional),
      h("p.gate-state", !gate.required && gate.state === "violated" ? words.note : words.states[gate.state])),
    // A condition that holds speaks through its readings; the reason would say it twice.
    !details.length && (!isOpen || !gate.readings.length) && h("p", !isOpen && own ? own : isOpen ? t.gates.titles[gate.id] ? "" : gate.reason : said(gate.reason)),
    h("dl.readings", gate.readings.map(reading)),
    details.length > 0 && h("ul.reasons", details.map(([title, ...sub]) => h("li", h("b", said(title)), h("span", sub)))),
    !isOpen && gate.how_to_clear && h("p", h("b", words.how), " ", words.how_to[gate.id] ?? said(prose(gate.how_to_clear))),
    vouchForm(gate));
}

/** What stands behind a gate that no reading tells: who holds updates back, what goes on. */
function detailsOf(gate) {
  if (gate.state === "satisfied" || !state.safety) return [];
  if (gate.id === "update_lock") return state.safety.locks.map((lock) => [`${lock.owner}: ${lock.reason}`, capital(t.gates.until(moment(lock.expires_at)))]);
  if (gate.id === "no_active_controls") return state.safety.activities.map((entry) => [capital(entry.description)]);
  return [];
}

function reading(entry) {
  const words = t.gates;
  const isHeard = entry.value !== null && entry.value !== undefined;
  const seconds = entry.age_seconds == null ? null : Math.max(0, entry.age_seconds + waited());
  const name = (entry.source ?? "").replace("http://", "");
  const source = entry.attested ? words.word(name.replace(/^attestation by /, "")) : entry.veto_only ? words.veto(name) : name;
  return h("div", { key: `${entry.signal} ${entry.source ?? ""}`, "data-stale": !isHeard ? "missing" : entry.stale && "old", "data-mark": entry.attested && "word" },
    h("dt", signalName(entry.signal)),
    h("dd", h("b", isHeard ? signalValue(entry.signal, entry.value) : words.missing), " ", source && h("span", source)),
    h("dd.age", [isHeard && entry.stale && words.old, seconds !== null && age(seconds)].filter(Boolean).join(", ")),
    showsRaw && entry.evidence && h("dd.raw", h("code", entry.evidence)));
}
