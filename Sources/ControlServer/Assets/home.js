// The first view while nothing runs.
import { Refusal, nonce, post, refusalOf, remove } from "./api.js";
import { openVouch, summary } from "./coach.js";
import { act, ask, consentFields, field, pinField } from "./dialog.js";
import { button, byId, h, heading, icon, prose } from "./dom.js";
import { approvalOf, blockers, can, changed, isActive, serverNow, stage, state, takeRun } from "./model.js";
import { failureCard, undoPart } from "./run.js";
import { bytes, capital, duration, moment, most, needed, number, range, said, t, volts } from "./texts.js";

const countdownSeconds = 10;

let start = null;
let refusal = null;

// A countdown keeps its view, also when the state changes.
export const shownStage = () => (start && !isActive(state.status?.run) ? "available" : stage());
export const forgetRefusal = () => { refusal = null; };

addEventListener("visibilitychange", () => start && !start.isPosting && tick());
addEventListener("keydown", (event) => {
	if (event.key === "Escape" && start && !start.isPosting) stopCountdown(null);
});

async function begin() {
	if (start || blockers().length) return;
	const inputs = answers();
	if (!inputs) return;
	refusal = null;
	const { hash } = state.plan;
	const given = await mayStart(hash, inputs);
	changed();
	if (!given || start) return;
	start = { until: performance.now() + countdownSeconds * 1000, seen: Date.now(), hash, inputs, key: nonce(), pin: given.pin };
	start.timer = setInterval(tick, 200);
	changed();
	byId("countdown-cancel")?.focus();
}

// A demand without the yes: a wrong PIN is told before the countdown.
const mayStart = (hash, inputs) => (state.session.asks_pin ? ask({
	title: consentLabel(), fields: [pinField(null, t.pinHint)], ok: t.next,
	submit: async ({ pin }) => {
		const error = state.status.consent_required && await refusalOf(() => demand({ consent: false, inputs, pin }, hash));
		if (error && error.problem?.code !== "CHK-CONSENT-MISSING") throw error;
		return { pin };
	},
}) : {});

const demand = (body, hash, headers) => post("database/update", body, { "If-Match": `"${hash}"`, ...headers });

function tick() {
	if (start.isPosting) return;
	// A phone that slept, or a page that nobody saw, does not start by itself.
	const gap = Date.now() - start.seen;
	start.seen += gap;
	if (document.hidden || gap < 0 || gap > 2000) return stopCountdown(t.available.away);
	// The person has to look again.
	if (state.plan?.hash !== start.hash || blockers().length) return stopCountdown(t.available.stopped);
	if (performance.now() >= start.until) return void send();
	changed();
}

function stopCountdown(why) {
	clearInterval(start.timer);
	start = null;
	refusal = why && { title: t.outcomes.refused, reasons: [{ title: why }] };
	changed();
	if (!why) byId("consent")?.focus();
}

async function send() {
	const own = start;
	own.isPosting = true;
	clearInterval(own.timer);
	changed();
	for (let attempt = 0; ; attempt += 1) {
		try {
			takeRun(await demand({ consent: true, inputs: own.inputs, pin: own.pin }, own.hash, { "Idempotency-Key": own.key }));
			break;
		} catch (error) {
			if (!(error instanceof Refusal)) throw error;
			// Somebody else was faster: it is that run's turn.
			if (isActive(state.status.run) || error.problem?.code === "CHK-RUN-ACTIVE") break;
			// The same key makes asking again harmless, so a lost answer never starts two runs.
			if (!error.problem && attempt < 2) {
				await new Promise((resolve) => setTimeout(resolve, 1000 * (attempt + 1)));
				continue;
			}
			refusal = refused(error);
			break;
		}
	}
	start = null;
	changed(["status", "plan"]);
}

function refused({ problem }) {
	if (!problem) return { title: t.outcomes.refused, reasons: [{ title: t.noAnswer }] };
	const reasons = problem.blockers?.length ? problem.blockers : [{ detail: problem.detail ?? problem.title, clear: problem.how_to_clear }];
	return { title: t.outcomes.refused, reasons: reasons.map(({ detail, clear }) => ({ said: detail, saidClear: clear })) };
}

