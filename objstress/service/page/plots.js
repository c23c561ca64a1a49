// Plots that can be rotated: atoms and bonds, and a surface over directions. Canvas only.

import { cross, dot, turned, unit } from "./elastic.js";

const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37],
];
// Jmol's colours and covalent radii (Angstrom, Cordero 2008) of common elements.
const ELEMENTS = {
  H: ["#e6e6e6", 0.31], C: ["#8a8a8a", 0.76], N: ["#3050f8", 0.71], O: ["#ff3b30", 0.66],
  F: ["#90e050", 0.57], Na: ["#ab5cf2", 1.66], Mg: ["#7fdc3c", 1.41], Al: ["#bfa6a6", 1.21],
  Si: ["#e2bd8d", 1.11], P: ["#ff8000", 1.07], S: ["#e8d838", 1.05], Cl: ["#1fd41f", 1.02],
  K: ["#8f40d4", 2.03], Ca: ["#3dc83d", 1.76], Ti: ["#bfc2c7", 1.6], Fe: ["#e06633", 1.32],
  Ni: ["#50c060", 1.24], Cu: ["#c88033", 1.32], Zn: ["#7d80b0", 1.22], Ga: ["#c28f8f", 1.22],
  Ge: ["#668f8f", 1.2], As: ["#bd80e3", 1.19], Pd: ["#2a8a9e", 1.39], Ag: ["#b8b8c4", 1.45],
  Pt: ["#a8a8c8", 1.36], Au: ["#f2c230", 1.36],
};
export const elementColour = (symbol) => (ELEMENTS[symbol] ?? ["#c06aa8"])[0];
const radius = (symbol) => (ELEMENTS[symbol] ?? ["", 1.4])[1];

function viridis(t) {
  const x = Math.min(Math.max(t, 0), 1) * (VIRIDIS.length - 1);
  const k = Math.min(Math.floor(x), VIRIDIS.length - 2);
  return VIRIDIS[k].map((v, i) => v + (x - k) * (VIRIDIS[k + 1][i] - v));
}

const times = (a, b) => a.map((row) => [0, 1, 2].map((j) => dot(row, b.map((r) => r[j]))));
const about = (axis, angle) => {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return axis === "x" ? [[1, 0, 0], [0, c, -s], [0, s, c]] : [[c, 0, s], [0, 1, 0], [-s, 0, c]];
};
// x to the right and a little towards the eye, z up.
const START = times(about("x", 0.35), times(about("y", -0.5), [[0, 1, 0], [0, 0, 1], [1, 0, 0]]));

/** A canvas that is turned by mouse, touch and arrow keys, and turns by itself unless paused. */
export class Turning {
  constructor(canvas, pause) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.pauseButton = pause;
    this.view = START;
    this.scene = null;
    this.seen = true;
    this.running = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    pause.addEventListener("click", () => this.run(!this.running));
    let last = null;
    canvas.addEventListener("pointerdown", (e) => {
      last = [e.clientX, e.clientY];
      canvas.setPointerCapture(e.pointerId);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (!last) return;
      this.turn((e.clientX - last[0]) / 120, (e.clientY - last[1]) / 120);
      last = [e.clientX, e.clientY];
    });
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, () => (last = null));
    canvas.addEventListener("keydown", (e) => {
      const way = {
        ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1],
      }[e.key];
      if (way) this.turn(...way);
      else if (e.key === "Home") {
        this.view = START;
        this.draw();
      } else return;
      e.preventDefault();
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    new IntersectionObserver((entries) => {
      this.seen = entries.at(-1).isIntersecting;
      this.go();
    }).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.run(this.running);
  }

  run(running) {
    this.running = running;
    this.pauseButton.textContent = running ? "Pause" : "Turn";
    this.pauseButton.setAttribute("aria-pressed", String(!running));
    this.go();
  }

  go() {
    if (this.frame || !this.running || !this.seen || !this.scene) return;
    let before = performance.now();
    const step = (now) => {
      this.frame = null;
      if (!this.running || !this.seen) return;
      if (now - before > 30) {
        this.turn(Math.min(now - before, 100) * 2.5e-4, 0);
        before = now;
      }
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  turn(x, y) {
    this.view = times(about("x", y), times(about("y", x), this.view));
    this.draw(true);
  }

  show(scene) {
    this.scene = scene;
    this.draw();
    this.go();
  }

  /** moving: a coarser plot is enough, a finer one follows. */
  draw(moving = false) {
    clearTimeout(this.rest);
    if (moving) this.rest = setTimeout(() => this.draw(), 150);
    const { canvas, context, scene } = this;
    if (!scene || !canvas.clientWidth) return;
    const dense = window.devicePixelRatio || 1;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(w * dense) || canvas.height !== Math.round(h * dense)) {
      canvas.width = Math.round(w * dense);
      canvas.height = Math.round(h * dense);
    }
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, w, h);
    const style = getComputedStyle(canvas);
    const pen = { moving, ink: style.color, faint: style.getPropertyValue("--faint"), dense };
    pen.back = style.getPropertyValue("--card");
    context.translate(w / 2, h / 2);
    scene(context, this.view, Math.min(w, h) / 2, pen);
  }
}

