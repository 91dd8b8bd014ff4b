// Wires the page: what arrives changes the state, and the state is drawn in place.
import { get, stream } from "./api.js";
import { forgetRefusal, renderAvailable, starting, wireAvailable } from "./available.js";
import { renderConditions, wireConditions } from "./conditions.js";
import { attribute, byId, facts, keyed, make, setIcon, show, text } from "./dom.js";
import { placeFailure } from "./failure.js";
import { refreshHistory, refreshSnapshots } from "./lists.js";
import { isActive, stage, state, takeEvent, takeSafety, takeStatus } from "./model.js";
import { renderResult, renderRunning, wireRunning } from "./running.js";
import { fillTexts, moment, texts } from "./texts.js";

const pollEvery = 5000;
const graceBeforeLost = 2500;

let socketOpen = false;
let shownStage = null;
let drawn = 0;
let drawTimer = null;
let connection = null;

// ---- Drawing

/** Draws soon: at once when the page was quiet, at most four times a second when much arrives. */
function draw() {
  if (drawTimer !== null) return;
  const wait = Math.max(0, 250 - (Date.now() - drawn));
  drawTimer = setTimeout(() => {
    drawTimer = null;
    render();
  }, wait);
}

function render() {
  drawn = Date.now();
  renderLink();
  const now = starting() && isActive(state.status?.run) !== true ? "available" : stage();
  const before = shownStage;
  const entered = now !== before;
  const focus = document.activeElement;
  const held = entered && before !== null
    && (focus === document.body || byId(`stage-${before}`).contains(focus));
  if (entered) {
    for (const node of document.querySelectorAll(".stage")) show(node, node.id === `stage-${now}`);
    shownStage = now;
    if (now !== "available") forgetRefusal();
    if (now === "running") Object.assign(announced, { step: null, quarter: 0, waitingFor: null });
  }
  let title = texts.nav.update;
  if (now === "available") {
    renderAvailable();
    title = `${texts.available.eyebrow}: ${byId("from").textContent} → ${byId("to").textContent}`;
  } else if (now === "running") {
    const told = renderRunning();
    title = told.fraction === null ? told.title : `${texts.running.percent(told.fraction)} · ${told.title}`;
    announce(told);
  } else if (now === "result") {
    title = renderResult();
  } else if (now === "current") {
    renderCurrent();
    title = texts.current.title;
  } else if (now === "problem") {
    renderProblem();
    title = byId("problem-title").textContent;
  } else {
    text(byId("connecting-lead"), state.link === "lost" ? texts.connecting.failed : texts.connecting.lead);
  }
  renderConditions(render);
  if (state.status) text(byId("foot"), texts.foot(state.status));
  show(byId("nav-dot"), view() !== "update" && (now === "running" || now === "result"));
  document.title = `${title} · chock`;
  // The result is told to everybody; another change moves the focus only if it was in what has gone.
  if (entered && before !== null && view() === "update" && (now === "result" || held)) {
    const heading = byId(`stage-${now}`).querySelector("h1");
    heading.focus({ preventScroll: true });
    scrollTo({ top: 0 });
  }
}

