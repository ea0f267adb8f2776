"""Pages whose outputs are not in the cache execute before Sphinx reads them, as many at once as there are processors.

By itself myst-nb executes one page after another. Here the missing outputs are computed first and put into the same
cache, where myst-nb then finds them. A page that fails is left to myst-nb, which executes it once more and reports it:
what counts as a failure, and how it is told, stays in one place.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.read import create_nb_reader
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
MOST = 4  # a kernel with torch takes about a gigabyte


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def missing(app: Sphinx, docnames: list[str], cache) -> dict[Path, NotebookNode]:
    """The notebooks among these documents that are to be executed and have no outputs in the cache."""
    found = {}
    config = app.env.mystnb_config
    for path in (Path(app.env.doc2path(name)) for name in docnames):
        if any(PurePosixPath(path.as_posix()).match(pattern) for pattern in config.execution_excludepatterns):
            continue
        text = path.read_text("utf-8")
        reader = create_nb_reader(str(path), app.env.myst_config, config, text)
        if reader is None:
            continue
        notebook = reader.read(text)
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            found[path] = notebook
    return found


def execute_missing(app: Sphinx, env, docnames: list[str]) -> None:
    """Fill the cache for the documents about to be read."""
    config = env.mystnb_config
    if config.execution_mode != "cache":
        return
    cache = get_cache(config.execution_cache_path)
    pages = missing(app, docnames, cache)
    workers = min(processors(), MOST, len(pages))
    if workers < 2:
        return

    def execute(path: Path) -> ExecutionResult:
        return single_nb_execution(pages[path], cwd=str(path.parent), timeout=config.execution_timeout,
                                   allow_errors=config.execution_allow_errors)

    LOGGER.info("executing %d pages, %d at a time", len(pages), workers)
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(execute, path): path for path in pages}
        for done in as_completed(running):
            path, result = running[done], done.result()
            if result.err is not None:
                LOGGER.info("%s failed; it is executed once more, to be reported", path.name)
                continue
            # Only this thread writes to the cache.
            bundle = CacheBundleIn(result.nb, str(path), data={"execution_seconds": result.time})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            LOGGER.info("executed %s in %.0f s", path.name, result.time)


def setup(app: Sphinx) -> dict:
    app.connect("env-before-read-docs", execute_missing)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
