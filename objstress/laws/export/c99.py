"""C99 source of a polynomial law: energy, stress and tangent at any number of points.

The function that evaluates the polynomial is C and C++ alike: MFront's behaviours contain it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from string import Template

import numpy as np

from objstress.laws.export.kernel import V_SPAN, Kernel
from objstress.laws.export.text import number, wrapped

WIDTH = 96
"""Characters of a line of numbers."""

_EXPAND = Template("""\
/* W, dW/deta and d2W/deta2, GPa, at eta = (E11, E22, E33, 2 E23, 2 E13, 2 E12). */
static void ${name}_expand(const double eta[6], double *w, double s[6], double c[6][6])
{
${tables}\
    double v[$count], h[21], y[6];
    int a, b, d, i, k, r;
$turn\
    /* Monomials, each a variable times one of a degree less. */
    v[0] = 1.0;
$monomials\
    *w = 0.0;
    for (a = 0; a < 6; ++a) {
        s[a] = 0.0;
        for (b = 0; b < 6; ++b) c[a][b] = 0.0;
    }
    for (d = 2; d <= $degree; ++d) {
        for (i = 0; i < 21; ++i) h[i] = 0.0;
        switch (d) {
$cases\
        }
        /* Euler: the part of degree d has S = H x / (d - 1) and W = x S / d. */
        for (a = 0; a < 6; ++a) y[a] = 0.0;
        for (a = 0, i = 0; a < 6; ++a)
            for (b = a; b < 6; ++b, ++i) {
                c[a][b] += h[i];
                y[a] += h[i] * x[b];
                if (b > a) y[b] += h[i] * x[a];
            }
        for (a = 0; a < 6; ++a) {
            s[a] += y[a] / (d - 1);
            *w += x[a] * y[a] / (d * (d - 1));
        }
    }
    for (a = 0; a < 6; ++a)
        for (b = 0; b < a; ++b) c[a][b] = c[b][a];
$back\
}
""")

_MONOMIALS = """\
    for (d = 0, k = 1; d < {levels}; ++d)
        for (a = 0; a < 6; ++a)
            for (i = tail[d][a]; i < end[d]; ++i) v[k++] = x[a] * v[i];
"""

_TURN = """\
    double x[6], t[6][6];
    /* From the sample's axes to the crystal's. */
    for (a = 0; a < 6; ++a)
        for (x[a] = 0.0, b = 0; b < 6; ++b) x[a] += turn[a][b] * eta[b];
"""

_BACK = """\
    for (a = 0; a < 6; ++a) {
        for (y[a] = 0.0, b = 0; b < 6; ++b) y[a] += turn[b][a] * s[b];
        for (b = 0; b < 6; ++b)
            for (t[a][b] = 0.0, i = 0; i < 6; ++i) t[a][b] += turn[i][a] * c[i][b];
    }
    for (a = 0; a < 6; ++a) {
        s[a] = y[a];
        for (b = 0; b < 6; ++b)
            for (c[a][b] = 0.0, i = 0; i < 6; ++i) c[a][b] += t[a][i] * turn[i][b];
    }
"""

_DECLARATIONS = Template("""\
/* Energy density W, P = dW/dF and A = dP/dF at n points.
 *
 * F: n deformation gradients of 9 numbers F_iJ, row by row. W: n numbers; P: 9 n, P_iJ; A: 81 n,
 * A_iJkL in that order of indices; each may be NULL where it is not wanted.
 * Returns the number of points where det F <= 0, or F is no number; the results there are NaN. */
size_t ${name}_response(size_t n, const double *F, double *W, double *P, double *A);

/* Where strains lie outside those of the fit: where far > 1.
 *
 * far: n numbers, or NULL. Returns the number of points outside$unknown. */
size_t ${name}_outside(size_t n, const double *F, double *far);
""")

_POINTS = Template("""\
static const int voigt[3][3] = {{0, 5, 4}, {5, 1, 3}, {4, 3, 2}};

static void strain(const double *F, double eta[6])
{
    eta[0] = 0.5 * (F[0] * F[0] + F[3] * F[3] + F[6] * F[6] - 1.0);
    eta[1] = 0.5 * (F[1] * F[1] + F[4] * F[4] + F[7] * F[7] - 1.0);
    eta[2] = 0.5 * (F[2] * F[2] + F[5] * F[5] + F[8] * F[8] - 1.0);
    eta[3] = F[1] * F[2] + F[4] * F[5] + F[7] * F[8];
    eta[4] = F[0] * F[2] + F[3] * F[5] + F[6] * F[8];
    eta[5] = F[0] * F[1] + F[3] * F[4] + F[6] * F[7];
}

