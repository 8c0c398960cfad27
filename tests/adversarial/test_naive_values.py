"""Every test of values, dtypes and sizes was seen failing: by case, the naive implementation that it is made for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from subnet.checks import left

from autosubnet.errors import AutoSubnetError, AutoSubnetWarning

from . import naive, test_dtypes, test_sizes, test_values
from .making import equal, example, network, without
from .naive import Mutant
from .naive import values as naive_values
from .naming import cases, collected, named, readable
from .specimen import ROWS

MODULES = (test_values, test_dtypes, test_sizes)
MUTANTS = {each.name: each for each in (*naive.MUTANTS, *naive_values.MUTANTS)}
# The library sees for itself that something is wrong; or the test does, and misses an error or a warning.
FAILURES = (AutoSubnetError, AutoSubnetWarning, AssertionError, pytest.fail.Exception)
# What else is raised: the model's own words.
RAISES = {"every model runs in float64": TypeError}

# Of odd sizes and empty batches: zeros that stay have sizes, concats are cut, and of the rest no zero stays.
ODD = {
    "sizes are those of the example": (
        "*-is-not-zero",
        "a-cumulative-product*",
        "xlogy*",
        "*pool*-of-a-zero",
        "interpolation*",
        "a-convolution-of-zero*",
        "*with-one-half",
        "F.pad*",
        "*-of-a-gate",
        "indices-of-*",
        "unpooling-of-zero",
        "grid_sample",
        "*-to-zero-scores",
        "*-of-zero-scores",
        "log(0)-behind-where",
        "a-Fourier-transform-of-zero",
        "a-filter-that-is-zero",
        "real-and-imaginary-parts",
        "an-order-of-zeros",
        "bits",
        "a-choice-by-a-comparison-of-zeros",
        "a-float32-island-that-is-one-half",
        "a-bfloat16-island",
    ),
    "blocks are cut at the front": ("*-of-a-concat", "a-narrowed-convolution*"),
    "a sum is zero where one term is": (
        "[!acx]*-of-zero-is-zero",
        "asinh*",
        "a-power-of-zero-is-zero",
        "c[!u]*-of-zero-is-zero",
        "a-zero-convolution*",
        "unpooling",
        "unfold-and-fold",
        "masked_fill-with--inf",
        "a-mask-of--inf-that-is-added",
        "an-overflow*",
        "a-float32-island-that-is-zero",
    ),
}

# By test and glob of cases, the mutant under which each of these must fail.
CAUGHT: list[tuple[Callable[..., None], str, str]] = [
    # zeros at birth
    (test_values.test_zeros_at_birth_do_not_change_the_groups, "*", "what is zero already is no group"),
    (test_values.test_zeros_at_birth_do_not_change_the_groups, "Adapted", "validity looks at values"),
    (test_values.test_zeros_at_birth_are_compiled_away_while_they_are_zero, "*", "what trains is not zero"),
    (test_values.test_zeros_at_birth_that_were_trained_stay, "*", "a parameter of small numbers is zero"),
    (test_values.test_a_head_that_is_zero_at_birth, "*", "zeros are looked for once"),
    (test_values.test_a_head_that_is_zero_at_birth, "*", "nobody need know of constants"),
    # signs and small numbers
    (test_values.test_minus_zero_counts_as_zero, "*", "minus zero is a number"),
    (test_values.test_the_smallest_number_is_not_zero, "*", "what is below the normal numbers is zero"),
    (
        test_values.test_who_asks_for_the_sign_of_zero_gets_no_wrong_answer,
        "*",
        "what is proved needs no verification",
    ),
    # infinities
    (
        test_values.test_a_complex_weight_that_is_no_number_is_refused_by_name,
        "*",
        "floating-point weights can be NaN",
    ),
    (
        test_values.test_a_complex_weight_that_is_no_number_is_refused_by_name,
        "infj",
        "real parts of weights can be NaN",
    ),
    (test_values.test_what_is_finite_beside_an_infinite_gate_is_equal, "*", "zero times infinity is not zero"),
    (test_values.test_a_row_that_is_masked_out, "*", "NaN differs from NaN"),
    (test_values.test_outputs_that_overflow_for_some_inputs, "*", "NaN differs from NaN"),
    (test_values.test_a_model_that_returns_nothing_finite_is_refused, "*", "what is not finite is not looked at"),
    (
        test_values.test_gradients_are_equal_where_those_of_the_model_are_finite,
        "[!L]*",
        "a zero is something times zero, and has roots",
    ),
    (
        test_values.test_gradients_are_equal_where_those_of_the_model_are_finite,
        "Lp pooling",
        "sizes are those of the example",
    ),
    # dtypes
    (test_dtypes.test_islands_of_another_dtype, "softmax*-float64", "casts are no operations"),
    (test_dtypes.test_islands_of_another_dtype, "softmax*-*float[13]*", "float64 is exact"),
    (test_dtypes.test_islands_of_another_dtype, "norm*-float64", "casts are no operations"),
    (test_dtypes.test_islands_of_another_dtype, "norm*-*float[13]*", "float64 is exact"),
    (test_dtypes.test_islands_of_another_dtype, "sigmoid*", "every activation keeps zero"),
    (test_dtypes.test_every_dtype_behind_a_concat, "*", "blocks are cut at the front"),
    (test_dtypes.test_an_island_rounds_as_its_own_dtype_does, "*", "every dtype rounds like float64"),
    (test_dtypes.test_a_model_that_takes_one_dtype_only, "*", "every model runs in float64"),
    (test_dtypes.test_zeros_that_follow_integers, "*", "a zero is like the first input"),
    (test_dtypes.test_zeros_that_follow_integers, "float64", "a zero has the default dtype"),
    (test_dtypes.test_zeros_that_follow_integers, "*float16", "a zero has the default dtype"),
    (
        test_dtypes.test_integers_beside_numbers_do_not_blunt_the_verification,
        "*",
        "all outputs round like the coarsest",
    ),
    (test_dtypes.test_complex_outputs, "*", "unknown operators keep zero"),
    (test_dtypes.test_complex_outputs, "float64", "a zero has the default dtype"),
    (test_dtypes.test_both_parts_of_complex_outputs_are_verified, "*", "floating-point outputs are compared"),
    (test_dtypes.test_both_parts_of_complex_outputs_are_verified, "*-a", "imaginary parts are compared"),
    (test_dtypes.test_both_parts_of_complex_outputs_are_verified, "*-c", "real parts are compared"),
    (test_dtypes.test_autocast_around_both, "*-False", "results have the dtype that was seen"),
    (test_dtypes.test_autocast_around_both, "*-True", "who casts by itself cannot be followed"),
    (test_dtypes.test_autocast_in_a_module_of_its_own, "*", "autocast is not seen"),
    (test_dtypes.test_autocast_in_forward_itself_is_refused_by_name, "*", "autocast is not seen"),
    # sizes
    *((test_sizes.test_odd_sizes_and_empty_batches, glob, mutant) for mutant, globs in ODD.items() for glob in globs),
    (test_sizes.test_empty_example_inputs, "*", "an empty output shows nothing"),
    (test_sizes.test_empty_example_inputs, "*", "sizes are those of the example"),
    (test_sizes.test_a_batch_of_one_in_train_mode, "*", "norms stay in eval mode"),
    (test_sizes.test_a_zero_that_widens_at_other_sizes_only, "*", "a size of one is one"),
    (test_sizes.test_a_place_that_holds_a_zero_at_one_length_only, "*", "sizes are those of the example"),
    (test_sizes.test_places_along_a_length_that_varies, "*", "sizes are those of the example"),
    (test_sizes.test_zeros_that_are_read_at_other_lengths, "[!a]*", "sizes are those of the example"),
    (test_sizes.test_zeros_that_are_read_at_other_lengths, "a window*", "sizes are those of the example"),
    # Of zeros the mean is the same at every length; what reads it is no longer zero.
    (test_sizes.test_zeros_that_are_read_at_other_lengths, "a mean*", "every activation keeps zero"),
    (test_sizes.test_a_transposed_convolution_of_a_given_size, "*", "sizes are those of the example"),
]
# These leave nothing out of a plain network.
NOTHING_GOES = {"what trains is not zero"}


@pytest.mark.parametrize(
    ("test", "arguments", "mutant"),
    [
        pytest.param(test, arguments, MUTANTS[mutant], id=f"{mutant}-{test.__name__}-{case}".replace(" ", "-"))
        for test, glob, mutant in CAUGHT
        for case, arguments in named(test, glob).items()
    ],
)
def test_a_naive_implementation_fails(
    test: Callable[..., None], arguments: dict[str, Any], mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"monkeypatch": monkeypatch} if "monkeypatch" in inspect.signature(test).parameters else {}
    with mutant.believed(), pytest.raises(RAISES.get(mutant.name, FAILURES)):
        test(**arguments, **more)


@pytest.mark.parametrize("mutant", naive_values.MUTANTS, ids=readable)
def test_a_plain_network_survives(mutant: Mutant) -> None:
    """What errs is the very thing that the test is about, and nothing else."""
    model = network(lambda m, x: m.a(x) + m.b(x))
    with mutant.believed():
        subnet = without(model, example(*ROWS), "b")
    assert left(subnet) == {"stem", "a", "head"} | ({"b"} if mutant.name in NOTHING_GOES else set())
    equal(model, subnet, example(7, 6))


def test_the_table_names_every_case() -> None:
    for test in [each for module in MODULES for each in collected(module)]:
        covered = {case for each, glob, _ in CAUGHT if each is test for case in named(test, glob)}
        assert covered == set(cases(test)), f"{test.__name__}: no naive implementation fails at these"


def test_the_table_names_what_exists() -> None:
    assert all(named(test, glob) for test, glob, _ in CAUGHT)
    used = {mutant for _, _, mutant in CAUGHT}
    assert {each.name for each in naive_values.MUTANTS} <= used
