// What is known, and what follows from it. No page and no network here.
import { texts } from "./texts.js";

const phaseOrder = [
  "plan", "safety", "quiesce", "snapshot", "rehearse", "apply", "verify", "commit", "restore",
  "resume", "prove", "done",
];

export const state = {
  status: null,
  /** The newest `GET /api/safety`: locks, activities and sources, beside the gates in `status`. */
  safety: null,
  /** When `status.gates` were heard, so that ages go on counting. */
  gatesAt: 0,
  plan: null,
  planProblem: null,
  link: "connecting",
  heardAt: null,
  seq: null,
  /** Server's clock minus ours, in milliseconds: a tablet's clock is often wrong. */
  clockOffset: 0,
  /** Run ids that this page asked to stop. */
  stopping: new Set(),
};

export const serverNow = () => Date.now() + state.clockOffset;

export function takeStatus(status) {
  status.run = merged(state.status?.run, status.run);
  state.status = status;
  if (!status.needs_update) state.plan = null;
  state.gatesAt = Date.now();
}

export function takeSafety(safety) {
  state.safety = safety;
  if (!state.status) return;
  state.status.gates = safety.gates;
  state.status.is_safe_to_migrate = safety.is_safe;
  state.status.safety_issues = safety.blocking_reasons;
  state.gatesAt = Date.now();
}

export function takeRun(run) {
  if (state.status) state.status.run = merged(state.status.run, run);
}

/** Two accounts of the same run can arrive out of order; progress and endings only move forward. */
function merged(known, next) {
  if (!next || known?.id !== next.id) return next ?? null;
  if (known.outcome && !next.outcome) return known;
  if (known.acknowledged) next.acknowledged = true;
  if (known.fraction != null) next.fraction = Math.max(known.fraction, next.fraction ?? 0);
  return next;
}

/** Takes one event of the stream; returns what the caller should fetch anew. */
export function takeEvent(event) {
  const fresh = event.type === "state";
  // A state tells everything up to its number; what is replayed from before it would turn time back.
  if (!fresh && state.seq !== null && event.seq <= state.seq) return [];
  if (typeof event.seq === "number") state.seq = event.seq;
  const at = Date.parse(event.at ?? "");
  if (!Number.isNaN(at) && fresh) state.clockOffset = at - Date.now();
  const run = state.status?.run;
  switch (event.type) {
    case "state":
      if (event.status) takeStatus(event.status);
      return ["plan", "safety"];
    case "phase":
    case "progress":
      if (!state.status) return [];
      if (!run || run.id !== event.run) return run && !event.run ? [] : ["status"];
      if (run.outcome) return [];
      if (event.phase) enter(run, event.phase, event.at);
      if (event.fraction != null) run.fraction = Math.max(run.fraction ?? 0, event.fraction);
      if (event.message || event.type === "phase") run.message = event.message;
      run.done = event.done;
      run.total = event.total;
      // Until when it waits is in its full account.
      return ["waiting", "going on"].includes(event.step) ? ["status"] : [];
    case "gate":
      if (event.safety) takeSafety(event.safety);
      return [];
    case "result":
      if (event.result) takeRun(event.result);
      return ["status", "plan"];
    case "update_available":
      return ["status", "plan"];
    default:
      return [];
  }
}

function enter(run, phase, at) {
  if (phaseOrder.indexOf(phase) <= phaseOrder.indexOf(run.phase)) return;
  const now = Date.parse(at ?? "");
  // The seconds of a finished phase come with the next full account; until then they are ours.
  if (run.phase && run.phaseAt && now > run.phaseAt && !run.phases.some((p) => p.phase === run.phase)) {
    run.phases.push({ phase: run.phase, seconds: (now - run.phaseAt) / 1000 });
  }
  run.phaseAt = now;
  run.phase = phase;
  if (phaseOrder.indexOf(phase) >= phaseOrder.indexOf("commit")) run.cancellable = false;
}

export const isActive = (run) => Boolean(run) && !run.outcome;

/** Which of the stages the Update view shows. */
export function stage() {
  const { status } = state;
  if (!status) return "connecting";
  const { run } = status;
  const rehearsal = run?.kind === "rehearse";
  const offered = status.needs_update && status.adopted && !status.problem && status.mode === "normal";
  if (isActive(run) && !(rehearsal && offered)) return "running";
  if (run?.outcome && !run.acknowledged && !(rehearsal && run.outcome === "finished")) return "result";
  if (status.mode === "recovery" || !status.adopted || status.problem) return "problem";
  return status.needs_update ? "available" : "current";
}