/* P = F S */
static void first_stress(const double *F, const double s[6], double *P)
{
    int i, J;
    for (i = 0; i < 3; ++i, F += 3)
        for (J = 0; J < 3; ++J)
            *P++ = F[0] * s[voigt[0][J]] + F[1] * s[voigt[1][J]] + F[2] * s[voigt[2][J]];
}

/* A_iJkL = delta_ik S_JL + F_iM C_MJNL F_kN */
static void tangent(const double *F, const double s[6], double c[6][6], double *A)
{
    double half[6][9], sum[9];
    int a, i, J, k;
    for (a = 0; a < 6; ++a)
        for (k = 0; k < 3; ++k) {
            const double *f = F + 3 * k, *q = c[a];
            half[a][3 * k] = q[0] * f[0] + q[5] * f[1] + q[4] * f[2];
            half[a][3 * k + 1] = q[5] * f[0] + q[1] * f[1] + q[3] * f[2];
            half[a][3 * k + 2] = q[4] * f[0] + q[3] * f[1] + q[2] * f[2];
        }
    for (i = 0; i < 3; ++i, F += 3)
        for (J = 0; J < 3; ++J, A += 9) {
            const double f0 = F[0], f1 = F[1], f2 = F[2];
            const double *h0 = half[voigt[J][0]], *h1 = half[voigt[J][1]], *h2 = half[voigt[J][2]];
            for (k = 0; k < 9; ++k) sum[k] = f0 * h0[k] + f1 * h1[k] + f2 * h2[k];
            for (k = 0; k < 3; ++k) sum[3 * i + k] += s[voigt[J][k]];
            for (k = 0; k < 9; ++k) A[k] = sum[k];
        }
}

size_t ${name}_response(size_t n, const double *F, double *W, double *P, double *A)
{
    size_t p, bad = 0;
    double eta[6], w, s[6], c[6][6];
    int i;
    for (p = 0; p < n; ++p, F += 9) {
        const double det = F[0] * (F[4] * F[8] - F[5] * F[7]) - F[1] * (F[3] * F[8] - F[5] * F[6])
            + F[2] * (F[3] * F[7] - F[4] * F[6]);
        if (det > 0.0) {
            strain(F, eta);
            ${name}_expand(eta, &w, s, c);
            if (W) W[p] = w;
            if (P) first_stress(F, s, P + 9 * p);
            if (A) tangent(F, s, c, A + 81 * p);
        } else {
            ++bad;
            if (W) W[p] = NAN;
            if (P) for (i = 0; i < 9; ++i) P[9 * p + i] = NAN;
            if (A) for (i = 0; i < 81; ++i) A[81 * p + i] = NAN;
        }
    }
    return bad;
}

size_t ${name}_outside(size_t n, const double *F, double *far)
{
${outside}\
}
""")

_OUTSIDE = Template("""\
${tables}\
    size_t p, count = 0;
    double eta[6], v[28], worst, sum;
    int a, b, i, k;
    for (p = 0; p < n; ++p, F += 9) {
        strain(F, eta);
        v[0] = 1.0;
        for (a = 0; a < 6; ++a)
            for (v[a + 1] = 0.0, b = 0; b < 6; ++b) v[a + 1] += $strain;
        for (a = 1, k = 7; a < 7; ++a)
            for (b = a; b < 7; ++b) v[k++] = v[a] * v[b];
        worst = 0.0;
${measures}\
        if (worst > 1.0 + 1e-9) ++count;
        if (far) far[p] = worst;
    }
    return count;
""")

_MEASURE = """\
        for (sum = 0.0, i = 0, a = {first}; a < {end}; ++a)
            for (b = a; b < {end}; ++b) sum += {name}[i++] * v[a] * v[b];
        if (sum > worst) worst = sum;
"""

_NO_DOMAIN = """\
    size_t p;
    (void)F;
    for (p = 0; p < n; ++p)
        if (far) far[p] = 0.0;
    return 0;
"""


def source(name: str, kernel: Kernel, lines: list[str]) -> str:
    """The .c file, which needs no header of ours.

    Args:
        name: of the functions' beginning.
        kernel: the law.
        lines: what to say of it at the head.
    """
    parts = [
        comment(lines),
        "#include <math.h>\n#include <stddef.h>\n",
        declarations(name, kernel),
        expansion(name, kernel),
        _POINTS.substitute(name=name, outside=_outside(kernel)),
    ]
    return "\n".join(parts)


def header(name: str, kernel: Kernel, lines: list[str]) -> str:
    """The .h file, for C and C++.

    Args:
        name: of the functions' beginning.
        kernel: the law.
        lines: what to say of it at the head.
    """
    guard = f"{name.upper()}_H"
    return f"""{comment(lines)}
