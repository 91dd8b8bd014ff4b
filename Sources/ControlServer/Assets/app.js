import { Refusal, get, stream } from "./api.js";
import { conditions } from "./coach.js";
import { byId, h, icon, patch } from "./dom.js";
import { forgetRefusal, homeView, obstacles, shownStage } from "./home.js";
import { can, isActive, onChange, serverNow, stage, state, takeEvent, takeSafety, takeStatus } from "./model.js";
import { moreView, pairPart, refreshMore } from "./more.js";
import { historyView, progressOf, resultView, runningView, snapshotsView } from "./run.js";
import { age, language, languages, speak, t } from "./texts.js";

const pollEvery = 5000;
const graceBeforeLost = 2500;
const everything = ["session", "status", "safety", "plan", "lists"];
const views = ["update", "coach", "history", "snapshots", "more"];

let isOpen = false;
let polls = 0;
let connection = null;
let drawn = 0;
let drawTimer = null;
let shown = { view: null, stage: null };

const view = () => views.find((name) => `#${name}` === location.hash) ?? "update";

// At most four times a second.
function draw() {
	drawTimer ??= setTimeout(render, Math.max(0, 250 - (Date.now() - drawn)));
}

function render() {
	clearTimeout(drawTimer);
	drawTimer = null;
	drawn = Date.now();
	const now = { view: view(), stage: shownStage() };
	const before = shown;
	const entered = before.view !== null && (now.view !== before.view || (now.view === "update" && now.stage !== before.stage));
	const focus = document.activeElement;
	const hadFocus = byId("main").contains(focus);
	shown = now;
	if (now.stage !== "available") forgetRefusal();

	patch(byId("skip"), [t.skip]);
	patch(byId("top"), bar(now));
	const { link, heardAt } = state;
	patch(byId("main"), [link === "lost" && h("p.lost", { key: "lost" }, heardAt === null ? t.link.lead : t.link.last(age((Date.now() - heardAt) / 1000))),
		h("fieldset", { key: "page", role: "none", disabled: link === "lost" }, page(now))]);
	patch(byId("foot"), foot());
	const run = state.status?.run;
	const told = now.stage === "running" ? progressOf(run) : null;
	announce(told);
	const heading = byId("main").querySelector("h1");
	document.title = `${told?.fraction ? `${Math.floor(told.fraction * 100)}% · ` : ""}${told?.title ?? heading?.textContent ?? t.views[now.view]} · chock`;
	// Another change than a result moves the focus only if it was in what has gone.
	if (entered && (now.view !== before.view || now.stage === "result" || hadFocus || focus === document.body)) {
		heading?.focus({ preventScroll: true });
		scrollTo({ top: 0 });
	} else if (hadFocus && document.activeElement === document.body) heading?.focus({ preventScroll: true });
}

function bar({ view: current, stage: now }) {
	const { link } = state;
	const { label, ...themes } = t.theme;
	return [
		h("a.brand", { href: "#update" }, icon("mark", "mark"), h("span", "chock")),
		h("nav", { "aria-label": "chock" }, views.map((name) => h("a", { href: `#${name}`, "aria-current": name === current && "page", key: name }, t.views[name],
			name === "update" && current !== name && ["running", "result"].includes(now) && h("i")))),
		state.session?.role !== "none" && h("p.link", { "data-link": link }, h("i", { "aria-hidden": "true" }), h("span", t.link[link])),
		picker("theme", label, theme.choice, themes, (value) => { theme.choose(value); render(); }),
	];
}

const picker = (id, label, value, options, choose) => h("label.pick", { key: id },
	h("span.sr", label), id === "theme" && icon("theme"),
	h("select", { id, value, onchange: (event) => choose(event.target.value) },
		Object.entries(options).map(([name, words]) => h("option", { value: name, lang: id === "language" && name }, words))));

function page({ view: current, stage: now }) {
	if (state.session?.role === "none") return h("div.list", pairPart());
	if (!state.status || !state.session) return h("div.list", homeView());
	const stages = { running: runningView, result: resultView };
	const others = { coach: () => conditions(true), history: historyView, snapshots: snapshotsView, more: moreView };
	if (others[current]) return h("div.list", { key: current }, others[current]());
	return h("div.columns", { key: "update" }, h("div.stage", { key: now }, (stages[now] ?? homeView)()), conditions(false));
}

const foot = () => [
	h("p", state.status && [`chock ${state.status.chock_version}`, state.status.environment, state.status.database_path].join(" · ")),
	picker("language", t.language, language, languages, (chosen) => speak(chosen).finally(render))];

