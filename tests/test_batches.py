"""Many structures in one pass, and tasks that ask for them side by side."""

import threading

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from ase.optimize import BFGS

from objstress.calculators import batches, make_calculator
from objstress.calculators.batches import passes, together
from objstress.errors import InputError
from objstress.labels import label_strains
from objstress.labels.strained_cell import LabelTask


class Many(EMT):
    """EMT that evaluates many structures, and counts its passes."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def evaluate(self, frames):
        self.sizes.append(len(frames))
        results = []
        for atoms in frames:
            if "Fe" in atoms.symbols:
                raise InputError("no iron")
            alone = atoms.copy()
            alone.calc = EMT()
            alone.get_stress()
            results.append(alone.calc.results)
        return results


def rattled(seed):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.02 * (1 + seed % 4), seed=seed)
    return atoms


def relaxation(seed):
    def task(calculator):
        atoms = rattled(seed)
        atoms.calc = calculator
        steps = BFGS(atoms, logfile=None)
        steps.run(fmax=1e-3)
        return atoms.positions, steps.nsteps

    return task


def asking(symbol):
    def task(calculator):
        atoms = bulk(symbol)
        atoms.calc = calculator
        try:
            return atoms.get_potential_energy()
        except InputError as error:
            return str(error)

    return task


class TestTogether:
    @pytest.mark.parametrize("members", [1, 3, 8, 20])
    def test_each_task_ends_as_it_would_alone(self, members):
        calculator = Many()
        found = dict(together(calculator, [relaxation(k) for k in range(8)], members))
        assert sorted(found) == list(range(8))
        for k in range(8):
            positions, steps = relaxation(k)(EMT())
            np.testing.assert_allclose(found[k][0], positions, atol=1e-9)
            assert found[k][1] == steps
        assert max(calculator.sizes) == min(members, 8)

    def test_passes_are_full_and_the_same_each_time(self):
        seen = []
        for _ in range(3):
            calculator = Many()
            for _ in together(calculator, [relaxation(k) for k in range(12)], 4):
                pass
            seen.append(calculator.sizes)
        assert seen[0] == seen[1] == seen[2]
        assert seen[0][:6] == [4] * 6  # who has ended makes room for the next
        steps = [relaxation(k)(EMT())[1] + 1 for k in range(12)]
        assert sum(seen[0]) == sum(steps)

    def test_one_that_fails_takes_no_other_with_it(self):
        found = dict(together(Many(), [asking(s) for s in ("Cu", "Fe", "Ag")], 3))
        assert found[1] == "no iron"
        assert found[0] == asking("Cu")(EMT())
        assert found[2] == asking("Ag")(EMT())

    def test_an_interruption_leaves_no_thread(self):
        class Interrupted(Many):
            def evaluate(self, frames):
                if len(self.sizes) == 3:
                    raise KeyboardInterrupt
                return super().evaluate(frames)

        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            list(together(Interrupted(), [relaxation(k) for k in range(8)], 4))
        assert threading.active_count() == before

    def test_a_caller_that_stops_leaves_no_thread(self):
        before = threading.active_count()
        running = together(Many(), [asking("Cu")] * 8, 2)
        next(running)
        running.close()
        assert threading.active_count() == before


def test_passes_are_as_large_as_allowed(monkeypatch):
    monkeypatch.setattr(batches, "ATOMS", 13)
    calculator, frames = Many(), [rattled(k) for k in range(7)]
    found = list(passes(frames, calculator))
    assert calculator.sizes == [3, 3, 1]
    for one, other in zip(found, passes(frames, EMT()), strict=True):
        for name in ("forces", "stress"):
            np.testing.assert_allclose(one[name], other[name], atol=1e-12)

    calculator = Many()
    list(passes([atoms.repeat((2, 1, 1)) for atoms in frames[:2]], calculator))
    assert calculator.sizes == [1, 1]  # cells of eight atoms


UNIVERSAL = [("sevenn", "sevennet", {"model": "7net-0"}), ("chgnet", "chgnet", {})]


@pytest.mark.parametrize(("package", "name", "arguments"), UNIVERSAL)
def test_universal_potentials_give_many_what_they_give_one(package, name, arguments):
    pytest.importorskip(package)
    calculator = make_calculator(name, arguments)
    frames = [rattled(0), bulk("Si"), bulk("NaCl", "rocksalt", a=5.5), bulk("Cu")]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
    for atoms, found in zip(frames, calculator.evaluate(frames), strict=True):
        atoms.calc = calculator
        assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(found["stress"], atoms.get_stress(), atol=1e-11)


def test_labels_are_the_same_one_by_one_and_together(tmp_path, monkeypatch):
    """Wurtzite-like copper and gold, whose ions move."""
    cell = bulk("Cu", "hcp", a=2.7, c=4.5)
    cell.symbols[:] = ["Cu", "Au"]
    frames = []
    for atoms in (64, 1):
        monkeypatch.setattr(batches, "ATOMS", atoms)
        calculator, out = Many(), tmp_path / f"{atoms}.extxyz"
        label_strains(cell, calculator, out=out, samples=30, max_strain=0.04, progress=False)
        frames.append(read(out, ":"))
        if atoms == 64:
            assert max(calculator.sizes) == 24  # the scouts, all together
    for one, other in zip(*frames, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-9)
        np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-10)


def test_a_calculator_that_cannot_be_made_fails_its_label_alone():
    """A task must not raise: a worker that does counts as dead."""

    def make():
        raise OSError("no licence")

    cell = bulk("Cu")
    task = LabelTask(cell, make, "relaxed", 1e-4, "no licence")
    assert "no licence" in task(np.zeros((3, 3)), np.zeros((1, 3)))
