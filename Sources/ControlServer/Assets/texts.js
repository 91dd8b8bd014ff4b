// The language, and how numbers, times and sizes are written in it.
import { h } from "./dom.js";
import { serverNow } from "./model.js";

export const languages = { en: "English", de: "Deutsch" };

export let t = null;
export let language = "en";
let digits, clock, day;

const preferred = () =>
	[window.theme.keep("language"), ...navigator.languages.map((tag) => tag.slice(0, 2)), "en"].find((tag) => languages[tag]);

// A text with {} becomes a function of what goes there.
const filled = (text) => (text?.includes?.("{}") ? (...values) => text.replaceAll("{}", () => values.shift() ?? "?")
	: text?.constructor === Object ? Object.fromEntries(Object.entries(text).map(([name, inner]) => [name, filled(inner)])) : text);

// Whose words are known beside those of everybody.
let beside = null;

const wordsOf = (name) => import(`./${name}.js`).then((file) => filled(file.default));

export async function learn(name) {
	beside = name;
	Object.assign(t, await wordsOf(`${name}-${language}`));
}

export async function speak(chosen) {
	const next = chosen ?? preferred();
	t = Object.assign(...await Promise.all([next, beside && `${beside}-${next}`].map((name) => name && wordsOf(name))));
	language = next;
	const locale = navigator.languages.find((tag) => tag.startsWith(next)) ?? next;
	digits = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
	clock = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
	day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" });
	document.documentElement.lang = next;
	if (chosen) window.theme.keep("language", next);
}

export const said = (text) => (language === "en" || !text ? text : h("span", { lang: "en" }, text));

export const volts = (value) => `${Number(value).toLocaleString(language, { maximumFractionDigits: 2 })} V`;
export const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
export const number = (value) => digits.format(value);
export const count = (many, one, more) => `${digits.format(many)} ${many === 1 ? one : more}`;
export const plain = (name) => name.replace(/[._-]/g, " ");

// Measured seconds: `0.4 s`, `41 s`, `3 min 5 s`.
export function duration(seconds) {
	if (seconds < 9.95) return `${digits.format(Math.round(seconds * 10) / 10)} s`;
	const whole = Math.round(seconds);
	const minutes = Math.floor(whole / 60);
	if (!minutes) return `${whole} s`;
	if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
	return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function most(seconds) {
	if (seconds <= 10) return `${Math.max(1, Math.ceil(seconds))} s`;
	if (seconds <= 60) return `${Math.ceil(seconds / 5) * 5} s`;
	if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`;
	return `${digits.format(Math.ceil(seconds / 360) / 10)} h`;
}

// Half as much again for a busy device: `4 s to 6 s`.
export function range(seconds) {
	const [low, high] = [most(seconds), most(seconds * 1.5)];
	return `${low === high ? t.about : `${low} ${t.to}`} ${high}`;
}

// A running clock: `0:07`, `12:40`, `62:09`.
export function stopwatch(seconds) {
	const whole = Math.max(0, Math.floor(seconds));
	return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function age(seconds) {
	if (seconds < 1) return t.now;
	const [, size, unit] = [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, t.days]].find(([end]) => seconds < end);
	return t.ago(`${Math.floor(seconds / size)} ${unit}`);
}

export function bytes(size) {
	const units = ["B", "kB", "MB", "GB", "TB"];
	const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, size)) / 3));
	const value = size / 1000 ** unit;
	return `${digits.format(value < 10 ? value : Math.round(value))} ${units[unit]}`;
}

export const needed = (size) => bytes(size < 1e6 ? size : Math.ceil(size / 1e6) * 1e6);

// `today 14:32`, `yesterday 09:10`, `2 May 2026, 14:32`.
export function moment(iso) {
	const date = new Date(iso ?? "");
	if (Number.isNaN(date.getTime())) return t.unknown;
	const days = Math.round((new Date(date).setHours(0, 0, 0, 0) - new Date(serverNow()).setHours(0, 0, 0, 0)) / 864e5);
	const near = { "-1": t.yesterday, 0: t.today, 1: t.tomorrow }[days];
	return near ? `${near} ${clock.format(date)}` : `${day.format(date)}, ${clock.format(date)}`;
}

export const date = (at) => day.format(new Date(at));
