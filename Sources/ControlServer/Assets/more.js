// This device and the others.
import { get, post, refusalOf, remove } from "./api.js";
import { act, ask, consentFields, field, pinField, told } from "./dialog.js";
import { alarm, button, byId, h, heading, prose } from "./dom.js";
import { part } from "./home.js";
import { can, changed, serverNow, state } from "./model.js";
import { row } from "./run.js";
import { learn, moment, stopwatch, t } from "./texts.js";

let failure = null;
let devices = null;
// What a technician sees, once one looks: an owner's tablet does not load it.
let tools = null;
let isLoading = false;
// The code for another device, with how many there were: `{code, addresses, until, known}`.
let pairing = null;
let asksFirstPin = false;

export const list = (name, role) => can(role) && get(name).then((found) => found[name], () => null);

export async function refreshMore() {
	[devices] = await Promise.all([list("devices", "owner"), can("technician") && tools?.refresh()]);
	// Used, or too late.
	if (pairing && (serverNow() > pairing.until || devices?.some(({ id }) => !pairing.known.has(id)))) pairing = null;
	changed();
}

// A question, and what is to be read anew when it was answered.
export const asks = (question, wanted) => act(async () => {
	if (await ask(question)) await refreshMore();
}, wanted);

export function moreView() {
	const words = t.more;
	return [
		heading(t.views.more),
		part(words.device, device()),
		can("owner") ? part(words.devices, h("ol.rows", devices?.map(deviceRow)), pairing ? codeCard() : h("div.buttons", button(words.code, showCode))) : pairPart(),
		can("technician") ? technician() : can("owner") && part(words.technician, h("p.lead", prose(words.onDevice))),
		can("owner") && h("div.card.row-wrap", h("p", words.diagnostics), diagnosticsButton()),
	];
}

function technician() {
	if (tools) return tools.technicianView();
	if (!isLoading) {
		isLoading = true;
		Promise.all([import("./technician.js"), learn("technician")]).then(([found]) => {
			tools = found;
			refreshMore();
		}, () => setTimeout(() => {
			isLoading = false;
			changed();
		}, 5000));
	}
	return part(t.more.technician, h("p.lead", t.link.connecting));
}

function device() {
	const words = t.more;
	const { role, name, device: own, expires_at: until, pins } = state.session;
	const higher = ["owner", "technician"].filter((next) => pins[next] && !can(next));
	return [
		h("p", h("b", words.roles[role]), name && ` · ${name}`, until && ` · ${t.gates.until(moment(until))}`),
		h("div.buttons", higher.map((next) => button(words.raise[next], () => raise(next))), (own || until) && button(words.lower, lower)),
		role === "owner" && !pins.technician && h("p.sub", prose(words.noPin)),
	];
}

const raise = (role) => act(() => ask({
	title: t.more.raise[role], text: [t.more.raiseText], fields: [pinField(role)], ok: t.next,
	submit: ({ pin }) => post("session", { role, pin }),
}), ["session"]);

const signOut = () => remove("session");
const lower = () => act(() => (state.session.expires_at ? signOut()
	: ask({ title: `${t.more.lower}?`, text: [t.more.removeText], ok: t.more.lower, submit: signOut })), ["session"]);

export const removal = (path, name, ok, ...text) => {
	const label = `${ok}: ${name}`;
	return button(ok, () => asks({ title: `${label}?`, text, ok, submit: () => remove(path) }), "quiet", { "aria-label": label });
};

function deviceRow({ id, name, role, last_seen: seen, is_this: isThis }) {
	const words = t.more;
	return row(id, isThis ? "good" : "calm", isThis ? "satisfied" : "unknown", name, words.roles[role] ?? role, isThis && words.here, [seen && words.seen(moment(seen))],
		!isThis && removal(`devices/${id}`, name, words.remove, words.removeText));
}

export const roleField = (roles) => ({ name: "role", label: t.more.role, choices: roles.map((role) => [role, t.more.roles[role]]) });

const showCode = () => asks({
	title: t.more.code, ok: t.next, fields: [roleField(["owner", "viewer", ...(can("technician") ? ["technician"] : [])]), ...consentFields()],
	submit: async (values) => {
		const { code, addresses, expires_at: until } = await post("pairing", values);
		pairing = { code, addresses, until: Date.parse(until), known: new Set(devices?.map(({ id }) => id)) };
		const timer = setInterval(() => (pairing ? refreshMore() : clearInterval(timer)), 2000);
	},
}).then(() => byId("code")?.focus());

function codeCard() {
	const words = t.more;
	return h("div.card", { key: "code" },
		h("p", words.open), h("ul", pairing.addresses.map((address) => h("li", h("code", address)))), h("h3.big", { id: "code", tabindex: -1 }, pairing.code.replace(/(?=....$)/, " ")),
		h("p.sub", words.goodFor(stopwatch((pairing.until - serverNow()) / 1000))));
}

export function pairPart() {
	const words = t.pair;
	return h("section.part", { key: "pair" }, state.session.role === "none" ? heading(t.blocked.pair) : h("h2", t.blocked.pair),
		h("p.lead", prose(words.lead)),
		h("form.stack.narrow", { onsubmit: pair },
			field({ name: "code", label: words.code, hint: words.codeHint, inputmode: "numeric", autocomplete: "one-time-code", pattern: "[0-9 ]{8,9}", required: true }, "pair", failure),
			field({ name: "name", label: words.name, value: words.guess, maxlength: 40, required: true, autocomplete: "off" }, "pair"),
			asksFirstPin && field({ ...pinField(null, words.pinLead), label: words.pin, autocomplete: "new-password" }, "pair"),
			failure && alarm(told(failure), "pair-error"),
			button(words.go, null, "primary")));
}

async function pair(event) {
	event.preventDefault();
	const values = Object.fromEntries(new FormData(event.target));
	failure = await refusalOf(() => post("pair", values));
	changed(["session"]);
	if (failure?.problem?.code !== "CHK-PIN-NEEDED") return;
	[asksFirstPin, failure] = [true, null];
	changed();
	event.target.elements.pin?.focus();
}

export const diagnosticsButton = () => can("owner") && h("a.button.quiet", { href: "/api/diagnostics", download: "" }, t.result.diagnostics);
