// The page: asks the service, shows the answer.

import {
  across, directionName, extremes, inverse, soundSpeeds, turned, unit, youngsModulus,
} from "./elastic.js";
import { EXAMPLES } from "./examples.js";
import { crystalScene, elementColour, polarPlot, surfaceScene, Turning } from "./plots.js";

const $ = (id) => document.getElementById(id);
const LARGEST_LINK = 512 * 1024; // characters of a structure that a link may hold
const PLANES = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1]];
const DIRECTIONS = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]];
const VOIGT = ["xx", "yy", "zz", "yz", "xz", "xy"];

let models = [], asked = null, answer = null, running = null;
const structureView = new Turning($("structure-view"), $("structure-pause"));
const youngView = new Turning($("young-view"), $("young-pause"));

// --- the request ---------------------------------------------------------------------------

function guessFormat(text, name = "") {
  if (/\.json$/i.test(name) || /^\s*\{/.test(text)) return "json";
  if (/\.cif$/i.test(name) || /^\s*(data_|_cell_)/m.test(text)) return "cif";
  if (/(poscar|contcar|\.vasp)$/i.test(name)) return "poscar";
  return text.trim() ? "poscar" : "cif";
}

function fill({ structure, format, model, ions = "relaxed" }) {
  $("structure").value = structure;
  $("format").value = format;
  $("ions").value = ions;
  if (models.some((m) => m.name === model)) $("model").value = model;
  else if (!model) $("model").selectedIndex = 0;
  describeModel();
}

/** Elements, functional and faults of a model, and the paper to cite. */
function about(model) {
  const known = model.elements ?? [];
  return [model.what, known.length > 12 ? `${known.length} elements` : known.join(" "),
    model.functional, model.faults, model.citation].filter(Boolean).join(" — ");
}

function describeModel() {
  const model = models.find((m) => m.name === $("model").value);
  $("model-what").textContent = model ? about(model)
    : "The first that knows the elements, universal potentials before others.";
}

async function take(file) {
  if (file.size > LARGEST_LINK) {
    showError("The file is too large", `${file.name} has ${file.size} bytes.`);
    return;
  }
  const text = await file.text();
  $("structure").value = text;
  $("format").value = guessFormat(text, file.name);
  compute();
}

function showError(title, detail) {
  const box = $("error");
  box.replaceChildren();
  const strong = document.createElement("strong");
  strong.textContent = title;
  const text = document.createElement("span");
  text.textContent = detail;
  box.append(strong, text);
  box.hidden = false;
  $("status").textContent = "";
}

async function compute(link = null) {
  const request = {
    structure: $("structure").value, format: $("format").value,
    model: $("model").value, ions: $("ions").value,
  };
  if (link?.model && link.model !== request.model) {
    showError("No such model here", `The link asks for ${link.model}, which this service has not.`);
    return;
  }
  if (!request.structure.trim()) {
    showError("No structure yet", "Drop a file, paste its text, or take an example.");
    $("structure").focus();
    return;
  }
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  $("error").hidden = true;
  $("form").classList.add("busy");
  $("status").textContent = "Relaxing and straining the crystal…";
  const begun = performance.now();
  try {
    const response = await fetch("/v1/properties", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...request, model: request.model || null }), signal,
    });
    const content = await response.json();
    if (!response.ok) {
      showError(content.title, content.detail);
      $("results").hidden = true;
      return;
    }
    [asked, answer] = [{ ...request, model: content.model }, content];
    const hash = await packed(asked);
    if (signal.aborted) return;
    history.replaceState(null, "", `#${hash}`);
    $("results").hidden = false;
    show();
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    const state = content.stable ? "stable" : "unstable";
    const kept = (response.headers.get("Cache-Status") ?? "").includes("hit") ? ", kept from before" : "";
    $("status").textContent = `${content.formula} by ${content.model}: ${state}; ${seconds} s${kept}.`;
  } catch (error) {
    if (error.name !== "AbortError")
      showError("The service does not answer", "Is it still running? Try again in a moment.");
  } finally {
    if (running?.signal === signal) $("form").classList.remove("busy");
  }
}

// --- links ---------------------------------------------------------------------------------

async function packed(request) {
  const stream = new Blob([JSON.stringify(request)]).stream();
  const bytes = await bytesOf(stream.pipeThrough(new CompressionStream("deflate-raw")));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  const plain = btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return `s=${plain}`;
}