const attempt = (work) => () => act(work, ["status"]);

const rehearse = attempt(async () => {
	const inputs = answers();
	if (inputs) takeRun(await post("database/rehearse", { inputs }));
});

const agree = (title, send) => attempt(() => {
	const fields = consentFields();
	return fields.length ? ask({ title, fields, ok: title, submit: ({ pin }) => send(pin) }) : send();
});

export const approveButton = (plan) => !approvalOf(plan).isOwn && button(t.approval.go, agree(t.approval.go, (pin) => post("database/approvals", { plan_hash: plan.hash, pin })));

const consentToTonight = (hash, at) => async (pin) => {
	const inputs = answers();
	if (inputs) await demand({ consent: true, inputs, pin, when: "window", at }, hash);
};

function consentLabel() {
	const { plan, status } = state;
	const seconds = plan?.expected_seconds;
	const label = t.available.consent(plan?.to_version ?? status.target_version);
	return seconds == null ? label : `${label}, ${t.about} ${most(seconds * 1.5)}`;
}

export const facts = (rows) => h("dl.facts", rows.filter(Boolean).map(([label, value, sub]) =>
	h("div", { key: label }, h("dt", label), h("dd", value), sub && h("dd.sub", sub))));
export const part = (title, ...children) => h("section.part", h("h2", title), children);

export const homeView = () => ({ connecting, available, current, problem })[shownStage()]?.();

const connecting = () => [icon("mark", "scene"), heading(t.link.connecting), h("p.lead", state.link === "lost" && t.link.lead)];

function available() {
	const { status, plan } = state;
	const words = t.available;
	const from = plan?.from_version ?? status.current_version ?? "0";
	const to = plan?.to_version ?? status.target_version ?? "";
	const seconds = plan?.expected_seconds ?? null;
	return [
		h("h1", { tabindex: -1 }, h("span.eyebrow", words.title), " ",
			h("span.versions", { "data-long": from.length + to.length > 6 && "true" }, h("span.from", from), h("span.sr", ` ${t.to} `),
				h("span.road", { "aria-hidden": "true" }, icon("arrow")), h("span", to))),
		scheduled(),
		plan && facts([
			[words.time, capital(seconds === null ? t.unknown : range(seconds)),
				plan.worst_case_seconds == null ? words.limit(duration(plan.timeout_seconds)) : words.worst(most(plan.worst_case_seconds + seconds / 2))],
			[words.disk, words.needed(needed(plan.needed_bytes)), words.free(bytes(plan.available_bytes))],
			power(),
			[words.snapshot, words.first, words.where(bytes(plan.database_bytes))],
		]),
		can("owner") && questions(plan?.inputs ?? []),
		action(),
		summary(),
		part(words.meanwhile, h("dl.pairs", words.pairs.map(([name, text]) => h("div", h("dt", name), h("dd", text))))),
		rehearsal(seconds),
		later(),
		part(words.what, stops(plan?.migrations ?? status.pending_migrations)),
	];
}

export function stops(migrations) {
	const list = h("ol.stops", migrations.map(stop));
	return migrations.length > 20 ? h("details", h("summary", t.available.notes(migrations.length)), list) : list;
}

const stop = ({ version, purpose, description, name, incompatible_changes: breaks }) => h("li", { key: version },
	h("b", version),
	h("p", t.available.purposes[purpose] && h("strong", t.available.purposes[purpose], ": "), said(description || name)),
	breaks?.length > 0 && h("small", { title: breaks.join(" ") }, t.available.incompatible));

function power() {
	const gate = state.status.gates.find((entry) => entry.id === "power");
	const heard = (signal) => gate.readings.filter((reading) => reading.signal === signal && !reading.stale).map(({ value }) => value);
	if (!gate) return false;
	const battery = heard("supply_voltage").map(Number);
	const words = battery.length ? volts(Math.min(...battery)) : t.unknown;
	if (heard("shore_power")[0] === "on") return [t.available.power, t.signals.shore_power, words];
	return [t.available.power, words, gate.needed_volts && t.available.least(volts(gate.needed_volts))];
}

