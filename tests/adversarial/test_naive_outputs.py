"""Every test of what is returned, written, drawn and told was seen failing: by case, the naive implementation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from capture import test_attributes, test_gradients, test_models, test_sharing
from graph import test_suspicion, test_written
from subnet import (
    test_by_mode,
    test_numpy_names,
    test_outputs,
    test_settings,
    test_signs_of_zero,
    test_verify,
    test_verify_buffers,
)
from subnet.checks import left

from autosubnet.errors import AutoSubnetError

from .making import equal, example, network, without
from .naive import Mutant, outputs
from .naming import cases, collected, named, readable
from .specimen import ROWS

MODULES = (test_outputs, test_numpy_names, test_settings)
# What else is raised: the crash that a person would have met.
CRASHES: dict[str, type[Exception]] = {
    "arguments have one name": ValueError,
    "what torch calls otherwise is no argument": ValueError,
    "an operand has a position": IndexError,
    "a write is a write": RuntimeError,
    "a write without gradients has none": RuntimeError,
}
MUTANTS = {each.name: each for each in outputs.MUTANTS}

# By test and glob of cases, the mutant under which each of these must fail.
CAUGHT: list[tuple[Callable[..., None], str, str]] = [
    (
        test_outputs.test_a_parameter_that_is_returned_keeps_the_gradient_that_the_others_give_it,
        "[!n]*",
        "a parameter that is returned is not read",
    ),
    (
        test_outputs.test_a_parameter_that_is_returned_keeps_the_gradient_that_the_others_give_it,
        "*",
        "no zero has a gradient",
    ),
    (test_outputs.test_who_writes_to_an_output_writes_to_that_alone, "*", "what is returned is nobody's memory"),
    (test_outputs.test_a_norm_whose_statistics_others_read_goes_on_counting, "*", "statistics are a norm's own"),
    (test_outputs.test_a_norm_whose_statistics_nobody_reads_goes, "*", "every norm counts"),
    (test_settings.test_what_is_changed_for_one_call, "*", "a module is what it was"),
    (test_numpy_names.test_numpys_names, "*", "what torch calls otherwise is no argument"),
    *((test_numpy_names.test_numpys_names, glob, "arguments have one name") for glob in ("*behind", "t*", "u*")),
    (test_numpy_names.test_bilinear_by_name, "*", "an operand has a position"),
    (test_gradients.test_what_is_written_without_gradients_keeps_those_it_had, "[!d]*", "a write is a write"),
    (
        test_gradients.test_what_is_written_without_gradients_keeps_those_it_had,
        "[!d]*",
        "a write without gradients has none",
    ),
    (test_gradients.test_what_is_written_without_gradients_keeps_those_it_had, "d*", "a view has memory of its own"),
    (test_gradients.test_a_module_that_is_frozen_while_it_runs_is_refused, "*", "parameters train all the time"),
    (test_sharing.test_what_changes_with_another_is_refused, "*", "every tensor has memory of its own"),
    (test_sharing.test_what_changes_with_another_is_refused, "a_buffer*", "only training changes a model"),
    (test_sharing.test_what_changes_with_another_is_refused, "a*view*", "only training changes a model"),
    (test_sharing.test_what_changes_with_another_is_refused, "s*", "only training changes a model"),
    (test_sharing.test_what_changes_with_another_is_refused, "parameters_that*", "a place is where it begins"),
    (test_sharing.test_what_changes_with_another_is_refused, "a_part*", "a place is where it begins"),
    (test_sharing.test_what_no_change_reaches_is_followed, "[pa]*side*", "a storage is a place"),
    (test_sharing.test_what_no_change_reaches_is_followed, "a_buffer*", "a storage is a parameter's"),
    (test_sharing.test_what_no_change_reaches_is_followed, "v*", "all that shares memory is changed"),
    (test_sharing.test_what_no_change_reaches_is_followed, "an*", "all that a model holds is read"),
    (test_attributes.test_state_is_refused_by_name, "*", "an attribute is a constant"),
    (test_attributes.test_what_is_no_state_is_followed, "a*", "what is left is state"),
    (test_attributes.test_what_an_attribute_holds_is_as_it_was, "*", "who holds a list holds all"),
    (test_verify_buffers.test_rounding_in_statistics_is_no_difference, "*", "rounding is a difference"),
    (test_verify.test_weights_that_are_no_numbers_are_refused, "*inf*", "infinity is a number"),
    (test_verify.test_weights_that_are_no_numbers_are_refused, "*nan*", "NaN is not infinite"),
    (test_models.test_lazy_modules_are_refused_by_name, "*", "every parameter has values"),
    (test_verify.test_train_mode_is_compared_where_a_random_operation_went, "*", "draws follow each other"),
    (test_verify.test_the_report_says_what_capture_held_fixed, "*", "what is held fixed is no matter"),
    (test_verify.test_a_cause_that_the_graph_does_not_show_is_named, "*", "the graph shows all"),
    (test_verify.test_hooks_of_all_modules_are_named, "*", "the graph shows all"),
    (test_suspicion.test_zeros_that_cannot_be_followed_end_a_dependence, "*", "what cannot be followed is alive"),
    (
        test_suspicion.test_a_part_that_is_zero_is_enough_behind_them,
        "*",
        "what cannot be followed is alive",
    ),
    (test_suspicion.test_an_input_that_zeros_are_written_to_is_zero, "*", "what cannot be followed is alive"),
    (test_suspicion.test_a_token_in_written_memory_stays_connected, "*", "what cannot be followed is alive"),
    (test_written.test_memory_is_as_dead_as_all_that_is_assigned_to_it, "*", "written memory is alive"),
    (test_written.test_what_nothing_is_assigned_to_lives_on, "*", "an assignment is to all"),
    (test_written.test_a_token_that_is_assigned_its_place_stays_connected, "*", "written memory is of one piece"),
    (test_written.test_inputs_that_lie_side_by_side_stay_connected, "*", "written memory is of one piece"),
    (test_written.test_zeros_made_out_of_nothing_connect_nothing, "*", "nothing is made of zeros"),
    (test_written.test_a_choice_that_nothing_decides_may_be_the_dead_one, "*", "a choice is open"),
    (test_written.test_a_token_at_the_end_stays_connected, "*", "a size is any size"),
    (test_written.test_steps_along_a_size_that_varies, "*", "a size is any size"),
    *(
        (test_written.test_what_is_moved_is_as_dead_as_it_was, each, "what is moved is alive")
        for each in test_written.MOVED
    ),
    *(
        (test_written.test_what_is_moved_is_as_dead_as_it_was, each, "a size is any size")
        for each in test_written.FOLLOWED
        if each.endswith("batch")
    ),
    (test_signs_of_zero.test_what_they_read_is_computed_as_before, "*", "zeros have no sign"),
    (test_written.test_what_a_module_returns_by_name_is_as_dead_as_all_of_it, "*", "a name may mean anything"),
    (test_verify_buffers.test_buffers_that_differ_after_training_are_caught, "*", "what is returned is all there is"),
    (test_verify.test_a_hook_that_keeps_something_elsewhere_is_named, "*", "the graph shows all"),
    (test_by_mode.test_a_copy_lists_its_parameters_in_the_same_order, "*", "the order of parameters is no matter"),
]


@pytest.mark.parametrize(
    ("test", "arguments", "mutant"),
    [
        pytest.param(test, arguments, MUTANTS[mutant], id=f"{mutant}-{test.__name__}-{case}".replace(" ", "-"))
        for test, glob, mutant in CAUGHT
        for case, arguments in named(test, glob).items()
    ],
)
def test_a_naive_implementation_fails(test: Callable[..., None], arguments: dict[str, Any], mutant: Mutant) -> None:
    failures = (AutoSubnetError, AssertionError, pytest.fail.Exception)
    with mutant.believed(), pytest.raises((*failures, CRASHES.get(mutant.name, AssertionError))):
        test(**arguments)


@pytest.mark.parametrize("mutant", outputs.MUTANTS, ids=readable)
def test_a_plain_network_survives(mutant: Mutant) -> None:
    """What errs is the very thing that the test is about, and nothing else."""
    model = network(lambda m, x: m.a(x) + m.b(x))
    with mutant.believed():
        subnet = without(model, example(*ROWS), "b")
    assert left(subnet) == {"stem", "a", "head"}
    equal(model, subnet, example(7, 6))


def test_the_table_names_every_case() -> None:
    for test in [each for module in MODULES for each in collected(module)]:
        covered = {case for each, glob, _ in CAUGHT if each is test for case in named(test, glob)}
        assert covered == set(cases(test)), f"{test.__name__}: no naive implementation fails at these"


def test_the_table_names_what_exists() -> None:
    assert all(named(test, glob) for test, glob, _ in CAUGHT)
    assert {each.name for each in outputs.MUTANTS} == {mutant for _, _, mutant in CAUGHT}
    assert all("monkeypatch" not in inspect.signature(test).parameters for test, _, _ in CAUGHT)