/** Ball and stick: atoms of the conventional cell with those on its faces, bonds, edges.
 *  cell: vectors as rows; positions and lattice of the primitive cell, all Angstrom. */
export function crystalScene(cell, lattice, elements, positions) {
  const inverse = columnsInverse(cell);
  const atoms = [];
  const reach = 4, eps = 1e-3;
  const first = positions[0]; // at a corner of the cell
  for (let i = -reach; i <= reach; i++)
    for (let j = -reach; j <= reach; j++)
      for (let k = -reach; k <= reach; k++)
        positions.forEach((p, m) => {
          const place = [0, 1, 2].map(
            (x) => p[x] - first[x] + i * lattice[0][x] + j * lattice[1][x] + k * lattice[2][x]);
          const f = turned(inverse, place);
          if (f.every((x) => x > -eps && x < 1 + eps)) atoms.push({ place, element: elements[m] });
        });
  const middle = [0, 1, 2].map((x) => (cell[0][x] + cell[1][x] + cell[2][x]) / 2);
  for (const atom of atoms) atom.place = atom.place.map((x, i) => x - middle[i]);
  // Bonded: near as radii go, and not much further than the nearest of the two.
  const pairs = [], nearest = atoms.map(() => Infinity);
  for (let a = 0; a < atoms.length; a++)
    for (let b = 0; b < a; b++) {
      const d = Math.hypot(...atoms[a].place.map((x, i) => x - atoms[b].place[i]));
      if (d > 1.2 * (radius(atoms[a].element) + radius(atoms[b].element))) continue;
      pairs.push([a, b, d]);
      for (const k of [a, b]) nearest[k] = Math.min(nearest[k], d);
    }
  const bonds = pairs.filter(([a, b, d]) => d < 1.12 * Math.max(nearest[a], nearest[b]));
  const corner = (i, j, k) =>
    [0, 1, 2].map((x) => i * cell[0][x] + j * cell[1][x] + k * cell[2][x] - middle[x]);
  const edges = [];
  for (const i of [0, 1])
    for (const j of [0, 1])
      edges.push([corner(0, i, j), corner(1, i, j)], [corner(i, 0, j), corner(i, 1, j)],
        [corner(i, j, 0), corner(i, j, 1)]);
  const size = Math.max(...edges.flat().map((p) => Math.hypot(...p)), 1) + 0.5;
  const sprites = new Map();
  const ballSize = (atom) => 0.38 * radius(atom.element);
  return (context, view, half, pen) => {
    const scale = (0.95 * half) / size;
    const flat = (p) => {
      const [x, y, z] = turned(view, p);
      return [x * scale, -y * scale, z];
    };
    const things = [];
    const seen = atoms.map((atom) => flat(atom.place));
    for (const [p, q] of edges) {
      const [a, b] = [flat(p), flat(q)];
      things.push([(a[2] + b[2]) / 2 - 0.5, () => line(context, a, b, pen.faint, 1)]);
    }
    for (const [i, j] of bonds) {
      // From ball to ball, not from middle to middle: what comes nearer is drawn over the ball.
      const [p, q] = [atoms[i].place, atoms[j].place];
      const long = Math.hypot(...p.map((x, k) => x - q[k]));
      const at = (share) => flat(p.map((x, k) => x + share * (q[k] - x)));
      const a = at((0.85 * ballSize(atoms[i])) / long), b = at(1 - (0.85 * ballSize(atoms[j])) / long);
      const m = a.map((x, k) => (x + b[k]) / 2);
      const width = Math.max(2, 0.16 * scale);
      things.push([(a[2] + m[2]) / 2 - 0.1, () => {
        line(context, a, m, shade(elementColour(atoms[i].element), 0.8), width);
      }]);
      things.push([(b[2] + m[2]) / 2 - 0.1, () => {
        line(context, m, b, shade(elementColour(atoms[j].element), 0.8), width);
      }]);
    }
    atoms.forEach((atom, i) => {
      const { element } = atom;
      const r = Math.max(3, ballSize(atom) * scale);
      const key = `${element} ${r.toFixed(1)} ${pen.dense}`;
      if (!sprites.has(key)) sprites.set(key, ball(elementColour(element), r, pen.dense));
      things.push([seen[i][2], () => {
        context.drawImage(sprites.get(key), seen[i][0] - r, seen[i][1] - r, 2 * r, 2 * r);
      }]);
    });
    things.sort((a, b) => a[0] - b[0]);
    for (const [, paint] of things) paint();
  };
}

