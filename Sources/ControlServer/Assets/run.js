// A run in progress, how it ended, and the way back; all runs and all snapshots.
import { get, post, put, remove } from "./api.js";
import { signalName, signalValue, summary } from "./coach.js";
import { act, ask, consentFields, retell } from "./dialog.js";
import { button, h, heading, icon, prose } from "./dom.js";
import { errorWatch, facts, notice, part, problemPart, stops } from "./home.js";
import { can, changed, closedGates, isActive, runSeconds, serverNow, state, steps, takeRun, undo, verdict } from "./model.js";
import { diagnosticsButton } from "./more.js";
import { bytes, capital, date, duration, language, moment, plain, said, stopwatch, t } from "./texts.js";

export async function cancel(run) {
	state.stopping.add(run.id);
	if (!await act(() => tell(run, "cancel"), ["status"])) state.stopping.delete(run.id);
}

const tell = async (run, verb) => takeRun(await post(`database/update/${run.id}/${verb}`));

export function doing(run) {
	const [, words, number, all] = /^(.*) \((\d+) of (\d+)\)$/.exec(run.message ?? "") ?? [];
	if (words) return { message: said(words), text: words, number: `${number} / ${all}` };
	const text = (language === "en" ? run.message : t.running.messages[run.message]) || t.phases[run.phase ?? "plan"];
	return { message: text, text };
}

export function progressOf(run) {
	const kind = t.kinds[run.kind] ?? run.kind;
	const to = run.to_version ?? (run.kind === "update" && state.status.target_version);
	return {
		title: to && ["update", "rollback", "restore"].includes(run.kind) ? t.running.toVersion(kind, to) : kind,
		step: steps(run).find((step) => step.state === "now").label, fraction: run.fraction ?? null, waitingFor: run.waiting_for ?? null,
	};
}

let moved = {};

export function runningView() {
	const { run } = state.status;
	const words = t.running;
	const { title, step, fraction } = progressOf(run);
	if (moved.fraction !== fraction) moved = { fraction, at: Date.now() };
	// Longer than in the rehearsal: nobody knows how far it is.
	const isStill = Date.now() - moved.at > 10000;
	const isStopping = state.stopping.has(run.id) && run.cancellable;
	const now = doing(run);
	const percent = fraction === null || isStill ? undefined : Math.floor(fraction * 100);
	const isRecovery = run.kind === "recover";
	const isProving = run.phase === "prove";
	const changes = isRecovery || ["update", "rollback", "restore", "import"].includes(run.kind);
	const until = Date.parse(run.waiting_until ?? "");
	return [
		h("h1.eyebrow", { tabindex: -1 }, title),
		changes && !isRecovery && !isProving && h("p.keep.hands", icon("violated"), h("span", words.hands)),
		run.waiting_for && notice("wait", "wait", words.waits, [
			{ said: run.waiting_for, clear: [words.soon, " ", until && words.left(stopwatch((until - serverNow()) / 1000))] }]),
		h("div.gauge", h("p.big", { "aria-hidden": "true", "data-words": percent === undefined && "true" }, percent === undefined ? step : `${percent}%`),
			h("p.sub", words.elapsed, " ", h("b", stopwatch(runSeconds(run))))),
		h("div.meter",
			h("progress", { id: "bar", max: 100, value: percent, "aria-valuetext": percent === undefined ? now.text : `${percent}%, ${now.text}` }),
			h("label", { for: "bar" }, isStopping ? words.stopping : now.message), h("output", now.number)),
		h("ol.steps", steps(run).map((entry) => h("li", { "data-state": entry.state, "aria-current": entry.state === "now" && "step" },
			h("i"), h("b", entry.label), h("span.sr", `, ${words.states[entry.state]}`), entry.seconds !== null && h("small", duration(entry.seconds))))),
		h("div.row-wrap",
			run.cancellable && !isStopping && !isRecovery && can("owner") && button(t.cancel, () => cancel(run), "quiet", { id: "cancel" }),
			h("p.sub", isStopping ? words.stopping : run.cancellable ? (changes ? words.until : words.always)
				: run.phase === "restore" ? words.puttingBack : isProving ? words.proving(stopwatch(run.total - run.done || 0)) : words.tooLate),
			isProving && can("owner") && button(words.well, () => act(() => tell(run, "confirm"), ["status"]), "quiet", { id: "confirm" })),
		changes && h("p.keep", icon("advice"), h("span", words.power)),
		summary(),
	];
}