// Phases, quarters and waiting; what stands in the way; a lost connection.
function announce(progress) {
	const { step, fraction, waitingFor } = progress ?? {};
	const quarter = Math.floor((fraction ?? 0) * 4) * 25;
	const words = [state.link === "lost" && t.blocked.offline, step, quarter > 0 && quarter < 100 && t.running.percent(quarter), waitingFor && `${t.running.waits} ${waitingFor}`,
		shown.stage === "available" && obstacles()].filter(Boolean).join(", ");
	patch(byId("announce"), [words]);
}

async function refreshSession() {
	state.session = await get("session");
	clearTimeout(refreshSession.timer);
	const left = Date.parse(state.session.expires_at) - serverNow();
	if (left < 864e5) refreshSession.timer = setTimeout(() => refresh(["session"]), Math.max(1000, left + 500));
	if (state.session.role === "none") return;
	connection ??= stream(onEvent, onSocket);
	if (view() === "more") refreshMore();
}

let asks = 0;
const taken = { plan: 0, lists: 0 };

// Answers overtake each other; an older one does not replace a newer.
function take(what, asked, found) {
	if (asked < taken[what]) return;
	taken[what] = asked;
	Object.assign(state, found);
}

async function refresh(what) {
	const tasks = new Set(what);
	const asked = (asks += 1);
	try {
		if (tasks.has("session")) await refreshSession();
		if (!can("viewer")) return draw();
		// The state first: the gates are part of it.
		const [status, safety] = await Promise.all(
			["database/status", "safety"].map((path) => tasks.has(path.split("/").at(-1)) && get(path)));
		const wasActive = isActive(state.status?.run);
		if (status) takeStatus(status);
		if (wasActive && !isActive(state.status.run)) tasks.add("plan").add("lists");
		if (safety) takeSafety(safety);
		if (state.status && !isOpen) state.link = "polling";
	} catch (error) {
		if (!(error instanceof Refusal)) throw error;
		if (!error.problem) return contactFailed(error.isLate);
		// Somebody has removed this device.
		if (!tasks.has("session") && [401, 403].includes(error.problem.status)) return refresh(["session"]);
	}
	draw();
	// While an update is applied its plan is half true.
	const run = state.status?.run;
	const isSteady = !isActive(run) || run.kind === "rehearse";
	if (tasks.has("plan") && state.status?.needs_update && isSteady) {
		await get("database/plan").then((plan) => take("plan", asked, { plan, planProblem: null }), ({ problem }) => {
			if (problem || !state.plan) take("plan", asked, { plan: null, planProblem: problem ?? { title: t.noAnswer } });
		});
	}
	if (tasks.has("lists")) {
		await Promise.all([get(`database/history?limit=${state.runLimit}`), get("database/backups")]).then(
			([runs, { snapshots, kept_days: keptDays }]) => take("lists", asked, { runs, snapshots, keptDays }),
			() => setTimeout(refresh, pollEvery, ["lists"]));
	}
	draw();
}

// Late is not lost: a busy device answers when it can.
function contactFailed(isLate) {
	if (state.heardAt === null || Date.now() - state.heardAt > (isLate ? 15000 : graceBeforeLost)) state.link = "lost";
	if (isOpen) connection?.retry();
	draw();
}

function onEvent(event) {
	const version = state.status?.chock_version;
	const wanted = takeEvent(event);
	if (version && version !== state.status.chock_version) return location.reload();
	if (["phase", "result", "gate"].includes(event.type)) render();
	else draw();
	if (wanted.length) refreshSoon(wanted);
}

const soon = { wanted: new Set(), timer: null };

function refreshSoon(wanted) {
	for (const what of wanted) soon.wanted.add(what);
	soon.timer ??= setTimeout(() => {
		refresh(soon.wanted);
		soon.wanted.clear();
		soon.timer = null;
	}, 100);
}

function onSocket(open) {
	if (open === isOpen && (state.link === "live") === open) return;
	isOpen = open;
	if (open) {
		state.link = "live";
		return draw();
	}
	// Silent for the moment: most breaks are over before anybody needs to know.
	setTimeout(() => { if (!isOpen) refresh(["status"]); }, 600);
}

// Ages every 5 s, the database every 15 (no event tells when it breaks); all, without a socket.
function poll() {
	if (document.hidden) return;
	polls += 1;
	refresh(!state.session ? everything : isOpen && stage() !== "result" && polls % 3 ? ["safety"] : ["status", "plan", "safety"]);
}

const { theme } = window;
await speak();
onChange((wanted) => {
	render();
	if (wanted?.length) refresh(wanted.includes("session") ? everything : wanted);
});
addEventListener("hashchange", () => {
	render();
	if (view() === "more") refreshMore();
	else if (view() !== "update") refresh([view() === "coach" ? "safety" : "lists"]);
});
render();
refresh(everything);
setInterval(poll, pollEvery);
setInterval(() => { if (!document.hidden) draw(); }, 1000);
document.addEventListener("visibilitychange", () => {
	if (document.hidden) return;
	if (!isOpen) connection?.retry();
	polls = -1;
	poll();
});
