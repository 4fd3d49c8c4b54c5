"""Tables for a paper: LaTeX with the rules of the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "…": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\n": " ",
}
_STARS = re.compile(r"\*+")
_ANY = re.compile("[" + re.escape("".join(_SPECIAL)) + "]")


def escape_latex(text: str) -> str:
    r"""`text` as LaTeX that prints it: special characters lose their meaning, stars are raised.

    A bracket is put in braces, because one after `\\` is taken for a length.

    Example:
        >>> print(escape_latex("50 % of a_b & <c>"), escape_latex("0.81** ↑"))
        50 \% of a\_b \& \textless{}c\textgreater{} 0.81$^{**}$ $\uparrow$
    """
    return _STARS.sub(r"$^{\g<0>}$", _ANY.sub(lambda found: _SPECIAL[found[0]], text))


def latex_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str, numeric: Sequence[bool]
) -> str:
    r"""A `table` environment; its preamble needs `\usepackage{booktabs}`.

    Args:
        header: name of each column.
        rows: cells as plain text; they are escaped.
        caption: plain text above the table.
        label: for `\ref`; letters, digits, `-` and `:` are kept, others become `-`.
        numeric: for each column whether it is aligned to the right.

    Example:
        >>> print(latex_table(["row", "Dice"], [["kd", "0.81"]], caption="C", label="t", numeric=[0, 1]))
        \begin{table}
          \centering
          \caption{C}
          \label{t}
          \begin{tabular}{lr}
            \toprule
            row & Dice \\
            \midrule
            kd & 0.81 \\
            \bottomrule
          \end{tabular}
        \end{table}
        <BLANKLINE>
    """
    first, *others = (" & ".join(map(escape_latex, line)) + r" \\" for line in (header, *rows))
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(caption)}}}",
        rf"  \label{{{re.sub('[^A-Za-z0-9:-]+', '-', label)}}}",
        rf"  \begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric)}}}",
        r"    \toprule",
        f"    {first}",
        r"    \midrule",
        *(f"    {line}" for line in others),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
