// What is known, and what follows from it.
import { bytes, moment, needed, t } from "./texts.js";

export const state = {
	session: null,
	status: null,
	safety: null,
	gatesAt: 0,
	plan: null,
	planProblem: null,
	runs: null,
	runLimit: 30,
	snapshots: null,
	keptDays: null,
	link: "connecting",
	heardAt: null,
	seq: null,
	// Server's clock minus ours, in milliseconds: a tablet's clock is often wrong.
	clockOffset: 0,
	stopping: new Set(),
};

let listener = () => {};
export const onChange = (listens) => { listener = listens; };
export const changed = (wanted) => listener(wanted);

export const serverNow = () => Date.now() + state.clockOffset;

const ranks = ["none", "viewer", "owner", "technician", "developer"];
export const can = (role) => ranks.indexOf(state.session?.role ?? "none") >= ranks.indexOf(role);

export function takeStatus(status) {
	status.run = merged(state.status?.run, status.run);
	state.status = status;
	if (!status.needs_update && !status.problem) state.plan = null;
	state.gatesAt = Date.now();
}

export function takeSafety(safety) {
	state.safety = safety;
	if (!state.status) return;
	state.status.gates = safety.gates;
	state.gatesAt = Date.now();
}

export function takeRun(run) {
	if (run.outcome && state.runs && !state.runs.some(({ id }) => id === run.id)) state.runs.unshift(run);
	if (state.status) state.status.run = merged(state.status.run, run);
}

// Accounts can arrive out of order; a run only moves forward.
function merged(known, next) {
	if (!next || known?.id !== next.id) return next ?? null;
	if (known.outcome && !next.outcome) return known;
	if (known.acknowledged) next.acknowledged = true;
	if (known.fraction != null) next.fraction = Math.max(known.fraction, next.fraction ?? 0);
	return next;
}

// Takes one event of the stream; returns what the caller should fetch anew.
export function takeEvent(event) {
	const isState = event.type === "state";
	// A state tells everything up to its number; what is replayed from before it would turn time back.
	if (!isState && state.seq !== null && event.seq <= state.seq) return [];
	if (typeof event.seq === "number") state.seq = event.seq;
	const run = state.status?.run;
	switch (event.type) {
		case "state":
			state.clockOffset = Date.parse(event.at) - Date.now() || 0;
			if (event.status) takeStatus(event.status);
			return ["plan", "safety", "lists"];
		case "phase":
		case "progress":
			if (!state.status) return [];
			if (!run || run.id !== event.run) return run && !event.run ? [] : ["status"];
			if (run.outcome) return [];
			if (rank(event.phase) > rank(run.phase)) run.phase = event.phase;
			run.cancellable &&= rank(run.phase) < rank("commit");
			if (event.fraction != null) run.fraction = Math.max(run.fraction ?? 0, event.fraction);
			if (event.message || event.type === "phase") run.message = event.message;
			// How long a phase took, and until when it waits, is in its full account.
			return event.type === "phase" || ["waiting", "going on"].includes(event.step) ? ["status"] : [];
		case "gate":
			if (event.safety) takeSafety(event.safety);
			return [];
		case "result":
			// What only looked at the database has no result that waits to be seen.
			if (event.result && !["snapshot", "verify", "check", "salvage"].includes(event.result.kind)) takeRun(event.result);
			return ["status", "plan", "lists"];
		case "update_available":
			return ["status", "plan"];
		default:
			return [];
	}
}

const phaseOrder = ["plan", "safety", "quiesce", "snapshot", "rehearse", "apply", "verify", "commit", "resume", "prove", "restore", "done"];

const rank = (phase) => phaseOrder.indexOf(phase);

export const isActive = (run) => Boolean(run) && !run.outcome;

export function stage() {
	const { status } = state;
	if (!status) return "connecting";
	const { run } = status;
	if (isActive(run)) return "running";
	// What a rehearsal has found is told where it was asked for.
	if (run?.outcome && !run.acknowledged && !(run.kind === "rehearse" && (run.outcome === "finished" || run.plan_hash === state.plan?.plan_hash))) return "result";
	if (status.mode === "recovery" || !status.adopted || status.problem) return "problem";
	return status.needs_update ? "available" : "current";
}

export const isClosed = (gate) => gate.required && gate.state !== "satisfied";
export const gateTitle = (gate) => t.gates.titles[gate.id] ?? gate.title;
// The reason and what helps, where there are words for it; else the daemon's own are shown.
export const gateWords = (gate) => (gate.state === "unknown" && !["disk", "clock"].includes(gate.id) ? t.gates.unheard?.(gateTitle(gate))
	: t.gates.told.find(([id, says]) => id === gate.id && says.test(gate.reason))?.slice(2)) ?? [];