function columnsInverse(rows) {
  const [a, b, c] = rows;
  const volume = dot(a, cross(b, c));
  return [cross(b, c), cross(c, a), cross(a, b)].map((v) => v.map((x) => x / volume));
}

function line(context, a, b, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineCap = "butt";
  context.beginPath();
  context.moveTo(a[0], a[1]);
  context.lineTo(b[0], b[1]);
  context.stroke();
}

function shade(colour, factor) {
  const parts = [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));
  const mixed = parts.map((x) => (factor < 1 ? x * factor : x + (255 - x) * (factor - 1)));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
}

function ball(colour, r, dense) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil(2 * r * dense) + 2;
  const context = canvas.getContext("2d");
  const c = canvas.width / 2, radius = c - 1;
  const light = context.createRadialGradient(0.7 * c, 0.62 * c, 0.05 * c, c, c, radius);
  light.addColorStop(0, shade(colour, 1.75));
  light.addColorStop(0.45, colour);
  light.addColorStop(1, shade(colour, 0.5));
  context.fillStyle = light;
  context.beginPath();
  context.arc(c, c, radius, 0, 2 * Math.PI);
  context.fill();
  return canvas;
}

const spheres = new Map();
/** Corners and triangles of an icosahedron, each divided some times. */
function icosphere(levels) {
  if (spheres.has(levels)) return spheres.get(levels);
  const g = (1 + Math.sqrt(5)) / 2;
  const corners = [
    [-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g],
    [0, -1, -g], [0, 1, -g], [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1],
  ].map(unit);
  let faces = [
    [0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4],
    [11, 10, 2], [10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8],
    [3, 8, 9], [4, 9, 5], [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1],
  ];
  for (let level = 0; level < levels; level++) {
    const middles = new Map();
    const middle = (a, b) => {
      const key = a < b ? `${a} ${b}` : `${b} ${a}`;
      if (!middles.has(key)) {
        corners.push(unit(corners[a].map((x, i) => x + corners[b][i])));
        middles.set(key, corners.length - 1);
      }
      return middles.get(key);
    };
    faces = faces.flatMap(([a, b, c]) => {
      const [d, e, f] = [middle(a, b), middle(b, c), middle(c, a)];
      return [[a, d, f], [b, e, d], [c, f, e], [d, e, f]];
    });
  }
  spheres.set(levels, { corners, faces });
  return spheres.get(levels);
}

/** A positive function of directions as the distance from the middle, coloured by value. */
export function surfaceScene(value, least, largest) {
  const [coarse, fine] = [4, 5].map((levels) => {
    let made = null; // the fine one is needed only when the plot is at rest
    return (...where) => (made ??= surface(icosphere(levels), value, least, largest))(...where);
  });
  return (context, view, half, pen) => (pen.moving ? coarse : fine)(context, view, half, pen);
}

