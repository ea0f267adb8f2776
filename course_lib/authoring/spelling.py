"""Spelling, in two passes of codespell: ``python -m course_lib.authoring.spelling [ROOT]``.

The first looks for common mistakes in every file. The second keeps the text to one convention, British with *-ise*: it
reads codespell's own list of British and American words from right to left, over prose alone, since the names in code
(``color``, ``center``, ``normalize``) are those of other libraries.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import tokenize
from importlib import resources
from pathlib import Path

FILES = ("README.md", "Makefile", "_config.yml", "_toc.yml", "book/*.md", "book/references.bib", "solutions/*.md",
         "book/_static/*.*s", "book/_static/widgets/*.js", "course_lib/**/*.py", "course_lib/**/*.toml", "tests/*.py",
         "tests/browser/*.mjs", "benchmarks/**/*.py")  # fmt: skip
# Names of people and titles of works, and words that codespell takes for others.
WORDS = ("teh", "theis", "modeling", "sting")
# Words of codespell's American column that are British as well: in another sense, in computing, or as the usual form.
BOTH = {
    "analog", "biased", "dialog", "dialogs", "focused", "focuses", "focusing", "judgment", "license", "licensed",
    "licenses", "licensing", "math", "meter", "meters", "practice", "practices", "program", "programs", "routing",
    "story", "stories", "writable",
}  # fmt: skip
# PyTorch's name for what it is.
OURS = {"optimiser": "optimizer", "optimisers": "optimizers"}
STRING = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}  # the latter from Python 3.12 on


def blank(text: str) -> str:
    """Spaces in the place of a text, line by line, so that what is left keeps its line."""
    return re.sub(r"[^\n]", " ", text)


def of_python(source: str) -> str:
    """Comments and docstrings, and other strings of four words or more; nothing else."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    kept, at = [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        said = token.type in STRING and ('"""' in token.string or len(token.string.split()) > 3)
        if said or token.type == tokenize.COMMENT:
            begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
            kept += [blank(source[at:begin]), source[begin:end]]
            at = end
    text = "".join([*kept, blank(source[at:])])
    text = re.sub(r"(?<=::\n)\n([ \t]+)\S.*\n(?:\1.*\n|[ \t]*\n)*", lambda m: blank(m[0]), text)  # a code example
    return without_names(text)


def without_names(text: str) -> str:
    """A text without code in backquotes, addresses, formulas and markup."""
    return re.sub(r"(`+).+?\1|https?://\S+|\$[^$\n]+\$|</?[a-z][^>\n]*>", lambda m: blank(m[0]), text, flags=re.DOTALL)


def of_markdown(text: str) -> str:
    """The prose of a page, and of the code in it what `of_python` keeps; the other lines of a directive stay."""
    parts, at = [], 0
    fence = r"^(`{3,})(\{code-cell\}[^\n]*|python)\n((?::[^\n]*\n|---\n.*?\n---\n)*)(.*?)^\1[ ]*$"
    for match in re.finditer(fence, text, flags=re.DOTALL | re.MULTILINE):
        head = text[match.start() : match.start(4)]
        try:
            code = of_python(match[4])
        except (tokenize.TokenError, SyntaxError):  # a skeleton with gaps
            code = blank(match[4])
        parts += [without_names(text[at : match.start()]), without_names(head.replace("`", " ")), code]
        at = match.end(4)
    return "".join([*parts, without_names(text[at:])])


def british() -> str:
    """codespell's list of American words, each with the British one: ``color->colour``."""
    pairs = resources.files("codespell_lib").joinpath("data/dictionary_en-GB_to_en-US.txt").read_text("utf-8")
    found: dict[str, str] = {}
    for line in pairs.splitlines():
        word, _, others = line.partition("->")
        for other in others.split(","):
            if other.strip() and other.strip() not in BOTH:
                found.setdefault(other.strip(), word.strip())
    found = {wrong: right for wrong, right in found.items() if right not in OURS} | OURS
    return "\n".join(f"{wrong}->{right}" for wrong, right in found.items() if wrong not in found.values())


def codespell(*arguments: str, root: Path) -> list[str]:
    """What codespell says of files, one line each; it ends with 65 if it has found anything."""
    command = [sys.executable, "-m", "codespell_lib", "--disable-colors", "--ignore-words-list", ",".join(WORDS)]
    run = subprocess.run([*command, *arguments], cwd=root, capture_output=True, text=True)
    if run.returncode not in (0, 65):
        raise RuntimeError(f"codespell failed: {run.stderr.strip()}")
    return run.stdout.splitlines()


def faults(root: Path) -> list[str]:
    """Every fault under a root, as ``file:line: word ==> better``."""
    paths = sorted({path.relative_to(root) for pattern in FILES for path in root.glob(pattern)})
    if not paths:
        raise ValueError(f"{root}: holds none of the files that are checked")
    found = codespell("--builtin", "clear,rare", *map(str, paths), root=root)
    with tempfile.TemporaryDirectory() as folder:
        view = Path(folder)
        prose = [path for path in paths if path.suffix in {".md", ".py"}]
        for path in prose:
            (view / path).parent.mkdir(parents=True, exist_ok=True)
            extract = of_python if path.suffix == ".py" else of_markdown
            (view / path).write_text(extract((root / path).read_text("utf-8")), encoding="utf-8")
        words = view / "british.txt"
        words.write_text(british(), encoding="utf-8")
        found += codespell("--dictionary", str(words), *map(str, prose), root=view)
    return found


def main(argv: list[str]) -> int:
    found = faults(Path(argv[0]) if argv else Path.cwd())
    print(*found, f"{len(found)} words to mend or, if right, to add to WORDS in {__spec__.name}", sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