export function resultView() {
	const { run, current_version: version, problem } = state.status;
	const words = t.result;
	const { title, tone, icon: picture, failed } = verdict(run);
	// What is wrong now goes before how a run ended.
	const isWrong = problem && run.outcome !== "needs_recovery";
	const isUpdated = run.kind === "update" && run.outcome === "committed";
	return [
		isWrong && problemPart(),
		h("div.verdict", { "data-tone": tone, role: failed && "alert" }, icon(picture),
			h("div", isWrong ? h("h2", title) : heading(title),
				h("p.lead", run.outcome === "needs_recovery" ? t.problem.recoveryLead : run.ended_at && words.ended(capital(moment(run.ended_at)), duration(runSeconds(run)))))),
		// A stop that was asked for is no failure; its error would only repeat the heading.
		failed && run.error && failureCard(run.error),
		h("div.buttons", can("owner") && button(failed ? words.understood : words.done, () => act(() => tell(run, "acknowledge"), ["status", "plan", "lists"]), "strong", { id: "acknowledge" }),
			failed && diagnosticsButton()),
		isUpdated && undoPart(),
		facts([
			version && [words.database, version],
			run.snapshot_id && run.kind !== "restore" && [words.snapshot, run.snapshot_id],
			run.rescue_copy && run.kind !== "rescue" && [words.rescue, run.rescue_copy],
			run.export_folder && [words.exported, run.export_folder],
			run.warnings?.length > 0 && [words.warning, said(run.warnings.map((entry) => entry.message).join(" "))],
			run.attestations?.length > 0 && [words.word,
				run.attestations.map(({ signal, value }) => `${signalName(signal)}: ${signalValue(signal, value)}`).join(", "),
				[...new Set(run.attestations.map(({ source }) => source.replace(/^attestation by /, "")))].join(", ")],
			isUpdated && errorWatch(),
			[words.run, run.id, run.requested_by && words.by(run.requested_by)],
		]),
		run.rescued?.length > 0 && part(t.kinds.rescue, rescued(run)),
		run.migrations && part(t.available.what, stops(run.migrations)),
	];
}

// Row by row, what was put in again and what was left out, and why.
export const rescued = ({ rescued: tables }) => tables?.length > 0 && h("ul", tables.map((own) => h("li",
	t.result.rescued(plain(own.table), own.added + own.changed + own.deleted, own.conflicts + own.without_place),
	own.examples.length > 0 && h("ul", own.examples.map((one) => h("li", h("code", one.row), " ", said(one.reason)))))));

export function failureCard(own) {
	const words = t.result;
	const line = (label, value) => value && h("div", h("dt", label), h("dd", value));
	return h("div.card.failure", { key: `failure ${own.code}` },
		h("p.strong", said(own.message)),
		own.how_to_clear && h("p.sub", words.next, ": ", said(prose(own.how_to_clear))),
		h("dl", line(words.where, own.file && h("code", own.file, own.line && `:${own.line}`)),
			// Scrolls on a narrow screen, so it must be reachable with the keyboard.
			line(words.statement, own.statement && h("pre", { tabindex: 0, role: "region", "aria-label": words.statement }, own.statement)),
			line(words.code, h("code", own.code))));
}

// In recovery mode an owner only looks.
const isHeld = () => state.status.mode === "recovery" && !can("technician");

// As a sentence; null when it can.
export function restoreBlocked() {
	const closed = closedGates().find(({ gate }) => gate.id !== "technician" && gate.id !== "disk");
	if (isHeld()) return t.problem.recoveryLead;
	if (isActive(state.status.run)) return t.blocked.running;
	return closed ? closed.title ?? said(closed.said) : null;
}

// A run that needs a yes: asked for, and begun.
export const startRun = (title, text, ok, path, body, headers) => act(async () => {
	const run = await ask({ id: path, title, text, ok, fields: consentFields(), submit: ({ pin }) => post(`database/${path}`, { consent: true, ...body, pin }, headers) });
	if (!run) return;
	takeRun(run);
	location.hash = "#update";
}, ["status"]);

async function askRestore({ id, version, created_at: at }) {
	const words = t.undo;
	const path = `restore/${id}`;
	const text = (counted) => [words.lost(moment(at)), counted, words.rescue].filter(Boolean);
	startRun(words.title(version), text(words.counting), words.ok, path);
	// Row by row: it may take longer than any other question.
	const loss = await get(`database/${path}`, 70).catch(() => null);
	const rows = loss?.tables.map((own) => `${own.table} +${own.added} ~${Math.max(own.changed, own.values_after)} −${own.deleted}`).join(", ");
	retell(path, text(loss ? rows && words.rows(rows) : words.uncounted));
}

