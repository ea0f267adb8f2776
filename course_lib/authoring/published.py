"""Where the book is published, in one setting, and what hangs on it: buttons that open its notebooks elsewhere.

``course_published`` in ``_config.yml`` is empty, or holds some of

``site``        the address under which the book is read: see `heads`;
``repository``  the address of the course's repository, with the built book as its branch ``gh-pages``: buttons for
                Binder, and for Colab where it is on GitHub;
``hub``         the address of a JupyterHub with nbgitpuller: its button.

The buttons open the notebooks of the built book (see `notebooks`). They need no more than that branch: Binder finds
in it what to install, the recorded runs lie beside the notebooks, and a first cell fetches the library where it is
missing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import nbformat
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

KEYS = ("site", "repository", "hub")
BRANCH = "gh-pages"
INSTALL = """\
# Where the course's library is missing, as on Colab, fetch it and install it.
import importlib
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("course_lib") is None:
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", "{repository}", "course"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "./course"], check=True)
    importlib.invalidate_caches()
    os.chdir("course/book")"""


def read_setting(app: Sphinx, config) -> None:
    """Check the setting, and give Sphinx the site's address. Raises ConfigError for what it does not know."""
    setting = config.course_published or {}
    for key, address in setting.items():
        if key not in KEYS:
            raise ConfigError(f"course_published: no key {key!r}; there are {', '.join(KEYS)}.")
        parts = urlsplit(str(address))
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ConfigError(f"course_published: {key}: {address!r} is no address that begins with https://.")
    if "hub" in setting and "repository" not in setting:
        raise ConfigError("course_published: a hub fetches the notebooks from a repository; give its address too.")
    config.course_published = {key: str(address).rstrip("/") for key, address in setting.items()}
    if "site" in config.course_published:
        config.html_baseurl = config.course_published["site"] + "/"


def buttons(published: dict[str, str], notebook: str) -> list[dict[str, str]]:
    """The launch buttons for a notebook, given by its path in the built book, in the theme's terms."""
    if "repository" not in published:
        return []
    repository = published["repository"]
    host, path = urlsplit(repository).netloc, urlsplit(repository).path.strip("/").removesuffix(".git")
    found = {}
    if host == "github.com":
        found["Colab"] = f"https://colab.research.google.com/github/{path}/blob/{BRANCH}/{notebook}"
        source = f"gh/{path}"
    else:
        source = f"git/{quote(repository, safe='')}"
    found["Binder"] = f"https://mybinder.org/v2/{source}/{BRANCH}?urlpath=lab/tree/{notebook}"
    if "hub" in published:
        where = f"lab/tree/{path.rpartition('/')[2]}/{notebook}"
        asked = urlencode({"repo": repository, "branch": BRANCH, "urlpath": where})
        found["JupyterHub"] = f"{published['hub']}/hub/user-redirect/git-pull?{asked}"
    icons = {"Colab": "colab.png", "Binder": "binder.svg", "JupyterHub": "jupyterhub.svg"}
    return [
        {"type": "link", "text": name, "tooltip": f"Open on {name}", "url": url,
         "icon": f"_static/images/logo_{icons[name]}"}
        for name, url in found.items()
    ]  # fmt: skip


def launch(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Put the launch buttons beside the others on every page that has a notebook."""
    source = context.get("sourcename") or ""
    notebook = context.get("ipynb_source") or (source if source.endswith(".ipynb") else None)
    found = buttons(app.config.course_published, f"_sources/{notebook}") if notebook else []
    if found:
        group = {"type": "group", "tooltip": "Run this page elsewhere", "icon": "fas fa-rocket", "buttons": found}
        context["header_buttons"].insert(0, group | {"label": "launch-buttons"})


def furnish(app: Sphinx, exception: Exception | None) -> None:
    """Give the built book what its notebooks need when they are opened from its branch."""
    repository = app.config.course_published.get("repository")
    if exception is not None or not repository or app.builder.name != "html":
        return
    root, out = Path(app.srcdir), Path(app.outdir)
    (out / ".nojekyll").touch()  # GitHub's pages leave out folders whose names begin with an underscore otherwise
    for path in (out / "_sources").rglob("*.ipynb"):
        nb = nbformat.read(path, as_version=4)
        if all(cell.id != "install" for cell in nb.cells):
            nb.cells.insert(1, nbformat.v4.new_code_cell(INSTALL.format(repository=repository), id="install"))
            nbformat.write(nb, path)
    if (root / "book/recorded").is_dir():
        shutil.copytree(root / "book/recorded", out / "_sources/book/recorded", dirs_exist_ok=True)
    if (root / "binder").is_dir():
        shutil.copytree(root / "binder", out / "binder", dirs_exist_ok=True)
        shutil.copy(root / "constraints.txt", out / "binder")
        needs = (root / "binder/requirements.txt").read_text("utf-8").replace("../constraints.txt", "constraints.txt")
        needs = needs.replace("-e .[teach]", f"course_lib[teach] @ git+{repository}")
        (out / "binder/requirements.txt").write_text(needs, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.add_config_value("course_published", {}, "html", types=(dict,))
    app.connect("config-inited", read_setting)
    app.connect("html-page-context", launch, priority=510)
    app.connect("build-finished", furnish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
