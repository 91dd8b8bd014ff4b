// This device and the others, and what a technician does.
import { get, post, put, refusalOf, remove } from "./api.js";
import { act, ask, consentFields, field, pinField, told } from "./dialog.js";
import { alarm, button, byId, h, heading, prose } from "./dom.js";
import { approveButton, part } from "./home.js";
import { approvalOf, can, changed, isActive, serverNow, state, takeRun } from "./model.js";
import { cancel, doing, restoreBlocked, row, runRow, startRun } from "./run.js";
import { moment, number, plain, said, stopwatch, t } from "./texts.js";

let failure = null;
let devices = null;
let tokens = null;
// The code for another device, with how many there were: `{code, addresses, until, known}`.
let pairing = null;
// How far a technician wants to go back: the plan.
let rollback = null;
let asksFirstPin = false;
// Which snapshot is being tested, of how many.
let testing = null;

const list = (name, role) => can(role) && get(name).then((found) => found[name], () => null);

export async function refreshMore() {
	[devices, tokens] = await Promise.all([list("devices", "owner"), list("tokens", "technician")]);
	// Used, or too late.
	if (pairing && (serverNow() > pairing.until || devices?.some(({ id }) => !pairing.known.has(id)))) pairing = null;
	changed();
}

// A question, and what is to be read anew when it was answered.
const asks = (question, wanted) => act(async () => {
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

const removal = (path, name, ok, ...text) => {
	const label = `${ok}: ${name}`;
	return button(ok, () => asks({ title: `${label}?`, text, ok, submit: () => remove(path) }), "quiet", { "aria-label": label });
};

function deviceRow({ id, name, role, last_seen: seen, is_this: isThis }) {
	const words = t.more;
	return row(id, isThis ? "good" : "calm", isThis ? "satisfied" : "unknown", name, words.roles[role] ?? role, isThis && words.here, [seen && words.seen(moment(seen))],
		!isThis && removal(`devices/${id}`, name, words.remove, words.removeText));
}

const roleField = (roles) => ({ name: "role", label: t.more.role, choices: roles.map((role) => [role, t.more.roles[role]]) });

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

function technician() {
	const words = t.more;
	const why = restoreBlocked();
	const locks = state.safety?.locks ?? [];
	return part(words.technician,
		h("h3", t.tools.title), h("p.sub", t.tools.lead), toolsPart(),
		h("h3", words.locks),
		locks.length > 0 ? h("ol.rows", locks.map((lock) => row(lock.id, "warn", "advice", said(lock.owner), "",
			said(lock.reason), [t.gates.until(moment(lock.expires_at))], button(words.break, () => act(() => remove(`safety/locks/${lock.id}`), ["safety"])))))
			: h("p.sub", words.noLocks),
		h("div.buttons", button(words.lock, () => asks({
			title: words.lock, fields: [{ ...nameField("reason", words.reason), maxlength: 100 }], ok: words.lock,
			submit: ({ reason }) => put("safety/locks/panel", { owner: state.session.name ?? "panel", reason, ttl_seconds: 28800 }),
		}, ["safety"]))),
		h("h3", words.rollback), h("p.sub", words.rollbackLead),
		why ? h("p", t.undo.blocked, " ", why) : [rollbackPart(), exportsPart()],
		h("h3", words.pins),
		h("div.buttons", ["owner", "technician"].map((role) => button(words.setPin[role], () => asks({
			title: words.setPin[role], text: [words.pinText], fields: [{ ...pinField(role), autocomplete: "new-password" }], ok: t.next,
			submit: ({ pin }) => put("safety/pin", { role, pin }) }, ["session"])))),
		h("h3", words.tokens),
		tokens?.length > 0 && h("ol.rows", tokens.map(({ id, name, role, last_seen: used }) => row(id, "calm", "satisfied", name, words.roles[role], "",
			[used && words.seen(moment(used))], removal(`tokens/${id}`, name, words.revoke)))),
		h("div.buttons", button(words.newToken, makeToken)));
}

function toolsPart() {
	const words = t.tools;
	const { run } = state.status;
	const isTool = ({ kind }) => ["check", "verify", "salvage"].includes(kind);
	const isBusy = isActive(run) || testing;
	const tool = (label, work) => button(label, () => act(work, ["status", "lists"]), "quiet", { disabled: Boolean(isBusy) });
	const begin = (name, body) => async () => takeRun(await post(`database/${name}`, body));
	return [
		h("div.buttons", Object.entries(words.checks).map(([kind, label]) => tool(label, begin("check", { kind }))),
			state.snapshots?.length > 0 && tool(words.verify, testAll), tool(words.salvage, begin("salvage"))),
		isActive(run) && isTool(run) && toolMeter(run),
		h("ol.rows", state.runs?.filter((own) => own.outcome && isTool(own)).slice(0, 5).map((own) => runRow(own, answerOf(own)))),
	];
}

function toolMeter(run) {
	const { message, text } = doing(run);
	const name = `${t.kinds[run.kind]}${testing ?? ""}`;
	return h("div.card.meter", { key: "tool" },
		h("progress", { id: "tool", max: 100, value: run.fraction == null ? undefined : Math.floor(run.fraction * 100), "aria-valuetext": `${name}, ${text}` }),
		h("label", { for: "tool" }, name, ": ", message), run.cancellable && button(t.cancel, () => cancel(run)));
}

// One after the other; a stop of one ends them.
async function testAll() {
	const all = state.snapshots.map(({ id }) => id);
	try {
		for (const id of all) {
			testing = ` ${all.indexOf(id) + 1} / ${all.length}`;
			let run = await post(`database/backups/${id}/verify`, { restore: true });
			takeRun(run);
			while (isActive(run)) {
				await new Promise((resolve) => setTimeout(resolve, 500));
				run = await get(`database/update/${run.id}/progress`);
			}
			if (run.error?.code === "CHK-STOPPED") break;
		}
	} finally {
		testing = null;
	}
}

function answerOf({ found, salvage, snapshot_id: id, kind }) {
	const words = t.tools;
	const lines = found ?? salvage?.problems ?? [];
	const list = h("ul", lines.slice(0, 100).map((line) => h("li", said(line))));
	return [
		kind === "verify" && h("code.sub", id),
		salvage && [
			h("p", words.salvaged(salvage.tables.reduce((all, { read }) => all + read, 0), id)),
			h("ul", salvage.tables.filter((own) => own.unreadable_places || own.refused || own.problem)
				.map((own) => h("li", words.table(plain(own.table), number(own.read), own.lost ?? "?", own.unreadable_places))))],
		lines.length > 5 ? h("details", h("summary", words.found(lines.length)), list) : list,
	];
}

const nameField = (name, label) => ({ name, label, required: true, maxlength: 40, autocomplete: "off" });

async function makeToken() {
	const words = t.more;
	let made;
	await asks({ title: words.newToken, ok: words.newToken,
		fields: [nameField("name", words.program), roleField(["controller", "viewer", "owner", "technician"]), ...consentFields()],
		submit: async (values) => { made = await post("tokens", values); } });
	if (made) await ask({ title: made.name, text: [words.once, `\`${made.token}\``], ok: t.result.done });
}

const rollbackLabel = (plan) => t.running.toVersion(t.more.rollback, plan.to_version);

function rollbackPart() {
	const words = t.more;
	const plan = rollback;
	const counted = plan && state.runs?.find((run) => run.rehearsal?.plan_hash === plan.plan_hash)?.rehearsal;
	const losses = counted?.losses ?? [];
	const approval = plan && approvalOf(plan);
	const look = (event) => {
		event.preventDefault();
		const { version } = Object.fromEntries(new FormData(event.target));
		act(async () => { rollback = await get(`database/plan?rollback_to=${encodeURIComponent(version)}`); }, ["lists"]);
	};
	return [
		h("form.row-wrap", { onsubmit: look }, field(nameField("version", words.target), "rollback"), button(words.look)),
		plan && plan.from_version === state.status.current_version && h("div.card", { key: plan.hash },
			h("ul", plan.migrations.map((step) => h("li", h("b", step.version), " ", said(step.description)))),
			counted && h("p", h("b", losses.length ? words.losesTitle : words.losesNothing)),
			h("ul", losses.map((loss) => h("li", words.loses(loss.rows, plain(loss.table)), loss.columns && ` (${loss.columns.join(", ")})`))),
			counted && approval.words && h("p", approval.words),
			h("div.buttons", !counted
				? button(words.count, () => act(async () => {
					takeRun(await post("database/rehearse", { rollback_to: plan.to_version }));
				}, ["status"]), "quiet", { disabled: isActive(state.status.run) })
				: approval.isMissing ? approveButton(plan) : button(rollbackLabel(plan), () => startRun(rollbackLabel(plan), [words.rollbackLead], words.rollback, "rollback", { rollback_to: plan.to_version }, { "If-Match": `"${plan.hash}"` }), "strong"))),
	];
}

// What rollbacks took out, where it fits again: at the version that it came from.
function exportsPart() {
	const words = t.more;
	const runs = state.runs ?? [];
	const isDone = (run) => runs.some(({ kind, outcome, error, export_folder: folder }) => kind === "import" && outcome && !error && folder === run.export_folder);
	const kept = runs.filter((run) => run.kind === "rollback" && run.outcome === "committed" && run.export_folder && run.from_version === state.status.current_version && !isDone(run));
	return kept.map((run) => h("div.card.row-wrap", { key: run.id },
		h("p", words.exported(run.from_version, moment(run.started_at))),
		button(words.import, () => startRun(`${words.import}?`, [words.importText], words.import, `import/${run.id}`))));
}

export const diagnosticsButton = () => can("owner") && h("a.button.quiet", { href: "/api/diagnostics", download: "" }, t.result.diagnostics);
