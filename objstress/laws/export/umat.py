"""A polynomial law as an Abaqus UMAT, in Fortran of fixed or of free form."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

import numpy as np

from objstress.laws.export.kernel import V_SPAN, Kernel
from objstress.laws.export.text import number, wrapped

FIXED, FREE = 66, 90
"""Characters of a statement in a line; fixed form has columns 7 to 72 for it."""
NUMBERS = 36
"""Numbers in one DATA statement: Fortran 90 ends a statement after 20 lines of fixed form."""

_EXPAND = Template("""
! W, dW/deta and d2W/deta2, GPa, at
! eta = (E11, E22, E33, 2 E23, 2 E13, 2 E12).
subroutine ${name}_expand(eta, w, s, c)
  implicit none
  double precision, intent(in) :: eta(6)
  double precision, intent(out) :: w, s(6), c(6, 6)
  double precision :: x(6), v($count), h(21), q(21), y(6)
  integer :: a, b, d, i, j, k
$tables
  x = $turned
  ! Monomials, each a variable times one of a degree less.
  v(1) = 1.0d0
$monomials
  w = 0.0d0
  s = 0.0d0
  c = 0.0d0
  do d = 2, $degree
    h = 0.0d0
    select case (d)
$cases
    end select
    ! Euler: the part of degree d has S = H x / (d - 1) and W = x S / d.
    y = 0.0d0
    i = 0
    do a = 1, 6
      do b = a, 6
        i = i + 1
        c(a, b) = c(a, b) + h(i)
        c(b, a) = c(a, b)
        y(a) = y(a) + h(i) * x(b)
        if (b > a) y(b) = y(b) + h(i) * x(a)
      end do
    end do
    s = s + y / dble(d - 1)
    w = w + dot_product(x, y) / dble(d * (d - 1))
  end do
$back
end subroutine ${name}_expand
""")

_PRODUCT = """\
      q(1:{m}) = 0.0d0
      do k = 1, {n}
        q(1:{m}) = q(1:{m}) + table{label}(:, k) * v(use{label}(k))
      end do
      h((/ {rows} /)) = q(1:{m})"""

_MONOMIALS = """
  k = 1
  do d = 1, {levels}
    do a = 1, 6
      do i = tail(a, d), ends(d)
        k = k + 1
        v(k) = x(a) * v(i)
      end do
    end do
  end do
"""

_BACK = """
  s = matmul(transpose(turn), s)
  c = matmul(transpose(turn), matmul(c, turn))
"""

_FAR = Template("""
! Strains lie outside those of the fit where this is larger than one.
double precision function ${name}_far(eta)
  implicit none
  double precision, intent(in) :: eta(6)
  double precision :: v(28), total
  integer :: a, b, i, j, k
$tables
  v(1) = 1.0d0
  v(2:7) = $turned
  k = 7
  do a = 2, 7
    do b = a, 7
      k = k + 1
      v(k) = v(a) * v(b)
    end do
  end do
  ${name}_far = 0.0d0
$measures
end function ${name}_far
""")

_MEASURE = """
  k = 0
  total = 0.0d0
  do a = {first}, {end}
    do b = a, {end}
      k = k + 1
      total = total + {what}(k) * v(a) * v(b)
    end do
  end do
  {name}_far = max({name}_far, total)