/** Why an update can't be started now: `{title, clear}` each; empty when it can. */
export function blockers() {
  const { status, plan, link } = state;
  if (link === "lost") return [{ kind: "other", ...texts.blocked.offline }];
  if (isActive(status.run)) return [{ kind: "wait", ...texts.blocked.rehearsing }];
  if (state.planProblem) {
    const { detail, title, blockers: reasons } = state.planProblem;
    return [{ kind: "other", title: detail ?? title, clear: reasons?.[0]?.clear }];
  }
  if (!plan) return [{ kind: "wait", ...texts.blocked.loading }];
  const technician = plan.migrations.find((step) => step.needs_technician);
  if (technician) return [{ kind: "other", ...texts.blocked.technician(technician.description) }];
  const gates = status.gates.filter((gate) => gate.required && gate.state !== "satisfied");
  const found = gates.map((gate) => ({
    kind: "gate", id: gate.id, state: gate.state, title: gate.reason || gate.title, clear: gate.how_to_clear,
    vouch: gate.attestable?.length ? gate.id : null,
  }));
  const diskNamed = gates.some((gate) => /disk|space/.test(gate.id));
  if (plan.available_bytes < plan.needed_bytes && !diskNamed) {
    found.push({ kind: "other", ...texts.blocked.disk(plan.needed_bytes, plan.available_bytes) });
  }
  if (!found.length && !status.is_safe_to_migrate) {
    for (const issue of status.safety_issues) found.push({ kind: "gate", title: issue });
  }
  return found;
}

const stepSets = {
  update: [
    ["snapshot", ["plan", "safety", "quiesce", "snapshot"]], ["rehearse", ["rehearse"]],
    ["apply", ["apply"]], ["verify", ["verify"]], ["finish", ["commit", "resume", "prove", "done"]],
  ],
  rehearse: [
    ["snapshot", ["plan", "safety", "quiesce", "snapshot"]], ["rehearse", ["rehearse", "apply"]],
    ["verify", ["verify"]], ["finish", ["commit", "resume", "prove", "done"]],
  ],
  restore: [
    ["prepare", ["plan", "safety", "quiesce", "snapshot"]], ["restore", ["rehearse", "apply", "restore"]],
    ["verify", ["verify"]], ["finish", ["commit", "resume", "prove", "done"]],
  ],
  snapshot: [
    ["prepare", ["plan", "safety", "quiesce"]], ["snapshot", ["snapshot"]],
    ["finish", ["rehearse", "apply", "verify", "commit", "restore", "resume", "prove", "done"]],
  ],
  verify: [
    ["verify", ["plan", "safety", "quiesce", "snapshot", "rehearse", "apply", "verify"]],
    ["finish", ["commit", "restore", "resume", "prove", "done"]],
  ],
};

/** The named steps of a run with their states and the seconds they took. */
export function steps(run) {
  const kind = run.kind === "recover" ? "restore" : run.kind;
  let sets = stepSets[kind] ?? stepSets.update;
  // A run that has to put the old state back says so in the place of its last step.
  const puttingBack = ["update", "rollback"].includes(kind)
    && (run.phase === "restore" || run.phases.some((entry) => entry.phase === "restore"));
  if (puttingBack) {
    sets = [...sets.slice(0, -1), ["restore", [...sets.at(-1)[1], "restore"]]];
  }
  const current = sets.findIndex(([, phases]) => phases.includes(run.phase ?? "plan"));
  return sets.map(([name, phases], index) => {
    const own = run.phases.filter((entry) => phases.includes(entry.phase));
    return {
      key: index,
      label: texts.steps[name],
      state: index < current ? "done" : index === current ? "now" : "todo",
      seconds: index < current && own.length ? own.reduce((sum, entry) => sum + entry.seconds, 0) : null,
    };
  });
}

export function runSeconds(run) {
  const end = run.ended_at ? Date.parse(run.ended_at) : serverNow();
  const seconds = (end - Date.parse(run.started_at)) / 1000;
  return Number.isNaN(seconds) ? 0 : Math.max(0, seconds);
}

/** How a finished run is told: heading, tone and icon. */
export function verdict(run) {
  const { titles } = texts.result;
  const good = (title) => ({ title, tone: "good", icon: "satisfied" });
  const calm = (title) => ({ title, tone: "calm", icon: "back" });
  const bad = (title) => ({ title, tone: "bad", icon: "violated" });
  const failed = Boolean(run.error);
  const stopped = run.error?.code === "CHK-STOPPED";
  if (run.kind === "rehearse" && failed) {
    return stopped ? calm(titles.cancelled(null)) : bad(titles.rehearsalFailed);
  }
  switch (run.outcome) {
    case "committed":
      return good(
        { recover: titles.recovered, rollback: titles.rolledBack }[run.kind]?.(run.to_version)
          ?? titles.updated(run.to_version));
    case "rolled_back":
      return stopped && state.stopping.has(run.id)
        ? calm(titles.cancelled(run.from_version)) : { ...calm(titles.putBack(run.from_version)), failed };
    case "refused":
      return stopped ? calm(titles.cancelled(run.from_version)) : { ...calm(titles.refused(run.from_version)), icon: "advice", failed };
    case "restored":
      return run.kind === "restore"
        ? good(titles.restored(run.to_version)) : { ...calm(titles.putBack(run.from_version)), failed };
    case "nothing_to_do":
      return good(titles.nothing);
    case "finished":
      return good(
        { rehearse: titles.rehearsed, snapshot: titles.snapshot, verify: titles.verified }[run.kind]
          ?? titles.finished);
    default:
      return { ...bad(titles.needsPerson), failed: true };
  }
}
