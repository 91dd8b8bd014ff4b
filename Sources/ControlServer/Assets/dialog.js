// One question to a person, in front of everything.
import { refusalOf } from "./api.js";
import { button, byId, h, patch, prose } from "./dom.js";
import { state } from "./model.js";
import { said, t } from "./texts.js";

let asked = null;

/** The refusal of `submit` is shown while the question stays. Null when the person says no. */
export function ask({ title, text = [], fields = [], ok, error = null, submit = (values) => values }) {
	return new Promise((resolve) => {
		asked = { title, text, fields, ok, error, submit, resolve, isBusy: false };
		const box = byId("dialog");
		box.onclose = () => end(null);
		draw();
		if (!box.open) box.showModal();
	});
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

export const field = ({ name, label, hint, ...props }, prefix, invalid) =>
	h("label.field", { key: name }, h("b", label), hint && h("span.sub", hint),
		h("input", { name, id: `${prefix}-${name}`, "aria-invalid": Boolean(invalid) && "true",
			"aria-describedby": Boolean(invalid) && `${prefix}-error`, ...props }));

export const told = ({ problem }) => [problem
	? said([problem.detail ?? problem.title, problem.how_to_clear].filter(Boolean).join(" ").replaceAll("`", "")) : t.noAnswer];

async function give(event) {
	event.preventDefault();
	const own = asked;
	own.isBusy = true;
	own.error = null;
	draw();
	let result;
	const error = await refusalOf(async () => { result = await own.submit(Object.fromEntries(new FormData(event.target))); });
	if (asked !== own) return;
	if (!error) return end(result ?? true);
	Object.assign(own, { error: told(error), isBusy: false });
	draw();
	byId("dialog").querySelector("input")?.select();
}

function draw() {
	const { title, text, fields, ok, error, isBusy } = asked;
	patch(byId("dialog"), [h(
		"form.stack", { onsubmit: give },
		h("h2", { id: "dialog-title" }, title),
		text.map((words) => h("p", prose(words))),
		fields.map((entry) => field(entry, "dialog", error)),
		error && h("p.error", { role: "alert", id: "dialog-error" }, error),
		h("div.buttons",
			button(t.cancel, () => end(null)),
			button(ok, null, "primary", { disabled: isBusy })))]);
}
