"""Walk through every page of the site in a browser, as readers would: `make site-check`.

It serves _site/ on this machine alone, opens each page wide and narrow, light and dark, and looks for whatever spoils
the reading: errors of the page, dead links and anchors, pictures that do not load or say nothing, mathematics that is
not set, a page that scrolls sideways, and what axe-core calls serious. Nothing may be asked of another machine.
"""

import functools
import os
import re
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import axe_playwright_python
from playwright.sync_api import Error, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_site"
WIDTHS = (360, 768, 1400)
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")

# What a page says of itself, in one call: everything that needs no other page.
LOOK = """() => {
  const all = (what) => [...document.querySelectorAll(what)];
  return {
    ids: all("[id]").map((e) => e.id),
    links: all("a[href]").map((e) => e.href),
    broken: all("img").filter((e) => !(e.complete && e.naturalWidth)).map((e) => e.src),
    silent: all("article img, .bd-article img").filter((e) => !e.alt.trim()).map((e) => e.src),
    formulas: all(".math").length,
    set: all("mjx-container").length,
    wrong: all("mjx-merror").map((e) => e.textContent),
    open: all("details.hide[open]").length,
    closed: all("details.hide:not([open])").length,
    films: all("img").filter((e) => e.src.endsWith(".gif")).length,
  };
}"""
OVERFLOW = """() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return null;
  const ends = (e) => e.getBoundingClientRect().right;
  const wide = [...document.querySelectorAll("body *")].filter((e) => ends(e) > page.clientWidth + 1);
  return wide.slice(0, 3).map((e) => `${e.tagName.toLowerCase()}.${e.className}`).join(", ") || "the page";
}"""
DARK_FIGURES = """() => [...document.querySelectorAll(".bd-article img")].filter((e) => {
  const style = getComputedStyle(e);
  return style.backgroundColor !== "rgb(255, 255, 255)" || style.filter !== "none";
}).length"""
AUDIT = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"], preload: false});
  const bad = found.violations.filter((v) => ["serious", "critical"].includes(v.impact));
  return bad.map((v) => `${v.id} (${v.nodes.length}): ${v.nodes[0].target.join(" ")}: ${v.nodes[0].html.slice(0, 99)}`);
}"""


def serve(folder, port=0):
    """Serve a folder on the loopback address, on a free port unless one is asked for. Returns the server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):  # the browser has left a page before it was whole
            pass

    server = Server(("127.0.0.1", port), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def browser_path(playwright):
    """The one that CHROMIUM names, Playwright's own, or one of this machine; None if there is none."""
    own = Path(playwright.chromium.executable_path)
    named = [os.environ.get("CHROMIUM"), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    return named[0] or (str(own) if own.exists() else next(filter(None, named[1:]), None))


class Walk:
    """One walk over the pages: what was found, and what each page said of itself."""

    def __init__(self, browser, address):
        self.address, self.problems, self.pages = address, [], {}
        self.context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light")
        self.context.route("**/*", self.only_from_here)
        self.page = self.context.new_page()
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.complain(f"console: {m.text}"))
        self.page.on("pageerror", lambda e: self.complain(f"error: {e}"))
        self.page.on("response", lambda r: r.status >= 400 and self.complain(f"{r.status}: {r.url}"))
        self.name = ""

    def complain(self, text):
        problem = f"{self.name}: {text}"
        if problem not in self.problems:
            self.problems.append(problem)
            print(f"\n{problem}", end="", flush=True)

    def only_from_here(self, route):
        if urlsplit(route.request.url).netloc == urlsplit(self.address).netloc or route.request.url.startswith("data:"):
            return route.continue_()
        self.complain(f"asks another machine: {route.request.url}")
        return route.abort()

    def open(self, name):
        self.name = name
        self.page.set_viewport_size({"width": 1400, "height": 900})
        self.page.emulate_media(color_scheme="light")
        self.page.goto(f"{self.address}/{name}", wait_until="load")
        self.page.evaluate("async () => { if (window.MathJax) await MathJax.startup.promise; }")
        self.page.evaluate("""() => Promise.all([...document.images].map((image) => {
            image.loading = "eager";
            return image.decode().catch(() => null);
        }))""")

    def visit(self, name):
        self.open(name)
        seen = self.pages[name] = self.page.evaluate(LOOK)
        for image in seen["broken"]:
            self.complain(f"a picture that does not load: {image}")
        for image in seen["silent"]:
            self.complain(f"a picture that says nothing to a screen reader: {image}")
        if seen["formulas"] != seen["set"]:
            self.complain(f"{seen['set']} of {seen['formulas']} formulas are set")
        for formula in seen["wrong"]:
            self.complain(f"a formula that MathJax cannot read: {formula}")
        if seen["open"]:
            self.complain(f"{seen['open']} outputs or sources are open that should be closed")
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            wide = self.page.evaluate(OVERFLOW)
            if wide:
                self.complain(f"scrolls sideways at a width of {width}: {wide}")
            if width == WIDTHS[0]:
                self.audit("narrow, light")
        self.page.emulate_media(color_scheme="dark")
        self.page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        if self.page.evaluate(DARK_FIGURES):
            self.complain("figures without a white card in the dark theme")
        self.audit("wide, dark")

    def audit(self, how):
        self.page.wait_for_timeout(500)  # after a resize the theme gives what scrolls a place in the tab order
        for finding in self.page.evaluate(AUDIT):
            self.complain(f"axe, {how}: {finding}")

    def links(self):
        """Every link within the site leads to a file, and to an anchor of its page."""
        for name, seen in self.pages.items():
            self.name = name
            for link in set(seen["links"]):
                if not link.startswith(self.address):
                    continue
                page, anchor = urldefrag(link)
                target = unquote(urlsplit(page).path).lstrip("/") or "index.html"
                if not (SITE / target).is_file():
                    self.complain(f"a link to nothing: {target}")
                elif anchor and target in self.pages and unquote(anchor) not in self.pages[target]["ids"]:
                    self.complain(f"a link to an anchor that is not there: {target}#{anchor}")

    def search(self, word):
        self.open(f"search.html?q={word}")
        try:
            self.page.wait_for_selector("#search-results li a", timeout=20_000)
            self.page.click("#search-results li a")
            self.page.wait_for_load_state()
            if word not in self.page.inner_text("body").lower():
                self.complain(f"the first find does not contain {word}")
        except Error:
            self.complain(f"{word} is not found")

    def closed_cell(self, name):
        """A closed cell opens and closes, by keyboard and by mouse."""
        self.open(name)
        summary = self.page.locator("details.hide > summary").first
        is_open = functools.partial(self.page.locator("details.hide").first.evaluate, "e => e.open")
        for how in ("Enter", "a click", "Space"):
            before = is_open()
            summary.click() if how == "a click" else summary.press(how)
            if is_open() == before:
                self.complain(f"{how} does not open or close a closed cell")

    def films(self, name):
        """Every film of the page moves."""
        self.open(name)
        for film in self.page.locator("img[src$='.gif']").all():
            film.scroll_into_view_if_needed()
            pictures = set()
            for _ in range(4):
                pictures.add(film.screenshot())
                self.page.wait_for_timeout(400)
            if len(pictures) == 1:
                self.complain(f"a film that stands still: {film.get_attribute('src')}")


def check(browser, address, only):
    """Walk over all pages whose name contains a text. Returns the walk."""
    walk = Walk(browser, address)
    names = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    names = [name for name in names if not name.startswith("_") and only in name]
    walk.name = only
    if not names:
        walk.complain("no page of this name")
    for name in names:
        walk.visit(name)
        print(".", end="", flush=True)
    walk.links()
    walk.search("logsumexp")
    for name in filter(lambda name: walk.pages[name]["films"], names):
        walk.films(name)
    for name in [name for name in names if walk.pages[name]["closed"]][:1]:
        walk.closed_cell(name)
    return walk


def main():
    if not (SITE / "index.html").is_file():
        return "there is no site to check: make site"
    port = os.environ.get("PORT", "0")
    if not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535:
        return f"PORT has to be a number up to 65535, got {port}"
    try:
        server = serve(SITE, int(port))
    except OSError as error:
        return f"port {port} cannot be used: {error.strerror}. Without PORT a free one is taken."
    with server, sync_playwright() as playwright:
        path = browser_path(playwright)
        if path is None:
            return "no browser was found: .venv-site/bin/python -m playwright install chromium, or CHROMIUM=path"
        try:
            root = hasattr(os, "geteuid") and os.geteuid() == 0
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        except Error as error:
            return f"{path} does not start: {error.message.splitlines()[0]}"
        try:
            walk = check(browser, f"http://127.0.0.1:{server.server_port}", "".join(sys.argv[1:2]))
        except Error as error:
            return f"the browser stopped: {error.message.splitlines()[0]}"
        finally:
            browser.close()
            server.shutdown()
    formulas, closed = (sum(seen[what] for seen in walk.pages.values()) for what in ("formulas", "closed"))
    print(f"\n{len(walk.pages)} pages, {formulas} formulas, {closed} closed cells: {len(walk.problems)} problems")
    return 1 if walk.problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped.")
