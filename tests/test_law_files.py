"""Law files: whole, harmless, and refused when damaged."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from objstress import InputError, load_law
from objstress.laws.analytic import NeoHooke
from objstress.laws.base import KINDS
from objstress.laws.fused import FusedLaw
from objstress.laws.learned import LearnedLaw
from objstress.laws.strain_energy import StrainEnergyLaw
from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
from objstress.symmetry.point_group import O3, PointGroup
from tests.helpers import random_rotation


def test_what_is_no_law_is_refused_in_one_line(tmp_path, quick_law):
    missing = tmp_path / "missing.law"
    text = tmp_path / "text.law"
    text.write_text("not a law")
    foreign = tmp_path / "foreign.law"
    save_file({"a": torch.zeros(2)}, foreign)
    newer = tmp_path / "newer.law"
    save_file({}, newer, metadata={"objstress": json.dumps({"format": 99, "kind": "neo-hooke"})})
    quick_law.save(tmp_path / "good.law")
    whole = (tmp_path / "good.law").read_bytes()
    short = tmp_path / "short.law"
    short.write_bytes(whole[: len(whole) // 2])
    empty = tmp_path / "empty.law"
    empty.touch()
    flipped = tmp_path / "flipped.law"
    flipped.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    other = tmp_path / "other.law"
    save_file({}, other, metadata={"objstress": json.dumps({"format": 1, "kind": "plastic"})})
    for path, message in (
        (missing, "no such law file"),
        (text, "damaged, or not a law file"),
        (foreign, "no objstress law"),
        (newer, "newer objstress"),
        (short, "damaged"),
        (empty, "damaged"),
        (flipped, "checksum"),
        (other, "damaged law file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load_law(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_filters_of_another_group_keep_their_frame(tmp_path, silicon, silicon_group):
    """The symbol alone would be the group in its standard frame."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        settings = NetworkSettings(channels=4, energy_scale=0.02)
        filters = PointGroup("mmm").rotated(random_rotation(2))
        law = LearnedLaw(
            silicon, silicon_group, network=ConstitutiveNetwork(silicon, filters, settings)
        )
        in_standard_frame = LearnedLaw(
            silicon,
            silicon_group,
            network=ConstitutiveNetwork(silicon, PointGroup("mmm"), settings),
        )
    in_standard_frame.network.load_state_dict(law.network.state_dict())
    F = np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(5, 3, 3))
    law.save(tmp_path / "a.law")
    stress, again = law.stress(F), load_law(tmp_path / "a.law").stress(F)
    assert torch.allclose(again, stress, rtol=0, atol=1e-12 * float(stress.abs().max()))
    apart = in_standard_frame.stress(F) - stress
    assert apart.abs().max() > 0.01 * stress.abs().max()


def test_saving_leaves_no_half_written_file(tmp_path, monkeypatch):
    law = NeoHooke(1.0, 1.0)
    law.save(tmp_path / "a.law")
    before = (tmp_path / "a.law").read_bytes()

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr("objstress.io.files.os.replace", fails)
    with pytest.raises(OSError, match="disk full"):
        NeoHooke(2.0, 1.0).save(tmp_path / "a.law")
    assert (tmp_path / "a.law").read_bytes() == before


def test_file_keeps_the_reference_and_its_history(tmp_path, dft_law):
    dft_law.save(tmp_path / "si.law")
    again = load_law(tmp_path / "si.law")
    assert again.metadata == json.loads(json.dumps(dft_law.metadata))
    assert np.allclose(again.structure.lattice.matrix, dft_law.structure.lattice.matrix)
    assert again.point_group.symbol == "m-3m"
    assert torch.equal(again.domain, dft_law.domain)


def test_outside_is_one_of_three_words(tmp_path):
    NeoHooke(1.0, 1.0).save(tmp_path / "a.law")
    with pytest.raises(InputError, match="warn"):
        load_law(tmp_path / "a.law", outside="panic")


def test_an_own_kind_of_law_registers_itself_and_loads(tmp_path):
    """An extension needs no more than a class with a kind."""

    class Spring(StrainEnergyLaw):
        """W = 1/2 k |E|^2."""

        kind = "test-spring"
        point_group = O3

        def __init__(self, k: float):
            self.k = torch.tensor(k, dtype=torch.float64)

        def strain_energy(self, x, order):
            hessian = self.k * torch.eye(6, dtype=x.dtype).expand(len(x), 6, 6)
            return (0.5 * self.k * (x * x).sum(-1), self.k * x, hessian)[: order + 1]

        def to_dict(self):
            return {"kind": self.kind}, {"k": self.k}

        @classmethod
        def from_dict(cls, description, tensors):
            return cls(float(tensors["k"]))

    try:
        law = Spring(3.0)
        law.save(tmp_path / "spring.law")
        again = load_law(tmp_path / "spring.law")
        assert isinstance(again, Spring)
        assert again.k == law.k
        assert torch.equal(again.stress(1.1 * np.eye(3)), law.stress(1.1 * np.eye(3)))
        # A law around it finds it by its kind, too.
        FusedLaw(law).save(tmp_path / "fused.law")
        assert isinstance(load_law(tmp_path / "fused.law").law, Spring)
        with pytest.raises(TypeError, match="'test-spring' is that of"):
            type("Other", (Spring,), {"kind": Spring.kind})
        assert KINDS[Spring.kind] is Spring
    finally:
        KINDS.pop(Spring.kind)
    with pytest.raises(InputError, match="unknown kind of law 'test-spring': import the module"):
        load_law(tmp_path / "spring.law")
