"""The page in a browser: what only a browser can tell."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stnlab.reports import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
]
FLAGS += ["--disable-background-networking", "--disable-sync", "--enable-logging=stderr", "--v=0"]
PROBE = """<script>addEventListener("load", () => {
  const box = document.querySelector(".filter input");
  if (box) { box.value = "rotation_scale"; box.dispatchEvent(new Event("input")); }
  const count = document.querySelector(".filter output")?.textContent;
  const images = [...document.images];
  const found = {
    page: getComputedStyle(document.body).backgroundColor,
    scrolls: document.documentElement.scrollWidth > innerWidth,
    broken: images.filter((one) => !one.complete || !one.naturalWidth).length,
    images: images.length, count,
    buttons: document.querySelectorAll(".moving button:not([hidden])").length };
  document.documentElement.dataset.found = JSON.stringify(found);
});</script></body>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


def browse(page: Path, profile: Path, width: int = 1280, dark: bool = False) -> tuple[str, str]:
    """The page as the browser has it that many pixels wide, and what it said on the console."""
    command = [
        str(CHROMIUM),
        *FLAGS,
        *["--blink-settings=preferredColorScheme=0"] * dark,
        f"--window-size={width},3000",
        f"--user-data-dir={profile}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.parametrize(
    ("width", "dark", "page_is"), [(1280, False, "rgb(255, 255, 255)"), (500, True, "rgb(22, 24, 27)")]
)
def test_no_console_error_no_horizontal_scroll_no_broken_image(study, tmp_path, width, dark, page_is):
    page = write_report(study).folder / "index.html"
    probed = tmp_path / "probed.html"
    text = page.read_text().replace('loading="lazy"', "")  # or what is far below is not loaded
    probed.write_text(text.replace("</body>", PROBE))
    dom, console = browse(probed, tmp_path / "profile", width, dark)
    assert not console
    found = re.search(r"data-found=\"([^\"]*)\"", dom)
    assert found, "the probe did not run"
    told = found[1].replace("&quot;", '"')
    assert f'"page":"{page_is}","scrolls":false' in told
    assert '"broken":0,"images":23' in told
    assert '"buttons":3' in told


def test_the_filter_leaves_the_rows_that_have_its_words(make_study, tmp_path):
    learning_rates = [{"placement": "none", "extra": {"recipe": {"lr": 0.001 * n}}} for n in range(1, 14)]
    page = write_report(make_study(*learning_rates, images=20)).folder / "index.html"
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", PROBE.replace("rotation_scale", "0.01 ")))
    dom, console = browse(probed, tmp_path / "profile")
    assert not console
    assert "&quot;count&quot;:&quot;4 of 13&quot;" in dom  # 0.01 to 0.013
