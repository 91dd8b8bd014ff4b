import { post, put, refusalOf, remove } from "./api.js";
import { ask, told } from "./dialog.js";
import { alarm, button, h, heading, icon } from "./dom.js";
import { can, changed, isActive, runSeconds, state, takeRun, undo, verdict } from "./model.js";
import { askRestore, restoreBlocked } from "./run.js";
import { bytes, duration, moment, said, t } from "./texts.js";

let failure = null;

export const row = (key, tone, picture, title, big, status, sub, ...more) =>
	h("li.row", { key, "data-tone": tone }, icon(picture), h("b", title), h("span.row-big", big), h("span.row-state", status),
		h("div", h("p.sub", sub.filter(Boolean).join(" · ")), more));

const list = (title, words, items, ...more) => [
	heading(title), h("p.lead", words.lead), more,
	items?.length > 0 ? h("ol.rows", items) : h("p.lead", items && words.empty)];

export function historyView() {
	const words = t.history;
	return list(t.views.history, words, state.runs?.map((run) => {
		const { tone, icon: picture } = isActive(run) ? { tone: "calm", icon: "wait" } : verdict(run);
		const isStopped = run.error?.code === "CHK-STOPPED";
		const [from, to] = [run.from_version, run.to_version];
		return row(run.id, tone, picture, t.kinds[run.kind] ?? run.kind, from && to && from !== to ? `${from} → ${to}` : to ?? from ?? "",
			t.outcomes[isActive(run) ? "running" : isStopped ? "cancelled" : run.outcome] ?? run.outcome,
			[moment(run.started_at), run.ended_at && duration(runSeconds(run)), run.requested_by],
			run.error && !isStopped && h("p", said(run.error.message), " ", h("code", run.error.code)));
	}));
}

async function act(work) {
	const error = await refusalOf(async () => {
		const run = await work();
		if (run?.kind) takeRun(run);
	});
	failure = error && told(error);
	changed(["status", "lists"]);
}

export function snapshotsView() {
	const words = t.snapshots;
	const newest = undo()?.id;
	const why = restoreBlocked();
	const isIdle = can("owner") && state.link !== "lost" && !isActive(state.status.run);
	return list(t.views.snapshots, words, state.snapshots?.map((snapshot) => {
		const { id, pinned, version, verified_at: verified } = snapshot;
		const path = `database/backups/${id}`;
		const label = words.version(version);
		const choice = (name, work, kind) => button(name, () => act(work), kind, { "aria-label": `${name}: ${label}, ${moment(snapshot.created_at)}` });
		return row(id, verified ? "good" : "calm", verified ? "satisfied" : "unknown", label, bytes(snapshot.size_bytes), pinned ? words.pinned : "",
			[moment(snapshot.created_at), words.reasons[snapshot.reason] ?? snapshot.reason, verified ? words.verified(moment(verified)) : words.unverified],
			h("code.sub", id),
			isIdle && h("div.buttons",
				!why && (can("technician") || id === newest) && choice(words.restore, () => askRestore(snapshot)),
				choice(words.verify, () => post(`${path}/verify`)),
				choice(pinned ? words.unpin : words.pin, () => (pinned ? remove : put)(`${path}/pin`)),
				can("technician") && !pinned && choice(words.remove, () => ask({
					title: `${words.remove}: ${label}, ${moment(snapshot.created_at)}?`, text: [words.removeText], ok: words.remove,
					submit: () => remove(path) }))));
	}),
	h("div.buttons", isIdle && button(words.take, () => act(() => post("database/backups")))),
	alarm(failure),
	state.snapshots?.length > 0 && can("owner") && (why ? h("p.sub", t.undo.blocked, " ", why) : !can("technician") && h("p.sub", words.technician)));
}
