"""Draw the README's picture, `docs/figures/report.png`: verdicts and one figure of the report of a finished run.

    python docs/draw_report.py runs/quickstart

A headless Chromium shows the report without its other sections.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = Path(__file__).parent / "figures" / "report.png"
SIZE = (1040, 1350)
SHOWN = """
.skip, nav, .filters, details, .found, #verdicts .scroll, #verdicts figcaption,
#figure-overlap > figcaption { display: none !important }
main > section:not(#verdicts, #overlap), #overlap > :not(h2, #figure-overlap) { display: none !important }
#figure-overlap .panels > :nth-child(n + 3), #figure-overlap .drawings > :nth-child(2),
#figure-overlap .legend > :last-child { display: none }
body { padding: 0.5rem 1rem !important }
header, section { margin-block: 0 !important; padding-block: 0.5rem !important }
h1 { font-size: 1.6rem !important }
"""


def shortened(page: str) -> str:
    """The report with a style that hides what the picture leaves out; its policy would not let the style in."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    return page.replace("</head>", f"<style>{SHOWN}</style></head>", 1)


if __name__ == "__main__":
    browser = shutil.which("chromium")
    if browser is None:
        sys.exit("docs/draw_report.py needs chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(shortened((Path(sys.argv[1]) / "report.html").read_text(encoding="utf-8")), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
        window = f"--window-size={SIZE[0]},{SIZE[1]}"
        subprocess.run([browser, *options, window, f"--screenshot={TARGET}", page.as_uri()], check=True)
