"""The page in Chromium: what it shows against Python, links, keyboard, a phone."""

import re
import shutil
import threading
import time

import numpy as np
import pytest

from objstress.elasticity.waves import sound_waves
from objstress.properties.crystal import crystal_properties
from tests.conftest import DATA

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

COPPER = DATA.parent / "crystals" / "copper.cif"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
BCC = "bcc\n2.87\n1 0 0\n0 1 0\n0 0 1\nCu\n2\ndirect\n0 0 0\n0.5 0.5 0.5\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    import uvicorn

    from objstress.service.app import create_app
    from objstress.service.jobs import ServiceSettings

    models, cache = ("emt", "stillinger-weber", "kumagai"), tmp_path_factory.mktemp("answers")
    app = create_app(ServiceSettings(models=models, workers=1, cache=cache))
    app.state.jobs.start()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page that has said nothing wrong and has asked no other host."""
    yield from _page(browser, address, viewport={"width": 1280, "height": 900})


@pytest.fixture
def phone(browser, address):
    yield from _page(browser, address, viewport={"width": 360, "height": 740}, has_touch=True)


def _page(browser, address, **options):
    context = browser.new_context(**options)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("#examples button")
    yield page
    # Chromium writes down each answer that is an error; those are asked for on purpose.
    assert not [s for s in said if "422" not in s]
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    context.close()


def results(page):
    page.wait_for_selector("#results:not([hidden])", timeout=30_000)
    page.wait_for_selector("form:not(.busy)", timeout=30_000)


def paste(page, text, button=True):
    page.fill("#structure", text)
    if button:
        page.click("#compute")


def value(page, selector):
    return float(page.get_attribute(selector, "data-value"))


def matrix(page):
    cells = page.eval_on_selector_all("#matrix tbody td", "x => x.map(y => +y.dataset.value)")
    return np.reshape(cells, (6, 6))


def test_a_dropped_file_shows_what_python_says(page):
    page.evaluate(
        """text => {
          const data = new DataTransfer();
          data.items.add(new File([text], "copper.cif"));
          document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        COPPER.read_text(),
    )
    results(page)
    found = crystal_properties(COPPER, "emt")
    assert page.locator("#facts dd[data-value='m-3m']").count() == 1
    assert page.locator("#facts dd[data-value='Fm-3m']").count() == 1
    assert matrix(page)[0, 0] == found.stiffness_ieee[0, 0]
    assert page.inner_text("#matrix td.kind0 small >> nth=0") == "c₁₁"
    assert page.inner_text("#young-largest-n").replace("\u00a0", " ") == "[1 1 1]"
    hill = page.locator("#averages tbody tr").nth(2).locator("td").nth(2)
    assert float(hill.get_attribute("data-value")) == found.averages.hill.young


@pytest.mark.parametrize("frame", ["ieee", "own"])
def test_its_own_mathematics_agrees_with_python(page, tmp_path, frame):
    structure = tmp_path / "POSCAR"
    turned = "CuAu\n1\n2.4 1.4 0\n-1.4 2.4 0\n0 0 3.6\nCu Au\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n"
    structure.write_text(turned)
    paste(page, turned)
    results(page)
    page.check(f"input[value={frame}]")
    found = crystal_properties(structure, "emt")
    stiffness = found.stiffness_ieee if frame == "ieee" else found.stiffness
    young = found.extremes["young"]
    assert value(page, "#young-least") == pytest.approx(young.least, rel=1e-9)
    assert value(page, "#young-largest") == pytest.approx(young.largest, rel=1e-9)
    rows = page.locator("#speeds tbody tr")
    assert rows.count() == 5
    for k, n in enumerate([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)]):
        cells = rows.nth(k).locator("td")
        speeds = [float(cells.nth(j).get_attribute("data-value")) for j in (2, 1, 0)]
        density = float(found.structure.density)
        assert speeds == pytest.approx(sound_waves(stiffness, density, n).speed, rel=1e-9)
    page.check("input[value=compliance]")
    assert matrix(page) / 1000 == pytest.approx(np.linalg.inv(stiffness), abs=1e-12)