const questions = (inputs) => inputs.length > 0 && h("section.part", { key: "questions" }, h("h2", t.available.asks),
	h("form.fields", { id: "questions", onsubmit: (event) => event.preventDefault() }, inputs.map(question)));

const question = ({ name, question: label, kind, choices, default_value: own, minimum: min, maximum: max }) => field({
	name, label: said(label), required: true, disabled: Boolean(start), value: own === undefined ? undefined : String(own),
	...(choices.length ? { choices: [...(own === undefined ? [["", t.available.choose]] : []), ...choices.map((choice) => [choice, choice])] }
		: { type: kind === "TEXT" ? "text" : "number", autocomplete: "off", min, max, step: kind === "REAL" && "any" }),
}, "input");

// Null when one is missing or does not do; the browser says which.
function answers() {
	const form = byId("questions");
	if (!form) return {};
	return form.reportValidity() ? Object.fromEntries(new FormData(form)) : null;
}

function action() {
	const found = start ? [] : blockers();
	const failed = state.plan?.failed_try;
	return h("div.action", { key: "action" },
		refusal && notice("bad", "violated", refusal.title, refusal.reasons, "alert"),
		failed && !start && [h("h2", { key: "failed" }, t.available.failed[failed.kind]), failureCard(failed.error)],
		start ? countdown() : found[0]?.isLoading ? h("p.under", { key: "loading" }, found[0].title) : found.length ? blocked(found) : failed ? button(t.available.again, rehearse, "strong.wide", { key: "again" })
			: h("div", { key: "go" }, h("p.under", approvalOf(state.plan).words), button(consentLabel(), begin, "primary.wide", { id: "consent" }), h("p.sub.under", t.available.under)));
}

function countdown() {
	if (start.isPosting) return h("div.countdown", { key: "posting" }, h("b", t.available.starting));
	const left = Math.max(1, Math.ceil((start.until - performance.now()) / 1000));
	return h("div.countdown", { key: "countdown" },
		h("p", { id: "count" }, t.available.countdown, " ", h("b", `${left} s`)),
		button(t.cancel, () => stopCountdown(null), "strong", { id: "countdown-cancel", "aria-describedby": "count" }),
		h("i.drain", { "aria-hidden": "true" }));
}

function blocked(found) {
	const gates = found.filter((entry) => entry.gate);
	const waits = found.every((entry) => entry.waits);
	const isUnknown = gates.length === found.length && gates.every((entry) => entry.gate.state === "unknown");
	return notice(waits ? "wait" : "bad", waits ? "wait" : isUnknown ? "unknown" : "violated",
		gates.length === found.length ? t.blocked.conditions(gates.length) : t.blocked.title, found);
}

// For who does not see it.
export const obstacles = () => (start ? "" : blockers().map(({ title, said: own }) => title ?? own).join(", "));

// A box with reasons: `title` and `clear` in this language, `said` and `saidClear` in the daemon's.
export function notice(tone, picture, title, reasons, role) {
	return h("div.notice", { "data-tone": tone, role, key: role ?? tone }, icon(picture),
		h("div", h("h2", title), h("ul.reasons", reasons.map((reason) => h("li",
			h("b", reason.title ?? said(reason.said)),
			reason.title && h("span", said(reason.said)),
			h("span", reason.clear ?? said(prose(reason.saidClear))),
			reason.gate?.attestable.length > 0 && can("owner") && button(t.vouch.go, () => openVouch(reason.gate.id)),
			reason.approves && approveButton(state.plan),
			reason.pairs && h("a.button.quiet", { href: "#more" }, t.blocked.pair))))));
}

function rehearsal(seconds) {
	const { plan } = state;
	return seconds === null && plan && !start && !plan.failed_try && can("owner") && plan.available_bytes >= plan.needed_bytes
		&& h("div.card.row-wrap", { key: "rehearse" }, h("p", t.available.offer), button(t.available.measure, rehearse));
}

const postpone = (action) => attempt(() => post("database/schedule", { action }));

