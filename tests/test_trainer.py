"""The one way in which all fits run: checkpoints, resuming, the bar."""

import pytest
import torch
from torch.utils.data import DataLoader

from objstress import InputError
from objstress.training.trainer import EpochBatches, FitModule, run_fit

DATA = torch.linspace(-1, 1, 12)


class Line(FitModule):
    """y = w x towards w = 3; the validation error is the number of the epoch plus 1."""

    files = ("line.csv",)

    def __init__(self, stop_in=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.stop_in, self.steps = stop_in, 0

    def training_step(self, batch, index):
        if self.current_epoch == self.stop_in:
            raise KeyboardInterrupt
        self.steps += 1
        loss = ((self.weight - 3) * batch).square().mean()
        self.log("loss", loss, on_epoch=True, on_step=False, batch_size=len(batch))
        return loss

    def validation_step(self, batch, index):
        self.log("error", float(self.current_epoch + 1), batch_size=len(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


def run(module, folder, digest="a", *, epochs=4, **options):
    train = DataLoader(DATA, batch_sampler=EpochBatches(len(DATA), 5, 0))
    loaders = (train, DataLoader(DATA)) if "monitor" in options else (train,)
    return run_fit(module, folder, digest, epochs=epochs, loaders=loaders, **options)


def epoch(folder, name):
    return torch.load(folder / name, weights_only=True)["epoch"]


@pytest.mark.parametrize("options", [{}, {"monitor": "error"}])
def test_an_interrupted_fit_resumes_to_the_same_end(tmp_path, options):
    straight = Line()
    metrics = run(straight, tmp_path / "a", **options)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(Line(stop_in=2), tmp_path / "b", **options)
    resumed = Line()
    assert run(resumed, tmp_path / "b", **options) == metrics
    assert torch.equal(straight.weight, resumed.weight)
    assert (straight.steps, resumed.steps) == (12, 6)


@pytest.mark.parametrize("options", [{}, {"monitor": "error"}])
def test_a_finished_fit_is_not_run_again(tmp_path, options):
    metrics = run(Line(), tmp_path, **options)
    assert metrics["loss"] > 0
    again = Line()
    assert run(again, tmp_path, **options) == metrics
    assert again.steps == 0


def test_epochs_that_are_no_better_are_kept_too(tmp_path):
    metrics = run(Line(), tmp_path, monitor="error")
    assert metrics["best_error"] == 1.0
    assert (epoch(tmp_path, "best.ckpt"), epoch(tmp_path, "last.ckpt")) == (0, 3)


def test_patience_ends_a_fit_once_and_for_all(tmp_path):
    options = {"monitor": "error", "patience": 2, "epochs": 50}
    first, again = Line(), Line()
    metrics = run(first, tmp_path, **options)
    assert first.steps == 9
    assert run(again, tmp_path, **options) == metrics
    assert again.steps == 0


def test_more_patience_lets_a_stopped_fit_resume(tmp_path):
    options = {"monitor": "error", "epochs": 50}
    run(Line(), tmp_path, patience=2, **options)
    more = Line()
    run(more, tmp_path, patience=4, **options)
    assert more.steps == 6


def test_a_fit_resumes_where_its_folder_was_moved(tmp_path):
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(Line(stop_in=2), tmp_path / "a", monitor="error")
    (tmp_path / "a").rename(tmp_path / "b")
    assert run(Line(), tmp_path / "b", monitor="error")["best_error"] == 1.0
    assert (epoch(tmp_path / "b", "best.ckpt"), epoch(tmp_path / "b", "last.ckpt")) == (0, 3)


def test_another_fit_in_the_folder_starts_over(tmp_path):
    lines = []
    run(Line(), tmp_path, say=lines.append)
    (tmp_path / "line.csv").touch()
    (tmp_path / "other.csv").touch()
    assert not lines
    other = Line()
    run(other, tmp_path, "b", say=lines.append)
    assert other.steps == 12
    assert [x.endswith("starting over") for x in lines] == [True]
    assert {p.name for p in tmp_path.iterdir()} == {"fingerprint.txt", "last.ckpt", "other.csv"}
    with pytest.warns(UserWarning, match="starting over"):
        run(Line(), tmp_path, "c")


def test_the_bar_is_on_standard_error(tmp_path, capsys):
    run(Line(), tmp_path, title="a line")
    out, error = capsys.readouterr()
    assert out == ""
    assert "a line: 100%" in error
    assert "loss 3." in error
    run(Line(), tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")


def test_no_epochs_are_refused(tmp_path):
    with pytest.raises(InputError, match="epochs = 0: give at least 1"):
        run(Line(), tmp_path, epochs=0)