def test_elastic_module_of_a_crystal_without_symmetry(page):
    """E(n), its extremes and sound for a stiffness with 21 constants."""
    from objstress.elasticity.moduli import modulus_extremes, youngs_modulus
    from tests.test_properties import triclinic

    rng = np.random.default_rng(0)
    for seed in range(4):
        c = triclinic(seed)
        n = rng.normal(size=(50, 3))
        n /= np.linalg.norm(n, axis=1, keepdims=True)
        young, speeds, ends = page.evaluate(
            """async ([c, density, ns]) => {
              const e = await import("/page/elastic.js");
              const s = e.inverse(c);
              const value = (n) => e.youngsModulus(s, n);
              return [ns.map(value), ns.map((n) => e.soundSpeeds(c, density, n)),
                      e.extremes(value).map((x) => x.value)];
            }""",
            [c.tolist(), 3.1, n.tolist()],
        )
        assert young == pytest.approx(youngs_modulus(c, n), rel=1e-11)
        assert np.array(speeds) == pytest.approx(sound_waves(c, 3.1, n).speed, rel=1e-11)
        best = modulus_extremes(c)["young"]
        assert ends == pytest.approx([best.least, best.largest], rel=1e-8)


def test_a_link_gives_the_same_again(page, browser):
    page.get_by_role("button", name="CuAu, tetragonal").click()
    results(page)
    shown = matrix(page)
    page.click("#copy")
    page.locator("#copy", has_text="Copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#s=[\w-]+", link)
    assert page.url == link
    other = browser.new_context().new_page()
    other.goto(link)
    results(other)
    assert (matrix(other) == shown).all()
    assert other.input_value("#structure") == page.input_value("#structure")
    other.context.close()
    page.evaluate("location.hash = 's=xxxx'")
    page.wait_for_selector("#error:not([hidden])")
    assert "link" in page.inner_text("#error")


def test_the_download_is_the_answer(page):
    page.get_by_role("button", name="Copper", exact=True).click()
    results(page)
    with page.expect_download() as download:
        page.click("#download")
    import json

    content = json.loads(download.value.path().read_text())
    assert download.value.suggested_filename == "Cu-emt.json"
    assert content["stiffness_ieee_GPa"] == matrix(page).tolist()


def test_errors_are_shown_in_place(page):
    paste(page, "data_x\nnothing")
    page.wait_for_selector("#error:not([hidden])")
    assert "not a readable CIF" in page.inner_text("#error")
    assert page.get_attribute("#error", "role") == "alert"
    assert page.is_hidden("#results")


def test_an_unstable_crystal_is_marked(page):
    paste(page, BCC)
    results(page)
    assert "unstable" in page.inner_text("#facts")
    assert page.is_visible("#unstable")
    assert page.locator("#softest td").count() == 9
    assert page.is_hidden("#stable-only")


def test_a_keyboard_is_enough(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    wanted = ["structure", "file", "model", "format", "ions", "compute"]
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert [r for r in reached if r in wanted][:6] == wanted
    page.focus("#structure")
    page.keyboard.insert_text(COPPER.read_text())
    page.keyboard.press("Control+Enter")
    results(page)
    page.emulate_media(reduced_motion="reduce")
    if page.inner_text("#young-pause") == "Pause":
        page.focus("#young-pause")
        page.keyboard.press("Enter")
    assert page.inner_text("#young-pause") == "Turn"
    picture = "document.getElementById('young-view').toDataURL()"
    page.wait_for_timeout(250)
    before = page.evaluate(picture)
    page.focus("#young-view")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(250)
    assert page.evaluate(picture) != before
    assert "stable" in page.inner_text("#status")


def test_controls_have_names(page):
    page.get_by_role("button", name="Copper", exact=True).click()
    results(page)
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, select, textarea, canvas, svg[role]")]
          .filter((x) => !(x.labels?.length || x.ariaLabel || x.textContent.trim()))
          .map((x) => x.outerHTML)"""
    )
    assert nameless == []
    for landmark in ("banner", "main", "navigation", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1


def test_it_rests_where_motion_is_unwanted(browser, address):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    assert page.inner_text("#structure-pause", timeout=5000) in ("Turn", "")
    assert page.get_attribute("#structure-pause", "aria-pressed") == "true"
    context.close()


def test_a_phone_shows_all_without_scrolling_sideways(phone):
    for name in ("Copper", "Nickel, hexagonal", "Copper, bcc (unstable)"):
        phone.get_by_role("button", name=name, exact=True).click()
        formula = "Ni" if "Nickel" in name else "Cu"
        phone.locator("#status", has_text=f"{formula} by").wait_for(timeout=30_000)
        results(phone)
        assert phone.evaluate("document.documentElement.scrollWidth") == 360
        table = phone.locator("#extremes").locator("..")
        assert table.evaluate("e => e.scrollWidth - e.clientWidth") == 0