export function undoPart() {
	const snapshot = can("owner") && undo();
	if (!snapshot) return false;
	const why = restoreBlocked();
	const { keptDays } = state;
	return h("section.card.row-wrap", { key: "undo" },
		h("p", keptDays && t.undo.until(date(Date.parse(snapshot.created_at) + keptDays * 864e5)),
			h("span.sub", why ? [t.undo.blocked, " ", why] : t.undo.lost(moment(snapshot.created_at)))),
		!why && button(t.undo.go, () => askRestore(snapshot), "quiet", { id: "undo" }));
}

export const row = (key, tone, picture, title, big, status, sub, ...more) =>
	h("li.row", { key, "data-tone": tone }, icon(picture), h("b", title), h("span", big), h("span.row-state", status),
		h("div", h("p.sub", sub.filter(Boolean).join(" · ")), more));

const list = (title, words, items, ...more) => [
	heading(title), words.lead && h("p.lead", words.lead), more,
	items?.length > 0 ? h("ol.rows", items) : h("p.lead", items && words.empty)];

function showOlder() {
	state.runLimit = 1000;
	changed(["lists"]);
}

export function runRow(run, ...more) {
	const { tone, icon: picture } = isActive(run) ? { tone: "calm", icon: "wait" } : verdict(run);
	const isStopped = run.error?.code === "CHK-STOPPED";
	const isBad = run.outcome === "refused" && (run.found || (run.kind === "verify" && run.snapshot_id));
	const [from, to] = [run.from_version, run.to_version];
	return row(run.id, tone, picture, t.checks[run.check] ?? t.kinds[run.kind] ?? run.kind, from && to && from !== to ? `${from} → ${to}` : to ?? from ?? "",
		t.outcomes[isActive(run) ? "running" : isStopped ? "cancelled" : isBad ? "notGood" : run.outcome] ?? run.outcome,
		[moment(run.started_at), run.ended_at && duration(runSeconds(run)), run.requested_by],
		run.error && !isStopped && h("p", said(run.error.message), " ", h("code", run.error.code)), more);
}

export function historyView() {
	const words = t.history;
	return list(t.views.history, words, state.runs?.map((run) => runRow(run))).concat(state.runs?.length === 30 && h("div.buttons", button(words.older, showOlder)));
}

const start = (work) => act(async () => {
	const run = await work();
	if (run?.kind) takeRun(run);
}, ["status", "lists"]);

export function snapshotsView() {
	const words = t.snapshots;
	const newest = undo()?.id;
	const why = restoreBlocked();
	const isIdle = can("owner") && !isHeld() && !isActive(state.status.run);
	return list(t.views.snapshots, words, state.snapshots?.map((snapshot) => {
		const { id, pinned, version, verified_at: verified } = snapshot;
		const at = moment(snapshot.created_at);
		const path = `database/backups/${id}`;
		const label = words.version(version);
		const choice = (name, work, kind) => button(name, () => start(work), kind, { "aria-label": `${name}: ${label}, ${at}` });
		return row(id, snapshot.damage ? "bad" : verified ? "good" : "calm", snapshot.damage ? "violated" : verified ? "satisfied" : "unknown", label, bytes(snapshot.size_bytes), pinned ? words.pinned : "",
			[at, words.reasons[snapshot.reason] ?? snapshot.reason, snapshot.damage ? words.damaged : verified ? words.verified(moment(verified)) : words.unverified],
			h("code.sub", id),
			isIdle && h("div.buttons",
				!why && !snapshot.damage && (can("technician") || id === newest) && choice(words.restore, () => askRestore(snapshot)),
				choice(words.verify, () => post(`${path}/verify`)),
				choice(pinned ? words.unpin : words.pin, () => (pinned ? remove : put)(`${path}/pin`)),
				can("technician") && !pinned && choice(words.remove, () => ask({
					title: `${words.remove}: ${label}, ${at}?`, text: [words.removeText], ok: words.remove,
					submit: () => remove(path) }))));
	}),
	h("div.buttons", isIdle && button(words.take, () => start(() => post("database/backups")))),
	state.snapshots?.length > 0 && can("owner") && why && h("p.sub", t.undo.blocked, " ", why));
}