"""

_POINT = Template("""
! Cauchy stress and DDSDDE of Abaqus, components 11 22 33 12 13 23,
! and the energy per current volume, GPa, of a crystal turned by q.
subroutine ${name}_cauchy(f, q, stress, ddsdde, energy, far, ok)
  implicit none
  double precision, intent(in) :: f(3, 3), q(3, 3)
  double precision, intent(out) :: stress(6), ddsdde(6, 6), energy, far
  logical, intent(out) :: ok
  double precision :: det, e(3, 3), g(3, 3), t(3, 3), p(6, 6), eta(6), w, s(6), c(6, 6)
  double precision, external :: ${name}_far
  integer :: a, b, i, j, k, l, m
  integer :: row(2, 6), column(2, 6)
  data row / 1, 1, 2, 2, 3, 3, 1, 2, 1, 3, 2, 3 /
  data column / 1, 1, 2, 2, 3, 3, 2, 3, 1, 3, 1, 2 /
  stress = 0.0d0
  ddsdde = 0.0d0
  energy = 0.0d0
  far = 0.0d0
  det = f(1, 1) * (f(2, 2) * f(3, 3) - f(2, 3) * f(3, 2))
  det = det - f(1, 2) * (f(2, 1) * f(3, 3) - f(2, 3) * f(3, 1))
  det = det + f(1, 3) * (f(2, 1) * f(3, 2) - f(2, 2) * f(3, 1))
  ok = det > 0.0d0
  if (.not. ok) return
  e = 0.5d0 * matmul(transpose(f), f)
  do i = 1, 3
    e(i, i) = e(i, i) - 0.5d0
  end do
  ! From sample to crystal: E and not F, as a rounded q makes strain.
  e = matmul(transpose(q), matmul(e, q))
  do a = 1, 6
    eta(a) = e(column(1, a), column(2, a))
    if (a > 3) eta(a) = 2.0d0 * eta(a)
  end do
  far = ${name}_far(eta)
  call ${name}_expand(eta, w, s, c)
  energy = w / det
  ! Push forward: J sigma_ij = sum of p_ij,KL S_KL.
  g = matmul(f, q)
  do b = 1, 6
    k = column(1, b)
    l = column(2, b)
    do a = 1, 6
      i = row(1, a)
      j = row(2, a)
      p(a, b) = g(i, k) * g(j, l)
      if (b > 3) p(a, b) = p(a, b) + g(i, l) * g(j, k)
    end do
  end do
  stress = matmul(p, s) / det
  ddsdde = matmul(p, matmul(c, transpose(p))) / det
  ! From the rate of Truesdell to that of Jaumann: D sigma + sigma D.
  do a = 1, 6
    t(row(1, a), row(2, a)) = stress(a)
    t(row(2, a), row(1, a)) = stress(a)
  end do
  do b = 1, 6
    k = row(1, b)
    l = row(2, b)
    do a = 1, 6
      do m = 1, 2
        i = row(m, a)
        j = row(3 - m, a)
        if (i == k) ddsdde(a, b) = ddsdde(a, b) + 0.5d0 * t(j, l)
        if (i == l) ddsdde(a, b) = ddsdde(a, b) + 0.5d0 * t(j, k)
      end do
    end do
  end do
end subroutine ${name}_cauchy
""")

_UMAT = Template("""
! Properties: none, or the orientation of the crystal, nine numbers
! Q11 Q12 Q13 Q21 ... Q33, from crystal axes to global ones. State
! variables: none, or one that is larger than one where the strain
! lies outside those of the fit.
subroutine ${name}_umat(stress, statev, ddsdde, sse, pnewdt, dfgrd1, props, ndi, ntens, nstatv, \
nprops)
  implicit none
  integer, intent(in) :: ndi, ntens, nstatv, nprops
  double precision, intent(in) :: dfgrd1(3, 3), props(nprops)
  double precision, intent(inout) :: stress(ntens), statev(nstatv), ddsdde(ntens, ntens)
  double precision, intent(inout) :: sse, pnewdt
  double precision :: q(3, 3), cauchy(6), jacobian(6, 6), energy, far
  integer :: i
  logical :: ok
  if (ndi /= 3) then
    write (*, *) 'UMAT: not for plane stress'
    stop 1
  end if
  q = reshape((/ 1, 0, 0, 0, 1, 0, 0, 0, 1 /), (/ 3, 3 /))
  if (nprops >= 9) then
    q = transpose(reshape(props(1:9), (/ 3, 3 /)))
    jacobian(1:3, 1:3) = matmul(q, transpose(q))
    do i = 1, 3
      jacobian(i, i) = jacobian(i, i) - 1.0d0
    end do
    if (maxval(abs(jacobian(1:3, 1:3))) > 1.0d-5) then
      write (*, *) 'UMAT: the constants are no rotation'
      stop 1
    end if
  end if
  call ${name}_cauchy(dfgrd1, q, cauchy, jacobian, energy, far, ok)
  if (.not. ok) then
    ! det F <= 0: Abaqus gives the increment up and tries a smaller one.
    pnewdt = min(pnewdt, 0.25d0)
    return
  end if
  stress = cauchy(1:ntens)
  ddsdde = jacobian(1:ntens, 1:ntens)
  sse = energy
  if (nstatv >= 1) statev(1) = far
end subroutine ${name}_umat
""")

_INTERFACE = Template("""
! What Abaqus calls. A job has one UMAT: with several laws, leave it
! in one of their files, and call the routine of each law by cmname.
subroutine umat(stress, statev, ddsdde, sse, spd, scd, rpl, ddsddt, drplde, drpldt, stran, \
dstran, time, dtime, temp, dtemp, predef, dpred, cmname, ndi, nshr, ntens, nstatv, props, nprops, \
coords, drot, pnewdt, celent, dfgrd0, dfgrd1, noel, npt, layer, kspt, jstep, kinc)
  implicit none
  integer :: ndi, nshr, ntens, nstatv, nprops, noel, npt, layer, kspt, jstep(4), kinc
  character(len=80) :: cmname
  double precision :: stress(ntens), statev(nstatv), ddsdde(ntens, ntens), sse, spd, scd, rpl
  double precision :: ddsddt(ntens), drplde(ntens), drpldt, stran(ntens), dstran(ntens)
  double precision :: time(2), dtime, temp, dtemp, predef(*), dpred(*), props(nprops)
  double precision :: coords(3), drot(3, 3), pnewdt, celent, dfgrd0(3, 3), dfgrd1(3, 3)
  call ${name}_umat(stress, statev, ddsdde, sse, pnewdt, dfgrd1, props, ndi, ntens, nstatv, nprops)
