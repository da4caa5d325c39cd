// One widget per kind of field. Each gives {element, value(), clear(), show(effects)}; value() is what JSON holds, or
// undefined where nothing is given.

export function make(tag, words, kind) {
  const made = document.createElement(tag);
  if (words !== undefined) made.textContent = words;
  if (kind) made.className = kind;
  return made;
}

export function widgetOf(field, changed) {
  if (field.kind === "image") return picture(field, changed);
  if (field.kind === "audio") return sound(field, changed);
  if (field.kind === "time") return moment(field, changed);
  return written(field, changed);
}

function written(field, changed) {
  const control = controlOf(field);
  control.id = `field-${field.name}`;
  control.addEventListener("change", changed);
  const begin = field.kind === "tensor" ? JSON.stringify(field.value) : (field.value ?? "");
  if (control.tagName !== "SELECT") control.value = begin;
  const value = () => {
    const told = field.kind === "text" ? control.value : control.value.trim();
    if (told.trim() === "") return undefined;
    if (field.kind === "number") return Number(told);
    return field.kind === "tensor" ? JSON.parse(told) : told;
  };
  const clear = () => { control.value = control.tagName === "SELECT" ? control.options[0].value : begin; };
  return {element: control, value, clear, show() {}};
}

function controlOf(field) {
  if (field.values) return choice(field);
  if (field.kind === "text" || field.kind === "letters" || field.kind === "tensor") {
    const area = make("textarea");
    area.spellcheck = false;
    if (field.kind !== "text") area.className = "mono";
    return area;
  }
  const input = make("input");
  if (field.kind === "number") {
    input.type = "number";
    input.step = field.whole ? "1" : "any";
    if (field.minimum != null) input.min = field.minimum;
    if (field.maximum != null) input.max = field.maximum;
  }
  return input;
}

function choice(field) {
  const list = make("select");
  if (!field.needed) list.append(new Option("not given", ""));
  for (const value of field.values) list.append(new Option(value, value));
  return list;
}

// A time is typed as the data write it; the calendar of the browser fills that in.
function moment(field, changed) {
  const typed = written(field, changed), pick = make("input"), open = make("button", "Calendar"), box = make("div", undefined, "moment");
  const clock = !field.format.includes("%") || /%[HMS]/.test(field.format);
  typed.element.placeholder = field.example;
  pick.type = clock ? "datetime-local" : "date";
  pick.tabIndex = -1;
  pick.setAttribute("aria-hidden", "true");
  open.type = "button";
  open.addEventListener("click", () => pick.showPicker());
  pick.addEventListener("change", () => { if (pick.value) typed.element.value = inFormat(pick.value, field.format); changed(); });
  box.append(typed.element, open, pick);
  return {...typed, element: box, control: typed.element};
}

// What a picker says ("2026-01-31T12:00", or a day alone), in a format of the schema.
export function inFormat(picked, format) {
  const [Y, m, d, H = "00", M = "00"] = picked.split(/[-T:]/);
  const seconds = Date.UTC(Y, m - 1, d, H, M) / 1000;
  if (format === "unix") return String(seconds);
  if (format === "unix_ms") return String(seconds * 1000);
  if (!format.includes("%")) return picked;
  const parts = {Y, y: Y.slice(-2), m, d, H, M, S: "00", f: "000000", z: "+0000"};
  return format.replace(/%(.)/g, (_, code) => parts[code]);
}

async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

function dropZone(words, accept, take) {
  const zone = make("div", words, "drop");
  zone.tabIndex = 0;
  zone.setAttribute("role", "button");
  const file = make("input");
  file.type = "file";
  file.accept = accept;
  file.hidden = true;
  zone.append(file);
  zone.addEventListener("click", () => file.click());
  zone.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") file.click(); });
  file.addEventListener("click", event => event.stopPropagation());
  file.addEventListener("change", () => { if (file.files[0]) take(file.files[0]); file.value = ""; });
  accepts(zone, take);
  return zone;
}

