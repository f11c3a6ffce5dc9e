"""Opens the page of `blindfold report` in headless Chromium, without network, and looks at it.

    python check_report.py PAGE.html [PAGE.html ...] [--screenshots FOLDER] [--chromium PATH]

Each page is opened at the widths of a desk and of a phone, light and dark, and as it is printed. It must have its title
and all its sections, say nothing on the console, ask for nothing beside itself, not be wider than the window, and sort
its tables by a click; screenshots must show something, on a light ground, a dark one and, printed, a white one. With
--screenshots they are written there.
Exit 0: all is well. 1: it is not, and what is wrong is listed. 2: a page or the browser is not there.
"""

import argparse
import io
import sys
from pathlib import Path

SECTIONS = ["warnings", "curves", "layers", "samples", "audit", "configuration", "costs", "environment", "log"]
WIDTHS = {"desk": 1280, "phone": 400}
# Fewest colours of a picture that shows a page.
COLOURS = 64


class Missing(Exception):
    """A page or the browser is not there."""


def chromium_path(asked: str | None) -> str | None:
    """The browser that was asked for, else the system's, else none: Playwright then takes its own."""
    usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
    if asked and not Path(asked).is_file():
        raise Missing(f"{asked} is not a file: name Chromium's program with --chromium")
    return asked or next((path for path in usual if Path(path).is_file()), None)


def picture(page, name: str, folder: Path | None):
    from PIL import Image

    data = page.screenshot(full_page=True)
    if folder:
        (folder / name).write_bytes(data)
    return Image.open(io.BytesIO(data)).convert("RGB")


def ground(image) -> int:
    """How bright the page's corner is, from 0 to 255."""
    return sum(image.getpixel((2, 2))) // 3


def sort(page) -> str | None:
    """Sorts every table by its last column; what went wrong, if anything."""
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    tables = page.locator("table[data-sortable]")
    for index in range(tables.count()):
        table = tables.nth(index)
        before = sorted(table.locator("tbody tr").all_inner_texts())
        header = table.locator("thead th").last
        header.locator("button").click()
        direction = header.get_attribute("aria-sort")
        keys = table.evaluate("(t) => [...t.tBodies[0].rows].map((r) => r.lastElementChild.dataset.v ?? null)")
        after = sorted(table.locator("tbody tr").all_inner_texts())
        if direction not in ("ascending", "descending") or after != before:
            return f"table {index} lost rows or says no direction ({direction})"
        numbers = [float(key) for key in keys if key]
        if all(key is not None for key in keys):
            if numbers != sorted(numbers, reverse=direction == "descending"):
                return f"table {index} is not in order: {keys}"
            if any(key == "" for key in keys[: len(numbers)]):
                return f"table {index}: empty cells do not stand last: {keys}"
    return None


def check(browser, path: Path, folder: Path | None) -> list[str]:
    """What is wrong with a page."""
    faults, brightness = [], {}
    for device, width in WIDTHS.items():
        for scheme in ["light", "dark"]:
            where = f"{path} ({device}, {scheme})"
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
            page = context.new_page()
            said, asked = [], []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(path.resolve().as_uri())
            strange = [url for url in asked if not url.startswith(("data:", path.resolve().as_uri()))]
            faults += [f"{where}: asks for {url[:120]}" for url in strange]
            if " / seed " not in page.title():
                faults.append(f"{where}: the title is {page.title()!r}")
            for section in SECTIONS:
                if not page.locator(f"section#{section} h2").is_visible():
                    faults.append(f"{where}: there is no section {section}")
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                faults.append(f"{where}: the page is {wide} pixels wide")
            broken = page.evaluate("[...document.images].filter((i) => !i.naturalWidth).map((i) => i.alt)")
            faults += [f"{where}: the picture {name!r} does not load" for name in broken]
            image = picture(page, f"{path.stem}-{device}-{scheme}.png", folder)
            brightness[device, scheme] = ground(image)
            colours = image.getcolors(maxcolors=1 << 24)
            if len(colours) < COLOURS:
                faults.append(f"{where}: the screenshot has {len(colours)} colours only")
            fault = sort(page) if scheme == "light" else None
            if fault:
                faults.append(f"{where}: {fault}")
            page.emulate_media(media="print")
            if ground(picture(page, f"{path.stem}-{device}-{scheme}-print.png", None)) < 250:
                faults.append(f"{where}: the page is not printed on white")
            faults += [f"{where}: the console says: {text}" for text in said]
            context.close()
    for device in WIDTHS:
        if brightness[device, "light"] < 200 or brightness[device, "dark"] > 60:
            faults.append(f"{path} ({device}): the ground is {brightness} bright")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER")
    parser.add_argument("--chromium", metavar="PATH")
    args = parser.parse_args()
    try:
        for path in args.pages:
            if not path.is_file():
                raise Missing(f"{path} is not a file: make it with `blindfold report RUN --out {path}`")
        try:
            from playwright.sync_api import Error, sync_playwright
        except ImportError as error:
            raise Missing("Playwright is not installed: pip install -r scripts/requirements-report.txt") from error
        if args.screenshots:
            args.screenshots.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as playwright:
            try:
                # Containers have no user namespaces; the page is our own, and the network is off.
                path = chromium_path(args.chromium)
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            except Error as error:
                raise Missing(f"Chromium does not start: apt-get install chromium, or name it: {error}") from error
            faults = [fault for path in args.pages for fault in check(browser, path, args.screenshots)]
            browser.close()
    except Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        print(fault)
    print(f"{len(args.pages)} pages, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
