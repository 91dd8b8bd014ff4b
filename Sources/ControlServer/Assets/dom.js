// The few helpers that change the page in place. Data only ever becomes text, never markup.

export const byId = (id) => document.getElementById(id);

/** Writes only what differs, so that nothing repaints and no selection is lost. */
export function text(node, value) {
  const next = value ?? "";
  if (node.textContent !== next) node.textContent = next;
}

/** A sentence with commands between backticks. */
export function prose(node, value) {
  const parts = (value ?? "").split("`");
  if (node.textContent === parts.join("")) return;
  node.replaceChildren(...parts.map((part, index) => (index % 2 ? make("code", part) : part)));
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

export function attribute(node, name, value) {
  if (value === null || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** `make("p.sub", "text")`, `make("li", child, child)`. */
export function make(selector, ...children) {
  const [tag, ...classes] = selector.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const svgSpace = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(svgSpace, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(svgSpace, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function setIcon(svg, name) {
  attribute(svg.querySelector("use") ?? svg, "href", `#i-${name}`);
}

/** Makes the children of `parent` match `items`, keeping every node whose key is still there. */
export function keyed(parent, items, key, create, update) {
  const old = new Map();
  for (const node of parent.children) old.set(node.dataset.key, node);
  let place = parent.firstElementChild;
  for (const [index, item] of items.entries()) {
    const id = String(key(item, index));
    let node = old.get(id);
    if (node) {
      old.delete(id);
    } else {
      node = create(item);
      node.dataset.key = id;
    }
    update?.(node, item, index);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of old.values()) node.remove();
}

/** A list of label, value and small print; the values change in place. */
export function facts(list, rows) {
  keyed(
    list, rows.filter(Boolean), (row) => row.label,
    (row) => make("div", make("dt", row.label), make("dd"), make("dd.sub")),
    (node, row) => {
      text(node.children[1], row.value);
      attribute(node, "data-long", row.value.length > 14 && !row.value.includes(" ") ? "true" : null);
      text(node.children[2], row.sub);
      show(node.children[2], Boolean(row.sub));
    });
}

/** A progress bar that is without a value while none is known, and says its value in words. */
export function progress(bar, fraction, words) {
  const percent = fraction === null ? null : Math.floor(fraction * 100);
  if (percent === null) {
    if (bar.hasAttribute("value")) bar.removeAttribute("value");
  } else if (!bar.hasAttribute("value") || bar.value !== percent) {
    bar.value = percent;
  }
  attribute(bar, "aria-valuetext", percent === null ? words : `${percent}%, ${words}`);
}
