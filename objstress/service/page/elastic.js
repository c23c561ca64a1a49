// What follows from elastic constants, by direction. Voigt order xx yy zz yz xz xy, GPa.

const VOIGT = [[0, 5, 4], [5, 1, 3], [4, 3, 2]];

/** The inverse of a matrix, by elimination with pivots. */
export function inverse(matrix) {
  const n = matrix.length;
  const a = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(a[i][k]) > Math.abs(a[best][k])) best = i;
    [a[k], a[best]] = [a[best], a[k]];
    const pivot = a[k][k];
    for (let j = 0; j < 2 * n; j++) a[k][j] /= pivot;
    for (let i = 0; i < n; i++) {
      if (i === k || a[i][k] === 0) continue;
      const f = a[i][k];
      for (let j = 0; j < 2 * n; j++) a[i][j] -= f * a[k][j];
    }
  }
  return a.map((row) => row.slice(n));
}

/** E(n) = 1 / (n n : S : n n) for a unit n; s is the 6 x 6 compliance, 1/GPa. */
export function youngsModulus(s, n) {
  const [x, y, z] = n;
  const v = [x * x, y * y, z * z, y * z, x * z, x * y];
  let sum = 0;
  for (let i = 0; i < 6; i++) for (let j = 0; j < 6; j++) sum += s[i][j] * v[i] * v[j];
  return 1 / sum;
}

/** Speeds of the three waves along a unit n, km/s, slowest first; density in g/cm^3.
 *  Christoffel's equation: (C_ijkl n_j n_l - rho v^2 delta_ik) e_k = 0. */
export function soundSpeeds(c, density, n) {
  const g = [[0, 0, 0], [0, 0, 0], [0, 0, 0]];
  for (let i = 0; i < 3; i++)
    for (let k = i; k < 3; k++) {
      let sum = 0;
      for (let j = 0; j < 3; j++)
        for (let l = 0; l < 3; l++) sum += c[VOIGT[i][j]][VOIGT[k][l]] * n[j] * n[l];
      g[i][k] = g[k][i] = sum;
    }
  return eigenvalues(g).map((x) => Math.sqrt(Math.max(x, 0) / density));
}

/** Of a symmetric 3 x 3 matrix, rising, by Jacobi's rotations. */
export function eigenvalues(matrix) {
  const a = matrix.map((row) => [...row]);
  for (let sweep = 0; sweep < 30; sweep++) {
    const off = a[0][1] ** 2 + a[0][2] ** 2 + a[1][2] ** 2;
    if (off <= 1e-30 * (a[0][0] ** 2 + a[1][1] ** 2 + a[2][2] ** 2)) break;
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]]) {
      if (a[p][q] === 0) continue;
      const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
      const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
      const c = 1 / Math.hypot(t, 1), s = t * c;
      for (let k = 0; k < 3; k++) {
        const x = a[k][p], y = a[k][q];
        a[k][p] = c * x - s * y;
        a[k][q] = s * x + c * y;
      }
      for (let k = 0; k < 3; k++) {
        const x = a[p][k], y = a[q][k];
        a[p][k] = c * x - s * y;
        a[q][k] = s * x + c * y;
      }
    }
  }
  return [a[0][0], a[1][1], a[2][2]].sort((x, y) => x - y);
}

/** Where a function of unit vectors, even in n, is least and largest: a grid, then smaller and
 *  smaller steps across. [{value, n}, {value, n}] */
export function extremes(value) {
  // Where symmetry puts most of them comes first, and stays where others are as good.
  const grid = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]].map(unit);
  const golden = Math.PI * (3 - Math.sqrt(5));
  for (let k = 0; k < 2000; k++) {
    const z = (k + 0.5) / 2000, r = Math.sqrt(1 - z * z);
    grid.push([r * Math.cos(golden * k), r * Math.sin(golden * k), z]);
  }
  return [1, -1].map((sign) => {
    let n = grid[0], best = sign * value(n);
    for (const other of grid) {
      const v = sign * value(other);
      if (v < best - 1e-12 * Math.abs(best)) [n, best] = [other, v];
    }
    for (let step = 0.05; step > 1e-7; ) {
      const [a, b] = across(n);
      let moved = false;
      for (let k = 0; k < 8; k++) {
        const u = step * Math.cos((k * Math.PI) / 4), v = step * Math.sin((k * Math.PI) / 4);
        const trial = unit(n.map((x, i) => x + u * a[i] + v * b[i]));
        const found = sign * value(trial);
        if (found < best - 1e-13 * Math.abs(best)) [n, best, moved] = [trial, found, true];
      }
      if (!moved) step /= 2;
    }
    return { value: sign * best, n };
  });
}

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
];
export const unit = (a) => a.map((x) => x / Math.hypot(...a));
/** Rows of a matrix with a vector. */
export const turned = (q, v) => q.map((row) => dot(row, v));

/** Two unit vectors across n, right-handed with it. */
export function across(n) {
  const helper = Math.abs(n[2]) > 0.9 ? [1, 0, 0] : [0, 0, 1];
  const a = unit(cross(helper, n));
  return [a, cross(n, a)];
}

/** "[1 1 0]" where small whole numbers do, else three decimals. */
export function directionName(n) {
  const largest = Math.max(...n.map(Math.abs));
  for (let m = 1; m <= 4; m++) {
    const scaled = n.map((x) => (m * x) / largest);
    if (scaled.every((x) => Math.abs(x - Math.round(x)) < 2e-3)) {
      const sign = Math.sign(scaled.find((x) => Math.abs(x) > 0.5));
      const whole = scaled.map((x) => Math.round(sign * x));
      return `[${whole.map((x) => (x < 0 ? `−${-x}` : `${Math.abs(x)}`)).join("\u00a0")}]`;
    }
  }
  return `[${n.map((x) => x.toFixed(3).replace(/^-(?=0\.000$)/, "").replace("-", "−")).join(" ")}]`;
}
