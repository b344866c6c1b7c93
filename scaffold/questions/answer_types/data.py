"""Which data: one of the template's sources, or a class of the user's own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaffold.questions.answer_types.own_class import OneOrOwn

if TYPE_CHECKING:
    from scaffold.questions.form import Form


class DataSource(OneOrOwn):
    """The data, with what is known of them."""

    def sample(self, form: "Form", answers: Mapping[str, Any]) -> str:
        """What `predict` can be asked of, in the sample data of the project's tests."""
        return str(form.fill(answers, "p")["data_facts"]["sample"]["input"])

    def are_numbers(self, form: "Form", answers: Mapping[str, Any]) -> bool:
        """Whether the targets are numbers, and not classes."""
        return bool(form.fill(answers, "p")["task_facts"].get("targets") == "numbers")
