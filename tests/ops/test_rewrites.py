"""Rewrite equality: whatever is dropped, cut, resized or filled in around an operator, nothing else changes."""

import pytest

from .case import Case
from .rewriting import WAYS, check_rewrite
from .table import CASES


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_constructed_around_the_operator_equals_it(case: Case) -> None:
    for way in range(len(WAYS)):
        check_rewrite(case, way)
