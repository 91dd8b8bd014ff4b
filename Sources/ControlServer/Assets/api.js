// The wire: requests, and the event stream with its way back after a lost connection.
import { state } from "./model.js";

/** A refusal (`problem` as the server wrote it) or no answer at all (`problem` is null). */
export class Refusal extends Error {
  constructor(problem) {
    super(problem?.detail ?? "no answer");
    this.problem = problem;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {
      cache: "no-store", signal: timeLimit(8000), ...options,
    });
  } catch {
    throw new Refusal(null);
  }
  const body = await response.json().catch(() => null);
  state.heardAt = Date.now();
  if (!response.ok) {
    throw new Refusal({ status: response.status, title: response.statusText, ...body });
  }
  return body;
}

function timeLimit(milliseconds) {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), milliseconds);
  return controller.signal;
}

export const get = (path) => request(path);

export const post = (path, body = {}, headers = {}) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

/** A version 4 UUID; `crypto.randomUUID` is missing on plain http in a LAN. */
export function uuid() {
  const octets = crypto.getRandomValues(new Uint8Array(16));
  octets[6] = (octets[6] & 0x0f) | 0x40;
  octets[8] = (octets[8] & 0x3f) | 0x80;
  const hex = Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/**
 * Keeps a WebSocket open for as long as the page is. `onEvent` gets each event, `onChange` whether
 * the socket is open.
 */
export function stream(onEvent, onChange) {
  let socket = null;
  let attempt = 0;
  let timer = null;
  const connect = () => {
    clearTimeout(timer);
    timer = null;
    const url = new URL("ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    if (state.seq !== null) url.searchParams.set("since", state.seq);
    const own = new WebSocket(url);
    socket = own;
    own.onmessage = (message) => {
      if (own !== socket) return;
      let event;
      try {
        event = JSON.parse(message.data);
      } catch {
        return;
      }
      attempt = 0;
      state.heardAt = Date.now();
      onChange(true);
      onEvent(event);
    };
    own.onclose = () => {
      if (own !== socket) return;
      onChange(false);
      // 0.5 s, 1 s, 2 s ... 10 s, spread so that several tablets don't knock at once.
      const pause = Math.min(10000, 500 * 2 ** attempt) * (0.75 + Math.random() / 2);
      attempt += 1;
      timer = setTimeout(connect, pause);
    };
  };
  connect();
  return {
    /** For a socket that looks open and is dead, and for a page that comes back from sleep. */
    retry() {
      if (timer === null && socket?.readyState === WebSocket.CONNECTING) return;
      const old = socket;
      socket = null;
      old?.close();
      attempt = 0;
      connect();
    },
  };
}