function surface({ corners, faces }, value, least, largest) {
  const values = corners.map(value);
  const points = corners.map((n, i) => n.map((x) => (x * values[i]) / largest));
  const spread = Math.max(largest - least, 1e-3 * largest);
  const tones = faces.map((f) => {
    const mean = (values[f[0]] + values[f[1]] + values[f[2]]) / 3;
    return largest - least < 1e-3 * largest ? 0.5 : (mean - least) / spread;
  });
  const normals = points.map(() => [0, 0, 0]);
  for (const face of faces) {
    const [p, q, r] = face.map((i) => points[i]);
    const n = cross(q.map((x, i) => x - p[i]), r.map((x, i) => x - p[i]));
    for (const i of face) normals[i] = normals[i].map((x, k) => x + n[k]);
  }
  const smooth = faces.map((f) =>
    unit([0, 1, 2].map((k) => f.reduce((sum, i) => sum + unit(normals[i])[k], 0))));
  return (context, view, half, pen) => {
    const scale = 0.76 * half;
    const seen = points.map((p) => turned(view, p));
    const drawn = [];
    faces.forEach(([a, b, c], k) => {
      const [p, q, r] = [seen[a], seen[b], seen[c]];
      const x = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
      if (x <= 0) return; // it looks away
      drawn.push([p[2] + q[2] + r[2], k]);
    });
    drawn.sort((a, b) => a[0] - b[0]);
    const axes = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis, k) => ({
      tip: turned(view, axis.map((x) => 1.17 * x)),
      start: turned(view, axis.map((x) => (x * value(axis)) / largest)),
      name: "xyz"[k],
    }));
    const axis = ({ tip, start, name }) => {
      line(context, [start[0] * scale, -start[1] * scale], [tip[0] * scale, -tip[1] * scale],
        pen.ink, 1.25);
      context.fillStyle = pen.ink;
      context.font = "italic 15px ui-serif, Georgia, serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.lineWidth = 3;
      context.strokeStyle = pen.back;
      context.strokeText(name, tip[0] * scale * 1.09, -tip[1] * scale * 1.09);
      context.fillText(name, tip[0] * scale * 1.09, -tip[1] * scale * 1.09);
    };
    axes.filter((a) => a.tip[2] < 0).forEach(axis);
    context.lineWidth = 0.7;
    context.lineJoin = "round";
    for (const [, k] of drawn) {
      const [p, q, r] = faces[k].map((i) => seen[i]);
      const light = 0.6 + 0.4 * Math.max(0, dot(turned(view, smooth[k]), [-0.35, 0.55, 0.76]));
      const colour = `rgb(${viridis(tones[k]).map((x) => Math.round(x * light)).join(" ")})`;
      context.fillStyle = context.strokeStyle = colour;
      context.beginPath();
      context.moveTo(p[0] * scale, -p[1] * scale);
      context.lineTo(q[0] * scale, -q[1] * scale);
      context.lineTo(r[0] * scale, -r[1] * scale);
      context.closePath();
      context.fill();
      context.stroke();
    }
    axes.filter((a) => a.tip[2] >= 0).forEach(axis);
  };
}

const SVG = "http://www.w3.org/2000/svg";
/** An element of an SVG plot. */
function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Polar curves into an SVG element, rings every few units.
 *  values: of an angle, one number for each curve; names: what the plane's two axes are called. */
export function polarPlot(picture, values, unitName, names) {
  picture.replaceChildren();
  const angles = Array.from({ length: 361 }, (_, k) => (k * Math.PI) / 180);
  const found = angles.map(values);
  const largest = Math.max(...found.flat());
  const step = [0.5, 1, 2, 5, 10].find((x) => largest / x <= 5) ?? 20;
  const end = Math.ceil(largest / step) * step;
  const scale = 130 / end;
  for (let r = step; r <= end + 1e-9; r += step) {
    picture.append(svg("circle", { class: "ring", r: r * scale }));
  }
  picture.append(svg("path", { class: "ring", d: "M-134 0H134M0-134V134" }));
  found[0].forEach((_, k) => {
    const d = found.map((list, i) => {
      const v = list[k];
      const [x, y] = [v * scale * Math.cos(angles[i]), -v * scale * Math.sin(angles[i])];
      return `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`;
    });
    picture.append(svg("path", { class: `sheet sheet${k}`, d: `${d.join("")}Z` }));
  });
  for (let r = step; r <= end + 1e-9; r += step) {
    const text = `${+r.toFixed(1)}${r > end - step / 2 ? ` ${unitName}` : ""}`;
    const [x, y] = [r * scale * Math.SQRT1_2, r * scale * Math.SQRT1_2];
    picture.append(svg("text", { class: "tick", x: x + 2, y: y + 9 }, text));
  }
  picture.append(svg("text", { class: "axis", x: 139, y: 4 }, names[0]));
  picture.append(svg("text", { class: "axis middle", x: 0, y: -140 }, names[1]));
}
