// An update is offered: what it is, whether it can start, and the button that says yes to it.
import { Refusal, post, uuid } from "./api.js";
import { openVouch } from "./attest.js";
import { attribute, byId, keyed, make, progress, prose, setIcon, show, text } from "./dom.js";
import { blockers, isActive, runSeconds, state, takeRun } from "./model.js";
import { answers, renderQuestions } from "./questions.js";
import { estimate, texts } from "./texts.js";

const countdownSeconds = 10;

/** What the action area is doing: null, or `{until, hash, version, inputs, posting}`. */
let start = null;
/** Why the last try did not start: `{title, detail, blockers}`. */
let refusal = null;
let changed = () => {};

export const starting = () => start !== null;

export function wireAvailable(onChange) {
  changed = onChange;
  byId("consent").addEventListener("click", begin);
  byId("question-form").addEventListener("submit", (event) => event.preventDefault());
  byId("countdown-cancel").addEventListener("click", () => stopCountdown(null));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && start && !start.posting) stopCountdown(null);
  });
  byId("rehearse-go").addEventListener("click", rehearse);
  byId("rehearse-cancel").addEventListener("click", () => cancelRun(state.status?.run));
}

function begin() {
  if (start || blockers().length) return;
  const inputs = answers();
  if (!inputs) return;
  refusal = null;
  start = {
    until: performance.now() + countdownSeconds * 1000, hash: state.plan.hash,
    version: state.plan.to_version, inputs, key: uuid(), posting: false,
  };
  start.timer = setInterval(tick, 200);
  changed();
  byId("countdown-cancel").focus();
}

function tick() {
  if (!start || start.posting) return;
  const { link, plan } = state;
  if (link === "lost") return stopCountdown(texts.countdown.stoppedLink);
  if (!plan || plan.hash !== start.hash) return stopCountdown(texts.countdown.stoppedPlan);
  if (blockers().length) return stopCountdown(texts.countdown.stoppedGate);
  if (performance.now() >= start.until) return void send();
  renderCount();
}

function stopCountdown(reason) {
  if (!start) return;
  clearInterval(start.timer);
  start = null;
  refusal = reason ? { title: texts.refusal.title, detail: reason } : null;
  changed();
  if (!reason && byId("consent").offsetParent) byId("consent").focus();
}

async function send() {
  const own = start;
  own.posting = true;
  clearInterval(own.timer);
  changed();
  const headers = { "If-Match": `"${own.hash}"`, "Idempotency-Key": own.key };
  for (let attempt = 0; ; attempt += 1) {
    try {
      takeRun(await post("/api/database/update", { consent: true, inputs: own.inputs }, headers));
      break;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // The same key makes asking again harmless, so a lost answer never starts two runs.
      if (!error.problem && attempt < 2 && !isActive(state.status?.run)) {
        await new Promise((resolve) => setTimeout(resolve, 1000 * (attempt + 1)));
        continue;
      }
      if (!isActive(state.status?.run)) refusal = told(error, texts.refusal.title);
      break;
    }
  }
  start = null;
  changed(["status", "plan"]);
}

function told(error, title) {
  const problem = error.problem;
  if (!problem) return { title, detail: texts.refusal.noAnswer };
  return { title, detail: problem.detail ?? problem.title, blockers: problem.blockers };
}

async function rehearse() {
  const inputs = answers();
  if (!inputs) return;
  refusal = null;
  try {
    takeRun(await post("/api/database/rehearse", { inputs }));
  } catch (error) {
    refusal = told(error, texts.refusal.title);
  }
  changed(["status"]);
}

export async function cancelRun(run) {
  if (!run || state.stopping.has(run.id)) return;
  state.stopping.add(run.id);
  changed();
  try {
    takeRun(await post(`/api/database/update/${encodeURIComponent(run.id)}/cancel`));
  } catch (error) {
    state.stopping.delete(run.id);
    refusal = told(error, texts.refusal.cancelFailed);
  }
  changed(["status"]);
}