function later() {
	if (state.status.schedule || !can("owner") || start || !state.plan) return false;
	const words = t.schedule;
	// By the clock of the device, which may be in another time zone.
	const [time] = state.status.maintenance_window.split("-");
	const tonight = (/^(0[0-5]|1[89]|2)/.test(time) ? words.tonight : words.at)(time);
	return h("div.buttons", { key: "later" }, !state.plan.failed_try && !approvalOf(state.plan).isMissing && button(tonight, agree(tonight, consentToTonight(state.plan.hash, time))),
		button(words.remind, postpone("remind")), button(words.skip, postpone("skip")));
}

function scheduled() {
	const { schedule } = state.status;
	if (!schedule) return false;
	const words = t.schedule;
	const lapsed = schedule.lapsed_reason;
	const at = moment(schedule.at);
	const isDue = Date.parse(schedule.at) < serverNow();
	const text = lapsed ? said(lapsed) : { window: isDue ? words.waits(moment(schedule.until)) : words.window(at), remind: words.reminded(at), skip: words.skipped(schedule.version) }[schedule.action];
	return [notice(lapsed ? "bad" : "wait", "wait", lapsed ? words.lapsed : text, lapsed ? [{ title: text }] : []),
		can("owner") && button(lapsed ? t.result.understood : words.clear, attempt(() => remove("database/schedule")))];
}

function current() {
	const { current_version: version, latest_backup: newest, integrity_check: check } = state.status;
	const words = t.current;
	return [
		icon("mark", "scene"), heading(words.title), h("p.lead", words.lead(version)),
		facts([
			newest ? [words.snapshot, capital(moment(newest.created_at)), bytes(newest.size_bytes)] : [words.snapshot, words.none],
			[words.check, check ? capital(moment(check.finished_at)) : words.none],
			errorWatch(),
		]),
		undoPart(),
		summary(),
	];
}

// For 72 hours after an update: one line for its owner.
export function errorWatch() {
	const { run, seconds_left: left, counters } = state.status.error_watch ?? {};
	const known = run ? counters.filter(({ errors }) => errors != null) : [];
	const sum = (name) => number(known.reduce((all, counter) => all + (counter[name] ?? 0), 0));
	const words = t.watch;
	return known.length > 0 && [words.title, sum("errors") + (known.some(({ warning }) => warning) ? `, ${words.more}` : ""),
		words.rate(sum("per_hour_before"), most(left))];
}

const leave = () => act(() => ask({
	title: `${t.problem.leave}?`, text: [t.problem.leaveText], ok: t.problem.leave, submit: () => post("recovery/leave"),
}), ["status", "plan", "lists"]);

function problem() {
	const { current_version: version } = state.status;
	return [problemPart(), version && facts([[t.result.database, version]]), summary()];
}

export function problemPart() {
	const { mode, adopted, problem: own } = state.status;
	const words = t.problem;
	const broken = words.broken[[/DATABASE-MISSING/, /DATABASE-EMPTY/, /DATABASE-CORRUPT|NOT-A-DATABASE/].findIndex((code) => code.test(own?.code))];
	const isNew = own ? own.code === "CHK-UNADOPTED" : !adopted;
	const [title, lead, tone] = broken ? [broken, words.brokenLead, "bad"] : mode === "recovery" ? [words.recovery, words.recoveryLead, "bad"]
		: isNew ? [words.isNew, words.newLead, "calm"] : [words.title, words.lead, "warn"];
	return [
		h("div.verdict", { "data-tone": tone, role: broken && "alert" }, icon(broken ? "violated" : "advice"), h("div", heading(title), h("p.lead", lead))),
		own && failureCard(own),
		can("technician") && (mode === "recovery" || isNew) && h("div.buttons",
			h("a.button.quiet", { href: "#more" }, words.tools), mode === "recovery" && button(words.leave, leave)),
		isNew && tone === "calm" && h("p", prose(words.adopt)),
		broken && h("div.buttons", h("a.button.quiet", { href: "#snapshots" }, t.views.snapshots)),
	];
}
