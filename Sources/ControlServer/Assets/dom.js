// A page described by values. Data only ever becomes text, never markup.

const svgSpace = "http://www.w3.org/2000/svg";
// What the browser keeps as properties, not as attributes.
const properties = new Set(["value", "checked", "open"]);

// `h("p.sub", "text")`, `h("a", { href: "#x", key: 1 }, child, [children])`. What is false or null is not there.
export function h(selector, ...children) {
	const [tag, ...classes] = selector.split(".");
	const first = children[0];
	const isProps = first && typeof first === "object" && !Array.isArray(first) && !first.tag;
	const { key, ...props } = isProps ? children.shift() : {};
	if (classes.length) props.class = classes.join(" ");
	return { tag, key, props, children };
}

export const icon = (name, look = "icon") =>
	h(`svg.${look}`, { "aria-hidden": "true" }, h("use", { href: `#i-${name}` }));

export const button = (label, onclick, kind = "quiet", props = {}) =>
	h(`button.button.${kind}`, { type: onclick ? "button" : "submit", onclick, ...props }, label);

// Makes what is in `parent` match `children`. Nodes stay, and with them focus, selection and what was typed.
export function patch(parent, children) {
	const next = [children].flat(Infinity).map((child) => (child?.tag ? child : child === false ? "" : String(child ?? "")));
	const wanted = new Set(next.map((child) => child.key));
	const old = new Map();
	for (const node of [...parent.childNodes]) {
		if (node.key === undefined) continue;
		if (wanted.has(node.key)) old.set(node.key, node);
		else node.remove();
	}
	let place = parent.firstChild;
	for (const child of next) {
		const node = match(child, place, old);
		if (node !== place) {
			// What has no key has its place by its number.
			if (child.key === undefined && place && place.key === undefined) place.replaceWith(node);
			else parent.insertBefore(node, place);
		}
		place = node.nextSibling;
		if (child.tag) update(node, child);
	}
	while (place) {
		const gone = place;
		place = gone.nextSibling;
		gone.remove();
	}
}

function match(child, place, old) {
	if (!child.tag) {
		if (place?.nodeType !== Node.TEXT_NODE) return document.createTextNode(child);
		if (place.data !== child) place.data = child;
		return place;
	}
	const known = child.key === undefined ? place : old.get(child.key);
	if (known?.key === child.key && known?.localName === child.tag) return known;
	const isDrawn = child.tag === "svg" || child.tag === "use";
	const node = isDrawn ? document.createElementNS(svgSpace, child.tag) : document.createElement(child.tag);
	node.key = child.key;
	return node;
}

// Writes only what differs from the last time: what a person has typed or opened stays.
function update(node, { props, children }) {
	const before = node.props ?? {};
	node.props = props;
	if (children.length || node.firstChild) patch(node, children);
	for (const name of Object.keys({ ...before, ...props })) {
		const value = props[name];
		if (value === before[name]) continue;
		if (name.startsWith("on")) node[name] = value ?? null;
		else if (value == null || value === false) node.removeAttribute(name);
		else if (properties.has(name)) node[name] = value;
		else node.setAttribute(name, value === true ? "" : value);
	}
}

export const prose = (text) =>
	(text ?? "").split("`").map((part, index) => (index % 2 ? h("code", part) : part));

export const heading = (words) => h("h1.title", { tabindex: -1 }, words);
export const alarm = (words, id = "error") => words && h("p.error", { role: "alert", id, key: id }, words);
export const byId = (id) => document.getElementById(id);
