"""Descriptions of parameters: exactly those that Prefect finds in a docstring, of any style."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_flow.flows import reading, schema

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from prefect.utilities.callables import parameter_docstrings

TEXTS = {
    "google": "Do.\n\n    Args:\n        a: first\n        b (int): second\n            goes on\n    Returns:\n        x\n    ",
    "google with types": "Do.\n\n    Args:\n        a (Optional[Dict[str, int]], optional): first. Defaults to {}.\n        *args: rest\n        **kwargs: more\n    ",
    "numpy": "Do.\n\n    Parameters\n    ----------\n    a : int\n        first\n    b : str, optional\n        second\n\n    Returns\n    -------\n    int\n    ",
    "numpy with a colon": "Do.\n\n    Parameters:\n    -----------\n    a : int\n        first\n    ",
    "sphinx": "Do.\n\n    :param a: first\n    :type a: int\n    :param str b: second\n    :returns: x\n    ",
    "epytext": "Do.\n\n    @param a: first\n    @type a: int\n    ",
    "sphinx below google": "Do.\n\n    Args:\n        a: first\n\n    :param b: second\n    ",
    "markdown": "Do.\n\n    ## Args:\n\n    - a: first\n    - b: second\n    ",
    "titles of other sections": "Do.\n\n    Note:\n        a: no\n\n    Raises:\n        a: no\n\n    Attributes:\n        a: no\n    ",
    "keyword arguments": "Do.\n\n    Keyword Args:\n        a: first\n\n    Other Parameters:\n        b: second\n    ",
    "titled section": "Do.\n\n    Args: The arguments\n        a: first\n    ",
    "tabs": "Do.\n\n\tArgs:\n\t\ta: first\n\t\tb: second\n\t",
    "two spaces": "Do.\n\n  Args:\n    a: first\n      goes on\n    b: second\n  ",
    "one line": "Args: a: first",
    "dashes": "Do.\n\n    Args:\n        a - first\n        b -- second\n    ",
    "no colon": "Do.\n\n    Args:\n        a\n        b: second\n    ",
    "empty description": "Do.\n\n    Args:\n        a:\n        b:\n            below\n    ",
    "lists": "Do.\n\n    Args:\n        a: one of\n            - x: y\n            - z\n\n            and more\n        b: second\n    ",
    "code": "Do.\n\n    Args:\n        a: like\n            ```python\n            b: 1\n            ```\n    ",
    "examples": "Do.\n\n    Example:\n        >>> f(a: 1)\n\n    Args:\n        a: first\n    ",
    "capitals": "Do.\n\n    ARGS:\n        a: first\n\n    args:\n        b: second\n    ",
    "unicode": "Tut.\n\n    Args:\n        naïve: größer — als\n    ",
    "empty": "",
    "blank": "\n\n   \n",
    "only a title": "Args:",
    "nothing below": "Do.\n\n    Args:\n    ",
}


def prefects(text: str) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parameter_docstrings(reading.document_of(text))


@pytest.mark.parametrize("style", TEXTS)
def test_descriptions_are_those_that_prefect_reads(style: str) -> None:
    assert schema.descriptions(reading.document_of(TEXTS[style])) == prefects(TEXTS[style])


@pytest.mark.parametrize("style", ["numpy", "sphinx", "epytext"])
def test_prefect_reads_descriptions_in_googles_style_only(style: str) -> None:
    assert prefects(TEXTS[style]) == {}


LINES = st.sampled_from(
    [
        *(
            "",
            "Do.",
            "Args:",
            "Parameters:",
            "Params: titled",
            "Returns:",
            "Note:",
            "```",
            ":param a: x",
        ),
        *(
            "a: first",
            "b (int, optional): second",
            "*c: third",
            "d",
            "e:",
            "f : x",
            "g: h: i",
            "-----",
        ),
    ]
)


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "  ", "    ", "        ", "            "]), LINES),
        max_size=12,
    )
)
def test_any_arrangement_of_lines_is_read_as_prefect_does(lines: list[tuple[str, str]]) -> None:
    text = "\n".join(indent + line for indent, line in lines)
    assert schema.descriptions(reading.document_of(text)) == prefects(text)
