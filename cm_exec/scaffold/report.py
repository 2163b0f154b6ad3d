"""What `cm-exec init` says when it is done."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from cm_exec.scaffold.languages import LANGUAGES
from cm_exec.scaffold.plan import Asked, Plan
from cm_exec.scaffold.project import needs_build


def report(asked: Asked, plan: Plan, *, written: Sequence[str], kept: Sequence[str]) -> str:
    """What was written, and what to do next."""
    lines = [
        f"Wrote the function {plan.function!r} in {asked.language.title} to {asked.directory}:",
        *_columns([(name, plan.about.get(name, "")) for name in written]),
        *([f"Left as it was: {', '.join(kept)}"] if kept else []),
        "",
        "Next:",
        *_columns(list(_next_steps(asked, plan))),
    ]
    if "cm_handler.py" not in plan.files:
        others = ", ".join(name for name in LANGUAGES if name != asked.language.name)
        lines += ["", f"In another language: cm-exec init --lang NAME, with {others}."]
    return "\n".join(lines)


def _next_steps(asked: Asked, plan: Plan) -> Iterator[tuple[str, str]]:
    if asked.directory != Path():
        yield f"cd {shlex.quote(str(asked.directory))}", ""
    built = needs_build(asked.language)
    if built:
        yield "make build", "compile or install what the handler needs"
    yield "cm-exec test", "run the tests of cm.toml"
    yield f"cm-exec invoke {shlex.quote(plan.function)} --query-file query.json", "one query"
    change = "after `make build` a change" if built else "what you save"
    yield f"cm-exec {asked.language.dev}", f"call it in a browser; {change} takes effect (needs cm-exec[dev])"
    yield "make image", f"the image for Foundry; it takes cm-exec from {asked.base_image}"


def _columns(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(left) for left, _ in rows)
    return (f"  {left:{width}}  {right}".rstrip() for left, right in rows)