export function renderAvailable() {
  const { status, plan } = state;
  const words = texts.available;
  const from = plan?.from_version ?? status.current_version ?? "0";
  const to = plan?.to_version ?? status.target_version ?? "";
  text(byId("from"), from);
  text(byId("to"), to);
  const long = from.length + to.length > 6 ? "true" : null;
  attribute(byId("versions"), "data-long", long);
  attribute(byId("stops"), "data-long", long);

  const seconds = plan?.expected_seconds ?? null;
  text(byId("time-value"), !plan ? words.loading : seconds === null ? words.timeUnknown : capital(estimate(seconds)));
  text(byId("time-sub"), !plan ? "" : seconds === null ? words.timeUnknownSub(plan.timeout_seconds)
    : plan.worst_case_seconds != null ? words.worst(plan.worst_case_seconds) : words.measured);
  text(byId("disk-value"), plan ? words.diskNeed(plan.needed_bytes) : words.loading);
  text(byId("disk-sub"), plan ? words.diskHave(plan.available_bytes) : "");
  text(byId("snapshot-value"), words.snapshotFirst);
  text(byId("snapshot-sub"), status.latest_backup
    ? words.snapshotNewest(status.latest_backup.created_at) : words.snapshotNone);

  renderQuestions(plan?.inputs ?? [], Boolean(start));
  renderStops(from, plan?.migrations ?? status.pending_migrations);
  renderRehearsal(seconds);
  renderAction(to, seconds);
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function renderStops(from, migrations) {
  const here = { version: from, description: texts.available.now, here: true };
  keyed(
    byId("stops"), [here, ...migrations], (stop) => (stop.here ? "here" : `v${stop.version}`),
    () => make("li", make("b"), make("p"), make("small")),
    (node, stop) => {
      attribute(node, "data-here", stop.here ? "true" : null);
      const breaks = stop.incompatible_changes ?? [];
      show(node.children[2], breaks.length > 0);
      text(node.children[2], breaks.length ? texts.available.incompatible : "");
      attribute(node.children[2], "title", breaks.join(" ") || null);
      text(node.children[0], stop.version);
      text(node.children[1], stop.description || stop.name || texts.available.noDescription);
    });
}

function renderRehearsal(seconds) {
  const { run } = state.status;
  const words = texts.rehearse;
  const own = run?.kind === "rehearse" ? run : null;
  const running = isActive(own);
  const found = own?.outcome === "finished" && own.rehearsal
    && (!state.plan || own.rehearsal.plan_hash === state.plan.hash) ? own.rehearsal : null;
  const offer = !running && !found && seconds === null && state.plan !== null && state.link !== "lost" && !start;
  show(byId("rehearse"), running || offer || Boolean(found));
  show(byId("rehearse-offer"), offer);
  show(byId("rehearse-run"), running);
  show(byId("rehearse-done"), Boolean(found) && !running);
  if (offer) {
    const short = state.plan.available_bytes < state.plan.needed_bytes
      ? texts.blocked.disk(state.plan.needed_bytes, state.plan.available_bytes) : null;
    text(byId("rehearse-text"), short ? words.blocked(`${short.title}.`) : words.offer);
    show(byId("rehearse-go"), !short);
  }
  if (found) text(byId("rehearse-done"), words.done(found));
  if (running) {
    const message = state.stopping.has(own.id) ? texts.running.stopping : own.message || words.running;
    const fraction = own.fraction ?? null;
    text(byId("rehearse-message"), message);
    text(byId("rehearse-percent"), fraction === null ? "" : texts.running.percent(fraction));
    progress(byId("rehearse-bar"), fraction, message);
    show(byId("rehearse-cancel"), own.cancellable && !state.stopping.has(own.id) && runSeconds(own) > 1);
  }
}

function renderAction(version, seconds) {
  const found = blockers();
  show(byId("go"), !start && !found.length);
  show(byId("countdown"), Boolean(start) && !start.posting);
  show(byId("starting"), Boolean(start?.posting));
  show(byId("blocked"), !start && found.length > 0);
  text(byId("consent"), texts.available.consent(version, seconds));
  renderCount();

  if (found.length && !start) {
    const gates = found.filter((entry) => entry.kind === "gate").length;
    const waiting = found.every((entry) => entry.kind === "wait");
    attribute(byId("blocked"), "data-tone", waiting ? "wait" : "bad");
    setIcon(byId("blocked-icon"), waiting ? "wait" : found.some((e) => e.state === "violated") || !gates
      ? "violated" : "unknown");
    text(byId("blocked-title"), gates === found.length ? texts.blocked.conditions(gates) : texts.blocked.other);
    renderReasons(byId("blocked-list"), found);
  }

  const box = byId("refusal");
  if (refusal) {
    text(byId("refusal-title"), refusal.title);
    text(byId("refusal-text"), refusal.detail);
    renderReasons(byId("refusal-list"), (refusal.blockers ?? []).map((entry) => (
      { title: entry.detail, clear: entry.clear })));
  }
  show(box, Boolean(refusal));
}

function renderCount() {
  if (!start || start.posting) return;
  const left = Math.max(1, Math.ceil((start.until - performance.now()) / 1000));
  text(byId("count-label"), texts.countdown.label);
  text(byId("count"), texts.countdown.seconds(left));
}

function renderReasons(list, reasons) {
  keyed(
    list, reasons, (reason, index) => reason.id ?? index,
    () => {
      const button = make("button.button.quiet", texts.vouch.go);
      button.type = "button";
      return make("li", make("b"), make("span"), button);
    },
    (node, reason) => {
      const [title, clear, button] = node.children;
      text(title, reason.title);
      prose(clear, reason.clear);
      show(clear, Boolean(reason.clear));
      show(button, Boolean(reason.vouch));
      button.onclick = () => openVouch(reason.vouch);
    });
}

export const forgetRefusal = () => {
  refusal = null;
};