export const closedGates = () => state.status.gates.filter(isClosed).map((gate) => {
	const [title, clear] = gateWords(gate);
	return { gate, title, said: gate.reason, clear, saidClear: gate.how_to_clear };
});

// Where two have to agree: whose word there is, and whether another person's is missing.
export function approvalOf(plan) {
	const { session, status } = state;
	const [own, other] = [true, false].map((isOwn) => status.approvals.find((entry) => entry.plan_hash === plan.hash
		&& Date.parse(entry.expires_at) > serverNow() && (entry.person === session.person) === isOwn));
	const words = t.approval;
	return session.approvals > 1 ? {
		isMissing: !other, isOwn: Boolean(own),
		words: other ? words.by(other.by, moment(other.expires_at)) : own ? words.done(moment(own.expires_at)) : words.lead,
	} : {};
}

export function blockers() {
	const { status, plan, link } = state;
	const words = t.blocked;
	if (link === "lost") return [{ title: words.offline }];
	if (!can("owner")) return [{ title: words.role, pairs: true }];
	if (isActive(status.run)) return [{ title: words.running, waits: true }];
	if (state.planProblem) return [{ said: state.planProblem.detail ?? state.planProblem.title, saidClear: state.planProblem.how_to_clear }];
	if (!plan) return [{ title: words.loading, isLoading: true }];
	const isTechnician = can("technician");
	if (!isTechnician && plan.migrations.some((step) => step.needs_technician)) return [{ title: words.technician }];
	const found = closedGates().filter(({ gate }) => gate.id !== "technician" || !isTechnician);
	if (plan.available_bytes < plan.needed_bytes && !found.some(({ gate }) => gate.id === "disk")) {
		found.push({ title: words.disk(needed(plan.needed_bytes), bytes(plan.available_bytes)) });
	}
	const { isMissing, isOwn, words: approval } = approvalOf(plan);
	if (isMissing) found.push({ title: approval, waits: true, approves: !isOwn });
	return found;
}

const told = {
	update: ["snapshot", "rehearse", "apply", "verify", "commit"], rehearse: ["snapshot", "rehearse"], restore: ["restore", "commit"],
	recover: ["restore", "commit"], snapshot: ["snapshot"], verify: ["verify"], check: ["verify"], salvage: ["snapshot"], import: ["snapshot", "apply", "commit"],
};

export function steps(run) {
	let phases = told[run.kind] ?? told.update;
	if (run.phase === "restore" && !phases.includes("restore")) phases = [...phases.slice(0, -1), "restore"];
	if (run.phase === "resume" || run.phase === "prove") phases = [...phases, run.phase];
	const current = Math.max(0, phases.findLastIndex((phase) => rank(phase) <= rank(run.phase)));
	return phases.map((phase, index) => ({
		label: t.phases[phase],
		state: index < current ? "done" : index === current ? "now" : "todo",
		seconds: index < current ? run.phases.find((entry) => entry.phase === phase)?.seconds ?? null : null,
	}));
}

export function runSeconds(run) {
	const end = run.ended_at ? Date.parse(run.ended_at) : serverNow();
	return Math.max(0, (end - Date.parse(run.started_at)) / 1000) || 0;
}

export const undo = () => state.snapshots?.find(({ id }) => id === state.status.undo_snapshot);

export function verdict(run) {
	const words = t.result;
	const { kind, outcome, error, from_version: from, to_version: to } = run;
	const good = (title) => ({ title, tone: "good", icon: "satisfied" });
	const calm = (title) => ({ title, tone: "calm", icon: "back" });
	const warn = (title) => ({ title, tone: "warn", icon: "advice", failed: true });
	const putBack = state.status.problem ? words.restored : words.putBack;
	const isStopped = error?.code === "CHK-STOPPED";
	if (error && kind === "rehearse") return (isStopped ? calm : warn)(`${t.outcomes[isStopped ? "cancelled" : "refused"]}. ${words.untouched}`);
	if (isStopped && (outcome === "refused" || state.stopping.has(run.id))) return calm(`${t.outcomes.cancelled}. ${words.still(from)}`);
	switch (outcome) {
		case "committed":
			if (["import", "rescue"].includes(kind)) return good(`${t.kinds[kind]}: ${t.outcomes.committed}`);
			return good(({ update: words.updated, recover: words.recovered }[kind] ?? words.restored)(to));
		case "rolled_back":
			return warn(putBack(from));
		case "refused":
			return warn(`${t.outcomes[error?.code === "CHK-INTERRUPTED" ? "interrupted" : "refused"]}. ${words.still(from)}`);
		case "restored":
			return kind === "restore" ? good(words.restored(to)) : warn(putBack(from));
		case "needs_recovery":
			return { title: words.needsPerson, tone: "bad", icon: "violated", failed: true };
		default:
			return good(`${t.kinds[kind]}: ${t.outcomes[outcome]}`);
	}
}
