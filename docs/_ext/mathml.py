"""Formulae as MathML, which browsers draw themselves: no script, and no other host is asked."""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def drawn(node: Any, as_block: bool) -> str:
    """A formula that cannot be drawn is a warning, and its source is shown."""
    # Paragraphs of one block are lines of one formula.
    text = r"\\".join(part for part in node.astext().split("\n\n") if part.strip())
    # The converter knows brackets of these sizes by their sides only.
    text = re.sub(r"\\([bB]igg?)(?![a-zA-Z])", r"\\\1l", text)
    try:
        return latex2mathml.tex2mathml(text, as_block=as_block)
    except (MathError, SyntaxError) as error:
        logger.warning("formula %r: %s", text, error, location=node)
        return f"<code>{html.escape(text)}</code>"


def inline(writer: Any, node: Any) -> None:
    writer.body.append(drawn(node, False))
    raise nodes.SkipNode


def block(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="math">{drawn(node, True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