end subroutine umat
""")


def source(name: str, kernel: Kernel, lines: list[str], free: bool) -> str:
    """The Fortran file.

    Args:
        name: of the routines' beginning.
        kernel: the law.
        lines: what to say of it at the head.
        free: whether in free form.
    """
    head = "".join(f"! {line}\n" for line in lines)
    routines = [
        _expansion(name, kernel),
        _far(name, kernel),
        _POINT.substitute(name=name),
        _UMAT.substitute(name=name),
        _INTERFACE.substitute(name=name),
    ]
    return "\n".join("\n".join(_lines(text, free)) + "\n" for text in (head, *routines))


def _lines(text: str, free: bool) -> Iterator[str]:
    """Statements as lines of one of the two forms."""
    width = FREE if free else FIXED
    for statement in filter(str.strip, text.splitlines()):
        words, indent = statement.split(), len(statement) - len(statement.lstrip())
        if words[0] == "!":
            yield from (f"! {line}" for line in wrapped(words[1:], FIXED))
            continue
        parts = list(wrapped(words, width - indent - 4))
        for k, part in enumerate(parts):
            more = k < len(parts) - 1
            if free:
                yield " " * (indent + 4 * (k > 0)) + part + " &" * more
            else:
                yield ("     &" if k else "      ") + " " * (indent + 4 * (k > 0)) + part


def _expansion(name: str, kernel: Kernel) -> str:
    tables, cases = [], []
    for degree, blocks in kernel.blocks.items():
        cases.append(f"    case ({degree})")
        for k, block in enumerate(blocks):
            label = f"{degree}_{k}"
            tables += _matrix(f"table{label}", block.table)
            tables += _vector("integer", f"use{label}", [str(i + 1) for i in block.monomials])
            n, m = block.table.shape
            rows = ", ".join(str(row + 1) for row in block.rows)
            cases.append(_PRODUCT.format(label=label, n=n, m=m, rows=rows))
    levels = len(kernel.ends)
    if levels:
        begin = ", ".join(str(i + 1) for row in kernel.tails for i in row)
        tables += [f"  integer :: tail(6, {levels})", f"  data tail / {begin} /"]
        tables += _vector("integer", "ends", [str(i) for i in kernel.ends])
    if kernel.rotation is not None:
        # The array of a language that counts columns first is the transpose.
        tables += _matrix("turn", kernel.rotation.T)
    return _EXPAND.substitute(
        name=name,
        count=kernel.count,
        tables="\n".join(tables),
        turned="eta" if kernel.rotation is None else "matmul(turn, eta)",
        monomials=_MONOMIALS.format(levels=levels) if levels else "",
        degree=max(kernel.blocks),
        cases="\n".join(cases),
        back="" if kernel.rotation is None else _BACK,
    )


def _far(name: str, kernel: Kernel) -> str:
    tables = []
    measures = ""
    for what, factors in kernel.far.items():
        tables += _vector("double precision", what, [_double(x) for x in factors])
        first, end = V_SPAN[what]
        measures += _MEASURE.format(name=name, what=what, first=first + 1, end=end)
    if kernel.rotation is not None:
        tables += _matrix("turn", kernel.rotation.T)
    return _FAR.substitute(
        name=name,
        tables="\n".join(tables),
        turned="eta" if kernel.rotation is None else "matmul(turn, eta)",
        measures=measures,
    )


def _matrix(name: str, matrix: np.ndarray) -> list[str]:
    """Rows of numbers become columns, which lie together in Fortran."""
    n, m = matrix.shape
    lines = [f"  double precision :: {name}({m}, {n})"]
    step = max(1, NUMBERS // m)
    for start in range(0, n, step):
        part = matrix[start : start + step]
        text = ", ".join(_double(x) for x in part.ravel())
        span = f"j = {start + 1}, {start + len(part)}"
        lines.append(f"  data (({name}(i, j), i = 1, {m}), {span}) / {text} /")
    return lines


def _vector(kind: str, name: str, values: list[str]) -> list[str]:
    lines = [f"  {kind} :: {name}({len(values)})"]
    for start in range(0, len(values), NUMBERS):
        part = values[start : start + NUMBERS]
        span = f"i = {start + 1}, {start + len(part)}"
        lines.append(f"  data ({name}(i), {span}) / {', '.join(part)} /")
    return lines


def _double(value: float) -> str:
    text = number(value)
    return text.replace("e", "d") if "e" in text else f"{text}d0"
