// What a technician does: loaded when one looks.
import { get, post, put, remove } from "./api.js";
import { act, ask, consentFields, field, pinField } from "./dialog.js";
import { button, h } from "./dom.js";
import { approveButton, part } from "./home.js";
import { approvalOf, changed, isActive, state, takeRun } from "./model.js";
import { asks, list, removal, roleField } from "./more.js";
import { cancel, doing, rescued, restoreBlocked, row, runRow, startRun } from "./run.js";
import { bytes, moment, number, plain, said, t } from "./texts.js";

let tokens = null;
let copies = null;
// What was counted and exported of them, by their ids.
const counted = new Map();
const exported = new Map();
// How far a technician wants to go back: the plan.
let rollback = null;
// Which snapshot is being tested, of how many.
let testing = null;
// What does not fit, and what speaks for a version, as they were looked at.
let repair = null;
let adoption = null;
let isLooking = false;

export async function refresh() {
	[tokens, copies] = await Promise.all([list("tokens", "technician"), get("database/rescue").then((found) => found.copies, () => copies)]);
}

export function technicianView() {
	const words = t.tools;
	const why = restoreBlocked();
	const locks = state.safety?.locks ?? [];
	return part(t.more.technician,
		state.status.adopted ? repairPart() : adoptionPart(),
		h("h3", words.title), h("p.sub", words.lead), toolsPart(),
		copies?.length > 0 && [h("h3", words.rescue), h("p.sub", words.rescueLead), h("ol.rows", copies.map(copyRow))],
		h("h3", words.locks),
		locks.length > 0 ? h("ol.rows", locks.map((lock) => row(lock.id, "warn", "advice", said(lock.owner), "",
			said(lock.reason), [t.gates.until(moment(lock.expires_at))], button(words.break, () => act(() => remove(`safety/locks/${lock.id}`), ["safety"])))))
			: h("p.sub", words.noLocks),
		h("div.buttons", button(words.lock, () => asks({
			title: words.lock, fields: [{ ...nameField("reason", words.reason), maxlength: 100 }], ok: words.lock,
			submit: ({ reason }) => put("safety/locks/panel", { owner: state.session.name ?? "panel", reason, ttl_seconds: 28800 }),
		}, ["safety"]))),
		h("h3", words.rollback), h("p.sub", words.rollbackLead),
		why ? h("p", t.undo.blocked, " ", why) : [rollbackPart(), exportsPart()],
		h("h3", words.pins),
		h("div.buttons", ["owner", "technician"].map((role) => button(words.setPin[role], () => asks({
			title: words.setPin[role], text: [words.pinText], fields: [{ ...pinField(role), autocomplete: "new-password" }], ok: t.next,
			submit: ({ pin }) => put("safety/pin", { role, pin }) }, ["session"])))),
		h("h3", words.tokens),
		tokens?.length > 0 && h("ol.rows", tokens.map(({ id, name, role, last_seen: used }) => row(id, "calm", "satisfied", name, t.more.roles[role], "",
			[used && t.more.seen(moment(used))], removal(`tokens/${id}`, name, words.revoke)))),
		h("div.buttons", button(words.newToken, makeToken)));
}

// What chock has looked at may take longer than any other question.
const patience = 90;

async function looking(work) {
	isLooking = true;
	changed();
	await act(work);
	isLooking = false;
	changed();
}

const lookButton = (label, work, props) => button(label, () => looking(work), "quiet", { disabled: isLooking || isActive(state.status.run), ...props });

// Accepts what is shown, and nothing else: with its hash, and why.
const accept = (path, { hash }, ok, text, body) => act(async () => {
	const done = await ask({
		title: `${ok}?`, text, ok, fields: [reasonField(), ...consentFields()],
		submit: (values) => post(`database/${path}`, { ...body, ...values }, { "If-Match": `"${hash}"` }, patience),
	});
	if (done) repair = adoption = null;
	return done;
}, ["status", "plan", "lists"]);

const reasonField = () => ({ ...nameField("reason", t.tools.why), maxlength: 300 });

function repairPart() {
	const words = t.tools;
	const { files, drift, drift_problem: problem, accepted } = repair ?? {};
	const isOpen = files?.length > 0 || (drift?.length > 0 && !accepted);
	return [
		h("h3", words.repair), h("p.sub", words.repairLead),
		h("div.buttons", lookButton(words.lookRepair, async () => { repair = await get("database/repair", patience); })),
		repair && h("div.card.stack", { key: repair.hash },
			files.map((file) => h("div", { key: file.version }, h("p", words.changed(file.version)), h("p", h("code", file.file)),
				h("p.sub", "SHA-256 ", h("code", file.before.slice(0, 16)), " → ", h("code", file.now.slice(0, 16))))),
			drift.length > 0 && [h("p", words.drift), differences(drift)],
			problem && h("p", said(problem.message)),
			accepted && drift.length > 0 && h("p.sub", words.acceptedBy(accepted.actor, moment(accepted.at)), " ", said(accepted.reason)),
			!isOpen && !problem && h("p", words.fits),
			isOpen && h("div.buttons", button(words.accept, () => accept("repair", repair, words.accept, [words.acceptText]), "strong"))),
	];
}

