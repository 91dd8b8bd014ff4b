// One question to a person, in front of everything.
import { refusalOf } from "./api.js";
import { alarm, button, byId, h, patch, prose } from "./dom.js";
import { changed, state } from "./model.js";
import { said, t } from "./texts.js";

let asked = null;

// A refusal of `submit` is shown, and the question stays. Null: the person says no. Without `submit` it only tells.
export function ask(question) {
	return new Promise((resolve) => {
		asked = { ...question, resolve };
		const box = byId("dialog");
		// What is on its way can no longer be taken back: its answer has to be seen.
		box.onclose = () => box.open || (asked?.isBusy ? box.showModal() : end(null));
		draw();
		if (!box.open) box.showModal();
	});
}

// Other words for the question that is open.
export function retell(id, text) {
	if (asked?.id !== id) return;
	asked.text = text;
	draw();
}

function end(result) {
	const { resolve } = asked ?? {};
	asked = null;
	if (byId("dialog").open) byId("dialog").close();
	patch(byId("dialog"), []);
	resolve?.(result);
}

export const pinField = (role, hint) => ({
	name: "pin", label: role ? t.pinOf[role] : t.pin, hint, type: "password", inputmode: "numeric", autocomplete: "off",
	pattern: "[0-9]{4,12}", maxlength: 12, title: t.pinHint, required: true,
});

export const consentFields = () => (state.session.asks_pin ? [pinField()] : []);

// `choices` are pairs of a value and its words.
export function field({ name, label, hint, choices, ...rest }, prefix, invalid) {
	const props = { name, id: `${prefix}-${name}`, "aria-invalid": invalid && "true", "aria-describedby": invalid && `${prefix}-error`, ...rest };
	return h("label.field", { key: name }, h("b", label), hint && h("span.sub", hint),
		choices ? h("select", props, choices.map(([value, words]) => h("option", { value }, words))) : h("input", props));
}

export const told = ({ problem }) => [problem
	? said([problem.detail ?? problem.title, problem.how_to_clear].filter(Boolean).join(" ").replaceAll("`", "")) : t.noAnswer];

// Does what a person has pressed; a refusal is told in front of everything.
export async function act(work, wanted = []) {
	const error = await refusalOf(work);
	changed(wanted);
	if (error) await ask({ title: t.failed, text: told(error), ok: t.result.understood });
	return !error;
}

async function give(event) {
	event.preventDefault();
	const own = asked;
	if (!own.submit) return end(true);
	Object.assign(own, { isBusy: true, error: null });
	draw();
	let result;
	const error = await refusalOf(async () => { result = await own.submit(Object.fromEntries(new FormData(event.target))); });
	own.isBusy = false;
	if (asked !== own) return own.resolve(error ? null : result);
	if (!error) return end(result ?? true);
	own.error = told(error);
	draw();
	byId("dialog").querySelector("input")?.select();
}

function draw() {
	const { title, text = [], fields = [], ok, error, submit, isBusy } = asked;
	patch(byId("dialog"), [h(
		"form.stack", { onsubmit: give },
		h("h2", { id: "dialog-title" }, title),
		text.map((words) => h("p", words.tag ? words : prose(words))),
		fields.map((entry) => field(entry, "dialog", error)),
		alarm(error, "dialog-error"),
		h("div.buttons",
			submit && button(t.cancel, () => end(null), "quiet", { disabled: isBusy }),
			button(ok, null, "primary", { disabled: isBusy })))]);
}
