// A failure as a person needs it: what, where, and what to do next.
import { make } from "./dom.js";
import { texts } from "./texts.js";

const words = texts.failure;

export function failureCard(failure) {
  const where = failure.file
    ? `${failure.file}${failure.line ? `:${failure.line}` : ""}` : null;
  const row = (label, ...nodes) => make("div", make("dt", label), make("dd", ...nodes));
  return make(
    "div.failure",
    make("p.failure-message", failure.message),
    make(
      "dl",
      failure.how_to_clear ? row(words.next, failure.how_to_clear) : null,
      where ? row(words.where, make("code", where)) : null,
      failure.statement ? row(words.statement, statement(failure.statement)) : null,
      row(words.code, make("code", failure.code))));
}

function statement(sql) {
  const block = make("pre", make("code", sql));
  // Scrolls sideways on a narrow screen, so it must be reachable with the keyboard.
  block.tabIndex = 0;
  block.setAttribute("role", "region");
  block.setAttribute("aria-label", words.statement);
  return block;
}

/** Shows `failure` in `place`, and touches nothing while it is the one shown already. */
export function placeFailure(place, failure) {
  const key = failure ? JSON.stringify(failure) : "";
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  place.replaceChildren(...(failure ? [failureCard(failure)] : []));
}