function renderCurrent() {
  const { status } = state;
  const words = texts.current;
  text(byId("current-lead"), words.lead(status.current_version));
  const newest = status.latest_backup;
  const check = status.integrity_check;
  facts(byId("current-facts"), [
    newest
      ? { label: words.snapshot, value: capital(moment(newest.created_at)), sub: words.size(newest) }
      : { label: words.snapshot, value: words.snapshotNone },
    check
      ? { label: words.check, value: capital(moment(check.finished_at)), sub: check.problem ? words.checkBad : words.checkGood }
      : { label: words.check, value: words.checkNone },
  ]);
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function renderProblem() {
  const { status } = state;
  const words = texts.problem;
  const recovery = status.mode === "recovery";
  const unadopted = !recovery && !status.adopted;
  attribute(byId("problem-verdict"), "data-tone", recovery ? "bad" : unadopted ? "calm" : "warn");
  setIcon(byId("problem-icon"), recovery ? "violated" : "advice");
  text(byId("problem-title"), recovery ? words.recovery : unadopted ? words.unadopted : words.title);
  text(byId("problem-lead"), recovery ? words.recoveryLead : unadopted ? words.unadoptedLead : words.lead);
  const todo = recovery ? words.recoverySteps : unadopted ? words.unadoptedSteps : [];
  keyed(
    byId("problem-steps"), todo, ([, command]) => command,
    ([label, command]) => make("li", make("span", label), make("code", command)));
  show(byId("problem-steps"), todo.length > 0);
  const own = status.problem && !(unadopted && status.problem.code === "CHK-UNADOPTED") ? status.problem : null;
  placeFailure(byId("problem-failure"), own);
  facts(byId("problem-facts"), [
    status.current_version && { label: texts.result.database, value: status.current_version },
  ]);
}

function renderLink() {
  const { link, heardAt } = state;
  attribute(byId("link"), "data-link", link);
  text(byId("link-text"), texts.link[link]);
  show(byId("lost"), link === "lost");
  if (link === "lost") {
    text(byId("lost"), texts.link.lostText(heardAt === null ? null : (Date.now() - heardAt) / 1000));
  }
}

/** For a screen reader: a new step, and each quarter. Not every percent. */
const announced = { step: null, quarter: 0, waitingFor: null };
function announce({ step, fraction, waitingFor }) {
  const quarter = fraction === null ? 0 : Math.floor(fraction * 4);
  const words = [];
  if (step !== announced.step) words.push(texts.running.announce(step));
  if (quarter > announced.quarter && quarter < 4) words.push(texts.running.quarter(quarter * 25));
  if (waitingFor !== announced.waitingFor) {
    words.push(waitingFor ? texts.running.announceWait(waitingFor) : texts.running.announceOn);
  }
  if (words.length) text(byId("announce"), words.join(", "));
  announced.waitingFor = waitingFor;
  announced.step = step;
  announced.quarter = quarter;
}

// ---- Views

const view = () => {
  const name = location.hash.slice(1);
  return name === "history" || name === "snapshots" ? name : "update";
};

function showView(moved) {
  const name = view();
  for (const node of document.querySelectorAll(".view")) show(node, node.id === `view-${name}`);
  for (const link of document.querySelectorAll("#nav a")) {
    attribute(link, "aria-current", link.hash === `#${name}` ? "page" : null);
  }
  refreshView();
  if (moved) {
    scrollTo({ top: 0 });
    const heading = [...byId(`view-${name}`).querySelectorAll("h1")].find((node) => node.offsetParent);
    heading?.focus({ preventScroll: true });
  }
  draw();
}

function refreshView() {
  if (view() === "history") refreshHistory();
  if (view() === "snapshots") refreshSnapshots();
}

// ---- Arriving

async function refresh(what = []) {
  const tasks = new Set(what);
  try {
    if (tasks.has("status")) takeStatus(await get("/api/database/status"));
    if (tasks.has("safety")) takeSafety(await get("/api/safety"));
    if (state.status && !socketOpen) state.link = "polling";
  } catch (error) {
    if (!error.problem) return contactFailed();
  }
  draw();
  const run = state.status?.run;
  // While an update is applied its plan is half true; it is asked for again when the run has ended.
  const steady = !isActive(run) || run.kind === "rehearse";
  if (tasks.has("plan") && state.status?.needs_update && steady) await refreshPlan();
}

async function refreshPlan() {
  try {
    state.plan = await get("/api/database/plan");
    state.planProblem = null;
  } catch (error) {
    if (error.problem) {
      state.plan = null;
      state.planProblem = error.problem;
    }
  }
  draw();
}

function contactFailed() {
  if (state.heardAt === null || Date.now() - state.heardAt > graceBeforeLost) state.link = "lost";
  if (socketOpen) connection.retry();
  draw();
}

function onEvent(event) {
  const wanted = takeEvent(event);
  if (event.type === "result") refreshView();
  if (event.type === "phase" || event.type === "result" || event.type === "gate") render();
  else draw();
  if (wanted.length) refreshSoon(wanted);
}

const soon = { wanted: new Set(), timer: null };

/** One request for what a burst of events asks for. */
function refreshSoon(wanted) {
  for (const what of wanted) soon.wanted.add(what);
  soon.timer ??= setTimeout(() => {
    const all = [...soon.wanted];
    soon.wanted.clear();
    soon.timer = null;
    refresh(all);
  }, 100);
}

function onSocket(open) {
  if (open === socketOpen && (state.link === "live") === open) return;
  socketOpen = open;
  if (open) {
    state.link = "live";
    draw();
  } else {
    // Silent for the moment: most breaks are over before anybody needs to know.
    setTimeout(() => {
      if (!socketOpen) refresh(["status"]);
    }, 600);
  }
}

/** Fresh ages and a sign of life every five seconds; everything, while there is no socket. */
function poll() {
  if (document.hidden) return;
  refresh(socketOpen ? ["safety"] : ["status", "plan", "safety"]);
}

fillTexts(document);
const onChange = (wanted) => {
  render();
  if (wanted) refresh(wanted);
};
wireAvailable(onChange);
wireRunning(onChange);
wireConditions();
addEventListener("hashchange", () => showView(true));
showView(false);
connection = stream(onEvent, onSocket);
setInterval(poll, pollEvery);
setInterval(() => {
  if (!document.hidden) draw();
}, 1000);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  draw();
  if (!socketOpen) connection.retry();
  poll();
});
