// The wire.
import { state } from "./model.js";

// A refusal (`problem` as the server wrote it), or no answer at all (`problem` is null).
export class Refusal extends Error {
	constructor(problem, isLate) {
		super(problem?.detail ?? "no answer");
		Object.assign(this, { problem, isLate });
	}
}

export async function refusalOf(work) {
	try {
		await work();
		return null;
	} catch (error) {
		if (error instanceof Refusal) return error;
		throw error;
	}
}

async function request(method, path, body, headers, seconds = 8) {
	const limit = new AbortController();
	setTimeout(() => limit.abort(), seconds * 1000);
	let response, document;
	try {
		response = await fetch(`/api/${path}`, {
			method, cache: "no-store", signal: limit.signal, body: body && JSON.stringify(body),
			headers: body && { "Content-Type": "application/json", ...headers },
		});
		document = await response.json().catch(() => null);
	} catch {
		throw new Refusal(null, limit.signal.aborted);
	}
	// A proxy in front of a daemon that is away.
	if ([502, 504].includes(response.status)) throw new Refusal(null);
	state.heardAt = Date.now();
	const offset = Date.parse(response.headers.get("date")) - Date.now();
	// It tells whole seconds, and the answer may have been long on its way.
	if (Math.abs(offset - state.clockOffset) > 10000) state.clockOffset = offset;
	if (!response.ok) throw new Refusal({ title: response.statusText, ...document, status: response.status });
	return document;
}

export const get = (path, seconds) => request("GET", path, undefined, undefined, seconds);
export const post = (path, body = {}, headers, seconds) => request("POST", path, body, headers, seconds);
export const put = (path, body = {}) => request("PUT", path, body);
export const remove = (path) => request("DELETE", path);

// For an Idempotency-Key; `crypto.randomUUID` is missing on plain http in a LAN.
export const nonce = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

export function stream(onEvent, onChange) {
	let socket = null;
	let attempt = 0;
	let timer = null;
	const connect = () => {
		clearTimeout(timer);
		timer = null;
		const since = state.seq === null ? "" : `?since=${state.seq}`;
		const own = new WebSocket(`${location.origin.replace("http", "ws")}/ws${since}`);
		socket = own;
		own.onmessage = (message) => {
			if (own !== socket) return;
			attempt = 0;
			state.heardAt = Date.now();
			onChange(true);
			onEvent(JSON.parse(message.data));
		};
		own.onclose = () => {
			if (own !== socket) return;
			onChange(false);
			// 0.5 s, 1 s, 2 s ... 10 s, spread over the tablets.
			const pause = Math.min(10000, 500 * 2 ** attempt) * (0.75 + Math.random() / 2);
			attempt += 1;
			timer = setTimeout(connect, pause);
		};
	};
	connect();
	return {
		// For a socket that looks open and is dead.
		retry() {
			if (timer === null && socket?.readyState === WebSocket.CONNECTING) return;
			socket?.close();
			attempt = 0;
			connect();
		},
	};
}
