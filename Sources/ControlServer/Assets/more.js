import { get, post, put, refusalOf, remove } from "./api.js";
import { ask, consentFields, field, pinField, told } from "./dialog.js";
import { button, h, heading, prose } from "./dom.js";
import { part } from "./home.js";
import { row } from "./lists.js";
import { can, changed, isActive, state, takeRun } from "./model.js";
import { restoreBlocked } from "./run.js";
import { moment, plain, said, t } from "./texts.js";

let failure = null;
let devices = null;
/** How far a technician wants to go back: `{version, plan}`. */
let rollback = null;
let asksFirstPin = false;

export async function refreshMore() {
	devices = can("owner") ? (await get("devices").catch(() => null))?.devices : null;
	changed();
}

async function act(work, wanted = []) {
	failure = await refusalOf(work);
	changed(wanted);
}

export function moreView() {
	const words = t.more;
	return [
		heading(t.views.more), can("owner") && failure && h("p.error", { role: "alert", key: "error" }, told(failure)),
		part(words.device, device()),
		!can("owner") && pairPart(),
		devices?.length > 0 && part(words.devices, h("ol.rows", devices.map(deviceRow))),
		can("technician") ? technician() : can("owner") && part(words.technician, h("p.lead", prose(words.onDevice))),
		h("div.card.row-wrap", h("p", words.diagnostics), diagnosticsButton()),
	];
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

function deviceRow({ id, name, role, last_seen: seen, is_this: isThis }) {
	const words = t.more;
	return row(id, isThis ? "good" : "calm", isThis ? "satisfied" : "unknown", name, words.roles[role] ?? role, isThis && words.here, [seen && words.seen(moment(seen))],
		!isThis && button(words.remove, () => act(async () => {
			await ask({ title: `${words.remove}: ${name}?`, text: [words.removeText], ok: words.remove, submit: () => remove(`devices/${id}`) });
			await refreshMore();
		}), "quiet", { "aria-label": `${words.remove}: ${name}` }));
}

export function pairPart() {
	const words = t.pair;
	return h("section.part", { key: "pair" }, state.session.role === "none" ? heading(t.blocked.pair) : h("h2", t.blocked.pair),
		h("p.lead", prose(words.lead)),
		h("form.stack.narrow", { onsubmit: pair },
			field({ name: "code", label: words.code, hint: words.codeHint, inputmode: "numeric", autocomplete: "one-time-code", pattern: "[0-9 ]{8,9}", required: true }, "pair", failure),
			field({ name: "name", label: words.name, value: words.guess, maxlength: 40, required: true, autocomplete: "off" }, "pair"),
			asksFirstPin && field({ ...pinField(null, words.pinLead), label: words.pin, autocomplete: "new-password" }, "pair"),
			failure && h("p.error", { role: "alert", id: "pair-error" }, told(failure)),
			button(words.go, null, "primary")));
}

async function pair(event) {
	event.preventDefault();
	const values = Object.fromEntries(new FormData(event.target));
	await act(() => post("pair", values), ["session"]);
	if (failure?.problem?.code !== "CHK-PIN-NEEDED") return;
	[asksFirstPin, failure] = [true, null];
	changed();
	event.target.elements.pin?.focus();
}

function technician() {
	const words = t.more;
	const why = restoreBlocked();
	return part(words.technician,
		h("h3", words.locks),
		state.safety?.locks.length > 0 ? h("ol.rows", state.safety.locks.map((lock) => row(lock.id, "warn", "advice", said(lock.owner), "",
			said(lock.reason), [t.gates.until(moment(lock.expires_at))], button(words.break, () => act(() => remove(`safety/locks/${lock.id}`), ["safety"])))))
			: h("p.lead", words.noLocks),
		h("div.buttons", button(words.lock, () => act(() => ask({
			title: words.lock, fields: [{ name: "reason", label: words.reason, required: true, maxlength: 100, autocomplete: "off" }], ok: words.lock,
			submit: ({ reason }) => put("safety/locks/panel", { owner: state.session.name ?? "panel", reason, ttl_seconds: 28800 }),
		}), ["safety"]))),
		h("h3", words.rollback), h("p.lead", words.rollbackLead),
		why ? h("p", t.undo.blocked, " ", why) : rollbackPart());
}

const rollbackLabel = (plan) => t.running.toVersion(t.more.rollback, plan.to_version);

function rollbackPart() {
	const words = t.more;
	const plan = rollback?.plan;
	const counted = plan && state.runs?.find((run) => run.rehearsal?.plan_hash === plan.plan_hash)?.rehearsal;
	const losses = counted?.losses ?? [];
	const look = (event) => {
		event.preventDefault();
		const { version } = Object.fromEntries(new FormData(event.target));
		act(async () => { rollback = { version, plan: await get(`database/plan?rollback_to=${encodeURIComponent(version)}`) }; }, ["lists"]);
	};
	return [
		h("form.row-wrap", { onsubmit: look },
			field({ name: "version", label: words.target, required: true, maxlength: 40, autocomplete: "off" }, "rollback"), button(words.look)),
		plan && h("div.card", { key: plan.hash },
			h("ul", plan.migrations.map((step) => h("li", h("b", step.version), " ", said(step.description)))),
			counted && h("p", h("b", losses.length ? words.losesTitle : words.losesNothing)),
			h("ul", losses.map((loss) => h("li", words.loses(loss.rows, plain(loss.table)), loss.columns && ` (${loss.columns.join(", ")})`))),
			h("div.buttons", counted
				? button(rollbackLabel(plan), () => act(() => startRollback(plan)), "strong")
				: button(words.count, () => act(async () => {
					takeRun(await post("database/rehearse", { rollback_to: plan.to_version }));
				}, ["status"]), "quiet", { disabled: isActive(state.status.run) }))),
	];
}

async function startRollback(plan) {
	const run = await ask({
		title: rollbackLabel(plan), fields: consentFields(), text: [t.more.rollbackLead], ok: t.more.rollback,
		submit: ({ pin }) => post("database/rollback", { consent: true, rollback_to: plan.to_version, pin }, { "If-Match": `"${plan.hash}"` }),
	});
	if (!run) return;
	rollback = null;
	takeRun(run);
	location.hash = "#update";
}

export const diagnosticsButton = () => button(t.result.diagnostics, download);

async function download() {
	const found = { at: new Date().toISOString(), browser: navigator.userAgent, session: state.session, link: state.link };
	const paths = ["database/status", "database/plan", "safety", "database/history?limit=50", "database/backups"];
	if (can("technician")) paths.push("database/audit");
	await Promise.all(paths.map(async (path) => {
		found[path] = await get(path).catch((error) => error.problem ?? "no answer");
	}));
	const url = URL.createObjectURL(new Blob([JSON.stringify(found, null, 1)], { type: "application/json" }));
	Object.assign(document.createElement("a"), { href: url, download: `chock-${found.at.replace(/\W/g, "").slice(0, 15)}.json` }).click();
	setTimeout(() => URL.revokeObjectURL(url), 60000);
}