function accepts(place, take) {
  place.addEventListener("dragover", event => { event.preventDefault(); place.classList.add("over"); });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", event => {
    event.preventDefault();
    place.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

const SIDE = 280; // pixels of what is drawn on

function picture(field, changed) {
  const [, height, width] = field.shape ?? [3, 1, 1];
  const element = make("div"), frame = make("div", undefined, "picture");
  const canvas = make("canvas"), over = make("canvas", undefined, "over");
  canvas.width = over.width = SIDE;
  canvas.height = over.height = Math.round(SIDE * height / width);
  canvas.setAttribute("aria-label", "draw here");
  frame.append(canvas, over);
  const brush = canvas.getContext("2d");
  let file, drawn = false, last;
  const wipe = () => {
    brush.fillStyle = "#000";
    brush.fillRect(0, 0, canvas.width, canvas.height);
    over.getContext("2d").clearRect(0, 0, over.width, over.height);
    file = undefined;
    drawn = false;
  };
  const place = event => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  };
  const stroke = to => {
    brush.strokeStyle = "#fff";
    brush.lineCap = brush.lineJoin = "round";
    brush.lineWidth = Math.max(canvas.width * 0.08, 1.15 * canvas.width / width * (field.shape ? 1 : 0));
    brush.beginPath();
    brush.moveTo(...last);
    brush.lineTo(...to);
    brush.stroke();
    last = to;
    drawn = true;
  };
  canvas.addEventListener("pointerdown", event => {
    if (file) wipe();
    over.getContext("2d").clearRect(0, 0, over.width, over.height);
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke([last[0] + 0.1, last[1]]);
  });
  canvas.addEventListener("pointermove", event => { if (last) stroke(place(event)); });
  canvas.addEventListener("pointerup", () => { last = undefined; changed(); });
  const take = async chosen => {
    wipe();
    file = chosen;
    try {
      const bitmap = await createImageBitmap(chosen);
      if (!field.shape) canvas.height = over.height = Math.round(SIDE * bitmap.height / bitmap.width);
      brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    } catch { brush.fillStyle = "#888"; brush.fillText(chosen.name, 10, 20); }
    changed();
  };
  accepts(frame, take);
  wipe();
  element.append(frame, dropZone("or drop a picture, or choose one", "image/*", take));
  const value = async () => {
    if (file) return base64(file);
    if (!drawn) return undefined;
    return base64(await new Promise(done => canvas.toBlob(done, "image/png")));
  };
  return {element, value, clear: wipe, show: effects => heat(over, effects.pixels)};
}

export const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return {for: style.getPropertyValue("--for").trim(), against: style.getPropertyValue("--against").trim()};
};

function heat(canvas, grid) {
  if (!grid) return;
  const brush = canvas.getContext("2d"), most = Math.max(...grid.effects.flat().map(Math.abs), 1e-12), {for: pro, against} = colours();
  brush.clearRect(0, 0, canvas.width, canvas.height);
  const wide = canvas.width / grid.columns, high = canvas.height / grid.rows;
  grid.effects.forEach((row, y) => row.forEach((effect, x) => {
    brush.globalAlpha = 0.8 * Math.abs(effect) / most;
    brush.fillStyle = effect > 0 ? pro : against;
    brush.fillRect(x * wide, y * high, Math.ceil(wide), Math.ceil(high));
  }));
  brush.globalAlpha = 1;
}

function sound(field, changed) {
  const element = make("div", undefined, "sound"), wave = make("canvas", undefined, "wave"), player = make("audio");
  wave.width = 640;
  wave.height = 90;
  player.controls = true;
  player.hidden = wave.hidden = true;
  let file, peaks = [], address;
  const draw = stretches => {
    const brush = wave.getContext("2d"), {for: pro, against} = colours();
    const most = Math.max(...(stretches ?? []).map(one => Math.abs(one.effect)), 1e-12);
    brush.clearRect(0, 0, wave.width, wave.height);
    for (const one of stretches ?? []) {
      brush.globalAlpha = 0.7 * Math.abs(one.effect) / most;
      brush.fillStyle = one.effect > 0 ? pro : against;
      brush.fillRect(one.from * wave.width, 0, (one.to - one.from) * wave.width + 1, wave.height);
    }
    brush.globalAlpha = 1;
    brush.fillStyle = getComputedStyle(wave).color;
    peaks.forEach((peak, x) => brush.fillRect(x, wave.height / 2 * (1 - peak), 1, Math.max(1, wave.height * peak)));
  };
  const take = async chosen => {
    file = chosen;
    if (address) URL.revokeObjectURL(address);
    player.src = address = URL.createObjectURL(chosen);
    player.hidden = wave.hidden = false;
    peaks = await peaksOf(chosen, wave.width);
    draw();
    changed();
  };
  element.append(dropZone("drop a sound, or choose one", "audio/*", take), wave, player);
  const clear = () => { file = undefined; player.hidden = wave.hidden = true; player.removeAttribute("src"); };
  return {element, value: async () => file && base64(file), clear, show: effects => draw(effects.stretches)};
}

async function peaksOf(file, count) {
  try {
    const heard = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(await file.arrayBuffer());
    const values = heard.getChannelData(0), size = Math.max(1, Math.floor(values.length / count));
    const found = Array.from({length: count}, (_, at) => values.subarray(at * size, (at + 1) * size).reduce((most, one) => Math.max(most, Math.abs(one)), 0));
    const most = Math.max(...found, 1e-9);
    return found.map(one => one / most);
  } catch { return []; }
}