const differences = (all) => {
	const lines = all.slice(0, 200).map(({ kind, object, name, expected, found }) => h("li", { key: `${object} ${name}` },
		h("details", h("summary", `${t.tools.differs[kind] ?? kind}: ${object} ${name}`), [["expected", expected], ["found", found]].map(([side, sql]) =>
			sql && [h("p.sub", t.tools.sides[side]), h("pre", { tabindex: 0, role: "region", "aria-label": `${name}: ${t.tools.sides[side]}` }, sql)]))));
	return h("ul", lines);
};

const lookAdoption = (query = "") => async () => { adoption = await get(`database/adoption${query}`, patience); };

function adoptionPart() {
	const words = t.tools;
	const version = adoption?.compared_with;
	return [
		h("h3", words.adoption), h("p.sub", words.adoptionLead),
		h("div.buttons", lookButton(words.lookAdoption, lookAdoption())),
		adoption && h("div.card.stack", { key: "adoption" },
			adoption.findings.map((found) => h("p", { key: found.table }, h("b", found.tool), " ", h("code", found.table), " ", found.version && words.says(found.version), " ", said(found.reason))),
			adoption.findings.length === 0 && h("p", words.noTool),
			adoption.reason && h("p", said(adoption.reason)),
			adoption.warnings.map((warning) => h("p.strong", { key: warning }, said(warning))),
			field({ name: "version", label: words.atVersion, value: version, onchange: (event) => looking(lookAdoption(`?version=${encodeURIComponent(event.target.value)}`)),
				choices: adoption.matches.map((match) => [match.version, `${match.version}${match.differences ? "" : ` (${words.exact})`}`]) }, "adoption"),
			adoption.differences.length > 0 && [h("p", words.differences(adoption.differences.length, version)), differences(adoption.differences)],
			h("div.buttons", version !== undefined && button(words.adopt(version), () => accept("adoption", adoption, words.adopt(version), [words.adoptText, ...adoption.warnings.map((warning) => said(warning))], { version }), "strong"))),
	];
}

// What a restore took out, and a salvage has found.
function copyRow({ copy: { id, version, created_at: at, size_bytes: size, reason }, snapshot }) {
	const words = t.tools;
	const label = t.snapshots.version(version ?? t.unknown);
	const choice = (name, work) => lookButton(name, work, { "aria-label": `${name}: ${label}, ${moment(at)}` });
	const found = counted.get(id);
	const files = exported.get(id);
	return row(id, "calm", "back", label, bytes(size), "", [moment(at), t.snapshots.reasons[reason] ?? reason, snapshot && words.comparedWith(snapshot)],
		h("code.sub", id),
		found && [h("p", found.missing == null ? t.undo.uncounted : words.missing(found.missing)),
			h("ul", found.tables.map((own) => h("li", { key: own.table }, words.counts(plain(own.table), own.added, Math.max(own.changed, own.values_after), own.deleted))))],
		files && [h("p", words.files), h("div.buttons", files.names.map((name) => h("a.button.quiet", { key: name, href: `/api/database/rescue/${id}/export/${name}`, download: name }, name))),
			h("p.sub", words.folder, " ", h("code", files.folder))],
		h("div.buttons",
			choice(words.countCopy, async () => { counted.set(id, await get(`database/rescue/${id}`, patience)); }),
			choice(words.export, async () => {
				const { folder, tables } = await post(`database/rescue/${id}/export`, {}, {}, patience);
				exported.set(id, { folder, names: ["rescue.sql", ...tables.map(({ file }) => file).filter(Boolean), "rescue.json"] });
			}),
			!restoreBlocked() && state.status.mode !== "recovery" && button(words.apply, () => startRun(`${words.apply}?`, [words.applyText], words.apply, `rescue/${id}`), "quiet", { "aria-label": `${words.apply}: ${label}, ${moment(at)}` })));
}

function toolsPart() {
	const words = t.tools;
	const { run } = state.status;
	const isTool = ({ kind }) => ["check", "verify", "salvage", "rescue"].includes(kind);
	const isBusy = isActive(run) || testing;
	const tool = (label, work) => button(label, () => act(work, ["status", "lists"]), "quiet", { disabled: Boolean(isBusy) });
	const begin = (name, body) => async () => takeRun(await post(`database/${name}`, body));
	return [
		h("div.buttons", Object.entries(t.checks).map(([kind, label]) => tool(label, begin("check", { kind }))),
			state.snapshots?.length > 0 && tool(words.verify, testAll), tool(words.salvage, begin("salvage"))),
		isActive(run) && isTool(run) && toolMeter(run),
		h("ol.rows", state.runs?.filter((own) => own.outcome && isTool(own)).slice(0, 5).map((own) => runRow(own, answerOf(own)))),
	];
}

