// A run in progress, how it ended, and the way back.
import { post, refusalOf } from "./api.js";
import { signalName, signalValue, summary } from "./coach.js";
import { ask, consentFields, told } from "./dialog.js";
import { alarm, button, h, heading, icon, prose } from "./dom.js";
import { facts, notice, part, problemPart, stops } from "./home.js";
import { can, changed, closedGates, isActive, runSeconds, serverNow, state, steps, takeRun, undo, verdict } from "./model.js";
import { diagnosticsButton } from "./more.js";
import { capital, date, duration, language, moment, said, stopwatch, t } from "./texts.js";

let failure = null;

async function tell(run, verb) {
	const error = await refusalOf(async () => takeRun(await post(`database/update/${run.id}/${verb}`)));
	failure = error && told(error);
	return !error;
}

async function cancel(run) {
	state.stopping.add(run.id);
	changed();
	if (!await tell(run, "cancel")) state.stopping.delete(run.id);
	changed(["status"]);
}

const acknowledge = async (run) => changed(await tell(run, "acknowledge") ? ["status", "plan", "lists"] : []);

function doing(run) {
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

export function runningView() {
	const { run } = state.status;
	const words = t.running;
	const { title, step, fraction } = progressOf(run);
	const isStopping = state.stopping.has(run.id) && run.cancellable;
	const now = doing(run);
	const percent = fraction === null ? undefined : Math.floor(fraction * 100);
	const isRecovery = run.kind === "recover";
	const isProving = run.phase === "prove";
	const changes = isRecovery || ["update", "rollback", "restore", "import"].includes(run.kind);
	const until = Date.parse(run.waiting_until ?? "");
	return [
		h("h1.eyebrow", { tabindex: -1 }, title),
		changes && !isRecovery && !isProving && h("p.keep.hands", icon("violated"), h("span", words.hands)),
		run.waiting_for && notice("wait", "wait", words.waits, [
			{ said: run.waiting_for, clear: [words.soon, " ", until && words.left((until - serverNow()) / 1000)] }]),
		h("div.gauge", h("p.big", { "aria-hidden": "true", "data-words": percent === undefined && "true" }, percent === undefined ? step : `${percent}%`),
			h("p.elapsed.sub", words.elapsed, " ", h("b", stopwatch(runSeconds(run))))),
		h("div.meter",
			h("progress", { id: "bar", max: 100, value: percent, "aria-valuetext": percent === undefined ? now.text : `${percent}%, ${now.text}` }),
			h("label", { for: "bar" }, isStopping ? words.stopping : now.message), h("output", now.number)),
		h("ol.steps", steps(run).map((entry) => h("li", { "data-state": entry.state, "aria-current": entry.state === "now" && "step" },
			h("i"), h("b", entry.label), h("span.sr", `, ${words.states[entry.state]}`), entry.seconds !== null && h("small", duration(entry.seconds))))),
		h("div.row-wrap",
			run.cancellable && !isStopping && !isRecovery && can("owner") && state.link !== "lost" && button(t.cancel, () => cancel(run), "quiet", { id: "cancel" }),
			h("p.sub", isStopping ? words.stopping : run.cancellable ? (changes ? words.until : words.always)
				: run.phase === "restore" ? words.puttingBack : isProving ? words.proving(run.total - run.done || 0) : words.tooLate),
			isProving && can("owner") && button(words.well, () => tell(run, "confirm").then(() => changed()), "quiet", { id: "confirm" })),
		alarm(failure),
		changes && h("p.keep", icon("power"), h("span", words.power)),
		summary(),
	];
}

/** A heading of two sentences breaks between them, not within. */
const sentences = (title) => title.split(/(?<=\.) /).flatMap((words) => [h("span.sentence", words), " "]);

export function resultView() {
	const { run, current_version: version, problem } = state.status;
	const words = t.result;
	const { title, tone, icon: picture, failed } = verdict(run);
	// What is wrong now goes before how a run ended.
	const isWrong = problem && run.outcome !== "needs_recovery";
	const timed = run.phases.filter((entry) => entry.seconds >= 0.05);
	const isUpdated = run.kind === "update" && run.outcome === "committed";
	return [
		isWrong && problemPart(),
		h("div.verdict", { "data-tone": tone, role: failed && "alert" }, icon(picture),
			h("div", isWrong ? h("h2", title) : heading(sentences(title)),
				h("p.lead", run.outcome === "needs_recovery" ? words.person : run.ended_at && words.ended(capital(moment(run.ended_at)), runSeconds(run))))),
		// A stop that was asked for is no failure; its error would only repeat the heading.
		failed && run.error && failureCard(run.error),
		h("div.buttons", can("owner") && button(failed ? words.understood : words.done, () => acknowledge(run), "strong", { id: "acknowledge" }),
			failed && diagnosticsButton()),
		alarm(failure),
		isUpdated && undoPart(),
		facts([
			version && [words.database, version],
			run.snapshot_id && run.kind !== "restore" && [words.snapshot, run.snapshot_id],
			run.rescue_copy && [words.rescue, run.rescue_copy],
			run.export_folder && [words.exported, run.export_folder],
			run.warnings?.length > 0 && [words.warning, said(run.warnings.map((entry) => entry.message).join(" "))],
			run.attestations?.length > 0 && [words.word,
				run.attestations.map(({ signal, value }) => `${signalName(signal)}: ${signalValue(signal, value)}`).join(", "),
				[...new Set(run.attestations.map(({ source }) => source.replace(/^attestation by /, "")))].join(", ")],
			[words.run, run.id, run.requested_by && words.by(run.requested_by)],
		]),
		isUpdated && state.lastPlan?.plan_hash === run.plan_hash && part(t.available.what, stops(state.lastPlan.migrations)),
		timed.length > 0 && part(words.times, h("ol.times", timed.map((entry) =>
			h("li", h("span", t.phases[entry.phase] ?? entry.phase), h("b", duration(entry.seconds)))))),
	];
}

export function failureCard(own) {
	const words = t.result;
	return h("div.card.failure", { key: `failure ${own.code}` },
		h("p.strong", said(own.message)),
		own.how_to_clear && h("p.sub", words.next, ": ", said(prose(own.how_to_clear))),
		failureDetails(own));
}

export function failureDetails(own) {
	const words = t.result;
	const row = (label, value) => value && h("div", h("dt", label), h("dd", value));
	return h("dl", { key: "failure" }, row(words.where, own.file && h("code", own.file, own.line && `:${own.line}`)),
		// Scrolls on a narrow screen, so it must be reachable with the keyboard.
			row(words.statement, own.statement && h("pre", { tabindex: 0, role: "region", "aria-label": words.statement }, own.statement)),
			row(words.code, h("code", own.code)));
}

/** As a sentence; null when it can. */
export function restoreBlocked() {
	const closed = closedGates().find(({ gate }) => gate.id !== "technician" && gate.id !== "disk");
	if (state.link === "lost") return t.blocked.offline;
	if (isActive(state.status.run)) return t.blocked.running;
	return closed ? closed.title ?? said(closed.said) : null;
}

export async function askRestore({ id, version, created_at: at }) {
	const run = await ask({
		title: t.undo.title(version), text: [t.undo.lost(moment(at)), t.undo.rescue], ok: t.undo.ok, fields: consentFields(),
		submit: ({ pin }) => post(`database/restore/${id}`, { consent: true, pin }),
	});
	if (!run) return;
	takeRun(run);
	location.hash = "#update";
	changed(["status"]);
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