#ifndef {guard}
#define {guard}

#include <stddef.h>

#ifdef __cplusplus
extern "C" {{
#endif

{declarations(name, kernel)}
#ifdef __cplusplus
}}
#endif

#endif
"""


def declarations(name: str, kernel: Kernel) -> str:
    unknown = (
        "" if kernel.far else ": none, as the\n * law does not know to which strains it was fitted"
    )
    return _DECLARATIONS.substitute(name=name, unknown=unknown)


def comment(lines: list[str]) -> str:
    text = [part for line in lines for part in wrapped(line.split(), WIDTH)]
    return "/* " + "\n * ".join(text) + " */\n"


def expansion(name: str, kernel: Kernel) -> str:
    """The function `NAME_expand`, in what C99 and C++ have in common.

    Args:
        name: of the function's beginning.
        kernel: the law.
    """
    tables, cases = [], []
    for degree, blocks in kernel.blocks.items():
        cases.append(f"        case {degree}:\n")
        for k, block in enumerate(blocks):
            label = f"{degree}_{k}"
            # Compilers take two at a time: even numbers, by zeros, of any monomial.
            table = np.pad(block.table, [(0, n % 2) for n in block.table.shape])
            used = block.monomials + block.monomials[:1] * (len(block.monomials) % 2)
            tables += _matrix("double", f"table{label}", _numbers(table))
            tables += _vector("short", f"use{label}", [str(i) for i in used])
            cases.append(_product(label, block.rows, *table.shape))
        cases.append("            break;\n")
    levels = len(kernel.ends)
    if levels:
        tables += _matrix("int", "tail", [[str(i) for i in row] for row in kernel.tails])
        tables += _vector("int", "end", [str(i) for i in kernel.ends])
    if kernel.rotation is not None:
        tables += _matrix("double", "turn", _numbers(kernel.rotation))
    turned = kernel.rotation is not None
    return _EXPAND.substitute(
        name=name,
        tables="".join(f"    {line}\n" for line in tables),
        count=kernel.count,
        turn=_TURN if turned else "    const double *x = eta;\n",
        monomials=_MONOMIALS.format(levels=levels) if levels else "",
        degree=max(kernel.blocks),
        cases="".join(cases),
        back=_BACK if turned else "",
    )


def _product(label: str, rows: list[int], n: int, m: int) -> str:
    copies = wrapped((f"h[{row}] = q[{r}];" for r, row in enumerate(rows)), WIDTH - 16)
    return f"""\
            {{
                double q[{m}] = {{0.0}};
                for (k = 0; k < {n}; k += 2) {{
                    const double v0 = v[use{label}[k]], v1 = v[use{label}[k + 1]];
                    for (r = 0; r < {m}; ++r)
                        q[r] += table{label}[k][r] * v0 + table{label}[k + 1][r] * v1;
                }}
                {(chr(10) + " " * 16).join(copies)}
            }}
"""


def _outside(kernel: Kernel) -> str:
    if not kernel.far:
        return _NO_DOMAIN
    tables: list[str] = []
    measures = ""
    for name, factors in kernel.far.items():
        tables += _vector("double", name, [number(x) for x in factors])
        first, end = V_SPAN[name]
        measures += _MEASURE.format(name=name, first=first, end=end)
    strain = "(a == b) * eta[b]"
    if kernel.rotation is not None:
        tables += _matrix("double", "turn", _numbers(kernel.rotation))
        strain = "turn[a][b] * eta[b]"
    text = "".join(f"    {line}\n" for line in tables)
    return _OUTSIDE.substitute(tables=text, measures=measures, strain=strain)


def _matrix(kind: str, name: str, rows: list[list[str]]) -> list[str]:
    shape = f"[{len(rows)}][{len(rows[0])}]"
    return [f"static const {kind} {name}{shape} = {{", *_rows(rows), "};"]


def _numbers(matrix: np.ndarray) -> list[list[str]]:
    return [[number(x) for x in row] for row in matrix]


def _vector(kind: str, name: str, values: list[str]) -> list[str]:
    lines = wrapped(f"{{{', '.join(values)}}};".split(), WIDTH)
    return [f"static const {kind} {name}[{len(values)}] =", *(f"    {line}" for line in lines)]


def _rows(rows: Iterable[list[str]]) -> Iterator[str]:
    for row in rows:
        inside = ", ".join(row)
        yield from (f"    {line}" for line in wrapped(f"{{{inside}}},".split(), WIDTH))
