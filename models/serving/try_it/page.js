// The page to try a model: a form of its fields, its answer, and why.

import {make, widgetOf} from "./widgets.js";
import {showAnswer, showWhy} from "./why.js";

const place = name => document.getElementById(name);
const widgets = new Map();
let form, token = "", asked = 0;

async function begin() {
  form = await (await fetch("try/form.json")).json();
  place("about").textContent = form.version === null ? "no version is served yet" : `version ${form.version} · ${form.task}`;
  if (form.version === null) return;
  for (const field of form.fields) place("form").append(boxOf(field));
  const buttons = make("div", undefined, "buttons"), ask = make("button", "Ask", "main"), clear = make("button", "Clear");
  clear.type = "button";
  clear.addEventListener("click", forget);
  buttons.append(ask, clear);
  place("form").append(buttons);
  place("form").addEventListener("submit", event => { event.preventDefault(); answer(); });
  place("form").noValidate = true; // the server says what is wrong, and says it of every client
}

function boxOf(field) {
  const box = make("div", undefined, "field"), label = make("label", field.label ?? field.name);
  const drawn = field.kind === "image" || field.kind === "audio";
  const widget = widgetOf(field, drawn ? answer : () => {});
  label.htmlFor = (widget.control ?? widget.element).id;
  if (field.unit) label.append(make("span", ` in ${field.unit}`, "unit"));
  if (!field.needed) label.append(make("span", " · may be left out", "optional"));
  box.append(label, widget.element);
  const hint = [field.hint, limits(field)].filter(Boolean).join("; ");
  if (hint) box.append(make("p", hint, "hint"));
  widgets.set(field.name, {...widget, box, field});
  return box;
}

function limits({minimum, maximum}) {
  if (minimum == null && maximum == null) return "";
  if (maximum == null) return `at least ${minimum}`;
  return minimum == null ? `at most ${maximum}` : `from ${minimum} to ${maximum}`;
}

function forget() {
  asked += 1;
  for (const widget of widgets.values()) widget.clear();
  place("answer").replaceChildren(make("p", "Nothing was asked yet.", "quiet"));
  place("why").hidden = true;
  problem();
}

async function exampleOf() {
  const found = {};
  for (const [name, widget] of widgets) {
    const value = await widget.value();
    if (value !== undefined) found[name] = value;
  }
  return found;
}

async function answer() {
  const mine = ++asked;
  problem();
  let example;
  try { example = await exampleOf(); } catch (error) { return problem({field: "", error: `not JSON: ${error.message}`}); }
  const alone = form.fields.length === 1 && form.fields[0].alone;
  const body = JSON.stringify({instances: [alone ? example[form.fields[0].name] : example]});
  const told = await ask("predict", body);
  if (mine !== asked) return;
  if (!told) return place("answer").replaceChildren(make("p", "No answer to this.", "quiet"));
  showAnswer(place("answer"), told.predictions[0], told.version);
  const why = await ask("explain", body);
  if (!why || mine !== asked) return;
  showWhy(place("why"), why, form.fields, example);
  for (const [name, widget] of widgets) widget.show({pixels: why.pixels?.[name], stretches: why.stretches?.[name]});
}

async function ask(what, body) {
  const headers = {"content-type": "application/json"};
  if (token) headers.authorization = `Bearer ${token}`;
  try {
    const reply = await fetch(what, {method: "POST", headers, body});
    const told = await reply.json();
    if (reply.ok) return told;
    if (reply.status === 401) askForToken();
    problem(told);
  } catch { problem({field: "", error: "the server does not answer"}); }
  return undefined;
}

function askForToken() {
  if (place("token")) return;
  const box = make("div", undefined, "field"), label = make("label", "Token"), input = make("input");
  input.type = "password";
  input.id = label.htmlFor = "token";
  input.addEventListener("input", () => { token = input.value.trim(); });
  box.append(label, input);
  place("form").prepend(box);
}

function problem(told) {
  for (const widget of widgets.values()) widget.box.classList.remove("wrong");
  place("problem").hidden = !told;
  if (!told) return;
  place("why").hidden = true;
  const field = told.field.replace(/^instances(\[0\])?\.?/, "");
  widgets.get(field)?.box.classList.add("wrong");
  place("problem").textContent = field ? `${field}: ${told.error}` : told.error;
}

begin();
