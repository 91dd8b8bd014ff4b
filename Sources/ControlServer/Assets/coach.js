// The conditions, and a person's word for what no device reports.
import { post } from "./api.js";
import { act, field, pinField } from "./dialog.js";
import { button, byId, h, icon, prose } from "./dom.js";
import { can, changed, gateWords, gateTitle, isClosed, state } from "./model.js";
import { age, capital, plain, said, t, volts } from "./texts.js";

const waited = () => (Date.now() - state.gatesAt) / 1000;

function tally() {
	const gates = state.status?.gates ?? [];
	const bad = gates.filter(isClosed).length;
	const isLost = state.link === "lost";
	return {
		state: isLost ? "unknown" : bad ? "violated" : "satisfied",
		text: isLost ? t.gates.last(age(waited())) : bad ? t.gates.blocked(bad, gates.length) : t.gates.clear(gates.length),
	};
}

export function summary() {
	const { state: now, text } = tally();
	return h("a.card.summary", { href: "#coach", key: "summary", "data-state": now }, icon(now), h("b", text), icon("arrow"));
}

export function conditions(isView) {
	const all = state.status?.gates ?? [];
	const { state: now, text } = tally();
	const gates = [...all.filter((gate) => gate.required), ...all.filter((gate) => !gate.required)];
	const ill = state.safety?.sources.filter((source) => !source.is_well) ?? [];
	return h("section.conditions", { "aria-labelledby": "conditions-title", "data-lost": state.link === "lost" && "true" },
		h("div.conditions-head", h(isView ? "h1.title" : "h2", { id: "conditions-title", tabindex: -1 }, t.gates.title), h("p", { "data-state": now }, text)),
		h("ul.gates", gates.map((gate) => gateItem(gate, isView ? "h2" : "h3"))),
		ill.length > 0 && h("div", h("b", t.gates.sources), h("ul", ill.map((source) => h("li", { key: source.source },
			h("b", source.source), " ", said(prose([source.words, source.how_to_clear].filter(Boolean).join(" "))))))),
		button(t.gates.again, () => changed(["safety"])));
}

function gateItem(gate, heading) {
	const words = t.gates;
	const isOpen = gate.state === "satisfied";
	const tone = gate.required || isOpen ? gate.state : "advice";
	const [own, how] = isOpen ? [] : gateWords(gate);
	return h("li.gate", { key: gate.id, "data-state": tone },
		icon(tone),
		h("div.gate-head",
			h(heading, { tabindex: -1, id: `gate-${gate.id}` }, gateTitle(gate)),
			h("p.sub", gate.required ? words.required : words.optional),
			h("p.gate-state", !gate.required && gate.state === "violated" ? words.note : words.states[gate.state])),
		// A condition that holds speaks through its readings; the reason would say it twice.
		(!isOpen || !gate.readings.length) && h("p", own ? [own, h("span.sub", " ", said(gate.reason))] : (!isOpen || !words.titles[gate.id]) && said(gate.reason)),
		h("dl.readings", gate.readings.map(reading)),
		!isOpen && gate.how_to_clear && h("p", h("b", words.how), " ", how ?? said(prose(gate.how_to_clear))),
		vouchForm(gate));
}

function reading(entry) {
	const words = t.gates;
	const isHeard = entry.value != null;
	const seconds = entry.age_seconds == null ? null : Math.max(0, entry.age_seconds + waited());
	const name = (entry.source ?? "").replace("http://", "");
	const source = entry.attested ? words.word(name.replace(/^attestation by /, "")) : entry.veto_only ? words.veto(name) : name;
	return h("div", { key: `${entry.signal} ${entry.source ?? ""}`, "data-stale": !isHeard ? "missing" : entry.stale && "old" },
		h("dt", signalName(entry.signal)),
		h("dd", h("b", isHeard ? signalValue(entry.signal, entry.value) : words.missing), " ", source && h("span", source)),
		h("dd.age", [isHeard && entry.stale && words.old, seconds !== null && age(seconds)].filter(Boolean).join(", ")),
		can("technician") && entry.evidence && h("dd", " ", h("code", entry.evidence)));
}

const partName = (signal) => plain(signal.slice(signal.indexOf(".") + 1));

export function signalName(signal) {
	if (t.signals[signal] && signal !== "secured") return t.signals[signal];
	return signal.startsWith("secured.") ? t.signals.secured(capital(partName(signal)))
		: capital(signal.startsWith("interlock.") ? partName(signal) : plain(signal));
}

export function signalValue(signal, value) {
	const unit = { vehicle_speed: (speed) => `${speed} km/h`, supply_voltage: volts }[signal];
	return unit && !Number.isNaN(Number(value)) ? unit(value) : t.values[value] ?? value;
}

function vouchForm(gate) {
	// A gate that does not block needs nobody's word.
	if (!gate.required || !gate.attestable?.length || !can("owner")) return false;
	const words = t.vouch;
	const role = can("technician") ? "technician" : "owner";
	const id = `vouch-${gate.id}`;
	return h("details", { key: "vouch", id },
		h("summary", gate.state === "satisfied" ? words.again : words.open),
		state.session.pins[role] ? h("form.stack", { onsubmit: (event) => give(event, gate), oninput: (event) => missing(event.currentTarget, "") },
			h("fieldset", h("legend", words.looked), gate.attestable.map(({ signal, value }) => {
				const isTick = value != null;
				return h("label.tick", { key: signal }, h("span", `${signalName(signal)}: ${isTick ? signalValue(signal, String(value)) : "V"}`),
					h("input", isTick ? { type: "checkbox", name: signal, value: String(value) }
						: { type: "number", name: signal, step: "any", min: 0, max: 100, inputmode: "decimal", autocomplete: "off" }));
			})),
			h("p.sub", words.means),
			field(pinField(role), id),
			button(words.go, null, "strong"))
			: h("p", prose(words.noPin)));
}

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

// The browser says what is missing, beside the first box.
const missing = (form, words) => form.querySelector("input").setCustomValidity(words);

async function give(event, gate) {
	event.preventDefault();
	const form = event.target;
	const chosen = [...form.querySelectorAll(":scope fieldset input")].filter((input) => (input.type === "checkbox" ? input.checked : input.value));
	missing(form, chosen.length ? "" : t.vouch.nothing);
	if (!form.reportValidity()) return;
	const isTaken = await act(async () => {
		for (const input of chosen) {
			const value = input.type === "checkbox" ? gate.attestable.find((entry) => entry.signal === input.name)?.value : input.valueAsNumber;
			await post("safety/attestations", { signal: input.name, value, pin: form.elements.pin.value });
			input.checked = false;
		}
	}, ["safety"]);
	if (!isTaken) return form.elements.pin.select();
	form.reset();
	byId(`vouch-${gate.id}`).open = false;
	byId("announce").textContent = t.vouch.taken;
	byId(`gate-${gate.id}`).focus();
}