function toolMeter(run) {
	const { message, text } = doing(run);
	const name = `${t.kinds[run.kind]}${testing ?? ""}`;
	return h("div.card.meter", { key: "tool" },
		h("progress", { id: "tool", max: 100, value: run.fraction == null ? undefined : Math.floor(run.fraction * 100), "aria-valuetext": `${name}, ${text}` }),
		h("label", { for: "tool" }, name, ": ", message), run.cancellable && button(t.cancel, () => cancel(run)));
}

// One after the other; a stop of one ends them.
async function testAll() {
	const all = state.snapshots.map(({ id }) => id);
	try {
		for (const id of all) {
			testing = ` ${all.indexOf(id) + 1} / ${all.length}`;
			let run = await post(`database/backups/${id}/verify`, { restore: true });
			takeRun(run);
			while (isActive(run)) {
				await new Promise((resolve) => setTimeout(resolve, 500));
				run = await get(`database/update/${run.id}/progress`);
			}
			if (run.error?.code === "CHK-STOPPED") break;
		}
	} finally {
		testing = null;
	}
}

function answerOf(run) {
	const { found, salvage, snapshot_id: id, kind } = run;
	const words = t.tools;
	const lines = found ?? salvage?.problems ?? [];
	const list = h("ul", lines.slice(0, 100).map((line) => h("li", said(line))));
	return [
		kind === "verify" && h("code.sub", id),
		rescued(run),
		salvage && [
			h("p", words.salvaged(salvage.tables.reduce((all, { read }) => all + read, 0), id)),
			h("ul", salvage.tables.filter((own) => own.unreadable_places || own.refused || own.problem)
				.map((own) => h("li", words.table(plain(own.table), number(own.read), own.lost ?? "?", own.unreadable_places))))],
		lines.length > 5 ? h("details", h("summary", words.found(lines.length)), list) : list,
	];
}

const nameField = (name, label) => ({ name, label, required: true, maxlength: 40, autocomplete: "off" });

async function makeToken() {
	const words = t.tools;
	let made;
	await asks({ title: words.newToken, ok: words.newToken,
		fields: [nameField("name", words.program), roleField(["controller", "viewer", "owner", "technician"]), ...consentFields()],
		submit: async (values) => { made = await post("tokens", values); } });
	if (made) await ask({ title: made.name, text: [words.once, `\`${made.token}\``], ok: t.result.done });
}

const rollbackLabel = (plan) => t.running.toVersion(t.tools.rollback, plan.to_version);

function rollbackPart() {
	const words = t.tools;
	const plan = rollback;
	const counted = plan && state.runs?.find((run) => run.rehearsal?.plan_hash === plan.plan_hash)?.rehearsal;
	const losses = counted?.losses ?? [];
	const approval = plan && approvalOf(plan);
	const look = (event) => {
		event.preventDefault();
		const { version } = Object.fromEntries(new FormData(event.target));
		act(async () => { rollback = await get(`database/plan?rollback_to=${encodeURIComponent(version)}`); }, ["lists"]);
	};
	return [
		h("form.row-wrap", { onsubmit: look }, field(nameField("version", words.target), "rollback"), button(words.look)),
		plan && plan.from_version === state.status.current_version && h("div.card", { key: plan.hash },
			h("ul", plan.migrations.map((step) => h("li", h("b", step.version), " ", said(step.description)))),
			counted && h("p", h("b", losses.length ? words.losesTitle : words.losesNothing)),
			h("ul", losses.map((loss) => h("li", words.loses(loss.rows, plain(loss.table)), loss.columns && ` (${loss.columns.join(", ")})`))),
			counted && approval.words && h("p", approval.words),
			h("div.buttons", !counted
				? button(words.count, () => act(async () => {
					takeRun(await post("database/rehearse", { rollback_to: plan.to_version }));
				}, ["status"]), "quiet", { disabled: isActive(state.status.run) })
				: approval.isMissing ? approveButton(plan) : button(rollbackLabel(plan), () => startRun(rollbackLabel(plan), [words.rollbackLead], words.rollback, "rollback", { rollback_to: plan.to_version }, { "If-Match": `"${plan.hash}"` }), "strong"))),
	];
}

// What rollbacks took out, where it fits again: at the version that it came from.
function exportsPart() {
	const words = t.tools;
	const runs = state.runs ?? [];
	const isDone = (run) => runs.some(({ kind, outcome, error, export_folder: folder }) => kind === "import" && outcome && !error && folder === run.export_folder);
	const kept = runs.filter((run) => run.kind === "rollback" && run.outcome === "committed" && run.export_folder && run.from_version === state.status.current_version && !isDone(run));
	return kept.map((run) => h("div.card.row-wrap", { key: run.id },
		h("p", words.exported(run.from_version, moment(run.started_at))),
		button(words.import, () => startRun(`${words.import}?`, [words.importText], words.import, `import/${run.id}`))));
}