async function unpacked(hash) {
  const plain = atob(hash.slice(2).replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(plain, (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(new TextDecoder().decode(await bytesOf(stream)));
}

/** All that a stream gives, up to a bound: a few bytes can unfold into very many. */
async function bytesOf(stream) {
  const parts = [];
  let size = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > LARGEST_LINK) {
      await reader.cancel();
      throw new RangeError("too long");
    }
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function openLink() {
  const hash = location.hash.slice(1);
  if (!hash.startsWith("s=")) return;
  try {
    const link = await unpacked(hash);
    for (const key of ["structure", "format", "model", "ions"])
      if (typeof link[key] !== "string") throw new TypeError(key);
    fill(link);
    await compute(link);
  } catch {
    showError("The link cannot be read", "It was cut or changed on its way.");
  }
}

// --- the answer ----------------------------------------------------------------------------

const frame = () => document.querySelector("input[name=frame]:checked").value;
const turn = () => (frame() === "ieee" ? answer.to_ieee : [[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
const stiffness = () =>
  frame() === "ieee" ? answer.stiffness_ieee_GPa : answer.stiffness_GPa;
const minus = (text) => text.replaceAll("-", "−");
const number = (x, digits = 3) => {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  if (size >= 1e5 || (size < 1e-3 && size > 0)) return minus(x.toExponential(2));
  return minus(x.toFixed(Math.min(8, Math.max(0, digits - 1 - Math.floor(Math.log10(size || 1))))));
};

function cell(text, value, tag = "td") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (value !== undefined) element.dataset.value = value;
  return element;
}

function row(table, head, ...cells) {
  const line = document.createElement("tr");
  const th = cell(head, undefined, "th");
  th.scope = "row";
  line.append(th, ...cells);
  table.append(line);
}

function facts(list, pairs) {
  list.replaceChildren();
  for (const [name, text, value] of pairs) {
    const box = document.createElement("div");
    box.append(cell(name, undefined, "dt"), cell(text, value, "dd"));
    list.append(box);
  }
}

/** "Fm-3m" with the bar over the 3, "P6_3/mmc" with the 3 below. */
function symbol(text) {
  const parts = [];
  for (const [part] of text.matchAll(/-\d|_\d|[^-_]+|./g)) {
    if (/^-\d$/.test(part)) parts.push(`${part[1]}\u0305`);
    else if (/^_\d$/.test(part)) parts.push(String.fromCharCode(0x2080 + +part[1]));
    else parts.push(part);
  }
  return parts.join("");
}

const below = (text) => text.replace(/\d/g, (d) => String.fromCharCode(0x2080 + +d));

function show() {
  $("formula").textContent = below(answer.formula);
  const stable = answer.stable;
  facts($("facts"), [
    ["space group", `${symbol(answer.space_group.symbol)}, no. ${answer.space_group.number}`,
      answer.space_group.symbol],
    ["point group", symbol(answer.point_group), answer.point_group],
    ["system", answer.crystal_system],
    ["density", `${number(answer.density_g_per_cm3, 4)} g/cm³`, answer.density_g_per_cm3],
    ["model", `${answer.model}, ${answer.ions} ions`],
    ["primitive cell", `${answer.atoms} atom${answer.atoms > 1 ? "s" : ""}`],
    ["mechanically", stable ? "✓ stable" : "✗ unstable", String(stable)],
  ]);
  $("facts").lastChild.classList.add(stable ? "good" : "bad");
  const model = models.find((m) => m.name === answer.model);
  $("model-note").textContent = `${answer.model}: ${answer.model_version}`
    + (model ? ` — ${about(model)}` : "");
  showUnstable();
  $("stable-only").hidden = $("young-card").hidden = !answer.averages;
  $("plots").classList.toggle("one", !answer.averages);
  showFrame();
  if (answer.averages) showAverages();
}

function showUnstable() {
  $("unstable").hidden = answer.stable;
  if (answer.stable) return;
  const { stable, eigenvalues, softest_strain: strain } = answer.stability;
  $("softest").hidden = stable;
  if (stable) {
    const least = number(answer.least_ion_stiffness_eV_per_A2);
    $("unstable-text").textContent = `Its ions move off their sites at fixed cell: the least `
      + `eigenvalue of their force constants is ${least} eV/Å²`
      + (answer.unstable_mode ? ` (${answer.unstable_mode})` : "")
      + `. It would fall into another structure.`
      + (answer.strain_drives_it ? " Strains drive them: these constants have no meaning." : "");
    return;
  }
  $("unstable-text").textContent = `A strain lowers its energy: the least eigenvalue of C is `
    + `${number(eigenvalues[0])} GPa. Averages, extremes by direction and sound do not exist.`;
  const body = $("softest").tBodies[0];
  body.replaceChildren();
  for (const values of strain) {
    const line = document.createElement("tr");
    line.append(...values.map((x) => cell(minus((Math.abs(x) < 5e-4 ? 0 : x).toFixed(3)), x)));
    body.append(line);
  }
}

function showFrame() {
  const q = turn();
  const rotate = (rows) => rows.map((v) => turned(q, v));
  structureView.show(crystalScene(rotate(answer.conventional_cell_A), rotate(answer.lattice_A),
    answer.elements, rotate(answer.positions_A)));
  const legend = [...new Set(answer.elements)].map((name) => {
    const item = document.createElement("li");
    const dot = document.createElement("span");
    dot.className = "dot";
    dot.style.background = elementColour(name);
    item.append(dot, name);
    return item;
  });
  $("legend").replaceChildren(...legend);
  showMatrix();
  if (!answer.averages) return;
  const s = inverse(stiffness());
  const value = (n) => youngsModulus(s, n);
  const [least, largest] = extremes(value);
  for (const [id, end] of [["young-least", least], ["young-largest", largest]]) {
    $(id).textContent = number(end.value, 4);
    $(id).dataset.value = end.value;
    $(`${id}-n`).textContent = directionName(end.n);
  }
  youngView.show(surfaceScene(value, least.value, largest.value));
  showWaves();
  showExtremes(q);
}

function showMatrix() {
  const compliance = document.querySelector("input[name=tensor]:checked").value === "compliance";
  const standard = frame() === "ieee";
  const c = stiffness();
  const values = compliance ? inverse(c).map((r) => r.map((x) => 1000 * x)) : c;
  const title = compliance ? ["S", ", 1/TPa"] : ["C", ", GPa"];
  $("matrix-title").replaceChildren(compliance ? "Compliance " : "Stiffness ",
    cell(title[0], undefined, "i"), title[1]);
  const table = $("matrix");
  const head = document.createElement("tr");
  head.append(document.createElement("td"));
  for (const name of VOIGT) {
    const th = cell(name, undefined, "th");
    th.scope = "col";
    head.append(th);
  }
  table.tHead.replaceChildren(head);
  const body = table.tBodies[0];
  body.replaceChildren();
  const symbols = standard && !compliance ? answer.form_ieee : null;
  const largest = Math.max(...values.flat().map(Math.abs));
  const tolerance = 1e-6 * largest;
  // Equal entries: by the form where there is one, else by value (that of the first of a kind).
  const kinds = [], classes = [];
  values.forEach((line, i) => line.forEach((x, j) => {
    const zero = symbols ? symbols[i][j] === "0" : Math.abs(x) < tolerance;
    let kind = zero ? -1 : kinds.findIndex((k) =>
      symbols ? k.symbol === symbols[i][j].replace(/^-/, "") : Math.abs(k.value - Math.abs(x)) < tolerance);
    if (!zero && kind < 0) {
      kind = kinds.length;
      kinds.push({ symbol: symbols?.[i][j].replace(/^-/, ""), value: Math.abs(x), count: 0 });
    }
    if (kind >= 0 && i <= j) kinds[kind].count += 1;
    (classes[i] ??= []).push(kind);
  }));
  let colours = 0;
  for (const kind of kinds) kind.colour = kind.count > 1 ? colours++ : -1;
  values.forEach((line, i) => {
    row(body, VOIGT[i], ...line.map((x, j) => {
      const kind = kinds[classes[i][j]];
      const td = cell("", x);
      const value = document.createElement("span");
      value.textContent = kind ? minus(x.toFixed(compliance ? 3 : 2)) : "0";
      td.append(value);
      if (!kind) td.className = "zero";
      else if (kind.colour >= 0) td.className = `kind kind${kind.colour % 8}`;
      if (kind && symbols) {
        const name = cell("", undefined, "small");
        name.textContent = minus(symbols[i][j]).replace(/c\d\d/g, below);
        td.append(name);
      }
      return td;
    }));
  });
  $("matrix-note").textContent = symbols
    ? `Form of point group ${symbol(answer.point_group)}; equal entries have one colour. The model's `
      + `own deviation from it was ${number(answer.asymmetry, 2)} of the largest.`
    : "Equal entries have one colour.";
}

function showWaves() {
  const normal = unit(PLANES[$("plane").selectedIndex]);
  const [a, b] = planeAxes(normal);
  const c = stiffness(), density = answer.density_g_per_cm3;
  const along = (t) => a.map((x, i) => x * Math.cos(t) + b[i] * Math.sin(t));
  polarPlot($("polar"), (t) => soundSpeeds(c, density, along(t)), "km/s", [directionName(a), directionName(b)]);
  const body = $("speeds").tBodies[0];
  body.replaceChildren();
  for (const d of DIRECTIONS) {
    const speeds = soundSpeeds(c, density, unit(d)).reverse();
    row(body, directionName(d), ...speeds.map((v) => cell(v.toFixed(3), v)));
  }
}

/** x to the right where it lies in the plane. */
function planeAxes(normal) {
  if (normal[0] === 0 && normal[1] === 0) return [[1, 0, 0], [0, 1, 0]];
  if (normal[2] === 0) return across(normal);
  return [unit([1, -1, 0]), unit([1, 1, -2])];
}

function showAverages() {
  const { voigt, reuss, hill } = answer.averages;
  const body = $("averages").tBodies[0];
  body.replaceChildren();
  for (const [key, name] of [["bulk", "bulk K, GPa"], ["shear", "shear G, GPa"],
    ["young", "Young E, GPa"], ["poisson", "Poisson ν"]])
    row(body, name, ...[voigt, reuss, hill].map((m) => cell(number(m[key], 4), m[key])));
  const numbers = [
    ["universal anisotropy", number(answer.averages.universal_anisotropy), answer.averages.universal_anisotropy],
    ["Pugh’s ratio K/G", number(answer.averages.pugh_ratio), answer.averages.pugh_ratio],
  ];
  if (answer.zener_ratio !== undefined)
    numbers.unshift(["Zener’s ratio", number(answer.zener_ratio), answer.zener_ratio]);
  for (const [author, x] of Object.entries(answer.averages.hardness_GPa))
    numbers.push([`hardness, ${author}`, `${number(x)} GPa`, x]);
  facts($("numbers"), numbers);
  const t = answer.thermal;
  facts($("thermal"), [
    ["Debye temperature", `${number(t.debye_temperature)} K`, t.debye_temperature],
    ["longitudinal sound", `${number(t.longitudinal)} km/s`, t.longitudinal],
    ["transverse sound", `${number(t.transverse)} km/s`, t.transverse],
    ["mean sound", `${number(t.mean)} km/s`, t.mean],
    ["minimum thermal conductivity, Clarke", `${number(t.clarke_limit)} W/(m K)`, t.clarke_limit],
    ["minimum thermal conductivity, Cahill", `${number(t.cahill_limit)} W/(m K)`, t.cahill_limit],
  ]);
}

function showExtremes(q) {
  const body = $("extremes").tBodies[0];
  body.replaceChildren();
  for (const [key, name, factor] of [["young", "E, GPa", 1], ["shear", "G, GPa", 1],
    ["poisson", "ν", 1], ["compressibility", "linear compressibility, 1/TPa", 1000]]) {
    const e = answer.extremes[key];
    row(body, name, ...["least", "largest"].map((end) => {
      const td = cell(number(factor * e[end], 4), e[end]);
      const ways = [e[`${end}_n`], e[`${end}_m`]].filter(Boolean);
      const small = cell(ways.map((n) => directionName(turned(q, n))).join(", "), undefined, "small");
      if (Math.abs(e.largest - e.least) > 1e-6 * Math.abs(e.largest)) td.append(small);
      return td;
    }));
  }
}

// --- beginning -----------------------------------------------------------------------------

$("form").addEventListener("submit", (e) => { e.preventDefault(); compute(); });
$("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]));
$("model").addEventListener("change", describeModel);
$("structure").addEventListener("input", () => {
  $("format").value = guessFormat($("structure").value);
});
$("structure").addEventListener("keydown", (e) => {
  if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) compute();
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(name, (e) => {
    e.preventDefault();
    $("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name !== "drop") return;
    const file = e.dataTransfer.files[0];
    if (file) take(file);
  });
for (const input of document.querySelectorAll("input[name=frame]"))
  input.addEventListener("change", () => showFrame());
for (const input of document.querySelectorAll("input[name=tensor]"))
  input.addEventListener("change", () => showMatrix());
$("plane").addEventListener("change", showWaves);
$("copy").addEventListener("click", async () => {
  const link = `${location.origin}${location.pathname}#${await packed(asked)}`;
  try {
    await navigator.clipboard.writeText(link);
    $("copy").textContent = "Copied";
  } catch {
    $("copy").textContent = "Copy it from the address bar";
  }
  setTimeout(() => ($("copy").textContent = "Copy link"), 2000);
});
$("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(
    new Blob([JSON.stringify(answer, null, 1)], { type: "application/json" }));
  link.download = `${answer.formula}-${answer.model}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
addEventListener("hashchange", openLink);

for (const normal of PLANES) $("plane").append(new Option(directionName(normal)));

async function begin() {
  try {
    models = (await (await fetch("/v1/models")).json()).models;
  } catch {
    showError("The service does not answer", "Is it still running? Load the page again.");
    return;
  }
  if (models.length > 1) $("model").append(new Option("automatic", ""));
  for (const { name } of models) $("model").append(new Option(name, name));
  for (const [name, elements, format, structure] of EXAMPLES) {
    const knows = (m) => !m.elements || elements.every((e) => m.elements.includes(e));
    if (!models.some(knows)) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      fill({ structure, format });
      compute();
    });
    $("examples").append(button);
  }
  describeModel();
  await openLink();
}
begin();
