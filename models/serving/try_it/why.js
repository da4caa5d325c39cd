// How an answer and its reasons are shown.

import {colours, make} from "./widgets.js";

const SHOWN = 12; // classes and fields

export function showAnswer(place, prediction, version) {
  place.replaceChildren();
  place.append(said(prediction, version));
  const named = prediction.probabilities ?? {};
  const sorted = Object.entries(named).sort((one, other) => other[1] - one[1]);
  if (sorted.length) place.append(bars(sorted.slice(0, SHOWN)));
  if (sorted.length > SHOWN) place.append(make("p", `and ${sorted.length - SHOWN} others`, "hint"));
}

function said(prediction, version) {
  const line = make("div", undefined, "said");
  const told = prediction.class ?? prediction.labels?.join(", ") ?? prediction.value ?? prediction.score;
  line.textContent = told === undefined ? JSON.stringify(prediction) : typeof told === "number" ? rounded(told) : told || "no label";
  line.append(make("small", prediction.probability === undefined ? `version ${version}` : `${percent(prediction.probability)} · version ${version}`));
  return line;
}

const percent = share => `${(100 * share).toFixed(1)} %`;
const rounded = number => Number(number.toPrecision(5)).toString();

function bars(entries) {
  const grid = make("div", undefined, "bars");
  for (const [name, share] of entries) {
    const track = make("div", undefined, "track"), fill = make("div", undefined, "fill");
    fill.style.width = `${100 * share}%`;
    track.append(fill);
    grid.append(cell(name), track, make("span", percent(share), "number"));
  }
  return grid;
}

function cell(name) {
  const made = make("span", name, "name");
  made.title = name;
  return made;
}

export function showWhy(place, told, fields, examples) {
  place.replaceChildren(make("h3", "Why"), make("p", `What each part adds to the ${told.quantity.replace(/^the /, "")}: ${told.method}.`, "hint"));
  for (const field of fields) {
    const words = told.words?.[field.name];
    if (words?.length) place.append(make("h3", field.label ?? field.name), marked(examples[field.name], words));
  }
  const sorted = [...(told.fields ?? [])].sort((one, other) => Math.abs(other.effect) - Math.abs(one.effect));
  if (sorted.length > 1) place.append(make("h3", "By field"), effects(sorted.slice(0, SHOWN)));
  place.append(legend());
  place.hidden = false;
}

function marked(text, words) {
  const line = make("div", undefined, "words"), most = Math.max(...words.map(one => Math.abs(one.effect)), 1e-12), {for: pro, against} = colours();
  const characters = Array.from(text); // places count characters, as the server does
  let at = 0;
  for (const one of words) {
    line.append(characters.slice(at, one.start).join(""));
    const mark = make("mark", characters.slice(one.start, one.end).join(""));
    const share = Math.round(65 * Math.abs(one.effect) / most);
    mark.style.background = `color-mix(in srgb, ${one.effect > 0 ? pro : against} ${share}%, transparent)`;
    mark.title = signed(one.effect);
    line.append(mark);
    at = one.end;
  }
  line.append(characters.slice(at).join(""));
  return line;
}

const signed = effect => `${effect > 0 ? "+" : ""}${rounded(effect)}`;

function effects(entries) {
  const grid = make("div", undefined, "bars"), most = Math.max(...entries.map(one => Math.abs(one.effect)), 1e-12);
  for (const {field, effect} of entries) {
    const track = make("div", undefined, "track two"), fill = make("div", undefined, `fill ${effect > 0 ? "for" : "against"}`);
    const width = 50 * Math.abs(effect) / most;
    fill.style.width = `${width}%`;
    fill.style.left = `${effect > 0 ? 50 : 50 - width}%`;
    track.append(fill);
    grid.append(cell(field), track, make("span", signed(Number(effect.toPrecision(2))), "number"));
  }
  return grid;
}

function legend() {
  const line = make("p", undefined, "legend");
  for (const [kind, words] of [["for", "speaks for the answer"], ["against", "speaks against it"]]) {
    const one = make("span");
    one.append(make("i", undefined, kind), words);
    line.append(one);
  }
  return line;
}
