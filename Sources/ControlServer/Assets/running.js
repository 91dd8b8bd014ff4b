// A run in progress, and how the last one ended.
import { post } from "./api.js";
import { cancelRun } from "./available.js";
import { attribute, byId, facts, keyed, make, progress, setIcon, show, text } from "./dom.js";
import { placeFailure } from "./failure.js";
import { runSeconds, serverNow, state, steps, takeRun, verdict } from "./model.js";
import { duration, stopwatch, texts } from "./texts.js";

export function wireRunning(changed) {
  byId("running-cancel").addEventListener("click", () => cancelRun(state.status?.run));
  byId("acknowledge").addEventListener("click", async () => {
    const run = state.status?.run;
    if (!run) return;
    try {
      await post(`/api/database/update/${encodeURIComponent(run.id)}/acknowledge`);
      takeRun({ ...run, acknowledged: true });
      changed(["status", "plan"]);
    } catch {
      text(byId("result-lead"), texts.refusal.acknowledgeFailed);
    }
  });
}

export function renderRunning() {
  const { run } = state.status;
  const words = texts.running;
  const list = steps(run);
  const now = list.find((step) => step.state === "now");
  const fraction = run.fraction ?? null;
  const stopping = state.stopping.has(run.id);
  const message = stopping && run.cancellable ? words.stopping : run.message || texts.doing[run.phase] || texts.waiting;
  const title = (words.titles[run.kind] ?? words.titles.update)(run);
  text(byId("running-title"), title);
  text(byId("running-big"), fraction === null ? now?.label ?? "" : words.percent(fraction));
  attribute(byId("running-big"), "data-words", fraction === null ? "true" : null);
  text(byId("running-elapsed"), stopwatch(runSeconds(run)));
  text(byId("running-message"), message);
  text(byId("running-count"), run.total > 1 ? words.count(run.done ?? 0, run.total) : "");
  progress(byId("running-bar"), fraction, message);
  renderSteps(list);
  renderWait(run);

  const changes = ["update", "rollback", "restore", "recover", "import"].includes(run.kind);
  // A recovery starts before anybody could be asked to keep still, and waits for nobody.
  show(byId("hands"), changes && run.kind !== "recover");
  const offered = run.cancellable && !stopping && state.link !== "lost" && run.kind !== "recover";
  show(byId("running-cancel"), offered);
  text(byId("running-until"), stopping && run.cancellable ? words.stopping
    : run.cancellable ? (changes ? words.until : words.untilOther)
      : run.phase === "restore" ? words.tooLateRestore : words.tooLate);
  return { title, step: now?.label ?? "", fraction, waitingFor: run.waiting_for ?? null };
}

/** Gates that closed before anything was changed: the run waits for them. */
function renderWait(run) {
  const words = texts.running.waits;
  show(byId("waits"), Boolean(run.waiting_for));
  if (!run.waiting_for) return;
  const until = Date.parse(run.waiting_until ?? "");
  text(byId("waits-for"), run.waiting_for);
  text(byId("waits-until"), Number.isNaN(until) ? words.soon : words.left((until - serverNow()) / 1000));
}

function renderSteps(list) {
  keyed(
    byId("steps"), list, (step) => step.key,
    () => make("li", make("i"), make("b"), make("span.sr"), make("small")),
    (node, step) => {
      attribute(node, "data-state", step.state);
      attribute(node, "aria-current", step.state === "now" ? "step" : null);
      text(node.children[1], step.label);
      text(node.children[2], `: ${texts.running.stepStates[step.state]}`);
      text(node.children[3], step.seconds === null ? "" : duration(step.seconds));
    });
}

export function renderResult() {
  const { run } = state.status;
  const words = texts.result;
  const { title, tone, icon, failed } = verdict(run);
  attribute(byId("verdict"), "data-tone", failed && tone !== "bad" ? "warn" : tone);
  setIcon(byId("result-icon"), icon);
  titled(byId("result-title"), title);
  text(byId("result-lead"), run.outcome === "needs_recovery" ? words.person
    : run.ended_at ? words.took(run.ended_at, runSeconds(run)) : "");
  // A stop that was asked for is no failure; its error would only repeat the heading.
  placeFailure(byId("result-alert"), run.error && (failed || tone === "bad") ? run.error : null);
  text(byId("acknowledge"), tone === "good" ? words.done : words.understood);
  const version = state.status.current_version;
  facts(byId("result-facts"), [
    version && { label: words.database, value: version },
    run.snapshot_id && { label: words.snapshot, value: run.snapshot_id, sub: words.snapshotKept },
    run.warnings && { label: words.warning, value: run.warnings.map((entry) => entry.message).join(" ") },
    run.attestations?.length && {
      label: words.word, value: words.wordOf(run.attestations), sub: words.wordBy(run.attestations),
    },
    run.export_folder && { label: words.exported, value: run.export_folder },
    { label: words.job, value: run.id, sub: run.requested_by && `${words.startedBy} ${run.requested_by}` },
  ]);
  const timed = run.phases.filter((entry) => entry.seconds >= 0.05);
  const longest = Math.max(...timed.map((entry) => entry.seconds), 0.001);
  show(byId("result-times"), timed.length > 0);
  keyed(
    byId("times"), timed, (entry, index) => `${entry.phase}${index}`,
    () => make("li", make("span"), make("i"), make("b")),
    (node, entry) => {
      text(node.children[0], texts.phases[entry.phase] ?? entry.phase);
      node.children[1].style.setProperty("--part", entry.seconds / longest);
      text(node.children[2], duration(entry.seconds));
    });
  return title;
}

/** A heading of two sentences breaks between them, not within. */
function titled(node, title) {
  if (node.textContent === title) return;
  const parts = title.split(/(?<=\.) /);
  node.replaceChildren(...parts.flatMap((part, index) => (
    index ? [" ", make("span.sentence", part)] : [make("span.sentence", part)])));
}
